"""Banks of bidirectional LSTMs with attention pooling: DeepDiff's Level I and Level II.

A bank holds `n_sequences` independent LSTMs of one size (one for each mark of a block at Level I, one for a
whole block at Level II) and runs them in one call. Three back ends compute the same function: ``fused``
(`diffchrom.deepdiff._kernel`, plain C, float32 on the CPU), ``torch`` (an LSTM of torch's a sequence) and
``blocked`` (all sequences in one LSTM of torch's, for CUDA).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal, get_args

import torch
from torch import Tensor

from diffchrom.deepdiff import _kernel
from diffchrom.deepdiff.blocked_lstm import blocked_bank
from diffchrom.deepdiff.fused_lstm import FusedAttention, FusedBank, kernel_threads
from diffchrom.errors import UsageError

Backend = Literal["fused", "torch", "blocked"]

_forced: Backend | None = None


def set_backend(backend: Backend | None) -> None:
    """Compute every LSTM with `backend` from now on; None chooses by device, dtype and what was built."""
    global _forced
    if backend not in (None, *get_args(Backend)):
        raise ValueError(f"unknown LSTM back end {backend!r}: use {', '.join(get_args(Backend))} or None")
    _forced = backend


@contextmanager
def use_backend(backend: Backend | None) -> Iterator[None]:
    """Compute every LSTM inside the block with `backend`, then return to what was set before."""
    before = _forced
    set_backend(backend)
    try:
        yield
    finally:
        set_backend(before)


def backend_name(device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Backend:
    """Name of the back end that serves tensors of this device and dtype."""
    if _forced is not None:
        return _forced
    kind = torch.device(device).type
    if kind == "cuda":
        return "blocked"
    served = kind == "cpu" and dtype == torch.float32
    return "fused" if served and kernel_unavailable_reason() is None else "torch"


@contextmanager
def threads_for_lstm(device: str | torch.device = "cpu") -> Iterator[None]:
    """Leave all of torch's threads to the fused kernel inside the block.

    Torch's own operations on a batch are too small to share out: its threads cost more to wake than they
    save, and wait in a busy loop for the next one while the kernel's need the core.
    """
    threads = torch.get_num_threads()
    if threads == 1 or backend_name(device) != "fused":
        yield
        return
    with kernel_threads(threads):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def kernel_unavailable_reason() -> str | None:
    """Why the fused kernel can't be used here, as one line; None where it can."""
    return _kernel.KERNEL.missing


def lstm_bank(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    backend: Backend | None = None,
) -> Tensor:
    """Run one bidirectional LSTM over each sequence of a bank.

    Parameters
    ----------
    x
        Inputs, [n_sequences, batch, steps, input_size].
    weight_ih, weight_hh
        [n_sequences, 2, 4 * hidden, input_size] and [n_sequences, 2, 4 * hidden, hidden]; the second axis is
        the direction (0 forward, 1 backward), the third the gates input, forget, cell, output, as in
        `torch.nn.LSTM`.
    bias_ih, bias_hh
        [n_sequences, 2, 4 * hidden]; only their sum matters.
    backend
        ``"fused"``, ``"torch"``, ``"blocked"``, or None for the one in force (see `use_backend`).

    Returns
    -------
    Tensor
        Hidden states, [n_sequences, batch, steps, 2 * hidden]: at every step the forward direction's state,
        then the backward direction's state at the same step.

    Raises
    ------
    ValueError
        When the shapes don't belong together or a size is 0.
    UsageError
        When the fused back end is asked for where it can't serve.
    """
    _check_shapes(x, weight_ih, weight_hh, bias_ih, bias_hh)
    weights = (weight_ih, weight_hh, bias_ih, bias_hh)
    chosen = backend or backend_name(x.device, x.dtype)
    if chosen == "fused":
        _check_fused(x, *weights)
        states: Tensor = FusedBank.apply(x, *weights)  # type: ignore[no-untyped-call]
        return states
    return blocked_bank(x, *weights) if chosen == "blocked" else _torch_bank(x, *weights)


@contextmanager
def without_bfloat16(device: torch.device) -> Iterator[None]:
    """End autocast to bfloat16 inside the block: neither cuDNN nor every CPU has LSTMs of it."""
    kind = device.type
    mixed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    lacking = mixed and torch.get_autocast_dtype(kind) == torch.bfloat16
    with torch.autocast(kind, enabled=False) if lacking else nullcontext():
        yield


def attention_pool(hidden: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """Summarise each sequence by the softmax-weighted sum of its hidden states.

    Parameters
    ----------
    hidden
        Hidden states, [n_sequences, batch, steps, features].
    context
        One context vector a sequence, [n_sequences, features].

    Returns
    -------
    embedding : Tensor
        [n_sequences, batch, features], sum over steps of alpha_t hidden_t.
    alpha : Tensor
        [n_sequences, batch, steps], softmax over steps of hidden_t . context; each row sums to 1.
    """
    scores = torch.matmul(hidden, context[:, None, :, None]).squeeze(-1)
    alpha = torch.softmax(scores, dim=-1)
    embedding = torch.matmul(alpha.unsqueeze(-2), hidden).squeeze(-2)
    return embedding, alpha


class LSTMBank(torch.nn.Module):
    """Independent bidirectional single-layer LSTMs of one size, run in one call.

    Parameters
    ----------
    n_sequences
        Number of LSTMs; each has its own weights.
    input_size, hidden_size
        Features of a step, and units of one direction.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter
        See `lstm_bank`. They start as `torch.nn.LSTM`'s do: uniform in ±1/sqrt(hidden_size).
    """

    def __init__(self, n_sequences: int, input_size: int, hidden_size: int) -> None:
        super().__init__()
        if min(n_sequences, input_size, hidden_size) < 1:
            raise ValueError(
                f"an LSTM bank needs sizes of at least 1, got {n_sequences} sequences, "
                f"input {input_size}, hidden {hidden_size}"
            )
        self.n_sequences = n_sequences
        self.input_size = input_size
        self.hidden_size = hidden_size
        gates = 4 * hidden_size
        self.weight_ih = torch.nn.Parameter(torch.empty(n_sequences, 2, gates, input_size))
        self.weight_hh = torch.nn.Parameter(torch.empty(n_sequences, 2, gates, hidden_size))
        self.bias_ih = torch.nn.Parameter(torch.empty(n_sequences, 2, gates))
        self.bias_hh = torch.nn.Parameter(torch.empty(n_sequences, 2, gates))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights again, uniform in ±1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            torch.nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Hidden states [n_sequences, batch, steps, 2 * hidden] of x [n_sequences, batch, steps, input]."""
        return lstm_bank(x, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def attend(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Run the LSTMs and pool their hidden states: ``attention_pool(self(x), context)`` in one call.

        Parameters
        ----------
        x
            [n_sequences, batch, steps, input_size].
        context
            [n_sequences, 2 * hidden_size].

        Returns
        -------
        embedding, alpha : Tensor
            [n_sequences, batch, 2 * hidden_size] and [n_sequences, batch, steps]; see `attention_pool`.
        """
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        _check_shapes(x, *weights)
        if context.shape != (self.n_sequences, 2 * self.hidden_size):
            raise ValueError(
                f"context must be {[self.n_sequences, 2 * self.hidden_size]}, got {list(context.shape)}"
            )
        with without_bfloat16(x.device):
            if x.dtype == torch.bfloat16:  # of a product before
                x = x.to(context.dtype)
            if backend_name(x.device, x.dtype) == "fused":
                _check_fused(x, *weights, context)
                embedding, alpha = FusedAttention.apply(x, *weights, context)  # type: ignore[no-untyped-call]
                return embedding, alpha
            return attention_pool(lstm_bank(x, *weights), context)

    def extra_repr(self) -> str:
        """Sizes, for ``repr``."""
        return f"n_sequences={self.n_sequences}, input_size={self.input_size}, hidden_size={self.hidden_size}"


def _check_shapes(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> None:
    if x.dim() != 4 or weight_hh.dim() != 4 or 0 in x.shape or 0 in weight_hh.shape:
        raise ValueError(
            "expected non-empty x [n_sequences, batch, steps, input] and weight_hh [n_sequences, 2, "
            f"4 * hidden, hidden], got {list(x.shape)} and {list(weight_hh.shape)}"
        )
    n_sequences, hidden = x.shape[0], weight_hh.shape[3]
    expected = {
        "weight_ih": (weight_ih, (n_sequences, 2, 4 * hidden, x.shape[3])),
        "weight_hh": (weight_hh, (n_sequences, 2, 4 * hidden, hidden)),
        "bias_ih": (bias_ih, (n_sequences, 2, 4 * hidden)),
        "bias_hh": (bias_hh, (n_sequences, 2, 4 * hidden)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ValueError(
                f"{name} must be {list(shape)} for x {list(x.shape)} and hidden {hidden}, "
                f"got {list(tensor.shape)}"
            )


def _check_fused(*tensors: Tensor) -> None:
    reason = kernel_unavailable_reason()
    if reason is not None:
        raise UsageError(f"{reason}; use the torch back end")
    for tensor in tensors:
        if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
            raise UsageError(
                "the fused LSTM back end takes float32 tensors on the CPU, "
                f"got {str(tensor.dtype).removeprefix('torch.')} on {tensor.device}; use the torch back end"
            )


def _torch_bank(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
    start = x.new_zeros(2, x.shape[1], weight_hh.shape[3])
    training = torch.is_grad_enabled()  # cuDNN keeps what backward needs only when told so
    outputs = []
    for sequence in range(x.shape[0]):
        weights = [
            parameter[sequence, direction]
            for direction in range(2)
            for parameter in (weight_ih, weight_hh, bias_ih, bias_hh)
        ]
        output, _, _ = torch.lstm(x[sequence], (start, start), weights, True, 1, 0.0, training, True, True)
        outputs.append(output)
    return torch.stack(outputs)

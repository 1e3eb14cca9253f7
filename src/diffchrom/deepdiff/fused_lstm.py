"""The fused kernel as torch functions: autograd, memory kept for backward, and threads.

`diffchrom.deepdiff.lstm` is the public interface; it comes here for float32 tensors on the CPU.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffchrom.deepdiff import _kernel


class _Workspaces:
    """Large arrays that are taken and given back every step, in memory that stays mapped.

    A fresh mapping costs a page fault every 4 KiB, which takes longer than computing what is written there.
    Huge pages, where the system has them, spare the address translation as well. An array goes back to the
    pool when the last tensor that uses it is freed.
    """

    smallest = 1 << 20  # bytes; malloc reuses what is smaller by itself
    kept = 16  # free blocks at most; a training step uses no more

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []

    def empty(self, *shape: int) -> Tensor:
        """Uninitialised float32 tensor on a 64-byte boundary."""
        size = 4 * math.prod(shape)
        if size < self.smallest or not hasattr(mmap, "MADV_HUGEPAGE"):
            return torch.empty(shape)
        block = self._take(size)
        array = np.frombuffer(block, dtype=np.float32, count=size // 4)
        finalizer = weakref.finalize(array, self._give_back, block)
        finalizer.atexit = False
        return torch.from_numpy(array).view(shape)

    def _take(self, size: int) -> mmap.mmap:
        fitting = [block for block in self._free if size <= len(block) <= 4 * size]
        if fitting:
            block = min(fitting, key=len)
            self._free.remove(block)
            return block
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        block.madvise(mmap.MADV_HUGEPAGE)
        return block

    def _give_back(self, block: mmap.mmap) -> None:
        self._free.append(block)
        if len(self._free) > self.kept:
            del self._free[0]


workspaces = _Workspaces()


_threads: int | None = None


@contextmanager
def kernel_threads(threads: int) -> Iterator[None]:
    """Share the kernel's work out over so many threads inside the block, not over as many as torch's."""
    global _threads
    before, _threads = _threads, threads
    try:
        yield
    finally:
        _threads = before


def threads_of_kernel() -> int:
    """Threads that the kernel's work is shared out over."""
    return _threads or torch.get_num_threads()


def job_of(x: Tensor, hidden: int, **tensors: Tensor | None) -> _kernel.KernelJob:
    """What the kernel is handed for x [n_sequences, batch, steps, input]; the caller keeps the tensors."""
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}
    return _kernel.KernelJob(*x.shape, hidden, threads_of_kernel(), x.data_ptr(), **addresses)


_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _forward(
    ctx: Any, x: Tensor, weights: tuple[Tensor, ...], **attention: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Run the kernel; gives the hidden states, and gates and cell states if a gradient may be asked for.

    Attention without a gradient leaves no hidden states: they never fill more than a cache.
    """
    kernel, hidden = _kernel.KERNEL.require(), weights[1].shape[3]
    states = saved = None
    if training := any(ctx.needs_input_grad):
        saved = workspaces.empty(kernel.saved_size(job_of(x, hidden)))
    if training or not attention:
        states = workspaces.empty(*x.shape[:3], 2 * hidden)
    arrays = dict(zip(_WEIGHTS, weights, strict=True))
    kernel.forward(job_of(x, hidden, **arrays, **attention, hidden_states=states, saved=saved))
    return states, saved


def _backward(
    ctx: Any, x: Tensor, weights: tuple[Tensor, ...], **arrays: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Gradients of x (only where asked for) and of the weights."""
    weight_ih, weight_hh, bias = weights
    grad_x = x.new_empty(2, *x.shape) if ctx.needs_input_grad[0] else None
    # Two tensors for the two biases: an optimiser may write into either.
    grad_ih, grad_hh, grad_bias, grad_bias_hh = (torch.empty_like(weight) for weight in (*weights, bias))
    job = job_of(
        x,
        weight_hh.shape[3],
        weight_ih=weight_ih,
        weight_hh=weight_hh,
        grad_x=grad_x,
        grad_weight_ih=grad_ih,
        grad_weight_hh=grad_hh,
        grad_bias=grad_bias,
        grad_bias_hh=grad_bias_hh,
        **arrays,
    )
    _kernel.KERNEL.require().backward(job)
    whole = None if grad_x is None else grad_x[0].add_(grad_x[1])
    return whole, grad_ih, grad_hh, grad_bias, grad_bias_hh


class FusedBank(torch.autograd.Function):
    """`diffchrom.deepdiff.lstm.lstm_bank` in one call of the kernel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
    ) -> Tensor:
        """Compute hidden states."""
        x, *weights = (tensor.contiguous() for tensor in (x, weight_ih, weight_hh, bias_ih, bias_hh))
        states, saved = _forward(ctx, x, tuple(weights))
        assert states is not None
        if saved is not None:
            ctx.save_for_backward(x, *weights[:3], states, saved)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of all inputs from that of the hidden states."""
        x, weight_ih, weight_hh, bias, states, saved = ctx.saved_tensors
        return _backward(
            ctx,
            x,
            (weight_ih, weight_hh, bias),
            hidden_states=states,
            saved=saved,
            grad_hidden_states=grad.contiguous(),
        )


class FusedAttention(torch.autograd.Function):
    """`lstm_bank` and `attention_pool` in one call: the hidden states never reach torch."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        context: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Compute embedding and alpha."""
        x, *weights, context = (
            tensor.contiguous() for tensor in (x, weight_ih, weight_hh, bias_ih, bias_hh, context)
        )
        embedding = x.new_empty(*x.shape[:2], context.shape[1])
        alpha = x.new_empty(x.shape[:3])
        attention = {"context": context, "embedding": embedding, "alpha": alpha}
        states, saved = _forward(ctx, x, tuple(weights), **attention)
        if saved is not None:
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x, *weights[:3], context, alpha, states, saved)
        return embedding, alpha

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_embedding: Tensor | None, grad_alpha: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Gradients of all inputs from those of embedding and alpha."""
        x, weight_ih, weight_hh, bias, context, alpha, states, saved = ctx.saved_tensors
        if grad_embedding is None:
            grad_embedding = x.new_zeros(*x.shape[:2], context.shape[1])
        grad_context = torch.empty_like(context)
        grads = _backward(
            ctx,
            x,
            (weight_ih, weight_hh, bias),
            context=context,
            alpha=alpha,
            hidden_states=states,
            saved=saved,
            grad_embedding=grad_embedding.contiguous(),
            grad_alpha=None if grad_alpha is None else grad_alpha.contiguous(),
            grad_score=torch.empty_like(alpha),
            grad_context=grad_context,
        )
        return *grads, grad_context

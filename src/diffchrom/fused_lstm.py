"""The fused kernel as torch functions: autograd, memory kept for backward, and threads.

`diffchrom.lstm` is the public interface; it comes here for float32 tensors on the CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffchrom import _kernel


def _job(x: Tensor, hidden: int, **tensors: Tensor | None) -> _kernel.Job:
    n_sequences, batch, steps, inputs = x.shape
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}
    return _kernel.Job(
        n_sequences, batch, steps, inputs, hidden, torch.get_num_threads(), x.data_ptr(), **addresses
    )


def _library() -> _kernel.Library:
    kernel = _kernel.library()
    if kernel is None:
        raise RuntimeError(_kernel.unavailable_reason())
    return kernel


class FusedBank(torch.autograd.Function):
    """`diffchrom.lstm.lstm_bank` in one call of the kernel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
    ) -> Tensor:
        """Compute hidden states, and keep gates and cell states if a gradient may be asked for."""
        kernel = _library()
        hidden = weight_hh.shape[3]
        x, *weights = (tensor.contiguous() for tensor in (x, weight_ih, weight_hh, bias_ih, bias_hh))
        states = x.new_empty(*x.shape[:3], 2 * hidden)
        arrays = dict(zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True))
        saved = None
        if any(ctx.needs_input_grad):
            saved = x.new_empty(kernel.saved_size(_job(x, hidden)))
            ctx.save_for_backward(x, *weights, states, saved)
        kernel.forward(_job(x, hidden, **arrays, hidden_states=states, saved=saved))
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x (only where asked for) and of the weights."""
        x, weight_ih, weight_hh, bias_ih, _, states, saved = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = x.new_empty(2, *x.shape) if ctx.needs_input_grad[0] else None
        grad_ih, grad_hh = torch.empty_like(weight_ih), torch.empty_like(weight_hh)
        grad_bias = torch.empty_like(bias_ih)
        _library().backward(
            _job(
                x,
                weight_hh.shape[3],
                weight_ih=weight_ih,
                weight_hh=weight_hh,
                hidden_states=states,
                saved=saved,
                grad_hidden_states=grad,
                grad_x=grad_x,
                grad_weight_ih=grad_ih,
                grad_weight_hh=grad_hh,
                grad_bias=grad_bias,
            )
        )
        # Two tensors for the two biases: an optimiser may write into either.
        return (
            None if grad_x is None else grad_x[0] + grad_x[1],
            grad_ih,
            grad_hh,
            grad_bias,
            grad_bias.clone(),
        )

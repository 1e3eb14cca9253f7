"""A bank's LSTMs as one LSTM of torch's, for CUDA, where a call costs more than the arithmetic inside.

cuDNN runs one LSTM a call, step by step: J marks are J times as many small kernels. Here they are one LSTM
whose hidden state is that of all marks side by side and whose matrices are block-diagonal, so both directions
of all marks take one call. The zeros between the blocks add nothing to any sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Hidden units of one call: with more, the zeros cost more than the calls that they save.
MOST_HIDDEN = 512


def blocked_bank(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
    """Hidden states [n_sequences, batch, steps, 2 * hidden]; see `lstm.lstm_bank`."""
    at_a_time = max(1, MOST_HIDDEN // weight_hh.shape[3])
    tensors = (x, weight_ih, weight_hh, bias_ih, bias_hh)
    groups = zip(*(torch.split(tensor, at_a_time) for tensor in tensors), strict=True)
    return torch.cat([_one_call(*group) for group in groups])


def _one_call(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Tensor:
    n_sequences, batch, steps, _ = x.shape
    hidden = weight_hh.shape[3]
    weights = flat_weights(weight_ih, weight_hh, bias_ih, bias_hh)
    start = x.new_zeros(2, batch, n_sequences * hidden)
    training = torch.is_grad_enabled()  # cuDNN keeps what backward needs only when told so
    side_by_side = x.permute(1, 2, 0, 3).flatten(2)
    states, _, _ = torch.lstm(side_by_side, (start, start), weights, True, 1, 0.0, training, True, True)
    by_sequence = states.view(batch, steps, 2, n_sequences, hidden).permute(3, 0, 1, 2, 4)
    return by_sequence.flatten(3)


def flat_weights(weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> list[Tensor]:
    """Weights of the one LSTM in `torch.lstm`'s order, views of one buffer in cuDNN's.

    cuDNN wants them from the beginning of a storage, the matrices of both directions first and then the
    biases; otherwise torch warns, and copies them parameter by parameter at every call.
    """
    matrices = [_block_diagonal(weight) for weight in (weight_ih, weight_hh)]
    biases = [_by_gate(bias).permute(1, 2, 0, 3).flatten(1) for bias in (bias_ih, bias_hh)]
    laid_out = [part[direction] for parts in (matrices, biases) for direction in (0, 1) for part in parts]
    buffer = torch.cat([part.flatten() for part in laid_out])
    pieces = torch.split(buffer, [part.numel() for part in laid_out])
    views = [piece.view(part.shape) for piece, part in zip(pieces, laid_out, strict=True)]
    return [*views[0:2], *views[4:6], *views[2:4], *views[6:8]]


def _block_diagonal(weight: Tensor) -> Tensor:
    """[n_sequences, 2, 4 * hidden, columns] to [2, 4 * n_sequences * hidden, n_sequences * columns]."""
    by_gate = _by_gate(weight).permute(1, 2, 3, 4, 0)  # direction, gate, unit, column, sequence
    return torch.diag_embed(by_gate, dim1=2, dim2=4).flatten(4, 5).flatten(1, 3)


def _by_gate(weight: Tensor) -> Tensor:
    """[n_sequences, 2, 4 * hidden, ...] to [n_sequences, 2, 4, hidden, ...]."""
    return weight.view(*weight.shape[:2], 4, -1, *weight.shape[3:])

"""The dense path of `antisymmetric`: what one cell's marks look like, segment by segment of the window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: The transforms of `transform.FUNCTIONS` for tensors.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "raw": lambda signal: signal,
    "log1p": lambda signal: signal.sign() * signal.abs().log1p(),
}


class Scaling(nn.Module):
    """``(function(merged signal) - mean) / scale``, mark by mark; `fit` learns mean and scale."""

    mean: Tensor
    scale: Tensor

    def __init__(self, n_marks: int, function: str) -> None:
        super().__init__()
        self.name, self.function = function, FUNCTIONS[function]
        self.register_buffer("mean", torch.zeros(n_marks, 1))
        self.register_buffer("scale", torch.ones(n_marks, 1))

    def forward(self, merged: Tensor) -> Tensor:
        """Scale signal [batch, n_marks, n_steps]."""
        return (self.function(merged) - self.mean) / self.scale

    def described(self, marks: Sequence[str], bins_merged: float | Sequence[int]) -> dict[str, Any]:
        """What happens to signal of so many bins merged (window by window), for ``config.json``."""
        by_mark = {
            name: dict(zip(marks, values.flatten().tolist(), strict=True))
            for name, values in (("mean", self.mean), ("scale", self.scale))
        }
        return {"bins_merged": bins_merged, "function": self.name, **by_mark}

    def fit(self, merged: Callable[[], Iterable[Tensor]]) -> None:
        """Learn from batches of merged signal; a constant mark keeps scale 1, so that it stays zero."""
        total = torch.zeros(self.mean.shape[0], dtype=torch.float64)
        square, count = total.clone(), 0
        for batch in merged():
            values = self.function(batch).double()
            total = total + values.sum(dim=(0, 2))
            square = square + values.square().sum(dim=(0, 2))
            count += values.shape[0] * values.shape[2]
        mean = total / count
        deviation = (square / count - mean.square()).clamp(min=0).sqrt()
        deviation[deviation <= 1e-6 * (1 + mean.abs())] = 1.0
        self.mean.copy_(mean[:, None])
        self.scale.copy_(deviation[:, None])


class Patterns(nn.Sequential):
    """How strongly steps show patterns: convolutions over all marks at once, as chromatin states are.

    Parameters
    ----------
    n_marks, channels : M; C, patterns.
    width : steps that a pattern spans, odd.
    """

    def __init__(self, n_marks: int, channels: int, width: int) -> None:
        layers = (nn.Conv1d(n_marks, channels, width, padding=width // 2), nn.Conv1d(channels, channels, 1))
        super().__init__(layers[0], nn.ReLU(), layers[1], nn.ReLU())
        self.width = width

    def forward(self, steps: Tensor) -> Tensor:
        """[batch, C, n_steps] of scaled steps [batch, M, n_steps].

        Products of matrices outrun convolutions this small.
        """
        around = F.pad(steps, (self.width // 2, self.width // 2)).unfold(2, self.width, 1)
        values = around.transpose(1, 2).flatten(2)  # [batch, n_steps, M * width]
        for layer in self:
            if isinstance(layer, nn.Conv1d):
                values = F.linear(values, layer.weight.flatten(1), layer.bias).relu()
        return values.transpose(1, 2)


class Segments(nn.Module):
    """Features of one cell's window: each segment's mean signal, and how much it holds of `Patterns`.

    A pattern's amount in a segment is the mean over the segment's steps.

    Parameters
    ----------
    n_marks, n_segments : M, S.
    channels : C, patterns.
    width : steps that a pattern spans, odd.
    dropout : share of patterns that a gene goes without, all segments at once, while training.
    """

    def __init__(self, n_marks: int, n_segments: int, channels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.n_segments = n_segments
        self.dropout = dropout
        self.n_features = (n_marks + channels) * n_segments
        self.patterns = Patterns(n_marks, channels, width)

    def forward(self, steps: Tensor, means: Tensor) -> Tensor:
        """Features [batch, (M + C) * S] of scaled steps [batch, M, n_steps] and means [batch, M, S]."""
        amounts = mean_of_segments(self.patterns(steps), self.n_segments)
        # What a gene goes without, it goes without in all segments: the mean may come first.
        amounts = F.dropout1d(amounts, self.dropout, self.training)
        return torch.cat((means.flatten(1), amounts.flatten(1)), dim=1)


def mean_of_segments(values: Tensor, n_segments: int) -> Tensor:
    """Mean of each of S segments, [..., S], of values [..., n].

    It is torch's adaptive pooling, at a tenth of its time where n is a multiple of S (else segments overlap).
    """
    n = values.shape[-1]
    if n % n_segments:
        return F.adaptive_avg_pool1d(values, n_segments)
    return values.reshape(*values.shape[:-1], n_segments, n // n_segments).mean(-1)

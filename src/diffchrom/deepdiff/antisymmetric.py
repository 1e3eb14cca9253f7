"""The variant of our own: antisymmetric by construction, f(A, B) = (g(A, B) - g(B, A)) / 2 + s h(A, B).

g has two paths from the signal to the output. Level I and II are DeepDiff's, but a mark's sequence carries
the signal of A, of B and their difference as three channels of one LSTM, over bins merged by a few; the dense
path (`segments`) sees all marks of all segments of the window at once (2 kb each by default). Beside g, the
difference of the segments' features reaches the output linearly. Everything is averaged over bins first and
its logarithm taken then, which for read counts keeps more than the other order.

h(A, B) = h(B, A) is the shift: what depth and composition of one pair's libraries add to log2fc, by the
gene's level in both cells. It says nothing of other cells: s is 1 for the pair of the training, -1 for it
exchanged, and 0 for any other pair, so that exchanging two cells always negates the prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffchrom.deepdiff.model import CELL_A, CELL_B, MAIN, Encoder, Output, PairModel
from diffchrom.deepdiff.segments import Scaling, Segments, mean_of_segments
from diffchrom.variants import Variant

#: Dropout of the segments' patterns, as a share of that of the rest (docs/methods.md).
PATTERN_DROPOUT = 0.5


class Antisymmetric(PairModel):
    """A variant whose prediction changes its sign when the cells are exchanged, and `order` with them.

    Takes untransformed signal: it merges, transforms and scales by itself (`fit_scaling`).

    Parameters
    ----------
    variant, n_marks, hidden, dropout, aux_outputs : as for `DeepDiff`.
    function : ``raw`` or ``log1p``, of the merged signal.
    standardise : whether `fit_scaling` does anything.
    """

    def __init__(
        self,
        variant: Variant,
        n_marks: int,
        hidden: int = 32,
        dropout: float = 0.0,
        aux_outputs: int = 1,
        function: str = "log1p",
        standardise: bool = True,
    ) -> None:
        super().__init__()
        self.variant = variant
        self.n_marks = n_marks
        self.dropout = dropout
        self.standardise = standardise
        channels = len(variant.main)
        self.fine = Scaling(n_marks, function)
        self.coarse = Scaling(n_marks, function)
        self.level1 = nn.ModuleDict({MAIN: Encoder(n_marks, channels, hidden)})
        self.level2 = nn.ModuleDict({MAIN: Encoder(1, 2 * hidden, hidden // 2)})
        width = 2 * hidden
        self.segments = Segments(
            n_marks, variant.segments, variant.patterns, variant.pattern_width, dropout * PATTERN_DROPOUT
        )
        self.dense = nn.Sequential(
            nn.Linear(channels * self.segments.n_features, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
        )
        self.head = nn.Linear(hidden + width, 1)
        self.linear = nn.Linear(self.segments.n_features, 1, bias=False)
        nn.init.zeros_(self.linear.weight)
        self.shift = nn.Linear(hidden + width, 1)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)
        self.expression = nn.ModuleDict({"cell": nn.Linear(hidden + width, aux_outputs)})

    def sequences(self) -> dict[str, tuple[str, ...]]:
        """One sequence a mark; its channels are the signal of both cells and their difference."""
        return {MAIN: ("A-B",)}

    def fit_scaling(self, batches: Callable[[], Iterable[tuple[Tensor, ...]]]) -> None:
        """Learn the scaling from the training genes' signal of A and B, batch by batch."""
        if self.standardise:
            self.fine.fit(lambda: (self._merge(x) for pair in batches() for x in pair))
            self.coarse.fit(lambda: (self._segments(x) for pair in batches() for x in pair))

    def scaling(self, marks: Sequence[str], n_windows: int) -> dict[str, Any]:
        """What `fine` (the LSTMs' steps) and `coarse` (the dense path's segments) do, for ``config.json``."""
        return {
            "fine": self.fine.described(marks, self.variant.merge),
            "coarse": self.coarse.described(marks, n_windows / self.variant.segments),
        }

    def fit_labels(self, log2fc: Tensor, level: float | None) -> None:
        """Start the auxiliary head at the mean level."""
        if level is not None:
            nn.init.constant_(self.expression["cell"].bias, level)  # type: ignore[arg-type]

    def forward(self, a: Tensor, b: Tensor) -> Output:
        """Predict from the untransformed signal of cell A and of cell B, each [batch, n_marks, n_bins]."""
        both = torch.cat((a, b))
        steps = self.fine(self._merge(both))
        features = self.segments(steps, self.coarse(self._segments(both)))
        summary, alpha, beta = self._attend(*_both_orders(steps))
        first, second = _both_orders(features)
        dense = self.dense(torch.cat(self._sources(first, second), dim=1))
        summary = torch.cat((summary, self._drop(dense)), dim=1)
        forward, backward = self.head(summary).squeeze(1).chunk(2)
        of_a, of_b = features.chunk(2)
        linear = self.linear(self._drop(of_b - of_a)).squeeze(1)
        shift = self.order * self.shift(_mean_of_halves(summary)).squeeze(1)
        expression_a, expression_b = self.expression["cell"](summary).chunk(2)
        return Output(
            log2fc=(forward - backward) / 2 + linear + shift,
            expression={CELL_A: expression_a, CELL_B: expression_b},
            embeddings={},
            alpha={MAIN: _mean_of_halves(self._spread(alpha, a.shape[2]))},
            beta={MAIN: _mean_of_halves(beta)},
        )

    def _attend(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Level I and II: summary [batch, hidden], alpha [batch, n_marks, steps], beta [batch, n_marks]."""
        x = torch.stack(self._sources(a, b), dim=1).permute(2, 0, 3, 1).contiguous()
        embedding, alpha = self.level1[MAIN](x)
        embedding = self._drop(embedding).transpose(0, 1).unsqueeze(0).contiguous()
        summary, beta = self.level2[MAIN](embedding)
        return self._drop(summary[0]), alpha.transpose(0, 1), beta[0]

    def _sources(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """What the variant's main sources are of the values of A and of B."""
        values = {"A": a, "B": b, "A-B": a - b}
        return [values[source] for source in self.variant.main]

    def _merge(self, x: Tensor) -> Tensor:
        """Mean of every `merge` bins; the last step may be of fewer."""
        if x.shape[-1] % self.variant.merge:
            return F.avg_pool1d(x, self.variant.merge, ceil_mode=True)
        return mean_of_segments(x, x.shape[-1] // self.variant.merge)

    def _segments(self, x: Tensor) -> Tensor:
        return mean_of_segments(x, self.variant.segments)

    def _spread(self, alpha: Tensor, n_bins: int) -> Tensor:
        """Attention of merged steps shared out evenly over their bins; rows still sum to 1."""
        merge, steps = self.variant.merge, alpha.shape[-1]
        width = alpha.new_full((steps,), merge)
        width[-1] = n_bins - merge * (steps - 1)
        return (alpha / width).unsqueeze(-1).expand(*alpha.shape, merge).flatten(-2)[..., :n_bins]

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def _both_orders(both: Tensor) -> tuple[Tensor, Tensor]:
    """Of values of A followed by those of B: first and second cell of the pairs (A, B) and (B, A)."""
    a, b = both.chunk(2)
    return both, torch.cat((b, a))


def _mean_of_halves(x: Tensor) -> Tensor:
    """Mean over both orders of the cells, which lie one after the other in the batch."""
    first, second = x.chunk(2)
    return (first + second) / 2

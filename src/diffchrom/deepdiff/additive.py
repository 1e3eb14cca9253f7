"""The default variant: contributions of marks and windows, let through by attention, add up to log2fc.

Nothing reaches the difference between the cells but through the weights that are shown. For marks j and
windows t of all regions, with z the scaled signal of a cell and both orders of the cells in one trunk:

    h(A, B)    = trunk(zA, zB);  s = (h(A, B) + h(B, A)) / 2                    what the gene looks like
    beta_j     = softmax_j(c (F s + f));  alpha_jt = softmax_t(c (E s + e))_j   Level II and Level I
    d_jt       = zB - zA;  phi = 0.3 (d, d / (|d| + 0.3));  v_jt = (U s + u)_jt . phi_jt
    g(A, B)_jt = G beta_j alpha_jt v_jt,   G = M T softplus(w s + 0.54)
    f(A, B)    = sum_jt g_jt + o shift(s)

A window in which the cells do not differ contributes nothing; contributions are odd when the cells are
exchanged, since s is even, and so is f, with `order` o. The sum of |g| is penalised by kappa sd(y) / sqrt(n)
of n training genes, as the lasso is, which empties marks and windows that only carry noise. s reads all
marks: a contribution says what a difference between the cells is worth in this gene, given the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.model import CELL_A, CELL_B, MAIN, Output, PairModel
from diffchrom.deepdiff.segments import Patterns, Scaling, mean_of_segments
from diffchrom.genome.layout import Layout
from diffchrom.genome.regions import TSS, Region
from diffchrom.variants import Variant

#: Bases of a window near the TSS, how far that reaches, and bases of a window beyond it.
NEAR_WINDOW, NEAR, FAR_WINDOW = 500, 3000, 1000
#: Bases of a step in which patterns are looked for.
PATTERN_STEP = 400
#: Scaled signal is clipped here: of windows, and of the patterns' steps.
CLIP, CLIP_STEPS = 3.0, 6.0
#: Where differences are large: the unit of v, and half of the difference at which it levels off.
UNIT = 0.3
#: softplus of it is 1: at first every window passes its value as it is.
_NEUTRAL = math.log(math.e - 1)


def merged_bins(region: Region) -> tuple[int, ...]:
    """Bins of the TSS region that are averaged into one window, window by window; narrow near the TSS."""
    starts, end = [first for first, _ in region.windows], region.windows[-1][1]
    width = region.windows[0][1] - region.windows[0][0]
    near = range(-NEAR, NEAR + 1, NEAR_WINDOW)
    far = [at for at in range(-end, end + 1, FAR_WINDOW) if abs(at) > NEAR]
    cuts = {min(max(round((at - starts[0]) / width), 0), len(starts)) for at in (*near, *far)}
    edges = sorted(cuts | {0, len(starts)})
    return tuple(high - low for low, high in pairwise(edges))


class Additive(PairModel):
    """A variant whose prediction is a sum of what marks and windows contribute, through their attention.

    Takes untransformed signal: it merges, transforms and scales by itself (`fit_scaling`).

    Parameters
    ----------
    variant, n_marks : as of `DeepDiff`.
    settings : of the training.
    layout : of the signal's last axis.
    """

    widths: Tensor
    pooling: Tensor

    def __init__(self, variant: Variant, n_marks: int, settings: Hyperparameters, layout: Layout) -> None:
        super().__init__()
        self.variant, self.n_marks, self.settings = variant, n_marks, settings
        self.merged = merged_bins(layout.regions[0])
        self.n_bins = layout.spans[TSS].stop
        n_windows = len(self.merged) + layout.n_windows - self.n_bins
        self.n_windows = n_windows
        self.penalty = 0.0
        bases = layout.regions[0].windows[0]
        self.n_steps = max(1, self.n_bins // max(1, PATTERN_STEP // (bases[1] - bases[0])))
        self.n_segments = min(variant.segments, self.n_steps)
        self.coarse = Scaling(n_marks, settings.transform)
        self.fine = Scaling(n_marks, settings.transform)
        widths = torch.tensor(self.merged)
        of_bin = torch.arange(len(self.merged)).repeat_interleave(widths)
        self.register_buffer("widths", widths, persistent=False)
        self.register_buffer("pooling", F.one_hot(of_bin).float() / widths, persistent=False)
        self.patterns = Patterns(n_marks, variant.patterns, variant.pattern_width)
        hidden, size = settings.hidden, n_marks * n_windows
        features = size + variant.patterns * self.n_segments
        self.trunk = nn.Sequential(
            nn.Linear(2 * features, hidden),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
        )
        self.level1 = _from_zero(nn.Linear(hidden, size))
        self.level2 = _from_zero(nn.Linear(hidden, n_marks))
        self.value = _from_zero(nn.Linear(hidden, 2 * size))
        self.gain = _from_zero(nn.Linear(hidden, 1))
        self.shift = _from_zero(nn.Linear(hidden, 1))
        self.expression = nn.Linear(hidden, 2 if settings.aux_task == "classification" else 1)

    def sequences(self) -> dict[str, tuple[str, ...]]:
        """One sequence a mark, of the difference between the cells."""
        return {MAIN: ("A-B",)}

    def fit_scaling(self, batches: Callable[[], Iterable[tuple[Tensor, ...]]]) -> None:
        """Learn the scaling from the training genes' signal of A and B, batch by batch."""
        if self.settings.standardise:
            self.coarse.fit(lambda: (self._windows(x) for pair in batches() for x in pair))
            self.fine.fit(lambda: (self._steps(x) for pair in batches() for x in pair))

    def fit_labels(self, log2fc: Tensor, level: float | None) -> None:
        """Weigh the penalty by the spread of the training genes' labels; see `PairModel.fit_labels`."""
        self.penalty = self.settings.sparsity * float(log2fc.std()) / math.sqrt(len(log2fc))
        if level is not None:
            nn.init.constant_(self.expression.bias, level)

    def scaling(self, marks: Sequence[str], n_windows: int) -> dict[str, Any]:
        """What `coarse` (the windows) and `fine` (the patterns' steps) do, for ``config.json``."""
        return {
            "windows": self.coarse.described(marks, self.merged),
            "steps": self.fine.described(marks, self.n_bins / self.n_steps),
        }

    def forward(self, a: Tensor, b: Tensor) -> Output:
        """Predict from the untransformed signal of cell A and of cell B, each [batch, n_marks, n_windows]."""
        n = len(a)
        both = torch.cat((a, b))
        z = self.coarse(self._windows(both)).clamp(-CLIP, CLIP).flatten(1)
        z = z * self._kept(z[:n], self.settings.input_dropout).repeat(2, 1)
        z_a, z_b = z.chunk(2)
        features = torch.cat((z, self._amounts(both)), dim=1)
        f_a, f_b = features.chunk(2)
        h = self.trunk(torch.cat((torch.cat((f_a, f_b), 1), torch.cat((f_b, f_a), 1))))
        gene = (h[:n] + h[n:]) / 2
        alpha, beta = self._attention(gene)
        contribution = self._contributions(gene, alpha, beta, z_b - z_a)
        log2fc = contribution.sum(dim=(1, 2)) + self.order * self.shift(gene).squeeze(1)
        expression_a, expression_b = self.expression(h).chunk(2)
        return Output(
            log2fc=log2fc,
            expression={CELL_A: expression_a, CELL_B: expression_b},
            embeddings={},
            alpha={MAIN: self._spread(alpha)},
            beta={MAIN: beta},
            contribution=self._spread(contribution),
            penalty=self.penalty * contribution.abs().sum(dim=(1, 2)).mean() if self.training else None,
        )

    def _attention(self, gene: Tensor) -> tuple[Tensor, Tensor]:
        """Level I [batch, n_marks, windows] and Level II [batch, n_marks] of what genes look like."""
        scale = self.settings.score_scale
        scores = self.level1(gene).unflatten(1, (self.n_marks, self.n_windows))
        return torch.softmax(scale * scores, dim=2), torch.softmax(scale * self.level2(gene), dim=1)

    def _contributions(self, gene: Tensor, alpha: Tensor, beta: Tensor, difference: Tensor) -> Tensor:
        """What each mark and window adds to log2fc [batch, n_marks, windows], of the scaled difference."""
        phi = UNIT * torch.cat((difference, difference / (difference.abs() + UNIT)), dim=1)
        value: Tensor = (self.value(gene) * phi).unflatten(1, (2, self.n_marks, self.n_windows)).sum(1)
        gain: Tensor = F.softplus(self.gain(gene) + _NEUTRAL).unsqueeze(2)
        passed: Tensor = gain * (self.n_marks * self.n_windows) * beta.unsqueeze(2) * alpha * value
        return passed

    def _amounts(self, both: Tensor) -> Tensor:
        """How much of each pattern the segments around the TSS hold [2 * batch, patterns * segments]."""
        steps = self.fine(self._steps(both)).clamp(-CLIP_STEPS, CLIP_STEPS)
        amounts = mean_of_segments(self.patterns(steps), self.n_segments)
        kept = self._kept(amounts[: len(both) // 2, :, :1], self.settings.pattern_dropout).repeat(2, 1, 1)
        return torch.flatten(amounts * kept, 1)

    def _kept(self, like: Tensor, dropout: float) -> Tensor:
        """What a gene does not go without, in both cells at once; scaled as dropout is."""
        return F.dropout(torch.ones_like(like), dropout, self.training)

    def _windows(self, x: Tensor) -> Tensor:
        """Mean signal of the windows: bins around the TSS merged, those of other regions as they are."""
        return torch.cat((x[..., : self.n_bins] @ self.pooling, x[..., self.n_bins :]), dim=-1)

    def _steps(self, x: Tensor) -> Tensor:
        return mean_of_segments(x[..., : self.n_bins], self.n_steps)

    def _spread(self, values: Tensor) -> Tensor:
        """Share what belongs to merged bins out evenly over them; sums stay as they are."""
        near, beyond = values[..., : len(self.merged)], values[..., len(self.merged) :]
        return torch.cat(((near / self.widths).repeat_interleave(self.widths, dim=-1), beyond), dim=-1)


def _from_zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer

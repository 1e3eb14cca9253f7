"""The default variant: contributions of marks and windows, let through by attention, add up to log2fc.

Nothing reaches the difference between the cells but through the weights that are shown. For marks j and
windows t of all regions, with z the scaled signal of a cell, c what else is known of the gene (covariates)
and both orders of the cells in one trunk:

    h(A, B)    = trunk(zA, zB, c);  s = (h(A, B) + h(B, A)) / 2                 what the gene looks like
    b_j        = softmax_j(q (F s + f));  a_jt = softmax_t(q (E s + e))_j       gates of marks and windows
    d_jt       = zB - zA;  phi = 0.3 (d, d / (|d| + 0.3));  v_jt = (U s + u)_jt . phi_jt
    g(A, B)_jt = G b_j a_jt v_jt,   G = M T softplus(w s + 0.54)
    f(A, B)    = sum_jt g_jt + o shift(s)

Level II's beta_j and Level I's alpha_jt are what passes: |g_jt| = beta_j alpha_jt sum |g| (`model.shares`).
The weights that are shown and the signs are the whole prediction. A window in which the cells do not differ
contributes nothing; contributions are odd when the cells are exchanged, since s is even, and so is f, with
`order` o. The sum of |g| is penalised by kappa sd(y) / sqrt(n) of n training genes, as the lasso is, which
empties marks and windows that only carry noise. s reads all marks: a contribution says what a difference
between the cells is worth in this gene, given the rest.

What is predicted is the mean of f and of boosted trees of one window each (`window_trees`), a sum of the same
kind: contributions of marks and windows, and a shift. Either learns from the labels without the other.
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
from diffchrom.deepdiff.model import CELL_A, CELL_B, MAIN, Output, PairModel, shares
from diffchrom.deepdiff.segments import Patterns, Scaling, mean_of_segments
from diffchrom.deepdiff.window_trees import WindowTrees
from diffchrom.genome.layout import Layout
from diffchrom.genome.regions import TSS, Region
from diffchrom.variants import Variant

#: Bases of a window near the TSS, how far that reaches, and bases of a window beyond it.
NEAR_WINDOW, NEAR, FAR_WINDOW = 500, 3000, 1000
#: Bases of the windows that lie over these once more, for sparse signal.
WIDE_WINDOW = 2000
#: Bases of a step in which patterns are looked for.
PATTERN_STEP = 400
#: Scaled signal is clipped here: of windows, and of the patterns' steps.
CLIP, CLIP_STEPS = 3.0, 6.0
#: Scaled covariates are clipped here: a gene longer than those that were trained on is no stranger.
CLIP_COVARIATES = 4.0
#: Where differences are large: the unit of v, and half of the difference at which it levels off.
UNIT = 0.3
#: Steps towards the linear model that training starts from.
LASSO_STEPS = 1000
#: softplus of it is 1: at first every window passes its value as it is.
_NEUTRAL = math.log(math.e - 1)


def windows_of_bins(region: Region) -> tuple[tuple[int, int], ...]:
    """First and last (exclusive) bin of each window around the TSS: narrow ones, then wide ones over them."""
    end, n_bins = region.windows[-1][1], len(region.windows)
    width = region.windows[0][1] - region.windows[0][0]
    near = range(-NEAR, NEAR + 1, NEAR_WINDOW)
    narrow = [*near, *(at for at in range(-end, end + 1, FAR_WINDOW) if abs(at) > NEAR)]
    wide = range(-end, end + 1, WIDE_WINDOW)

    def between(cuts: Iterable[int]) -> tuple[tuple[int, int], ...]:
        inside = {min(max(round((at + end) / width), 0), n_bins) for at in cuts}
        return tuple(pairwise(sorted(inside | {0, n_bins})))

    return tuple(dict.fromkeys((*between(narrow), *between(wide))))


class Additive(PairModel):
    """A variant whose prediction is a sum of what marks and windows contribute, through their attention.

    Takes untransformed signal: it merges, transforms and scales by itself (`fit_scaling`).

    Parameters
    ----------
    variant, n_marks : as of `DeepDiff`.
    settings : of the training.
    layout : of the signal's last axis.
    n_covariates : numbers of a gene that the trunk reads beside the signal.
    n_cells : cells, each with a shift of its own; their codes come behind the covariates.
    """

    pooling: Tensor

    def __init__(
        self,
        variant: Variant,
        n_marks: int,
        settings: Hyperparameters,
        layout: Layout,
        n_covariates: int = 0,
        n_cells: int = 0,
    ) -> None:
        super().__init__()
        self.n_cells = n_cells
        self.of_gene = CovariateScaling(n_covariates)
        self.variant, self.n_marks, self.settings = variant, n_marks, settings
        self.near = windows_of_bins(layout.regions[0])
        self.n_bins = layout.spans[TSS].stop
        n_windows = len(self.near) + layout.n_windows - self.n_bins
        self.n_windows = n_windows
        self.penalty = 0.0
        bases = layout.regions[0].windows[0]
        self.n_steps = max(1, self.n_bins // max(1, PATTERN_STEP // (bases[1] - bases[0])))
        self.n_segments = min(variant.segments, self.n_steps)
        self.coarse = Scaling(n_marks, settings.transform)
        self.fine = Scaling(n_marks, settings.transform)
        pooling = torch.zeros(self.n_bins, len(self.near))
        for number, (first, last) in enumerate(self.near):
            pooling[first:last, number] = 1 / (last - first)
        self.register_buffer("pooling", pooling, persistent=False)
        self.patterns = Patterns(n_marks, variant.patterns, variant.pattern_width)
        hidden, size = settings.hidden, n_marks * n_windows
        features = size + variant.patterns * self.n_segments
        self.trunk = nn.Sequential(
            nn.Linear(2 * features + n_covariates, hidden),
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
        self.shift = _from_zero(nn.Linear(hidden, max(1, n_cells)))
        self.trees = None
        if settings.trees:
            self.trees = WindowTrees(settings.trees, size, n_covariates + n_cells, n_cells)
        self.expression = nn.Linear(hidden, 2 if settings.aux_task == "classification" else 1)

    def sequences(self) -> dict[str, tuple[str, ...]]:
        """One sequence a mark, of the difference between the cells."""
        return {MAIN: ("A-B",)}

    def fit_scaling(self, batches: Callable[[], Iterable[tuple[Tensor, ...]]]) -> None:
        """Learn the scaling from the training genes' signal of A and B, batch by batch."""
        if self.settings.standardise:
            self.coarse.fit(lambda: (self._windows(x) for pair in batches() for x in pair))
            self.fine.fit(lambda: (self._steps(x) for pair in batches() for x in pair))

    def fit_start(self, batches: Callable[[], Iterable[tuple[Tensor, ...]]], log2fc: Tensor) -> None:
        """Begin as the linear model with the least loss, and grow the trees.

        On the linear model a few hundred genes hardly improve.
        """
        parts = [
            (self._scaled(a), self._scaled(b), *self._of_genes(a, *covariates))
            for a, b, *covariates in batches()
        ]
        a, b, c, cells = (torch.cat(part) for part in zip(*parts, strict=True))
        if self.trees is not None:
            seed = int(torch.randint(2**31 - 1, ()))
            if self.order:
                self.trees.fit(a, b, c, log2fc, seed)
            else:  # of several pairs, to any of which the trees' answer must be odd
                both = torch.cat((log2fc, -log2fc))
                of_genes = torch.cat((torch.cat((c, cells), 1), torch.cat((c, -cells), 1)))
                self.trees.fit(torch.cat((a, b)), torch.cat((b, a)), of_genes, both, seed)
        truth, codes = log2fc.double(), cells.double()
        shifts = torch.linalg.lstsq(codes.T @ codes, codes.T @ truth, driver="gelsd").solution
        weights, mean = lasso((UNIT * (b - a)).double(), truth - codes @ shifts, self._penalty(log2fc))
        with torch.no_grad():
            self.value.bias[: len(weights)] = weights.float()
            self.shift.bias.copy_(shifts if self.n_cells else torch.tensor([mean]))

    def fit_covariates(self, covariates: Tensor) -> None:
        """Learn the covariates' scaling from the training genes."""
        self.of_gene.fit(covariates[:, : len(self.of_gene.mean)])

    def fit_labels(self, log2fc: Tensor, level: float | None) -> None:
        """Weigh the penalty by the spread of the training genes' labels; see `PairModel.fit_labels`."""
        self.penalty = self._penalty(log2fc)
        if level is not None:
            nn.init.constant_(self.expression.bias, level)

    def _penalty(self, log2fc: Tensor) -> float:
        return self.settings.sparsity * float(log2fc.std()) / math.sqrt(len(log2fc))

    def scaling(self, marks: Sequence[str], n_windows: int) -> dict[str, Any]:
        """What `coarse` (the windows) and `fine` (the patterns' steps) do, for ``config.json``."""
        return {
            "windows": self.coarse.described(marks, [last - first for first, last in self.near]),
            "steps": self.fine.described(marks, self.n_bins / self.n_steps),
        }

    def forward(self, a: Tensor, b: Tensor, covariates: Tensor | None = None) -> Output:
        """Predict from untransformed signal of cell A and of cell B, each [batch, n_marks, n_windows].

        Parameters
        ----------
        covariates : [batch, n_covariates + n_cells], not scaled, NaN where unknown; None of a model without.
            The last n_cells are 1 for cell B, -1 for cell A and 0 for all others.
        """
        n = len(a)
        both = torch.cat((a, b))
        c, cells = self._of_genes(a, covariates)
        z = self._scaled(both)
        z = z * self._kept(z[:n], self.settings.input_dropout).repeat(2, 1)
        z_a, z_b = z.chunk(2)
        features = torch.cat((z, self._amounts(both)), dim=1)
        f_a, f_b = features.chunk(2)
        h = self.trunk(torch.cat((torch.cat((f_a, f_b, c), 1), torch.cat((f_b, f_a, c), 1))))
        gene = (h[:n] + h[n:]) / 2
        contribution = self._contributions(gene, z_b - z_a)
        shift = self.shift(gene)
        shift = (cells * shift).sum(1) if self.n_cells else self.order * shift.squeeze(1)
        if self.trees is not None and not self.training:  # neither is to learn what the other leaves
            of_trees, of_pair = self.trees(z_a, z_b, torch.cat((c, cells), 1), self.order)
            contribution = (contribution + of_trees.unflatten(1, (self.n_marks, -1))) / 2
            shift = (shift + of_pair) / 2
        log2fc = contribution.sum(dim=(1, 2)) + shift
        expression_a, expression_b = self.expression(h).chunk(2)
        of_bins = self._spread(contribution)
        alpha, beta = shares(of_bins)
        return Output(
            log2fc=log2fc,
            expression={CELL_A: expression_a, CELL_B: expression_b},
            embeddings={},
            alpha={MAIN: alpha},
            beta={MAIN: beta},
            contribution=of_bins,
            penalty=self.penalty * contribution.abs().sum(dim=(1, 2)).mean() if self.training else None,
        )

    def _of_genes(self, a: Tensor, covariates: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scaled covariates [batch, n_covariates] of genes with signal `a`, codes of cells."""
        if covariates is None:
            return a.new_empty(len(a), 0), a.new_zeros(len(a), self.n_cells)
        n = covariates.shape[1] - self.n_cells
        return self.of_gene(covariates[:, :n]), covariates[:, n:]

    def _gates(self, gene: Tensor) -> Tensor:
        """How far marks and windows are open, by what a gene looks like [batch, n_marks, windows]."""
        scale = self.settings.score_scale
        scores = self.level1(gene).unflatten(1, (self.n_marks, self.n_windows))
        marks = torch.softmax(scale * self.level2(gene), dim=1)
        return marks.unsqueeze(2) * torch.softmax(scale * scores, dim=2)

    def _contributions(self, gene: Tensor, difference: Tensor) -> Tensor:
        """What each mark and window adds to log2fc [batch, n_marks, windows], of the scaled difference."""
        phi = UNIT * torch.cat((difference, difference / (difference.abs() + UNIT)), dim=1)
        value: Tensor = (self.value(gene) * phi).unflatten(1, (2, self.n_marks, self.n_windows)).sum(1)
        gain: Tensor = F.softplus(self.gain(gene) + _NEUTRAL).unsqueeze(2)
        passed: Tensor = gain * (self.n_marks * self.n_windows) * self._gates(gene) * value
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

    def _scaled(self, x: Tensor) -> Tensor:
        """Scaled mean signal of all windows [batch, n_marks * windows]."""
        scaled: Tensor = self.coarse(self._windows(x)).clamp(-CLIP, CLIP)
        return scaled.flatten(1)

    def _windows(self, x: Tensor) -> Tensor:
        """Mean signal of the windows: bins around the TSS merged, those of other regions as they are."""
        return torch.cat((x[..., : self.n_bins] @ self.pooling, x[..., self.n_bins :]), dim=-1)

    def _steps(self, x: Tensor) -> Tensor:
        return mean_of_segments(x[..., : self.n_bins], self.n_steps)

    def _spread(self, values: Tensor) -> Tensor:
        """Share what belongs to windows around the TSS out evenly over their bins; sums stay as they are."""
        near, beyond = values[..., : len(self.near)], values[..., len(self.near) :]
        return torch.cat((near @ self.pooling.T, beyond), dim=-1)


def lasso(features: Tensor, truth: Tensor, penalty: float) -> tuple[Tensor, float]:
    """Weights w [p] and mean m of `truth` [n] with the least squared error and penalty, as training has it.

    That is mean (truth - m - features w)^2 + penalty mean_i sum_k |features_ik w_k|, in float64, by
    accelerated proximal gradients (Beck and Teboulle 2009).
    """
    mean = truth.mean()
    gram, target = features.T @ features / len(features), features.T @ (truth - mean) / len(features)
    rate = 1 / torch.linalg.eigvalsh(gram)[-1].clamp(min=1e-12)
    threshold = rate * penalty * features.abs().mean(dim=0) / 2
    weights, ahead, momentum = torch.zeros_like(target), torch.zeros_like(target), 1.0
    for _ in range(LASSO_STEPS):
        step = ahead - rate * (gram @ ahead - target)
        following = step.sign() * (step.abs() - threshold).clamp(min=0)
        growth = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + (momentum - 1) / growth * (following - weights)
        weights, momentum = following, growth
    return weights, float(mean)


class CovariateScaling(nn.Module):
    """``(value - mean) / scale`` of every covariate, and 0 where it is unknown; `fit` learns both."""

    mean: Tensor
    scale: Tensor

    def __init__(self, n_covariates: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_covariates))
        self.register_buffer("scale", torch.ones(n_covariates))

    def forward(self, covariates: Tensor) -> Tensor:
        """Scale [batch, n_covariates]."""
        return (
            ((covariates - self.mean) / self.scale).nan_to_num(0.0).clamp(-CLIP_COVARIATES, CLIP_COVARIATES)
        )

    def fit(self, covariates: Tensor) -> None:
        """Learn from the training genes' [n_genes, n_covariates]; constant ones keep scale 1."""
        values = covariates.double()
        mean = values.nanmean(dim=0)
        deviation = (values - mean).square().nanmean(dim=0).sqrt()
        varies = deviation > 1e-6 * (1 + mean.abs())
        self.mean.copy_(mean.nan_to_num(0.0))
        self.scale.copy_(torch.where(varies, deviation, 1.0))


def _from_zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer

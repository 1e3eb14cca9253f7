"""Boosted trees that look at one window of one mark each, so that each adds to what that window contributes.

Every path of a tree asks for the signal of A, of B and B - A of one (mark, window), and for covariates of the
gene (a generalised additive model, as in Lou, Caruana and Gehrke, KDD 2012). With T_jt the sum of the leaves
that belong to window jt, and m the mean of both cells' signal,

    c(A, B)_jt = T_jt(A, B) - T_jt(m, m)      is what the difference between the cells adds there, and
    s          = sum_jt T_jt(m, m)            belongs to the pair, whatever differs.

For other data than the pair of the training (`PairModel.order`), only (c(A, B) - c(B, A)) / 2 is left.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffchrom.tree_nodes import Trees

#: Leaves of a tree at most, and questions on the way to one.
LEAVES, DEPTH = 16, 6
#: Genes in a leaf at least.
LEAF_GENES = 20
#: Share of a tree's correction that is taken over, and of the features that a question is chosen among.
RATE, FEATURES = 0.1, 0.3
#: Half of the width over which derivatives average, in standard deviations of the signal: trees are steps.
SMOOTHING = 0.1
#: Numbers that trees are grown on at most; beyond it on fewer genes, drawn at random.
MOST_NUMBERS = 200_000_000


class WindowTrees(nn.Module):
    """Trees over windows; none grow before `fit`.

    Parameters
    ----------
    n_trees : at most.
    n_windows : of all marks together.
    n_covariates : numbers of a gene beside its signal.
    n_cells : how many of these, the last ones, change their sign when the cells are exchanged.

    Attributes
    ----------
    feature, right : int32 [n_trees, n_nodes]
        What an inner node asks for (A's windows, B's, B - A's, then the covariates), and its child for values
        above `number`; the other child is the node that follows. `right` is 0 in leaves.
    number : float32 [n_trees, n_nodes]
        Threshold of an inner node, value of a leaf.
    window : int32 [n_trees, n_nodes]
        The window that a leaf belongs to; `n_windows` where covariates alone lead to it.
    start : float32 []
        What trees add to.
    """

    feature: Tensor
    right: Tensor
    number: Tensor
    window: Tensor
    start: Tensor

    def __init__(self, n_trees: int, n_windows: int, n_covariates: int, n_cells: int = 0) -> None:
        super().__init__()
        shape = (n_trees, 2 * LEAVES - 1)
        self.n_windows, self.n_covariates, self.n_cells = n_windows, n_covariates, n_cells
        for name in ("feature", "right"):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int32))
        self.register_buffer("number", torch.zeros(shape))
        self.register_buffer("window", torch.full(shape, n_windows, dtype=torch.int32))
        self.register_buffer("start", torch.zeros(()))
        # The hook is handed the module, which may be a copy of this one.
        self.register_load_state_dict_post_hook(WindowTrees._check)  # type: ignore[no-untyped-call]

    def _check(self, _: object = None) -> None:
        """Refuse nodes that ask, lead or belong outside, with ValueError: a file may say anything."""
        nodes = (self.feature, self.right, self.number.double())
        feature, right, number = (values.flatten().cpu().numpy() for values in nodes)
        sizes = np.full(len(self.feature), self.feature.shape[1], dtype=np.int32)
        importance = np.zeros(3 * self.n_windows + self.n_covariates)
        Trees(sizes, feature, right, number, start=0.0, divisor=1, importance=importance)
        if not ((self.window >= 0) & (self.window <= self.n_windows)).all():
            raise ValueError("a leaf of a tree leads nowhere: it belongs to no window")

    def fit(self, a: Tensor, b: Tensor, covariates: Tensor, log2fc: Tensor, seed: int) -> None:
        """Grow the trees on scaled signal [n_genes, n_windows] of A and of B, and covariates of the genes."""
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        most = max(2, MOST_NUMBERS // (3 * self.n_windows + self.n_covariates))
        if len(a) > most:
            chosen = torch.from_numpy(np.random.default_rng(seed).permutation(len(a))[:most])
            a, b, covariates, log2fc = (values[chosen] for values in (a, b, covariates, log2fc))
        sources, beside = (
            3 * self.n_windows,
            range(3 * self.n_windows, 3 * self.n_windows + self.n_covariates),
        )
        model = HistGradientBoostingRegressor(
            max_iter=len(self.feature),
            learning_rate=RATE,
            max_leaf_nodes=LEAVES,
            max_depth=DEPTH,
            min_samples_leaf=LEAF_GENES,
            max_features=FEATURES,
            interaction_cst=[
                {*range(window, sources, self.n_windows), *beside} for window in range(self.n_windows)
            ],
            early_stopping=False,
            random_state=seed,
        )
        with threadpool_limits(limits=torch.get_num_threads()):
            model.fit(_features(a, b, covariates).numpy(), log2fc.numpy())
        self._keep(Trees.of_boosting(model, len(self.feature)))

    def _keep(self, trees: Trees) -> None:
        """Take grown trees, and note the window that each leaf belongs to."""
        self.start.fill_(trees.start)
        ends = np.cumsum(trees.sizes).tolist()
        for number, (first, last) in enumerate(pairwise([0, *ends])):
            feature, right = trees.feature[first:last], trees.right[first:last]
            window = np.full(last - first, self.n_windows, dtype=np.int32)
            for node in np.flatnonzero(right).tolist():
                of_covariate = feature[node] >= 3 * self.n_windows
                asked = window[node] if of_covariate else feature[node] % self.n_windows
                window[node + 1] = window[right[node]] = asked
            kept = {"feature": feature, "right": right, "number": trees.number[first:last], "window": window}
            for name, values in kept.items():
                buffer = getattr(self, name)
                buffer[number, : last - first] = torch.from_numpy(values).to(buffer.dtype)

    def forward(self, a: Tensor, b: Tensor, covariates: Tensor, order: float) -> tuple[Tensor, Tensor]:
        """What windows contribute [n_genes, n_windows], and what is the pair's own [n_genes].

        Derivatives are those of the trees averaged over `SMOOTHING` to either side of a cell's signal.
        """
        differences, levels = _Smoothed.apply(a, b, covariates, self, order)  # type: ignore[no-untyped-call]
        return differences, levels.sum(dim=1)

    def of_windows(self, a: Tensor, b: Tensor, covariates: Tensor, order: float) -> tuple[Tensor, Tensor]:
        """What differences contribute [n_genes, n_windows], and levels [n_genes, n_windows + 1]."""
        middle, exchanged = (a + b) / 2, self.exchanged(covariates)
        levels = self._sums(middle, middle, covariates)
        levels = (levels - self._sums(middle, middle, exchanged)) / 2 if self.n_cells else order * levels
        forward = self._sums(a, b, covariates) if order != -1 else 0
        backward = self._sums(b, a, exchanged) if order != 1 else 0
        differences = ((1 + order) * forward - (1 - order) * backward) / 2 - levels
        levels[:, -1] += order * self.start
        return differences[:, :-1], levels

    def exchanged(self, covariates: Tensor) -> Tensor:
        """The same with A and B exchanged."""
        n = covariates.shape[1] - self.n_cells
        return torch.cat((covariates[:, :n], -covariates[:, n:]), dim=1) if self.n_cells else covariates

    def _sums(self, a: Tensor, b: Tensor, covariates: Tensor) -> Tensor:
        """Sum of the leaves of every window [n_genes, n_windows + 1], in the last of leaves without one."""
        features = _features(a, b, covariates)
        feature, right, number = (values.flatten() for values in (self.feature, self.right, self.number))
        first = torch.arange(0, len(feature), self.feature.shape[1], device=a.device)
        node = first.expand(len(a), -1)
        for _ in range(DEPTH):
            above = features.gather(1, feature[node].long()) > number[node]
            child = right[node]
            node = torch.where(child == 0, node, torch.where(above, first + child, node + 1))
        sums = a.new_zeros(len(a), self.n_windows + 1)
        return sums.scatter_add_(1, self.window.flatten()[node].long(), number[node])


class _Smoothed(torch.autograd.Function):
    """`WindowTrees.of_windows` with derivatives: a window's trees see no other, so one step moves all."""

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, b: Tensor, covariates: Tensor, trees: WindowTrees, order: float
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(a, b, covariates)
        ctx.trees, ctx.order = trees, order
        return trees.of_windows(a, b, covariates, order)

    @staticmethod
    def backward(ctx: Any, of_differences: Tensor, of_levels: Tensor) -> tuple[Tensor | None, ...]:
        a, b, covariates = ctx.saved_tensors

        def derivative(towards_a: float, towards_b: float) -> Tensor:
            above, below = (
                ctx.trees.of_windows(a + sign * towards_a, b + sign * towards_b, covariates, ctx.order)
                for sign in (1, -1)
            )
            differences, levels = above[0] - below[0], (above[1] - below[1])[:, :-1]
            slope: Tensor = (of_differences * differences + of_levels[:, :-1] * levels) / (2 * SMOOTHING)
            return slope

        return derivative(SMOOTHING, 0), derivative(0, SMOOTHING), None, None, None


def _features(a: Tensor, b: Tensor, covariates: Tensor) -> Tensor:
    return torch.cat((a, b, b - a, covariates), dim=1)

"""A random forest on the best bin of every mark (Dong et al. 2012, Dong and Weng 2013)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.classes import random_forest_classes
from diffchrom.baselines.features import log2_merged
from diffchrom.baselines.method import Context, Examples, Fit, Grid, Prediction, Predictor, require_genes
from diffchrom.baselines.svr import flanking_signal, has_tes
from diffchrom.baselines.trees import random_forest
from diffchrom.errors import RunError
from diffchrom.genome.genes import Signal


@dataclass(frozen=True)
class OnBestBins:
    """A predictor that sees one bin of every mark.

    Attributes
    ----------
    bins : int64 [n_marks], of those around TSS and, `with_tes`, transcript's end, from 0.
    with_tes : whether half of them flank the transcript's end.
    predictor : of genes with one bin a mark.
    """

    bins: npt.NDArray[np.int64]
    with_tes: bool
    predictor: Predictor

    def __post_init__(self) -> None:
        """Refuse what are no bins with ValueError."""
        if self.bins.ndim != 1 or (self.bins < 0).any():
            raise ValueError("the best bins are no bins")

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The bins, from 1, and what was chosen on them."""
        return {"bins": [int(number) + 1 for number in self.bins], **self.predictor.chosen}

    def predict(self, genes: Examples) -> Prediction:
        """Predict as the predictor does."""
        return self.predictor.predict(only(genes, self.bins, self.with_tes))


def only(genes: Examples, bins: npt.NDArray[np.int64], with_tes: bool) -> Examples:
    """The same genes with one bin a mark."""
    a, b = flanking_signal(genes, with_tes)
    if len(bins) != a.shape[1] or bins.max(initial=0) >= a.shape[2]:
        raise RunError("was fitted on other marks or windows; predict from those of the fit")

    def picked(signal: Signal) -> Signal:
        return np.take_along_axis(signal, bins[None, :, None], axis=2)

    return replace(genes, signal_a=picked(a), signal_b=picked(b), tes_a=None, tes_b=None)


def best_bins(train: Examples, with_tes: bool) -> npt.NDArray[np.int64]:
    """For every mark the bin whose change, log2((B + 1) / (A + 1)), has the highest |r| with log2fc."""
    a, b = flanking_signal(train, with_tes)
    change = (log2_merged(b, 1) - log2_merged(a, 1)).reshape(a.shape).astype(np.float64)
    change -= change.mean(axis=0)
    label = train.log2fc - train.log2fc.mean()
    spread = np.sqrt(np.square(change).sum(axis=0))
    r = np.einsum("gmb,g->mb", change, label) / np.where(spread > 0, spread, np.inf)
    return np.asarray(np.abs(r).argmax(axis=1), dtype=np.int64)


def _on_best_bins(fit: Fit, train: Examples, grid: Grid, context: Context) -> Predictor:
    with_tes = has_tes(train)
    bins = best_bins(train, with_tes)
    few = only(train, bins, with_tes)
    return OnBestBins(bins, with_tes, fit(few, few.take(slice(0, 0)), grid, context))


def forest_best_bins(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit a forest on A, B and B - A of every mark's best bin."""
    require_genes(train, 3, "forest-best-bins")
    return _on_best_bins(random_forest, train, grid, context)


def forest_best_bins_classes(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit a forest on the same that tells up from down."""
    require_genes(train, 3, "forest-best-bins-classes")
    return _on_best_bins(random_forest_classes, train, grid, context)

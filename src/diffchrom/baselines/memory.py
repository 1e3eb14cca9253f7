"""Baselines that never look at chromatin: what they reach is memory of genes, not knowledge of marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffchrom.baselines.method import Context, Examples, Grid, Prediction, Predictor, Vector, require_genes
from diffchrom.errors import StoreError


@dataclass(frozen=True)
class Mean:
    """One number for all genes."""

    value: float

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The mean itself."""
        return {"mean": self.value}

    def predict(self, genes: Examples) -> Prediction:
        """Predict the training mean."""
        return Prediction(np.full(len(genes), self.value))


def mean(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Take the mean log2fc of the training genes: MSE to beat; r is undefined."""
    require_genes(train, 1, "mean")
    return Mean(float(train.log2fc.mean()))


@dataclass(frozen=True)
class CellMean:
    """A gene's mean change from A to the store's further cells; the training mean where none is known.

    Attributes
    ----------
    fallback : the training mean.
    shuffled : whether the further cells' values are those of other genes.
    """

    fallback: float
    shuffled: bool = False

    @property
    def chosen(self) -> Mapping[str, Any]:
        """What serves where no further cell knows the gene."""
        return {"fallback": self.fallback}

    def predict(self, genes: Examples) -> Prediction:
        """Predict from the same genes in other pairs."""
        change = _change_elsewhere(genes, self.shuffled)
        return Prediction(np.where(np.isfinite(change), change, self.fallback))


def cell_mean(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Predict B by the gene's mean over all cells but A and B: mean over C of log2fc(A, C).

    That is what a model trained on several pairs with A could remember about a gene; it needs no mark of B.
    """
    return _cell_mean(train, shuffled=False)


def cell_mean_shuffled(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Predict as `cell_mean` with other genes' values in the further cells: mean over C of log2(C'/A).

    Nothing of the gene is left but A, which is in the label log2(B/A) too: what this reaches, `cell_mean`
    owes to that and not to the gene's memory.
    """
    return _cell_mean(train, shuffled=True)


def _cell_mean(train: Examples, *, shuffled: bool) -> CellMean:
    require_genes(train, 1, "cell-mean")
    _change_elsewhere(train, shuffled)
    return CellMean(float(train.log2fc.mean()), shuffled)


def _change_elsewhere(genes: Examples, shuffled: bool) -> Vector:
    change = genes.change_to_others if shuffled else genes.change_elsewhere
    if change is None:
        name = "cell-mean-shuffled" if shuffled else "cell-mean"
        raise StoreError(
            f"{name} needs a third cell with expression in the same unit; "
            "add its tracks and expression with `diffchrom prepare`"
        )
    return change

"""A linear model of one cell's expression, on what the whole region has of each mark (Karlic et al. 2010)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffchrom.baselines.features import log2_merged
from diffchrom.baselines.method import Context, Examples, Grid, Matrix, Prediction, Predictor, require_genes
from diffchrom.errors import RunError, StoreError
from diffchrom.genome.genes import Signal


@dataclass(frozen=True)
class CellLines:
    """log2(expression + 1) = intercept + sum over marks of slope x log2(mean signal + 1), for each cell.

    Attributes
    ----------
    coefficients : float64 [2, 1 + n_marks]
        Of A and of B: the intercept, and a slope a mark.
    """

    coefficients: Matrix

    def __post_init__(self) -> None:
        """Refuse coefficients that are not those of two cells, with ValueError."""
        if self.coefficients.ndim != 2 or len(self.coefficients) != 2:
            raise ValueError("two cells have two lines")

    @property
    def chosen(self) -> Mapping[str, Any]:
        """Nothing is chosen; the coefficients are few enough to be told."""
        return {
            f"coefficients_{cell}": row.tolist() for cell, row in zip("ab", self.coefficients, strict=True)
        }

    def predict(self, genes: Examples) -> Prediction:
        """Predict both cells' expression, and log2fc as B's less A's."""
        if len(genes.marks) + 1 != self.coefficients.shape[1]:
            raise RunError("was fitted on other marks; predict from those of the fit")
        cells = {
            cell: _region(signal) @ row
            for cell, signal, row in zip(
                "AB", (genes.signal_a, genes.signal_b), self.coefficients, strict=True
            )
        }
        return Prediction(cells["B"] - cells["A"], cells)


def _region(signal: Signal) -> Matrix:
    """1 and log2(mean signal + 1) of every mark; float64 [n_genes, 1 + n_marks]."""
    marks = log2_merged(signal, signal.shape[2])
    return np.column_stack([np.ones(len(marks)), marks]).astype(np.float64)


def linear_cells(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit a line a cell by least squares; of a mark that is constant, the shortest solution takes 0."""
    require_genes(train, 3, "linear-cells")
    rows = []
    for signal, expression in ((train.signal_a, train.expr_a), (train.signal_b, train.expr_b)):
        known = np.isfinite(expression)
        if known.sum() < 3:
            raise StoreError(
                "linear-cells learns from expression of both cells; add it with "
                "`prepare_store(expression=...)`"
            )
        rows.append(np.linalg.lstsq(_region(signal[known]), expression[known], rcond=None)[0])
    return CellLines(np.stack(rows))

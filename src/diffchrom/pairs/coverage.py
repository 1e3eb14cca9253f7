"""How often prediction intervals cover the truth, over all genes and over those of one kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import Rows
from diffchrom.metrics import DIRECTION_THRESHOLD, cells_expressing
from diffchrom.pairs.pair import Labels

Array = npt.NDArray[np.float64]

#: Kinds of genes by the number of cells that express them.
BY_CELLS = ("silent_in_both", "expressed_in_one", "expressed_in_both")


def larger_expression(expression: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
    """The larger of the expressions [n] that are predicted for the cells; None where none is."""
    return np.max(list(expression.values()), axis=0) if expression else None


def coverage_by_stratum(
    labels: Labels,
    rows: Rows,
    prediction: npt.NDArray[Any],
    low: Array,
    high: Array,
    expression: npt.NDArray[Any] | None = None,
) -> dict[str, dict[str, float]]:
    """How many genes of each kind lie inside their interval.

    Parameters
    ----------
    labels : of all genes.
    rows : the genes that count; those without a label or an interval do not.
    prediction, low, high : float [n_genes]
        Of log2fc, and the ends of its interval.
    expression : float [n_genes]
        The larger of the two predicted expressions (`larger_expression`), None where none is predicted.

    Returns
    -------
    dict
        Stratum to ``n``, ``coverage`` and mean ``width``; those without genes are left out. ``all``;
        ``expression_1`` to ``expression_5``: fifths by predicted expression; ``top_decile``: the largest
        tenth of the predictions, up or down. Of the truth, and so nothing that an interval could know:
        `BY_CELLS`, by measured expression, and ``up_or_down`` (|log2fc| >= 1).
    """
    rows = rows[np.isfinite(labels.log2fc[rows]) & np.isfinite(prediction[rows]) & np.isfinite(low[rows])]
    if not len(rows):
        return {}
    truth, size = labels.log2fc[rows], np.abs(prediction[rows])
    strata = {"all": np.ones(len(rows), dtype=bool)}
    if expression is not None:
        fifth = np.searchsorted(np.quantile(expression[rows], [0.2, 0.4, 0.6, 0.8]), expression[rows])
        strata |= {f"expression_{number + 1}": fifth == number for number in range(5)}
    strata["top_decile"] = size >= np.quantile(size, 0.9)
    cells = cells_expressing(labels.expr_a[rows], labels.expr_b[rows], labels.unit)
    if cells is not None:
        strata |= {name: cells == number for number, name in enumerate(BY_CELLS)}
    strata["up_or_down"] = np.abs(truth) >= DIRECTION_THRESHOLD
    covered, width = (truth >= low[rows]) & (truth <= high[rows]), high[rows] - low[rows]
    return {
        name: {"n": int(of.sum()), "coverage": float(covered[of].mean()), "width": float(width[of].mean())}
        for name, of in strata.items()
        if of.any()
    }

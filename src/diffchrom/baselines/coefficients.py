"""What a fitted baseline weighs, by cell, mark and position, as the columns of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.features import feature_edges
from diffchrom.baselines.linear import Ridge, RidgeWithCovariates
from diffchrom.baselines.method import Predictor
from diffchrom.baselines.relief import SelectedForest
from diffchrom.baselines.seeds import Averaged
from diffchrom.baselines.trees import TreeEnsemble
from diffchrom.errors import RunError
from diffchrom.genome.layout import Layout

Columns = dict[str, npt.NDArray[Any]]

#: What a feature is the signal of, as in the column `cell`; a covariate is the gene's, of no cell.
A, B, DIFFERENCE, GENE = "A", "B", "B-A", "gene"


def coefficients(
    predictor: Predictor, marks: Sequence[str], layout: Layout, covariates: Sequence[str] = ()
) -> Columns:
    """Say what a fitted baseline weighs.

    Parameters
    ----------
    predictor : a fitted ridge, random-forest, gradient-boosting or relieff-rf.
    marks, layout, covariates : of the genes it was fitted on, as the run's configuration has them.

    Returns
    -------
    columns, a row a feature
        ``cell`` (``A``, ``B`` or ``B-A``), ``mark``, ``region``, ``first_window`` and ``last_window`` (from 1
        within the region, both included; a feature may be the mean of several bins around the TSS; of a
        covariate the cell is ``gene``, the mark its name, the region empty and the windows 0), and

        - of ridge ``coefficient``: how much the predicted log2fc rises with one unit of log2(signal + 1)
          there, all else equal; and ``per_sd``: with one standard deviation of it among the training genes.
          Predicting needs none of B - A, which these two coefficients contain.
        - of trees ``importance``: the feature's share in what all splits gained, without a sign. Shares of
          features that say the same, such as neighbouring bins, are divided among them by chance.

    Raises
    ------
    RunError
        When the method weighs no positions, or was fitted on other marks or windows.
    """
    if type(predictor) not in _COLUMNS:
        raise RunError(
            "this baseline weighs no single positions; "
            "ridge, random-forest, gradient-boosting and relieff-rf do"
        )
    return _COLUMNS[type(predictor)](predictor, tuple(marks), layout, tuple(covariates))


def _positions(cells: Sequence[str], marks: tuple[str, ...], layout: Layout, merge: int, n: int) -> Columns:
    """The first five columns, of `n` features in the order of `features.both_and_difference`."""
    edges = feature_edges(layout.n_bins, layout.n_windows, merge)
    first, last = edges[:-1], edges[1:] - 1
    shape = (len(cells), len(marks), len(first))
    if np.prod(shape) != n:
        raise RunError(
            f"the baseline was not fitted on {len(marks)} marks and {layout.n_windows} windows; "
            "name those of its run"
        )
    cell, mark, at = (index.ravel() for index in np.indices(shape))
    return {
        "cell": np.array(cells, dtype=object)[cell],
        "mark": np.array(marks, dtype=object)[mark],
        "region": layout.region[first][at],
        "first_window": layout.number[first][at],
        "last_window": layout.number[last][at],
    }


def _of_genes(covariates: tuple[str, ...]) -> Columns:
    """The same of covariates."""
    empty, none = np.full(len(covariates), "", dtype=object), np.zeros(len(covariates), dtype=np.intp)
    cell, mark = np.full(len(covariates), GENE, dtype=object), np.array(covariates, dtype=object)
    return {"cell": cell, "mark": mark, "region": empty, "first_window": none, "last_window": none}


def _behind(columns: Columns, others: Columns) -> Columns:
    """Rows of the same columns, one set behind the other."""
    return {name: np.concatenate([values, others[name]]) for name, values in columns.items()}


def _ridge(ridge: Ridge, marks: tuple[str, ...], layout: Layout, covariates: tuple[str, ...] = ()) -> Columns:
    if covariates:
        raise RunError("the baseline was fitted without covariates; name those of its run")
    features = ridge.features
    l00, l10, l11 = features.factors
    on_both, on_b = np.split(ridge.fit.coefficients, 2)
    # The features are (u, v) L of the standardised u of A and v of B, so the coefficients of u and v are L w.
    per_sd = np.concatenate([l00 * on_both, l10 * on_both + l11 * on_b])
    scale = np.concatenate([features.a.scale, features.b.scale])
    positions = _positions((A, B), marks, layout, features.merge, len(per_sd))
    return positions | {"coefficient": per_sd / scale, "per_sd": per_sd}


def _ridge_with_covariates(
    ridge: RidgeWithCovariates, marks: tuple[str, ...], layout: Layout, covariates: tuple[str, ...]
) -> Columns:
    n = len(ridge.covariates.scale)
    if n != len(covariates):
        raise RunError(f"the baseline was fitted on {n} covariates; name those of its run")
    of_signal, of_genes = np.split(ridge.fit.coefficients, [-n])
    signal = _ridge(Ridge(ridge.features, replace(ridge.fit, coefficients=of_signal)), marks, layout)
    weights = {"coefficient": of_genes / ridge.covariates.scale, "per_sd": of_genes}
    return _behind(signal, _of_genes(covariates) | weights)


def _ensemble(
    ensemble: TreeEnsemble, marks: tuple[str, ...], layout: Layout, covariates: tuple[str, ...]
) -> Columns:
    importance = ensemble.trees.importance
    of_signal, of_genes = np.split(importance, [len(importance) - len(covariates)])
    positions = _positions((A, B, DIFFERENCE), marks, layout, ensemble.merge, len(of_signal))
    return _behind(positions | {"importance": of_signal}, _of_genes(covariates) | {"importance": of_genes})


def _selected(
    forest: SelectedForest, marks: tuple[str, ...], layout: Layout, covariates: tuple[str, ...]
) -> Columns:
    del covariates  # it reads none
    every = _positions((DIFFERENCE,), marks, layout, 1, len(marks) * layout.n_windows)
    if (forest.columns >= len(every["mark"])).any():
        raise RunError("the baseline was fitted on more marks or windows; name those of its run")
    return {name: values[forest.columns] for name, values in every.items()} | {
        "importance": forest.trees.importance
    }


def _averaged(
    averaged: Averaged, marks: tuple[str, ...], layout: Layout, covariates: tuple[str, ...]
) -> Columns:
    """Mean importance over the members, whose features may differ: who has no such feature gives it 0."""
    members = [coefficients(member, marks, layout, covariates) for member in averaged.members]
    total: dict[tuple[Any, ...], float] = {}
    for columns in members:
        *positions, importance = (values.tolist() for values in columns.values())
        for row, share in zip(zip(*positions, strict=True), importance, strict=True):
            total[row] = total.get(row, 0.0) + share / len(members)
    positions = [np.array(values) for values in zip(*total, strict=True)]
    return dict(zip(members[0], [*positions, np.array(list(total.values()))], strict=True))


_COLUMNS: Mapping[type, Callable[[Any, tuple[str, ...], Layout, tuple[str, ...]], Columns]] = {
    Ridge: _ridge,
    RidgeWithCovariates: _ridge_with_covariates,
    TreeEnsemble: _ensemble,
    SelectedForest: _selected,
    Averaged: _averaged,
}

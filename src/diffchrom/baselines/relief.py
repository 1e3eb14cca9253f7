"""Regression ReliefF and a random forest on the features it picks (Li et al. 2015)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.method import (
    Context,
    Examples,
    Grid,
    Matrix,
    Prediction,
    Predictor,
    Vector,
    require_genes,
    selection_score,
)
from diffchrom.baselines.trees import combinations
from diffchrom.genome.genes import Signal
from diffchrom.tree_nodes import Trees

_ELEMENTS = 4_000_000  # differences held at a time

Rows = npt.NDArray[np.intp]


def differences(genes: Examples) -> Signal:
    """B - A of every mark and bin; float32 [n_genes, n_marks * n_bins]."""
    return (genes.signal_b - genes.signal_a).reshape(len(genes), -1)


def rrelieff(
    features: Matrix | Signal, labels: Vector, *, n_neighbors: int = 70, sigma: float = 20.0, threads: int = 1
) -> Vector:
    """Weight of every feature by RReliefF (Robnik-Sikonja and Kononenko 1997, figure 2).

    A feature weighs more when it differs between near genes of different label, less when it differs between
    near genes of equal label. All genes are drawn once. Distances are Manhattan over features scaled to
    [0, 1]; neighbour r of a gene counts exp(-(r / sigma)^2).

    Parameters
    ----------
    features : [n_genes, n_features]
    labels : float64 [n_genes]
    n_neighbors : nearest genes of each gene that are compared; fewer where there are fewer genes.
    sigma : how fast the influence of further neighbours falls, in ranks.
    threads : cores of the neighbour search.

    Returns
    -------
    float64 [n_features]
        Between -1 and 1; 0 for constant features, and for all where the labels are constant.
    """
    scaled = unit_range(features)
    label_span = np.ptp(labels)
    if label_span == 0:
        return np.zeros(features.shape[1])
    y = (labels - labels.min()) / label_span
    neighbors = nearest(scaled, min(n_neighbors, len(y) - 1), threads)
    influence = np.exp(-np.square(np.arange(1, neighbors.shape[1] + 1) / sigma))
    influence /= influence.sum()
    differing_labels = np.abs(y[:, None] - y[neighbors])  # d(y_i, y_j), [n_genes, n_neighbors]
    weights = np.stack([np.broadcast_to(influence, differing_labels.shape), differing_labels * influence])
    n_dc = float(weights[1].sum())
    n_da, n_dcda = np.zeros((2, features.shape[1]))
    rows = max(1, _ELEMENTS // (neighbors.shape[1] * scaled.shape[1]))
    for first in range(0, len(y), rows):
        part = slice(first, first + rows)
        differing = np.abs(scaled[part, None, :] - scaled[neighbors[part]])
        flat = differing.reshape(-1, scaled.shape[1])
        n_da_part, n_dcda_part = weights[:, part].reshape(2, -1).astype(np.float32) @ flat
        n_da += n_da_part
        n_dcda += n_dcda_part
    if n_dc in (0.0, float(len(y))):
        return np.zeros(features.shape[1])
    return np.asarray(n_dcda / n_dc - (n_da - n_dcda) / (len(y) - n_dc))


def relieff(features: Matrix | Signal, classes: Vector, *, n_neighbors: int = 10, threads: int = 1) -> Vector:
    """Weight of every feature by ReliefF for two classes (Kononenko, ECML 1994).

    A feature weighs more when it differs between a gene and its nearest genes of the other class, less when
    it differs between it and those of its own class. All genes are drawn once; distances are as in
    `rrelieff`, and neighbours count equally.

    Parameters
    ----------
    features : [n_genes, n_features]
    classes : float64 [n_genes], 0 or 1; at least two of each.
    n_neighbors : nearest genes of each class that are compared; fewer where there are fewer.
    threads : cores of the neighbour search.

    Returns
    -------
    float64 [n_features]
        Between -1 and 1; 0 for constant features.
    """
    scaled = unit_range(features)
    total = np.zeros(features.shape[1])
    for mine in (0, 1):
        members, others = np.flatnonzero(classes == mine), np.flatnonzero(classes != mine)
        hits = nearest(scaled[members], min(n_neighbors, len(members) - 1), threads)
        misses = nearest(scaled[others], min(n_neighbors, len(others)), threads, scaled[members])
        total += _differences(scaled, members, others[misses])
        total -= _differences(scaled, members, members[hits])
    return np.asarray(total / len(scaled))


def _differences(scaled: Signal, genes: Rows, neighbors: Rows) -> Vector:
    """Sum over genes of the mean difference to their neighbours [n_genes, n_neighbors], by feature."""
    total = np.zeros(scaled.shape[1])
    rows = max(1, _ELEMENTS // (neighbors.shape[1] * scaled.shape[1]))
    for first in range(0, len(genes), rows):
        part = slice(first, first + rows)
        differing = np.abs(scaled[genes[part], None] - scaled[neighbors[part]])
        total += differing.mean(axis=1).sum(axis=0, dtype=np.float64)
    return total


def unit_range(features: Matrix | Signal) -> Signal:
    """Every feature from 0 to 1; constant ones become 0."""
    span = np.ptp(features, axis=0)
    return np.asarray((features - features.min(axis=0)) / np.where(span > 0, span, 1), dtype=np.float32)


def nearest(scaled: Signal, n_neighbors: int, threads: int, genes: Signal | None = None) -> Rows:
    """Nearest genes of `scaled` by Manhattan distance, nearest first; [n_genes, n_neighbors].

    Parameters
    ----------
    genes : whose neighbours are sought; None is those of `scaled`, none of which is its own neighbour.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    search = _neighbor_search()(n_neighbors=n_neighbors, metric="manhattan", algorithm="brute")
    with threadpool_limits(limits=threads):
        return np.asarray(search.fit(scaled).kneighbors(genes, return_distance=False))


def _neighbor_search() -> Any:
    """scikit-learn-intelex's class where it is installed (eight times as fast), else scikit-learn's."""
    try:
        return importlib.import_module("sklearnex.neighbors").NearestNeighbors
    except (ImportError, OSError):  # not there, or not for this machine
        return importlib.import_module("sklearn.neighbors").NearestNeighbors


@dataclass(frozen=True)
class SelectedForest:
    """A forest on selected columns of the differences."""

    trees: Trees
    columns: npt.NDArray[np.intp]
    chosen: Mapping[str, Any]

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        return Prediction(self.trees.predict(differences(genes)[:, self.columns]))


def prefixes(model: Any, features: Signal, sizes: tuple[int, ...]) -> list[Vector]:
    """Predictions of the forests of the first 10, 50, ... trees, which equal those fitted with as many."""
    total = np.zeros(len(features))
    stages = []
    for number, tree in enumerate(model.estimators_, 1):
        total += tree.predict(features, check_input=False)
        if number in sizes:
            stages.append(total / number)
    return stages


Rank = Callable[..., Vector]


def relieff_forest(
    train: Examples, valid: Examples, grid: Grid, context: Context, rank: Rank = rrelieff
) -> Predictor:
    """Rank features by ReliefF; validation r chooses how many of them and how many trees.

    Parameters
    ----------
    rank : ``(features, labels, threads=..., **settings) -> weights``; its settings are those of the grid.
    """
    from sklearn.ensemble import RandomForestRegressor

    require_genes(train, 3, "relieff-rf")
    require_genes(valid, 2, "relieff-rf's validation")
    features, held_out = differences(train), differences(valid)
    sizes = tuple(sorted(grid["n_estimators"]))
    settings = combinations({name: grid[name] for name in ("n_neighbors", "sigma") if name in grid})
    candidates = combinations({name: grid[name] for name in ("max_features", "n_features")})
    best: SelectedForest | None = None
    weights: dict[Any, Vector] = context.shared.setdefault(rank, {})
    with context.reporter.task("ReliefF and forests", len(settings) * (1 + len(candidates))) as task:
        for ranking in settings:
            key = tuple(ranking.values())
            if key not in weights:
                weights[key] = rank(features, train.log2fc, threads=context.threads, **ranking)
            order = np.argsort(-weights[key], kind="stable")
            task.advance(1, "features ranked")
            for candidate in candidates:
                columns = order[: candidate["n_features"]]
                model = RandomForestRegressor(
                    max(sizes),
                    max_features=candidate["max_features"],
                    random_state=context.seed,
                    n_jobs=context.threads,
                )
                model.fit(features[:, columns], train.log2fc)
                for size, predicted in zip(sizes, prefixes(model, held_out[:, columns], sizes), strict=True):
                    score = selection_score(valid.log2fc, predicted)
                    if best is None or score > best.chosen["valid_r"]:
                        chosen = {
                            "n_features": len(columns),
                            "n_estimators": size,
                            "max_features": candidate["max_features"],
                            **ranking,
                            "valid_r": score,
                            "features": [feature_name(train, int(column)) for column in columns],
                        }
                        best = SelectedForest(Trees.of_forest(model.estimators_[:size]), columns, chosen)
                task.advance(1)
    assert best is not None
    return best


def feature_name(genes: Examples, column: int) -> str:
    """MARK:BIN of a column, bins counted from 1."""
    mark, number = divmod(column, genes.signal_a.shape[2])
    return f"{genes.marks[mark]}:{number + 1}"

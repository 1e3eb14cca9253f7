"""Regression trees as arrays, which predict without the library that grew them and can be kept in a file.

scikit-learn keeps the nodes of forests and of boosting in two private layouts that change with its versions,
and walks over them unchecked: whoever filled them from a file could make it read any memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import RunError
from diffchrom.genome.genes import Signal

Integers = npt.NDArray[np.int32]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trees:
    """An ensemble that predicts ``(start + sum over trees of the value of the gene's leaf) / divisor``.

    Nodes are in pre-order: the left child of an inner node is the one after it.

    Attributes
    ----------
    sizes : int32 [n_trees]
        Nodes of each tree; trees follow each other in the arrays of nodes.
    feature : int32 [n_nodes]
        What an inner node looks at; 0 in leaves.
    right : int32 [n_nodes]
        The child for genes above the threshold, counted from the tree's first node; 0 in leaves.
    number : float64 [n_nodes]
        Threshold of an inner node, value of a leaf.
    start : float
    divisor : int
    importance : float64 [n_features]
        Share of each feature in what all splits gained; 0 everywhere where nothing was split.
    """

    sizes: Integers
    feature: Integers
    right: Integers
    number: Vector
    start: float
    divisor: int
    importance: Vector

    def __post_init__(self) -> None:
        """Refuse nodes outside their tree, and those that lead back, with ValueError."""
        nodes = (self.feature, self.right, self.number)
        if any(array.ndim != 1 for array in (self.sizes, self.importance, *nodes)):
            raise ValueError("trees are not rows of nodes")
        n_nodes = int(self.sizes.sum(dtype=np.int64))
        if self.divisor < 1 or (self.sizes < 1).any() or any(len(array) != n_nodes for array in nodes):
            raise ValueError("trees have other sizes than their nodes say")
        position = np.arange(n_nodes) - np.repeat(self._first(), self.sizes)
        inner = self.right != 0
        ahead = (self.right > position + 1) & (self.right < np.repeat(self.sizes, self.sizes))
        known = (self.feature >= 0) & (self.feature < len(self.importance))
        if not (known & (ahead | ~inner)).all():
            raise ValueError("a node of a tree leads nowhere")

    def _first(self) -> npt.NDArray[np.int64]:
        return np.cumsum(self.sizes, dtype=np.int64) - self.sizes

    @classmethod
    def of_forest(cls, trees: Sequence[Any]) -> Trees:
        """Take fitted DecisionTreeRegressors, whose mean is predicted."""
        nodes = [tree.tree_ for tree in trees]

        def column(name: str) -> npt.NDArray[Any]:
            return np.concatenate([getattr(tree, name) for tree in nodes])

        inner = column("children_right") > 0
        return cls(
            np.array([tree.node_count for tree in nodes], np.int32),
            np.where(inner, column("feature"), 0).astype(np.int32),
            np.where(inner, column("children_right"), 0).astype(np.int32),
            np.where(inner, column("threshold"), column("value")[:, 0, 0]),
            start=0.0,
            divisor=len(nodes),
            importance=_shares(np.sum([tree.feature_importances_ for tree in trees], axis=0)),
        )

    @classmethod
    def of_boosting(cls, model: Any, iterations: int) -> Trees:
        """Take the first trees of a fitted HistGradientBoostingRegressor, to which no public way leads."""
        trees = [predictor.nodes for (predictor,) in model._predictors[:iterations]]
        nodes = np.concatenate(trees)
        inner = nodes["is_leaf"] == 0
        feature = np.where(inner, nodes["feature_idx"], 0).astype(np.int32)
        gains = np.bincount(feature, np.where(inner, nodes["gain"], 0), minlength=model.n_features_in_)
        return cls(
            np.array([len(tree) for tree in trees], np.int32),
            feature,
            np.where(inner, nodes["right"], 0).astype(np.int32),
            np.where(inner, nodes["num_threshold"], nodes["value"]),
            start=float(np.ravel(model._baseline_prediction)[0]),
            divisor=1,
            importance=_shares(gains),
        )

    def rescaled(self, slope: float, intercept: float) -> Trees:
        """Trees whose predictions are these times `slope` plus `intercept`."""
        number = np.where(self.right == 0, self.number * slope, self.number)
        return replace(self, number=number, start=self.start * slope + self.divisor * intercept)

    def predict(self, features: Signal) -> Vector:
        """Predict from features [n_genes, n_features]: scikit-learn's own numbers, to the last bit."""
        n_genes, n_features = features.shape
        if n_features != len(self.importance):
            raise RunError(
                f"the trees were grown on {len(self.importance)} features and these genes have {n_features}; "
                "predict from the marks and bins of the fit"
            )
        flat, offset = np.ascontiguousarray(features).ravel(), np.arange(n_genes) * n_features
        total = np.full(n_genes, self.start)
        for first, size in zip(self._first().tolist(), self.sizes.tolist(), strict=True):
            tree = slice(first, first + size)
            total += _leaf_values(self.feature[tree], self.right[tree], self.number[tree], flat, offset)
        return total / self.divisor


def _shares(gains: npt.NDArray[Any]) -> Vector:
    return np.asarray(gains / (gains.sum() or 1.0), dtype=np.float64)


def _leaf_values(
    feature: Integers, right: Integers, number: Vector, flat: Signal, offset: npt.NDArray[np.intp]
) -> Vector:
    """Value of the leaf of every gene in one tree; ``flat[offset]`` is the first feature of each gene."""
    node = np.zeros(len(offset), dtype=np.int32)
    walking = np.flatnonzero(right[node])
    at = node[walking]
    while len(walking):
        above = flat[offset[walking] + feature[at]] > number[at]
        at = np.where(above, right[at], at + 1)
        node[walking] = at
        inner = right[at] != 0
        walking, at = walking[inner], at[inner]
    return number[node]

"""Random forest and gradient boosting on log2 signal of both cells and their difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from diffchrom.baselines.features import both_and_difference, merges
from diffchrom.baselines.method import (
    Context,
    Examples,
    Grid,
    Prediction,
    Predictor,
    least_squares,
    require_genes,
    selection_score,
)
from diffchrom.metrics import mse
from diffchrom.tree_nodes import Trees

#: Below this many genes a second thread costs boosting more than it brings.
GENES_A_THREAD = 2000


def combinations(grid: Grid) -> list[dict[str, Any]]:
    """Every combination of a grid's values, by name."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


@dataclass(frozen=True)
class TreeEnsemble:
    """Trees on the signal of both cells and their difference.

    Attributes
    ----------
    trees : of a random forest, or of boosting as far as validation preferred.
    merge : bins around the TSS averaged into one feature.
    chosen : what was selected, and the error or r it was selected by.
    """

    trees: Trees
    merge: int
    chosen: Mapping[str, Any]

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        return Prediction(self.trees.predict(both_and_difference(genes, self.merge)))


def random_forest(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit a forest for each point of the grid; the least out-of-bag error wins."""
    from sklearn.ensemble import RandomForestRegressor

    require_genes(train, 3, "random-forest")
    candidates = combinations(grid)
    best: TreeEnsemble | None = None
    with context.reporter.task("random forest", len(candidates)) as task:
        for candidate in candidates:
            (merge,) = merges(train.n_bins, (candidate["merge"],))
            parameters = {name: value for name, value in candidate.items() if name != "merge"}
            model = RandomForestRegressor(
                **parameters, bootstrap=True, random_state=context.seed, n_jobs=context.threads
            )
            model.fit(both_and_difference(train, merge), train.log2fc)
            error = _out_of_bag_mse(model, both_and_difference(train, merge), train.log2fc)
            if best is None or error < best.chosen["out_of_bag_mse"]:
                chosen = candidate | {"merge": merge, "out_of_bag_mse": error}
                best = TreeEnsemble(Trees.of_forest(model.estimators_), merge, chosen)
            task.advance(1, f"out-of-bag MSE {error:.4g}")
    assert best is not None
    return best


def _out_of_bag_mse(model: Any, features: Any, labels: Any) -> float:
    """Error of every gene's prediction by the trees that did not draw it; genes drawn by all are left out."""
    total, count = np.zeros(len(labels)), np.zeros(len(labels))
    for tree, drawn in zip(model.estimators_, model.estimators_samples_, strict=True):
        outside = np.ones(len(labels), dtype=bool)
        outside[drawn] = False
        total[outside] += tree.predict(features[outside])
        count[outside] += 1
    seen = count > 0
    return mse(labels[seen], total[seen] / count[seen])


def gradient_boosting(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Boost histogram trees; validation r chooses the point of the grid and how many.

    r knows no scale, and few trees predict little of the changes' size; so the line through the validation
    genes' predictions and labels brings all predictions to scale.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    require_genes(train, 3, "gradient-boosting")
    require_genes(valid, 2, "gradient-boosting's validation")
    candidates = combinations(grid)
    best: TreeEnsemble | None = None
    threads = max(1, min(context.threads, len(train) // GENES_A_THREAD))
    with (
        context.reporter.task("gradient boosting", len(candidates)) as task,
        threadpool_limits(limits=threads),
    ):
        for candidate in candidates:
            (merge,) = merges(train.n_bins, (candidate["merge"],))
            parameters = {name: value for name, value in candidate.items() if name != "merge"}
            model = HistGradientBoostingRegressor(
                **parameters, early_stopping=False, random_state=context.seed
            )
            model.fit(both_and_difference(train, merge), train.log2fc)
            stages = list(model.staged_predict(both_and_difference(valid, merge)))
            scores = [selection_score(valid.log2fc, stage) for stage in stages]
            number = int(np.argmax(scores))
            if best is None or scores[number] > best.chosen["valid_r"]:
                slope, intercept = least_squares(valid.log2fc, stages[number])
                trees = Trees.of_boosting(model, number + 1).rescaled(slope, intercept)
                selected = {"merge": merge, "iterations": number + 1, "valid_r": scores[number]}
                best = TreeEnsemble(trees, merge, candidate | selected | {"slope": slope})
            task.advance(1, f"{number + 1} trees, validation r {scores[number]:.3f}")
    assert best is not None
    return best

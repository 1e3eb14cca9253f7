"""Trees as arrays predict what scikit-learn predicts, and weigh features as it does."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from diffchrom.errors import RunError
from diffchrom.tree_nodes import Trees


def problem(n=400, p=9, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)).astype(np.float32)
    x[:, 4] = np.round(x[:, 4])  # values that equal thresholds
    x[:, 5] = 1
    return x, x[:, 0] - 2 * np.abs(x[:, 4]) + 0.3 * rng.normal(size=n)


def forest(**changes):
    return RandomForestRegressor(20, max_features=0.5, random_state=0, n_jobs=1, **changes)


@pytest.mark.parametrize(
    "changes", [{}, {"min_samples_leaf": 5}, {"max_depth": 1}, {"min_samples_leaf": 400}]
)
def test_a_forest_predicts_to_the_last_bit_as_in_scikit_learn(changes):
    x, y = problem()
    new, _ = problem(1000, seed=1)
    model = forest(**changes).fit(x, y)
    trees = Trees.of_forest(model.estimators_)
    np.testing.assert_array_equal(trees.predict(new), model.predict(new))
    np.testing.assert_allclose(trees.importance, model.feature_importances_, rtol=1e-12)


@pytest.mark.parametrize("iterations", [1, 17, 60])
def test_boosting_predicts_to_the_last_bit_as_in_scikit_learn(iterations):
    x, y = problem()
    new, _ = problem(1000, seed=1)
    model = HistGradientBoostingRegressor(max_iter=60, max_leaf_nodes=8, early_stopping=False).fit(x, y)
    trees = Trees.of_boosting(model, iterations)
    np.testing.assert_array_equal(
        trees.predict(new), next(islice(model.staged_predict(new), iterations - 1, None))
    )
    assert trees.importance.sum() == pytest.approx(1)
    assert set(np.argsort(-trees.importance)[:2]) == {0, 4}
    assert trees.importance[5] == 0


def test_rescaled_trees_predict_on_the_line():
    x, y = problem()
    trees = Trees.of_forest(forest().fit(x, y).estimators_)
    np.testing.assert_allclose(trees.rescaled(3.0, -1.0).predict(x), 3 * trees.predict(x) - 1, rtol=1e-12)


def test_genes_of_other_features_are_refused():
    x, y = problem()
    with pytest.raises(RunError, match="grown on 9 features and these genes have 8"):
        Trees.of_forest(forest().fit(x, y).estimators_).predict(x[:, :8])


@pytest.mark.parametrize(
    "changes",
    [
        {"right": lambda trees: np.where(trees.right > 0, 1, 0).astype(np.int32)},  # round in circles
        {"right": lambda trees: trees.right * 1000},
        {"feature": lambda trees: trees.feature + 9},
        {"feature": lambda trees: trees.feature - 9},
        {"number": lambda trees: trees.number[1:]},
        {"sizes": lambda trees: -trees.sizes},
        {"divisor": lambda trees: 0},
    ],
)
def test_nodes_that_lead_nowhere_are_refused(changes):
    x, y = problem()
    trees = Trees.of_forest(forest().fit(x, y).estimators_)
    with pytest.raises(ValueError, match="tree"):
        replace(trees, **{name: change(trees) for name, change in changes.items()})

"""Regression ReliefF: the definition, skrebate's ranking, and prefixes of a forest."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor

from diffchrom.baselines.relief import nearest, prefixes, rrelieff


def problem(n=300, p=12):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(n, p))
    x[:, -1] = 3  # constant
    return x, 4 * x[:, 0] + 3 * x[:, 1] - 2.5 * x[:, 2] + 0.1 * rng.normal(size=n)


def test_weights_equal_the_definition_written_out_gene_by_gene():
    x, y = problem(40, 5)
    k, sigma = 7, 3.0
    n_da, n_dcda, n_dc = np.zeros(5), np.zeros(5), 0.0
    span = np.where(np.ptp(x, axis=0) > 0, np.ptp(x, axis=0), 1)
    influence = np.exp(-((np.arange(1, k + 1) / sigma) ** 2))
    influence /= influence.sum()
    for i in range(len(x)):
        distance = np.abs((x - x[i]) / span).sum(axis=1)
        distance[i] = np.inf
        for rank, j in enumerate(np.argsort(distance)[:k]):
            dy = abs(y[i] - y[j]) / np.ptp(y)
            da = np.abs(x[i] - x[j]) / span
            n_dc += dy * influence[rank]
            n_da += da * influence[rank]
            n_dcda += dy * da * influence[rank]
    expected = n_dcda / n_dc - (n_da - n_dcda) / (len(x) - n_dc)
    np.testing.assert_allclose(rrelieff(x, y, n_neighbors=k, sigma=sigma), expected, atol=1e-5)


def test_the_ranking_agrees_with_skrebates():
    skrebate = pytest.importorskip("skrebate", reason="skrebate is not installed")
    x, y = problem()
    theirs = skrebate.ReliefF(n_neighbors=20).fit(x[:, :-1], y).feature_importances_
    ours = rrelieff(x[:, :-1], y, n_neighbors=20, sigma=20.0)
    assert np.argsort(-ours)[:3].tolist() == np.argsort(-theirs)[:3].tolist() == [0, 1, 2]
    assert spearmanr(ours, theirs).statistic > 0.7


def test_constant_features_and_labels_weigh_nothing():
    x, y = problem()
    assert rrelieff(x, y)[-1] == 0
    assert (rrelieff(x, np.ones(len(y))) == 0).all()


def test_weights_do_not_depend_on_units_or_order_of_genes():
    x, y = problem()
    order = np.random.default_rng(1).permutation(len(y))
    weights = rrelieff(x, y, n_neighbors=15)
    np.testing.assert_allclose(rrelieff(x * 1000 - 5, y * 7, n_neighbors=15), weights, atol=1e-4)
    np.testing.assert_allclose(rrelieff(x[order], y[order], n_neighbors=15), weights, atol=1e-5)


def test_a_gene_is_not_its_own_neighbour_even_where_genes_are_equal():
    x = np.repeat(np.random.default_rng(0).uniform(size=(10, 3)), 2, axis=0).astype(np.float32)
    neighbors = nearest(x, 4, threads=1)
    assert (neighbors != np.arange(len(x))[:, None]).all()


def test_the_first_trees_of_a_forest_are_the_smaller_forest():
    x, y = problem()
    big, little = (RandomForestRegressor(n, random_state=4).fit(x, y) for n in (12, 5))
    features = x.astype(np.float32)
    first, last = prefixes(big, features, (5, 12))
    np.testing.assert_allclose(first, little.predict(features), rtol=1e-12)
    np.testing.assert_allclose(last, big.predict(features), rtol=1e-12)

"""Metrics: worked out by hand, equal to scipy's and scikit-learn's, and NaN rather than a warning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, r2_score

from diffchrom import metrics
from diffchrom.metrics import METRICS, bootstrap, evaluate, paired_bootstrap

TRUTH = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])


@pytest.mark.parametrize(
    ("name", "prediction", "expected"),
    [
        ("pearson", 2 * TRUTH + 5, 1.0),
        ("pearson", -TRUTH, -1.0),
        ("pearson", [0, 0, 0, 0, 1], 3 / math.sqrt(20 * 0.8)),
        ("spearman", np.exp(TRUTH), 1.0),
        ("spearman", [1, 2, 3, 5, 4], 0.9),
        ("mse", TRUTH + 2, 4.0),
        ("r2", TRUTH, 1.0),
        ("r2", np.zeros(5), 0.0),
        ("r2", -TRUTH, -3.0),  # a perfect anticorrelation has r squared 1 and R2 -3
        ("sign_accuracy", [-1, 1, 7, 1, 0], 0.5),  # the gene with log2fc 0 has no sign to get right
        ("auprc", [5, 0, 0, 0, -5], 1.0),
        ("auprc", [1, 9, 0, 0, -5], (1 / 2 + 2 / 3) / 2),
    ],
)
def test_metric_equals_the_value_worked_out_by_hand(name, prediction, expected):
    assert METRICS[name](TRUTH, prediction) == pytest.approx(expected)


values = st.lists(
    st.tuples(st.integers(-40, 40), st.integers(-6, 6)).map(lambda pair: (pair[0] / 8, pair[1] / 2)),
    min_size=2,
    max_size=60,
)


@given(values)
@settings(deadline=None, max_examples=150)
def test_metrics_equal_those_of_scipy_and_sklearn_with_ties(pairs):
    truth, prediction = np.array(pairs).T
    ours = evaluate(truth, prediction)
    if np.ptp(truth) and np.ptp(prediction):
        assert ours["pearson"] == pytest.approx(stats.pearsonr(truth, prediction).statistic, abs=1e-9)
        assert ours["spearman"] == pytest.approx(stats.spearmanr(truth, prediction).statistic, abs=1e-9)
    else:
        assert math.isnan(ours["pearson"])
        assert math.isnan(ours["spearman"])
    assert ours["mse"] == pytest.approx(np.mean((truth - prediction) ** 2))
    if np.ptp(truth):
        assert ours["r2"] == pytest.approx(r2_score(truth, prediction))
    changed = np.abs(truth) >= 2
    if changed.any():
        assert ours["auprc"] == pytest.approx(average_precision_score(changed, np.abs(prediction)))
    else:
        assert math.isnan(ours["auprc"])


@given(values, st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_a_weighted_gene_is_that_many_equal_genes(pairs, seed):
    truth, prediction = np.array(pairs).T
    (weights,) = metrics.resample_weights(len(truth), 3, seed)
    assert (weights.sum(axis=1) == len(truth)).all()
    for metric in METRICS.values():
        weighted = metric.of(truth, prediction, weights)
        for row, value in zip(weights.astype(int), weighted, strict=True):
            drawn = np.repeat(np.arange(len(truth)), row)
            assert value == pytest.approx(
                metric(truth[drawn], prediction[drawn]), rel=1e-7, abs=1e-9, nan_ok=True
            )


def test_genes_without_truth_or_prediction_are_left_out():
    truth = [1.0, 2.0, np.nan, 4.0, 5.0]
    prediction = [1.0, 2.5, 3.0, np.inf, 4.0]
    assert evaluate(truth, prediction) == evaluate([1, 2, 5], [1, 2.5, 4])
    assert bootstrap(truth, prediction, ["mse"], resamples=10)["mse"].n == 3


@pytest.mark.parametrize("prediction", [[], [np.nan], [1.0]])
def test_what_is_undefined_is_nan_and_no_warning(prediction):
    assert math.isnan(METRICS["pearson"](np.ones(len(prediction)), prediction))
    for interval in bootstrap(np.ones(len(prediction)), prediction, resamples=20).values():
        assert interval.low <= interval.high or math.isnan(interval.low)
    paired_bootstrap(np.ones(len(prediction)), prediction, prediction, resamples=20)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9 / 3])
def test_a_constant_prediction_has_no_correlation(constant):
    truth = np.random.default_rng(0).normal(size=50)
    assert math.isnan(METRICS["pearson"](truth, np.full(50, constant)))
    assert math.isnan(METRICS["spearman"](truth, np.full(50, constant)))
    assert math.isnan(bootstrap(truth, np.full(50, constant), ["pearson"], resamples=20)["pearson"].low)


def test_huge_values_do_not_overflow_a_correlation():
    truth = np.array([1e200, 2e200, 4e200])
    assert METRICS["pearson"](truth, [1, 2, 4]) == pytest.approx(1)


def test_arrays_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one value a gene"):
        METRICS["mse"]([1, 2], [1])


def test_the_bootstrap_interval_agrees_with_fishers():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=1000)
    prediction = 0.7 * truth + rng.normal(size=1000) * math.sqrt(1 - 0.49)
    interval = bootstrap(truth, prediction, ["pearson"], resamples=2000)["pearson"]
    fisher = stats.pearsonr(truth, prediction).confidence_interval(0.95)
    assert interval.low == pytest.approx(fisher.low, abs=0.006)
    assert interval.high == pytest.approx(fisher.high, abs=0.006)


def test_same_seed_same_interval_and_many_genes_come_in_blocks():
    rng = np.random.default_rng(2)
    truth, prediction = rng.normal(size=(2, 30_000))
    first = bootstrap(truth, prediction, ["pearson"], resamples=150, seed=5)
    assert first == bootstrap(truth, prediction, ["pearson"], resamples=150, seed=5)
    assert first != bootstrap(truth, prediction, ["pearson"], resamples=150, seed=6)


def test_the_paired_bootstrap_sees_what_two_separate_intervals_cannot():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=400)
    shared = truth + rng.normal(size=400)
    better = shared - 0.1 * (shared - truth)
    separate = [bootstrap(truth, p, ["pearson"])["pearson"] for p in (better, shared)]
    assert separate[0].low < separate[1].high
    paired = paired_bootstrap(truth, better, shared, ["pearson", "mse"])
    assert paired["pearson"].low > 0
    assert paired["mse"].high < 0
    assert paired["pearson"].p_value < 0.01
    swapped = paired_bootstrap(truth, shared, better, ["pearson"])["pearson"]
    assert swapped.high == pytest.approx(-paired["pearson"].low)


def test_a_run_does_not_differ_from_itself():
    truth, prediction = np.random.default_rng(4).normal(size=(2, 100))
    for difference in paired_bootstrap(truth, prediction, prediction, resamples=50).values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
        assert difference.p_value == 1

"""Metrics: worked out by hand, equal to scipy's and scikit-learn's, and NaN rather than a warning."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, r2_score

from diffchrom.metrics import (
    METRICS,
    MIN_BLOCKS,
    Resamples,
    benjamini_hochberg,
    block_numbers,
    bootstrap,
    evaluate,
    expressed_in_both,
    paired_bootstrap,
)

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
        ("pearson_changed", [-3, -1, 99, 1, 3], 1.0),  # the gene that does not change does not count
        ("pearson_changed", [-1, -3, 0, 3, 1], 12 / 20),
        ("auprc_up", [9, 0, 0, 1, 10], (1 + 2 / 3) / 2),
        ("auprc_down", [9, -1, -2, 0, 0], (1 / 2 + 2 / 5) / 2),
        ("sign_accuracy_changed", [-1, 1, 7, 1, 0], 0.5),
        ("top100_up", TRUTH, math.nan),  # five genes have no first hundred
    ],
)
def test_metric_equals_the_value_worked_out_by_hand(name, prediction, expected):
    assert METRICS[name](TRUTH, prediction) == pytest.approx(expected, nan_ok=True)


def test_the_first_hundred_are_those_of_the_highest_and_of_the_lowest_prediction():
    prediction = np.arange(300.0)
    truth = np.zeros(300)
    truth[[0, 1, 2, 99, 100, 299]] = [-1, -5, 7, -1, -9, 1]
    assert METRICS["top100_down"](truth, prediction) == pytest.approx(3 / 100)
    assert METRICS["top100_up"](truth, prediction) == pytest.approx(1 / 100)
    # 60 genes are certain to be among the first hundred, 40 of the 80 that tie with one another are.
    prediction = np.repeat([2.0, 1.0, 0.0], [60, 80, 160])
    truth = np.repeat([0.0, 3.0, 0.0], [60, 20, 220])
    assert METRICS["top100_up"](truth, prediction) == pytest.approx(40 * 20 / 80 / 100)


def test_genes_that_only_one_cell_expresses_do_not_count_as_expressed_in_both():
    log2 = {unit: np.log2(np.array(values) + 1) for unit, values in {
        "tpm": [0.0, 0.4, 0.5, 30], "counts": [0.0, 9, 10, 300]}.items()}  # fmt: skip
    for unit, least in log2.items():
        expected = [False, False, True, True]
        assert expressed_in_both(least, least, unit).tolist() == expected
        assert not expressed_in_both(least, least * 0, unit).any()
        assert not expressed_in_both(least, least * np.nan, unit).any()
    assert expressed_in_both(log2["tpm"], log2["tpm"], "furlongs") is None
    truth, prediction = np.random.default_rng(0).normal(size=(2, 50))
    both = np.arange(50) % 3 > 0
    r = stats.pearsonr(truth[both], prediction[both]).statistic
    assert METRICS["pearson_expressed"](truth, prediction, both) == pytest.approx(r)
    missing = np.where(np.arange(50) < 10, np.nan, prediction)
    r = stats.pearsonr(truth[10:][both[10:]], prediction[10:][both[10:]]).statistic
    assert evaluate(truth, missing, expressed=both)["pearson_expressed"] == pytest.approx(r)
    assert math.isnan(evaluate(truth, prediction)["pearson_expressed"])
    interval = bootstrap(truth, prediction, expressed=both)["pearson_expressed"]
    assert interval.low < METRICS["pearson_expressed"](truth, prediction, both) < interval.high


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
    for name, sought, score in (
        ("auprc_up", truth >= 1, prediction),
        ("auprc_down", truth <= -1, -prediction),
    ):
        expected = average_precision_score(sought, score) if sought.any() else math.nan
        assert ours[name] == pytest.approx(expected, nan_ok=True)


@given(values, st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_a_weighted_gene_is_that_many_equal_genes(pairs, seed, n_blocks, times):
    truth, prediction = np.tile(np.array(pairs).T, times)
    expressed = np.arange(len(truth)) % 3 > 0
    block = np.arange(len(truth)) % n_blocks
    draws = Resamples.draw(block, n_blocks, 3, seed)
    (weights,) = draws.weights()
    assert (draws.counts.sum(axis=1) == n_blocks).all()
    assert all((row == row[block == k][0])[block == k].all() for row in weights for k in set(block))
    for metric in METRICS.values():
        weighted = metric.of(truth, prediction, draws, expressed)
        for row, value in zip(weights.astype(int), weighted, strict=True):
            drawn = np.repeat(np.arange(len(truth)), row)
            assert value == pytest.approx(
                metric(truth[drawn], prediction[drawn], expressed[drawn]), rel=1e-7, abs=1e-9, nan_ok=True
            )


def test_genes_without_truth_or_prediction_are_left_out():
    truth = [1.0, 2.0, np.nan, 4.0, 5.0]
    prediction = [1.0, 2.5, 3.0, np.inf, 4.0]
    assert evaluate(truth, prediction) == pytest.approx(evaluate([1, 2, 5], [1, 2.5, 4]), nan_ok=True)
    assert bootstrap(truth, prediction, names=["mse"], resamples=10)["mse"].n == 3


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
    assert math.isnan(bootstrap(truth, np.full(50, constant), names=["pearson"])["pearson"].low)


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
    interval = bootstrap(truth, prediction, names=["pearson"], resamples=2000)["pearson"]
    fisher = stats.pearsonr(truth, prediction).confidence_interval(0.95)
    assert interval.low == pytest.approx(fisher.low, abs=0.006)
    assert interval.high == pytest.approx(fisher.high, abs=0.006)


def test_same_seed_same_interval_and_many_genes_come_in_blocks():
    rng = np.random.default_rng(2)
    truth, prediction = rng.normal(size=(2, 30_000))
    first = bootstrap(truth, prediction, names=["pearson"], resamples=150, seed=5)
    assert first == bootstrap(truth, prediction, names=["pearson"], resamples=150, seed=5)
    assert first != bootstrap(truth, prediction, names=["pearson"], resamples=150, seed=6)


def test_the_paired_bootstrap_sees_what_two_separate_intervals_cannot():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=400)
    shared = truth + rng.normal(size=400)
    better = shared - 0.1 * (shared - truth)
    separate = [bootstrap(truth, p, names=["pearson"])["pearson"] for p in (better, shared)]
    assert separate[0].low < separate[1].high
    paired = paired_bootstrap(truth, better, shared, names=["pearson", "mse"])
    assert paired["pearson"].low > 0
    assert paired["mse"].high < 0
    assert paired["pearson"].p_value < 0.01
    swapped = paired_bootstrap(truth, shared, better, names=["pearson"])["pearson"]
    assert swapped.high == pytest.approx(-paired["pearson"].low)


def test_a_run_does_not_differ_from_itself():
    truth, prediction = np.random.default_rng(4).normal(size=(2, 100))
    both = np.ones(100, dtype=bool)
    for name, one in paired_bootstrap(truth, prediction, prediction, expressed=both, resamples=50).items():
        if name.startswith("top100"):
            assert math.isnan(one.value)  # undefined of a hundred genes
        else:
            assert (one.value, one.low, one.high, one.p_value) == (0, 0, 0, 1)


# ---- blocks of neighbours


def correlated(seed, n_blocks=40, size=15, shared=0.4):
    """Truth and prediction of r = 0.7 whose genes share so much of their variance within a block."""
    random = np.random.default_rng(seed)
    block = np.repeat(np.arange(n_blocks), size)
    own = random.normal(size=(2, len(block))) * math.sqrt(1 - shared)
    x, rest = own + random.normal(size=(2, n_blocks))[:, block] * math.sqrt(shared)
    return 0.7 * x + math.sqrt(1 - 0.49) * rest, x, block


def test_where_neighbours_correlate_blocks_cover_what_genes_do_not():
    simulations = 200
    covered = {"blocks": 0, "genes": 0}
    for seed in range(simulations):
        truth, prediction, block = correlated(seed)
        for name, blocks in (("blocks", block), ("genes", None)):
            one = bootstrap(truth, prediction, blocks, names=["pearson"], resamples=300, seed=seed)["pearson"]
            covered[name] += one.low <= 0.7 <= one.high
    # Of 200 at 95%, two standard errors are 3%.
    assert 0.92 <= covered["blocks"] / simulations <= 0.985
    assert covered["genes"] / simulations < 0.8


def test_where_genes_are_independent_blocks_say_the_same_as_genes():
    truth, prediction, block = correlated(0, n_blocks=200, shared=0.0)
    by_block, by_gene = (bootstrap(truth, prediction, blocks) for blocks in (block, None))
    for name, one in by_block.items():
        other = by_gene[name]
        assert one.value == other.value or math.isnan(one.value)
        if not math.isnan(one.value):
            assert one.high - one.low == pytest.approx(other.high - other.low, rel=0.25)
    assert (by_block["mse"].n_blocks, by_gene["mse"].n_blocks, by_gene["mse"].n) == (200, 3000, 3000)


@pytest.mark.parametrize(("n_blocks", "drawn"), [(MIN_BLOCKS - 1, 120), (MIN_BLOCKS, MIN_BLOCKS)])
def test_of_too_few_blocks_genes_are_drawn_one_by_one(n_blocks, drawn):
    truth, prediction = np.random.default_rng(0).normal(size=(2, 120))
    labels = [f"chr{i % n_blocks}:7" for i in range(120)]
    one = bootstrap(truth, prediction, labels, names=["pearson"])["pearson"]
    assert one.n_blocks == drawn
    alone = bootstrap(truth, prediction, names=["pearson"])["pearson"]
    assert (one == alone) == (drawn == 120)
    with pytest.raises(ValueError, match="one block a gene"):
        block_numbers(labels[1:], 120)


def test_few_blocks_make_wider_intervals_than_efrons():
    truth, prediction, block = correlated(3, n_blocks=8, size=40)
    drawn = Resamples.draw(block, 8, 1000, 0)
    efron = np.quantile(METRICS["pearson"].of(truth, prediction, drawn), [0.025, 0.975])
    ours = bootstrap(truth, prediction, block, names=["pearson"])["pearson"]
    assert ours.low < efron[0] < efron[1] < ours.high


def test_p_values_are_uniform_where_nothing_differs_and_tiny_where_much_does():
    # What two predictions do not share is drawn anew for each, so that neither is better.
    p = []
    for seed in range(300):
        random = np.random.default_rng([seed, 1])
        block = np.repeat(np.arange(30), 10)
        truth = random.normal(size=300) + random.normal(size=30)[block]
        shared = truth + random.normal(size=300)
        noise = random.normal(size=(2, 300)) + random.normal(size=(2, 30))[:, block]
        both = paired_bootstrap(
            truth, *(shared + 0.5 * noise), block, names=["pearson"], resamples=300, seed=seed
        )
        p.append(both["pearson"].p_value)
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(p) < 0.5) == pytest.approx(0.5, abs=0.08)
    far = paired_bootstrap(truth, truth, noise[0], block, names=["pearson"], resamples=300)["pearson"]
    assert (
        0 < far.p_value < 1e-8
    )  # of 300 resamples, none lies beyond 0: they alone cannot say less than 1 / 300
    assert far.low > 0


def test_ten_metrics_of_a_genome_take_seconds():
    random = np.random.default_rng(0)
    truth, noise = random.normal(size=(2, 19_000))
    block, both = random.integers(0, 560, 19_000), random.random(19_000) < 0.5
    started = time.process_time()
    bootstrap(truth, truth + noise, block, expressed=both)
    assert time.process_time() - started < 30  # 2.5 s on an idle core


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_false_discovery_rates_are_scipys_to_the_last_bit(p: list[float]) -> None:
    np.testing.assert_array_equal(benjamini_hochberg(p), stats.false_discovery_control(p))

"""Prediction intervals cover what they say, whatever the kind of gene."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffchrom.deepdiff.uncertainty import GROUP_GENES, Calibration, calibration_for
from diffchrom.pairs.coverage import coverage_by_stratum, larger_expression
from diffchrom.pairs.pair import Labels

Genes = tuple[np.ndarray, np.ndarray, np.ndarray]


def genes(n: int, seed: int) -> Genes:
    """Truth, prediction and predicted expression: silent genes hardly change, large ones miss by much."""
    random = np.random.default_rng(seed)
    expression = random.gamma(1.0, 2.0, n)
    prediction = random.laplace(0, 0.3 + 0.3 * expression)
    miss = np.where(expression < 1, 0.1, 0.5 + 0.1 * expression) + 0.4 * np.abs(prediction)
    return prediction + miss * random.standard_t(4, n), prediction, expression


def covered(
    calibration: Calibration, truth: np.ndarray, prediction: np.ndarray, expression: np.ndarray | None = None
) -> dict[str, float]:
    """Coverage of every stratum."""
    unknown = np.full(len(truth), np.nan)
    ends = calibration.interval(prediction, expression)
    rows = np.arange(len(truth))
    strata = coverage_by_stratum(Labels(truth, unknown, unknown), rows, prediction, *ends, expression)
    return {name: stratum["coverage"] for name, stratum in strata.items()}


@pytest.mark.parametrize("n", [20, 49, 50, 200, 2000])
def test_ninety_percent_of_new_genes_lie_inside(n: int) -> None:
    shares = [
        covered(Calibration.fit(*genes(n, seed)), *genes(2000, 1000 + seed))["all"] for seed in range(40)
    ]
    # Exchangeable genes: at least 0.9 on average, at most 1/(n + 1) more; 40 repeats leave this much noise.
    noise = 3 * math.sqrt(0.09 * (1 / n + 1 / 2000) / 40)
    slack = 1 / n if n >= 50 else 0  # widths that were fitted on fewer genes miss by more
    assert 0.9 - noise < np.mean(shares) < 0.9 + 1 / (n + 1) + slack + noise


def test_ninety_percent_of_every_kind_of_gene_lie_inside() -> None:
    shares = [covered(Calibration.fit(*genes(3000, seed)), *genes(5000, 1000 + seed)) for seed in range(20)]
    for kind in ("top_decile", *(f"expression_{number}" for number in range(1, 6))):
        assert np.mean([share[kind] for share in shares]) == pytest.approx(0.9, abs=0.015), kind
    # One width for all would not do: it covers nearly all silent genes and too few large predictions.
    one_width = Calibration(
        0.9, 3000, (), ((float(np.quantile(abs(np.subtract(*genes(3000, 0)[:2])), 0.9)) ** 2, 0, 0),)
    )
    assert covered(one_width, *genes(5000, 1))["expression_1"] > 0.95
    assert covered(one_width, *genes(5000, 1))["top_decile"] < 0.7


def test_a_model_without_predicted_expression_still_covers_its_largest_predictions() -> None:
    shares = []
    for seed in range(20):
        truth, prediction, _ = genes(1000, seed)
        calibration = Calibration.fit(truth, prediction)
        assert len(calibration.groups) == 1
        truth, prediction, _ = genes(5000, 1000 + seed)
        strata = covered(calibration, truth, prediction)
        assert set(strata) == {"all", "top_decile", "up_or_down"}
        shares.append(strata["top_decile"])
    assert np.mean(shares) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(("n", "groups"), [(49, 1), (399, 1), (400, 2), (999, 4), (1000, 5), (5000, 5)])
def test_there_are_as_many_groups_as_the_genes_allow(n: int, groups: int) -> None:
    calibration = Calibration.fit(*genes(n, 0))
    assert len(calibration.groups) == groups
    grow = [group[2] > 0 for group in calibration.groups]
    assert all(grow) if n >= 50 else not any(grow)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(9, 1200))
def test_widths_grow_with_the_prediction_and_exchanging_the_cells_negates_the_interval(
    seed: int, n: int
) -> None:
    calibration = Calibration.fit(*genes(n, seed))
    prediction = np.linspace(0, 10, 50)
    for expression in (0.0, 2.0, 20.0):
        low, high = calibration.interval(prediction, np.full(50, expression))
        assert (np.diff(high - low) >= -1e-9).all()
        assert (low <= prediction).all()
        back_low, back_high = calibration.interval(-prediction, np.full(50, expression))
        np.testing.assert_array_equal(back_low, -high)
        np.testing.assert_array_equal(back_high, -low)


def test_the_quantile_by_hand() -> None:
    truth = np.arange(1.0, 20.0)  # 19 genes: rank ceil(20 * 0.9) = 18
    calibration = Calibration.fit(truth, np.zeros(19), np.full(19, 3.0))
    low, high = calibration.interval(np.array([1.0]), np.array([3.0]))
    assert (low[0], high[0]) == (1 - 18, 1 + 18)


def test_too_few_genes_give_no_interval() -> None:
    calibration = Calibration.fit(np.ones(8), np.zeros(8))
    assert not calibration.is_bounded
    assert np.isnan(calibration.interval(np.zeros(1))).all()
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    assert covered(calibration, np.ones(1), np.zeros(1)) == {}


def test_genes_whose_group_is_unknown_get_no_interval() -> None:
    calibration = Calibration.fit(*genes(1000, 0))
    low, high = calibration.interval(np.zeros(2), np.array([1.0, np.nan]))
    assert np.isfinite([low[0], high[0]]).all()
    assert np.isnan([low[1], high[1]]).all()
    assert np.isnan(calibration.interval(np.zeros(2))).all()


def test_equal_predicted_expressions_do_not_make_groups_of_no_genes() -> None:
    truth, prediction, expression = genes(1000, 0)
    for tied in (np.zeros(1000), np.minimum(expression, 0.5), np.maximum(expression, 3.0)):
        calibration = Calibration.fit(truth, prediction, tied)
        sizes = np.bincount(np.searchsorted(calibration.edges, tied), minlength=len(calibration.groups))
        assert sizes.min() >= GROUP_GENES // 2
        assert covered(calibration, truth, prediction, tied)["all"] == pytest.approx(0.9, abs=0.02)


def test_genes_that_are_predicted_exactly_leave_no_warning_and_no_interval_of_negative_width() -> None:
    truth, prediction, expression = genes(1000, 0)
    silent = expression < 1
    truth[silent] = prediction[silent] = 0.0
    low, high = Calibration.fit(truth, prediction, expression).interval(prediction, expression)
    assert np.isfinite(low).all()
    assert ((low <= truth) & (truth <= high))[silent].all()
    assert (high - low)[silent & (expression < 0.3)].max() < 0.1


def test_a_calibration_survives_json_and_one_of_before_gives_the_intervals_it_gave() -> None:
    calibration = Calibration.fit(*genes(1000, 0))
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    before = Calibration.from_dict({"level": 0.9, "quantile": 1.5, "scale": [0.25, 2.0, 0.5], "n": 300})
    low, high = before.interval(np.array([2.0, -1.0]), spread=np.array([0.5, np.nan]))
    half = 1.5 * np.sqrt([0.25 + 2 * 0.25 + 0.5 * 4, 0.25 + 0.5])
    np.testing.assert_allclose(high, [2 + half[0], -1 + half[1]])
    np.testing.assert_allclose(low, [2 - half[0], -1 - half[1]])
    assert not Calibration.from_dict({"level": 0.9, "quantile": None, "scale": [1, 0, 0], "n": 3}).is_bounded


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": [[1, -1, 0]], "edges": []}, "negative"),
        ({"groups": [[1, 0, 0]]}, "one group more"),
        ({"edges": [2, 1, 3, 4]}, "ascend"),
        ({"groups": [[1, 0]], "edges": []}, "unpack"),
    ],
)
def test_a_broken_calibration_is_refused(changes: dict[str, object], message: str) -> None:
    broken = Calibration.fit(*genes(1000, 0)).to_dict() | changes
    with pytest.raises(ValueError, match=message):
        Calibration.from_dict(broken)


def test_unknown_labels_are_left_out() -> None:
    truth, prediction, expression = genes(1000, 0)
    more = np.append(truth, np.nan), np.append(prediction, 0.0), np.append(expression, 1.0)
    assert Calibration.fit(*more) == Calibration.fit(truth, prediction, expression)


def test_other_cells_get_intervals_of_their_own_or_none() -> None:
    own = Calibration.fit(*genes(500, 0))
    truth, prediction, expression = genes(500, 1)
    assert calibration_for(own, True, truth, prediction, expression) == (own, "")
    anew, note = calibration_for(own, False, truth, prediction, expression)
    assert anew == Calibration.fit(truth, prediction, expression)
    assert note == "90% intervals are calibrated on 500 validation genes of these cells"
    unlabelled = np.full(500, np.nan)
    unlabelled[:3] = 0
    none, note = calibration_for(own, False, unlabelled, prediction, expression)
    assert none is None
    assert note.startswith("no intervals (lo90 and hi90 are NA): the run's hold for its own cells only")
    assert note.endswith("3 validation genes have a measured change, where 9 are needed")
    none, note = calibration_for(None, True, truth, prediction)
    assert none is None
    assert "train it again" in note


def test_coverage_by_stratum_by_hand() -> None:
    truth = np.array([0.0, 0.0, 3.0, -2.0, 0.5, 0.9, 0.1, 0.2, 0.3, 0.4, np.nan, 1.0])
    prediction = np.array([0.1, 0.0, 0.5, -1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0])
    low, high = prediction - 1, prediction + 1
    low[11] = high[11] = np.nan  # left out, as is the gene of unknown truth
    expr_a, expr_b = (np.where(np.isin(np.arange(12), some), 1.0, 0.5) for some in ([2, 4, 5], [3, 4, 5]))
    strata = coverage_by_stratum(
        Labels(truth, expr_a, expr_b, "rpkm"), np.arange(12), prediction, low, high, np.arange(12.0)
    )
    shares = {name: (stratum["n"], stratum["coverage"]) for name, stratum in strata.items()}
    assert shares == {
        "all": (10, 0.9),
        "expression_1": (2, 1.0),
        "expression_2": (2, 0.5),
        "expression_3": (2, 1.0),
        "expression_4": (2, 1.0),
        "expression_5": (2, 1.0),
        "top_decile": (1, 1.0),
        "silent_in_both": (6, 1.0),
        "expressed_in_one": (2, 0.5),
        "expressed_in_both": (2, 1.0),
        "up_or_down": (2, 0.5),
    }
    assert all(stratum["width"] == pytest.approx(2) for stratum in strata.values())


def test_the_larger_expression_is_that_of_either_cell() -> None:
    larger = larger_expression({"A": np.array([1.0, 2.0]), "B": np.array([0.0, 3.0])})
    np.testing.assert_array_equal(larger, [1.0, 3.0])
    assert larger_expression({}) is None

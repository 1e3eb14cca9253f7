"""Prediction intervals cover what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diffchrom.deepdiff.uncertainty import Calibration, coverage


def noisy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, prediction and spread of genes whose noise grows with the spread."""
    random = np.random.default_rng(seed)
    sd = random.gamma(2.0, 0.5, n)
    prediction = random.normal(0, 2, n)
    return prediction + random.normal(0, 0.3 + sd, n), prediction, sd


@pytest.mark.parametrize("n", [50, 199, 200, 2000])
def test_ninety_percent_of_new_genes_lie_inside(n: int) -> None:
    shares = []
    for seed in range(40):
        calibration = Calibration.fit(*noisy(n, seed))
        truth, prediction, sd = noisy(2000, 1000 + seed)
        shares.append(coverage(truth, *calibration.interval(prediction, sd)))
    # Exchangeable genes: at least 0.9 on average, at most 1/(n + 1) more; 40 repeats leave this much noise.
    noise = 3 * math.sqrt(0.09 * (1 / n + 1 / 2000) / 40)
    slack = 0.01 if n >= 200 else 0  # the scale is fitted on the same genes
    assert 0.9 - noise - slack < np.mean(shares) < 0.9 + 1 / (n + 1) + noise


def test_genes_on_which_the_members_disagree_get_wider_intervals() -> None:
    calibration = Calibration.fit(*noisy(2000, 0))
    low, high = calibration.interval(np.zeros(2), np.array([0.1, 3.0]))
    assert high[1] - low[1] > 2 * (high[0] - low[0])


def test_the_quantile_by_hand() -> None:
    truth = np.arange(1.0, 20.0)  # 19 genes: rank ceil(20 * 0.9) = 18
    calibration = Calibration.fit(truth, np.zeros(19), np.full(19, np.nan))
    low, high = calibration.interval(np.array([1.0]), np.array([np.nan]))
    assert (low[0], high[0]) == (1 - 18, 1 + 18)


def test_too_few_genes_give_no_interval() -> None:
    calibration = Calibration.fit(np.ones(8), np.zeros(8), np.zeros(8))
    assert calibration.quantile == math.inf
    assert np.isnan(calibration.interval(np.zeros(1), np.zeros(1))[0]).all()
    assert Calibration.from_dict(calibration.to_dict()) == calibration
    assert math.isnan(coverage(np.ones(1), *calibration.interval(np.zeros(1), np.zeros(1))))


def test_unknown_labels_and_other_content() -> None:
    truth, prediction, sd = noisy(300, 0)
    more = np.append(truth, np.nan), np.append(prediction, 0.0), np.append(sd, 1.0)
    assert Calibration.fit(*more) == Calibration.fit(truth, prediction, sd)
    broken = Calibration.fit(truth, prediction, sd).to_dict() | {"scale": [1, -1, 0]}
    with pytest.raises(ValueError, match="negative"):
        Calibration.from_dict(broken)

"""What a report may claim: every verdict with its threshold and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffchrom.sweeps.comparison import Comparison, contrasts
from diffchrom.sweeps.results import Result

NOTHING = "nothing stands out"


@dataclass(frozen=True)
class Threshold:
    """A bound that a verdict needs to pass, and why it lies there."""

    value: float
    reason: str


LEAST_R = Threshold(0.0, "the 95% interval of r on the test genes lies above it")
MARK_RATIO = Threshold(
    1.5, "half as much again as even attention, with an interval above the next mark's mean"
)
BIN_RATIO = Threshold(
    2.0, "twice even attention, since the highest of many bins is above their mean in any case"
)
CHANGED = Threshold(1.0, "a factor of two")
CLOSE = Threshold(0.5, "the prediction has the sign and at least half of the measured change")
FAR = Threshold(1.0, "wrong by a factor of two")
SIGNIFICANT = Threshold(0.05, "of the difference to the next method, after Holm's correction")


def predicts(result: Result) -> bool:
    """Whether a run's r on the test genes can be told from 0; if not, nothing else of it says anything."""
    low = result.measured["pearson"][1]
    return low is not None and low > LEAST_R.value


def gene_verdict(measured: float, predicted: float) -> str:
    """``predicted well`` or ``predicted badly``, or nothing."""
    error = abs(predicted - measured)
    if abs(measured) >= CHANGED.value and error <= CLOSE.value * abs(measured):
        return "predicted well"
    return "predicted badly" if error >= FAR.value else ""


def outstanding(
    values: npt.NDArray[np.float64], low: npt.NDArray[np.float64], even: float, threshold: Threshold
) -> int | None:
    """Place of the highest of some mean weights, where it is well above `even` and, surely, the next one."""
    first, *others = np.argsort(-values, kind="stable")
    next_highest = values[others[0]] if others else even
    above = values[first] >= threshold.value * even and low[first] > next_highest
    return int(first) if above else None


def best_method(comparison: Comparison) -> tuple[bool, str]:
    """Whether the first method's mean r can be told from 0, and what to say of it beside the next one's."""
    _, low, _ = comparison.mean(0)
    first, *others = comparison.labels
    if not low > LEAST_R.value:
        return False, f"{NOTHING}: no method's mean r on the test genes can be told from 0"
    if not others:
        return True, ""
    named = {frozenset((one.first, one.second)): one for one in contrasts(comparison)}
    contrast = named.get(frozenset((first, others[0])))
    if contrast is not None and contrast.p_adjusted < SIGNIFICANT.value:
        return True, f"{first} differs from the next, {others[0]} (p {contrast.p_adjusted:.2g} after Holm)"
    return True, f"no method stands out: {first} cannot be told from the next, {others[0]}"

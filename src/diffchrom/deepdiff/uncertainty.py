"""Prediction intervals: split conformal prediction, calibrated on the validation genes.

The score of a validation gene is |truth - prediction| / s, with s^2 = c0 + c1 sd^2 + c2 prediction^2 the
expected squared residual (coefficients >= 0, least squares). The interval of any other gene is
prediction +/- q s, where q is the ceil((n + 1) level)-th smallest score: it covers a gene exchangeable with
the validation genes with probability >= level (Vovk et al. 2005; Lei et al. 2018, Theorem 2). What keeps that
from being exact here is that the best epoch was chosen on the same genes; `train` reports the coverage of
the test genes for that reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Nominal coverage of the intervals, and the names of their ends in tables.
LEVEL = 0.9
COLUMNS = ("log2fc_sd", "lo90", "hi90")

#: Validation genes from which the width may vary between genes; with fewer it is the same for all.
MIN_GENES_FOR_SCALE = 200


@dataclass(frozen=True)
class Calibration:
    """How wide a gene's interval is.

    Attributes
    ----------
    level : float
        Nominal coverage.
    quantile : float
        q; infinite where there are too few validation genes for the level (fewer than 9 for 0.9).
    scale : tuple of three floats
        c0, c1 and c2.
    n : int
        Validation genes it was calibrated on.
    """

    level: float
    quantile: float
    scale: tuple[float, float, float]
    n: int

    @classmethod
    def fit(
        cls,
        truth: npt.NDArray[Any],
        prediction: npt.NDArray[Any],
        sd: npt.NDArray[Any],
        level: float = LEVEL,
    ) -> Calibration:
        """Calibrate on genes that the model was not fitted on.

        Parameters
        ----------
        truth, prediction, sd : float [n]
            log2fc, its prediction and the spread of the ensemble's members (0 or NaN for a single model).
        """
        known = np.isfinite(truth) & np.isfinite(prediction)
        truth, prediction = truth[known].astype(np.float64), prediction[known].astype(np.float64)
        sd = np.nan_to_num(sd[known].astype(np.float64))
        residual = np.abs(truth - prediction)
        scale = (1.0, 0.0, 0.0)
        if len(truth) >= MIN_GENES_FOR_SCALE:
            scale = _fit_scale(residual, prediction, sd)
        rank = math.ceil((len(truth) + 1) * level)
        if rank > len(truth):
            return cls(level, math.inf, scale, len(truth))
        scores = np.sort(residual / _scale(scale, prediction, sd))
        return cls(level, float(scores[rank - 1]), scale, len(truth))

    def interval(self, prediction: npt.NDArray[Any], sd: npt.NDArray[Any]) -> tuple[Array, Array]:
        """Ends of the intervals, float64 [n]; NaN where there is no bound."""
        prediction = np.asarray(prediction, dtype=np.float64)
        sd = np.nan_to_num(np.asarray(sd, dtype=np.float64))
        half = self.quantile * _scale(self.scale, prediction, sd)
        half = np.where(np.isfinite(half), half, np.nan)
        return prediction - half, prediction + half

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON; `Calibration.from_dict` reads it back."""
        quantile = self.quantile if math.isfinite(self.quantile) else None
        return {"level": self.level, "quantile": quantile, "scale": list(self.scale), "n": self.n}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Inverse of `to_dict`; KeyError, TypeError or ValueError where `values` is something else."""
        quantile = math.inf if values["quantile"] is None else float(values["quantile"])
        first, second, third = (float(value) for value in values["scale"])
        if not (quantile >= 0 and min(first, second, third) >= 0):
            raise ValueError("a calibration has no negative numbers")
        return cls(float(values["level"]), quantile, (first, second, third), int(values["n"]))


def coverage(truth: Array, low: Array, high: Array) -> float:
    """Share of the genes with known truth that lie inside their interval; NaN without any."""
    known = np.isfinite(truth) & np.isfinite(low)
    if not known.any():
        return float("nan")
    return float(np.mean((truth[known] >= low[known]) & (truth[known] <= high[known])))


def _fit_scale(residual: Array, prediction: Array, sd: Array) -> tuple[float, float, float]:
    from scipy.optimize import nnls

    terms = np.stack([np.ones_like(prediction), sd**2, prediction**2], axis=1)
    norms = np.maximum(terms.mean(axis=0), 1e-12)
    weights, _ = nnls(terms / norms, residual**2)
    first, second, third = (float(weight) for weight in weights / norms)
    # A scale that can be all but zero would make the ratio, and so the quantile, meaningless.
    return max(first, 0.05 * float(np.mean(residual**2)), 1e-12), second, third


def _scale(scale: tuple[float, float, float], prediction: Array, sd: Array) -> Array:
    return np.asarray(np.sqrt(scale[0] + scale[1] * sd**2 + scale[2] * prediction**2))

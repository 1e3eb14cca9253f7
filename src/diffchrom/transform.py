"""From binned signal to a model's input: transform and scaling, fitted on training genes alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import UsageError

Signal = npt.NDArray[np.float32]

#: Functions of the signal, by name. Negative signal (a log ratio to input) keeps its sign under log1p.
FUNCTIONS: dict[str, Callable[[Signal], Signal]] = {
    "raw": lambda signal: np.array(signal, dtype=np.float32),
    "log1p": lambda signal: np.copysign(np.log1p(np.abs(signal)), signal),
}


@dataclass(frozen=True)
class Transform:
    """``(function(signal) - mean) / scale``, mark by mark.

    Attributes
    ----------
    function : str
        A key of `FUNCTIONS`.
    mean, scale : tuple of float, one a mark
        Zeros and ones where the signal is not standardised.
    """

    function: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, function: str, standardise: bool, *signals: Signal) -> Transform:
        """Fit on the training genes' signals, each float32 [n_genes, n_marks, n_bins].

        A mark that is constant keeps scale 1, so that it stays zero instead of turning into noise.
        """
        if function not in FUNCTIONS:
            raise UsageError(f"transform {function}: unknown; choose one of {', '.join(FUNCTIONS)}")
        n_marks = signals[0].shape[1]
        if not standardise:
            return cls(function, (0.0,) * n_marks, (1.0,) * n_marks)
        means, scales = [], []
        for j in range(n_marks):
            values = np.concatenate([FUNCTIONS[function](signal[:, j]).ravel() for signal in signals])
            means.append(float(values.mean(dtype=np.float64)))
            deviation = float(values.std(dtype=np.float64))
            scales.append(deviation if deviation > 1e-12 else 1.0)
        return cls(function, tuple(means), tuple(scales))

    def apply(self, signal: Signal) -> Signal:
        """Return a new float32 array of the same shape [n_genes, n_marks, n_bins]."""
        result = FUNCTIONS[self.function](signal)
        if any(self.mean) or any(scale != 1.0 for scale in self.scale):
            result -= np.asarray(self.mean, dtype=np.float32)[:, None]
            result /= np.asarray(self.scale, dtype=np.float32)[:, None]
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON; `Transform.from_dict` reads it back."""
        return {"function": self.function, "mean": list(self.mean), "scale": list(self.scale)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Transform:
        """Inverse of `to_dict`."""
        function = str(values["function"])
        if function not in FUNCTIONS:
            raise ValueError(f"unknown transform {function!r}")
        mean, scale = (tuple(float(value) for value in values[key]) for key in ("mean", "scale"))
        return cls(function, mean, scale)

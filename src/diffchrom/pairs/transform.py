"""From binned signal to a model's input: transform and scaling, fitted on training genes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import UsageError
from diffchrom.genome.genes import Rows, Signal

#: Genes transformed at a time.
PIECE = 2048


def pieces(rows: Rows, size: int = PIECE) -> Iterator[Rows]:
    """Cut rows into pieces of at most `size`."""
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


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

    def __post_init__(self) -> None:
        """Refuse what no fit gives, with ValueError: a file may say anything."""
        if self.function not in FUNCTIONS:
            raise ValueError(f"unknown transform {self.function!r}")
        if len(self.mean) != len(self.scale):
            raise ValueError("a transform has as many means as scales")

    @classmethod
    def fit(cls, function: str, standardise: bool, rows: Rows, *signals: Signal) -> Transform:
        """Fit on some genes (the training genes) of signals, each float32 [n_genes, n_marks, n_bins].

        A mark that is constant keeps scale 1, so that it stays zero instead of turning into noise. The genes
        are read a piece at a time, so the signals may be larger than memory.
        """
        if function not in FUNCTIONS:
            raise UsageError(f"transform {function}: unknown; choose one of {', '.join(FUNCTIONS)}")
        n_marks, n_bins = signals[0].shape[1:]
        if not standardise:
            return cls(function, (0.0,) * n_marks, (1.0,) * n_marks)

        def sums(of: Callable[[Signal], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
            total = np.zeros(n_marks)
            for signal in signals:
                for piece in pieces(rows):
                    total += of(FUNCTIONS[function](signal[piece])).sum(axis=(0, 2))
            return np.asarray(total / (len(signals) * len(rows) * n_bins))

        mean = sums(lambda values: values.astype(np.float64))
        scale = np.sqrt(sums(lambda values: np.square(values - mean[:, None])))
        scale[scale <= 1e-12] = 1.0
        return cls(function, tuple(mean.tolist()), tuple(scale.tolist()))

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
        mean, scale = (tuple(float(value) for value in values[key]) for key in ("mean", "scale"))
        return cls(str(values["function"]), mean, scale)

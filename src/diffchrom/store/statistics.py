"""What the values of a track come to in a region, kept beside them so that nobody reads them all for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import Signal

#: Genes at most, evenly chosen, and stretches of their windows that tell marks apart.
SKETCH_GENES, SKETCH_STRETCHES = 512, 10


@dataclass(frozen=True)
class Statistics:
    """A track's values in a region, summed up; the names are those of a store's attributes.

    Attributes
    ----------
    nonzero : share of windows that are not 0.
    mean, minimum, maximum : of all windows.
    profile : float64 [n_windows]
        Mean over genes, window by window.
    sketch : float32 [n_stretches, n_chosen]
        Mean log1p signal of stretches of the windows, of some genes: enough to tell marks apart.
    """

    nonzero: float
    mean: float
    minimum: float
    maximum: float
    profile: npt.NDArray[np.float64]
    sketch: npt.NDArray[np.float32]

    @classmethod
    def of(cls, values: Signal) -> Statistics:
        """Sum up float32 [n_genes, n_windows]."""
        n_stretches, _ = _sketched(values.shape)
        chosen = np.log1p(np.maximum(values[:: -(-len(values) // SKETCH_GENES)], 0))
        stretches = np.array_split(chosen, n_stretches, axis=1)
        return cls(
            nonzero=float(np.count_nonzero(values) / values.size),
            mean=float(values.mean(dtype=np.float64)),
            minimum=float(values.min()),
            maximum=float(values.max()),
            profile=values.mean(axis=0, dtype=np.float64),
            sketch=np.stack([stretch.mean(axis=1) for stretch in stretches]),
        )

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, Any], shape: tuple[int, int]) -> Statistics | None:
        """Return those that were written with values of this shape; None where there are none, or others."""
        written: dict[str, Any] = {field.name: np.asarray(attrs.get(field.name)) for field in fields(cls)}
        shapes = {"profile": shape[1:], "sketch": _sketched(shape)}
        for name, array in written.items():
            if array.shape != shapes.get(name, ()) or array.dtype.kind != "f" or not np.isfinite(array).all():
                return None
        return cls(**{name: array[()] for name, array in written.items()})

    def attrs(self) -> dict[str, Any]:
        """Return them as a store's attributes hold them."""
        return dict(vars(self))


def _sketched(shape: tuple[int, ...]) -> tuple[int, int]:
    n_genes, n_windows = shape
    return min(SKETCH_STRETCHES, n_windows), len(range(0, n_genes, -(-n_genes // SKETCH_GENES)))

"""What the signal of cells was like that a model learnt from, and how far that of another cell is from it.

Of every cell, mark and region the quantiles of the signal are kept, over training genes; labels are not read.
They serve twice. A cell of which some mark's distribution is further from every one of these cells than
they are from each other is outside what was learnt (`SeenSignal.distances`). And signal can be normalised to
their mean (`Reference`): each value becomes the value of the same quantile there, which takes away what depth
and other monotone differences between tracks do (quantile normalisation; Bolstad et al. 2003, Bioinformatics
19:185, with the reference fixed so that cells can come one at a time).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import Signal

Quantiles = npt.NDArray[np.float32]

#: Levels of the quantiles that are kept: evenly, and closer and closer towards the strongest signal.
LEVELS = np.unique(np.concatenate([np.linspace(0, 0.98, 99), 1 - np.geomspace(0.02, 1e-5, 40), [1.0]]))
#: Cells are never called outside for a distance below this, however alike those of the training are.
LEAST_LIMIT = 0.1


def quantiles(signal: Signal) -> Quantiles:
    """Quantiles at `LEVELS` of one mark's signal [n_genes, n_windows]; NaN without genes."""
    if not signal.size:
        return np.full(len(LEVELS), np.nan, dtype=np.float32)
    return np.asarray(np.quantile(signal, LEVELS), dtype=np.float32)


def ks_distance(first: Quantiles, second: Quantiles) -> float:
    """Kolmogorov-Smirnov distance of two distributions, as well as their quantiles tell."""
    both = np.concatenate([first, second])
    shares = [
        np.concatenate([[0.0], LEVELS])[np.searchsorted(values, both, side="right")]
        for values in (first, second)
    ]
    return float(np.abs(shares[0] - shares[1]).max())


@dataclass(frozen=True)
class Distance:
    """How far a mark of a cell is from the nearest cell that was learnt from.

    Attributes
    ----------
    cell, mark : of what.
    distance : Kolmogorov-Smirnov, of the bins around the TSS.
    limit : the largest such distance between two cells that were learnt from, but `LEAST_LIMIT` at least.
    """

    cell: str
    mark: str
    distance: float
    limit: float

    @property
    def outside(self) -> bool:
        """Whether it is further away than these cells from each other."""
        return self.distance > self.limit


@dataclass(frozen=True)
class SeenSignal:
    """Distributions of the signal that was learnt from.

    Attributes
    ----------
    cells, marks, regions : names.
    quantiles : float32 [n_cells, n_marks, n_regions, n_levels]
    """

    cells: tuple[str, ...]
    marks: tuple[str, ...]
    regions: tuple[str, ...]
    quantiles: Quantiles

    def __post_init__(self) -> None:
        """Refuse what does not fit together, with ValueError: a file may say anything."""
        shape = (len(self.cells), len(self.marks), len(self.regions), len(LEVELS))
        if self.quantiles.shape != shape or not self.cells or not np.isfinite(self.quantiles).all():
            raise ValueError("quantiles of other cells, marks, regions or levels than are named")

    @property
    def reference(self) -> Reference:
        """The mean over the cells, each once."""
        return Reference(self.marks, self.regions, self.quantiles.mean(axis=0))

    def distances(self, cell: str, own: Quantiles) -> list[Distance]:
        """Distances of a cell with the quantiles `own` [n_marks, n_regions, n_levels], a mark at a time."""
        distances = []
        for j, mark in enumerate(self.marks):
            seen = self.quantiles[:, j, 0]
            among = [ks_distance(a, b) for i, a in enumerate(seen) for b in seen[:i]]
            nearest = min(ks_distance(own[j, 0], other) for other in seen)
            distances.append(Distance(cell, mark, nearest, max([LEAST_LIMIT, *among])))
        return distances


@dataclass(frozen=True, eq=False)
class Reference:
    """Distributions to which signal is normalised.

    Attributes
    ----------
    marks, regions : names.
    quantiles : float32 [n_marks, n_regions, n_levels]
    cells : quantiles of cells that were met, so that each is read for them once.
    """

    marks: tuple[str, ...]
    regions: tuple[str, ...]
    quantiles: Quantiles
    cells: dict[str, Quantiles] = field(default_factory=dict)

    def own(self, cell: str, measure: Callable[[], Quantiles]) -> Quantiles:
        """Quantiles of a cell, measured where they are not known."""
        if cell not in self.cells:
            self.cells[cell] = measure()
        return self.cells[cell]

    def apply(self, signal: Signal, own: Quantiles, marks: Sequence[str], region: str) -> Signal:
        """Normalise a cell's signal of a region [n_genes, len(marks), n_windows]; `own` are its quantiles."""
        normalised = np.empty_like(signal)
        k = self.regions.index(region)
        for j, mark in enumerate(marks):
            at = self.marks.index(mark)
            normalised[:, j] = _mapped(signal[:, j], own[at, k], self.quantiles[at, k])
        return normalised


def _mapped(values: Signal, own: Quantiles, reference: Quantiles) -> Signal:
    """Values at the same quantile of the reference; beyond the outermost ones as far as they are here."""
    x, first, counts = np.unique(own, return_index=True, return_counts=True)
    sums = np.add.reduceat(reference.astype(np.float64), first)
    y = sums / counts  # what is one value here, as zero often is, becomes the mean of what it is there
    mapped = np.interp(values, x, y)
    beyond = np.where(values > x[-1], values - x[-1], np.minimum(values - x[0], 0))
    return np.asarray(mapped + beyond, dtype=np.float32)

"""Genes as plain arrays, and how a window is cut into bins; `windows` says where they lie.

Coordinates are 0-based and half-open everywhere inside diffchrom, as in BED, bigWig and HDF5; GTF's 1-based
closed ones are converted where they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

StringArray = npt.NDArray[np.object_]
IntArray = npt.NDArray[np.int64]
#: Rows of a store: positions of genes, int [n].
Rows = npt.NDArray[np.intp]
#: Binned signal, float32 [n_genes, n_marks, n_bins] (or [n_genes, n_bins] of one mark).
Signal = npt.NDArray[np.float32]

#: Chromosome of a gene whose coordinates are unknown, as in the published DeepDiff format.
UNKNOWN_CHROM = "NA"


@dataclass(frozen=True)
class Genes:
    """Genes in the order of a store's rows.

    Attributes
    ----------
    id, name, chrom : object array [n_genes]
        Stable identifier (unique), symbol, chromosome as the annotation names it.
    strand : object array [n_genes]
        ``+`` or ``-`` (``.`` only where coordinates are unknown, see `located`).
    start, end : int64 array [n_genes]
        The gene's extent, 0-based, half-open.
    tss : int64 array [n_genes]
        0-based position of the first transcribed base: `start` on plus, ``end - 1`` on minus.
    tes : int64 array [n_genes]
        0-based position of the last transcribed base: ``end - 1`` on plus, `start` on minus.
    """

    id: StringArray
    name: StringArray
    chrom: StringArray
    strand: StringArray
    start: IntArray
    end: IntArray
    tss: IntArray
    tes: IntArray

    def __len__(self) -> int:
        return len(self.id)

    def take(self, index: npt.NDArray[Any]) -> Genes:
        """Return the genes at `index` (positions or a boolean mask), in that order."""
        return Genes(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    @property
    def located(self) -> npt.NDArray[np.bool_]:
        """True where coordinates are known; other genes have chrom ``NA``, strand ``.`` and positions -1."""
        return np.asarray(self.chrom != UNKNOWN_CHROM, dtype=bool)

    @property
    def minus(self) -> npt.NDArray[np.bool_]:
        """True for genes on the minus strand."""
        return np.asarray(self.strand == "-", dtype=bool)


@dataclass(frozen=True)
class Window:
    """How a gene's surroundings are cut into bins.

    Attributes
    ----------
    flank : int
        Bases on each side of the TSS.
    bin_size : int
        Bases a bin.
    orient : str
        ``transcription``: bin 1 is always upstream (windows of minus-strand genes are flipped);
        ``genome``: bin 1 has the smallest coordinate, whatever the strand (what the DeepDiff authors did).
    """

    flank: int = 10_000
    bin_size: int = 100
    orient: str = "transcription"

    @property
    def n_bins(self) -> int:
        """Bins a window."""
        return self.width // self.bin_size

    @property
    def width(self) -> int:
        """Bases a window."""
        return 2 * self.flank

    @property
    def middles(self) -> npt.NDArray[np.float64]:
        """Middle of every bin, in bases from the anchor, the first bin's negative."""
        return np.asarray((np.arange(self.n_bins) + 0.5) * self.bin_size - self.flank, dtype=np.float64)

    def described(self) -> str:
        """In words."""
        return f"+/-{self.flank} bp in bins of {self.bin_size} bp, {self.orient} orientation"


ORIENTATIONS = ("transcription", "genome")

"""Where the bins of genes lie, and which windows meet: the one home of window geometry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import UNKNOWN_CHROM, Genes, IntArray, Rows, StringArray, Window

Mask = npt.NDArray[np.bool_]

#: Length of a chromosome whose length is not known.
_ENDLESS = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Windows:
    """The windows of genes, row by row.

    Attributes
    ----------
    chrom : object array [n_genes]
        As the annotation names them.
    start : int64 array [n_genes]
        First base, 0-based; may be negative near a chromosome's start.
    minus : bool array [n_genes]
        True for genes on the minus strand.
    n_bins, bin_size : int
        Bins a window, bases a bin.
    orient : str
        Order of the bins, see `Window`.
    """

    chrom: StringArray
    start: IntArray
    minus: Mask
    n_bins: int
    bin_size: int
    orient: str

    @classmethod
    def around(cls, genes: Genes, window: Window, anchor: str = "tss") -> Windows:
        """Return the windows of `genes` around their ``tss`` or ``tes``.

        The 5' edge of the anchor base lies exactly between the two halves, on both strands: a gene and its
        mirror image have mirrored windows.
        """
        start = np.asarray(getattr(genes, anchor) + genes.minus - window.flank, dtype=np.int64)
        return cls(genes.chrom, start, genes.minus, window.n_bins, window.bin_size, window.orient)

    @property
    def width(self) -> int:
        """Bases a window."""
        return self.n_bins * self.bin_size

    @property
    def end(self) -> IntArray:
        """End of each window (exclusive); int64 [n_genes]."""
        return self.start + self.width

    @cached_property
    def flip(self) -> Mask:
        """True for the genes whose bins run against the genome's coordinates."""
        return self.minus & (self.orient == "transcription")

    def digest(self) -> str:
        """Sha256 of everything that decides where bins lie."""
        text = "\n".join(map(str, self.chrom)) + f"\n{self.n_bins} {self.bin_size}\n"
        return hashlib.sha256(text.encode() + self.start.tobytes() + self.flip.tobytes()).hexdigest()

    def edges(self, rows: Rows | slice) -> IntArray:
        """Edges of the bins of `rows` in ascending coordinates; int64 [len(rows), n_bins + 1]."""
        return np.asarray(self.start[rows, None] + np.arange(self.n_bins + 1) * self.bin_size)

    def intervals(
        self, rows: Rows | slice = slice(None), chrom_sizes: Mapping[str, int] | None = None
    ) -> tuple[IntArray, IntArray]:
        """Coordinates of the bins of `rows` in the order in which they stand in the store.

        Returns
        -------
        start, end : int64 [len(rows), n_bins]
            0-based, half-open; clipped to the chromosome, as far as its length is known; -1 for a bin wholly
            beyond its ends and for genes without coordinates.
        """
        edges = self.edges(rows)
        backwards = self.flip[rows, None]
        start = np.where(backwards, edges[:, -2::-1], edges[:, :-1])
        end = np.minimum(start + self.bin_size, self.chrom_ends(rows, chrom_sizes or {})[:, None])
        start = np.maximum(start, 0)
        nowhere = (end <= start) | (self.chrom[rows, None] == UNKNOWN_CHROM)
        start[nowhere] = end[nowhere] = -1
        return start, end

    def chrom_ends(self, rows: Rows | slice, chrom_sizes: Mapping[str, int]) -> IntArray:
        """Length of each gene's chromosome; the largest int64 where it is not known."""
        return np.array([chrom_sizes.get(chrom, _ENDLESS) for chrom in self.chrom[rows]], dtype=np.int64)

    def genome_order(self, rows: Rows) -> Rows:
        """`rows` sorted by chromosome (byte order, as ``sort -k1,1``) and start of the window."""
        chroms = np.array([str(chrom).encode() for chrom in self.chrom[rows]], dtype=bytes)
        return np.asarray(rows[np.lexsort((rows, self.start[rows], chroms))], dtype=np.intp)

    def ascending(self, values: npt.NDArray[Any], rows: Rows) -> npt.NDArray[Any]:
        """Copy of `values` [len(rows), ..., n_bins] with the bins of every gene in ascending coordinates."""
        return _reversed_where(self.flip[rows], values)

    def from_upstream(self, values: npt.NDArray[Any], rows: Rows) -> npt.NDArray[Any]:
        """Copy of `values` [len(rows), ..., n_bins] with the bins of every gene from upstream on."""
        return _reversed_where(self.minus[rows] & ~self.flip[rows], values)

    def touched(self, row: Rows, first: IntArray, last: IntArray) -> Mask:
        """Tell which bins share a base with intervals of which the i-th lies at gene ``row[i]``.

        Parameters
        ----------
        row, first, last : arrays [n_intervals]
            Gene, and first and last (exclusive) base, on the gene's chromosome.

        Returns
        -------
        bool array [n_genes, n_bins]
            In the order in which bins stand in the store.
        """
        # +1 where an interval begins to cover a window's bins and -1 behind it; the sum counts intervals.
        steps = np.zeros((len(self.start), self.n_bins + 1), dtype=np.int32)
        begin = np.clip((first - self.start[row]) // self.bin_size, 0, self.n_bins)
        behind = np.clip(-(-(last - self.start[row]) // self.bin_size), 0, self.n_bins)
        np.add.at(steps, (row, begin), 1)
        np.add.at(steps, (row, behind), -1)
        return _reversed_where(self.flip, np.cumsum(steps[:, :-1], axis=1) > 0)

    def neighbours(self, rows: Rows, others: Rows) -> tuple[IntArray, Rows]:
        """How many of `others` share a base of each window of `rows`, and one of them (or -1)."""
        counts = np.zeros(len(rows), dtype=np.int64)
        nearest = np.full(len(rows), -1, dtype=np.intp)
        for chrom in np.unique(self.chrom[rows].astype(str)):
            if chrom == UNKNOWN_CHROM:
                continue
            here = np.flatnonzero(self.chrom[rows] == chrom)
            there = others[self.chrom[others] == chrom]
            there = there[np.argsort(self.start[there], kind="stable")]
            start = self.start[rows[here]]
            first = np.searchsorted(self.start[there], start - self.width, side="right")
            last = np.searchsorted(self.start[there], start + self.width, side="left")
            counts[here] = last - first
            met = last > first
            nearest[here[met]] = there[first[met]]
        return counts, nearest


def _reversed_where(backwards: Mask, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    result = values.copy()
    result[backwards] = values[backwards][..., ::-1]
    return result


def on_chromosome(start: IntArray, end: IntArray, length: IntArray) -> tuple[IntArray, IntArray, Mask]:
    """What of the intervals [start, end) lies on chromosomes of a length, and which run over an end."""
    low, high = np.clip(start, 0, length), np.clip(end, 0, length)
    return low, high, (start < 0) | (end > length)


def runs_of_neighbours(genes: Genes, reach: int) -> tuple[Rows, IntArray]:
    """Runs of genes of which each has its window, of `reach` bases, near that of the next.

    Returns
    -------
    order : intp [n_genes]; the genes along the chromosomes.
    run : int64 [n_genes]; the run of each gene of `order`, from 0. Genes without coordinates stand alone.
    """
    order = np.lexsort((genes.id.astype(str), genes.tss, genes.chrom.astype(str)))
    tss, chrom = genes.tss[order], genes.chrom[order]
    # A window's start is the TSS, or the TSS and one base on the minus strand: reach + 1 is safe on both.
    apart = np.concatenate([[True], (chrom[1:] != chrom[:-1]) | (np.diff(tss) > reach)])
    apart |= ~genes.located[order]
    return order, np.cumsum(apart) - 1

"""Where the windows of genes lie, and which of them meet: the one home of window geometry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import UNKNOWN_CHROM, Genes, IntArray, Rows, StringArray, Window
from diffchrom.genome.regions import TSS, Region, region_of

Mask = npt.NDArray[np.bool_]

#: Length of a chromosome whose length is not known.
_ENDLESS = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Windows:
    """The windows of genes in one region, row by row.

    Attributes
    ----------
    chrom : object array [n_genes]
        As the annotation names them.
    anchor : int64 array [n_genes]
        The edge that the region's windows count from, as the number of bases before it on the chromosome:
        the 5' edge of the TSS or TES, so that a gene and its mirror image have mirrored windows.
    minus : bool array [n_genes]
        True for genes on the minus strand.
    unit : int64 array [n_genes]
        What the region's windows count in, in ``1 / region.parts`` of a base: 1, or the gene's length.
    region : Region
    orient : str
        Order of the windows, see `Window`.
    """

    chrom: StringArray
    anchor: IntArray
    minus: Mask
    unit: IntArray
    region: Region
    orient: str

    @classmethod
    def of(cls, genes: Genes, region: Region, orient: str) -> Windows:
        """Return the windows of `genes` in a region."""
        position = genes.tes if region.anchor == "tes" else genes.tss
        length = np.abs(genes.tes - genes.tss) + 1 if region.anchor == "gene" else np.ones_like(position)
        return cls(genes.chrom, position + genes.minus, genes.minus, length, region, orient)

    @classmethod
    def around(cls, genes: Genes, window: Window) -> Windows:
        """Return the windows of `genes` around their TSS, cut into bins."""
        return cls.of(genes, region_of(TSS, window), window.orient)

    @property
    def n_windows(self) -> int:
        """Windows of a gene."""
        return len(self.region.windows)

    @property
    def bin_size(self) -> int:
        """Bases of a window, in a region of bins."""
        first, last = self.region.windows[0]
        return last - first

    @cached_property
    def flip(self) -> Mask:
        """True for the genes whose windows run against the genome's coordinates."""
        return self.minus & (self.orient == "transcription")

    @cached_property
    def start(self) -> IntArray:
        """First base of each gene's windows, 0-based, int64 [n_genes]; may be negative."""
        return np.asarray(self._extremes()[0] // self.region.parts)

    @cached_property
    def end(self) -> IntArray:
        """End of each gene's windows (exclusive); int64 [n_genes]."""
        return np.asarray(-(-self._extremes()[1] // self.region.parts))

    def _extremes(self) -> tuple[IntArray, IntArray]:
        offsets = np.array(self.region.windows)
        low, high = (
            np.where(self.minus, -far, near)
            for near, far in ((offsets.min(), offsets.max()), (offsets.max(), offsets.min()))
        )
        origin = self.anchor * self.region.parts
        return origin + self.unit * low, origin + self.unit * high

    def digest(self) -> str:
        """Sha256 of everything that decides where windows lie and in which order they stand."""
        told = {**self.region.attrs(), "windows": self.region.windows, "orient": self.orient}
        seen = hashlib.sha256(json.dumps(told).encode() + "\n".join(map(str, self.chrom)).encode())
        for column in (self.anchor, self.minus, self.unit):
            seen.update(column.tobytes())
        return seen.hexdigest()

    def bounds(self, rows: Rows | slice = slice(None)) -> tuple[IntArray, IntArray]:
        """Exact edges of the windows of `rows` in ascending coordinates.

        Returns
        -------
        lower, upper : int64 [len(rows), n_windows]
            In ``1 / region.parts`` of a base, not clipped to the chromosome.
        """
        offsets = np.array(self.region.windows)
        origin, unit = (self.anchor[rows] * self.region.parts)[:, None], self.unit[rows, None]
        minus = self.minus[rows, None]
        lower = origin + unit * np.where(minus, -offsets[::-1, 1], offsets[:, 0])
        return lower, origin + unit * np.where(minus, -offsets[::-1, 0], offsets[:, 1])

    def intervals(
        self, rows: Rows | slice = slice(None), chrom_sizes: Mapping[str, int] | None = None
    ) -> tuple[IntArray, IntArray]:
        """Coordinates of the windows of `rows` in the order in which they stand in the store.

        Edges within a base are rounded down; a window that is narrower than a base gets the base where it
        begins.

        Returns
        -------
        start, end : int64 [len(rows), n_windows]
            0-based, half-open; clipped to the chromosome, as far as its length is known; -1 for a window
            wholly beyond its ends and for genes without coordinates.
        """
        start, end = (
            _reversed_where(self.flip[rows], edge // self.region.parts) for edge in self.bounds(rows)
        )
        end = np.minimum(np.maximum(end, start + 1), self.chrom_ends(rows, chrom_sizes or {})[:, None])
        start = np.maximum(start, 0)
        nowhere = (end <= start) | (self.chrom[rows, None] == UNKNOWN_CHROM)
        start[nowhere] = end[nowhere] = -1
        return start, end

    def chrom_ends(self, rows: Rows | slice, chrom_sizes: Mapping[str, int]) -> IntArray:
        """Length of each gene's chromosome; the largest int64 where it is not known."""
        return np.array([chrom_sizes.get(chrom, _ENDLESS) for chrom in self.chrom[rows]], dtype=np.int64)

    def ascending(self, values: npt.NDArray[Any], rows: Rows | slice = slice(None)) -> npt.NDArray[Any]:
        """Copy of `values` [len(rows), ..., n_windows] with the windows of every gene by coordinate.

        What is in ascending order already is put into the store's order by it, too.
        """
        return _reversed_where(self.flip[rows], values)

    def from_upstream(self, values: npt.NDArray[Any], rows: Rows) -> npt.NDArray[Any]:
        """Copy of `values` [len(rows), ..., n_windows] with the windows of every gene from upstream on."""
        return _reversed_where(self.minus[rows] & ~self.flip[rows], values)

    def touched(self, row: Rows, first: IntArray, last: IntArray) -> Mask:
        """Tell which bins share a base with intervals of which the i-th lies at gene ``row[i]``.

        Parameters
        ----------
        row, first, last : arrays [n_intervals]
            Gene, and first and last (exclusive) base, on the gene's chromosome.

        Returns
        -------
        bool array [n_genes, n_windows]
            In the order in which bins stand in the store.
        """
        # +1 where an interval begins to cover a gene's bins and -1 behind it; the sum counts intervals.
        steps = np.zeros((len(self.start), self.n_windows + 1), dtype=np.int32)
        begin = np.clip((first - self.start[row]) // self.bin_size, 0, self.n_windows)
        behind = np.clip(-(-(last - self.start[row]) // self.bin_size), 0, self.n_windows)
        np.add.at(steps, (row, begin), 1)
        np.add.at(steps, (row, behind), -1)
        return _reversed_where(self.flip, np.cumsum(steps[:, :-1], axis=1) > 0)

    def neighbours(self, rows: Rows, others: Rows, theirs: Windows | None = None) -> tuple[IntArray, Rows]:
        """How many of `others` share a base with each of `rows`, and one of them (or -1).

        Parameters
        ----------
        theirs : windows of the same genes that those of `rows` are compared with; None is these. All from a
            gene's first base to its last count.
        """
        theirs = theirs or self
        counts = np.zeros(len(rows), dtype=np.int64)
        nearest = np.full(len(rows), -1, dtype=np.intp)
        for chrom in np.unique(self.chrom[rows].astype(str)):
            here = np.flatnonzero(self.chrom[rows] == chrom)
            there = others[theirs.chrom[others] == chrom]
            if chrom == UNKNOWN_CHROM or not len(there):
                continue
            by_end = there[np.lexsort((theirs.start[there], theirs.end[there]))]
            begins, ends = theirs.start[by_end], theirs.end[by_end]
            begun = np.searchsorted(np.sort(begins), self.end[rows[here]], side="left")
            ended = np.searchsorted(ends, self.start[rows[here]], side="right")
            counts[here] = begun - ended
            met = begun > ended
            # Of those that end behind a gene's start, the one that begins first meets it if any does.
            rank = np.argsort(np.argsort(begins, kind="stable"), kind="stable")
            first = np.minimum.accumulate(rank[::-1])[::-1]
            nearest[here[met]] = by_end[np.argsort(rank)[first[ended[met]]]]
        return counts, nearest


@dataclass(frozen=True)
class GenomeIntervals:
    """Intervals of a genome that do not overlap, such as a blacklist's.

    Attributes
    ----------
    chrom : object array [n]
    start, end : int64 array [n]
        0-based, half-open.
    """

    chrom: StringArray
    start: IntArray
    end: IntArray

    def take(self, index: npt.NDArray[Any]) -> GenomeIntervals:
        """Return the intervals at `index` (positions or a mask)."""
        return GenomeIntervals(self.chrom[index], self.start[index], self.end[index])

    def renamed(self, names: Mapping[str, str]) -> GenomeIntervals:
        """Return those on chromosomes that have another name in `names`, under that name."""
        named = self.take(np.array([chrom in names for chrom in self.chrom], dtype=bool))
        return replace(named, chrom=np.array([names[chrom] for chrom in named.chrom], dtype=object))


_NOTHING = np.empty(0, dtype=np.int64)
NOWHERE = GenomeIntervals(np.empty(0, dtype=object), _NOTHING, _NOTHING)


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

"""What the signal of a track is summed over: bins, and stretches of the genome for windows beyond them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.windows import Windows, on_chromosome

IntArray = npt.NDArray[np.int64]
#: Mean signal, float32 [n_genes, n_windows], and share of bases with data, float32 [n_genes].
Means = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class BinSums:
    """Bins of equal width around the genes of some regions, to which signal is added one by one.

    Parameters
    ----------
    regions : regions of bins, with the same bins and genes.
    number, length : int64 [n_genes]
        Chromosome of each gene in the track and its length; -1 and 0 where the track has none.

    Attributes
    ----------
    number, start : int64 [n_rows]
        Chromosome and first base of each gene's bins, sorted by both, so that each finds its intervals near
        those of the row before; rows that lie on the chromosome, at least in part.
    n_bins, bin_size : bins a row, bases a bin.
    sums : float64 [n_rows, n_bins]; to be added to.
    covered : int64 [n_rows]; bases that have data; to be added to.
    """

    def __init__(self, regions: Sequence[Windows], number: IntArray, length: IntArray) -> None:
        self.n_bins, self.bin_size = (regions[0].n_windows, regions[0].bin_size) if regions else (1, 1)
        self._n_genes = len(number)
        # Row i of the g-th region is number i + g * n_genes here.
        start = np.concatenate([windows.start for windows in regions] or [number[:0]])
        numbers, lengths = np.tile(number, len(regions)), np.tile(length, len(regions))
        low, high, _ = on_chromosome(start, start + self.n_bins * self.bin_size, lengths)
        order = np.lexsort((start, numbers))
        self._order = order[(low < high)[order]]
        self.number, self.start = numbers[self._order], start[self._order]
        self._bases = (high - low)[self._order]
        self.sums = np.zeros((len(self.start), self.n_bins))
        self.covered = np.zeros(len(self.start), dtype=np.int64)

    def of_chrom(self, number: int) -> slice:
        """Rows that lie on a chromosome."""
        first, last = np.searchsorted(self.number, [number, number + 1])
        return slice(int(first), int(last))

    def means(self, index: int) -> Means:
        """What was summed over the bins of the `index`-th region."""
        rows = np.flatnonzero(self._order // self._n_genes == index)
        gene = self._order[rows] - index * self._n_genes
        values = np.zeros((self._n_genes, self.n_bins), dtype=np.float32)
        values[gene] = self.sums[rows] / self.bin_size
        coverage = np.zeros(self._n_genes, dtype=np.float32)
        coverage[gene] = self.covered[rows] / self._bases[rows]
        return values, coverage


class StretchSums:
    """The genome cut at all edges of windows, and the signal summed from cut to cut.

    Windows of a region beyond the bins are wide, overlap those of neighbouring genes, and may end within a
    base. Every interval of a track is added to the stretch on which it lies, once for all windows over it; a
    window's sum is that of its stretches. Unlike a difference of cumulative sums, this keeps small values
    exact beside large ones.

    Parameters
    ----------
    regions : windows of the same genes.
    number : int64 [n_genes]
        Chromosome of each gene in the track; negative where it has none.
    sizes : length of each chromosome, by its number.
    masked : chromosome number, start and end of what has no signal, whatever the track says; disjoint.

    Attributes
    ----------
    parts : parts of a base that positions are counted in.
    sums : float64 [n_cuts]
        Signal from each cut to the next, times `parts`; to be added to.
    covered : int64 [n_cuts]
        Parts of bases that have data; to be added to.
    """

    def __init__(
        self,
        regions: Sequence[Windows],
        number: IntArray,
        sizes: Mapping[int, int],
        masked: tuple[IntArray, IntArray, IntArray],
    ) -> None:
        self.parts = math.lcm(*(windows.region.parts for windows in regions))
        self._regions = regions
        self._sizes = {chrom: sizes[chrom] * self.parts for chrom in sorted(sizes)}
        # A genome-wide coordinate: each chromosome begins behind the end of the one before.
        lengths = np.array(list(self._sizes.values()), dtype=np.int64)
        self._origins = dict(zip(self._sizes, (np.cumsum(lengths + 1) - lengths - 1).tolist(), strict=True))
        self._n_genes, self._present = len(number), np.flatnonzero(number >= 0)
        self._bounds = []
        for windows in regions:
            bounds = (self._scale(windows) * bound for bound in windows.bounds(self._present))
            self._bounds.append(self._place(number[self._present, None], *bounds))
        dark = self._place(masked[0], self.parts * masked[1], self.parts * masked[2])
        edges = [bound.ravel() for pair in (*self._bounds, dark) for bound in pair]
        every = np.sort(np.concatenate(edges))  # numpy's unique hashes, which takes ten times as long
        self._edges = every[np.diff(every, prepend=-1) > 0]
        begun, ended = (np.searchsorted(np.sort(bound), self._edges, side="right") for bound in dark)
        self._dark = begun > ended
        self.sums, self.covered = np.zeros(len(self._edges)), np.zeros(len(self._edges), dtype=np.int64)

    def _scale(self, windows: Windows) -> int:
        return self.parts // windows.region.parts

    def _place(self, number: IntArray, lower: IntArray, upper: IntArray) -> tuple[IntArray, IntArray]:
        """Clip to the chromosomes, in the genome-wide coordinate."""
        length, origin = (
            np.array([known[chrom] for chrom in number.ravel().tolist()], dtype=np.int64).reshape(
                number.shape
            )
            for known in (self._sizes, self._origins)
        )
        low, high, _ = on_chromosome(lower, upper, length)
        return origin + low, origin + high

    def of_chrom(self, number: int) -> slice:
        """Cuts that lie on a chromosome."""
        origin = self._origins[number]
        first, last = np.searchsorted(self._edges, [origin, origin + self._sizes[number] + 1])
        return slice(int(first), int(last))

    @cached_property
    def cuts(self) -> IntArray:
        """Where the genome is cut, chromosome by chromosome, in parts of a base; int64 [n_cuts]."""
        cuts = self._edges.copy()
        for number, origin in self._origins.items():
            cuts[self.of_chrom(number)] -= origin
        return cuts

    def means(self, index: int) -> Means:
        """What was summed over the windows of the `index`-th region."""
        lower, upper = self._bounds[index]
        whole_lower, whole_upper = self._regions[index].bounds(self._present)
        width = self._scale(self._regions[index]) * (whole_upper - whole_lower)
        cuts = np.searchsorted(self._edges, np.stack([lower, upper], axis=-1))
        values = np.zeros((self._n_genes, lower.shape[1]), dtype=np.float32)
        values[self._present] = _between(np.where(self._dark, 0, self.sums), cuts) / width
        coverage = np.zeros(self._n_genes, dtype=np.float32)
        bases = np.maximum((upper - lower).sum(axis=1), 1)
        coverage[self._present] = _between(self.covered, cuts).sum(axis=1) / bases
        return values, coverage


def _between(values: npt.NDArray[Any], cuts: IntArray) -> npt.NDArray[Any]:
    """Sums of `values` from ``cuts[..., 0]`` to ``cuts[..., 1]``."""
    pairs = cuts.reshape(-1, 2)
    order = np.argsort(pairs[:, 0], kind="stable")  # reduceat sums between the pairs, too: let that be little
    sums = np.zeros(len(pairs), dtype=values.dtype)
    if len(pairs):
        # reduceat gives the value at the first cut, not 0, for an empty range, and takes no cut at the end.
        padded = np.append(values, np.zeros(1, dtype=values.dtype))
        sums[order] = np.add.reduceat(padded, pairs[order].ravel())[::2]
    return np.where(pairs[:, 1] > pairs[:, 0], sums, 0).reshape(cuts.shape[:-1])

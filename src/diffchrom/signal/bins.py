"""Binning a track: the mean signal of every bin of every window, from the intervals of a bigWig.

The value of a bin is the sum of the signal over the bin divided by its width; bases without data count as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.windows import NOWHERE, GenomeIntervals, Windows, on_chromosome
from diffchrom.signal import bigwig
from diffchrom.signal.blocks import IntArray, Regions, bin_blocks
from diffchrom.signal.sums import BinSums, StretchSums


@dataclass(frozen=True)
class BinnedSignal:
    """One track over the windows of genes in one region.

    Attributes
    ----------
    values : float32 array [n_genes, n_windows]
        Mean signal a window, in ascending coordinates.
    coverage : float32 array [n_genes]
        Share of the windows' bases on the chromosome that have data; 0 where all lie beyond its end.
    clipped : bool array [n_genes]
        True where windows run over an end of the chromosome; those bases count as 0.
    absent : bool array [n_genes]
        True where the track has no such chromosome; the values are 0.
    """

    values: npt.NDArray[np.float32]
    coverage: npt.NDArray[np.float32]
    clipped: npt.NDArray[np.bool_]
    absent: npt.NDArray[np.bool_]


def track_chroms(path: str | Path) -> dict[str, int]:
    """Names and lengths of the chromosomes of a bigWig, after a check of its structure."""
    return bigwig.read_header(path).chrom_sizes


def merge_regions(chrom: IntArray, start: IntArray, end: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Merge regions sorted by (chrom, start) that overlap or touch."""
    if not len(start):
        return chrom, start, end
    # The running maximum of the ends must not cross chromosomes, so each gets its own range of numbers.
    reach = int(max(end.max(), start.max())) + 2
    key_start, key_end = chrom * reach + start, np.maximum.accumulate(chrom * reach + end)
    first = np.flatnonzero(np.concatenate([[True], key_start[1:] > key_end[:-1]]))
    last = np.concatenate([first[1:] - 1, [len(start) - 1]])
    return chrom[first], start[first], key_end[last] - chrom[first] * reach


def bin_track(
    path: str | Path, regions: Sequence[Windows], masked: GenomeIntervals = NOWHERE
) -> list[BinnedSignal]:
    """Bin one bigWig over the windows of genes in several regions, in one reading.

    Parameters
    ----------
    path : str or Path
    regions : the same genes in each; chromosome names as the track has them: an unknown one (or ``""``) gives
        zeros and is marked `absent`. Regions of bins have the same bins.
    masked : where the signal counts as 0, except in bins; chromosome names as the track has them.

    Returns
    -------
    list of BinnedSignal, one a region

    Raises
    ------
    InputError
        When the file is missing, is no bigWig, is damaged where it is read, or holds an infinite value.
    """
    header = bigwig.read_header(path)
    sizes = {number: header.chrom_sizes[name] for name, number in header.chrom_ids.items()}
    number = _numbers(regions[0].chrom, header)
    absent = number < 0
    length = np.array([sizes.get(one, 0) for one in number.tolist()], dtype=np.int64)
    spans = [on_chromosome(windows.start, windows.end, length) for windows in regions]

    of_bins = [windows for windows in regions if windows.region.bins]
    wide = [windows for windows in regions if not windows.region.bins]
    bins = BinSums(of_bins, number, length)
    dark = _numbers(masked.chrom, header)
    held = masked.take((dark >= 0) & bool(wide))
    stretches = StretchSums(wide, number, sizes, (_numbers(held.chrom, header), held.start, held.end))
    bin_blocks(header, _wanted(number, spans), bins, stretches)

    of_bins_means, wide_means = map(bins.means, range(len(of_bins))), map(stretches.means, range(len(wide)))
    return [
        BinnedSignal(*next(of_bins_means if windows.region.bins else wide_means), clipped & ~absent, absent)
        for windows, (_, _, clipped) in zip(regions, spans, strict=True)
    ]


def _numbers(chrom: npt.NDArray[Any], header: bigwig.Header) -> IntArray:
    """Numbers of chromosomes in the track; -1 where it has none of the name."""
    names, inverse = np.unique(np.asarray(chrom, dtype=str), return_inverse=True)
    return np.array([header.chrom_ids.get(name, -1) for name in names.tolist()], dtype=np.int64)[inverse]


def _wanted(number: IntArray, spans: Sequence[tuple[IntArray, IntArray, npt.NDArray[np.bool_]]]) -> Regions:
    """What must be read of the track: all of the genes' windows that is on their chromosomes."""
    low, high, _ = (np.concatenate(column) for column in zip(*spans, strict=True))
    numbers = np.tile(number, len(spans))
    order = np.lexsort((low, numbers))
    order = order[(low < high)[order]]
    return merge_regions(numbers[order], low[order], high[order])

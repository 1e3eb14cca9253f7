"""Binning a track: the mean signal of every bin of every window, from the intervals of a bigWig.

The value of a bin is the sum of the signal over the bin divided by its width; bases without data count as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.windows import on_chromosome
from diffchrom.signal import bigwig
from diffchrom.signal.blocks import IntArray, Regions, bin_blocks


@dataclass(frozen=True)
class BinnedSignal:
    """One track over many windows.

    Attributes
    ----------
    values : float32 array [n_windows, n_bins]
        Mean signal a bin, in genome order.
    coverage : float32 array [n_windows]
        Share of the window's bases on the chromosome that have data; 0 where it lies wholly beyond its end.
    clipped : bool array [n_windows]
        True where the window runs over an end of its chromosome; those bases count as 0.
    absent : bool array [n_windows]
        True where the track has no such chromosome; the values are 0.
    """

    values: npt.NDArray[np.float32]
    coverage: npt.NDArray[np.float32]
    clipped: npt.NDArray[np.bool_]
    absent: npt.NDArray[np.bool_]


def track_chroms(path: str | Path) -> dict[str, int]:
    """Names and lengths of the chromosomes of a bigWig, after a check of its structure."""
    return bigwig.read_header(path).chrom_sizes


def merge_regions(chrom: IntArray, start: IntArray, end: IntArray) -> Regions:
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
    path: str | Path, chrom: npt.NDArray[Any], start: IntArray, *, n_bins: int, bin_size: int
) -> BinnedSignal:
    """Bin one bigWig over windows.

    Parameters
    ----------
    path : str or Path
    chrom : object array [n_windows]
        Chromosome names as the track has them; an unknown one (or ``""``) gives zeros and is marked `absent`.
    start : int64 array [n_windows]
        First base of each window, 0-based; may be negative, and the window may run over the chromosome's end.
    n_bins, bin_size : int
        Bins a window, bases a bin.

    Returns
    -------
    BinnedSignal

    Raises
    ------
    InputError
        When the file is missing, is no bigWig, is damaged where it is read, or holds an infinite value.
    """
    header = bigwig.read_header(path)
    names, inverse = np.unique(np.asarray(chrom, dtype=str), return_inverse=True)
    number = np.array([header.chrom_ids.get(name, -1) for name in names.tolist()], dtype=np.int64)[inverse]
    length = np.array([header.chrom_sizes.get(name, 0) for name in names.tolist()], dtype=np.int64)[inverse]
    start = np.asarray(start, dtype=np.int64)
    absent = number < 0
    low, high, beyond = on_chromosome(start, start + n_bins * bin_size, length)
    clipped = beyond & ~absent

    # Windows are handled in genome order, so that each finds its intervals near those of the one before.
    order = np.lexsort((start, number))
    order = order[(~absent & (low < high))[order]]
    number, start, low, high = number[order], start[order], low[order], high[order]
    regions = merge_regions(number, low, high)
    sums, covered = bin_blocks(header, regions, number, start, n_bins, bin_size)

    values = np.zeros((len(absent), n_bins), dtype=np.float32)
    values[order] = sums / bin_size
    coverage = np.zeros(len(absent), dtype=np.float32)
    coverage[order] = covered / (high - low)
    return BinnedSignal(values, coverage, clipped, absent)

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
from diffchrom.signal.bigwig_native import DECODER, Regions, bin_blocks
from diffchrom.signal.bigwig_numpy import Intervals, read_intervals

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

#: Windows binned together; bounds memory where a few blocks of a sparse track span a chromosome.
WINDOWS_AT_ONCE = 2048


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


def add_to_bins(part: Intervals, edges: IntArray, sums: FloatArray) -> None:
    """Add the signal of `part` to the bins of windows on its chromosome.

    Each interval is counted whole in the bin where it starts; what hangs over a bin's edge is then moved to
    the next. Unlike a difference of cumulative sums, this keeps small values exact next to large ones.

    Parameters
    ----------
    part : Intervals
        Without NaN.
    edges : int64 array [n_windows, n_bins + 1]
    sums : float64 array [n_windows, n_bins]
        Changed in place.
    """
    if not len(part.start) or not len(edges):
        return
    value = part.value.astype(np.float64)
    at = np.searchsorted(part.start, edges.ravel(), side="left")
    whole = np.append(value * (part.end - part.start), 0.0)
    # reduceat gives whole[i], not 0, for an empty range: those are masked.
    total = np.add.reduceat(whole, at).reshape(edges.shape)[:, :-1]
    at = at.reshape(edges.shape)
    empty = at[:, 1:] == at[:, :-1]
    before = np.maximum(at - 1, 0)
    overhang = np.maximum(part.end[before] - edges, 0)
    overhang[at == 0] = 0
    carried = overhang * value[before]
    sums += np.where(empty, 0.0, total)
    sums += carried[:, :-1] - carried[:, 1:]


def covered_bases(part: Intervals, first: IntArray, last: IntArray) -> IntArray:
    """Count the bases of `part` inside each [first, last)."""
    if not len(part.start):
        return np.zeros(len(first), dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(part.end - part.start)])

    def up_to(edge: IntArray) -> IntArray:
        at = np.searchsorted(part.start, edge, side="left")
        beyond = np.where(at > 0, np.maximum(part.end[np.maximum(at - 1, 0)] - edge, 0), 0)
        return np.asarray(before[at] - beyond)

    return up_to(last) - up_to(first)


def _without_nan(part: Intervals, header: bigwig.Header) -> Intervals:
    """Drop intervals of NaN (no data); refuse infinity, naming its position."""
    # One pass for the common case: the sum of finite float32 in float64 is finite.
    with np.errstate(invalid="ignore"):
        if np.isfinite(np.add.reduce(part.value, dtype=np.float64)):
            return part
    infinite = np.isinf(part.value)
    if infinite.any():
        raise bigwig.infinite(header, part.chrom_id, int(part.start[np.argmax(infinite)]))
    keep = ~np.isnan(part.value)
    return Intervals(part.chrom_id, part.start[keep], part.end[keep], part.value[keep])


def _bin_intervals(
    header: bigwig.Header, regions: Regions, number: IntArray, start: IntArray, n_bins: int, bin_size: int
) -> tuple[FloatArray, IntArray]:
    """What `bigwig_native.bin_blocks` does, with numpy, for files and machines that it does not serve."""
    sums, covered = np.zeros((len(start), n_bins)), np.zeros(len(start), dtype=np.int64)
    width = n_bins * bin_size
    for part in read_intervals(header, *regions):
        if not len(part.start):
            continue
        # Starts are sorted and all windows are equally long, so those that meet the part are consecutive.
        first = np.searchsorted(number, part.chrom_id, side="left")
        last = np.searchsorted(number, part.chrom_id, side="right")
        here = start[first:last]
        one = int(first + np.searchsorted(here + width, part.start[0], side="right"))
        two = int(first + np.searchsorted(here, part.end[-1], side="left"))
        if one >= two:
            continue
        part = _without_nan(part, header)
        covered[one:two] += covered_bases(part, start[one:two], start[one:two] + width)
        for some in range(one, two, WINDOWS_AT_ONCE):
            rows = slice(some, min(some + WINDOWS_AT_ONCE, two))
            add_to_bins(part, start[rows, None] + np.arange(n_bins + 1) * bin_size, sums[rows])
    return sums, covered


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
    work = bin_blocks if DECODER.missing is None and header.order == "<" else _bin_intervals
    sums, covered = work(header, regions, number, start, n_bins, bin_size)

    values = np.zeros((len(absent), n_bins), dtype=np.float32)
    values[order] = sums / bin_size
    coverage = np.zeros(len(absent), dtype=np.float32)
    coverage[order] = covered / (high - low)
    return BinnedSignal(values, coverage, clipped, absent)

"""Binning a track: the mean signal of every bin of every window, from the intervals of a bigWig.

The value of a bin is the sum of the signal over the bin divided by its width; bases without data count as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.windows import NOWHERE, GenomeIntervals, Windows, on_chromosome
from diffchrom.signal import bigwig
from diffchrom.signal.bigwig_native import DECODER, Regions, bin_blocks
from diffchrom.signal.bigwig_numpy import Intervals, read_intervals
from diffchrom.signal.sums import BinSums, StretchSums

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

#: Windows binned together; bounds memory where a few blocks of a sparse track span a chromosome.
WINDOWS_AT_ONCE = 2048


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


def _add_intervals(header: bigwig.Header, wanted: Regions, bins: BinSums, stretches: StretchSums) -> None:
    """What `bin_blocks` does, with numpy, for files and machines that it does not serve."""
    for part in read_intervals(header, *wanted):
        if len(part.start):
            part = _without_nan(part, header)
        if len(part.start):
            _add_to_windows(part, bins)
            _add_to_stretches(part, stretches)


def _add_to_windows(part: Intervals, bins: BinSums) -> None:
    # Starts are sorted and all windows are equally long, so those that meet the part are consecutive.
    on_chrom = bins.of_chrom(part.chrom_id)
    here, width = bins.start[on_chrom], bins.n_bins * bins.bin_size
    one = int(on_chrom.start + np.searchsorted(here + width, part.start[0], side="right"))
    two = int(on_chrom.start + np.searchsorted(here, part.end[-1], side="left"))
    if one < two:
        bins.covered[one:two] += covered_bases(part, bins.start[one:two], bins.start[one:two] + width)
    for some in range(one, two, WINDOWS_AT_ONCE):
        rows = slice(some, min(some + WINDOWS_AT_ONCE, two))
        edges = bins.start[rows, None] + np.arange(bins.n_bins + 1) * bins.bin_size
        add_to_bins(part, edges, bins.sums[rows])


def _add_to_stretches(part: Intervals, stretches: StretchSums) -> None:
    on_chrom = stretches.of_chrom(part.chrom_id)
    cuts = stretches.cuts[on_chrom]
    part = replace(part, start=part.start * stretches.parts, end=part.end * stretches.parts)
    one = max(int(np.searchsorted(cuts, part.start[0], side="right")) - 1, 0)
    two = min(int(np.searchsorted(cuts, part.end[-1], side="left")), len(cuts) - 1)
    if one < two:
        met = slice(on_chrom.start + one, on_chrom.start + two)
        add_to_bins(part, cuts[None, one : two + 1], stretches.sums[None, met])
        stretches.covered[met] += covered_bases(part, cuts[one:two], cuts[one + 1 : two + 1])


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
    work = bin_blocks if DECODER.missing is None and header.order == "<" else _add_intervals
    work(header, _wanted(number, spans), bins, stretches)

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

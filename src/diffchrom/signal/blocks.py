"""Blocks of a bigWig become sums of bins: decoded by C, or by numpy where that was not built.

Both check every number of a block before it is used, as pyBigWig does not: it reads intervals that overlap or
lie outside their block without a word.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffchrom.processes.compiled import Extension, declare
from diffchrom.signal import bigwig

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
#: Chromosome number, start and end of each region; sorted, not overlapping.
Regions = tuple[IntArray, IntArray, IntArray]

#: What decoders answer, as in _binning.c.
OK, TOO_SHORT, UNKNOWN_TYPE, NOT_SORTED, INFINITE = range(5)
_DAMAGE = {TOO_SHORT: "a data block shorter than its items", UNKNOWN_TYPE: "a data block of unknown type"}
#: Chromosome, start, end, step, span, type, reserved, items.
_HEADER = struct.Struct("IIIIIBBH")
_BEDGRAPH, _VARIABLE_STEP, _FIXED_STEP = 1, 2, 3
_COLUMNS = {_BEDGRAPH: ("start", "end"), _VARIABLE_STEP: ("start",), _FIXED_STEP: ()}
#: Windows to which numpy adds a block at a time; bounds memory where a sparse block spans a chromosome.
_WINDOWS_AT_ONCE = 2048


@dataclass(frozen=True)
class _Windows:
    """Windows of equal width on one chromosome, sorted by start.

    Attributes
    ----------
    size : bases of the chromosome.
    start : int64 [n_windows]
    sums : float64 [n_windows, n_bins]
        Sum of the signal over each bin; added to.
    covered : int64 [n_windows]
        Bases that have data; added to.
    bin_size : bases a bin.
    """

    size: int
    start: IntArray
    sums: FloatArray
    covered: IntArray
    bin_size: int

    @functools.cached_property
    def addresses(self) -> tuple[int, int, int]:
        return self.start.ctypes.data, self.sums.ctypes.data, self.covered.ctypes.data


def _bind(library: ctypes.CDLL) -> ctypes._NamedFuncPointer:
    integer, address = ctypes.c_int64, ctypes.c_void_p
    arguments: list[type] = [ctypes.c_char_p, *[integer] * 6, *[address] * 3, ctypes.POINTER(integer)]
    return declare(library.bin_block, ctypes.c_int, *arguments)


DECODER = Extension("diffchrom.signal._binning", "the compiled bigWig decoder", 1, _bind)


def _decode_with_c(block: bytes, order: str, windows: _Windows, previous_end: int) -> tuple[int, int]:
    """See `_decode_with_numpy`; for little-endian blocks."""
    end = ctypes.c_int64(0)
    numbers = windows.size, previous_end, *windows.sums.shape, windows.bin_size
    answer = DECODER.require()(block, len(block), *numbers, *windows.addresses, end)
    return answer, end.value


def _decode_with_numpy(block: bytes, order: str, windows: _Windows, previous_end: int) -> tuple[int, int]:
    """Add a block's signal to the bins of windows; what `bin_block` of _binning.c does.

    Parameters
    ----------
    block : inflated.
    order : ``<`` or ``>``, of its bytes.
    windows : of its chromosome.
    previous_end : where the block before ended; intervals are sorted across blocks too.

    Returns
    -------
    answer : OK, or what is wrong.
    position : the end of the last interval, or where it is wrong.
    """
    if len(block) < _HEADER.size:
        return TOO_SHORT, 0
    _, origin, _, step, span, kind, _, count = struct.unpack_from(order + _HEADER.format, block)
    if kind not in _COLUMNS:
        return UNKNOWN_TYPE, 0
    item = np.dtype([*((name, order + "u4") for name in _COLUMNS[kind]), ("value", order + "f4")])
    if len(block) < _HEADER.size + count * item.itemsize:
        return TOO_SHORT, 0
    items = np.frombuffer(block, item, count, _HEADER.size)
    with np.errstate(invalid="ignore"):  # of a NaN that signals
        value = items["value"].astype(np.float64)
    start = origin + np.arange(count) * step if kind == _FIXED_STEP else items["start"].astype(np.int64)
    end = items["end"].astype(np.int64) if kind == _BEDGRAPH else start + span
    unsorted = (end < start) | (start < np.concatenate([[previous_end], end[:-1]])[:count])
    wrong = unsorted | np.isinf(value)
    if wrong.any():
        at = int(np.argmax(wrong))
        return (NOT_SORTED if unsorted[at] else INFINITE), int(start[at])
    there = ~np.isnan(value)
    inside = np.minimum([start[there], end[there]], windows.size)
    _add(windows, inside[0], inside[1], value[there])
    return OK, int(end[-1]) if count else previous_end


def _add(windows: _Windows, start: IntArray, end: IntArray, value: FloatArray) -> None:
    """Add intervals, sorted and not overlapping, to the windows that they meet."""
    if not len(start):
        return
    width = windows.sums.shape[1] * windows.bin_size
    first = int(np.searchsorted(windows.start + width, start[0], side="right"))
    last = int(np.searchsorted(windows.start, end[-1], side="left"))
    steps = np.arange(windows.sums.shape[1] + 1) * windows.bin_size
    for some in range(first, last, _WINDOWS_AT_ONCE):
        rows = slice(some, min(some + _WINDOWS_AT_ONCE, last))
        edges = windows.start[rows, None] + steps
        windows.sums[rows] += _between(edges, start, end, value)
        bases = _between(edges[:, [0, -1]], start, end, np.ones(len(start)))
        windows.covered[rows] += bases[:, 0].astype(np.int64)


def _between(edges: IntArray, start: IntArray, end: IntArray, value: FloatArray) -> FloatArray:
    """Sum of value times bases of the intervals between neighbours of `edges` [n, m]; [n, m - 1].

    Each interval is counted whole where it starts; what hangs over an edge is then moved to the next bin.
    Unlike a difference of cumulative sums, this keeps small values exact next to large ones.
    """
    at = np.searchsorted(start, edges.ravel(), side="left")
    # reduceat gives one item, not 0, for an empty range: those are masked.
    whole = np.add.reduceat(np.append(value * (end - start), 0.0), at).reshape(edges.shape)[:, :-1]
    at = at.reshape(edges.shape)
    before = np.maximum(at - 1, 0)
    overhang = np.where(at > 0, np.maximum(end[before] - edges, 0), 0)
    carried = overhang * value[before]
    sums = np.where(at[:, 1:] == at[:, :-1], 0.0, whole)
    return np.asarray(sums + (carried[:, :-1] - carried[:, 1:]))


def bin_blocks(
    header: bigwig.Header, regions: Regions, number: IntArray, start: IntArray, n_bins: int, bin_size: int
) -> tuple[FloatArray, IntArray]:
    """Sum the signal over every bin of windows, block by block.

    Parameters
    ----------
    header : of the bigWig.
    regions : what the windows cover.
    number, start : int64 arrays [n_windows]
        Chromosome number and first base, sorted by both.
    n_bins, bin_size : bins a window, bases a bin.

    Returns
    -------
    sums : float64 array [n_windows, n_bins]
    covered : int64 array [n_windows]
        Bases that have data.

    Raises
    ------
    InputError
        When a block is damaged, or the signal is infinite.
    """
    sums, covered = np.zeros((len(start), n_bins)), np.zeros(len(start), dtype=np.int64)
    start, order = np.ascontiguousarray(start), header.order
    sizes = {header.chrom_ids[name]: size for name, size in header.chrom_sizes.items()}
    decode = _decode_with_c if DECODER.missing is None and order == "<" else _decode_with_numpy
    here, windows, end = -1, None, 0
    for block in bigwig.read_blocks(header, *regions):
        chrom = int.from_bytes(block[:4], "little" if order == "<" else "big")
        if windows is None or chrom != here:
            if chrom not in sizes:
                raise bigwig.unknown_chrom(header, chrom)
            rows = slice(*np.searchsorted(number, [chrom, chrom + 1]))
            here, end = chrom, 0
            windows = _Windows(sizes[chrom], start[rows], sums[rows], covered[rows], bin_size)
        answer, end = decode(block, order, windows, end)
        if answer == NOT_SORTED:
            raise bigwig.not_sorted(header, chrom, end)
        if answer == INFINITE:
            raise bigwig.infinite(header, chrom, end)
        if answer != OK:
            raise bigwig.damaged(header.path, _DAMAGE[answer])
    return sums, covered

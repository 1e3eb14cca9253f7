"""Blocks of a bigWig become sums of bins: decoded by C, or by numpy where that was not built.

Both check every number of a block before it is used, as pyBigWig does not: it reads intervals that overlap or
lie outside their block without a word.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from diffchrom.processes.compiled import Extension, declare
from diffchrom.signal import bigwig
from diffchrom.signal.sums import BinSums, StretchSums

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
class _Sums:
    """What is summed on one chromosome: bins of windows of equal width, and stretches between cuts.

    Attributes
    ----------
    size : bases of the chromosome.
    start, bins, covered, bin_size : the rows of a `BinSums` on it.
    cuts, stretches, cut_covered, parts : of a `StretchSums`.
    reached : the first stretch that a later block can meet, as far as C has found it.
    """

    size: int
    start: IntArray
    bins: FloatArray
    covered: IntArray
    bin_size: int
    cuts: IntArray
    stretches: FloatArray
    cut_covered: IntArray
    parts: int
    reached: ctypes.c_int64 = field(default_factory=lambda: ctypes.c_int64(0))

    @classmethod
    def on(cls, chrom: int, size: int, bins: BinSums, stretches: StretchSums) -> _Sums:
        rows, cuts = bins.of_chrom(chrom), stretches.of_chrom(chrom)
        return cls(
            *(size, bins.start[rows], bins.sums[rows], bins.covered[rows], bins.bin_size),
            *(stretches.cuts[cuts], stretches.sums[cuts], stretches.covered[cuts], stretches.parts),
        )

    @functools.cached_property
    def arguments(self) -> tuple[int, ...]:
        """What C is told of it."""
        windows = [array.ctypes.data for array in (self.start, self.bins, self.covered)]
        cuts = [array.ctypes.data for array in (self.cuts, self.stretches, self.cut_covered)]
        return (*self.bins.shape, self.bin_size, *windows, len(self.cuts), self.parts, *cuts)


def _bind(library: ctypes.CDLL) -> ctypes._NamedFuncPointer:
    integer, address = ctypes.c_int64, ctypes.c_void_p
    arguments: list[type] = [ctypes.c_char_p, *[integer] * 6, *[address] * 3, *[integer] * 2, *[address] * 3]
    arguments += [ctypes.POINTER(integer)] * 2
    return declare(library.bin_block, ctypes.c_int, *arguments)


DECODER = Extension("diffchrom.signal._binning", "the compiled bigWig decoder", 2, _bind)


def _decode_with_c(block: bytes, order: str, sums: _Sums, previous_end: int) -> tuple[int, int]:
    """See `_decode_with_numpy`; for little-endian blocks."""
    end = ctypes.c_int64(0)
    answer = DECODER.require()(
        *(block, len(block), sums.size, previous_end, *sums.arguments, sums.reached, end)
    )
    return answer, end.value


def _decode_with_numpy(block: bytes, order: str, sums: _Sums, previous_end: int) -> tuple[int, int]:
    """Add a block's signal to bins and stretches; what `bin_block` of _binning.c does.

    Parameters
    ----------
    block : inflated.
    order : ``<`` or ``>``, of its bytes.
    sums : of its chromosome.
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
    start_inside, end_inside = np.minimum([start[there], end[there]], sums.size)
    if len(start_inside):
        _add(sums, start_inside, end_inside, value[there])
        _spread(sums, sums.parts * start_inside, sums.parts * end_inside, value[there])
    return OK, int(end[-1]) if count else previous_end


def _add(sums: _Sums, start: IntArray, end: IntArray, value: FloatArray) -> None:
    """Add intervals, sorted and not overlapping, to the windows that they meet."""
    width = sums.bins.shape[1] * sums.bin_size
    first = int(np.searchsorted(sums.start + width, start[0], side="right"))
    last = int(np.searchsorted(sums.start, end[-1], side="left"))
    steps = np.arange(sums.bins.shape[1] + 1) * sums.bin_size
    for some in range(first, last, _WINDOWS_AT_ONCE):
        rows = slice(some, min(some + _WINDOWS_AT_ONCE, last))
        edges = sums.start[rows, None] + steps
        sums.bins[rows] += _between(edges, start, end, value)
        bases = _between(edges[:, [0, -1]], start, end, np.ones(len(start)))
        sums.covered[rows] += bases[:, 0].astype(np.int64)


def _spread(sums: _Sums, start: IntArray, end: IntArray, value: FloatArray) -> None:
    """Add intervals, in parts of bases, to the stretches that they meet."""
    first = max(int(np.searchsorted(sums.cuts, start[0], side="right")) - 1, 0)
    last = min(int(np.searchsorted(sums.cuts, end[-1], side="left")), len(sums.cuts) - 1)
    if first < last:
        edges = sums.cuts[None, first : last + 1]
        sums.stretches[first:last] += _between(edges, start, end, value)[0]
        bases = _between(edges, start, end, np.ones(len(start)))
        sums.cut_covered[first:last] += bases[0].astype(np.int64)


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


def bin_blocks(header: bigwig.Header, wanted: Regions, bins: BinSums, stretches: StretchSums) -> None:
    """Add the signal to bins and stretches of the genome, block by block.

    Parameters
    ----------
    header : of the bigWig.
    wanted : what must be read for them.

    Raises
    ------
    InputError
        When a block is damaged, or the signal is infinite.
    """
    order = header.order
    sizes = {header.chrom_ids[name]: size for name, size in header.chrom_sizes.items()}
    decode = _decode_with_c if DECODER.missing is None and order == "<" else _decode_with_numpy
    here, sums, end = -1, None, 0
    for block in bigwig.read_blocks(header, *wanted):
        chrom = int.from_bytes(block[:4], "little" if order == "<" else "big")
        if sums is None or chrom != here:
            if chrom not in sizes:
                raise bigwig.unknown_chrom(header, chrom)
            here, end, sums = chrom, 0, _Sums.on(chrom, sizes[chrom], bins, stretches)
        answer, end = decode(block, order, sums, end)
        if answer == NOT_SORTED:
            raise bigwig.not_sorted(header, chrom, end)
        if answer == INFINITE:
            raise bigwig.infinite(header, chrom, end)
        if answer != OK:
            raise bigwig.damaged(header.path, _DAMAGE[answer])

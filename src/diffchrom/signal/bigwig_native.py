"""Binding of the compiled decoder of bigWig blocks; `signal` does the same with numpy where it is missing."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from diffchrom.processes.compiled import Extension, declare
from diffchrom.signal import bigwig

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
#: Chromosome number, start and end of each region; sorted, not overlapping.
Regions = tuple[IntArray, IntArray, IntArray]

#: `bin_block`'s answers that mean a damaged block.
_DAMAGE = {1: "a data block shorter than its items", 2: "a data block of unknown type"}
_NOT_SORTED, _INFINITE = 3, 4


def _bind(library: ctypes.CDLL) -> ctypes._NamedFuncPointer:
    integer, address = ctypes.c_int64, ctypes.c_void_p
    arguments: list[type] = [ctypes.c_char_p, *[integer] * 6, *[address] * 3, ctypes.POINTER(integer)]
    return declare(library.bin_block, ctypes.c_int, *arguments)


DECODER = Extension("diffchrom.signal._binning", "the compiled bigWig decoder", 1, _bind)


def bin_blocks(
    header: bigwig.Header, regions: Regions, number: IntArray, start: IntArray, n_bins: int, bin_size: int
) -> tuple[FloatArray, IntArray]:
    """Sum the signal over every bin of windows, block by block.

    Parameters
    ----------
    header : of a little-endian bigWig.
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
    start = np.ascontiguousarray(start)
    sizes = {header.chrom_ids[name]: size for name, size in header.chrom_sizes.items()}
    chroms, firsts, counts = np.unique(number, return_index=True, return_counts=True)
    rows = dict(zip(chroms.tolist(), zip(firsts.tolist(), counts.tolist(), strict=True), strict=True))
    function, position = DECODER.require(), ctypes.c_int64(0)
    addresses = start.ctypes.data, sums.ctypes.data, covered.ctypes.data
    here, first, count, size = -1, 0, 0, 0
    for block in bigwig.read_blocks(header, *regions):
        chrom = int.from_bytes(block[:4], "little")
        if chrom != here:
            if chrom not in sizes:
                raise bigwig.unknown_chrom(header, chrom)
            here, size, position.value = chrom, sizes[chrom], 0
            first, count = rows.get(chrom, (0, 0))
        answer = function(
            *(block, len(block), size, position.value, count, n_bins, bin_size),
            *(addresses[0] + 8 * first, addresses[1] + 8 * first * n_bins, addresses[2] + 8 * first),
            position,
        )
        if answer == _NOT_SORTED:
            raise bigwig.not_sorted(header, chrom, position.value)
        if answer == _INFINITE:
            raise bigwig.infinite(header, chrom, position.value)
        if answer:
            raise bigwig.damaged(header.path, _DAMAGE[answer])
    return sums, covered

"""Binding of the compiled decoder of bigWig blocks; `signal` does the same with numpy where it is missing."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from diffchrom.processes.compiled import Extension, declare
from diffchrom.signal import bigwig
from diffchrom.signal.sums import BinSums, StretchSums

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
#: Chromosome number, start and end of each region; sorted, not overlapping.
Regions = tuple[IntArray, IntArray, IntArray]

#: `bin_block`'s answers that mean a damaged block.
_DAMAGE = {1: "a data block shorter than its items", 2: "a data block of unknown type"}
_NOT_SORTED, _INFINITE = 3, 4


def _bind(library: ctypes.CDLL) -> ctypes._NamedFuncPointer:
    integer, address = ctypes.c_int64, ctypes.c_void_p
    arguments: list[type] = [ctypes.c_char_p, *[integer] * 6, *[address] * 3, *[integer] * 2, *[address] * 3]
    arguments += [ctypes.POINTER(integer)] * 2
    return declare(library.bin_block, ctypes.c_int, *arguments)


DECODER = Extension("diffchrom.signal._binning", "the compiled bigWig decoder", 2, _bind)


def bin_blocks(header: bigwig.Header, wanted: Regions, bins: BinSums, stretches: StretchSums) -> None:
    """Add the signal to bins and stretches of the genome, block by block.

    Parameters
    ----------
    header : of a little-endian bigWig.
    wanted : what must be read for them.

    Raises
    ------
    InputError
        When a block is damaged, or the signal is infinite.
    """
    sizes = {header.chrom_ids[name]: size for name, size in header.chrom_sizes.items()}
    function, position, stretch = DECODER.require(), ctypes.c_int64(0), ctypes.c_int64(0)
    here, size = -1, 0
    windows: tuple[int, ...] = ()
    cuts: tuple[int, ...] = ()
    for block in bigwig.read_blocks(header, *wanted):
        chrom = int.from_bytes(block[:4], "little")
        if chrom != here:
            if chrom not in sizes:
                raise bigwig.unknown_chrom(header, chrom)
            here, size, position.value, stretch.value = chrom, sizes[chrom], 0, 0
            windows, cuts = _windows_of(bins, chrom), _cuts_of(stretches, chrom)
        answer = function(*(block, len(block), size, position.value, *windows, *cuts), stretch, position)
        if answer == _NOT_SORTED:
            raise bigwig.not_sorted(header, chrom, position.value)
        if answer == _INFINITE:
            raise bigwig.infinite(header, chrom, position.value)
        if answer:
            raise bigwig.damaged(header.path, _DAMAGE[answer])


def _windows_of(bins: BinSums, chrom: int) -> tuple[int, ...]:
    """What `bin_block` is told of the windows on a chromosome."""
    here = bins.of_chrom(chrom)
    arrays = (bins.start[here], bins.sums[here], bins.covered[here])
    return (len(arrays[0]), bins.n_bins, bins.bin_size, *(array.ctypes.data for array in arrays))


def _cuts_of(stretches: StretchSums, chrom: int) -> tuple[int, ...]:
    """What `bin_block` is told of the stretches of a chromosome."""
    here = stretches.of_chrom(chrom)
    arrays = (stretches.cuts[here], stretches.sums[here], stretches.covered[here])
    return (len(arrays[0]), stretches.parts, *(array.ctypes.data for array in arrays))

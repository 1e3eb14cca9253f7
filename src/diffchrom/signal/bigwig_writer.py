"""Writing bigWig files: from sorted intervals of any width, a stretch at a time, or from even steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyBigWig

from diffchrom.errors import OutputError
from diffchrom.files.whole import staged

#: Evenly spaced values from which a fixedStep section is worth the block it begins.
_RUN = 64


class BigWigWriter:
    """An open bigWig; `add` takes intervals in the order of the header's chromosomes and of their starts."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def add(
        self,
        chrom: str,
        start: npt.NDArray[np.int64],
        end: npt.NDArray[np.int64],
        values: npt.NDArray[np.float32],
    ) -> None:
        """Add intervals (0-based, half-open) that overlap neither each other nor any before them."""
        numbers = values.astype(np.float64)
        for first, last, step in sections(start, end):
            part = slice(first, last)
            if step:
                # fixedStep takes no coordinates: a third of the bytes and of the time
                self._file.addEntries(chrom, int(start[first]), values=numbers[part], span=step, step=step)
            else:
                chroms = [chrom] * (last - first)
                self._file.addEntries(chroms, start[part], ends=end[part], values=numbers[part])


def sections(start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Cut intervals into runs of one width without gaps (first, last, width) and the rest (width 0)."""
    if not len(start):
        return []
    width = end - start
    same = (start[1:] == end[:-1]) & (width[1:] == width[:-1])
    edges = np.concatenate([[0], np.flatnonzero(~same) + 1, [len(start)]])
    result: list[tuple[int, int, int]] = []
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if last - first >= _RUN:
            result.append((first, last, int(width[first])))
        elif result and not result[-1][2]:
            result[-1] = (result[-1][0], last, 0)
        else:
            result.append((first, last, 0))
    return result


@contextlib.contextmanager
def open_bigwig(path: Path, chrom_sizes: Mapping[str, int]) -> Iterator[BigWigWriter]:
    """Open a bigWig for writing, with its chromosomes in the order given; OutputError when it can't be."""
    try:
        file = pyBigWig.open(str(path), "w")
    except RuntimeError as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error
    try:
        file.addHeader(list(chrom_sizes.items()))
        yield BigWigWriter(file)
    except RuntimeError as error:
        raise OutputError(f"{path}: cannot be written as a bigWig ({error})") from error
    finally:
        file.close()


def write_bigwig(
    path: str | Path,
    chrom_sizes: Mapping[str, int],
    signal: Iterable[tuple[str, npt.NDArray[np.float32]]],
    *,
    step: int,
) -> None:
    """Write evenly spaced values, one array a chromosome; the file is whole or absent.

    Parameters
    ----------
    path : the bigWig file.
    chrom_sizes : length of every chromosome in bases.
    signal : chromosome and float32 values [n_steps] from its first base on, in the order of `chrom_sizes`.
    step : bases a value covers.
    """
    with staged(path) as temporary, open_bigwig(temporary, chrom_sizes) as file:
        for chrom, values in signal:
            start = np.arange(len(values), dtype=np.int64) * step
            file.add(chrom, start, start + step, values)

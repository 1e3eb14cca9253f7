"""Intervals of a bigWig as arrays, decoded with numpy; any byte order, any type of data block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.signal import bigwig

Array = npt.NDArray[Any]

#: Inflated bytes decoded together: enough to spread numpy's cost a call, few enough to stay in cache.
DECODE_AT_ONCE = 6 << 20

BEDGRAPH, VARIABLE_STEP, FIXED_STEP = 1, 2, 3


@dataclass(frozen=True)
class Intervals:
    """Consecutive intervals of one chromosome, sorted and not overlapping.

    Attributes
    ----------
    chrom_id : int
    start, end : int64 array [n]
        0-based, half-open.
    value : float32 array [n]
        NaN where the file says NaN.
    """

    chrom_id: int
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    value: npt.NDArray[np.float32]


def _batches(blocks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Group blocks so that each group inflates to about `DECODE_AT_ONCE` bytes."""
    batch: list[bytes] = []
    size = 0
    for block in blocks:
        batch.append(block)
        size += len(block)
        if size >= DECODE_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _decode(header: bigwig.Header, blocks: list[bytes]) -> Iterator[Intervals]:
    """Turn inflated blocks, in file order, into intervals, chromosome by chromosome."""
    order = header.order
    fields = [("chrom", "u4"), ("start", "u4"), ("end", "u4"), ("step", "u4"), ("span", "u4")]
    kind = np.dtype(
        [(name, order + code) for name, code in fields] + [("type", "u1"), ("", "u1"), ("n", order + "u2")]
    )
    if min(map(len, blocks)) < kind.itemsize:
        raise bigwig.damaged(header.path, "a data block shorter than its header")
    heads = np.frombuffer(b"".join([block[:24] for block in blocks]), kind)
    cuts = np.flatnonzero((np.diff(heads["chrom"].astype(np.int64)) != 0) | (np.diff(heads["type"]) != 0)) + 1
    for first, last in zip([0, *cuts], [*cuts, len(blocks)], strict=True):
        yield _decode_alike(header, heads[first:last], blocks[first:last])


def _decode_alike(header: bigwig.Header, heads: Array, blocks: list[bytes]) -> Intervals:
    """Decode blocks of one chromosome and one type."""
    order, section = header.order, int(heads["type"][0])
    columns = {BEDGRAPH: ["start", "end"], VARIABLE_STEP: ["start"], FIXED_STEP: []}.get(section)
    if columns is None:
        raise bigwig.damaged(header.path, f"a data block of unknown type {section}")
    item = np.dtype([*((name, order + "u4") for name in columns), ("value", order + "f4")])
    count = heads["n"].astype(np.int64)
    sizes = np.fromiter(map(len, blocks), np.int64, len(blocks))
    if np.any(sizes < 24 + count * item.itemsize):
        raise bigwig.damaged(header.path, "a data block shorter than its items")
    payload = b"".join(
        [block[24 : 24 + n] for block, n in zip(blocks, (count * item.itemsize).tolist(), strict=True)]
    )
    items = np.frombuffer(payload, item)
    value = np.ascontiguousarray(items["value"], dtype=np.float32)
    if section == FIXED_STEP:
        first = np.repeat(np.cumsum(count) - count, count)
        step = np.repeat(heads["step"].astype(np.int64), count)
        start = np.repeat(heads["start"].astype(np.int64), count) + (np.arange(len(items)) - first) * step
    else:
        start = items["start"].astype(np.int64)
    if section == BEDGRAPH:
        end = items["end"].astype(np.int64)
    else:
        end = start + np.repeat(heads["span"].astype(np.int64), count)
    return Intervals(int(heads["chrom"][0]), start, end, value)


def _checked(
    header: bigwig.Header, sizes_by_id: dict[int, int], part: Intervals, previous_end: int
) -> Intervals:
    """Refuse intervals that are unsorted, overlap, or run backwards; clip at the chromosome's end."""
    if part.chrom_id not in sizes_by_id:
        raise bigwig.damaged(
            header.path, f"a data block of chromosome number {part.chrom_id}, which it does not list"
        )
    start, end = part.start, part.end
    wrong = end < start
    wrong[1:] |= start[1:] < end[:-1]
    if len(start) and start[0] < previous_end:
        wrong[0] = True
    if wrong.any():
        raise bigwig.not_sorted(header, part.chrom_id, int(start[np.argmax(wrong)]))
    size = sizes_by_id[part.chrom_id]
    if len(end) and end[-1] > size:
        return Intervals(part.chrom_id, np.minimum(start, size), np.minimum(end, size), part.value)
    return part


def read_intervals(
    header: bigwig.Header,
    chrom_id: npt.NDArray[np.int64],
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
) -> Iterator[Intervals]:
    """Yield the intervals of every data block that meets a region, in the order of the genome.

    Parameters
    ----------
    header, chrom_id, start, end : see `bigwig.read_blocks`.

    Yields
    ------
    Intervals
        Whole blocks: some intervals lie outside the regions. Never two chromosomes at once.

    Raises
    ------
    InputError
        When the file contradicts itself in what is read.
    """
    sizes_by_id = {header.chrom_ids[name]: size for name, size in header.chrom_sizes.items()}
    chrom, covered = -1, 0
    for blocks in _batches(bigwig.read_blocks(header, chrom_id, start, end)):
        for part in _decode(header, blocks):
            if part.chrom_id != chrom:
                chrom, covered = part.chrom_id, 0
            checked = _checked(header, sizes_by_id, part, covered)
            if len(checked.end):
                covered = int(checked.end[-1])
            yield checked

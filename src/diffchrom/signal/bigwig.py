"""Reading bigWig files block by block, with every number of the file checked before it is believed.

The format is that of Kent et al., *Bioinformatics* 2010, doi 10.1093/bioinformatics/btq351 (supplement,
tables 5 to 16): a header, a B+ tree of chromosomes, compressed data blocks sorted by position, and an R tree
over them. Only the blocks that touch the wanted regions are read, and a damaged file is an `InputError`,
where libBigWig crashes or hangs on some. docs/performance.md has the measurements.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError
from diffchrom.files.whole import require_file

try:
    import deflate as libdeflate  # inflates a block in half of zlib's time
except ImportError:
    libdeflate = None

Array = npt.NDArray[Any]

BIGWIG_MAGIC = 0x888FFC26
OTHER_MAGICS = {
    0x8789F2EB: "a bigBed, not a bigWig",
    0x1A412743: "a 2bit genome, not a bigWig",
}
CHROM_TREE_MAGIC = 0x78CA8C91
INDEX_MAGIC = 0x2468ACE0

HEADER_SIZE = 64
MAX_CHROMS = 10_000_000
MAX_KEY_SIZE = 4096
MAX_DEPTH = 40
#: A data block counts its items in 16 bits, so it inflates to at most this many bytes.
MAX_BLOCK = 24 + 12 * 65535
#: Blocks that lie one behind the other are read from disk together, up to this many bytes.
READ_AT_ONCE = 4 << 20


@dataclass(frozen=True)
class Header:
    """What the first pages of a bigWig say.

    Attributes
    ----------
    path : Path
    order : str
        ``<`` or ``>``, the file's byte order.
    file_size : int
        Bytes.
    chrom_ids, chrom_sizes : dict
        Number and length in bases of each chromosome, by name.
    index_offset : int
        Where the R tree starts.
    buffer_size : int
        Bytes that the largest data block inflates to; 0 where blocks are not compressed.
    """

    path: Path
    order: str
    file_size: int
    chrom_ids: dict[str, int]
    chrom_sizes: dict[str, int]
    index_offset: int
    buffer_size: int


def damaged(path: Path, what: str) -> InputError:
    """Return the error of a file that contradicts itself."""
    return InputError(f"{path}: truncated or damaged bigWig ({what}); fetch or make the file again")


def _place(header: Header, chrom_id: int, position: int) -> str:
    name = next((name for name, number in header.chrom_ids.items() if number == chrom_id), "?")
    return f"{name}:{position + 1}"


def not_sorted(header: Header, chrom_id: int, position: int) -> InputError:
    """Return the error of intervals that overlap, run backwards or are not sorted; `position` is 0-based."""
    where = _place(header, chrom_id, position)
    return damaged(header.path, f"{where}: intervals overlap or are not sorted")


def infinite(header: Header, chrom_id: int, position: int) -> InputError:
    """Return the error of a signal that is infinite at a 0-based position."""
    where = _place(header, chrom_id, position)
    return InputError(f"{header.path}: {where}: the signal is infinite; replace it, or make it NaN (no data)")


def unknown_chrom(header: Header, chrom_id: int) -> InputError:
    """Return the error of a data block whose chromosome the file does not list."""
    return damaged(header.path, f"a data block of chromosome number {chrom_id}, which it does not list")


def _read_at(file: IO[bytes], header_path: Path, offset: int, size: int, what: str) -> bytes:
    data = os.pread(file.fileno(), size, offset) if offset >= 0 else b""
    if len(data) < size:
        raise damaged(header_path, f"{what} lies outside the file")
    return data


def read_header(path: str | Path) -> Header:
    """Check a bigWig's structure and return what its header says.

    The magic number, all offsets, the zoom headers, the whole chromosome tree and the index's header are
    checked; data blocks are checked as they are read.

    Raises
    ------
    InputError
        When the file is missing, is no bigWig, or contradicts itself.
    """
    path = require_file(path, "track")
    try:
        with path.open("rb") as file:
            return _read_header(file, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_header(file: IO[bytes], path: Path) -> Header:
    file_size = os.fstat(file.fileno()).st_size
    first = os.pread(file.fileno(), HEADER_SIZE, 0)
    if not first:
        raise InputError(f"{path}: is empty, not a bigWig")
    order = _byte_order(path, first)
    if len(first) < HEADER_SIZE:
        raise damaged(path, "it ends within its header")
    _, zooms, tree, data, index, _, _, _, _, buffer_size, _ = struct.unpack(order + "HHQQQHHQQIQ", first[4:])
    for name, offset in (("chromosome tree", tree), ("data", data), ("index", index)):
        if not HEADER_SIZE <= offset < file_size:
            raise damaged(path, f"its {name} would start at byte {offset} of {file_size}")
    levels = _read_at(file, path, HEADER_SIZE, 24 * zooms, "a zoom header")
    for _, _, zoom_data, zoom_index in struct.iter_unpack(order + "IIQQ", levels):
        if max(zoom_data, zoom_index) >= file_size:
            raise damaged(
                path, f"a zoom level would start at byte {max(zoom_data, zoom_index)} of {file_size}"
            )
    ids, sizes = _read_chroms(file, path, order, tree, file_size)
    magic = struct.unpack(order + "I", _read_at(file, path, index, 48, "the index")[:4])[0]
    if magic != INDEX_MAGIC:
        raise damaged(path, "no index where the header says")
    return Header(path, order, file_size, ids, sizes, index, buffer_size)


def _byte_order(path: Path, first: bytes) -> str:
    for order in "<>":
        magic = struct.unpack(order + "I", first[:4].ljust(4, b"\0"))[0]
        if magic == BIGWIG_MAGIC:
            return order
        if magic in OTHER_MAGICS:
            raise InputError(f"{path}: is {OTHER_MAGICS[magic]}; give the track as bigWig")
    if first[:2] == b"\x1f\x8b":
        raise InputError(f"{path}: is gzipped (or BAM), not a bigWig; gunzip it, or give reads with `reads`")
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in first):
        raise InputError(
            f"{path}: is text, not a bigWig; convert bedGraph or wig with bedGraphToBigWig/wigToBigWig"
        )
    raise InputError(f"{path}: is no bigWig (its first bytes are {first[:4].hex()})")


def _read_chroms(
    file: IO[bytes], path: Path, order: str, offset: int, file_size: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Walk the B+ tree of chromosomes."""
    head = _read_at(file, path, offset, 32, "the chromosome tree")
    magic, _, key_size, value_size, count, _ = struct.unpack(order + "IIIIQQ", head)
    if magic != CHROM_TREE_MAGIC:
        raise damaged(path, "no chromosome tree where the header says")
    if not 0 < key_size <= MAX_KEY_SIZE or value_size != 8:
        raise damaged(path, f"chromosome names of {key_size} bytes")
    if count > min(MAX_CHROMS, file_size // (key_size + 8)):
        raise damaged(path, f"{count} chromosomes in a file of {file_size} bytes")
    ids: dict[str, int] = {}
    sizes: dict[str, int] = {}
    nodes, visited = [(offset + 32, 0)], 0
    while nodes:
        at, depth = nodes.pop()
        visited += 1
        if depth > MAX_DEPTH or visited > 2 * count + MAX_DEPTH:
            raise damaged(path, "its chromosome tree has no end")
        leaf, _, items = struct.unpack(order + "BBH", _read_at(file, path, at, 4, "a chromosome node"))
        body = _read_at(file, path, at + 4, items * (key_size + 8), "a chromosome node")
        for first in range(0, len(body), key_size + 8):
            tail = body[first + key_size : first + key_size + 8]
            if not leaf:
                nodes.append((struct.unpack(order + "Q", tail)[0], depth + 1))
                continue
            name = body[first : first + key_size].rstrip(b"\0").decode("utf-8", "backslashreplace")
            ids[name], sizes[name] = struct.unpack(order + "II", tail)
        if len(ids) > count:
            raise damaged(path, f"more than the {count} chromosomes it announces")
    if len(ids) != count or len(set(ids.values())) != count:
        raise damaged(path, f"{len(set(ids.values()))} of {count} chromosomes found")
    if not ids or any(not name.isprintable() or not name for name in ids):
        raise damaged(path, "chromosome names that are no names")
    return dict(sorted(ids.items(), key=lambda item: item[1])), sizes


def _overlaps(items: Array, first_key: Array, last_key: Array) -> npt.NDArray[np.bool_]:
    """Which index items, as (start chrom, start, end chrom, end), meet one of the sorted regions."""
    start = (items["start_chrom"].astype(np.uint64) << np.uint64(32)) | items["start"]
    end = (items["end_chrom"].astype(np.uint64) << np.uint64(32)) | items["end"]
    begun = np.searchsorted(first_key, end, side="left")
    over = np.searchsorted(last_key, start, side="right")
    return np.asarray(begun > over)


def touched_blocks(
    file: IO[bytes], header: Header, chrom_id: Array, start: Array, end: Array
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Offsets and sizes of the data blocks that meet the regions (sorted, not overlapping)."""
    shift = np.uint64(32)
    first_key = (chrom_id.astype(np.uint64) << shift) | start.astype(np.uint64)
    last_key = (chrom_id.astype(np.uint64) << shift) | end.astype(np.uint64)
    order, path, size = header.order, header.path, header.file_size
    corner = [(name, order + "u4") for name in ("start_chrom", "start", "end_chrom", "end")]
    branch = np.dtype([*corner, ("offset", order + "u8")])
    leaf = np.dtype([*corner, ("offset", order + "u8"), ("size", order + "u8")])
    found: list[Array] = []
    nodes, seen = [header.index_offset + 48], 0
    for _ in range(MAX_DEPTH):
        below: list[Array] = []
        for at in nodes:
            is_leaf, _, count = struct.unpack(order + "BBH", _read_at(file, path, at, 4, "an index node"))
            kind = leaf if is_leaf else branch
            body = _read_at(file, path, at + 4, count * kind.itemsize, "an index node")
            items = np.frombuffer(body, kind)
            items = items[_overlaps(items, first_key, last_key)]
            (found if is_leaf else below).append(items)
        seen += len(nodes)
        # A node without its own 28 bytes in the file has been seen before: the tree bites its tail.
        if seen > size // 28 + 1:
            raise damaged(path, "its index has no end")
        if not below:
            break
        offsets = np.concatenate([items["offset"] for items in below])
        if len(offsets) and offsets.max() >= size:
            raise damaged(path, "an index node lies outside the file")
        nodes = np.unique(offsets).tolist()
    else:
        raise damaged(path, "its index has no end")
    blocks = np.concatenate(found) if found else np.empty(0, leaf)
    offset, length = blocks["offset"].astype(np.uint64), blocks["size"].astype(np.uint64)
    limit = np.uint64(2 * MAX_BLOCK)
    if (
        np.any(length > limit)
        or np.any(offset > np.uint64(size))
        or np.any(offset + length > np.uint64(size))
    ):
        raise damaged(path, "a data block lies outside the file")
    by_position = np.argsort(
        (blocks["start_chrom"].astype(np.uint64) << shift) | blocks["start"], kind="stable"
    )
    _, once = np.unique(offset[by_position], return_index=True)
    if len(once) != len(offset):
        raise damaged(path, "its index names a data block twice")
    return offset[by_position].astype(np.int64), length[by_position].astype(np.int64)


def _inflate(header: Header, block: memoryview, at: int) -> bytes:
    """Inflate one block, never to more than a block can hold."""
    if libdeflate is not None:
        try:
            return bytes(libdeflate.zlib_decompress(block, min(header.buffer_size, MAX_BLOCK)))
        except libdeflate.DeflateError:
            pass  # zlib reads what is longer than announced, and says what is wrong
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(block, MAX_BLOCK)
    except zlib.error as error:
        raise damaged(header.path, f"block at byte {at}: {error}") from error
    if not inflater.eof:
        raise damaged(header.path, f"block at byte {at} does not end")
    return data


def _inflated(file: IO[bytes], header: Header, offset: Array, size: Array) -> Iterator[bytes]:
    """Read the blocks, neighbours in one go, and inflate each."""
    first = 0
    ends = offset + size
    while first < len(offset):
        last = first + 1
        while (
            last < len(offset)
            and offset[last] == ends[last - 1]
            and ends[last] - offset[first] <= READ_AT_ONCE
        ):
            last += 1
        base = int(offset[first])
        run = memoryview(_read_at(file, header.path, base, int(ends[last - 1]) - base, "a data block"))
        for at, length in zip((offset[first:last] - base).tolist(), size[first:last].tolist(), strict=True):
            block = run[at : at + length]
            if not header.buffer_size:
                yield bytes(block)
                continue
            yield _inflate(header, block, base + at)
        first = last


def read_blocks(
    header: Header, chrom_id: npt.NDArray[np.int64], start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
) -> Iterator[bytes]:
    """Yield every data block that meets a region, inflated, in the order of the genome; not yet checked.

    Parameters
    ----------
    header : Header
    chrom_id, start, end : int64 arrays [n_regions]
        Sorted regions that do not overlap, 0-based, half-open.

    Raises
    ------
    InputError
        When the index or a block's compression is damaged.
    """
    try:
        with header.path.open("rb") as file:
            offset, size = touched_blocks(file, header, chrom_id, start, end)
            yield from _inflated(file, header, offset, size)
    except OSError as error:
        raise InputError(f"{header.path}: cannot be read ({error.strerror or error})") from error

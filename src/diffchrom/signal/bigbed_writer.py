"""Writing bigBed files from sorted BED, where the optional pybigtools is installed."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from diffchrom.errors import OutputError

_MAGIC = 0x8789F2EB
#: Of the header: magic, and where the count of items stands (Kent et al. 2010, supplementary table 5).
_HEADER, _COUNT = struct.Struct("<I12xQ40x"), struct.Struct("<Q")
_BED6 = """table bed6
"Windows of large weight"
(
    string  chrom;      "Chromosome"
    uint    chromStart; "Start, from 0"
    uint    chromEnd;   "End, exclusive"
    string  name;       "Gene, block, mark and region"
    uint    score;      "Size of the weight in thousandths"
    char[1] strand;     "Of the gene"
)
"""


def can_write_bigbed() -> bool:
    """Whether what writes them is installed."""
    return find_spec("pybigtools") is not None


def write_bigbed(bed: Path, path: Path, chrom_sizes: Mapping[str, int]) -> None:
    """Write BED6, not empty and sorted as `attention.bed` sorts it, as a bigBed.

    Raises
    ------
    OutputError
        When the file is not whole.
    """
    import pybigtools

    n_items = 0

    def items() -> Iterator[tuple[str, int, int, str]]:
        nonlocal n_items
        with bed.open(encoding="utf-8") as stream:
            for line in stream:
                chrom, start, end, rest = line.rstrip("\n").split("\t", 3)
                n_items += 1
                yield chrom, int(start), int(end), rest

    pybigtools.open(str(path), "w").write(dict(chrom_sizes), items(), autosql=_BED6)
    if _items_of(path) != n_items:  # what goes wrong is printed, not raised
        raise OutputError(f"{path}: cannot be written as a bigBed; is the disk full?")


def _items_of(path: Path) -> int | None:
    """Return how many items a bigBed says it has; None without the header, which is written last."""
    with path.open("rb") as file:
        magic, at = _HEADER.unpack(file.read(_HEADER.size).ljust(_HEADER.size, b"\0"))
        if magic != _MAGIC:
            return None
        file.seek(at)
        (count,) = _COUNT.unpack(file.read(_COUNT.size))
    return int(count)

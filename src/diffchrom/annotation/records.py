"""Genes as their files give them, one record a gene, whatever the format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from diffchrom.errors import InputError

# A chromosome longer than this is no chromosome; HDF5 and bigWig coordinates stay far inside int64.
MAX_POSITION = 1 << 40


@dataclass
class GeneRecord:
    """One gene as its file gives it; `start` and `end` are 0-based, half-open."""

    id: str
    name: str
    chrom: str
    strand: str
    start: int
    end: int
    biotype: str | None


@dataclass
class Records:
    """What a file held.

    Attributes
    ----------
    level : the feature that genes were taken from: ``gene``, or ``transcript`` or ``exon`` in a file without
        gene lines, or ``interval`` (BED).
    dropped : reason to number of genes (or transcripts) left out while reading.
    """

    format: str
    level: str
    genes: list[GeneRecord]
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LineNumber:
    """A line's number, counted only where a message wants it."""

    first: int
    text: str
    start: int

    def __str__(self) -> str:
        return str(self.first + self.text.count("\n", 0, self.start))


def parse_interval(
    path: str | Path, number: int | LineNumber, start: str, end: str, offset: int
) -> tuple[int, int]:
    """Parse coordinates; `offset` is 1 for 1-based closed ones (GTF, GFF3), 0 for BED."""
    if not (start.isascii() and start.isdigit() and end.isascii() and end.isdigit()):
        raise InputError(f"{path}:{number}: start {start!r:.60} and end {end!r:.60} must be whole numbers")
    if len(start) > 15 or len(end) > 15 or int(end) > MAX_POSITION:
        raise InputError(f"{path}:{number}: position {end:.20} is beyond any chromosome's end")
    first, last = int(start) - offset, int(end)
    if first < 0 or last <= first:
        raise InputError(f"{path}:{number}: start {start} and end {end} are no interval; check the line")
    return first, last


def checked_strand(path: Path, number: int | LineNumber, strand: str) -> str:
    """Return the strand, or raise InputError where it is none."""
    if strand not in ("+", "-", ".", "?", ""):
        raise InputError(f"{path}:{number}: strand is {strand!r:.60}, not + or -")
    return strand


class Merged:
    """Genes put together from their transcripts or exons, in a file without gene lines."""

    def __init__(self) -> None:
        self.genes: dict[str, GeneRecord] = {}
        self.elsewhere = 0
        self.nameless = 0

    def add(self, record: GeneRecord | None) -> None:
        """Take a transcript or exon; None is one without a gene id."""
        if record is None:
            self.nameless += 1
            return
        gene = self.genes.setdefault(record.id, record)
        if (gene.chrom, gene.strand) != (record.chrom, record.strand):
            self.elsewhere += 1
        else:
            gene.start = min(gene.start, record.start)
            gene.end = max(gene.end, record.end)

    def records(self, name: str, level: str) -> Records:
        """Return the genes of a file of format `name`, put together from its `level`."""
        # With start the smallest and end the largest of its parts, a gene's TSS is its 5'-most part's.
        found = Records(name, level, list(self.genes.values()))
        found.notes.append(f"no gene lines: each gene's TSS is that of its 5'-most {level}")
        if self.elsewhere:
            found.dropped[f"{level}s on another chromosome or strand than their gene's first"] = (
                self.elsewhere
            )
        if self.nameless:
            found.dropped[f"{level}s without a gene id"] = self.nameless
        return found

"""UCSC's tables of transcripts read into gene records: genePred, genePredExt and refFlat.

Coordinates are 0-based and half-open as they stand (genome.ucsc.edu/FAQ/FAQformat.html#format9). A line is a
transcript; which column names its gene, if any does, is the layout's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffchrom.annotation.records import GeneRecord, Merged, Records, checked_strand, parse_interval
from diffchrom.errors import InputError

CODING = "protein_coding"
NON_CODING = "non_coding"


@dataclass(frozen=True)
class GenePred:
    """Columns of one table, counted from 0; strand, transcript and coding region follow the chromosome.

    Attributes
    ----------
    gene : the gene's column; in a table that names no genes the transcript's.
    """

    name: str
    n_columns: int
    transcript: int
    gene: int
    chrom: int


#: By number of columns, which differs for all; those of UCSC's database begin with a bin.
LAYOUTS = {
    layout.n_columns: layout
    for layout in (
        GenePred("genePred", 10, transcript=0, gene=0, chrom=1),
        GenePred("refFlat", 11, transcript=1, gene=0, chrom=2),
        GenePred("genePred", 12, transcript=0, gene=0, chrom=1),  # knownGene: protein and alignment last
        GenePred("genePred", 15, transcript=0, gene=11, chrom=1),
        GenePred("genePred", 16, transcript=1, gene=12, chrom=2),
    )
}


def genepred_layout(path: Path, number: int, fields: Sequence[str]) -> GenePred | None:
    """Return the layout of a line's columns, None where it is no genePred's.

    Raises
    ------
    InputError
        A bin in the place of a refFlat's gene: 11 columns can be either table.
    """
    layout = LAYOUTS.get(len(fields))
    if layout is None:
        return None
    strand, *numbers = fields[layout.chrom + 1 : layout.chrom + 7]
    if strand not in ("+", "-") or not all(text.isdigit() for text in numbers):
        return None
    if layout.name == "refFlat" and fields[layout.gene].isdigit():
        raise InputError(
            f"{path}:{number}: {fields[layout.gene]:.20} stands where a refFlat has the gene's name; if it is a bin "
            "of UCSC's database, take that column away (`cut -f 2-`)"
        )
    return layout


def _lines(
    path: Path, blocks: Iterable[tuple[int, str]], layout: GenePred
) -> Iterator[tuple[int, list[str]]]:
    for first, text in blocks:
        for number, line in enumerate(text.split("\n"), first):
            if not line.strip() or line.startswith(("#", "track", "browser")):
                continue
            fields = line.rstrip("\r").split("\t")
            if len(fields) != layout.n_columns:
                raise InputError(
                    f"{path}:{number}: {len(fields)} tab-separated columns, this {layout.name} has "
                    f"{layout.n_columns}"
                )
            if not fields[layout.gene]:
                raise InputError(f"{path}:{number}: column {layout.gene + 1} (the gene) is empty")
            yield number, fields


def read_genepred(path: Path, blocks: Iterable[tuple[int, str]], layout: GenePred) -> Records:
    """Read the genes of a table; one is coding where any of its transcripts is, if any in the file is."""
    merged, coding = Merged(), set()
    for number, fields in _lines(path, blocks, layout):
        strand, start, end, cds_start, cds_end = fields[layout.chrom + 1 : layout.chrom + 6]
        first, last = parse_interval(path, number, start, end, 0)
        gene, strand = fields[layout.gene], checked_strand(path, number, strand)
        merged.add(GeneRecord(gene, gene, fields[layout.chrom], strand, first, last, None))
        if cds_start != cds_end:
            coding.add(gene)
    records = merged.records(layout.name, "transcript")
    for record in records.genes if coding else ():
        record.biotype = CODING if record.id in coding else NON_CODING
    if layout.gene == layout.transcript:
        records.notes.append(f"{path.name} names no genes: each transcript counts as one")
    return records


def genepred_transcripts(path: Path, blocks: Iterable[tuple[int, str]], layout: GenePred) -> dict[str, str]:
    """Return transcript id to gene id; InputError where the table names no genes."""
    if layout.gene == layout.transcript:
        raise InputError(
            f"{path}: a {layout.name} of {layout.n_columns} columns names no genes; give `tx2gene`"
        )
    return {fields[layout.transcript]: fields[layout.gene] for _, fields in _lines(path, blocks, layout)}

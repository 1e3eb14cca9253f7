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

    @property
    def names_genes(self) -> bool:
        """Whether a column tells the gene of a transcript."""
        return self.gene != self.transcript

    def with_bin(self) -> GenePred:
        """Return the same table as UCSC's database has it, with a bin before its columns."""
        return GenePred(self.name, self.n_columns + 1, self.transcript + 1, self.gene + 1, self.chrom + 1)

    def fits(self, fields: Sequence[str]) -> bool:
        """Tell whether a strand and numbers stand where this table has them."""
        if len(fields) != self.n_columns:
            return False
        strand, *numbers = fields[self.chrom + 1 : self.chrom + 7]
        return strand in ("+", "-") and all(text.isdigit() for text in numbers)


_PLAIN = (
    GenePred("genePred", 10, transcript=0, gene=0, chrom=1),
    GenePred("refFlat", 11, transcript=1, gene=0, chrom=2),
    GenePred("genePred", 12, transcript=0, gene=0, chrom=1),  # knownGene: protein and alignment last
    GenePred("genePred", 15, transcript=0, gene=11, chrom=1),
)
#: Those with a bin stand last.
LAYOUTS = (*_PLAIN, *(layout.with_bin() for layout in _PLAIN))


def ucsc_bin(start: int, end: int) -> int:
    """Return the smallest bin that holds [start, end): Kent et al., Genome Research 2002, figure 7."""
    for level, first_bin in enumerate((585, 73, 9, 1)):
        shift = 17 + 3 * level
        if start >> shift == (end - 1) >> shift:
            return first_bin + (start >> shift)
    return 0


def genepred_layout(path: Path, number: int, fields: Sequence[str]) -> GenePred | None:
    """Return the layout of a line's columns, None where it is no genePred's.

    Eleven columns can be a refFlat or a genePred with a bin: it is a bin where it is that of the transcript.
    """
    fitting = [layout for layout in LAYOUTS if layout.fits(fields)]
    for layout in fitting[1:]:
        start, end = fields[layout.chrom + 2 : layout.chrom + 4]
        if fields[0] == str(ucsc_bin(*parse_interval(path, number, start, end, 0))):
            return layout
    return fitting[0] if fitting else None


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


def _copy(record: GeneRecord) -> tuple[bool, bool]:
    """Sort a gene's place on its chromosome before its copies: on haplotypes and patches, then on Y."""
    return "_" in record.chrom, record.chrom.removeprefix("chr") == "Y"


def read_genepred(path: Path, blocks: Iterable[tuple[int, str]], layout: GenePred) -> Records:
    """Read the genes of a table; one is coding where any of its transcripts is, if any in the file is."""
    transcripts: list[GeneRecord] = []
    coding: set[str] = set()
    for number, fields in _lines(path, blocks, layout):
        strand, start, end, cds_start, cds_end = fields[layout.chrom + 1 : layout.chrom + 6]
        first, last = parse_interval(path, number, start, end, 0)
        gene, strand = fields[layout.gene], checked_strand(path, number, strand)
        transcripts.append(GeneRecord(gene, gene, fields[layout.chrom], strand, first, last, None))
        if cds_start != cds_end:
            coding.add(gene)
    merged = Merged()
    for transcript in sorted(transcripts, key=_copy):
        merged.add(transcript)
    records = merged.records(layout.name, "transcript")
    for record in records.genes if coding else ():
        record.biotype = CODING if record.id in coding else NON_CODING
    if not layout.names_genes:
        records.notes = [f"{path.name} names no genes: each transcript counts as one"]
    return records


def genepred_transcripts(path: Path, blocks: Iterable[tuple[int, str]], layout: GenePred) -> dict[str, str]:
    """Return transcript id to gene id; InputError where the table names no genes."""
    if not layout.names_genes:
        raise InputError(
            f"{path}: a {layout.name} of {layout.n_columns} columns names no genes; give `tx2gene`"
        )
    return {fields[layout.transcript]: fields[layout.gene] for _, fields in _lines(path, blocks, layout)}

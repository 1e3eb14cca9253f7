"""GTF, GFF3 and BED read into gene records, one line at a time.

Coordinates become 0-based and half-open here. Specifications: GTF2.2 (mblab.wustl.edu/GTF22.html), GFF3 1.26
(The Sequence Ontology), BED v1 (samtools/hts-specs). Only lines of the wanted features have their attributes
parsed: a GENCODE file has 60,000 gene lines among 3 million.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from urllib.parse import unquote

from diffchrom.errors import InputError
from diffchrom.files.text import text_blocks, words
from diffchrom.genome.assemblies import from_text

# A chromosome longer than this is no chromosome; HDF5 and bigWig coordinates stay far inside int64.
MAX_POSITION = 1 << 40
# Ensembl and RefSeq put a line for each contig before the genes.
_HEAD_LINES = 5000


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


@dataclass(frozen=True)
class FeatureDialect:
    """Features and attribute names of one annotation format, the preferred first."""

    name: str
    genes: frozenset[str]
    transcripts: frozenset[str]
    ids: tuple[str, ...]
    names: tuple[str, ...]
    biotypes: tuple[str, ...]
    transcript_ids: tuple[str, ...]
    attributes: Callable[[str], dict[str, str]]


_GTF_ATTRIBUTE = re.compile(r'\s*([^\s;"=]+)\s+(?:"([^"]*)"|([^";]*))\s*(?:;|$)')


def gtf_attributes(text: str) -> dict[str, str]:
    """Parse a GTF's ninth column; a ``;`` inside quotes belongs to the value, the first of a key counts."""
    attributes: dict[str, str] = {}
    for key, quoted, bare in _GTF_ATTRIBUTE.findall(text):
        attributes.setdefault(key, quoted or bare.strip())
    return attributes


def gff3_attributes(text: str) -> dict[str, str]:
    """Parse a GFF3's ninth column, with percent-encoding undone."""
    attributes: dict[str, str] = {}
    for item in text.split(";"):
        key, equals, value = item.strip().partition("=")
        if equals:
            attributes.setdefault(key, unquote(value) if "%" in value else value)
    return attributes


GTF = FeatureDialect(
    name="GTF",
    genes=frozenset({"gene"}),
    transcripts=frozenset({"transcript", "mRNA"}),
    ids=("gene_id",),
    # StringTie has the reference's symbol in `ref_gene_name`, FlyBase in `gene_symbol`, RefSeq in `gene`.
    names=("gene_name", "ref_gene_name", "gene_symbol", "gene"),
    biotypes=("gene_type", "gene_biotype"),
    transcript_ids=("transcript_id",),
    attributes=gtf_attributes,
)
GFF3 = FeatureDialect(
    name="GFF3",
    genes=frozenset({"gene", "ncRNA_gene", "pseudogene"}),
    transcripts=frozenset({"transcript", "mRNA"}),
    ids=("gene_id", "geneID", "ID"),
    names=("gene_name", "Name", "gene"),
    biotypes=("gene_type", "gene_biotype", "biotype"),
    transcript_ids=("transcript_id", "ID"),
    attributes=gff3_attributes,
)
#: Prefixes that Ensembl and RefSeq put before the identifiers of a GFF3.
_GFF3_PREFIX = re.compile(r"^(?:gene|transcript|rna)[:-]")


def _first(attributes: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    return next((attributes[key] for key in keys if attributes.get(key)), None)


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


def _strand(path: Path, number: int | LineNumber, strand: str) -> str:
    if strand not in ("+", "-", ".", "?", ""):
        raise InputError(f"{path}:{number}: strand is {strand!r:.60}, not + or -")
    return strand


def _check_columns(path: Path, number: int | LineNumber, fields: Sequence[str], name: str) -> None:
    if len(fields) != 9:
        raise InputError(f"{path}:{number}: {len(fields)} tab-separated columns, a {name} has 9")


def _record(
    path: Path, number: int | LineNumber, fields: list[str], dialect: FeatureDialect
) -> GeneRecord | None:
    attributes = dialect.attributes(fields[8])
    transcript = fields[2] not in dialect.genes
    ids = ("gene_id", "geneID", "gene", "Parent", "ID") if transcript and dialect is GFF3 else dialect.ids
    identifier = _first(attributes, ids)
    if identifier is None:
        if transcript:
            return None
        raise InputError(f"{path}:{number}: the gene has no {' or '.join(ids)} in its attributes")
    if dialect is GFF3:
        identifier = _GFF3_PREFIX.sub("", identifier)
    start, end = parse_interval(path, number, fields[3], fields[4], 1)
    return GeneRecord(
        id=identifier,
        name=_first(attributes, dialect.names) or identifier,
        chrom=fields[0],
        strand=_strand(path, number, fields[6]),
        start=start,
        end=end,
        biotype=_first(attributes, dialect.biotypes),
    )


class _Merged:
    """Genes put together from their transcripts or exons, in a file without gene lines."""

    def __init__(self) -> None:
        self.genes: dict[str, GeneRecord] = {}
        self.elsewhere = 0
        self.nameless = 0

    def add(self, record: GeneRecord | None) -> None:
        if record is None:
            self.nameless += 1
            return
        gene = self.genes.setdefault(record.id, record)
        if (gene.chrom, gene.strand) != (record.chrom, record.strand):
            self.elsewhere += 1
        else:
            gene.start = min(gene.start, record.start)
            gene.end = max(gene.end, record.end)

    def records(self, dialect: FeatureDialect, level: str) -> Records:
        # With start the smallest and end the largest of its parts, a gene's TSS is its 5'-most part's.
        found = Records(dialect.name, level, list(self.genes.values()))
        found.notes.append(f"no gene lines: each gene's TSS is that of its 5'-most {level}")
        if self.elsewhere:
            found.dropped[f"{level}s on another chromosome or strand than their gene's first"] = (
                self.elsewhere
            )
        if self.nameless:
            found.dropped[f"{level}s without a gene id"] = self.nameless
        return found


@dataclass(frozen=True, slots=True)
class LineNumber:
    """A line's number, counted only where a message wants it."""

    first: int
    text: str
    start: int

    def __str__(self) -> str:
        return str(self.first + self.text.count("\n", 0, self.start))


def _lines_of(features: Iterable[str], first: int, text: str) -> Iterator[tuple[LineNumber, list[str]]]:
    """Yield (line number, columns) of the lines of `text` whose third column is one of `features`.

    Searching for the features is 20 times faster than looking at each of a GENCODE file's 3 million lines.
    """
    found = []
    for feature in features:
        needle = f"\t{feature}\t"
        position = text.find(needle)
        while position >= 0:
            found.append(position)
            position = text.find(needle, position + len(needle) - 1)
    for position in sorted(found):
        start = text.rfind("\n", 0, position) + 1
        if text[start] == "#" or text.count("\t", start, position) != 1:
            continue
        end = text.find("\n", position)
        yield LineNumber(first, text, start), text[start : end if end >= 0 else None].rstrip("\r").split("\t")


class _FeatureReader:
    """Takes genes out of a GTF or GFF3, block by block; transcripts and exons until a gene is seen."""

    def __init__(self, path: Path, dialect: FeatureDialect) -> None:
        self.path = path
        self.dialect = dialect
        self.genes: list[GeneRecord] = []
        self.transcripts = _Merged()
        self.exons = _Merged()

    def _records(self, features: Iterable[str], first: int, text: str) -> Iterator[GeneRecord | None]:
        for number, fields in _lines_of(features, first, text):
            _check_columns(self.path, number, fields, self.dialect.name)
            # A FlyBase pseudogene's transcript is a `pseudogene` too, with a Parent.
            if self.dialect is GFF3 and fields[2] in self.dialect.genes and "Parent=" in fields[8]:
                continue
            yield _record(self.path, number, fields, self.dialect)

    def add(self, first: int, text: str) -> None:
        """Read one block of lines."""
        self.genes += [record for record in self._records(self.dialect.genes, first, text) if record]
        if self.genes:
            return
        for record in self._records(self.dialect.transcripts, first, text):
            self.transcripts.add(record)
        if not self.transcripts.genes:
            for record in self._records(("exon",), first, text):
                self.exons.add(record)

    def result(self) -> Records:
        """Genes of the file's gene lines, or, where it has none, of its transcripts, or of its exons."""
        if self.genes:
            return Records(self.dialect.name, "gene", self.genes)
        if self.transcripts.genes:
            return self.transcripts.records(self.dialect, "transcript")
        return self.exons.records(self.dialect, "exon")


def read_features(path: Path, blocks: Iterable[tuple[int, str]], dialect: FeatureDialect) -> Records:
    """Read a GTF or GFF3: its gene lines, or, where it has none, its transcripts', or its exons' genes."""
    reader = _FeatureReader(path, dialect)
    first, text = 1, ""
    for first, text in blocks:
        reader.add(first, text)
    last = text[text.rfind("\n") + 1 :]
    if "\t" in last and not last.startswith("#"):
        # The last line of a file that was cut off is torn.
        _check_columns(path, first + text.count("\n"), last.split("\t"), dialect.name)
    return reader.result()


def read_bed_genes(path: Path, blocks: Iterable[tuple[int, str]]) -> Records:
    """Read a BED6 of TSSs (or of genes: the 5' end counts); column 4 is the gene's id."""
    found = Records("BED", "interval", [])
    lines = chain.from_iterable(enumerate(text.split("\n"), first) for first, text in blocks)
    for number, line in lines:
        text = line.rstrip("\r")
        if not text.strip() or text.startswith(("#", "track", "browser")):
            continue
        fields = text.split("\t") if "\t" in text else text.split()
        if len(fields) < 6:
            raise InputError(
                f"{path}:{number}: {len(fields)} columns; a BED of TSSs needs six: "
                "chrom, start, end, gene id, score, strand"
            )
        start, end = parse_interval(path, number, fields[1], fields[2], 0)
        if not fields[3]:
            raise InputError(f"{path}:{number}: column 4 (the gene's id) is empty")
        strand = _strand(path, number, fields[5])
        found.genes.append(GeneRecord(fields[3], fields[3], fields[0], strand, start, end, None))
    return found


_GTF_COLUMN = re.compile(r'(?:^|;)\s*\w+\s+(?:"[^"]*"|[^\s";=]+)\s*(?:;|$)')
_GFF3_COLUMN = re.compile(r"(?:^|;)\s*[^\s=;]+=")


def recognise_annotation(path: Path, head: Sequence[tuple[int, str]]) -> FeatureDialect | None:
    """Return the dialect of an annotation from its first lines (None is BED), or raise InputError."""
    for number, line in head:
        if line.startswith("##gff-version"):
            if line.split()[-1].startswith("3"):
                return GFF3
            continue
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        fields = line.rstrip("\r").split("\t")
        if len(fields) == 9 and _GTF_COLUMN.search(fields[8]):
            return GTF
        if len(fields) == 9 and _GFF3_COLUMN.search(fields[8]):
            return GFF3
        blanks = line.split()
        if len(blanks) >= 3 and blanks[1].isdigit() and blanks[2].isdigit():
            return None
        raise InputError(f"{path}:{number}: neither GTF, GFF3 nor BED; give a gene annotation with `gtf`")
    raise InputError(f"{path}: holds no genes; give a gene annotation with `gtf`")


def _open(path: Path) -> tuple[FeatureDialect | None, str, Iterator[tuple[int, str]]]:
    """Return the dialect, the comments at the file's head, and all blocks of its lines."""
    blocks = text_blocks(path, "gene annotation")
    first = list(islice(blocks, 1))
    head = list(enumerate(first[0][1].split("\n")[:_HEAD_LINES], 1)) if first else []
    comments = "\n".join(line for _, line in head if line.startswith("#"))
    return recognise_annotation(path, head), comments, chain(first, blocks)


def read_records(path: Path) -> tuple[Records, str]:
    """Read all genes of a GTF, GFF3 or BED.

    Returns
    -------
    (records, assembly)
        The assembly that comments at the file's head name, or empty.
    """
    dialect, comments, blocks = _open(path)
    found = read_bed_genes(path, blocks) if dialect is None else read_features(path, blocks, dialect)
    return found, from_text(comments)


# Their lines name a transcript and its gene too; exons do where a file has no lines of transcripts.
_TRANSCRIPT_FEATURES = words(
    """transcript mRNA ncRNA lnc_RNA lncRNA miRNA snRNA snoRNA rRNA tRNA scRNA pseudogenic_transcript
    primary_transcript pseudogene unconfirmed_transcript NMD_transcript_variant antisense_RNA"""
)


def read_transcripts(path: str | Path) -> dict[str, str]:
    """Return transcript id to gene id of a GTF or GFF3."""
    path = Path(path)
    dialect, _, blocks = _open(path)
    if dialect is None:
        raise InputError(f"{path}: a BED names no transcripts; give `tx2gene` or a GTF")
    genes: dict[str, str] = {}
    for first, text in blocks:
        # A GFF3's exons have transcripts as parents, not genes.
        exons = () if dialect is GFF3 or genes else ("exon",)
        for number, fields in _lines_of((*_TRANSCRIPT_FEATURES, *exons), first, text):
            _check_columns(path, number, fields, dialect.name)
            attributes = dialect.attributes(fields[8])
            gene = _first(attributes, ("gene_id", "geneID", "Parent", "gene"))
            transcript = _first(attributes, dialect.transcript_ids)
            if gene and transcript and dialect is GFF3:
                gene, transcript = _GFF3_PREFIX.sub("", gene), _GFF3_PREFIX.sub("", transcript)
            if gene and transcript and gene != transcript:
                genes.setdefault(transcript, gene)
    return genes

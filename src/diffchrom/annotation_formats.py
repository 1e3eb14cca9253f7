"""GTF, GFF3 and BED read into gene records, one line at a time.

Coordinates become 0-based and half-open here. Specifications: GTF2.2 (mblab.wustl.edu/GTF22.html), GFF3 1.26
(The Sequence Ontology), BED v1 (samtools/hts-specs). Only lines of the wanted features have their attributes
parsed: a GENCODE file has 60,000 gene lines among 3 million.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from diffchrom.errors import InputError
from diffchrom.text_tables import numbered_lines

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
    line: int


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
class Dialect:
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


GTF = Dialect(
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
GFF3 = Dialect(
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


def _interval(path: Path, number: int, start: str, end: str, offset: int) -> tuple[int, int]:
    """Parse coordinates; `offset` is 1 for 1-based closed ones (GTF, GFF3), 0 for BED."""
    if not (start.isascii() and start.isdigit() and end.isascii() and end.isdigit()):
        raise InputError(f"{path}:{number}: start {start!r} and end {end!r} must be whole numbers")
    if len(start) > 15 or len(end) > 15 or int(end) > MAX_POSITION:
        raise InputError(f"{path}:{number}: position {end} is beyond any chromosome's end")
    first, last = int(start) - offset, int(end)
    if first < 0 or last <= first:
        raise InputError(f"{path}:{number}: start {start} and end {end} are no interval; check the line")
    return first, last


def _strand(path: Path, number: int, strand: str) -> str:
    if strand not in ("+", "-", ".", "?", ""):
        raise InputError(f"{path}:{number}: strand is {strand!r}, not + or -")
    return strand


def _split_feature(path: Path, number: int, line: str, name: str) -> list[str]:
    fields = line.rstrip("\r").split("\t")
    if len(fields) != 9:
        raise InputError(f"{path}:{number}: {len(fields)} tab-separated columns, a {name} has 9")
    return fields


def _record(path: Path, number: int, fields: list[str], dialect: Dialect) -> GeneRecord | None:
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
    start, end = _interval(path, number, fields[3], fields[4], 1)
    return GeneRecord(
        id=identifier,
        name=_first(attributes, dialect.names) or identifier,
        chrom=fields[0],
        strand=_strand(path, number, fields[6]),
        start=start,
        end=end,
        biotype=_first(attributes, dialect.biotypes),
        line=number,
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

    def records(self, dialect: Dialect, level: str) -> Records:
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


def read_features(path: Path, dialect: Dialect) -> Records:
    """Read a GTF or GFF3: its gene lines, or, where it has none, its transcripts', or its exons' genes."""
    genes: list[GeneRecord] = []
    transcripts, exons = _Merged(), _Merged()
    for number, line in numbered_lines(path, "gene annotation"):
        if not line or line[0] == "#":
            if line.startswith("##FASTA"):
                break
            continue
        head = line.split("\t", 3)
        if len(head) < 4:
            if line.strip():
                _split_feature(path, number, line, dialect.name)
            continue
        feature = head[2]
        if feature in dialect.genes:
            fields = _split_feature(path, number, line, dialect.name)
            # A FlyBase pseudogene's transcript is a `pseudogene` too, with a Parent.
            if dialect is GFF3 and "Parent=" in fields[8]:
                continue
            record = _record(path, number, fields, dialect)
            if record:
                genes.append(record)
        elif not genes and (feature in dialect.transcripts or (feature == "exon" and not transcripts.genes)):
            fields = _split_feature(path, number, line, dialect.name)
            merged = exons if feature == "exon" else transcripts
            merged.add(_record(path, number, fields, dialect))
    if genes:
        return Records(dialect.name, "gene", genes)
    if transcripts.genes:
        return transcripts.records(dialect, "transcript")
    return exons.records(dialect, "exon")


def read_bed(path: Path) -> Records:
    """Read a BED6 of TSSs (or of genes: the 5' end counts); column 4 is the gene's id."""
    found = Records("BED", "interval", [])
    for number, line in numbered_lines(path, "gene annotation"):
        text = line.rstrip("\r")
        if not text.strip() or text.startswith(("#", "track", "browser")):
            continue
        fields = text.split("\t") if "\t" in text else text.split()
        if len(fields) < 6:
            raise InputError(
                f"{path}:{number}: {len(fields)} columns; a BED of TSSs needs six: "
                "chrom, start, end, gene id, score, strand"
            )
        start, end = _interval(path, number, fields[1], fields[2], 0)
        if not fields[3]:
            raise InputError(f"{path}:{number}: column 4 (the gene's id) is empty")
        strand = _strand(path, number, fields[5])
        found.genes.append(GeneRecord(fields[3], fields[3], fields[0], strand, start, end, None, number))
    return found


_GTF_COLUMN = re.compile(r'(?:^|;)\s*\w+\s+(?:"[^"]*"|[^\s";=]+)\s*(?:;|$)')
_GFF3_COLUMN = re.compile(r"(?:^|;)\s*[^\s=;]+=")


def _sniff(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in numbered_lines(path, "gene annotation"):
        if line.startswith("##gff-version"):
            yield number, line
        elif line.strip() and not line.startswith(("#", "track", "browser")):
            yield number, line
            return


def recognise(path: Path) -> Dialect | None:
    """Return the dialect of an annotation from its content; None is BED. InputError when it is neither."""
    for number, line in _sniff(path):
        if line.startswith("##gff-version"):
            if line.split()[-1].startswith("3"):
                return GFF3
            continue
        fields = line.rstrip("\r").split("\t")
        if len(fields) == 9 and _GTF_COLUMN.search(fields[8]):
            return GTF
        if len(fields) == 9 and _GFF3_COLUMN.search(fields[8]):
            return GFF3
        blanks = line.split()
        if len(blanks) >= 3 and blanks[1].isdigit() and blanks[2].isdigit():
            return None
        raise InputError(f"{path}:{number}: neither GTF, GFF3 nor BED; give a gene annotation with --gtf")
    raise InputError(f"{path}: holds no genes; give a gene annotation with --gtf")


def read_transcripts(path: str | Path) -> dict[str, str]:
    """Return transcript id to gene id of a GTF or GFF3 (from every line that names both)."""
    path = Path(path)
    dialect = recognise(path)
    if dialect is None:
        raise InputError(f"{path}: a BED names no transcripts; give --tx2gene or a GTF")
    genes: dict[str, str] = {}
    for number, line in numbered_lines(path, "gene annotation"):
        head = line.split("\t", 3)
        if len(head) < 4 or line[0] == "#" or head[2] in ("CDS", "start_codon", "stop_codon", "UTR", "gene"):
            continue
        if head[2] == "exon" and genes and dialect is GTF:
            # Exons repeat what their transcripts' lines said, except in files without such lines.
            match = re.search(r'transcript_id "([^"]+)"', head[3])
            if match and match[1] in genes:
                continue
        attributes = dialect.attributes(_split_feature(path, number, line, dialect.name)[8])
        gene = _first(attributes, ("gene_id", "geneID", "gene", "Parent"))
        transcript = _first(attributes, dialect.transcript_ids)
        if gene and transcript and gene != transcript:
            if dialect is GFF3:
                gene, transcript = _GFF3_PREFIX.sub("", gene), _GFF3_PREFIX.sub("", transcript)
            genes.setdefault(transcript, gene)
    return genes

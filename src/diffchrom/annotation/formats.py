"""GTF, GFF3, BED and UCSC's tables of genes read into gene records, one line at a time.

Coordinates become 0-based and half-open here. Specifications: GTF2.2 (mblab.wustl.edu/GTF22.html), GFF3 1.26
(The Sequence Ontology), BED v1 (samtools/hts-specs). Only lines of the wanted features have their attributes
parsed: a GENCODE file has 60,000 gene lines among 3 million.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from urllib.parse import unquote

from diffchrom.annotation.genepred import GenePred, genepred_layout, genepred_transcripts, read_genepred
from diffchrom.annotation.records import (
    GeneRecord,
    LineNumber,
    Merged,
    Records,
    checked_strand,
    parse_interval,
)
from diffchrom.errors import InputError
from diffchrom.files.text import text_blocks, words
from diffchrom.genome.assemblies import from_text

# Ensembl and RefSeq put a line for each contig before the genes.
_HEAD_LINES = 5000


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
        strand=checked_strand(path, number, fields[6]),
        start=start,
        end=end,
        biotype=_first(attributes, dialect.biotypes),
    )


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
        self.transcripts = Merged()
        self.exons = Merged()

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
            return self.transcripts.records(self.dialect.name, "transcript")
        return self.exons.records(self.dialect.name, "exon")


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
        strand = checked_strand(path, number, fields[5])
        found.genes.append(GeneRecord(fields[3], fields[3], fields[0], strand, start, end, None))
    return found


_GTF_COLUMN = re.compile(r'(?:^|;)\s*\w+\s+(?:"[^"]*"|[^\s";=]+)\s*(?:;|$)')
_GFF3_COLUMN = re.compile(r"(?:^|;)\s*[^\s=;]+=")


def recognise_annotation(path: Path, head: Sequence[tuple[int, str]]) -> FeatureDialect | GenePred | None:
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
        layout = genepred_layout(path, number, fields)
        if layout is not None:
            return layout
        blanks = line.split()
        if len(blanks) >= 3 and blanks[1].isdigit() and blanks[2].isdigit():
            return None
        raise InputError(
            f"{path}:{number}: neither GTF, GFF3, genePred, refFlat nor BED; "
            "give a gene annotation with `gtf`"
        )
    raise InputError(f"{path}: holds no genes; give a gene annotation with `gtf`")


def _open(path: Path) -> tuple[FeatureDialect | GenePred | None, str, Iterator[tuple[int, str]]]:
    """Return the dialect, the comments at the file's head, and all blocks of its lines."""
    blocks = text_blocks(path, "gene annotation")
    first = list(islice(blocks, 1))
    head = list(enumerate(first[0][1].split("\n")[:_HEAD_LINES], 1)) if first else []
    comments = "\n".join(line for _, line in head if line.startswith("#"))
    return recognise_annotation(path, head), comments, chain(first, blocks)


def read_records(path: Path) -> tuple[Records, str]:
    """Read all genes of a GTF, GFF3, genePred, refFlat or BED.

    Returns
    -------
    (records, assembly)
        The assembly that comments at the file's head name, or empty.
    """
    dialect, comments, blocks = _open(path)
    if dialect is None:
        found = read_bed_genes(path, blocks)
    elif isinstance(dialect, GenePred):
        found = read_genepred(path, blocks, dialect)
    else:
        found = read_features(path, blocks, dialect)
    return found, from_text(comments)


# Their lines name a transcript and its gene too; exons do where a file has no lines of transcripts.
_TRANSCRIPT_FEATURES = words(
    """transcript mRNA ncRNA lnc_RNA lncRNA miRNA snRNA snoRNA rRNA tRNA scRNA pseudogenic_transcript
    primary_transcript pseudogene unconfirmed_transcript NMD_transcript_variant antisense_RNA"""
)


def read_transcripts(path: str | Path) -> dict[str, str]:
    """Return transcript id to gene id of a GTF, GFF3, genePred with genes or refFlat."""
    path = Path(path)
    dialect, _, blocks = _open(path)
    if dialect is None:
        raise InputError(f"{path}: a BED names no transcripts; give `tx2gene` or a GTF")
    if isinstance(dialect, GenePred):
        return genepred_transcripts(path, blocks, dialect)
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

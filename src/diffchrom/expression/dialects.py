"""What tables of expression look like, tool by tool: one row of `DIALECTS` each, recognised by header.

The column names are those of RSEM 1.3, Salmon 1.x, kallisto 0.4x, StringTie 2 (``-A``), Cufflinks 2,
featureCounts 2.x, HTSeq 0.6-2, STAR 2.x (``--quantMode GeneCounts``), DESeq2, edgeR and limma.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diffchrom.files.text import words


@dataclass(frozen=True)
class Dialect:
    """One kind of table.

    Attributes
    ----------
    header : lower-case names that the header must hold; empty for tables without a header.
    id_column : lower-case name of the column of identifiers; empty is the first column.
    units : unit of expression to the lower-case name of its column; empty where the columns are samples.
    name_column, gene_column : columns of symbols, and of a transcript's gene.
    transcripts : rows are transcripts, to be summed to genes.
    not_samples : columns beside the identifiers that are no samples.
    summary_prefix : rows whose identifier starts so are summaries, not genes.
    unit : unit of all values where the tool has one.
    changes : for tables of changes between conditions, what a column means (``log2fc``, ``se``, ``t``,
        ``padj``) to its lower-case name; columns beside log2fc may be missing.
    """

    name: str
    header: frozenset[str] = frozenset()
    id_column: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    name_column: str = ""
    gene_column: str = ""
    transcripts: bool = False
    not_samples: frozenset[str] = frozenset()
    summary_prefix: str = ""
    unit: str = ""
    changes: Mapping[str, str] = field(default_factory=dict)


MATRIX = Dialect("matrix")
TWO_COLUMNS = Dialect("two columns")
HTSEQ = Dialect("HTSeq", summary_prefix="__", unit="counts")
STAR = Dialect("STAR", summary_prefix="N_", unit="counts")

#: Recognised by header, in this order: what needs more columns stands first.
DIALECTS = (
    Dialect(
        "RSEM transcripts",
        header=frozenset({"transcript_id", "gene_id", "expected_count", "tpm", "fpkm", "isopct"}),
        id_column="transcript_id",
        gene_column="gene_id",
        transcripts=True,
        units={"counts": "expected_count", "tpm": "tpm", "fpkm": "fpkm"},
    ),
    Dialect(
        "RSEM",
        header=frozenset({"gene_id", "expected_count", "tpm", "fpkm"}),
        id_column="gene_id",
        units={"counts": "expected_count", "tpm": "tpm", "fpkm": "fpkm"},
    ),
    Dialect(
        "Salmon",
        header=frozenset({"name", "length", "effectivelength", "tpm", "numreads"}),
        id_column="name",
        transcripts=True,
        units={"counts": "numreads", "tpm": "tpm"},
    ),
    Dialect(
        "kallisto",
        header=frozenset({"target_id", "length", "eff_length", "est_counts", "tpm"}),
        id_column="target_id",
        transcripts=True,
        units={"counts": "est_counts", "tpm": "tpm"},
    ),
    Dialect(
        "StringTie",
        header=frozenset({"gene id", "gene name", "reference", "coverage", "fpkm", "tpm"}),
        id_column="gene id",
        name_column="gene name",
        units={"tpm": "tpm", "fpkm": "fpkm"},
    ),
    Dialect(
        "Cufflinks",
        header=frozenset({"tracking_id", "gene_id", "gene_short_name", "fpkm"}),
        id_column="gene_id",
        name_column="gene_short_name",
        units={"fpkm": "fpkm"},
    ),
    Dialect(
        "featureCounts",
        header=frozenset({"geneid", "chr", "start", "end", "strand", "length"}),
        id_column="geneid",
        not_samples=frozenset({"chr", "start", "end", "strand", "length"}),
        unit="counts",
    ),
    Dialect(
        "nf-core/rnaseq transcripts",  # salmon.merged.transcript_counts.tsv, as tximport's module writes it
        header=frozenset({"tx", "gene_id"}),
        id_column="tx",
        gene_column="gene_id",
        transcripts=True,
        not_samples=frozenset({"gene_id"}),
    ),
    Dialect(
        "DESeq2 results",
        header=frozenset({"basemean", "log2foldchange"}),
        changes={"log2fc": "log2foldchange", "se": "lfcse", "padj": "padj"},
    ),
    Dialect(
        "edgeR results",
        header=frozenset({"logfc", "pvalue", "fdr"}),
        changes={"log2fc": "logfc", "padj": "fdr"},
    ),
    Dialect(
        "limma results",
        header=frozenset({"logfc", "aveexpr", "p.value"}),
        changes={"log2fc": "logfc", "t": "t", "padj": "adj.p.val"},
    ),
)

#: Columns of a matrix that describe genes, in lower case; the first group are symbols.
NAME_COLUMNS = ("gene_name", "symbol", "gene_symbol", "genename", "hgnc_symbol", "external_gene_name")
DESCRIPTION_COLUMNS = words(
    """description chr chrom chromosome seqnames start end strand length width biotype gene_biotype
    gene_type entrez entrezid entrez_id description transcript_id(s) locus"""
)
#: Columns that hold identifiers wherever they stand in a table of changes.
GENE_ID_COLUMNS = words("gene_id geneid gene ensembl ensembl_id ensembl_gene_id ensg")
#: What the header of the column of identifiers may be called in a table of two columns.
ID_NAMES = words(
    """gene_id geneid gene id ensembl_id ensembl ensembl_gene_id ensg name gene_name symbol target_id
    transcript_id tracking_id identifier"""
)
MISSING = frozenset({"", "na", "nan", "n/a", "null", "none", "."})

#: Words of file and column names that tell the unit of expression.
UNIT_WORDS: Mapping[str, str] = {
    "rpkm": "rpkm",
    "fpkm": "fpkm",
    "tpm": "tpm",
    "cpm": "cpm",
    "rpm": "cpm",
    "count": "counts",
    "counts": "counts",
    "reads": "counts",
    "readcount": "counts",
    "readcounts": "counts",
    "rawcounts": "counts",
}


#: File names of tables that look like expression: nf-core/rnaseq's ``salmon.merged.gene_lengths.tsv``.
LENGTHS = re.compile(r"(?:gene|transcript)_lengths\b")


def guess_unit(name: str) -> str:
    """Return the unit of expression that a file or column name tells; empty when it tells none or two."""
    found = {UNIT_WORDS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in UNIT_WORDS}
    return found.pop() if len(found) == 1 else ""


def is_number(text: str) -> bool:
    """Tell whether a cell of a table is a number or a missing value (of which a header has none)."""
    if text.strip().lower() in MISSING:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000 as a number; no table means it


def recognise(rows: Sequence[Sequence[str]]) -> tuple[Dialect, bool]:
    """Recognise a table from its first rows (comments taken out).

    Returns
    -------
    (dialect, has_header)
    """
    first = [name.strip().lower() for name in rows[0]]
    names = set(first)
    for dialect in DIALECTS:
        if dialect.header <= names:
            return dialect, True
    if len(first) == 4 and first[0] == "n_unmapped":
        return STAR, False
    numeric = all(is_number(value) for value in first[1:]) and any(value for value in first[1:])
    # A cell may be called 116: then the identifiers' column has a name of its own.
    has_header = not numeric or first[0] in ID_NAMES or first[0] == ""
    if len(rows[-1]) == 2:
        return TWO_COLUMNS, has_header
    return MATRIX, has_header

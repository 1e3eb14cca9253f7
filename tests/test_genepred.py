"""UCSC's tables of genes: which columns are read as what, and where genes begin and end.

The records have the columns of UCSC's table schemas (genome.ucsc.edu/FAQ/FAQformat.html#format9 and the
schema pages of refGene, refFlat and knownGene); coordinates are 0-based and half-open.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffchrom.annotation.formats import read_transcripts
from diffchrom.annotation.genepred import ucsc_bin
from diffchrom.annotation.reading import Annotation, read_annotation
from diffchrom.errors import InputError

TAB = "\t"


def transcript(
    name: str, strand: str, start: int, end: int, *, chrom: str = "chr1", coding: bool = True
) -> list[str]:
    """The ten columns of a genePred, of one exon."""
    cds = (start + 10, end - 10) if coding else (end, end)
    return [name, chrom, strand, *map(str, (start, end, *cds, 1)), f"{start},", f"{end},"]


def extended(symbol: str, columns: list[str]) -> list[str]:
    """The fifteen of a genePredExt."""
    return [*columns, "0", symbol, "cmpl", "cmpl", "0,"]


def table(path: Path, *lines: list[str], header: str = "") -> Path:
    text = header + "".join(TAB.join(fields) + "\n" for fields in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def places(annotation: Annotation) -> dict[str, tuple[int, int, int, int]]:
    genes = annotation.genes
    rows = zip(genes.id, genes.start, genes.end, genes.tss, genes.tes, strict=True)
    return {str(identifier): tuple(map(int, numbers)) for identifier, *numbers in rows}


# [1000, 2000) are bases 1001 to 2000 of a browser: the TSS on plus is 1000 (the browser's 1001), on minus
# 1999 (the browser's 2000, txEnd itself).
PLUS, MINUS = (1000, 2000, 1000, 1999), (1000, 2000, 1999, 1000)


@pytest.mark.parametrize("has_bin", [False, True], ids=["plain", "bin"])
@pytest.mark.parametrize("suffix", ["txt", "txt.gz"])
@pytest.mark.parametrize(
    ("name", "names_genes"), [("genePred", False), ("genePredExt", True), ("refFlat", True)]
)
def test_tss_and_end_on_both_strands_are_the_first_and_last_base(
    tmp_path: Path, name: str, names_genes: bool, suffix: str, has_bin: bool
) -> None:
    lines = []
    for symbol, strand in (("PLUS", "+"), ("MINUS", "-")):
        columns = transcript(f"NM_{symbol}" if names_genes else symbol, strand, 1000, 2000)
        if name == "genePredExt":
            columns = extended(symbol, columns)
        if name == "refFlat":
            columns = [symbol, *columns]
        lines.append(["585", *columns] if has_bin else columns)
    path = table(tmp_path / f"genes.{suffix}", *lines)
    annotation = read_annotation(path)
    assert places(annotation) == {"PLUS": PLUS, "MINUS": MINUS}
    assert annotation.format == ("refFlat" if name == "refFlat" else "genePred")
    if names_genes:
        assert read_transcripts(path) == {"NM_PLUS": "PLUS", "NM_MINUS": "MINUS"}
    else:
        assert annotation.notes[0] == f"genes.{suffix} names no genes: each transcript counts as one"
        with pytest.raises(InputError, match=r"names no genes; give `tx2gene`"):
            read_transcripts(path)


def test_a_gene_reaches_from_its_first_transcript_to_its_last(tmp_path: Path) -> None:
    path = table(
        tmp_path / "refGene.txt",
        extended("UP", transcript("NM_1", "+", 5000, 9000)),
        extended("UP", transcript("NM_2", "+", 4000, 6000)),
        extended("DOWN", transcript("NM_3", "-", 5000, 9000)),
        extended("DOWN", transcript("NM_4", "-", 7000, 9500)),
    )
    annotation = read_annotation(path)
    assert places(annotation) == {"UP": (4000, 9000, 4000, 8999), "DOWN": (5000, 9500, 9499, 5000)}
    assert annotation.notes == ("no gene lines: each gene's TSS is that of its 5'-most transcript",)


def test_a_gene_stands_on_its_chromosome_and_not_on_a_copy(tmp_path: Path) -> None:
    copies = ("chr6_apd_hap1", "chrY", "chrX", "chr6")
    path = table(
        tmp_path / "refGene.txt",
        *(extended("HLA-A", transcript("NM_1", "+", 100, 200, chrom=chrom)) for chrom in copies[::3]),
        *(extended("ASMT", transcript("NM_2", "+", 100, 200, chrom=chrom)) for chrom in copies[1:3]),
        extended("ONLY", transcript("NM_3", "+", 100, 200, chrom="chr6_apd_hap1")),
    )
    annotation = read_annotation(path)
    genes = annotation.genes
    assert dict(zip(genes.id, genes.chrom, strict=True)) == {
        "HLA-A": "chr6",
        "ASMT": "chrX",
        "ONLY": "chr6_apd_hap1",
    }
    assert annotation.dropped == {"transcripts on another chromosome or strand than their gene's first": 2}


def test_a_gene_with_one_coding_transcript_is_coding(tmp_path: Path) -> None:
    path = table(
        tmp_path / "refGene.txt",
        extended("BOTH", transcript("NR_1", "+", 100, 200, coding=False)),
        extended("BOTH", transcript("NM_1", "+", 100, 200)),
        extended("NONE", transcript("NR_2", "+", 300, 400, coding=False)),
    )
    annotation = read_annotation(path)
    assert annotation.genes.id.tolist() == ["BOTH"]
    assert annotation.dropped == {"biotype other than protein_coding": 1}
    assert read_annotation(path, biotype="any").genes.id.tolist() == ["BOTH", "NONE"]
    without_cds = table(tmp_path / "none.txt", ["NONE", *transcript("NR_2", "+", 300, 400, coding=False)])
    assert read_annotation(without_cds).genes.id.tolist() == ["NONE"]


def test_a_refflat_of_numbered_genes_is_no_table_with_bins(tmp_path: Path) -> None:
    # 7157 is TP53 in Entrez; no bin of 1000..2000, which is 585.
    path = table(tmp_path / "refFlat.txt", ["7157", *transcript("NM_000546", "-", 1000, 2000)])
    assert places(read_annotation(path)) == {"7157": MINUS}


def test_headers_of_the_table_browser_are_passed_over(tmp_path: Path) -> None:
    header = "#bin name chrom strand txStart txEnd cdsStart cdsEnd exonCount exonStarts".replace(" ", TAB)
    line = ["585", *extended("G", transcript("NM_1", "+", 1000, 2000))]
    assert places(read_annotation(table(tmp_path / "t.txt", line, header=header + "\n"))) == {"G": PLUS}


def test_knowngene_is_read_with_its_two_last_columns(tmp_path: Path) -> None:
    line = [*transcript("uc001aaa.3", "+", 1000, 2000), "P12345", "uc001aaa.3"]
    assert places(read_annotation(table(tmp_path / "knownGene.txt", line))) == {"uc001aaa.3": PLUS}


GOOD = extended("G", transcript("NM_1", "+", 1000, 2000))


@pytest.mark.parametrize(
    ("column", "text", "message"),
    [
        (3, "-5", "start '-5' and end '2000' must be whole numbers"),
        (3, "2000", "start 2000 and end 2000 are no interval"),
        (4, "9" * 40, "position 99999999999999999999 is beyond any chromosome's end"),
        (2, "x", "strand is 'x', not + or -"),
        (11, "", "column 12 (the gene) is empty"),
        (14, "0,\tmore", "16 tab-separated columns, this genePred has 15"),
    ],
)
def test_a_damaged_record_is_refused_with_file_and_line(
    tmp_path: Path, column: int, text: str, message: str
) -> None:
    damaged = [*GOOD[:column], text, *GOOD[column + 1 :]]
    path = table(tmp_path / "refGene.txt", GOOD, damaged)
    with pytest.raises(InputError) as caught:
        read_annotation(path)
    assert str(caught.value).startswith(f"{path}:2: {message}")
    assert "\n" not in str(caught.value)


@given(st.integers(0, 2**29 - 2), st.data())
def test_a_bin_holds_its_interval_and_none_of_its_parts_does(start: int, data: st.DataObject) -> None:
    end = data.draw(st.integers(start + 1, min(start + 2 ** data.draw(st.integers(0, 29)), 2**29)))
    # Level, first bin and width of each: figure 7 of Kent et al. (2002).
    levels = [(0, 0, 2**29), (1, 1, 2**26), (2, 9, 2**23), (3, 73, 2**20), (4, 585, 2**17)]
    number = ucsc_bin(start, end)
    level, first, width = max(entry for entry in levels if entry[1] <= number)
    left = (number - first) * width
    assert left <= start < end <= left + width
    if level < 4:
        assert start // (width // 8) != (end - 1) // (width // 8)

"""Expression tables of every dialect, and their join to genes."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from diffchrom.annotation.reading import read_annotation
from diffchrom.errors import InputError
from diffchrom.expression.joining import join_expression
from diffchrom.expression.reading import read_expression
from diffchrom.expression.transcripts import read_tx2gene
from diffchrom.genome.genes import Genes
from diffchrom.prepare.deepdiff_format import unlocated_genes

# file -> (dialect, genes, unit -> total of the first cell, genes of roadmap_genes_hg19.gtf.gz that it meets).
# Totals by awk on the files themselves, for example
#   zcat rsem.genes.results.gz | awk -F'\t' 'NR>1 {n++; a+=$5; b+=$6; c+=$7} END {print n, a, b, c}'
# transcripts with the tx2gene table joined in awk; STAR's second column of counts (forward).
REAL = {
    "roadmap_rpkm.tsv.gz": ("matrix", 19795, {"rpkm": 310181.512}, 19107),
    "roadmap_counts.tsv.gz": ("matrix", 19795, {"counts": 211229747}, 19107),
    "rsem.genes.results.gz": (
        "RSEM",
        25343,
        {"counts": 19310990.79, "tpm": 999999.77, "fpkm": 561655.38},
        17591,
    ),
    "salmon.quant.sf.gz": ("Salmon", 25343, {"counts": 20596148.4740, "tpm": 1000000.022385}, 17591),
    "kallisto.abundance.tsv.gz": ("kallisto", 25343, {"counts": 20288806.3676, "tpm": 1000000.095853}, 17591),
    "featurecounts.txt.gz": ("featureCounts", 127, {"counts": 83}, 0),
    "htseq_counts.txt.gz": ("HTSeq", 57773, {"counts": 14784355}, 19107),
    "star.ReadsPerGene.out.tab.gz": ("STAR", 57773, {"counts": 56513}, 19107),
}


@pytest.fixture(scope="module")
def roadmap_genes(shared_data: Path) -> Genes:
    return read_annotation(shared_data / "gtf" / "roadmap_genes_hg19.gtf.gz").genes


@pytest.mark.parametrize("name", REAL)
def test_every_real_table_is_recognised_and_adds_up(
    shared_data: Path, roadmap_genes: Genes, name: str
) -> None:
    folder = shared_data / "expression"
    dialect, n_genes, totals, met = REAL[name]
    cell = "" if dialect == "matrix" else "K562="
    tables = read_expression(
        f"{cell}{folder / name}", transcripts=lambda: read_tx2gene(folder / "tx2gene.csv.gz")
    )
    assert {table.unit for table in tables} == set(totals)
    for table in tables:
        assert table.dialect == dialect
        assert len(table.ids) == n_genes
        assert table.values[:, 0].sum() == pytest.approx(totals[table.unit], rel=1e-9)
    if met:
        joined = join_expression(tables, roadmap_genes)
        assert {int(np.isfinite(one.values).sum()) for one in joined} == {met}
    else:
        with pytest.raises(InputError, match=r"none of its ids \(exon-VC_RS00270-1.*ENSG00000000003"):
            join_expression(tables, roadmap_genes)


def test_results_of_a_differential_test_are_refused_with_the_remedy(shared_data: Path) -> None:
    with pytest.raises(InputError, match=r"DESeq2 results holds changes .* give the counts"):
        read_expression(shared_data / "expression" / "deseq2_results.csv.gz")


def test_a_table_of_no_numbers_is_refused_with_its_line(shared_data: Path) -> None:
    with pytest.raises(InputError, match=r"tx2gene.csv.gz:2: column GENEID holds 'A1BG', not a number"):
        read_expression(shared_data / "expression" / "tx2gene.csv.gz")


def test_the_join_puts_each_value_at_its_gene(shared_data: Path, roadmap_genes: Genes) -> None:
    # zcat roadmap_rpkm.tsv.gz | grep ENSG00000000419
    tables = read_expression(shared_data / "expression" / "roadmap_rpkm.tsv.gz")
    row = roadmap_genes.id.tolist().index("ENSG00000000419")
    values = {one.cell: one.values[row] for one in join_expression(tables, roadmap_genes)}
    assert values == {"E003": 35.259, "E116": 79.197, "E127": 56.578}


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "gene_id\tE003\nG1\t1\nG2\t2.5\n",
        "G1\t1\nG2\t2.5\n",
        "G1,1\nG2,2.5\n",
        '"G1","1"\r\n"G2","2.5"\r\n',
        "id count\nG1 1\nG2 2.5\n",
        "\ufeffgene_id;value\nG1;1\nG2;2.5\n",
        "# made by hand\n#gene\tE003\nG1\t1\nG2\t2.5\n",
    ],
)
def test_two_columns_in_any_dress(tmp_path: Path, text: str) -> None:
    path = table(tmp_path / "two.txt", text)
    (found,) = read_expression(f"E003={path}")
    assert found.cells == ("E003",)
    assert found.ids.tolist() == ["G1", "G2"]
    assert found.values.tolist() == [[1.0], [2.5]]


@pytest.mark.parametrize(
    "text", ["gene_id\tE1\tE2\t\nG1\t1\t2\t\n", "gene_id\tE1\tE2\nG1\t1\t2\t\n", "E1\tE2\nG1\t1\t2\n"]
)
def test_a_matrix_with_stray_tabs_or_of_r_is_read(tmp_path: Path, text: str) -> None:
    (found,) = read_expression(table(tmp_path / "counts.tsv", text))
    assert (found.cells, found.ids.tolist(), found.values.tolist()) == (("E1", "E2"), ["G1"], [[1.0, 2.0]])


def test_gzip_is_read_whatever_the_name(tmp_path: Path) -> None:
    path = tmp_path / "m.tsv"
    path.write_bytes(gzip.compress(b"gene_id\tA\tB\nG1\t1\t2\n"))
    (found,) = read_expression(path)
    assert (found.cells, found.unit, found.values.tolist()) == (("A", "B"), "counts", [[1.0, 2.0]])


def test_versions_are_met_and_said(tmp_path: Path) -> None:
    text = "gene_id\tA\nENSG00000000003.15\t3\nENSG00000000005.6\t5\nENSG00000000005.6_PAR_Y\t99\n"
    tables = read_expression(table(tmp_path / "counts.tsv", text))
    genes = unlocated_genes(["ENSG00000000005", "ENSG00000000003.12", "ENSG00000000419"], ["a", "b", "c"])
    (joined,) = join_expression(tables, genes)
    np.testing.assert_array_equal(joined.values, [5.0, 3.0, np.nan])
    assert "2 gene ids were met without their version suffix" in joined.notes


def test_symbols_are_joined_where_unique(tmp_path: Path) -> None:
    tables = read_expression(table(tmp_path / "counts.tsv", "gene\tA\nTP53\t3\nMATR3\t5\nMYC\t7\n"))
    ids = ["ENSG00000141510", "ENSG00000015479", "ENSG00000280987", "ENSG00000136997"]
    (joined,) = join_expression(tables, unlocated_genes(ids, ["TP53", "MATR3", "MATR3", "MYC"]))
    np.testing.assert_array_equal(joined.values, [3.0, np.nan, np.nan, 7.0])
    assert any("joined by symbol" in note and "1 symbols" in note for note in joined.notes)


def test_replicate_columns_are_averaged_on_the_scale_of_counts_and_kept(tmp_path: Path) -> None:
    text = "gene_id\tE003_rep1\tE003_rep2\tE116\nG1\t1\t4\t7\nG2\t0\tNA\t2\n"
    (found,) = read_expression(table(tmp_path / "counts.tsv", text))
    assert found.cells == ("E003", "E116")
    assert found.values.tolist() == [[2.5, 7.0], [0.0, 2.0]]
    names, values = found.replicates["E003"]
    assert names == ("E003_rep1", "E003_rep2")
    np.testing.assert_array_equal(values, [[1, 4], [0, np.nan]])


def test_several_files_of_one_cell_are_its_replicates(tmp_path: Path) -> None:
    tables = [
        *read_expression(f"E003={table(tmp_path / 'a.counts', 'G1	1')}"),
        *read_expression(f"E003={table(tmp_path / 'b.counts', 'G1	4')}"),
    ]
    (joined,) = join_expression(tables, unlocated_genes(["G1"], ["G1"]))
    assert joined.values.tolist() == [2.5]
    assert joined.replicates is not None
    assert joined.replicates[1].tolist() == [[1.0, 4.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene_id\tA\tB\nG1\t1\t-2.5\n", "t.tsv:2: G1 in column B: -2.5 is negative"),
        ("gene_id\tA\tB\nG1\t1\tinf\n", "t.tsv:2: G1 in column B: inf is infinite"),
        ("gene_id\tA\tB\nG1\t1\tx\n", "t.tsv:2: column B holds 'x', not a number"),
        ("gene_id\tA\tB\nG1\t1\t2\nG2\t1\n", "t.tsv:3: 2 columns, the table has 3"),
        ("gene_id\tA\tB\nG1\t1\t2\t3\n", "t.tsv:2: 4 columns, the table has 3"),
        ("gene_id\n", "one column"),
        ("", "holds no table"),
        ("gene_id\tA\tB\n", "holds no genes"),
        ("G1\t5\n", "does not say which cell it is; write CELL="),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_expression(table(tmp_path / "t.tsv", text))
    assert message in str(caught.value)


def test_rows_that_contradict_each_other_are_left_out(tmp_path: Path) -> None:
    (found,) = read_expression(table(tmp_path / "t.tsv", "gene_id\tA\nG1\t1\nG2\t2\nG1\t1\nG2\t3\nG3\t4\n"))
    assert found.ids.tolist() == ["G1", "G3"]
    assert any("contradict" in note and "G2" in note for note in found.notes)


def test_a_known_cells_numbered_columns_are_its_replicates(tmp_path: Path) -> None:
    text = "gene_id\tE003_1\tE003_2\tE0034\tE116.bam\nG1\t1\t3\t9\t7\n"
    (found,) = read_expression(table(tmp_path / "counts.tsv", text), cells=("E003", "E116"))
    assert (found.cells, found.values.tolist()) == (("E003", "E0034", "E116"), [[2.0, 9.0, 7.0]])
    (alone,) = read_expression(tmp_path / "counts.tsv")
    assert alone.cells == ("E003_1", "E003_2", "E0034", "E116")


def test_a_cell_named_by_the_file_or_by_the_user(tmp_path: Path) -> None:
    path = table(tmp_path / "E116.counts.txt", "G1\t4\n")
    (found,) = read_expression(path, cells=("E003", "E116"))
    assert found.cells == ("E116",)
    with pytest.raises(InputError, match="does not say which cell it is"):
        read_expression(path, cells=("K562",))
    matrix = table(tmp_path / "m.tsv", "gene_id\tE003\tE116\nG1\t1\t2\n")
    (chosen,) = read_expression(f"E116={matrix}", cells=("E003", "E116"))
    assert (chosen.cells, chosen.values.tolist()) == (("E116",), [[2.0]])
    with pytest.raises(InputError, match="no column for K562, but for E003, E116"):
        read_expression(f"K562={matrix}", cells=("E003", "E116", "K562"))


@pytest.mark.parametrize(
    ("name", "text", "unit"),
    [
        ("E116.TPM.tsv", "G1\t1\n", "tpm"),
        ("a.tsv", "gene_id\tFPKM\nG1\t1\n", "fpkm"),
        ("a.tsv", "G1\t1\nG2\t2\n", "counts"),
        ("a.tsv", "G1\t1\nG2\t2.5\n", "unknown"),
    ],
)
def test_the_unit_is_told_by_names_or_by_whole_numbers(
    tmp_path: Path, name: str, text: str, unit: str
) -> None:
    (found,) = read_expression(f"E116={table(tmp_path / name, text)}")
    assert found.unit == unit
    (said,) = read_expression(f"E116={tmp_path / name}", unit="cpm")
    assert said.unit == "cpm"


def test_star_takes_the_column_asked_for(shared_data: Path) -> None:
    # awk '!/^N_/ {a+=$2; b+=$3; c+=$4}' of the file: 56375, 56513, 2819.
    path = shared_data / "expression" / "star.ReadsPerGene.out.tab.gz"
    totals = {}
    for strandedness in ("unstranded", "forward", "reverse"):
        (found,) = read_expression(f"X={path}", strandedness=strandedness)
        totals[strandedness] = found.values.sum()
    assert totals == {"unstranded": 56375, "forward": 56513, "reverse": 2819}


def test_transcripts_add_up_to_their_genes(shared_data: Path) -> None:
    # zcat salmon.quant.sf.gz, the six transcripts that tx2gene.csv.gz gives to A1CF: NumReads
    # 0.000188414 + 0 + 6.19839e-07 + 8.50095 + 0.529402 + 0.000149809.
    folder = shared_data / "expression"
    counts, _ = read_expression(
        f"X={folder / 'salmon.quant.sf.gz'}", transcripts=lambda: read_tx2gene(folder / "tx2gene.csv.gz")
    )
    row = counts.ids.tolist().index("A1CF")
    assert counts.values[row, 0] == pytest.approx(9.030690842839, rel=1e-9)


def test_transcripts_without_a_table_of_genes_are_refused_and_gene_level_salmon_is_not(
    tmp_path: Path,
) -> None:
    header = "Name\tLength\tEffectiveLength\tTPM\tNumReads\n"
    path = table(tmp_path / "quant.sf", header + "ENST00000000233.10\t9\t9\t1.5\t3\n")
    with pytest.raises(InputError, match="give `tx2gene=FILE`"):
        read_expression(f"X={path}")
    counts, tpm = read_expression(f"X={path}", transcripts=lambda: {"ENST00000000233": "ENSG00000004059"})
    assert (counts.ids.tolist(), counts.values.tolist(), tpm.values.tolist()) == (
        ["ENSG00000004059"],
        [[3.0]],
        [[1.5]],
    )
    genes = table(tmp_path / "quant.genes.sf", header + "ENSG00000004059.11\t9\t9\t1.5\t3\n")
    assert read_expression(f"X={genes}")[0].ids.tolist() == ["ENSG00000004059.11"]


def test_a_table_is_read_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("gene_id\tA\nG1\t1\n",))
    writer.start()
    (found,) = read_expression(pipe)
    assert found.values.tolist() == [[1.0]]
    writer.join()


@pytest.mark.parametrize(
    ("text", "dialect", "values"),
    [
        # Headers as RSEM 1.3, StringTie 2 -A, Cufflinks 2 and GTEx's GCT files have them.
        (
            "transcript_id\tgene_id\tlength\teffective_length\texpected_count\tTPM\tFPKM\tIsoPct\n"
            "T1\tG1\t9\t9\t1\t2\t3\t50\nT2\tG1\t9\t9\t4\t5\t6\t50\n",
            "RSEM transcripts",
            {"counts": 5, "tpm": 7, "fpkm": 9},
        ),
        (
            "Gene ID\tGene Name\tReference\tStrand\tStart\tEnd\tCoverage\tFPKM\tTPM\n"
            "G1\tS\tchr1\t+\t1\t9\t1\t2\t3\n",
            "StringTie",
            {"tpm": 3, "fpkm": 2},
        ),
        (
            "tracking_id\tclass_code\tnearest_ref_id\tgene_id\tgene_short_name\ttss_id\tlocus\tlength\tcoverage\t"
            "FPKM\tFPKM_conf_lo\tFPKM_conf_hi\tFPKM_status\nG1\t-\t-\tG1\tS\t-\tchr1:1-9\t-\t-\t4.5\t1\t9\tOK\n",
            "Cufflinks",
            {"fpkm": 4.5},
        ),
        ("#1.2\n1\t1\nName\tDescription\tE116\nG1\tS\t6.5\n", "matrix", {"unknown": 6.5}),
    ],
)
def test_other_tools_tables_are_read_by_their_headers(
    tmp_path: Path, text: str, dialect: str, values: dict[str, float]
) -> None:
    found = read_expression(f"E116={table(tmp_path / 'a.txt', text)}")
    assert {one.dialect for one in found} == {dialect}
    assert [one.ids.tolist() for one in found] == [["G1"]] * len(found)
    assert {one.unit: one.values[0, 0] for one in found} == values


@pytest.mark.parametrize(
    "header", ["gene\tlogFC\tlogCPM\tF\tPValue\tFDR", "gene\tlogFC\tAveExpr\tt\tP.Value\tadj.P.Val\tB"]
)
def test_other_differential_tests_are_refused(tmp_path: Path, header: str) -> None:
    columns = header.count("\t")
    with pytest.raises(InputError, match="results holds changes"):
        read_expression(table(tmp_path / "a.tsv", header + "\nG1" + "\t0.5" * columns + "\n"))

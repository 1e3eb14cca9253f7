"""Tables of DESeq2, edgeR and limma as labels: read by header, joined, signed, used."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import called, make_genes, make_store
from diffchrom.errors import InputError, StoreError, UsageError
from diffchrom.expression.differential import read_labels
from diffchrom.pairs.pair import Pair
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store

GENES = make_genes(4)
G = [str(gene) for gene in GENES.id]

#: Made by hand after each tool's own writer; log2fc, se (NaN: none) of the four genes.
TABLES = {
    "DESeq2, write.csv": (
        '"","baseMean","log2FoldChange","lfcSE","stat","pvalue","padj"\n'
        f'"{G[0]}.5",100.5,1.5,0.25,6,1e-9,1e-8\n"{G[1]}.2",12,-2,0.5,-4,6e-5,1e-4\n'
        f'"{G[2]}.1",0.4,0.3,1.2,0.25,0.8,NA\n"{G[3]}.7",0,NA,NA,NA,NA,NA\n',
        [1.5, -2, 0.3, np.nan],
        [0.25, 0.5, 1.2, np.nan],
    ),
    "DESeq2 shrunken, tibble with a symbol": (
        "symbol\tgene_id\tbaseMean\tlog2FoldChange\tlfcSE\tpvalue\tpadj\n"
        f"S\t{G[0]}\t9\t1.5\t0.25\t0.1\t0.2\nT\t{G[3]}\t9\t-0.5\t0.1\t0.1\t0.2\n",
        [1.5, np.nan, np.nan, -0.5],
        [0.25, np.nan, np.nan, 0.1],
    ),
    "edgeR, write.table": (
        f"logFC\tlogCPM\tF\tPValue\tFDR\n{G[0]}\t1.5\t4\t9\t0.01\t0.02\n{G[1]}\t-2\t4\t9\t0.01\t0.02\n",
        [1.5, -2, np.nan, np.nan],
        None,
    ),
    # limma's standard error is logFC / t: 1.5 / 6 and -2 / -4.
    "limma, write.table": (
        f"logFC\tAveExpr\tt\tP.Value\tadj.P.Val\tB\n{G[0]}\t1.5\t4\t6\t1e-3\t2e-3\t3\n"
        f"{G[1]}\t-2\t4\t-4\t1e-2\t2e-2\t1\n{G[2]}\t0\t4\t0\t1\t1\t-5\n"
        f"{G[3]}\t3\t4\t1e-155\t1\t1\t-5\n",  # an error whose square is larger than a float
        [1.5, -2, 0, 3],
        [0.25, 0.5, np.nan, np.nan],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_each_tools_table_is_read_by_its_header(tmp_path: Path, name: str) -> None:
    text, log2fc, se = TABLES[name]
    path = tmp_path / "results.txt"
    path.write_text(text)
    found = read_labels(f"A1,B2={path}", GENES)
    assert found.pair == ("A1", "B2")
    assert found.dialect == name.split(",")[0].split()[0] + " results"
    np.testing.assert_array_equal(found.log2fc, log2fc)
    if se is None:
        assert found.se is None
        assert "without standard errors" in found.notes[-1]
    else:
        assert found.se is not None
        np.testing.assert_allclose(found.se, se)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gene\tA1\tB2\nG\t1\t2\n", "not that of DESeq2 results, edgeR results, limma results"),
        (TABLES["DESeq2, write.csv"][0].replace("ENSG", "FBgn"), "none of its ids"),
        (
            f"gene,baseMean,log2FoldChange,lfcSE\n{G[0]},0,NA,NA\n{G[1]},0,NA,NA\n",
            "every change is NA",
        ),
        (f"gene,baseMean,log2FoldChange,lfcSE\n{G[0]},0,Inf,1\n", "infinite"),
        (f"gene,baseMean,log2FoldChange,lfcSE\n{G[0]},0,up,1\n", "'up', not a number"),
        (
            f"gene,baseMean,log2FoldChange,lfcSE\n{G[0]},9,1,1\n{G[1]},9,1,2e154\n",
            rf"a.txt:3: {G[1]} has lfcSE 2e\+154, impossible on the log2 scale; correct it or set it to NA",
        ),
        (f"logFC\tlogCPM\tF\tPValue\tFDR\n{G[0]}\t-1e300\t4\t9\t0\t0\n", r"has logFC -1e\+300, impossible"),
    ],
)
def test_what_gives_no_labels_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as refusal:
        read_labels(f"A1,B2={path}", GENES)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("spec", ["a.csv", "A1=a.csv", "A1,A1=a.csv", "A1,B2=", "A1,B2,C3=a.csv"])
def test_a_pair_must_be_named(spec: str) -> None:
    with pytest.raises(UsageError, match="give A,B=FILE"):
        read_labels(spec, GENES)


def test_real_deseq2_results_are_read(shared_data: Path) -> None:
    path = shared_data / "expression" / "deseq2_results.csv.gz"
    with gzip.open(path, "rt") as stream:
        ids = [line.split(",")[0].strip('"') for line in stream][1:5]
    genes = make_genes(4)
    genes.id[:] = ids
    found = read_labels(f"A,B={path}", genes)
    assert found.dialect == "DESeq2 results"
    assert np.isfinite(found.log2fc).any()
    assert found.se is not None
    assert (found.se[np.isfinite(found.se)] > 0).all()


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[Store, np.ndarray, Path]:
    """A store whose pair has DESeq2's changes, which are 100 more than anything expression gives."""
    store = make_store(tmp_path / "s.h5", n_genes=120)
    change = Pair.of(store, ("A1", "B2")).load().log2fc + 100
    table = tmp_path / "deseq2.csv"
    rows = [
        f"{gene},10,{value:.6f},0.5,1,0.1,0.1" for gene, value in zip(store.genes.id, change, strict=True)
    ]
    header = "gene,baseMean,log2FoldChange,lfcSE,stat,pvalue,padj"
    table.write_text("\n".join([header, *rows]) + "\n")
    return store, change, table


def prepare(store: Store, *more: str) -> int:
    return called(["prepare", "--store", str(store.path), "--threads", "1", *more])


def test_labels_replace_the_derived_change_of_their_pair_only(
    labelled: tuple[Store, np.ndarray, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, change, table = labelled
    before = store.fingerprint(("A1", "B2"))
    assert prepare(store, "--labels", f"A1,B2={table}") == 0
    assert (
        "120 genes of A1,B2 are labelled by deseq2.csv (DESeq2 results, B2 over A1)"
        in capsys.readouterr().err
    )
    store = Store(store.path)
    assert store.fingerprint(("A1", "B2")) != before
    data = Pair.of(store, ("A1", "B2")).load()
    np.testing.assert_allclose(data.log2fc, change, atol=1e-5)
    np.testing.assert_array_equal(data.se, np.full(120, 0.5))
    np.testing.assert_allclose(Pair.of(store, ("B2", "A1")).load().log2fc, -change, atol=1e-5)
    assert called(["info", str(store.path), "--verify"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["A1,B2", "120", "120", "DESeq2", "results", str(table)] in lines
    held = store.path.read_bytes()
    assert b"GCOL" not in held  # the heap of text of variable length (docs/store.md)
    assert prepare(store, "--labels", f"A1,B2={table}") == 0
    assert store.path.read_bytes() == held

    for command in (["train", "--variant", "raw:d", "--epochs", "1", "--device", "cpu"], ["baseline"]):
        out = tmp_path / command[0]
        assert called([*command, "--store", str(store.path), "--out", str(out), "--threads", "1"]) == 0
        assert "labels are DESeq2 results of" in capsys.readouterr().err
        details = Run.open(out).config.details
        assert details["labels"]["dialect"] == "DESeq2 results"
        assert details["noise_ceiling"]["mean_squared_se"] == pytest.approx(0.25)
        lines = [line.split("\t") for line in (out / "predictions.tsv").read_text().splitlines()]
        column = lines[0].index("log2fc")
        np.testing.assert_allclose([float(row[column]) for row in lines[1:]], change, atol=1e-4)


def test_other_labels_of_a_pair_need_replace_and_unknown_cells_are_refused(
    labelled: tuple[Store, np.ndarray, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    store, change, table = labelled
    assert prepare(store, "--labels", f"A1,B2={table}", "-q") == 0
    table.write_text(table.read_text().replace(",0.5,", ",0.25,"))
    for spec, said in (
        (f"A1,B2={table}", "has labels of A1,B2 already"),
        (f"B2,A1={table}", "has labels of B2,A1 already"),
        (f"A1,E999={table}", "no cell named E999; the store has A1, B2"),
    ):
        assert prepare(store, "--labels", spec, "-q") != 0
        assert said in capsys.readouterr().err
    assert prepare(store, "--labels", f"B2,A1={table}", "-q", "--replace", "--force") == 0
    data = Pair.of(Store(store.path), ("A1", "B2")).load()
    np.testing.assert_allclose(data.log2fc, -change, atol=1e-5)
    np.testing.assert_array_equal(data.se, np.full(120, 0.25))


def test_other_adjusted_p_values_are_other_labels(
    labelled: tuple[Store, np.ndarray, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    store, _, table = labelled
    assert prepare(store, "--labels", f"A1,B2={table}", "-q") == 0
    table.write_text(table.read_text().replace(",0.1,0.1\n", ",0.1,0.2\n"))
    assert prepare(store, "--labels", f"A1,B2={table}", "-q") == 1
    assert "has labels of A1,B2 already, with other values" in capsys.readouterr().err
    assert prepare(store, "--labels", f"A1,B2={table}", "-q", "--replace") == 0
    held = Store(store.path).labels(("A1", "B2"))
    assert held is not None
    np.testing.assert_array_equal(held.padj, np.full(120, 0.2))


def test_labels_and_replicates_that_are_no_numbers_are_refused(
    labelled: tuple[Store, np.ndarray, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, _, table = labelled
    assert prepare(store, "--labels", f"A1,B2={table}", "-q") == 0
    with h5py.File(store.path, "r+") as file:
        file["labels/A1,B2/note"] = np.array([b"new"] * 120)  # a column that we do not know
        file["cells/A1/replicates/counts"] = np.full((120, 2), b"many")
    store = Store(store.path)
    assert store.labels(("A1", "B2")) is not None
    with pytest.raises(StoreError, match="not a readable diffchrom store"):
        store.replicates("A1", "counts")
    out = ["--store", str(store.path), "--threads", "1", "--out", str(tmp_path / "run")]
    with h5py.File(store.path, "r+") as file:
        del file["cells/A1/replicates"]
    assert called(["baseline", *out]) == 0
    with h5py.File(store.path, "r+") as file:
        written = file["labels/A1,B2/se"].attrs["values_sha256"]
        del file["labels/A1,B2/se"]
        file["labels/A1,B2/se"] = np.array([b"large"] * 120)
        file["labels/A1,B2/se"].attrs["values_sha256"] = written
    capsys.readouterr()
    assert called(["baseline", *out, "--force", "-q"]) == 1
    for line in capsys.readouterr().err.splitlines():
        assert "not a readable diffchrom store" in line


@pytest.mark.parametrize("variant", ["antisymmetric", "aux+siamese"])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_pair_with_labels_and_no_or_little_expression_can_be_trained(
    labelled: tuple[Store, np.ndarray, Path], tmp_path: Path, variant: str, task: str
) -> None:
    store, _, table = labelled
    assert prepare(store, "--labels", f"A1,B2={table}", "-q") == 0
    said = [
        "train",
        "--variant",
        variant,
        "--epochs",
        "1",
        "--aux-task",
        task,
        "--device",
        "cpu",
        "--threads",
    ]
    said += ["1", "--store", str(store.path), "--ensemble", "1", "-q", "--out"]
    few = store.expression("A1", "counts")
    few[::2] = np.nan
    with store.edit() as editor:
        editor.add_expression("A1", "counts", few, replace=True)
    assert called([*said, str(tmp_path / "few")]) == 0
    assert np.isfinite(Run.open(tmp_path / "few").config.metrics["test"]["pearson"] or np.nan)
    few[store.split("chromosome") == 0] = np.nan
    with store.edit() as editor:
        for cell in ("A1", "B2"):
            editor.add_expression(cell, "counts", few, replace=True)
    assert called([*said, str(tmp_path / "untrained")]) == 0
    assert called(["predict", str(tmp_path / "untrained"), "--store", str(store.path), "-q"]) == 0
    with h5py.File(store.path, "r+") as file:
        for cell in ("A1", "B2"):
            del file["cells"][cell]["expression"]
    assert called([*said, str(tmp_path / "none")]) == 0
    text = (tmp_path / "none" / "predictions.tsv").read_text()
    assert "expr_a_pred" not in text.splitlines()[0]
    assert np.isfinite(Run.open(tmp_path / "none").config.metrics["test"]["pearson"] or np.nan)

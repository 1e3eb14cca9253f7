"""Which cell is A and which is B: said everywhere, and tables of the other sign refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import called, make_store
from diffchrom.pairs.pair import Pair
from diffchrom.report.build import build_report
from diffchrom.store.store import Store

SAID = "log2fc: positive = higher in B2 (A is A1, B is B2)"


def write_changes(path: Path, store: Store, log2fc: np.ndarray) -> Path:
    rows = [
        f"{gene}\t{value:.5f}\t1\t1\t0.1\t0.1" for gene, value in zip(store.genes.id, log2fc, strict=True)
    ]
    path.write_text("\n".join(["gene\tlogFC\tlogCPM\tF\tPValue\tFDR", *rows]) + "\n")
    return path


def prepare(store: Store, *more: str) -> int:
    return called(["prepare", "--store", str(store.path), "--threads", "1", "-q", *more])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "s.h5", n_genes=120)


def without_expression(path: Path) -> Store:
    store = make_store(path, n_genes=120)
    with store.edit() as editor:
        for cell in store.cells():
            del editor._file["cells"][cell]["expression"]
    return Store(path)


def test_a_reversed_table_is_refused_with_the_remedy(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = Pair.of(store).labels.log2fc
    table = write_changes(tmp_path / "deseq2.tsv", store, -change)
    assert prepare(store, "--labels", f"A1,B2={table}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{table}: its changes of A1,B2 contradict expression in counts of the two cells" in line
    assert "r = -1.00 on 120 genes" in line
    assert f"swap: --labels B2,A1={table}" in line
    assert Store(store.path).labels(("A1", "B2")) is None
    assert prepare(store, "--labels", f"B2,A1={table}") == 0
    np.testing.assert_allclose(Pair.of(Store(store.path), ("A1", "B2")).labels.log2fc, change, atol=1e-4)


def test_force_keeps_a_reversed_table_and_warns(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_changes(tmp_path / "deseq2.tsv", store, -Pair.of(store).labels.log2fc)
    assert prepare(store, "--labels", f"A1,B2={table}", "--force") == 0
    assert "warning" in capsys.readouterr().err
    assert Store(store.path).labels(("A1", "B2")) is not None


def test_without_expression_the_marks_at_the_tss_tell_the_sign(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = Pair.of(store).labels.log2fc
    bare = without_expression(tmp_path / "bare.h5")
    table = write_changes(tmp_path / "deseq2.tsv", store, -change)
    assert prepare(bare, "--labels", f"A1,B2={table}") == 1
    assert "contradict H3K4me3 at the TSS of the two cells" in capsys.readouterr().err
    assert prepare(bare, "--labels", f"B2,A1={table}") == 0


def test_expression_that_contradicts_a_table_of_the_store_is_refused(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = without_expression(tmp_path / "bare.h5")
    table = write_changes(tmp_path / "deseq2.tsv", store, Pair.of(store).labels.log2fc)
    assert prepare(bare, "--labels", f"A1,B2={table}") == 0
    rows = zip(
        store.genes.id, store.expression("B2", "counts"), store.expression("A1", "counts"), strict=True
    )
    exchanged = tmp_path / "counts.tsv"
    exchanged.write_text("gene_id\tA1\tB2\n" + "".join(f"{g}\t{a:g}\t{b:g}\n" for g, a, b in rows))
    assert prepare(bare, "--expression", str(exchanged), "--expression-unit", "counts") == 1
    assert f"{table}: its changes of A1,B2 contradict" in capsys.readouterr().err


@pytest.mark.parametrize("n_genes", [20, 120])
def test_changes_that_say_nothing_of_the_sign_are_taken(tmp_path: Path, n_genes: int) -> None:
    store = make_store(tmp_path / "few.h5", n_genes=n_genes)
    change = np.random.default_rng(0).normal(size=n_genes) if n_genes > 50 else -Pair.of(store).labels.log2fc
    table = write_changes(tmp_path / "random.tsv", store, change)
    assert prepare(store, "--labels", f"A1,B2={table}") == 0


def test_every_command_says_once_which_cell_is_b(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--store", str(store.path), "--threads", "1"]
    run = str(tmp_path / "run")
    train = ["train", "--variant", "raw:d", "--epochs", "1", "--device", "cpu", "--out", run]
    for command, where in (
        ([*train, *at], "err"),
        (["baseline", "--method", "mean,ridge", "--out", str(tmp_path / "more"), *at], "err"),
        (["predict", run, *at], "err"),
        (["attend", run, "--level", "mark", *at], "err"),
        (["compare", run], "err"),
        (["info", run], "out"),
    ):
        assert called(command) == 0
        said = getattr(capsys.readouterr(), where)
        assert said.count(SAID) == 1, command
    assert build_report([run]).count(SAID) == 1


def test_prepare_says_which_cell_is_which(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(["prepare", "--store", str(store.path), "--split", "random"]) == 0
    assert SAID in capsys.readouterr().err

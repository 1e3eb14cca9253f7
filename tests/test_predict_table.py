"""The table of `predict`: what stands beside predictions, the largest of them, and baselines that predict."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pytest

from conftest import called, make_store
from diffchrom.pairs.pair import Pair
from diffchrom.runs.folder import Run
from diffchrom.runs.predicted import PredictedTable
from diffchrom.store.store import Store
from test_direction import prepare


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three cells; DESeq2's changes of the first two, with an adjusted p-value of some genes."""
    folder = tmp_path_factory.mktemp("predict")
    store = make_store(folder / "s.h5", n_genes=200, cells=("A1", "B2", "C3"))
    change = Pair.of(store, ("A1", "B2")).labels.log2fc
    rows = [
        f"{gene},10,{value:.6f},0.5,1,0.1,{'NA' if i % 2 else 0.25}"
        for i, (gene, value) in enumerate(zip(store.genes.id, change, strict=True))
    ]
    (folder / "d.csv").write_text(
        "\n".join(["gene,baseMean,log2FoldChange,lfcSE,stat,pvalue,padj", *rows]) + "\n"
    )
    assert prepare(store, "--labels", f"A1,B2={folder / 'd.csv'}") == 0
    return Store(store.path)


@pytest.fixture(scope="module")
def runs(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    at = ["--store", str(store.path), "--pair", "A1,B2", "--threads", "1", "-q"]
    train = ["train", "--variant", "raw:d", "--epochs", "30", "--device", "cpu", *at]
    assert called([*train, "--out", str(folder / "model")]) == 0
    for name in ("ridge", "mean"):
        assert called(["baseline", "--method", name, *at, "--out", str(folder / name)]) == 0
    return folder


def predicted(
    run: Path, store: Store, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[pd.DataFrame, str]:
    capsys.readouterr()
    assert called(["predict", str(run), "--store", str(store.path), "--threads", "1", *more]) == 0
    said = capsys.readouterr()
    return pd.read_csv(io.StringIO(said.out), sep="\t", na_values=["NA"], keep_default_na=False), said.err


def test_labels_errors_and_whether_they_are_explained_stand_at_the_end(
    store: Store, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, _ = predicted(runs / "model", store, capsys)
    assert list(table)[-6:] == ["log2fc_spread", "lo90", "hi90", "se", "padj", "explained"]
    assert (table["se"] == 0.5).all()
    np.testing.assert_array_equal(table["padj"], np.where(np.arange(200) % 2, np.nan, 0.25))
    certain = (table["lo90"] > 0) | (table["hi90"] < 0)
    right = np.sign(table["log2fc"]) == np.sign(table["log2fc_pred"])
    assert table["explained"].tolist() == np.where(certain & right, "yes", "no").tolist()
    own = (runs / "model" / "predictions.tsv").read_text().splitlines()[0].split("\t")
    assert own == list(table)[:-3]


def test_what_is_not_known_is_na(store: Store, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, _ = predicted(runs / "model", store, capsys, "--pair", "A1,C3")
    assert table[["se", "padj"]].isna().all(axis=None)
    table, said = predicted(runs / "ridge", store, capsys)
    assert table["explained"].isna().all()
    assert "no direction is certain" not in said


def test_no_interval_that_excludes_0_is_said(store: Store) -> None:
    rows = np.arange(4)
    columns = {"log2fc": np.array([1.0, -1, np.nan, 2]), "log2fc_pred": np.array([0.1, -0.5, 1, 1])}
    wide = PredictedTable(Pair.of(store, ("A1", "B2")))
    wide.completed(columns | {"lo90": np.full(4, -9.0), "hi90": np.full(4, 9.0)}, rows)
    assert wide.note() == "no interval of 4 genes excludes 0: no direction is certain"
    narrow = PredictedTable(Pair.of(store, ("A1", "B2")))
    table = narrow.completed(columns | {"lo90": np.array([0.05, -1, 0.5, -1]), "hi90": np.full(4, 9.0)}, rows)
    assert table["explained"].tolist() == ["yes", "no", "", "no"]
    assert narrow.note() == ""


class ClosedPipe(io.StringIO):
    """A stdout that nobody reads any more."""

    def __init__(self, spare: IO[str]) -> None:
        super().__init__()
        self.fileno = spare.fileno

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_what_is_to_be_known_is_said_also_where_nobody_reads_on(
    store: Store,
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["predict", str(runs / "model"), "--store", str(store.path), "--threads", "1"]
    with (tmp_path / "spare").open("w") as spare:
        monkeypatch.setattr("sys.stdout", ClosedPipe(spare))
        assert called([*command, "--pair", "A1,C3"]) == 0
    said = capsys.readouterr().err
    assert "intervals" in said
    assert "log2fc: positive = higher in C3" in said


@pytest.mark.parametrize(("more", "sign"), [((), 0), (("--up",), 1), (("--down",), -1)])
def test_top_gives_the_largest_predictions_of_a_sign(
    store: Store, runs: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], sign: int
) -> None:
    every, _ = predicted(runs / "model", store, capsys)
    table, _ = predicted(runs / "model", store, capsys, "--top", "7", *more)
    asked = every[sign * every["log2fc_pred"] >= 0]
    order = asked["log2fc_pred"].abs().sort_values(ascending=False, kind="stable").index[:7]
    pd.testing.assert_frame_equal(table, asked.loc[order].reset_index(drop=True))


@pytest.mark.parametrize(
    ("more", "said"),
    [(("--up",), "--up: needs --top N"), (("--top", "3", "--up", "--down"), "one at a time")],
)
def test_signs_need_a_number(
    store: Store, runs: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], said: str
) -> None:
    assert called(["predict", str(runs / "model"), "--store", str(store.path), *more]) == 2
    assert said in capsys.readouterr().err


def test_a_baselines_run_predicts_what_it_predicted_and_other_pairs(
    store: Store, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = pd.read_csv(runs / "ridge" / "predictions.tsv", sep="\t")
    table, _ = predicted(runs / "ridge", store, capsys)
    pd.testing.assert_frame_equal(table[list(own)], own)
    other, _ = predicted(runs / "ridge", store, capsys, "--pair", "C3,B2", "--split", "test")
    assert len(other) == 40
    assert other["log2fc_pred"].std() > 0
    (runs / "mean" / "fitted.safetensors").unlink()
    assert called(["predict", str(runs / "mean"), "--store", str(store.path)]) == 1
    assert "fit the baseline again" in capsys.readouterr().err


def test_info_names_the_largest_coefficients(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(["info", str(runs / "ridge")]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("largest weights (from, to along the window; tss: bases from the TSS):")
    rows = [line.split() for line in lines[at + 2 :]]
    assert len(rows) <= 10
    raises = {("A", "H3K4me3"): -1, ("B", "H3K4me3"): 1, ("A", "H3K27me3"): 1, ("B", "H3K27me3"): -1}
    for row in rows[:4]:
        assert np.sign(float(row[-1])) == raises[row[0], row[1]]
    assert int(rows[0][3]) <= 0 <= int(rows[0][4])  # around the TSS
    sizes = [abs(float(row[-1])) for row in rows]
    assert sizes == sorted(sizes, reverse=True)


def test_marks_that_a_store_lacks_are_named_with_the_command_that_does_without(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poor = make_store(tmp_path / "poor.h5", marks=("H3K4me3",))
    for run, said in (
        ("model", "diffchrom train --variant raw:d"),
        ("ridge", "diffchrom baseline --method ridge"),
    ):
        assert called(["predict", str(runs / run), "--store", str(poor.path)]) == 1
        message = capsys.readouterr().err
        assert "lacks H3K27me3" in message
        assert f"without them: {said} --pair A1,B2 --marks H3K4me3" in message
    assert Run.open(runs / "model").config.marks == ("H3K4me3", "H3K27me3")

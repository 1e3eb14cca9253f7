"""Cross-validation: every gene is predicted by a model that did not see it, and what is finished is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import called, make_store
from diffchrom.metrics import pearson
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store
from diffchrom.sweeps.results import find_runs

TRAIN = ["train", "--variant", "raw:d", "--epochs", "2", "--threads", "1", "--device", "cpu", "-q"]
BASELINE = ["baseline", "--method", "ridge", "--threads", "1", "-q"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four chromosomes with a model and a baseline, each over three folds."""
    folder = tmp_path_factory.mktemp("folds")
    store = make_store(folder / "s.h5", n_genes=80)
    for command, name in ((TRAIN, "model"), (BASELINE, "ridge")):
        said = [*command, "--store", str(store.path), "--folds", "3", "--out", str(folder / name)]
        assert called(said) == 0
    return folder


def table(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "predictions.tsv", sep="\t")


@pytest.mark.parametrize("name", ["model", "ridge"])
def test_every_gene_is_predicted_by_the_fold_that_tested_it(folder: Path, name: str) -> None:
    store = Store(folder / "s.h5")
    whole = table(folder / name)
    assert list(whole["gene_id"]) == list(store.genes.id)
    assert set(whole["split"]) == {"test"}
    seen = []
    for number in (1, 2, 3):
        one = table(folder / name / f"fold-{number}")
        test = one[one["split"] == "test"].drop(columns="split")
        rows = whole["gene_id"].isin(test["gene_id"])
        pd.testing.assert_frame_equal(
            whole[rows].drop(columns="split").reset_index(drop=True), test.reset_index(drop=True)
        )
        seen += list(test["gene_id"])
    assert sorted(seen) == sorted(whole["gene_id"])


@pytest.mark.parametrize("name", ["model", "ridge"])
def test_metrics_are_of_all_genes_and_of_each_fold(folder: Path, name: str) -> None:
    run = Run.open(folder / name)
    whole = table(folder / name)
    expected = pearson(whole["log2fc"], whole["log2fc_pred"])
    assert run.config.metrics["test"]["pearson"] == pytest.approx(expected, abs=1e-9)
    low, high = run.config.details["test_intervals"]["pearson"]
    assert low < expected < high
    by_fold = [Run.open(folder / name / f"fold-{i}").config.metrics["test"]["pearson"] for i in (1, 2, 3)]
    assert [fold["pearson"] for fold in run.config.details["folds"]] == by_fold
    assert run.config.details["fold_mean"]["pearson"] == pytest.approx(np.mean(by_fold))
    assert run.config.details["fold_sd"]["pearson"] == pytest.approx(np.std(by_fold, ddof=1))
    if name == "model":
        inside = whole["log2fc"].between(whole["lo90"], whole["hi90"])
        assert run.config.details["coverage"]["all"]["coverage"] == pytest.approx(inside.mean())
    else:
        assert run.config.details["coverage"] == {}


def test_the_noise_ceiling_is_of_the_genes_of_known_error_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # By hand: genes of known error change by -2 and 2 in turn, 20 each, so that their variance is 160 / 39;
    # their mean squared error is 1. The others, of unknown error, change ten times as much.
    store = make_store(tmp_path / "s.h5", n_genes=80)
    known = np.arange(80) % 8 < 4  # ten of the twenty genes of each of the four chromosomes
    change = np.where(np.arange(80) % 2 == 0, -2.0, 2.0) * np.where(known, 1, 10)
    with store.edit() as editor:
        columns = {"log2fc": change, "se": np.where(known, 1.0, np.nan)}
        editor.add_labels(("A1", "B2"), columns, {"source": "x.csv", "dialect": "DESeq2 results"})
    said = [*BASELINE[:-1], "--store", str(store.path), "--folds", "3", "--out", str(tmp_path / "run")]
    assert called(said) == 0
    details = Run.open(tmp_path / "run").config.details
    assert details["noise_ceiling"]["n"] == 40
    assert details["noise_ceiling"]["reliability"] == pytest.approx(1 - 39 / 160)
    assert details["labels"]["dialect"] == "DESeq2 results"
    said_of_run = capsys.readouterr().err
    ceiling = "leaves r at most 0.870 on the 40 test genes of known standard error (reliability 0.756)"
    assert [line for line in said_of_run.splitlines() if ceiling in line][-1].startswith(
        str(tmp_path / "run")
    )


@pytest.mark.parametrize("command", [TRAIN, BASELINE], ids=["model", "ridge"])
def test_labels_and_tracks_of_a_fold_do_not_reach_its_model(tmp_path: Path, command: list[str]) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=80)
    said = [*command, "--store", str(store.path), "--folds", "3", "--out"]
    assert called([*said, str(tmp_path / "first")]) == 0
    tested = table(tmp_path / "first" / "fold-1")["split"].to_numpy() == "test"
    with store.edit() as editor:
        counts = store.expression("B2", "counts")
        counts[tested] = (3000 - counts[tested]).clip(0)
        editor.add_expression("B2", "counts", counts, replace=True)
        for cell in store.cells():
            for mark in store.marks(cell):
                signal = store.signal(cell, (mark,))[:, 0]
                signal[tested] = 100 * signal[tested][::-1]
                editor.add_signal(cell, mark, signal, store.signal_attrs(cell, mark), replace=True)
    assert called([*said, str(tmp_path / "second")]) == 0
    for number, same in ((1, True), (2, False)):  # fold 2 is trained on the genes of fold 1
        before, after = (
            table(tmp_path / name / f"fold-{number}")["log2fc_pred"][~tested] for name in ("first", "second")
        )
        assert before.equals(after) == same


def test_what_is_finished_is_kept_and_what_is_missing_made_to_the_same_bytes(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "model"
    shutil.copytree(folder / "model", run)
    before = (run / "predictions.tsv").read_bytes()
    kept = (run / "fold-1" / "config.json").stat().st_mtime_ns
    shutil.rmtree(run / "fold-2")
    (run / "fold-3" / "predictions.tsv").unlink()  # copied halfway
    config = json.loads((run / "config.json").read_text()) | {"status": "training"}
    (run / "config.json").write_text(json.dumps(config))
    store = str(folder / "s.h5")
    assert called([*TRAIN, "--store", store, "--folds", "3", "--out", str(run)]) == 0
    assert (run / "predictions.tsv").read_bytes() == before
    assert (run / "fold-1" / "config.json").stat().st_mtime_ns == kept
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        "run",
        *(f"{run}/fold-{i}" for i in (1, 2, 3)),
        str(run),
    ]
    assert called([*TRAIN, "--store", store, "--folds", "3", "--out", str(run), "--lr", "0.5"]) == 1
    assert "was made with other lr;" in capsys.readouterr().err
    assert called([*TRAIN, "--store", store, "--folds", "4", "--out", str(run)]) == 1
    assert "was made with other split" in capsys.readouterr().err


def test_a_damaged_table_of_a_finished_fold_is_told_in_a_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "ridge"
    shutil.copytree(folder / "ridge", run)
    whole = (run / "fold-2" / "predictions.tsv").read_text()
    for damaged in (whole.replace("\ttest\t", "\ttest\tx"), whole.replace("split", "spilt")):
        (run / "fold-2" / "predictions.tsv").write_text(damaged)
        assert called([*BASELINE, "--store", str(folder / "s.h5"), "--folds", "3", "--out", str(run)]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("part", "by"), [("train", "by none of fold-1, fold-2, fold-3"), ("test", "by fold-1, fold-2")]
)
def test_a_gene_that_is_not_tested_exactly_once_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, by: str
) -> None:
    run = tmp_path / "ridge"
    shutil.copytree(folder / "ridge", run)
    path = run / "fold-2" / "predictions.tsv"
    tested = {fold: table(run / fold)["split"].to_numpy() == "test" for fold in ("fold-1", "fold-2")}
    gene = Store(folder / "s.h5").genes.id[tested["fold-2" if part == "train" else "fold-1"]][0]
    lines = path.read_text().splitlines()
    (row,) = (i for i, line in enumerate(lines) if line.startswith(f"{gene}\t"))
    fields = lines[row].split("\t")
    fields[lines[0].split("\t").index("split")] = part
    path.write_text("\n".join([*lines[:row], "\t".join(fields), *lines[row + 1 :]]) + "\n")
    said = [*BASELINE, "--store", str(folder / "s.h5"), "--folds", "3", "--out", str(run)]
    assert called(said) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{run}: genes not tested by exactly one fold: 1 (first {gene}, {by}); remove these folds" in line
    path.write_text("\n".join(lines[:-1]) + "\n")
    assert called(said) == 1
    assert f"has 79 of 80 genes; remove {run}/fold-2" in capsys.readouterr().err
    path.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    assert called(said) == 1
    assert "(line 2: another gene); remove" in capsys.readouterr().err


def test_nothing_else_is_taken_for_a_cross_validation(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [*BASELINE, "--store", str(folder / "s.h5"), "--folds", "3", "--out"]
    (tmp_path / "notes.txt").write_text("mine")
    assert called([*said, str(tmp_path)]) == 1
    assert called([*said, str(tmp_path), "--force"]) == 1
    assert "holds something else than a cross-validation (notes.txt)" in capsys.readouterr().err
    (tmp_path / "notes.txt").rename(tmp_path / "fold-changes.tsv")
    assert called([*said, str(tmp_path), "--force"]) == 1
    assert (tmp_path / "fold-changes.tsv").read_text() == "mine"
    capsys.readouterr()
    assert called([*said, str(folder / "model" / "fold-1")]) == 1
    assert called([*said, "x", "--split", "chromosome"]) == 2
    assert "leave out --split" in capsys.readouterr().err
    assert called(["predict", str(folder / "model"), "--store", str(folder / "s.h5")]) == 1
    assert "give one of them" in capsys.readouterr().err


def test_compare_and_info_take_it_as_one_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [run.path.name for run in find_runs([folder])] == ["model", "ridge"]
    assert called(["compare", "--summary", "-q", str(folder / "model"), str(folder / "ridge")]) == 0
    header, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    by_name = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    difference = float(by_name["raw:d"]["difference"])
    r = [Run.open(folder / name).config.metrics["test"]["pearson"] for name in ("model", "ridge")]
    assert difference == pytest.approx(r[0] - r[1], abs=1e-6)
    assert 0 < float(by_name["raw:d"]["p_holm"]) <= 1
    assert called(["info", str(folder / "model"), "--verify"]) == 0
    text = capsys.readouterr().out
    assert "folds: 3" in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith("  mean ")] == ["mean"]
    assert called(["predict", str(folder / "model" / "fold-1"), "--store", str(folder / "s.h5")]) == 0
    predicted = capsys.readouterr().out.splitlines()
    assert predicted[1].split("\t")[6] in ("train", "valid", "test")


@pytest.fixture(scope="module")
def swept(folder: Path) -> Path:
    """Jobs of `sweep --folds 3` on the same store: mean and ridge."""
    said = ["sweep", "--store", str(folder / "s.h5"), "--folds", "3", "--out", str(folder / "sweep")]
    assert called([*said, "--baselines", "mean,ridge", "--threads", "1", "-q"]) == 0
    return folder / "sweep"


def rows_of(text: str) -> list[dict[str, str]]:
    header, *rows = (line.split("\t") for line in text.splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_folds_of_a_sweep_and_a_cross_validation_are_compared_fold_by_fold(
    folder: Path, swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    single = [str(swept / f"A1-B2.ridge.seed0.fold{i}of3") for i in (1, 2, 3)]
    assert called(["compare", str(folder / "model"), *single]) == 0
    shown = capsys.readouterr()
    assert "model: taken fold by fold" in shown.err
    rows = rows_of(shown.out)
    splits = [f"chromosome-fold{i}of3" for i in (1, 2, 3)]
    assert [(row["method"], row["split"]) for row in rows] == [
        *(("ridge", split) for split in splits),
        *(("raw:d", split) for split in splits),
    ]
    assert called(["compare", "--summary", "-q", str(folder / "model"), *single]) == 0
    mean = {row["method"]: float(row["mean_pearson"]) for row in rows_of(capsys.readouterr().out)}
    for name, method in (("model", "raw:d"), ("ridge", "ridge")):
        expected = Run.open(folder / name).config.details["fold_mean"]["pearson"]
        assert mean[method] == pytest.approx(expected, abs=1e-6)
    page = tmp_path / "report.html"
    assert called(["report", str(folder / "model"), *single, "-o", str(page), "-q"]) == 0
    assert "chromosome-fold3of3" in page.read_text()


def test_one_fold_is_not_compared_with_a_cross_validation_unsaid(
    folder: Path, swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = str(swept / "A1-B2.mean.seed0.fold1of3")
    whole = [str(folder / "ridge"), str(folder / "model")]
    for one in (alone, str(folder / "model" / "fold-1")):
        assert called(["compare", *whole, one]) == 0
        shown = capsys.readouterr()
        assert "are not comparable: tested on folds 1, 2, 3 and fold 1" in shown.err
        assert [row["group"] for row in rows_of(shown.out)] == ["folds 1, 2, 3"] * 2 + ["fold 1"]
    assert called(["report", *whole, alone, "-o", str(tmp_path / "r.html")]) == 0
    assert "2 groups that cannot be compared" in (tmp_path / "r.html").read_text()
    capsys.readouterr()
    assert called(["compare", *whole, alone, "--force"]) == 0
    forced = capsys.readouterr()
    assert "warning" in forced.err
    assert len(rows_of(forced.out)) == 7
    assert called(["baseline", "--store", str(folder / "s.h5"), "--out", str(tmp_path / "split"), "-q"]) == 0
    assert called(["compare", *whole, str(tmp_path / "split")]) == 0
    assert "; tested on folds 1, 2, 3 and its test genes" in capsys.readouterr().err
    # In a sweep that lacks a fold, what there is can be looked at, and what is missing is said.
    complete = [str(swept / f"A1-B2.ridge.seed0.fold{i}of3") for i in (1, 2, 3)]
    assert called(["compare", *complete, alone]) == 0
    assert "tested on folds 1, 2, 3 and fold 1" in capsys.readouterr().err


def test_a_cross_validation_without_a_fold_is_not_compared_with_single_folds(
    folder: Path, swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "model"
    shutil.copytree(folder / "model", run)
    shutil.rmtree(run / "fold-2")
    assert called(["compare", str(run), str(folder / "ridge")]) == 0
    assert len(rows_of(capsys.readouterr().out)) == 2
    single = [str(swept / f"A1-B2.ridge.seed0.fold{i}of3") for i in (1, 2, 3)]
    assert called(["compare", str(run), *single, "-q"]) == 1
    refused = capsys.readouterr().err
    assert f"{run / 'fold-2'}: missing" in refused
    assert "give its command again" in refused
    assert len(refused.splitlines()) == 1


def test_the_report_takes_the_attention_of_a_fold_that_is_there_and_says_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, page = tmp_path / "model", tmp_path / "report.html"
    shutil.copytree(folder / "model", run)
    said = ["report", str(run), "-o", str(page)]
    for gone, fold, told in (
        ("", 1, ""),
        ("fold-1", 2, "fold-1 missing or broken; the attention in the report is of fold-2"),
        ("fold-2/model.safetensors", 3, "fold-1, fold-2 missing or broken"),
        ("fold-3/config.json", 0, "no attention in the report: none of its folds can be opened"),
    ):
        if (run / gone).is_file():
            (run / gone).unlink()
        elif gone:
            shutil.rmtree(run / gone)
        assert called([*said, "-q"]) == 0
        warned = capsys.readouterr().err
        assert told in warned
        assert len(warned.splitlines()) == bool(gone)
        text = page.read_text()
        assert ("Figure 5 of the paper" in text) == bool(fold)
        assert [i for i in (1, 2, 3) if f"seed 0, model of fold {i}" in text] == ([fold] if fold else [])


def test_a_first_fold_that_fails_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=8, cells=("A1", "B2"))
    with store.edit() as editor:
        editor.add_expression("A1", "counts", np.full(8, np.nan), replace=True)
    said = [*BASELINE, "--store", str(store.path), "--folds", "3", "--out", str(tmp_path / "run")]
    assert called(said) == 1
    assert not (tmp_path / "run").exists()
    assert "known expression" in capsys.readouterr().err

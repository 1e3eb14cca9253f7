"""`attend` with groups, `--check` and `--perturb` as users call it, and what they are told when wrong."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from conftest import make_store, train, training
from diffchrom.cli import main
from diffchrom.config import hyperparameters
from diffchrom.deepdiff.attribution import attribute
from diffchrom.deepdiff.opened import open_model
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store

#: One call of each mode.
MODES = {
    "groups": ("--up", "1", "--down", "-1"),
    "check": ("--check", "--sample", "8"),
    "perturb": ("--perturb", "all=mean"),
}


@pytest.fixture(scope="module")
def run(toy_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of raw+aux, so that there are several blocks and tasks."""
    job = training(toy_store.path, "raw+aux", settings=hyperparameters("default", epochs=1, hidden=4))
    return train(job, tmp_path_factory.mktemp("runs") / "run").path


def attend(run: Path, store: Path, *words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["attend", str(run), "--store", str(store), "--threads", "1", *map(str, words)])
    return int(end.value.code or 0)


def table(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), sep="\t", na_values=["NA"], keep_default_na=False)


def known_log2fc(store: Store) -> np.ndarray:
    a, b = (store.expression(cell, "counts") for cell in store.cells())
    return np.log2((b + 1) / (a + 1))


def test_groups_are_compared_for_every_task_and_sequence(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "figure.svg"
    assert attend(run, toy_store.path, "--up", 1.5, "--down", -0.5, "--plot", plot) == 0
    shown = capsys.readouterr()
    rows = table(shown.out)
    assert len(rows) == 10 + 2 + 2  # main attends to all of 3 x 2 + 2 + 2 sequences, A and B to their own
    assert set(rows["mark"]) == set(toy_store.marks("A1"))
    log2fc = known_log2fc(toy_store)
    assert set(rows["n_up"]) == {(log2fc >= 1.5).sum()}
    assert set(rows["n_down"]) == {(log2fc <= -0.5).sum()}
    assert rows["p"].between(0, 1).all()
    assert (rows["q"] >= rows["p"]).all()
    assert sorted(os.listdir(tmp_path)) == ["figure.bins.svg", "figure.svg"]
    assert "figure.bins.svg" in shown.err


@pytest.mark.parametrize("by", ["gradient", "integrated-gradients"])
def test_signed_weights_are_written_in_every_format_and_for_groups(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    source = open_model(Run.open(run), toy_store)
    rows = np.arange(toy_store.n_genes)
    column = {"gradient": "gradient_x_input"}.get(by, "integrated_gradients")
    expected = attribute(source, rows, column).sum(axis=1)
    assert attend(run, toy_store.path, "--by", by) == 0
    shown = capsys.readouterr()
    bins = table(shown.out)
    assert "practically even" not in shown.err
    np.testing.assert_allclose(bins[column], expected.ravel(), atol=1e-5)
    assert set(bins["block"]) == {column}
    assert attend(run, toy_store.path, "--by", by, "--level", "mark") == 0
    marks = table(capsys.readouterr().out)
    np.testing.assert_allclose(marks[column], expected.sum(axis=2).ravel(), atol=1e-4)
    predicted = marks.drop_duplicates("gene_id")["log2fc_pred"]
    np.testing.assert_allclose(predicted, source.predict(rows).log2fc, atol=1e-5)
    for format_ in ("bed", "bedgraph", "bigwig"):
        assert attend(run, toy_store.path, "--by", by, "--format", format_, "-o", tmp_path / format_) == 0
    files = sorted(os.listdir(tmp_path / "bigwig"))
    assert files == [f"{column}.H3K27me3.bw", f"{column}.H3K4me3.bw"]
    bed = pd.read_csv(tmp_path / "bed", sep="\t", header=None)
    assert (bed[9] < 0).any()
    assert bed[4].between(0, 1000).all()
    capsys.readouterr()
    words = ("--up-quantile", 0.2, "--by", by, "--group-by", "log2fc_pred")
    assert attend(run, toy_store.path, *words, "--plot", tmp_path / "x.pdf") == 0
    groups = table(capsys.readouterr().out)
    log2fc = source.predict(rows).log2fc.astype(float)
    up = log2fc >= np.quantile(log2fc, 0.8)
    np.testing.assert_allclose(groups[f"{column}_up"], expected[up].sum(axis=2).mean(axis=0), atol=1e-4)


def test_groups_by_prediction_keep_their_old_spelling(
    run: Path, toy_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert attend(run, toy_store.path, "--up-quantile", 0.2, "--by", "log2fc_pred") == 0
    old = capsys.readouterr().out
    assert attend(run, toy_store.path, "--up-quantile", 0.2, "--group-by", "log2fc_pred") == 0
    assert capsys.readouterr().out == old
    assert "beta_up" in old


def test_a_check_prints_its_table_and_says_what_it_comes_to(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "curves.png"
    words = ("--check", "--sample", 12, "--other", run, "--plot", plot)
    assert attend(run, toy_store.path, *words) == 0
    shown = capsys.readouterr()
    rows = table(shown.out)
    statistics = {"concentration", "spearman", "spearman_minus", "spearman_sd", "share"}
    of_curves = {"", "_area", "_area_sd", "_minus"}
    statistics |= {f"{kind}{end}" for kind in ("deletion", "insertion") for end in of_curves}
    assert set(rows["statistic"]) == statistics
    judged = rows.dropna(subset=["p_holm"])
    assert set(judged["verdict"]) <= {"better", "no better"}
    assert (judged["p_holm"] >= judged["p"]).all()
    itself = rows[rows["comparison"] == f"run {run}"]
    np.testing.assert_allclose(itself["value"], 1)
    for level in ("bins", "marks"):
        assert f"{level}: attention is " in shown.err
    assert "rank correlation with integrated gradients" in shown.err
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert attend(run, toy_store.path, *words) == 0
    assert capsys.readouterr().out == shown.out


def test_a_perturbation_prints_every_genes_change_and_a_summary(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.tsv"
    words = ("--perturb", "H3K4me3=0", "--perturb", "H3K27me3=A1", "--summary", summary)
    assert attend(run, toy_store.path, *words) == 0
    shown = capsys.readouterr()
    rows = table(shown.out)
    assert len(rows) == 2 * toy_store.n_genes
    assert set(rows["perturbation"]) == {"H3K4me3=0", "H3K27me3=A1"}
    after = rows["log2fc_pred_perturbed"] - rows["log2fc_pred"]
    np.testing.assert_allclose(rows["change"], after, atol=2e-5)
    lines = table(summary.read_text())
    assert lines["perturbation"].tolist() == ["H3K4me3=0", "H3K27me3=A1"]
    mean = rows.groupby("perturbation", sort=False)["change"].mean()
    np.testing.assert_allclose(lines["mean_change"], mean, atol=1e-4)
    assert "H3K27me3=A1" in shown.err


@pytest.mark.parametrize("mode", MODES)
def test_unknown_genes_are_listed_and_counted_in_every_mode(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    listed = tmp_path / "genes.txt"
    listed.write_text("\n".join([*toy_store.genes.id[:50], "nobody", "nowhere"]) + "\n")
    assert attend(run, toy_store.path, *MODES[mode], "--genes", listed) == 0
    shown = capsys.readouterr()
    assert "2 genes are not in the store: nobody, nowhere" in shown.err
    assert len(table(shown.out))
    listed.write_text("nobody\n")
    assert attend(run, toy_store.path, *MODES[mode], "--genes", listed) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "none of its 1 genes (nobody) is in the store" in shown.err


def test_no_gene_above_up_is_one_line_with_the_range_there_is(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "x.tsv", tmp_path / "x.pdf"
    assert attend(run, toy_store.path, "--up", 40, "--down", -1, "-o", out, "--plot", plot) == 1
    message = capsys.readouterr().err
    log2fc = known_log2fc(toy_store)
    assert f"--up 40: 0 of {len(log2fc)} genes pass" in message
    assert f"from {log2fc.min():.3g} to {log2fc.max():.3g}" in message
    assert message.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("words", [*MODES.values(), ("--format", "bed"), ("--level", "mark")])
def test_a_store_without_the_runs_marks_is_refused_by_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    store = make_store(tmp_path / "other.h5", n_genes=20, marks=("H3K4me3", "H3K9me3")).path
    assert attend(run, store, *words, "-o", tmp_path / "x.tsv") == 1
    message = capsys.readouterr().err
    assert "H3K27me3" in message
    assert message.count("\n") == 1
    assert os.listdir(tmp_path) == ["other.h5"]


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_written_where_the_folder_is_a_file(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    (tmp_path / "file").write_text("kept")
    out = tmp_path / "file" / "x.tsv"
    assert attend(run, toy_store.path, *MODES[mode], "-o", out) == 1
    message = capsys.readouterr().err
    assert f"{out}: cannot be written" in message
    assert message.count("\n") == 1
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    try:
        assert attend(run, toy_store.path, *MODES["groups"], "-o", tmp_path / "x.tsv") == 1
    finally:
        tmp_path.chmod(0o700)
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--up", "1", "--check"), "one at a time"),
        (("--check", "--perturb", "all=0"), "one at a time"),
        (("--check", "--format", "bed"), "--check: takes no --level, --format"),
        (("--plot", "x.png"), "--plot: needs"),
        (("--perturb", "all=0", "--plot", "x.png"), "--plot: needs"),
        (("--other", "x"), "--other: needs --check"),
        (("--summary", "x.tsv"), "--summary: needs --perturb"),
        (("--up", "-1", "--down", "1"), "--down 1: must be below --up -1"),
        (("--up", "1", "--plot", "x.doc"), "x.doc"),
        (("--by", "contribution"), "raw+aux does not add up its prediction"),
        (("--by", "contribution"), "choose one of attention, gradient, integrated-gradients"),
        (("--by", "contributions"), "--by contributions: unknown; choose one of attention, gradient"),
        (("--by", "gradient", "--block", "main:A"), "--block main:A: this run has gradient_x_input"),
        (("--group-by", "log2fc"), "--group-by: needs --up"),
        (("--check", "--by", "gradient"), "--check: takes no --level"),
        (("--check", "--plot", "x.doc"), "x.doc"),
        (("--perturb", "H3K9ac=0"), "no mark H3K9ac; the run has H3K4me3, H3K27me3"),
        (("--perturb", "H3K4me3=C9"), "no cell C9"),
        (("--perturb", "H3K4me3="), "give MARK=mean"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors_before_anything_is_written(
    run: Path,
    toy_store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert attend(run, toy_store.path, *words, "-o", tmp_path / "x.out") == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert os.listdir(tmp_path) == []


def test_a_damaged_store_is_one_line(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copy(toy_store.path, tmp_path / "s.h5"))
    with h5py.File(path, "r") as file:
        chunk = file["cells/A1/signal/H3K4me3"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    path.write_bytes(data)
    for words in MODES.values():
        assert attend(run, path, *words, "-o", tmp_path / "x.tsv") == 1
        message = capsys.readouterr().err
        assert f"{path}: not a readable diffchrom store" in message
        assert "prepare it again" in message
        assert message.count("\n") == 1
    assert os.listdir(tmp_path) == ["s.h5"]

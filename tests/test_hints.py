"""Names that are nearly right, interrupted commands and uneven tracks: told with what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import called, make_store
from diffchrom.deepdiff.training import TrainingLearner
from diffchrom.errors import did_you_mean
from diffchrom.inspection.summary import summarise_store
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store

TRAIN = ("train", "--variant", "raw:d", "--epochs", "1", "--device", "cpu", "--threads", "1", "-q")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("baseline", "--marks", "H3k27me3"), "H3K27me3"),
        (("baseline", "--pair", "A1,B22"), "B2"),
        (("baseline", "--split", "chromosom"), "chromosome"),
        (("baseline", "--method", "rigde"), "ridge"),
        (("train", "--variant", "antisymetric"), "antisymmetric"),
        (("train", "--device", "cup"), "cpu"),
    ],
)
def test_a_name_that_is_nearly_right_is_suggested(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], meant: str
) -> None:
    assert called([*words, "--store", str(toy_store.path), "--out", str(tmp_path / "x")]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"did you mean {meant}?" in line


def test_a_mark_or_gene_of_a_run_is_suggested(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--store", str(toy_store.path)]
    assert called([*TRAIN, *at, "--out", str(tmp_path / "run")]) == 0
    genes = tmp_path / "genes.txt"
    genes.write_text("GEN17\n")
    for words, meant in (
        (["attend", "--marks", "H3K4me"], "H3K4me3"),
        (["attend", "--perturb", "h3k27me3=mean"], "H3K27me3"),
        (["predict", "--genes", str(genes)], "GENE17"),
    ):
        assert called([words[0], str(tmp_path / "run"), *words[1:], *at]) != 0
        assert f"did you mean {meant}?" in capsys.readouterr().err


def test_a_run_names_its_own_store_where_none_is_given(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(tmp_path / "run")
    assert called([*TRAIN, "--store", str(toy_store.path), "--out", run]) == 0
    monkeypatch.chdir(tmp_path)
    for words in (("predict", run), ("attend", run), ("gene", run, "GENE17", "-o", "gene.svg")):
        capsys.readouterr()
        assert called(words) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(
            f"no such store; {run} was made from {toy_store.path}, give --store {toy_store.path}"
        )


def test_nothing_is_suggested_for_what_is_like_nothing() -> None:
    assert did_you_mean("banana", ["H3K4me3", "H3K27me3"]) == ""
    assert did_you_mean(["h3k4ME3", "banana"], ["H3K4me3", "H3K27me3"]) == "; did you mean H3K4me3?"


def test_resume_is_named_after_an_interrupt_and_where_a_run_is_unfinished(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    command = [*TRAIN, "--store", str(toy_store.path), "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patched:
        patched.setattr(TrainingLearner, "fit", interrupted)
        patched.setattr(TrainingLearner, "can_go_on", lambda *args: True)
        assert called(command) == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert "interrupted; the same command with --resume goes on" in line
    assert called(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds an unfinished run; --resume to go on with it" in line
    assert called([*command, "--resume"]) == 0
    assert Run.open(tmp_path / "run").config.status == "finished"
    capsys.readouterr()
    assert called(command) == 1
    assert "exists already; choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize(("factor", "flagged"), [(5.0, True), (1.5, False)])
def test_tracks_of_uneven_depth_are_flagged_with_what_to_do(
    tmp_path: Path, factor: float, flagged: bool
) -> None:
    store = make_store(tmp_path / "s.h5")
    signal = store.signal("A1", ("H3K4me3",))[:, 0] * np.float32(factor)
    with store.edit() as editor:
        editor.add_signal("B2", "H3K4me3", signal, {"unit": "coverage", "source": "x"}, replace=True)
    flags = {(t.cell, t.mark): " ".join(t.flags) for t in summarise_store(Store(store.path)).tracks}
    assert ("5.0 times deeper than its peers" in flags["B2", "H3K4me3"]) == flagged
    assert ("`prepare --samples` with scale 0.2 evens it" in flags["B2", "H3K4me3"]) == flagged
    assert flags["A1", "H3K27me3"] == flags["A1", "H3K4me3"] == ""  # evening both would turn them round

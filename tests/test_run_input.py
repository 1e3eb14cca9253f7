"""Models and baselines learn from the same input, named, read and described in one way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import called, make_store
from diffchrom.baselines.fitting import BaselineJob
from diffchrom.deepdiff.training import TrainingJob
from diffchrom.errors import DiffchromError
from diffchrom.genome.genes import Window
from diffchrom.pairs.pair import load_pair
from diffchrom.progress import SILENT
from diffchrom.runs.folder import Run
from diffchrom.runs.input import Job, RunInput
from diffchrom.store.store import Store

JOBS = [
    lambda store, **more: TrainingJob(store, **more),
    lambda store, **more: BaselineJob(store, "ridge", **more),
]


@pytest.mark.parametrize("job", JOBS, ids=["model", "baseline"])
def test_what_is_left_open_is_found_in_the_store(toy_store: Store, job: type[Job]) -> None:
    source = RunInput.of(job(toy_store.path))
    assert (source.pair, source.split) == (("A1", "B2"), "chromosome")
    assert source.marks == ("H3K4me3", "H3K27me3")
    chosen = RunInput.of(job(toy_store.path, pair="B2,A1", marks=("H3K27me3",))).load(SILENT)
    expected = load_pair(toy_store, ("B2", "A1"), marks=("H3K27me3",))
    np.testing.assert_array_equal(chosen.signal_a, expected.signal_a)
    np.testing.assert_array_equal(chosen.log2fc, expected.log2fc)
    assert chosen.unit == "counts"


@pytest.mark.parametrize("job", JOBS, ids=["model", "baseline"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pair": "A1,C3"}, "no cell named C3"),
        ({"marks": ("H3K9ac",)}, "lacks H3K9ac"),
        ({"split": "mine"}, "no split named mine"),
        ({"unit": "tpm"}, "no common expression in tpm"),
    ],
)
def test_what_the_store_has_not_is_named(
    toy_store: Store, job: type[Job], wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(DiffchromError, match=said):
        RunInput.of(job(toy_store.path, **wrong)).load(SILENT)


def test_a_model_and_a_baseline_tell_the_same_of_their_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Genes are 30 kb apart, so that windows of neighbours, which are of different parts, overlap.
    store = make_store(tmp_path / "s.h5", n_genes=80, window=Window(flank=50_000, bin_size=5_000))
    said = ["--store", str(store.path), "--threads", "1", "--pair", "B2,A1"]
    notes, configs = [], []
    for command in (["train", "--variant", "raw:d", "--epochs", "1", "--device", "cpu"], ["baseline"]):
        out = tmp_path / command[0]
        assert called([*command, *said, "--out", str(out)]) == 0
        notes.append([line for line in capsys.readouterr().err.splitlines() if "share bases" in line])
        configs.append(Run.open(out).config)
    assert len(notes[0]) == 1
    assert notes[0] == notes[1]
    for name in ("pair", "marks", "window", "split", "unit", "store"):
        assert getattr(configs[0], name) == getattr(configs[1], name)

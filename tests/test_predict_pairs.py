"""Several pairs of cells in one table, and which pairs a store has."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import called, fitting, make_store
from diffchrom.baselines.opened import open_baseline
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("pairs")
    store = make_store(folder / "store.h5", cells=("A1", "B2", "C3"))
    with store.edit() as editor:
        editor.add_signal("D4", "H3K27me3", np.ones((60, 20), np.float32))
    return fitting(store.path, "ridge", pair="A1,B2").make(folder / "run")


def table(run: Run, *options: str, capsys: pytest.CaptureFixture[str]) -> tuple[pd.DataFrame, str]:
    store = run.config.store["path"]
    assert called(["predict", str(run.path), "--store", store, *options]) == 0
    printed = capsys.readouterr()
    return pd.read_csv(io.StringIO(printed.out), sep="\t"), printed.err


@pytest.mark.parametrize(
    ("option", "pairs"),
    [
        (("--against", "C3"), ["C3,A1", "C3,B2"]),
        (("--matrix",), ["A1,B2", "A1,C3", "B2,C3"]),
    ],
)
def test_many_pairs_stand_side_by_side_as_each_is_predicted_alone(
    run: Run, option: tuple[str, ...], pairs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shown, said = table(run, *option, capsys=capsys)
    assert list(shown.columns[6:]) == pairs
    assert "D4 is left out: it lacks H3K4me3" in said
    assert "higher in B, the second cell of each pair" in said
    store = Store(run.config.store["path"])
    for pair in pairs:
        alone = open_baseline(run, store, pair.split(",")).predict(np.arange(60)).log2fc
        np.testing.assert_allclose(shown[pair], alone, atol=1e-4)


def test_only_the_genes_that_are_asked_for_are_in_the_table(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every, _ = table(run, "--matrix", capsys=capsys)
    (tmp_path / "genes.txt").write_text("\n".join(every["gene_id"][[3, 20]]))
    some, _ = table(run, "--matrix", "--genes", str(tmp_path / "genes.txt"), capsys=capsys)
    pd.testing.assert_frame_equal(some, every.iloc[[3, 20]].reset_index(drop=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--against", "D4"), "cell D4 lacks H3K4me3; it can't be compared with"),
        (("--against", "E5"), "no cell named E5; it has A1, B2, C3, D4"),
        (("--against", "A1", "--matrix"), "one of them"),
        (("--matrix", "--top", "3"), "one of them"),
        (("--matrix", "--pair", "A1,B2"), "one of them"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    run: Run, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(["predict", str(run.path), "--store", run.config.store["path"], *options]) != 0
    assert said in capsys.readouterr().err


def test_info_lists_the_pairs_their_marks_and_labels(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    store = run.config.store["path"]
    assert called(["info", store, "--json"]) == 0
    pairs = {one["pair"]: one for one in json.loads(capsys.readouterr().out)["pairs"]}
    assert list(pairs) == ["A1,B2", "A1,C3", "A1,D4", "B2,C3", "B2,D4", "C3,D4"]
    assert pairs["A1,C3"] == {
        "pair": "A1,C3", "marks": ["H3K4me3", "H3K27me3"], "of_one": [], "labels": "counts",
    }  # fmt: skip
    assert (pairs["B2,D4"]["of_one"], pairs["B2,D4"]["labels"]) == (["H3K4me3"], "")
    assert called(["info", store]) == 0
    assert "B2,D4  1      H3K4me3" in capsys.readouterr().out

"""One model of several pairs of cells: what it learns from, what it must not see, what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import diffchrom
from conftest import called, make_store
from diffchrom.deepdiff.opened import OpenedModel, open_model
from diffchrom.inspection.text import run_dict, run_text
from diffchrom.metrics import pearson
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.pair_set import PairSet
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store

CELLS = ("A", "B", "C", "D")
TRAIN = ("train", "--variant", "raw:d", "--epochs", "2", "--hidden", "8", "--device", "cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Four cells; the fifth has one mark of two."""
    store = make_store(tmp_path_factory.mktemp("many") / "s.h5", n_genes=200, cells=CELLS)
    with store.edit() as editor:
        editor.add_signal("lacking", "H3K4me3", store.signal("A", ["H3K4me3"])[:, 0])
    return store


def command(store: Store, out: Path, *words: str, learn: tuple[str, ...] = TRAIN) -> int:
    return called([*learn, "--store", str(store.path), "--threads", "1", "--out", str(out), "-q", *words])


def table(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "pairs.tsv", sep="\t", na_values=["NA"], keep_default_na=False)


def fitted_file(run: Path) -> bytes:
    return next(
        run / name for name in ("model.safetensors", "fitted.safetensors") if (run / name).exists()
    ).read_bytes()


LEARNERS = {
    "raw:d": TRAIN,
    "additive": ("train", "--epochs", "1", "--hidden", "8", "--ensemble", "1", "--device", "cpu"),
    "aux, in two classes": (*TRAIN[:2], "aux", *TRAIN[3:], "--aux-task", "classification"),
    "ridge": ("baseline", "--method", "ridge"),
    "gradient-boosting": ("baseline", "--method", "gradient-boosting"),
    "cell-mean": ("baseline", "--method", "cell-mean"),
}


@pytest.mark.parametrize("learn", LEARNERS.values(), ids=LEARNERS)
def test_every_pair_of_some_cells_is_learnt_and_judged(
    store: Store, tmp_path: Path, learn: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(store, tmp_path / "run", "--cells", "A,B,C", learn=learn) == 0
    judged = table(tmp_path / "run")
    assert judged["pair"].tolist() == ["A,B", "A,C", "B,C"]
    assert set(judged["kind"]) == {"seen"}
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split("\t")[2:] == list(judged)
    assert len(printed) == 4
    run = Run.open(tmp_path / "run")
    assert run.config.pairs == (("A", "B"), ("A", "C"), ("B", "C"))
    for row, cells in zip(judged.itertuples(), run.config.pairs, strict=True):
        out = tmp_path / f"{'-'.join(cells)}.tsv"
        at = ["--store", str(store.path), "--threads", "1", "--split", "test", "-q", "-o", str(out)]
        assert called(["predict", str(run.path), "--pair", ",".join(cells), *at]) == 0
        predicted = pd.read_csv(out, sep="\t")
        assert row.n == len(predicted)
        assert row.pearson == pytest.approx(pearson(predicted["log2fc"], predicted["log2fc_pred"]), abs=1e-5)
        assert row.pearson_low <= row.pearson <= row.pearson_high
    own = pd.read_csv(run.path / "predictions.tsv", sep="\t")
    first = pd.read_csv(tmp_path / "A-B.tsv", sep="\t")
    test = own[own["split"] == "test"]
    np.testing.assert_allclose(test["log2fc_pred"], first["log2fc_pred"], atol=1e-6)


def test_one_pair_named_in_any_way_is_the_same_run(store: Store, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("A B  # the one\n")
    ways = [("--pair", "A,B"), ("--cells", "A,B"), ("--pairs", str(tmp_path / "pairs.txt"))]
    for number, way in enumerate(ways):
        assert command(store, tmp_path / str(number), *way) == 0
        for name in ("model.safetensors", "predictions.tsv"):
            assert (tmp_path / str(number) / name).read_bytes() == (tmp_path / "0" / name).read_bytes()
        assert not (tmp_path / str(number) / "pairs.tsv").exists()


@pytest.mark.parametrize(
    "learn", [TRAIN, LEARNERS["additive"], LEARNERS["cell-mean"]], ids=["raw:d", "additive", "cell-mean"]
)
def test_nothing_of_a_held_out_cell_nor_of_test_genes_reaches_what_is_learnt(
    tmp_path: Path, learn: tuple[str, ...]
) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=200, cells=CELLS)
    words = ("--cells", "A,B,C,D", "--hold-out", "D")
    assert command(store, tmp_path / "before", *words, learn=learn) == 0
    random = np.random.default_rng(0)
    test = np.flatnonzero(store.split("chromosome") == 2)
    expression = {cell: store.expression(cell, "counts") for cell in CELLS}
    signal = {mark: store.signal("D", [mark])[::-1, 0] for mark in store.marks("D")}
    with store.edit() as editor:
        for cell, counts in expression.items():
            moved = np.arange(len(counts)) if cell == "D" else test
            changed = counts.copy()
            changed[moved] = counts[random.permutation(moved)]
            editor.add_expression(cell, "counts", changed, replace=True)
        for mark, values in signal.items():
            editor.add_signal("D", mark, values, {"unit": "coverage", "source": mark}, replace=True)
    assert command(store, tmp_path / "after", *words, learn=learn) == 0
    before, after = tmp_path / "before", tmp_path / "after"
    told = [json.loads((run / "config.json").read_text())["details"] for run in (before, after)]
    assert told[0].get("calibration_unseen") == told[1].get("calibration_unseen")
    own = [pd.read_csv(run / "predictions.tsv", sep="\t") for run in (before, after)]
    others = own[0]["split"] != "test"
    assert (own[0]["log2fc_pred"][others] == own[1]["log2fc_pred"][others]).all()
    assert fitted_file(before) == fitted_file(after)
    kinds = dict(zip(table(after)["pair"], table(after)["kind"], strict=True))
    assert kinds == {
        "A,B": "seen", "A,C": "seen", "B,C": "seen",
        "A,D": "one_unseen", "B,D": "one_unseen", "C,D": "one_unseen",
    }  # fmt: skip
    assert list(table(before)["pearson"]) != list(table(after)["pearson"])


def test_pairs_of_two_held_out_cells_are_a_kind_of_their_own_with_ridge_beside(
    store: Store, tmp_path: Path
) -> None:
    words = ("--cells", "A,B,C,D", "--hold-out", "C,D")
    assert command(store, tmp_path / "run", *words) == 0
    judged = table(tmp_path / "run")
    assert judged["kind"].tolist() == ["seen", *["one_unseen"] * 4, "both_unseen"]
    assert command(store, tmp_path / "ridge", *words, learn=LEARNERS["ridge"]) == 0
    np.testing.assert_allclose(judged["ridge_pearson"], table(tmp_path / "ridge")["pearson"], atol=1e-9)
    run = Run.open(tmp_path / "run")
    assert run.config.details["pairs"][0]["ridge_pearson"] is not None
    said = run_text(run_dict(run))
    assert "cells held out: C, D" in said
    row = next(line for line in said.splitlines() if "one_unseen" in line)
    assert row.split()[:2] == ["A,C", "one_unseen"]
    # One pair is left, for a model of other cells: it learns both orders, and not which cell is A.
    forward, backward = (
        predict(tmp_path / "ridge", store, pair, tmp_path / "p.tsv")["log2fc_pred"] for pair in ("A,D", "D,A")
    )
    np.testing.assert_allclose(forward, -backward, atol=1e-5)
    assert command(store, tmp_path / "alone", "--pair", "A,B", learn=LEARNERS["ridge"]) == 0
    assert fitted_file(tmp_path / "ridge") != fitted_file(tmp_path / "alone")


@pytest.fixture(scope="module")
def of_three(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The default, of two pairs of the cells A, B and C."""
    out = tmp_path_factory.mktemp("of_three") / "run"
    learn = (*LEARNERS["additive"][:1], "--epochs", "4", *LEARNERS["additive"][3:])
    assert command(store, out, "--pair", "A,B", "--pair", "B,C", learn=learn) == 0
    return Run.open(out)


def codes(opened: OpenedModel) -> list[float]:
    """What is read of the cells A, B and C, the same of every gene."""
    of_cells = opened.pair.covariates[:, -3:]
    assert opened.pair.covariate_names[-3:] == ("cell:A", "cell:B", "cell:C")
    assert (of_cells == of_cells[0]).all()
    return [float(code) for code in of_cells[0]]


def test_a_model_of_several_pairs_is_odd_in_every_pair(store: Store, of_three: Run) -> None:
    for cells in (("A", "B"), ("B", "C"), ("A", "D")):
        opened, back = open_model(of_three, store, cells), open_model(of_three, store, cells[::-1])
        assert opened.model.order == 0
        assert opened.without_shift == ""
        rows = np.arange(20)
        np.testing.assert_allclose(opened.predict(rows).log2fc, -back.predict(rows).log2fc, atol=1e-6)


def test_every_cell_that_was_learnt_from_has_a_shift_of_its_own(store: Store, of_three: Run) -> None:
    rows = np.arange(50)

    def shift(a: str, b: str) -> npt.NDArray[np.float32]:
        opened = open_model(of_three, store, (a, b))
        attended = opened.attention_of(rows)
        assert attended.contribution is not None
        return attended.log2fc_pred - attended.contribution.sum(axis=(1, 2))

    assert codes(open_model(of_three, store, ("C", "B"))) == [0, 1, -1]
    assert codes(open_model(of_three, store, ("D", "B"))) == [0, 1, 0]
    assert np.abs(shift("A", "C")).mean() > 1e-3  # a pair that was not learnt from, of cells that were
    assert np.abs(shift("D", "B")).mean() > 1e-3
    np.testing.assert_allclose(shift("A", "B"), -shift("B", "A"), atol=1e-5)


def test_a_cell_of_the_same_name_with_other_signal_is_none_that_was_learnt_from(
    store: Store, of_three: Run, tmp_path: Path
) -> None:
    other = make_store(tmp_path / "other.h5", n_genes=200, cells=CELLS)
    assert codes(open_model(of_three, other, ("A", "B"))) == [-1, 1, 0]  # the same signal in another file
    changed = {mark: other.signal("B", [mark])[::-1, 0] for mark in other.marks("B")}
    with other.edit() as editor:
        for mark, values in changed.items():
            editor.add_signal("B", mark, values, {"unit": "coverage", "source": mark}, replace=True)
    assert codes(open_model(of_three, other, ("A", "B"))) == [-1, 0, 0]
    with other.edit() as editor:
        editor.add_expression("A", "counts", other.expression("A", "counts")[::-1], replace=True)
    assert codes(open_model(of_three, other, ("A", "B"))) == [-1, 0, 0]  # labels are no part of it


@pytest.mark.parametrize(
    ("words", "normalise"),
    [
        (("--pair", "A,B"), "none"),
        (("--pair", "A,B", "--normalise", "quantile"), "quantile"),
        (("--pair", "A,B", "--pair", "A,C"), "quantile"),
        (("--pair", "A,B", "--pair", "A,C", "--hold-out", "C"), "quantile"),
        (("--pair", "A,B", "--pair", "A,C", "--normalise", "none"), "none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_signal_of_several_pairs_is_normalised_unless_told_otherwise(
    store: Store, tmp_path: Path, words: tuple[str, ...], normalise: str
) -> None:
    assert command(store, tmp_path / "run", *words, learn=LEARNERS["ridge"]) == 0
    assert Run.open(tmp_path / "run").config.normalise == normalise


def test_both_orders_are_examples_unless_the_model_is_odd_by_itself(store: Store) -> None:
    pairs = PairSet.of(store, [("A", "B"), ("A", "C")])
    data = pairs.load()
    assert data[0].signal_a is data[1].signal_a
    assert [each.cells for each in pairs.examples(data, antisymmetric=True)] == [("A", "B"), ("A", "C")]
    both = pairs.examples(data, antisymmetric=False)
    assert [each.cells for each in both] == [("A", "B"), ("A", "C"), ("B", "A"), ("C", "A")]
    np.testing.assert_array_equal(both[2].log2fc, Pair.of(store, ("B", "A")).labels.log2fc)
    np.testing.assert_array_equal(both[2].expr_a, both[0].expr_b)
    assert both[2].signal_a is both[0].signal_b
    alone = PairSet((pairs.first,))
    assert [each.cells for each in alone.examples(data[:1], antisymmetric=False)] == [("A", "B")]


def test_a_killed_training_of_several_pairs_goes_on_to_the_same_bytes(store: Store, tmp_path: Path) -> None:
    words = ("--cells", "A,B,C", "--no-ridge")
    assert command(store, tmp_path / "whole", *words) == 0
    assert command(store, tmp_path / "part", *words) == 0
    config = json.loads((tmp_path / "part" / "config.json").read_text())
    (tmp_path / "part" / "config.json").write_text(json.dumps(config | {"status": "training"}))
    assert command(store, tmp_path / "part", *words, "--resume") == 0
    for name in ("model.safetensors", "predictions.tsv", "pairs.tsv"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in (tmp_path / "part").iterdir()} == {
        "config.json", "history.tsv", "model.safetensors", "pairs.tsv", "predictions.tsv",
        "signal.safetensors",
    }  # fmt: skip
    assert command(store, tmp_path / "part", "--cells", "A,B,D", "--no-ridge", "--resume") != 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--pair", "A,B", "--pair", "A,B"), "--pair A,B: is given twice"),
        (("--pair", "A,B", "--pair", "B,A"), "--pair B,A: is A,B exchanged"),
        (("--pair", "A,B", "--pair", "A,lacking"), "cell lacking lacks H3K27me3"),
        (("--cells", "A,B,nowhere"), "no cell named nowhere"),
        (("--cells", "A"), "a pair is two cells"),
        (("--cells", "A,B", "--pair", "A,B"), "--pair and --cells: name the pairs in one way"),
        (("--pair", "A,B", "--hold-out", "C"), "--hold-out C: in none of the pairs"),
        (("--pair", "A,B", "--hold-out", "B"), "--hold-out B: leaves no pair to learn from"),
        (("--pairs", "nowhere.txt"), "nor a file of pairs"),
        (("--cells", "A,B,A"), "give names with commas between them, each once"),
        (("--pair", "A,A", "--pair", "A,B"), "--pair A,A: the two cells are the same"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_pairs_that_do_not_go_together_are_refused_in_one_line(
    store: Store, tmp_path: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(store, tmp_path / "run", *words) != 0
    error = capsys.readouterr().err.strip()
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("learn", [TRAIN, LEARNERS["ridge"]], ids=["raw:d", "ridge"])
def test_a_fold_tests_its_genes_in_every_pair(
    tmp_path: Path, learn: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=80, cells=CELLS)
    words = ("--cells", "A,B,C", "--hold-out", "C", "--folds", "3")
    assert command(store, tmp_path / "run", *words, learn=learn) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + 4 * 3
    folds = [tmp_path / "run" / f"fold-{number}" for number in (1, 2, 3)]
    tested = []
    for fold in folds:
        genes = pd.read_csv(fold / "predictions.tsv", sep="\t")
        tested.append(genes[genes["split"] == "test"])
        for row in table(fold).itertuples():
            truth = Pair.of(store, row.pair.split(",")).labels.log2fc
            assert row.n == np.isfinite(truth[tested[-1].index]).sum()
    assert sorted(pd.concat(tested)["gene_id"]) == sorted(store.genes.id)
    whole = table(tmp_path / "run")
    assert whole["kind"].tolist() == ["seen", "one_unseen", "one_unseen"]
    for column, means in (("n", sum), ("pearson", np.mean)):
        expected = [means([table(fold)[column][row] for fold in folds]) for row in range(3)]
        np.testing.assert_allclose(whole[column], expected, rtol=1e-5)
    assert whole["pearson_low"].isna().all()
    # Given again, finished folds are kept, and folds of other pairs are not taken for them.
    assert command(store, tmp_path / "run", *words, learn=learn) == 0
    assert capsys.readouterr().out.splitlines() == printed
    assert command(store, tmp_path / "run", "--cells", "A,B,D", *words[2:], learn=learn) != 0


def test_labels_of_a_folds_test_genes_reach_its_model_from_no_pair(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=80, cells=CELLS)
    words = ("--cells", "A,B,C", "--folds", "3")
    assert command(store, tmp_path / "first", *words, learn=LEARNERS["ridge"]) == 0
    genes = pd.read_csv(tmp_path / "first" / "fold-1" / "predictions.tsv", sep="\t")
    tested = (genes["split"] == "test").to_numpy()
    expression = {cell: store.expression(cell, "counts") for cell in CELLS}
    with store.edit() as editor:
        for cell, counts in expression.items():
            counts[tested] = (3000 - counts[tested]).clip(0)
            editor.add_expression(cell, "counts", counts, replace=True)
    assert command(store, tmp_path / "second", *words, learn=LEARNERS["ridge"]) == 0
    same = [
        fitted_file(tmp_path / "first" / fold) == fitted_file(tmp_path / "second" / fold)
        for fold in ("fold-1", "fold-2")
    ]
    assert same == [True, False]  # fold 2 is trained on the genes of fold 1


def test_cells_of_other_units_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "s.h5", cells=("A", "B"))
    signal = {mark: store.signal("A", [mark])[:, 0] for mark in store.marks("A")}
    with store.edit() as editor:
        for mark, values in signal.items():
            editor.add_signal("fold", mark, values, {"unit": "fold change"})
            editor.add_signal("tpm", mark, values, {"unit": "coverage"})
        editor.add_expression("fold", "counts", store.expression("A", "counts"))
        editor.add_expression("tpm", "tpm", store.expression("A", "counts"))
    assert command(store, tmp_path / "run", "--cells", "A,B,fold") != 0
    assert "H3K4me3 is coverage in A and fold change in fold" in capsys.readouterr().err
    assert command(store, tmp_path / "run", "--cells", "A,B,tpm") != 0
    assert "common to all cells (A: counts; B: counts; tpm: tpm)" in capsys.readouterr().err


def test_python_trains_on_several_pairs_and_reads_their_accuracy(store: Store) -> None:
    opened = diffchrom.open_store(store.path)
    pairs = opened.pairs(("A", "B"), ("B", "C"), held_out=["C"])
    made = diffchrom.fit_baseline(pairs)
    assert list(made.pairs()["kind"]) == ["seen", "one_unseen"]
    in_folds = diffchrom.fit_baseline(pairs, folds=3)
    assert list(in_folds.pairs()["n"]) == [len(store.genes)] * 2


@pytest.fixture(scope="module")
def odd_cells(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Cells A to C; deep is C at three times its signal, without expression, and alike is C without it."""
    store = make_store(tmp_path_factory.mktemp("odd") / "s.h5", n_genes=200, cells=("A", "B", "C"))
    signal = {mark: store.signal("C", [mark])[:, 0] for mark in store.marks("C")}
    with store.edit() as editor:
        for mark, values in signal.items():
            editor.add_signal("alike", mark, values, {"unit": "coverage"})
            editor.add_signal("deep", mark, 3 * values, {"unit": "coverage"})
    return store


def predict(run: Path, store: Store, pair: str, out: Path) -> pd.DataFrame:
    at = ["--store", str(store.path), "--threads", "1", "--pair", pair, "-o", str(out)]
    assert called(["predict", str(run), *at]) == 0
    return pd.read_csv(out, sep="\t", na_values=["NA"], keep_default_na=False)


def test_cells_without_expression_get_intervals_and_a_distance_from_what_was_seen(
    odd_cells: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(odd_cells, tmp_path / "run", "--cells", "A,B,C", "--no-ridge") == 0
    alike = predict(tmp_path / "run", odd_cells, "A,alike", tmp_path / "alike.tsv")
    said = capsys.readouterr().err
    assert "validation genes of pairs with cells that were left out in turn" in said
    assert "signal is like that of the training" in said
    truth = Pair.of(odd_cells, ("A", "C")).labels.log2fc
    assert alike["log2fc"].isna().all()
    assert 0.8 < np.mean((alike["lo90"] <= truth) & (truth <= alike["hi90"])) <= 1
    seen = predict(tmp_path / "run", odd_cells, "A,C", tmp_path / "seen.tsv")
    assert "distance" not in capsys.readouterr().err
    width = [np.mean(table["hi90"] - table["lo90"]) for table in (seen, alike)]
    assert width[0] != width[1]
    predict(tmp_path / "run", odd_cells, "A,deep", tmp_path / "deep.tsv")
    said = capsys.readouterr().err
    assert "signal lies outside what the training saw" in said
    assert "H3K4me3 of deep" in said
    assert "of alike" not in said


def test_two_cells_are_too_few_for_intervals_of_others_and_that_is_said(
    odd_cells: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(odd_cells, tmp_path / "run", "--cells", "A,B,C", "--hold-out", "C", "--no-ridge") == 0
    judged = table(tmp_path / "run")
    assert judged["coverage"].isna().tolist() == [False, True, True]
    predicted = predict(tmp_path / "run", odd_cells, "A,alike", tmp_path / "p.tsv")
    assert predicted["lo90"].isna().all()
    assert "no intervals" in capsys.readouterr().err


@pytest.mark.parametrize("learn", [TRAIN, LEARNERS["ridge"]], ids=["raw:d", "ridge"])
def test_normalised_signal_does_not_show_how_deep_a_cell_is(
    odd_cells: Store, tmp_path: Path, learn: tuple[str, ...]
) -> None:
    words = ("--cells", "A,B,C")  # quantiles are the default of several pairs
    assert command(odd_cells, tmp_path / "run", *words, learn=learn) == 0
    alike, deep = (
        predict(tmp_path / "run", odd_cells, f"A,{cell}", tmp_path / f"{cell}.tsv")["log2fc_pred"]
        for cell in ("alike", "deep")
    )
    np.testing.assert_allclose(alike, deep, atol=0.02)
    own = pd.read_csv(tmp_path / "run" / "predictions.tsv", sep="\t")["log2fc_pred"]
    again = predict(tmp_path / "run", odd_cells, "A,B", tmp_path / "again.tsv")["log2fc_pred"]
    np.testing.assert_allclose(own, again, atol=1e-6)
    if learn == TRAIN:  # two epochs teach it too little for depth to matter
        return
    assert command(odd_cells, tmp_path / "plain", *words, "--normalise", "none", learn=learn) == 0
    plain = [
        predict(tmp_path / "plain", odd_cells, f"A,{cell}", tmp_path / f"{cell}.tsv")["log2fc_pred"]
        for cell in ("alike", "deep")
    ]
    assert np.abs(plain[0] - plain[1]).max() > 0.1


def test_signal_of_several_pairs_that_is_larger_than_memory_trains_to_the_same_bytes(
    store: Store, tmp_path: Path
) -> None:
    words = ("--pair", "A,B", "--pair", "B,C", "--no-ridge")
    assert command(store, tmp_path / "memory", *words) == 0
    assert command(store, tmp_path / "disk", *words, "--memory", "0") == 0
    assert fitted_file(tmp_path / "memory") == fitted_file(tmp_path / "disk")

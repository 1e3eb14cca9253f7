"""A model in one file: it predicts as its run does, wherever it is, and a hostile one ends in an error."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from conftest import called, fitting, make_store, training
from diffchrom.config import hyperparameters
from diffchrom.deepdiff.opened import open_model
from diffchrom.errors import DiffchromError, RunError
from diffchrom.runs.folder import Run
from diffchrom.runs.handed_on import KEY
from diffchrom.store.store import Store

QUICK = hyperparameters("default", "additive", hidden=8, epochs=1, ensemble=2, min_steps=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("handed")
    store = make_store(folder / "store.h5", cells=("A1", "B2", "C3"))
    return training(store.path, "additive", settings=QUICK, device="cpu", pair="A1,B2").make(folder / "run")


@pytest.fixture(scope="module")
def model(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.diffchrom"
    assert called(["export", str(run.path), "-o", str(path), "--card", str(path.parent / "card.md")]) == 0
    return path


@pytest.fixture(scope="module")
def of_pairs(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run of several pairs of normalised signal, and its model's file."""
    folder = tmp_path_factory.mktemp("pairs")
    words = ["--variant", "raw:d", "--hidden", "8", "--epochs", "1", "--device", "cpu", "--no-ridge", "-q"]
    named = ["--store", run.config.store["path"], "--cells", "A1,B2,C3", "--normalise", "quantile"]
    assert called(["train", *words, *named, "--out", str(folder / "run")]) == 0
    assert called(["export", str(folder / "run"), "-o", str(folder / "m.diffchrom"), "-q"]) == 0
    return Run.open(folder / "run"), folder / "m.diffchrom"


def header(path: Path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def test_a_model_predicts_as_its_run_does_and_knows_its_own_pair(run: Run, model: Path) -> None:
    store = Store(run.config.store["path"])
    for cells in (None, ("B2", "C3")):
        here, there = (open_model(Run.open(path), store, cells, device="cpu") for path in (run.path, model))
        assert here.model.order == there.model.order
        first, second = (one.predict(np.arange(60)) for one in (here, there))
        np.testing.assert_array_equal(first.log2fc, second.log2fc)
        np.testing.assert_array_equal(first.low, second.low)


def test_predict_and_attend_take_the_file_anywhere(
    run: Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = shutil.copy(model, tmp_path / "m.diffchrom")
    options = ["--store", run.config.store["path"], "--pair", "B2,C3"]
    for command in (["predict"], ["attend", "--level", "mark"]):
        capsys.readouterr()
        printed = []
        for path in (str(run.path), str(alone)):
            assert called([command[0], path, *command[1:], *options]) == 0
            printed.append(capsys.readouterr().out)
        assert printed[0] == printed[1]


def test_normalised_signal_is_normalised_in_a_store_without_the_cells_that_were_learnt_from(
    of_pairs: tuple[Run, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = of_pairs
    store = make_store(tmp_path / "s.h5", cells=("X", "Y"), seed=5)
    deep = {mark: 3 * store.signal("X", [mark])[:, 0] for mark in store.marks("X")}
    with store.edit() as editor:
        for mark, values in deep.items():
            editor.add_signal("deep", mark, values, store.signal_attrs("X", mark))
    predicted = {}
    for path in (run.path, file):
        for pair in ("X,Y", "deep,Y"):
            assert called(["predict", str(path), "--store", str(store.path), "--pair", pair]) == 0
            predicted[path, pair] = capsys.readouterr()
    assert predicted[run.path, "X,Y"] == predicted[file, "X,Y"]
    assert "Kolmogorov-Smirnov" in predicted[file, "X,Y"].err
    as_it_is, thrice = (
        open_model(Run.open(file), store, (cell, "Y"), device="cpu").pair.signal(np.arange(60))[0]
        for cell in ("X", "deep")
    )
    # But for signal stronger than any of a training gene, which stays as far above it as it is.
    assert np.mean(np.isclose(as_it_is, thrice, atol=1e-4)) > 0.99
    assert header(file)[0]["__metadata__"][KEY].startswith('{"format": "diffchrom-model", "version": 2')


def test_a_model_without_its_signal_is_refused(
    of_pairs: tuple[Run, Path], model: Path, tmp_path: Path
) -> None:
    (values, rest), (alone, _) = header(of_pairs[1]), header(model)
    store = Store(of_pairs[0].config.store["path"])
    cut = {"__metadata__": {KEY: values["__metadata__"][KEY]}}
    other = values["__metadata__"] | {"diffchrom-record": values["__metadata__"]["diffchrom-record"].replace(
        "H3K4me3", "H3K4me1")}  # fmt: skip
    assert set(alone["__metadata__"]) == {KEY}
    for number, changed in enumerate((values | cut, values | {"__metadata__": other})):
        text = json.dumps(changed).encode()
        path = tmp_path / str(number)
        path.write_bytes(struct.pack("<Q", len(text)) + text + rest)
        with pytest.raises(RunError, match=r"holds no signal that was learnt from .* export it again"):
            open_model(Run.open(path), store, device="cpu")


def test_the_file_tells_nothing_of_the_machine_and_the_same_run_gives_the_same_bytes(
    run: Run, model: Path, tmp_path: Path
) -> None:
    assert str(run.path.parent).encode() not in model.read_bytes()
    assert called(["export", str(run.path), "-o", str(tmp_path / "again"), "-q"]) == 0
    assert (tmp_path / "again").read_bytes() == model.read_bytes()


def test_the_card_says_what_the_model_needs_and_how_good_it_is(run: Run, model: Path) -> None:
    card = (model.parent / "card.md").read_text()
    values = json.loads(header(model)[0]["__metadata__"][KEY])
    assert values["card"] == card
    r = run.config.metrics["test"]["pearson"]
    for said in ("H3K4me3, H3K27me3", "log_length", "counts", f"{r:.3f}", "Without the shift", "bins of"):
        assert said in card


def test_the_card_of_several_pairs_tables_each_with_the_cells_that_it_has_not_seen(
    run: Run, tmp_path: Path
) -> None:
    words = ["--variant", "raw:d", "--hidden", "8", "--epochs", "1", "--device", "cpu", "-q"]
    named = ["--store", run.config.store["path"], "--cells", "A1,B2,C3", "--hold-out", "C3"]
    assert called(["train", *words, *named, "--out", str(tmp_path / "run")]) == 0
    assert (
        called(["export", str(tmp_path / "run"), "-o", str(tmp_path / "m"), "--card", str(tmp_path / "c.md")])
        == 0
    )
    card = (tmp_path / "c.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("|")]
    assert [row[:2] for row in rows[2:]] == [
        ["A1,B2", "seen"],
        ["A1,C3", "one unseen"],
        ["B2,C3", "one unseen"],
    ]
    written = [line.split("\t") for line in (tmp_path / "run" / "pairs.tsv").read_text().splitlines()]
    at = written[0].index("pearson")
    assert [row[3] for row in rows[2:]] == [f"{float(line[at]):.3f}" for line in written[1:]]
    for said in (
        "Cells held out, to be judged on them: C3",
        "Trained on A1,B2;",
        "one unseen: r = ",
        "or missing",
    ):
        assert said in card


def test_info_describes_a_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(["info", str(model)]) == 0
    assert "variant: additive" in capsys.readouterr().out


def test_a_missing_mark_is_said_and_not_guessed(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path / "s.h5", cells=("X", "Y"), marks=("H3K4me3",))
    assert called(["predict", str(model), "--store", str(store.path), "--pair", "X,Y"]) != 0
    printed = capsys.readouterr()
    assert "lacks H3K27me3" in printed.err
    assert not printed.out


def test_baselines_and_cross_validations_are_refused(run: Run, tmp_path: Path) -> None:
    store = run.config.store["path"]
    fitting(store, "ridge", pair="A1,B2").make(tmp_path / "ridge")
    assert called(["export", str(tmp_path / "ridge"), "-o", str(tmp_path / "m")]) != 0
    assert not (tmp_path / "m").exists()


def with_config(model: Path, path: Path, change: Callable[[dict], object]) -> Path:
    values, rest = header(model)
    told = json.loads(values["__metadata__"][KEY])
    change(told["config"])
    values["__metadata__"][KEY] = json.dumps(told)
    text = json.dumps(values).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)
    return path


def test_a_transform_that_lacks_something_is_named(run: Run, model: Path, tmp_path: Path) -> None:
    damaged = with_config(model, tmp_path / "m", lambda config: config["transform"].pop("mean"))
    with pytest.raises(RunError, match="broken transform"):
        open_model(Run.open(damaged), Store(run.config.store["path"]), ("A1", "B2"), device="cpu")


def test_a_tree_that_leads_nowhere_ends_in_one_error(run: Run, tmp_path: Path) -> None:
    copy = Run.open(shutil.copytree(run.path, tmp_path / "run"))
    weights = load_file(copy.weights)
    name = next(name for name in weights if name.endswith("trees.feature"))
    weights[name][0, 0] = 10**6
    save_file(weights, copy.weights)
    with pytest.raises(RunError, match=r"leads nowhere; train the run again"):
        open_model(copy, Store(run.config.store["path"]), device="cpu")


@pytest.mark.parametrize("claim", [{"hidden": 10**9}, {"ensemble": 10**9}, {"trees": 10**9}])
def test_a_file_that_claims_more_weights_than_it_has_is_refused_before_they_are_made(
    model: Path, tmp_path: Path, claim: dict[str, int]
) -> None:
    path = with_config(model, tmp_path / "m", lambda config: config["hyperparameters"].update(claim))
    with pytest.raises(RunError, match="claims more weights than the file holds"):
        Run.open(path)


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_ends_in_one_error_or_in_finite_numbers(
    model: Path, of_pairs: tuple[Run, Path], run: Run, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(data.draw(st.sampled_from([model, of_pairs[1]])).read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content if data.draw(st.booleans()) else content[:cut])
    try:
        opened = open_model(Run.open(damaged), Store(run.config.store["path"]), ("A1", "B2"), device="cpu")
    except DiffchromError:
        return  # anything else than one of our errors fails the test
    assert replace(opened, calibration=None).predict(np.arange(3)).log2fc.shape == (3,)

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import Case, make_store, predictions_of, running, train, training, wait_for
from diffchrom.config import PRESETS, hyperparameters
from diffchrom.deepdiff.loading import load_model
from diffchrom.deepdiff.opened import open_model
from diffchrom.errors import OutputError, RunError, StoreError, UsageError
from diffchrom.inspection.text import run_dict, run_text
from diffchrom.metrics import pearson
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.transform import Transform
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store
from diffchrom.variants import VARIANTS

SMALL = hyperparameters("default", hidden=8, epochs=2, batch_size=16)


def job(store: Store, **changes: object) -> Case:
    return training(store.path, "raw:d", settings=SMALL, device="cpu").but(**changes)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_trains_and_predicts_with_every_preset(
    toy_store: Store, tmp_path: Path, variant: str, preset: str
) -> None:
    settings = hyperparameters(preset, hidden=8, epochs=2)
    run = train(job(toy_store, name=variant, preset=preset, settings=settings), tmp_path / "run")
    files = {"config.json", "history.tsv", "model.safetensors", "predictions.tsv"}
    assert set(os.listdir(run.path)) == files
    table = pd.read_csv(run.path / "predictions.tsv", sep="\t")
    columns = ["gene_id", "gene_name", "chrom", "start", "end", "strand", "split", "log2fc_pred", "log2fc"]
    if VARIANTS[variant].auxiliary:
        columns += ["expr_a_pred", "expr_b_pred"]
    assert list(table.columns[: len(columns)]) == columns
    again, _ = predictions_of(Run.open(run.path), toy_store)
    test = again.rows("test")
    predicted = predictions_of(Run.open(run.path), toy_store)[1]["log2fc_pred"]
    np.testing.assert_allclose(table["log2fc_pred"], predicted, rtol=1e-6, atol=1e-6)
    recorded = run.config.metrics["test"]["pearson"]
    assert recorded == pytest.approx(pearson(again.labels.log2fc[test], predicted[test]), abs=1e-6)


def test_a_run_tells_how_its_model_scales_the_signal_by_itself(toy_store: Store, tmp_path: Path) -> None:
    settings = replace(SMALL, epochs=1, ensemble=2)
    run = Run.open(train(job(toy_store, name="antisymmetric", settings=settings), tmp_path / "run").path)
    pair = Pair.of(toy_store)
    data = pair.load()
    rows = data.rows("train")
    signal = np.stack((data.signal_a[rows], data.signal_b[rows])).astype(float)
    for name, steps in run.config.details["scaling"].items():
        merged = signal.reshape(*signal.shape[:-1], -1, int(steps["bins_merged"])).mean(axis=-1)
        values = np.log1p(merged) if steps["function"] == "log1p" else merged
        assert list(steps["mean"]) == list(pair.marks)
        np.testing.assert_allclose(list(steps["mean"].values()), values.mean(axis=(0, 1, 3)), rtol=1e-5)
        np.testing.assert_allclose(list(steps["scale"].values()), values.std(axis=(0, 1, 3)), rtol=1e-5)
        assert f"scaling ({name}): log1p of the mean of every {steps['bins_merged']:g} bins" in run_text(
            run_dict(run)
        )
    older = replace(run, config=replace(run.config, details={"best_epoch": 1}))
    assert "scaling" not in run_text(run_dict(older))
    plain = train(job(toy_store, settings=replace(settings, epochs=1)), tmp_path / "plain")
    assert not plain.config.details["scaling"]
    assert plain.config.transform["function"] == "log1p"


def test_a_planted_rule_is_learnt(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=400)
    settings = hyperparameters("default", hidden=8, epochs=25, batch_size=16, lr=5e-3)
    run = train(job(store, settings=settings), tmp_path / "run")
    assert run.config.metrics["test"]["pearson"] > 0.8


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(toy_store: Store, tmp_path: Path) -> None:
    runs = [
        train(job(toy_store, name="aux+siamese", seed=seed), tmp_path / name)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    for file in ("model.safetensors", "predictions.tsv", "history.tsv"):
        first, second, other = ((run.path / file).read_bytes() for run in runs)
        assert first == second
        assert first != other


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("variant", ["raw:d", "antisymmetric"])
def test_training_and_predicting_leave_torchs_random_numbers_to_the_caller(
    toy_store: Store, tmp_path: Path, variant: str, preset: str
) -> None:
    settings = hyperparameters(preset, hidden=8, epochs=2, ensemble=2)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    run = train(job(toy_store, name=variant, preset=preset, settings=settings), tmp_path / "run")
    assert torch.equal(torch.random.get_rng_state(), before)
    predictions_of(run, toy_store)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_tracks_and_labels_of_test_genes_do_not_reach_training(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5")
    first = train(job(store), tmp_path / "first")
    parts = store.split("chromosome")
    test = parts == 2
    with store.edit() as editor:
        for cell in store.cells():
            for mark in store.marks(cell):
                values = store.signal(cell, [mark])[:, 0]
                values[test] = 1000
                editor.add_signal(cell, mark, values, replace=True)
            expression = store.expression(cell, "counts")
            expression[test] = 7
            editor.add_expression(cell, "counts", expression, replace=True)
    second = train(job(store), tmp_path / "second")
    model = [(run.path / "model.safetensors").read_bytes() for run in (first, second)]
    assert model[0] == model[1]
    assert first.config.transform == second.config.transform


def test_scaling_is_fitted_on_training_genes(toy_store: Store) -> None:
    data = Pair.of(toy_store, ("A1", "B2")).load()
    rows = data.rows("train")
    transform = Transform.fit("log1p", True, rows, data.signal_a, data.signal_b)
    joined = np.log1p(np.concatenate([data.signal_a[rows], data.signal_b[rows]]).astype(np.float64))
    np.testing.assert_allclose(transform.mean, joined.mean(axis=(0, 2)), rtol=1e-5)
    np.testing.assert_allclose(transform.scale, joined.std(axis=(0, 2)), rtol=1e-5)


def test_log2fc_is_b_over_a(toy_store: Store) -> None:
    data = Pair.of(toy_store, ("A1", "B2")).load()
    a, b = (toy_store.expression(cell, "counts") for cell in ("A1", "B2"))
    np.testing.assert_allclose(data.log2fc, np.log2((b + 1) / (a + 1)))
    swapped = Pair.of(toy_store, ("B2", "A1")).load()
    np.testing.assert_allclose(swapped.log2fc, -data.log2fc)


def test_a_run_predicts_another_pair_and_needs_its_marks(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5", cells=("A", "B", "C"))
    with store.edit() as editor:
        editor.add_signal("D", "H3K4me3", store.signal("A", ["H3K4me3"])[:, 0])
    run = train(job(store, pair="A,B"), tmp_path / "run")
    _, columns = predictions_of(run, store)
    other, others = predictions_of(run, store, pair="A,C")
    assert other.cells == ("A", "C")
    assert not np.array_equal(columns["log2fc_pred"], others["log2fc_pred"])
    with pytest.raises(StoreError, match="D lacks H3K27me3"):
        predictions_of(run, store, pair="A,D")


def test_intervals_of_other_cells_are_their_own_or_missing_with_the_reason(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5", n_genes=400, cells=("A", "B", "C"))
    with store.edit() as editor:
        for mark in store.marks("A"):
            editor.add_signal("D", mark, store.signal("A", [mark])[:, 0])
    run = train(job(store, pair="A,B"), tmp_path / "run")
    for cells, said in ((("A", "B"), ""), (("B", "A"), ""), (("A", "C"), "validation genes of these cells")):
        opened, note = open_model(run, store, cells).calibrated(run)
        assert said in note
        assert bool(said) == bool(note)
        rows = opened.pair.rows("test")
        genes, truth = opened.predict(rows), opened.pair.labels.log2fc[rows]
        assert np.mean((genes.low <= truth) & (truth <= genes.high)) > 0.75
    opened, note = open_model(run, store, ("A", "D")).calibrated(run)
    assert "own cells only" in note
    assert np.isnan(opened.predict(np.arange(5)).low).all()


def test_a_store_with_other_windows_is_refused(toy_store: Store, tmp_path: Path) -> None:
    from diffchrom.genome.genes import Window

    run = train(job(toy_store), tmp_path / "run")
    other = make_store(tmp_path / "b.h5", window=Window(2000, 100))
    with pytest.raises(RunError, match=r"\+/-1000 bp"):
        predictions_of(run, other)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pair": "A1,X"}, StoreError, "no cell named X"),
        ({"pair": "A1"}, UsageError, "two cells"),
        ({"pair": "A1,A1"}, UsageError, "the same"),
        ({"split": "nonsense"}, StoreError, "no split named nonsense"),
        ({"unit": "tpm"}, StoreError, "no common expression in tpm"),
        ({"marks": ("H3K4me3", "H2A")}, StoreError, "lacks H2A"),
        ({"name": "raw:x"}, UsageError, "unknown"),
    ],
)
def test_what_the_store_has_not_is_named(
    toy_store: Store, tmp_path: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(job(toy_store, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_diverging_training_says_so_and_leaves_nothing(toy_store: Store, tmp_path: Path) -> None:
    settings = replace(SMALL, lr=1e30, epochs=5, clip_norm=1e30)
    with pytest.raises(RunError, match="diverged.*lower `lr`"):
        train(job(toy_store, settings=settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


TRAIN = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from test_training import SMALL, job, replace
from conftest import train
from diffchrom.store.store import Store
settings = replace(SMALL, epochs=60, patience=60)
train(job(Store(sys.argv[1]), settings=settings, name="aux"), sys.argv[2], resume=True)
"""


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(toy_store: Store, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    checkpoint = broken / "resume.safetensors"

    def written() -> int:
        return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0

    def train_to(out: Path) -> list[object]:
        return [sys.executable, "-c", TRAIN, toy_store.path, out]

    def kill_after_an_epoch() -> None:
        before = written()
        with running(train_to(broken)) as process:
            wait_for(lambda: written() != before, every=0.001)
            assert process.poll() is None  # it was not done

    kill_after_an_epoch()
    kill_after_an_epoch()
    for out in (broken, whole):
        with running(train_to(out)) as process:
            assert process.wait(120) == 0
    for file in ("model.safetensors", "predictions.tsv", "history.tsv"):
        assert (broken / file).read_bytes() == (whole / file).read_bytes()
    assert not checkpoint.exists()


def test_a_store_larger_than_memory_trains_to_the_same_bytes(toy_store: Store, tmp_path: Path) -> None:
    in_memory = train(job(toy_store, name="raw"), tmp_path / "a")
    on_disk = train(job(toy_store, name="raw"), tmp_path / "b", memory=1)
    for file in ("model.safetensors", "predictions.tsv"):
        assert (in_memory.path / file).read_bytes() == (on_disk.path / file).read_bytes()


def test_resume_refuses_other_settings_and_returns_a_finished_run(toy_store: Store, tmp_path: Path) -> None:
    first = train(job(toy_store), tmp_path / "run")
    before = (first.path / "config.json").stat().st_mtime_ns
    again = train(job(toy_store), tmp_path / "run", resume=True)
    assert again.config == first.config or again.config.metrics == first.config.metrics
    assert (first.path / "config.json").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="other seed"):
        train(job(toy_store, seed=5), tmp_path / "run", resume=True)


@pytest.mark.parametrize("force", [False, True])
def test_only_a_run_is_ever_replaced(toy_store: Store, tmp_path: Path, force: bool) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    for out, said in ((mine, "something else than a run"), (mine / "notes.txt", "is a file, no folder")):
        with pytest.raises(OutputError, match=said) as raised:
            train(job(toy_store), out, force=force)
        assert "`force`" not in str(raised.value)  # it would not help
    assert (mine / "notes.txt").read_text() == "mine"


def test_a_link_to_a_run_is_not_followed_to_replace_it(toy_store: Store, tmp_path: Path) -> None:
    run = train(job(toy_store), tmp_path / "run")
    (tmp_path / "link").symlink_to(run.path)
    with pytest.raises(OutputError, match=r"link: cannot be made"):
        train(job(toy_store), tmp_path / "link", force=True)
    assert Run.open(run.path).config.to_json() == run.config.to_json()


def test_broken_runs_are_refused(toy_store: Store, tmp_path: Path) -> None:
    run = train(job(toy_store), tmp_path / "run")
    config = run.path / "config.json"
    whole = json.loads(config.read_text())

    def refused(text: str, message: str) -> None:
        config.write_text(text)
        with pytest.raises(RunError, match=message):
            load_model(Run.open(run.path))

    refused("{", "not a diffchrom run's configuration")
    refused("[]", "not a diffchrom run's configuration")
    refused(json.dumps(whole | {"format_version": 2}), "upgrade diffchrom")
    refused(json.dumps(whole | {"status": "training"}), "`resume`")
    refused(json.dumps(whole | {"variant": "raw"}), "does not fit")
    refused(json.dumps(whole | {"hyperparameters": {"hidden": "many"}}), "describes no model")
    config.write_text(json.dumps(whole))
    weights = run.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(RunError, match="damaged"):
        load_model(Run.open(run.path))
    with pytest.raises(RunError, match="no such run"):
        Run.open(tmp_path / "nothing")

"""Every baseline keeps the same promises; ridge equals scikit-learn's; nothing leaks from held-out genes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.linear_model import RidgeCV
from typer.testing import CliRunner

from baseline_data import BLIND, MARKS, N_GENES, examples, make_store, small
from conftest import fitting
from diffchrom.baselines.features import Scaler, both_and_difference, log2_merged
from diffchrom.baselines.fitting import fit_and_predict
from diffchrom.baselines.linear import PairFeatures, fit_ridge
from diffchrom.baselines.memory import mean
from diffchrom.baselines.method import Context, Method
from diffchrom.baselines.methods import METHODS, parse_methods
from diffchrom.baselines.opened import open_baseline
from diffchrom.cli import app
from diffchrom.errors import DiffchromError, OutputError, RunError, StoreError, UsageError
from diffchrom.pairs.pair import Pair
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("baselines") / "store.h5")


@pytest.fixture(scope="module")
def data(store):
    return Pair.of(store, ("A", "B")).load()


@pytest.mark.parametrize("name", METHODS)
def test_a_baseline_predicts_every_gene_and_learns_what_the_signal_says(name, data):
    prediction, predictor = fit_and_predict(small(name), examples(data), data, Context())
    assert prediction.log2fc.shape == (N_GENES,)
    assert np.isfinite(prediction.log2fc).all()
    json.dumps(dict(predictor.chosen), allow_nan=False)
    if name not in BLIND:
        test = data.rows("test")
        assert np.corrcoef(prediction.log2fc[test], data.log2fc[test])[0, 1] > 0.5


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_same_prediction_whatever_the_threads(name, data):
    first, _ = fit_and_predict(small(name), examples(data), data, Context(seed=3, threads=1))
    second, _ = fit_and_predict(small(name), examples(data), data, Context(seed=3, threads=2))
    np.testing.assert_array_equal(first.log2fc, second.log2fc)


@pytest.mark.parametrize("name", METHODS)
def test_labels_of_held_out_genes_do_not_reach_the_fit(name, data):
    method = small(name)
    before, chosen_before = fit_and_predict(method, examples(data), data, Context())
    hidden = ["test"] if method.selection == "validation" else ["test", "valid"]
    rows = np.concatenate([data.rows(part) for part in hidden])
    shuffled = {name: getattr(data, name).copy() for name in ("log2fc", "expr_a", "expr_b")}
    for values in shuffled.values():
        values[rows] = np.random.default_rng(1).permutation(values[rows]) + 5
    data = replace(data, **shuffled)
    after, chosen_after = fit_and_predict(method, examples(data), data, Context())
    np.testing.assert_array_equal(before.log2fc, after.log2fc)
    assert chosen_before.chosen == chosen_after.chosen


@pytest.mark.parametrize("name", METHODS)
def test_signal_of_test_genes_does_not_change_the_other_predictions(name, data):
    method = small(name)
    before, _ = fit_and_predict(method, examples(data), data, Context())
    signal = data.signal_a.copy()
    signal[data.rows("test")] *= 100
    after, _ = fit_and_predict(method, examples(data, signal_a=signal), data, Context())
    kept = data.rows("train")
    np.testing.assert_allclose(before.log2fc[kept], after.log2fc[kept], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_constant_features_and_a_mark_that_is_all_zero_do_no_harm(name, data):
    a, b = data.signal_a.copy(), data.signal_b.copy()
    a[:, 2] = b[:, 2] = 0
    a[:, 1, 3:5] = 7
    data = replace(data, signal_a=a, signal_b=b)
    prediction, _ = fit_and_predict(small(name), examples(data), data, Context())
    assert np.isfinite(prediction.log2fc).all()


@pytest.mark.parametrize("name", METHODS)
def test_too_few_genes_are_refused_with_a_remedy_or_served(name, data):
    few = replace(data, parts=np.full(N_GENES, 2, dtype=np.int8))
    few.parts[:2] = 0
    few.parts[2:6] = 1
    try:
        prediction, _ = fit_and_predict(small(name), examples(few), few, Context())
    except StoreError as error:
        assert "genes with known expression" in str(error)  # noqa: PT017
    else:
        assert np.isfinite(prediction.log2fc).all()


def test_without_training_genes_every_method_says_so(data):
    empty = replace(data, parts=np.full(N_GENES, 2, dtype=np.int8))
    with pytest.raises(StoreError, match="no train genes"):
        fit_and_predict(small("mean"), examples(empty), empty, Context())


def test_ridge_on_two_blocks_is_ridge_on_three(data):
    genes = examples(data)
    train, test = (genes.take(data.rows(part)) for part in ("train", "test"))
    x = both_and_difference(train, 2)
    scaler = Scaler.fit(x)
    expected = SklearnRidge(alpha=30.0).fit(scaler.apply(x), train.log2fc)
    features = PairFeatures.fit(train, 2)
    ours = fit_ridge(features.apply(train), train.log2fc, (30.0,))
    np.testing.assert_allclose(
        features.apply(test) @ ours.coefficients + ours.intercept,
        expected.predict(scaler.apply(both_and_difference(test, 2))),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("shape", [(60, 7), (12, 40), (20, 20)])
def test_leave_one_out_ridge_equals_sklearns(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) + 3
    y = x[:, :3].sum(axis=1) + rng.normal(size=shape[0])
    alphas = (0.1, 1.0, 10.0, 100.0)
    ours = fit_ridge(x, y, alphas)
    expected = RidgeCV(alphas).fit(x, y)
    assert ours.alpha == expected.alpha_
    np.testing.assert_allclose(ours.coefficients, expected.coef_, rtol=1e-6, atol=1e-9)
    assert ours.intercept == pytest.approx(expected.intercept_)
    assert ours.error == pytest.approx(-expected.best_score_)


def test_merging_averages_neighbouring_bins_mark_by_mark():
    signal = np.array([[[1, 3, 5, 7, 9], [0, 0, 0, 2, -3]]], dtype=np.float32)
    np.testing.assert_allclose(
        log2_merged(signal, 2), [[np.log2(3), np.log2(7), np.log2(10), 0, 1, -2]], rtol=1e-6
    )
    assert log2_merged(signal, 5).shape == (1, 2)


def test_cell_mean_is_the_genes_mean_change_in_other_pairs(store, tmp_path):
    run = fitting(store.path, "cell-mean", "A,B").make(tmp_path / "run")
    assert run.config.metrics["test"]["n"] == N_GENES // 3
    predicted = read_columns(tmp_path / "run" / "predictions.tsv")["log2fc_pred"]
    expected = np.log2(store.expression("C", "tpm") + 1) - np.log2(store.expression("A", "tpm") + 1)
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)


def read_columns(path):
    """The numbers of a predictions table, by column."""
    header, *rows = (line.split("\t") for line in path.read_text().splitlines())
    return {
        name: np.array([float(row[number]) for row in rows])
        for number, name in enumerate(header)
        if name.startswith("log2fc")
    }


def test_cell_mean_shuffled_keeps_of_a_gene_only_what_it_is_in_a(store, tmp_path):
    case = fitting(store.path, "cell-mean-shuffled", "A,B")
    run = case.make(tmp_path / "run")
    columns = read_columns(tmp_path / "run" / "predictions.tsv")
    in_a, in_c = (np.log2(store.expression(cell, "tpm") + 1) for cell in "AC")
    elsewhere = columns["log2fc_pred"] + in_a
    np.testing.assert_allclose(np.sort(elsewhere), np.sort(in_c), atol=1e-4)  # C's genes, each once
    assert abs(np.corrcoef(elsewhere, in_c)[0, 1]) < 0.2
    # A alone is worth this much, as it is in the label and in the prediction
    assert run.config.metrics["test"]["pearson"] > 0.3
    other = case.but(seed=1).make(tmp_path / "other")
    assert other.config.metrics["test"]["pearson"] != run.config.metrics["test"]["pearson"]
    (piece,) = open_baseline(other, store).predict_batches(np.arange(N_GENES))
    shuffled = read_columns(tmp_path / "other" / "predictions.tsv")["log2fc_pred"]
    np.testing.assert_allclose(piece.columns()["log2fc_pred"], shuffled, rtol=1e-5)


@pytest.mark.parametrize("uses_tes", [False, True])
@pytest.mark.parametrize("needs_other_cells", [False, True])
def test_a_method_is_handed_what_it_asks_for_and_no_more(tmp_path, monkeypatch, uses_tes, needs_other_cells):
    store = make_store(tmp_path / "s.h5", n_genes=30)
    with store.edit() as editor:
        for cell in ("A", "B"):
            for mark in MARKS:
                editor.add_signal(cell, mark, store.signal(cell, [mark])[:, 0], {}, region="tes_bins")
    handed = []

    def fit(train, valid, grid, context):
        handed.append((train.tes_a is not None, train.change_elsewhere is not None))
        return mean(train, valid, grid, context)

    asking = Method("asking", "", "", fit, uses_tes=uses_tes, needs_other_cells=needs_other_cells)
    monkeypatch.setitem(METHODS, "asking", asking)
    fitting(store.path, "asking", "A,B").make(tmp_path / "run")
    assert handed == [(uses_tes, needs_other_cells)]


def test_cell_mean_without_a_third_cell_says_what_to_add(tmp_path):
    store = make_store(tmp_path / "two.h5", cells=("A", "B"))
    with pytest.raises(StoreError, match=r"third cell.*diffchrom prepare"):
        fitting(store.path, "cell-mean").make(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_folder_is_like_that_of_train(store, tmp_path):
    run = fitting(store.path, "ridge", "A,B", seed=7).make(tmp_path / "run")
    config = Run.open(tmp_path / "run").config
    assert config == run.config or config.to_json() == run.config.to_json()
    assert (config.kind, config.variant, config.pair, config.seed) == ("baseline", "ridge", ("A", "B"), 7)
    assert config.details["chosen"]["alpha"] in config.hyperparameters["grid"]["alpha"]
    low, high = config.details["test_intervals"]["pearson"]
    assert low <= config.metrics["test"]["pearson"] <= high
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.json",
        "fitted.safetensors",
        "predictions.tsv",
    ]
    header, *rows = (tmp_path / "run" / "predictions.tsv").read_text().splitlines()
    assert header.split("\t")[6:] == ["split", "log2fc_pred", "log2fc"]
    assert len(rows) == N_GENES


def test_a_taken_folder_is_kept_unless_forced_and_resume_returns_the_finished_run(store, tmp_path):
    job = fitting(store.path, "ridge", "A,B")
    first = job.make(tmp_path / "run")
    with pytest.raises(OutputError, match="exists already"):
        job.make(tmp_path / "run")
    assert job.make(tmp_path / "run", resume=True).config.metrics == first.config.metrics
    with pytest.raises(RunError, match="made with other seed"):
        job.but(seed=1).make(tmp_path / "run", resume=True)
    job.but(seed=1).make(tmp_path / "run", force=True)


def test_names_of_methods_are_checked():
    assert [method.name for method in parse_methods("ridge, mean,ridge")] == ["ridge", "mean"]
    assert len(parse_methods("all")) == len(METHODS)
    with pytest.raises(UsageError, match="ridgee`: unknown"):
        parse_methods("ridgee")


def test_the_command_prints_one_line_a_method(store, tmp_path):
    out = tmp_path / "runs"
    result = CliRunner().invoke(
        app,
        [
            "baseline",
            "--store",
            str(store.path),
            "--pair",
            "A,B",
            "--method",
            "mean,ridge",
            "--out",
            str(out),
        ],
    )
    assert result.exit_code == 0, result.stderr
    header, mean, ridge = result.stdout.splitlines()
    assert header.split("\t") == ["run", "variant", "pair", "split", "n", "pearson", "spearman", "mse"]
    assert mean.split("\t")[:6] == [str(out / "mean"), "mean", "A,B", "test", "50", "NA"]
    assert float(ridge.split("\t")[5]) > 0.5


def test_a_mark_the_store_lacks_is_named(store, tmp_path):
    with pytest.raises(DiffchromError, match="lacks H3K36me3"):
        fitting(store.path, "ridge", "A,B", marks=("H3K36me3",)).make(tmp_path / "run")


@pytest.mark.parametrize("network", ["DeepChrome", "AttentiveChrome"])
def test_a_network_takes_the_steps_of_torchs_adam_with_clipped_gradients(network):
    import torch

    from diffchrom.baselines import networks
    from diffchrom.deepdiff.optimiser import Adam

    settings = networks.NetworkSettings(epochs=1, batch_size=8, lr=0.002, patience=1, clip_norm=0.2)
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(size=(60, 3, 20)).astype(np.float32))
    labels = 2 * x[:, 0].mean(dim=1)
    modules = []
    for _ in range(2):
        torch.manual_seed(0)
        modules.append(getattr(networks, network)(3, 20, 0, settings))
    ours, theirs = modules
    mse = torch.nn.functional.mse_loss
    torch.manual_seed(5)
    networks._epoch(ours, Adam(ours.parameters(), settings.lr), x, labels, mse, settings)
    reference = torch.optim.Adam(theirs.parameters(), lr=settings.lr)
    torch.manual_seed(5)
    for index in torch.split(torch.randperm(60), 8):
        reference.zero_grad()
        mse(theirs.train()(x[index]), labels[index]).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.2)
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["attentivechrome", "deepchrome"])
def test_a_network_leaves_torchs_random_numbers_to_the_caller(name, data):
    import torch

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    fit_and_predict(small(name), examples(data), data, Context(seed=3))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_is_fitted_without_loading_the_compiler_of_torch(store, tmp_path):
    said = ["baseline", "--method", "deepchrome", "--store", str(store.path), "--pair", "A,B", "-q"]
    script = f"""
import sys
from diffchrom.cli import main
try:
    main({[*said, "--threads", "1", "--out", str(tmp_path / "run")]!r})
except SystemExit as ended:
    print(ended.code or 0, "torch" in sys.modules, "torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "0 True False", done.stderr


@pytest.mark.parametrize(
    "name",
    # attentivechrome-classes sees no more of labels than which are high
    [name for name, method in METHODS.items() if method.selection == "validation" and "classes" not in name],
)
def test_methods_choose_by_the_r_of_validation_genes_as_the_default_does(name, data):
    genes = examples(data)
    train, valid = (genes.take(data.rows(part)) for part in ("train", "valid"))
    method = small(name)
    fitted = method.fit(train, valid, method.grid(), Context())
    # r knows no units, an error does: labels of another scale must not change what is chosen.
    rescaled = replace(valid, log2fc=valid.log2fc * 100 + 7, expr_a=valid.expr_a * 3, expr_b=valid.expr_b * 3)
    again = method.fit(train, rescaled, method.grid(), Context())
    in_units = {"slope", "intercept", *(key for key in fitted.chosen if "valid_r" in key)}
    assert {
        key: fitted.chosen[key] for key in fitted.chosen.keys() - in_units
    }.items() <= again.chosen.items()
    assert any("valid_r" in key for key in fitted.chosen)


@pytest.mark.parametrize(
    ("name", "little"),
    [
        ("gradient-boosting", {"max_iter": (2,)}),
        ("deepchrome", {"epochs": (1,)}),
        ("deepchrome-cells", {"epochs": (1,)}),
        ("attentivechrome", {"epochs": (1,)}),
    ],
)
def test_what_is_chosen_by_r_predicts_changes_of_their_size_however_little_it_learnt(data, name, little):
    genes = examples(data)
    train, valid = (genes.take(data.rows(part)) for part in ("train", "valid"))
    grid = small(name).grid() | little
    predicted = small(name).fit(train, valid, grid, Context()).predict(valid).log2fc
    slope, intercept = np.polyfit(predicted, valid.log2fc, 1)
    assert slope == pytest.approx(1, rel=1e-5)
    assert intercept == pytest.approx(0, abs=1e-5)

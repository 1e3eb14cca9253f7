"""The antisymmetric variant, ensembles and schedules."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import called, predictions_of, train, training
from diffchrom.config import PRESETS, hyperparameters
from diffchrom.deepdiff.antisymmetric import Antisymmetric
from diffchrom.deepdiff.building import build_model
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.fitting import learning_rate
from diffchrom.deepdiff.loading import load_model
from diffchrom.deepdiff.segments import Scaling, Segments, mean_of_segments
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store
from diffchrom.variants import VARIANTS

QUICK = hyperparameters("default", hidden=4, epochs=2, ensemble=2)


def model_of(n_marks: int = 2, hidden: int = 4) -> Antisymmetric:
    torch.manual_seed(0)
    model = build_model(VARIANTS["antisymmetric"], n_marks, hyperparameters("default", hidden=hidden))
    assert isinstance(model, Antisymmetric)
    return model.eval()


@settings(max_examples=25, deadline=None)
@given(
    n_marks=st.integers(1, 4),
    n_bins=st.integers(1, 45),
    seed=st.integers(0, 1000),
    size=st.floats(0.01, 1000),
    shift=st.floats(-2, 2),
)
def test_exchanging_the_cells_negates_the_prediction(
    n_marks: int, n_bins: int, seed: int, size: float, shift: float
) -> None:
    model = model_of(n_marks)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(shift * torch.randn_like(parameter))
    generator = torch.Generator().manual_seed(seed)
    a, b = (size * torch.rand(3, n_marks, n_bins, generator=generator) for _ in range(2))
    with torch.no_grad():
        forward = model(a, b)
        model.set_order(-1.0)
        backward = model(b, a)
        model.set_order(0.0)
        same = model(a, a)
    scale = 1 + forward.log2fc.abs().max()
    torch.testing.assert_close(forward.log2fc, -backward.log2fc, rtol=0, atol=float(1e-5 * scale))
    of_a, of_b = forward.expression["A"], backward.expression["B"]
    torch.testing.assert_close(of_a, of_b, rtol=0, atol=float(1e-5 * (1 + of_a.abs().max())))
    assert same.log2fc.abs().max() < 1e-5 * scale
    assert forward.alpha["main"].shape == (3, n_marks, n_bins)
    assert forward.beta["main"].shape == (3, n_marks)
    for weights in (forward.alpha["main"], forward.beta["main"]):
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


def test_bins_are_merged_before_the_logarithm_and_scaled_with_the_genes_given() -> None:
    model = model_of(n_marks=1)
    signal = torch.tensor([[[1.0, 3, 5, 7, 10, 20]]])
    torch.testing.assert_close(model._merge(signal), torch.tensor([[[4.0, 15]]]))
    scaling = Scaling(1, "log1p")
    scaling.fit(lambda: [model._merge(signal)])
    values = np.log([5.0, 16])
    expected = (values - values.mean()) / values.std()
    np.testing.assert_allclose(scaling(model._merge(signal))[0, 0].numpy(), expected, rtol=1e-5)


@settings(deadline=None)
@given(n=st.integers(1, 60), n_segments=st.integers(1, 12))
def test_means_of_segments_are_those_of_adaptive_pooling(n: int, n_segments: int) -> None:
    values = torch.randn(2, 3, n, generator=torch.Generator().manual_seed(n))
    expected = torch.nn.functional.adaptive_avg_pool1d(values, n_segments)
    torch.testing.assert_close(mean_of_segments(values, n_segments), expected)


@pytest.mark.parametrize("n_steps", [1, 50, 51])
def test_a_pattern_is_a_convolution_over_all_marks(n_steps: int) -> None:
    torch.manual_seed(0)
    segments = Segments(n_marks=3, n_segments=10, channels=4, width=5, dropout=0.5).eval()
    steps, means = torch.randn(2, 3, n_steps), torch.randn(2, 3, 10)
    amounts = torch.nn.functional.adaptive_avg_pool1d(segments.patterns(steps), 10)
    expected = torch.cat((means.flatten(1), amounts.flatten(1)), dim=1)
    torch.testing.assert_close(segments(steps, means), expected)


def test_a_gene_goes_without_a_pattern_in_all_segments() -> None:
    torch.manual_seed(0)
    segments = Segments(n_marks=1, n_segments=4, channels=8, width=3, dropout=0.5).train()
    torch.nn.init.constant_(segments.patterns[2].bias, 10.0)  # every pattern is there, everywhere
    amounts = segments(torch.rand(50, 1, 20), torch.zeros(50, 1, 4))[:, 4:].view(50, 8, 4)
    gone = amounts == 0
    assert torch.equal(gone.any(dim=2), gone.all(dim=2))
    assert 0.35 < gone.float().mean() < 0.65


def test_a_constant_mark_stays_zero() -> None:
    scaling = Scaling(2, "log1p")
    signal = torch.stack([torch.full((5, 8), 3.0), torch.rand(5, 8)], dim=1)
    scaling.fit(lambda: [signal])
    assert scaling(signal)[:, 0].abs().max() < 1e-5
    assert float(scaling(signal)[:, 1].std()) == pytest.approx(1, abs=0.05)


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    members = [
        build_model(VARIANTS["aux+siamese"], 2, hyperparameters("default", hidden=4)).eval() for _ in range(3)
    ]
    a, b = torch.rand(2, 4, 2, 10).unbind()
    together = Ensemble(members)(a, b)
    outputs = [member(a, b) for member in members]
    stacked = torch.stack([output.log2fc for output in outputs])
    torch.testing.assert_close(together.log2fc, stacked.mean(0))
    torch.testing.assert_close(together.log2fc_spread, stacked.std(0))
    for block in ("A", "B"):
        torch.testing.assert_close(
            together.alpha[block], torch.stack([output.alpha[block] for output in outputs]).mean(0)
        )


def test_a_run_of_several_models_predicts_what_it_recorded(toy_store: Store, tmp_path: Path) -> None:
    run = train(training(toy_store.path, settings=QUICK, device="cpu"), tmp_path / "run")
    model = load_model(Run.open(run.path))
    assert isinstance(model, Ensemble)
    assert len(model.members) == 2
    table = pd.read_csv(run.path / "predictions.tsv", sep="\t")
    assert list(table.columns[-3:]) == ["log2fc_spread", "lo90", "hi90"]
    columns = predictions_of(run, toy_store)[1]
    for name in ("log2fc_pred", "log2fc_spread", "lo90", "hi90"):
        np.testing.assert_allclose(table[name], columns[name], rtol=1e-5, atol=1e-5)
    assert (table["log2fc_spread"] > 0).all()
    tested = table[table["split"] == "test"]
    strata = run.config.details["coverage"]
    inside = tested["log2fc"].between(tested["lo90"], tested["hi90"])
    assert strata["all"]["coverage"] == pytest.approx(inside.mean())
    assert strata["expressed_in_both"]["n"] > 0
    larger = tested[["expr_a_pred", "expr_b_pred"]].max(axis=1)
    lowest = larger <= larger.quantile(0.2)
    assert strata["expression_1"]["n"] == lowest.sum()
    assert strata["expression_1"]["coverage"] == pytest.approx(inside[lowest].mean())
    swapped = predictions_of(run, toy_store, pair="B2,A1")[1]["log2fc_pred"]
    np.testing.assert_allclose(swapped, -columns["log2fc_pred"], atol=1e-5)
    history = pd.read_csv(run.path / "history.tsv", sep="\t")
    assert history["member"].tolist() == [1, 1, 2, 2]
    one = train(training(toy_store.path, settings=replace(QUICK, ensemble=1)), tmp_path / "one")
    assert pd.read_csv(one.path / "predictions.tsv", sep="\t")["log2fc_spread"].isna().all()


def test_one_cycle_rises_and_falls_and_the_published_rate_is_constant() -> None:
    default, published = PRESETS["default"], PRESETS["published"]
    assert learning_rate(default, 0.1) == pytest.approx(default.lr)
    assert learning_rate(default, 0.0) < 0.1 * default.lr
    assert learning_rate(default, 0.55) == pytest.approx(default.lr / 2)
    assert learning_rate(default, 1.0) == pytest.approx(0)
    assert {learning_rate(published, done) for done in (0.0, 0.3, 1.0)} == {published.lr}


def test_few_genes_get_small_batches_and_more_epochs() -> None:
    default = PRESETS["default"]
    assert default.batch_of(20_000) == default.batch_size
    assert default.epochs_of(20_000) == default.epochs
    assert default.batch_of(160) == 10
    assert default.epochs_of(160) == 38  # 38 x 16 batches are the first to pass 600 steps
    assert hyperparameters("default", epochs=3).epochs_of(160) == 3
    published = PRESETS["published"]
    assert (published.batch_of(160), published.epochs_of(160)) == (10, published.epochs)


def test_the_default_variant_is_one_row_of_the_table() -> None:
    assert VARIANTS["antisymmetric"].members > 1
    assert all(row.members == 1 for row in VARIANTS.values() if not row.antisymmetric)


@pytest.mark.parametrize("variant", ["antisymmetric", "raw:d", "aux+siamese"])
def test_the_asymmetry_of_a_run_is_that_of_predicting_its_pair_both_ways(
    toy_store: Store, tmp_path: Path, variant: str
) -> None:
    job = training(toy_store.path, variant, settings=replace(QUICK, ensemble=1), device="cpu")
    run = train(job, tmp_path / "run")
    (data, forward), (_, backward) = (
        predictions_of(run, toy_store, pair=pair) for pair in ("A1,B2", "B2,A1")
    )
    test = data.rows("test")
    sums = np.abs(forward["log2fc_pred"].astype(np.float64) + backward["log2fc_pred"])[test]
    if variant == "antisymmetric":
        assert sums.max() < 1e-5
        assert "asymmetry" not in run.config.metrics["test"]
        assert run.config.metrics["test"]["pearson_without_shift"] is not None
    else:
        assert sums.max() > 1e-4
        assert run.config.metrics["test"]["asymmetry"] == pytest.approx(sums.mean() / 2, rel=1e-5)


def test_the_shift_is_left_out_where_the_store_holds_other_signal(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(training(toy_store.path, settings=replace(QUICK, ensemble=2), device="cpu"), tmp_path / "run")
    data, own = predictions_of(run, toy_store)
    copy = Path(shutil.copy(toy_store.path, tmp_path / "moved.h5"))
    np.testing.assert_array_equal(predictions_of(run, Store(copy))[1]["log2fc_pred"], own["log2fc_pred"])
    assert called(["predict", str(run.path), "--store", str(copy), "-o", str(tmp_path / "own.tsv")]) == 0
    assert "without the shift" not in capsys.readouterr().err
    other = Store(copy)
    with other.edit() as editor:  # new labels, and tracks that the model does not read
        editor.add_expression("A1", "counts", other.expression("A1", "counts") + 1, replace=True)
        editor.add_signal("A1", "ATAC", other.signal("A1", data.marks[:1])[:, 0])
    np.testing.assert_array_equal(predictions_of(run, Store(copy))[1]["log2fc_pred"], own["log2fc_pred"])
    signal = other.signal("A1", data.marks[:1])[:, 0]
    signal[data.rows("train")] += 1
    with other.edit() as editor:  # the same names, another experiment
        editor.add_signal("A1", data.marks[0], signal, replace=True)
    (_, forward), (_, backward) = (predictions_of(run, Store(copy), pair=pair) for pair in ("A1,B2", "B2,A1"))
    test = data.rows("test")
    r = np.corrcoef(data.labels.log2fc[test], forward["log2fc_pred"][test])[0, 1]
    assert run.config.metrics["test"]["pearson_without_shift"] == pytest.approx(r, abs=1e-6)
    assert np.abs(forward["log2fc_pred"] - own["log2fc_pred"]).max() > 1e-5
    np.testing.assert_allclose(forward["log2fc_pred"], -backward["log2fc_pred"], atol=1e-5)
    assert called(["predict", str(run.path), "--store", str(copy), "-o", str(tmp_path / "x.tsv")]) == 0
    assert "predicted without the shift" in capsys.readouterr().err

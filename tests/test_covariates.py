"""Numbers of genes beside the signal: what they are, how they are scaled, and who is handed them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import called, fitting, genes_of, make_genes, make_store, training
from diffchrom.attention.deletion import DELETION, curves_of
from diffchrom.attention.perturbation import parse_perturbations, perturb, perturbed
from diffchrom.config import hyperparameters
from diffchrom.deepdiff.additive import Additive, CovariateScaling
from diffchrom.deepdiff.attribution import attribute_signal
from diffchrom.deepdiff.building import build_model
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.opened import OpenedModel, open_model
from diffchrom.genome.genes import UNKNOWN_CHROM
from diffchrom.pairs import covariates
from diffchrom.pairs.covariates import covariates_of
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.transform import Transform
from diffchrom.progress import SILENT
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store
from diffchrom.variants import VARIANTS

QUICK = hyperparameters("default", "additive", hidden=8, epochs=2, ensemble=2, lr=0.01)
LENGTH = ("log_length",)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("covariates") / "store.h5")


@pytest.fixture(scope="module")
def opened(store: Store) -> OpenedModel:
    """An ensemble with random weights that reads gene length."""
    pair = replace(Pair.of(store), covariate_names=LENGTH)
    members = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = build_model(VARIANTS["additive"], len(pair.marks), QUICK, pair.layout, 1)
        for parameter in model.parameters():
            torch.nn.init.uniform_(parameter, -0.3, 0.3)
        model.fit_covariates(torch.from_numpy(pair.covariates))
        members.append(model)
    transform = Transform("raw", (0.0,) * len(pair.marks), (1.0,) * len(pair.marks))
    return OpenedModel(Ensemble(members).eval(), pair, transform, QUICK)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_the_length_of_a_gene_counts_both_ends_on_either_strand(strand: str) -> None:
    genes = make_genes(4)
    first, last = (genes.start, genes.end - 1) if strand == "+" else (genes.end - 1, genes.start)
    genes = replace(genes, tss=first, tes=last)
    np.testing.assert_allclose(covariates_of(genes, LENGTH)[:, 0], np.log(genes.end - genes.start), rtol=1e-6)


def test_genes_of_a_few_regions_tell_no_density() -> None:
    assert np.isnan(covariates_of(make_genes(400), ("log_gene_density", "log_end_distance"))).all()
    assert np.isfinite(covariates_of(make_genes(5000), ("log_gene_density", "log_end_distance"))).all()


def test_density_counts_genes_within_a_megabase_and_the_end_is_the_nearer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(covariates, "GENES_OF_A_GENOME", 1)
    tss = [99, 1_000_099, 1_000_100, 3_000_099, 49]
    genes = genes_of(["chr1", "chr1", "chr1", "chr1", "chr2"], tss, 40, [False, True, False, True, False])
    values = np.exp(covariates_of(genes, ("log_gene_density", "log_end_distance")).astype(np.float64))
    # The first gene lies exactly 1 Mb before the second and a base more before the third.
    np.testing.assert_allclose(values[:, 0], [2, 3, 2, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(values[:, 1] - 1, [99, 1_000_099, 1_000_100, 0, 0], rtol=1e-6, atol=1e-6)


def test_density_is_of_positions_alone_whatever_the_order_and_strand_of_genes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(covariates, "GENES_OF_A_GENOME", 1)
    genes = make_genes(40)
    order = np.random.default_rng(0).permutation(40)
    names = ("log_gene_density", "log_end_distance")
    flipped = replace(genes, strand=np.where(genes.minus, "+", "-").astype(object))
    np.testing.assert_array_equal(covariates_of(flipped, names), covariates_of(genes, names))
    np.testing.assert_array_equal(covariates_of(genes.take(order), names), covariates_of(genes, names)[order])


@pytest.mark.parametrize("method", ["ridge", "random-forest", "gradient-boosting"])
def test_baselines_that_read_the_whole_gene_read_what_the_default_reads(
    store: Store, tmp_path: Path, method: str
) -> None:
    run = fitting(store.path, method, threads=1).make(tmp_path / "run")
    assert run.config.covariates == ("log_length", "log_gene_density", "log_end_distance")


def test_a_gene_without_coordinates_has_the_covariate_of_the_mean_gene() -> None:
    genes = make_genes(5)
    chrom = genes.chrom.copy()
    chrom[2] = UNKNOWN_CHROM
    values = covariates_of(replace(genes, chrom=chrom, tes=genes.tes + 100 * np.arange(5)), LENGTH)
    assert np.flatnonzero(np.isnan(values[:, 0])).tolist() == [2]
    scaling = CovariateScaling(1)
    scaling.fit(torch.from_numpy(values))
    scaled = scaling(torch.from_numpy(values))[:, 0]
    assert scaled[2] == 0
    assert float(scaled.double().sum()) == pytest.approx(0, abs=1e-4)


@given(st.lists(st.floats(-1e4, 1e4, width=32) | st.just(float("nan")), min_size=1, max_size=30))
@settings(deadline=None)
def test_scaled_covariates_are_finite_whatever_is_known(values: list[float]) -> None:
    column = torch.tensor(values)[:, None]
    scaling = CovariateScaling(1)
    scaling.fit(column)
    scaled = scaling(column)
    assert torch.isfinite(scaled).all()
    assert (scaled[torch.isnan(column)] == 0).all()


def test_a_covariate_moves_the_prediction_and_keeps_it_odd(opened: OpenedModel) -> None:
    rows = np.arange(9)
    a, b = opened.pair.signal(rows)
    x, y, length = opened.inputs(rows, a, b)
    with torch.no_grad():
        before, after = opened.model(x, y, length), opened.model(x, y, length + 1)
        opened.model.set_order(-1.0)
        backward = opened.model(y, x, length)
        opened.model.set_order(1.0)
    assert (before.log2fc - after.log2fc).abs().min() > 0
    torch.testing.assert_close(backward.log2fc, -before.log2fc, atol=1e-4, rtol=1e-4)


def test_each_gene_keeps_its_own_covariates_in_every_use_of_a_model(opened: OpenedModel) -> None:
    rows = np.array([17, 3, 40, 8])
    a, b = opened.pair.signal(rows)
    expected = opened.predict_signal(rows, a, b).log2fc
    whole = opened.predict(np.arange(60)).log2fc[rows]
    np.testing.assert_allclose(whole, expected, atol=1e-5)
    np.testing.assert_allclose(opened.attention_of(rows).log2fc_pred, expected, atol=1e-5)
    np.testing.assert_allclose(opened.predict_members(rows, a, b)[0], expected, atol=1e-5)
    (mean,) = parse_perturbations(opened, ["H3K4me3=mean"])
    (table,) = perturb(opened, rows, [mean])
    np.testing.assert_allclose(table["log2fc_pred"], expected, atol=1e-5)
    moved = opened.predict_signal(rows, *perturbed(opened, mean, rows, a, b)).log2fc
    np.testing.assert_allclose(table["log2fc_pred_perturbed"], moved, atol=1e-5)
    average = np.broadcast_to(opened.average_signal, a.shape)
    from_average = opened.predict_signal(rows, average, average).log2fc
    with SILENT.task("x") as task:
        whole_mask = curves_of(opened, rows, a, b, {"all": [np.ones(a.shape)]}, 0, task)
    assert np.isfinite(whole_mask[DELETION].changes["all"]).all()
    sums = attribute_signal(opened, rows, a, b).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums, expected - from_average, atol=0.02 * np.ptp(expected) + 1e-2)


def test_a_run_names_its_covariates_and_keeps_their_scaling(store: Store, tmp_path: Path) -> None:
    run = training(store.path, "additive", settings=QUICK, device="cpu").make(tmp_path / "run")
    assert Run.open(run.path).config.covariates == ("log_length", "log_gene_density", "log_end_distance")
    opened = open_model(run, store, device="cpu")
    for member in opened.model.members:
        assert isinstance(member, Additive)
        values = opened.pair.covariates[opened.pair.rows("train")].astype(np.float64)
        np.testing.assert_allclose(member.of_gene.mean, np.nan_to_num(values.mean(axis=0)), rtol=1e-6)
    written = [line.split("\t") for line in (run.path / "predictions.tsv").read_text().splitlines()]
    column = written[0].index("log2fc_pred")
    rows = np.arange(12)
    np.testing.assert_allclose(
        opened.predict(rows).log2fc, [float(line[column]) for line in written[1:13]], atol=2e-5
    )


def test_what_reads_no_covariates_is_handed_none(store: Store, tmp_path: Path) -> None:
    run = training(store.path, "raw:d", preset="published", settings=replace(QUICK, ensemble=1)).make(
        tmp_path / "run"
    )
    assert run.config.covariates == ()
    opened = open_model(run, store, device="cpu")
    assert len(opened.inputs(np.arange(3), *opened.pair.signal(np.arange(3)))) == 2


def test_info_describes_a_run_that_merges_bins_unevenly(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = training(store.path, "additive", settings=QUICK, device="cpu").make(tmp_path / "run")
    assert called(["info", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "covariates: log_length, log_gene_density, log_end_distance" in out
    assert "scaling (windows): log1p of the mean of " in out

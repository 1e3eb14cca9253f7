"""Baselines of the whole gene: which features the windows beyond the TSS become, and what stays as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.testing import CliRunner

from baseline_data import small
from conftest import fitting, make_store
from diffchrom.baselines import methods as table
from diffchrom.baselines.coefficients import coefficients
from diffchrom.baselines.features import both_and_difference, feature_edges, log2_merged
from diffchrom.baselines.fitting import Fitting, examples_of, ridge_beside
from diffchrom.baselines.methods import METHODS, get_method
from diffchrom.baselines.opened import open_baseline
from diffchrom.baselines.saved import load_fitted
from diffchrom.cli import app
from diffchrom.errors import RunError
from diffchrom.genome.regions import REGIONS, TSS
from diffchrom.pairs.pair import Pair
from diffchrom.progress import SILENT
from diffchrom.runs.cross_validation import cross_validate
from diffchrom.runs.folder import CONFIG, FITTED, Run
from diffchrom.store.store import Store

WHOLE_GENE = [name for name, method in METHODS.items() if method.whole_gene]
MARKS = ("H3K4me3", "H3K27me3")
PAIR = ("A1", "B2")
N_GENES = 150


@pytest.fixture(autouse=True)
def _small_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WHOLE_GENE:
        monkeypatch.setitem(table.METHODS, name, small(name))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """20 bins around the TSS and the windows of every region."""
    return make_store(
        tmp_path_factory.mktemp("whole_gene") / "store.h5", n_genes=N_GENES, regions=tuple(REGIONS)
    )


@pytest.fixture(scope="module")
def tss_alone(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same store without regions."""
    return make_store(tmp_path_factory.mktemp("tss") / "store.h5", n_genes=N_GENES)


def written(run: Run) -> pd.Series:
    """Predictions as the fit wrote them."""
    return pd.read_csv(run.path / "predictions.tsv", sep="\t")["log2fc_pred"]


def test_the_methods_of_the_whole_gene_are_those_that_are_not_the_papers():
    assert WHOLE_GENE == ["ridge", "random-forest", "gradient-boosting", "deepchrome"]


def test_bins_are_merged_and_further_windows_are_not():
    # Five bins by two: (1 3) (5 7) (9); then two windows beyond the TSS.
    signal = np.array([[[1, 3, 5, 7, 9, 3, 15], [0, 0, 0, 2, -3, 1, -7]]], dtype=np.float32)
    features = log2_merged(signal, 2, 5)
    expected = [np.log2(3), np.log2(7), np.log2(10), 2, 4, 0, 1, -2, 1, -3]
    np.testing.assert_allclose(features, [expected], rtol=1e-6)
    np.testing.assert_array_equal(feature_edges(5, 7, 2), [0, 2, 4, 5, 6, 7])


@settings(max_examples=50, deadline=None)
@given(
    n_bins=st.integers(1, 30),
    merge=st.integers(1, 40),
    beyond=arrays(np.float32, (3, 2, 4), elements=st.floats(0, 1e6, width=32)),
)
def test_no_feature_joins_the_bins_with_a_window_beyond_them(n_bins, merge, beyond):
    around = np.random.default_rng(n_bins).gamma(1.0, 2.0, (3, 2, n_bins)).astype(np.float32)
    both = log2_merged(np.concatenate([around, beyond], axis=2), merge, n_bins).reshape(3, 2, -1)
    np.testing.assert_array_equal(both[..., :-4], log2_merged(around, merge).reshape(3, 2, -1))
    np.testing.assert_array_equal(both[..., -4:].reshape(3, -1), log2_merged(beyond, 1))


@pytest.mark.parametrize("name", WHOLE_GENE)
def test_regions_tss_is_a_store_without_regions(name, store, tss_alone, tmp_path):
    asked = fitting(store.path, name, "A1,B2", regions=(TSS,)).make(tmp_path / "asked")
    alone = fitting(tss_alone.path, name, "A1,B2").make(tmp_path / "alone")
    every = fitting(store.path, name, "A1,B2").make(tmp_path / "every")
    said, kept, whole = ((run.path / "predictions.tsv").read_bytes() for run in (asked, alone, every))
    assert said == kept != whole
    assert (asked.path / FITTED).read_bytes() == (alone.path / FITTED).read_bytes()
    assert list(asked.config.regions) == [TSS]
    assert list(every.config.regions) == [TSS, *REGIONS]


@pytest.mark.parametrize("name", sorted(set(METHODS) - set(WHOLE_GENE) - {"cell-mean", "cell-mean-shuffled"}))
def test_the_papers_baselines_keep_the_bins_around_the_tss(name, store, tmp_path, monkeypatch):
    monkeypatch.setitem(table.METHODS, name, small(name))
    run = fitting(store.path, name, "A1,B2").make(tmp_path / "run")
    assert list(run.config.regions) == [TSS]


@pytest.mark.parametrize("name", WHOLE_GENE)
def test_a_fitted_baseline_of_the_whole_gene_predicts_the_same_when_it_is_opened(name, store, tmp_path):
    run = fitting(store.path, name, "A1,B2").make(tmp_path / "run")
    opened = open_baseline(run, store)
    predicted = opened.predict(np.arange(store.n_genes)).columns()["log2fc_pred"]
    np.testing.assert_allclose(predicted, written(run), rtol=1e-6)
    assert opened.pair.layout.names == (TSS, *REGIONS)


@pytest.mark.parametrize("name", WHOLE_GENE)
def test_a_run_that_names_no_regions_opens_on_a_store_that_has_them(name, store, tmp_path):
    run = fitting(store.path, name, "A1,B2", regions=(TSS,)).make(tmp_path / "run")
    values = json.loads((run.path / CONFIG).read_text())
    del values["regions"]
    (run.path / CONFIG).write_text(json.dumps(values))
    older = Run.open(run.path)
    predicted = open_baseline(older, store).predict(np.arange(store.n_genes)).columns()["log2fc_pred"]
    np.testing.assert_allclose(predicted, written(run), rtol=1e-6)
    assert older.config.layout.names == (TSS,)


@pytest.mark.parametrize("name", WHOLE_GENE)
def test_what_lies_beyond_the_tss_is_learnt_from(name, tmp_path):
    """Signal around the TSS that says nothing, and a body that says everything."""
    store = make_store(tmp_path / "store.h5", n_genes=N_GENES, regions=("body",))
    with store.edit() as editor:
        for number, cell in enumerate(PAIR):
            noise = np.random.default_rng(number).gamma(4.0, 0.25, (N_GENES, 20)).astype(np.float32)
            for mark in MARKS:
                editor.add_signal(cell, mark, noise, {"unit": "coverage"}, replace=True)
    r = {}
    for regions in (("tss",), ("tss", "body")):
        run = fitting(store.path, name, "A1,B2", regions=regions).make(tmp_path / "-".join(regions))
        r[len(regions)] = run.config.metrics["test"]["pearson"]
    assert r[2] > max(r[1], 0.0) + 0.3


def test_weights_name_region_and_window_in_the_order_of_the_features(store, tmp_path):
    run = fitting(store.path, "random-forest", "A1,B2").make(tmp_path / "run")
    pair = replace(Pair.of(store, PAIR), covariate_names=run.config.covariates)
    genes = examples_of(pair, pair.load(), get_method("random-forest"), 0, SILENT)
    forest = load_fitted(run.path / FITTED)
    columns = coefficients(forest, MARKS, run.config.layout, run.config.covariates)
    features = both_and_difference(genes, forest.merge)
    assert len(columns["mark"]) == features.shape[1]
    for row in np.flatnonzero(columns["cell"] != "gene"):
        span = pair.layout.spans[columns["region"][row]]
        windows = slice(
            span.start + columns["first_window"][row] - 1, span.start + columns["last_window"][row]
        )
        a, b = (
            np.log2(signal[:, MARKS.index(columns["mark"][row]), windows].mean(axis=1) + 1)
            for signal in (genes.signal_a, genes.signal_b)
        )
        expected = {"A": a, "B": b, "B-A": b - a}[columns["cell"][row]]
        np.testing.assert_allclose(features[:, row], expected, atol=1e-5)


def test_info_places_weights_in_what_their_region_counts(store, tmp_path):
    run = fitting(store.path, "ridge", "A1,B2").make(tmp_path / "run")
    result = CliRunner().invoke(app, ["info", str(run.path)])
    assert "tss, distal: bases from the TSS; body: % of the gene; tes: bases from the TES" in result.stdout
    heading = next(
        line for line in result.stdout.splitlines() if line.split()[:3] == ["cell", "mark", "region"]
    )
    assert heading.split()[3:] == ["from", "to", "coefficient", "per_sd"]
    weights = json.loads(CliRunner().invoke(app, ["info", str(run.path), "--json"]).stdout)["coefficients"]
    rows = [line.split() for line in result.stdout.splitlines() if line.split()[:1] in (["A"], ["B"])]
    rules = {region.name: region for region in run.config.layout.regions}
    for row, region, first, last in zip(
        rows, weights["region"], weights["first_window"], weights["last_window"], strict=True
    ):
        edges = [rules[region].windows[first - 1][0], rules[region].windows[last - 1][1]]
        shown = [f"{10 * edge}%" for edge in edges] if region == "body" else [str(edge) for edge in edges]
        assert row[2:5] == [region, *shown]


def test_weights_of_a_run_with_other_rules_are_not_placed(store, tmp_path):
    run = fitting(store.path, "ridge", "A1,B2").make(tmp_path / "run")
    path: Path = run.path / CONFIG
    values = json.loads(path.read_text())
    values["regions"]["body"] = "0" * 12
    path.write_text(json.dumps(values))
    with pytest.raises(RunError, match="other windows"):
        _ = Run.open(run.path).config.layout
    result = CliRunner().invoke(app, ["info", str(run.path)])
    assert result.exit_code == 0
    assert "largest weights" not in result.stdout


def test_ridge_beside_a_model_is_ridge_of_the_same_pair(store, tss_alone, tmp_path):
    for number, one in enumerate((store, tss_alone)):
        run = fitting(one.path, "ridge", "A1,B2").make(tmp_path / str(number))
        assert f"has r = {run.config.metrics['test']['pearson']:.3f} " in ridge_beside(Pair.of(one, PAIR))


def test_a_learning_curve_and_folds_read_the_regions_too(store, tmp_path):
    few = fitting(store.path, "ridge", "A1,B2", split="chromosome.train40").make(tmp_path / "few")
    assert few.config.metrics["train"]["n"] == 40
    assert list(few.config.regions) == [TSS, *REGIONS]
    pair = Pair.of(store, PAIR, split="", regions=("body",))
    folds = cross_validate(Fitting("ridge"), pair, 3, tmp_path / "folds")
    assert list(folds.config.regions) == [TSS, "body"]
    assert list(Run.open(tmp_path / "folds" / "fold-2").config.regions) == [TSS, "body"]

"""`--preset published` fits baselines as DeepDiff's paper fitted them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.svm import SVR

from baseline_data import examples, make_store, small
from conftest import called, fitting
from conftest import make_store as make_cells
from diffchrom.baselines import networks, relief, svr
from diffchrom.baselines.fitting import fit_and_predict
from diffchrom.baselines.method import Context
from diffchrom.baselines.methods import METHODS, parse_methods
from diffchrom.config import PRESETS
from diffchrom.errors import RunError, UsageError
from diffchrom.pairs.pair import Pair
from diffchrom.store.store import Store
from diffchrom.sweeps.jobs import jobs_of
from diffchrom.sweeps.plan import Plan
from diffchrom.sweeps.running import run_job

PUBLISHED = [name for name, method in METHODS.items() if "published" in method.grids]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_store(tmp_path_factory.mktemp("presets") / "store.h5")


@pytest.fixture(scope="module")
def data(store):
    return Pair.of(store, ("A", "B")).load()


def test_the_papers_baselines_have_its_settings():
    assert PUBLISHED[:3] == ["svr-best-bin", "svr-two-layer", "relieff-rf"]
    assert PUBLISHED[3:] == ["attentivechrome", "attentivechrome-classes"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_labels_of_held_out_genes_do_not_reach_a_published_fit(name, data):
    method = small(name, "published")
    before, _ = fit_and_predict(method, examples(data), data, Context())
    rows = data.rows("test")
    changed = {name: getattr(data, name).copy() for name in ("log2fc", "expr_a", "expr_b")}
    for values in changed.values():
        values[rows] += 5
    after, _ = fit_and_predict(method, examples(data), replace(data, **changed), Context())
    assert np.isfinite(before.log2fc).all()
    np.testing.assert_array_equal(before.log2fc, after.log2fc)


def test_the_published_support_vectors_are_scikit_learns_on_raw_differences(data):
    genes = examples(data)
    train = genes.take(data.rows("train"))
    fitted = svr.best_bin(
        train, train.take(slice(0, 0)), METHODS["svr-best-bin"].grid("published"), Context()
    )
    number, penalty = fitted.chosen["bin"] - 1, fitted.chosen["C"]
    x = (train.signal_b - train.signal_a)[:, :, number]
    model = SVR(C=penalty, gamma="auto").fit(x, train.log2fc)
    everywhere = (genes.signal_b - genes.signal_a)[:, :, number]
    np.testing.assert_allclose(fitted.predict(genes).log2fc, model.predict(everywhere), atol=0.02)


def test_the_second_published_layer_takes_the_first_ones_predictions_as_they_are(data):
    train = examples(data).take(data.rows("train"))
    grid = METHODS["svr-two-layer"].grid("published")
    layer = svr.fit_bins(train, grid, Context())
    fitted = svr.two_layer(train, train.take(slice(0, 0)), grid, Context())
    out_of_fold = np.stack([regression.fit.out_of_fold for regression in layer.bins], axis=1)
    model = SVR(C=fitted.chosen["C"], gamma="auto").fit(out_of_fold, train.log2fc)
    signal = svr.flanking_bins(train, with_tes=False)
    first = np.stack([fitted.bins[k].predict(signal[:, :, k]) for k in range(20)], axis=1)
    ours = fitted.predict(train.without_labels()).log2fc
    np.testing.assert_allclose(ours, model.predict(first), atol=0.03)


def test_the_published_forest_is_scikit_learns_own(data):
    train, valid = (examples(data).take(data.rows(part)) for part in ("train", "valid"))
    grid = {**METHODS["relieff-rf"].grid("published"), "n_features": (10,), "n_estimators": (7,)}
    fitted = relief.relieff_forest(train, valid, grid, Context(seed=2))
    columns = relief.differences(train)[:, fitted.columns]
    model = RandomForestRegressor(7, random_state=2).fit(columns, train.log2fc)
    expected = model.predict(relief.differences(valid)[:, fitted.columns])
    np.testing.assert_allclose(fitted.predict(valid).log2fc, expected, rtol=1e-12)


def test_published_networks_see_raw_counts_and_start_from_the_authors_weights(data, monkeypatch):
    preset = PRESETS["published"]
    settings = networks.settings_of(METHODS["attentivechrome"].grid("published", epochs=1))
    assert (settings.batch_size, settings.lr, settings.dropout) == (preset.batch_size, preset.lr, 0.0)
    starts = []
    honest = networks._epoch

    def first_epoch(module, *rest):
        starts.append([parameter.detach().clone() for parameter in module.parameters()])
        honest(module, *rest)

    monkeypatch.setattr(networks, "_epoch", first_epoch)
    train, valid = (examples(data).take(data.rows(part)) for part in ("train", "valid"))
    grid = METHODS["attentivechrome"].grid("published", epochs=1)
    fitted = networks.fit_two_cells(networks.AttentiveChrome, train, valid, grid, Context())
    for network, transform, weights in zip(fitted.networks, fitted.transforms, starts, strict=True):
        assert (network.centre, network.spread) == (0, 1)
        np.testing.assert_array_equal(transform.apply(train.signal_a), train.signal_a)
        assert 0.09 < max(float(weight.abs().max()) for weight in weights) <= 0.1


def test_a_preset_that_a_method_has_not_is_refused_by_name_and_left_out_of_all():
    assert [method.name for method in parse_methods("all", "published")] == PUBLISHED
    with pytest.raises(UsageError, match=r"`preset=published`: ridge has none; it is of .*svr-two-layer"):
        parse_methods("svr-two-layer,ridge", "published")


def test_a_published_run_says_so_and_is_no_default_run(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["baseline", "--method", "attentivechrome", "--pair", "A,B", "--store", str(store.path), "-q"]
    case = fitting(store.path, "attentivechrome", "A,B", preset_name="published", epochs=1)
    run = case.make()
    assert run.path.name == "A-B.attentivechrome.published.seed0"
    assert run.config.preset == "published"
    assert run.config.hyperparameters["grid"]["epochs"] == [1]
    with pytest.raises(RunError, match="other preset, grid;"):
        case.but(preset_name="default").make(run.path, resume=True)
    assert called([*words, "--preset", "authors"]) == 2
    assert "--preset authors: unknown" in capsys.readouterr().err


def test_a_sweep_fits_baselines_at_the_presets_that_they_have(tmp_path):
    store = make_cells(tmp_path / "s.h5")
    plan = Plan(store.path, tmp_path / "sweep", baselines=("ridge", "svr-best-bin"), settings={"epochs": 1})

    def names(*presets: str) -> list[str]:
        return [job.name.removeprefix("A1-B2.") for job in jobs_of(replace(plan, presets=presets))]

    assert names("default") == ["ridge.seed0", "svr-best-bin.seed0"]
    assert names("published") == ["ridge.seed0", "svr-best-bin.published.seed0"]
    assert names("default", "published") == [
        "ridge.seed0",
        "svr-best-bin.seed0",
        "svr-best-bin.published.seed0",
    ]


def test_a_sweeps_epochs_are_those_of_neural_baselines_too(tmp_path):
    store = make_cells(tmp_path / "s.h5")
    plan = Plan(store.path, tmp_path / "sweep", baselines=("attentivechrome",), settings={"epochs": 2})
    (job,) = jobs_of(plan)
    assert run_job(job, plan.out, 1).status == "finished"
    (longer,) = jobs_of(replace(plan, settings={"epochs": 3}))
    refused = run_job(longer, plan.out, 1)
    assert "made with other grid;" in refused.reason

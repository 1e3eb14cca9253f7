"""Several seeds are averaged where that helps, and refused where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from baseline_data import LAYOUT, MARKS, examples, make_store, small
from conftest import fitting
from diffchrom.baselines import methods as table
from diffchrom.baselines import relief
from diffchrom.baselines.coefficients import coefficients
from diffchrom.baselines.method import Context
from diffchrom.baselines.methods import METHODS
from diffchrom.baselines.saved import load_fitted, save_fitted
from diffchrom.baselines.seeds import fit_seeds
from diffchrom.cli import app
from diffchrom.errors import RunError, UsageError
from diffchrom.pairs.pair import Pair
from diffchrom.runs.differences import differing, facts
from diffchrom.runs.folder import Run

SEEDED = [name for name, method in METHODS.items() if method.seeded]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("seeds") / "store.h5")


@pytest.fixture(scope="module")
def genes(store):
    return examples(Pair.of(store, ("A", "B")).load())


def fitted(name, genes, seeds, seed=0):
    method, train, valid = small(name), genes.take(slice(0, 100)), genes.take(slice(100, None))
    return fit_seeds(method, train, valid, method.grid(), Context(seed), seeds)


@pytest.mark.parametrize("name", SEEDED)
def test_the_mean_over_the_members_is_predicted_and_they_differ(name, genes):
    three = fitted(name, genes, 3)
    each = [member.predict(genes).log2fc for member in three.members]
    np.testing.assert_allclose(three.predict(genes).log2fc, np.mean(each, axis=0), rtol=1e-12)
    np.testing.assert_array_equal(each[0], fitted(name, genes, 1).predict(genes).log2fc)
    assert not np.array_equal(each[0], each[1])
    assert [dict(member.chosen) for member in three.members] == three.chosen["members"]


def test_runs_of_neighbouring_seeds_share_no_member(genes):
    first, second = (fitted("random-forest", genes, 3, seed).members for seed in (0, 1))
    for one in first:
        for other in second:
            assert not np.array_equal(one.predict(genes).log2fc, other.predict(genes).log2fc)


@pytest.mark.parametrize("name", SEEDED)
def test_an_average_is_kept_and_explained_like_a_single_fit(name, genes, tmp_path):
    two = fitted(name, genes, 2)
    save_fitted(tmp_path / "fitted", two)
    loaded = load_fitted(tmp_path / "fitted")
    np.testing.assert_array_equal(loaded.predict(genes).log2fc, two.predict(genes).log2fc)
    assert loaded.chosen == two.chosen
    mean, *single = (by_position(fit) for fit in (two, *two.members))
    assert sum(mean.values()) == pytest.approx(1)
    for position, importance in mean.items():
        assert importance == pytest.approx(np.mean([one.get(position, 0.0) for one in single]))


def by_position(predictor):
    *positions, importance = coefficients(predictor, MARKS, LAYOUT).values()
    return dict(zip(zip(*positions, strict=True), importance, strict=True))


def test_genes_are_ranked_once_for_all_seeds(genes, monkeypatch):
    ranked = []
    honest = relief.nearest
    monkeypatch.setattr(relief, "nearest", lambda *args: ranked.append(1) or honest(*args))
    fitted("relieff-rf", genes, 3)
    assert len(ranked) == 1


@pytest.mark.parametrize("name", sorted(set(METHODS) - set(SEEDED)))
def test_a_method_that_is_not_averaged_refuses_seeds_and_names_those_that_are(name, store, tmp_path):
    with pytest.raises(UsageError, match=f"{name} is not averaged over seeds; random-forest, gradient"):
        fitting(store.path, name, "A,B", seeds=2).make(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_averages_what_can_be_and_fits_the_rest_once(store, tmp_path, monkeypatch):
    monkeypatch.setitem(table.METHODS, "random-forest", small("random-forest"))
    said = ["baseline", "--store", str(store.path), "--pair", "A,B", "--out", str(tmp_path), "--seeds", "2"]
    result = CliRunner().invoke(app, [*said, "--method", "ridge,random-forest"])
    assert result.exit_code == 0, result.stderr
    ridge, forest = (Run.open(tmp_path / name).config for name in ("ridge", "random-forest"))
    assert forest.hyperparameters["seeds"] == 2
    assert len(forest.details["chosen"]["members"]) == 2
    assert "seeds" not in ridge.hyperparameters
    assert "members" not in ridge.details["chosen"]
    once = fitting(store.path, "random-forest", "A,B").make(tmp_path / "once")
    assert differing(once.config, forest) == ["seeds"]
    assert facts(once.config)["seeds"] == 1
    refused = CliRunner().invoke(app, [*said, "--method", "ridge"])
    assert isinstance(refused.exception, UsageError) or refused.exit_code == 2


def test_an_averaged_run_predicts_like_any_other_and_goes_on_with_as_many_seeds_only(
    store, tmp_path, monkeypatch
):
    monkeypatch.setitem(table.METHODS, "random-forest", small("random-forest"))
    case = fitting(store.path, "random-forest", "A,B", seeds=2)
    run = case.make(tmp_path / "run")
    result = CliRunner().invoke(app, ["predict", str(run.path), "--store", str(store.path), "-q"])
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    kept = [line.split("\t") for line in (run.path / "predictions.tsv").read_text().splitlines()]
    n = len(kept[0])
    assert [row[:n] for row in rows] == kept
    assert case.make(tmp_path / "run", resume=True).config.metrics == run.config.metrics
    with pytest.raises(RunError, match="made with other seeds"):
        case.but(seeds=3).make(tmp_path / "run", resume=True)

"""What a check concludes of attention whose worth is known, and the orders that need no model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from attention_tools import Adding, genes_at, random_source, store_of
from conftest import make_store, train, training
from diffchrom.attention.chance import no_better_than_chance
from diffchrom.attention.check import Check, check
from diffchrom.attention.deletion import DELETION, curves_of
from diffchrom.attention.rivals import distance_from_tss, input_maps, sibling_runs
from diffchrom.config import hyperparameters
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.model import MAIN, Output, shares
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.genome.genes import Window
from diffchrom.metrics import mean_interval
from diffchrom.pairs.transform import Transform
from diffchrom.progress import SILENT
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store

N_GENES = 150
#: What the rule reads: mark, window, weight.
READ = ((0, 2, 1.0), (0, 5, -0.8), (1, 15, 0.9), (1, 17, 0.7))

Importance = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Rule(Adding):
    """Adds up B - A in four windows, and attends to whatever it is told to."""

    def __init__(self, attend: Importance, shown: bool = False) -> None:
        super().__init__(2, 20)
        self.attend, self.shown = attend, shown
        with torch.no_grad():
            self.weight.zero_()
            for mark, window, weight in READ:
                self.weight[mark, window] = weight

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Output:
        parts = (b - a) * self.weight
        alpha, beta = shares(self.attend(a, b, parts))
        contribution = parts if self.shown else None
        return Output(parts.sum(dim=(1, 2)), {}, {}, {MAIN: alpha}, {MAIN: beta}, contribution=contribution)


def what_passes(a: torch.Tensor, b: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
    return parts


def at_random(a: torch.Tensor, b: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
    return (1e4 * (a + b)).sin()  # of digits that say nothing, so that each gene has its own


def difference(a: torch.Tensor, b: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
    return a.log1p() - b.log1p()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("verdicts") / "s.h5"
    genes = genes_at((f"chr{i % 30}", 40_000 * (i + 1), "+-"[i % 2]) for i in range(N_GENES))
    return store_of(path, genes, Window(1000, 100), {f"chr{i}": 10**7 for i in range(30)})


def rule(store: Store, attend: Importance, shown: bool = False) -> OpenedModel:
    raw = Transform("raw", (0.0, 0.0), (1.0, 1.0))
    return replace(random_source(store, "raw:d"), model=Rule(attend, shown).eval(), transform=raw)


def verdicts(result: Check) -> dict[tuple[str, str], str | None]:
    return {(one.level, one.comparison): one.verdict for one in result.verdicts}


def test_attention_that_is_the_rule_passes_every_verdict(store: Store) -> None:
    result = check(rule(store, what_passes), np.arange(N_GENES), size=N_GENES)
    orders = {"random", "random_weights", "absolute_difference", "signal"}
    rivals = orders | {"integrated_gradients_of_another_gene"}
    expected = {(level, rival) for level in ("bin", "mark") for rival in rivals}
    assert verdicts(result) == dict.fromkeys(expected | {("bin", "nearness_to_tss")}, "better")
    assert result.warnings == []
    for level in ("bin", "mark"):  # sets of windows and of marks, put back in the same order
        for rival in orders:
            (insertion,) = result.find(level, rival, "insertion_minus")
            assert insertion.low > 0


def test_random_attention_is_no_better_than_random(store: Store) -> None:
    result = check(rule(store, at_random), np.arange(N_GENES), size=N_GENES)
    judged = verdicts(result)
    for level in ("bin", "mark"):
        for rival in ("random", "absolute_difference", "integrated_gradients_of_another_gene"):
            assert judged[level, rival] == "no better"
    assert judged["bin", "random_weights"] == "no better"
    assert any("bins: attention is no better than random" in text for text in result.warnings)


def test_attention_to_where_the_cells_differ_is_not_called_better_than_that(store: Store) -> None:
    result = check(rule(store, difference), np.arange(N_GENES), size=N_GENES)
    judged = verdicts(result)
    assert judged["bin", "random"] == "better"
    assert judged["bin", "absolute_difference"] == judged["mark", "absolute_difference"] == "no better"
    assert any("bins: attention is no better than |A - B| of the signal" in text for text in result.warnings)


def test_agreement_is_counted_beyond_that_with_another_gene(store: Store) -> None:
    """Where all genes are read alike, another gene's attribution is as good as one's own."""

    def same_for_all(a: torch.Tensor, b: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
        return torch.arange(1.0, 41.0).reshape(1, 2, 20).expand(len(a), -1, -1)

    result = check(rule(store, same_for_all), np.arange(N_GENES), size=40)
    (minus,) = result.find("bin", "integrated_gradients_of_another_gene", "spearman_minus")
    (own,) = result.find("bin", "integrated_gradients", "spearman")
    (other,) = result.find("bin", "integrated_gradients_of_another_gene", "spearman")
    assert minus.value == pytest.approx(own.value - other.value)
    assert minus.low < 0 < minus.high
    assert minus.verdict == "no better"


def test_an_untrained_ensemble_has_as_many_members_and_the_fitted_scaling(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5")
    members = [random_source(store, "additive", seed).model for seed in (1, 2, 3)]
    for number, member in enumerate(members):
        for buffer in member.buffers():
            buffer.fill_(0.5 + number)
    trained = replace(random_source(store, "additive"), model=Ensemble(members).eval())
    trained.model.set_order(-1.0)
    model = trained.untrained(4).model
    assert isinstance(model, Ensemble)
    assert len(model.members) == 3
    for drawn, member in zip(model.members, members, strict=True):
        assert drawn.order == -1.0
        for (name, ours), (_, theirs) in zip(drawn.named_buffers(), member.named_buffers(), strict=True):
            assert name in ("widths", "pooling") or torch.equal(ours, theirs)
        assert not torch.equal(drawn.trunk[0].weight, member.trunk[0].weight)
    first, second = (drawn.trunk[0].weight for drawn in list(model.members)[:2])
    assert not torch.equal(first, second)


def test_what_is_even_is_masked_in_random_order_and_not_by_position(store: Store) -> None:
    source = rule(store, what_passes)
    a, b = source.pair.signal(np.arange(N_GENES))
    with torch.no_grad():
        source.model.weight.zero_()
        source.model.weight[0, 0] = 1.0
    with SILENT.task("x") as task:
        curves = curves_of(source, np.arange(N_GENES), a, b, {"even": [np.ones((N_GENES, 2, 20))]}, 0, task)[
            DELETION
        ]
    changed = (curves.changes["even"] > 0).mean(axis=0)
    np.testing.assert_allclose(changed, curves.fractions, atol=0.12)  # by position it would be all
    assert np.isnan(curves.spread("even"))
    assert curves.spread("random") > 0


def test_orders_that_need_no_model_are_those_of_the_input(store: Store) -> None:
    source = rule(store, what_passes)
    rows = np.array([4, 9])
    a, b = source.pair.signal(rows)
    maps = input_maps(source, rows, a, b)
    np.testing.assert_allclose(maps["absolute_difference"], np.abs(np.log1p(a) - np.log1p(b)))
    np.testing.assert_allclose(maps["signal"], (np.log1p(a) + np.log1p(b)) / 2)
    nearest = np.argsort(-maps["nearness_to_tss"][0, 1], kind="stable")[:2]
    assert set(nearest.tolist()) == {9, 10}


def test_windows_of_other_regions_are_as_near_as_their_middles(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5", regions=("body",))
    source = random_source(store, "raw:d", regions=None)
    distance = distance_from_tss(source, np.arange(3))
    windows, genes = source.windows, source.genes
    start, end = windows.intervals(np.arange(3))
    body = source.pair.layout.spans["body"]
    expected = np.abs((start[:, body] + end[:, body] - 1) / 2 - genes.tss[:3, None])
    np.testing.assert_allclose(distance[:, body], np.where(start[:, body] < 0, np.inf, expected))
    assert distance[0, :20].tolist() == [abs(-950.0 + 100 * i) for i in range(20)]


def test_folds_beside_a_run_are_compared_with_it(tmp_path: Path, store: Store) -> None:
    small = hyperparameters("default", epochs=1, hidden=4)
    first = train(training(store.path, "raw:d", settings=small), tmp_path / "fold-1")
    shutil.copytree(first.path, tmp_path / "fold-2")
    for number in (1, 2):
        path = tmp_path / f"fold-{number}"
        Run(path, replace(first.config, split=f"chromosome-fold{number}of5")).save_config()
    shutil.copytree(first.path, tmp_path / "another-split")
    assert [run.path.name for run in sibling_runs(Run.open(tmp_path / "fold-1"))] == ["fold-2"]


def test_agreement_over_folds_is_told_from_that_over_seeds(store: Store) -> None:
    source = random_source(store, "raw:d")
    fold = replace(source, pair=replace(source.pair, split=""))
    others = {"s1": random_source(store, "raw:d", 1), "s2": random_source(store, "raw:d", 2), "f": fold}
    result = check(source, np.arange(N_GENES), others, size=20)
    (itself,) = result.find("bin", "other_folds", "spearman")
    assert itself.value == pytest.approx(1)
    (both,) = result.find("bin", "other_seeds", "spearman")
    each = [result.find("bin", f"run {name}", "spearman")[0].value for name in ("s1", "s2")]
    assert both.value == pytest.approx(np.mean(each), abs=1e-6)
    (spread,) = result.find("bin", "other_seeds", "spearman_sd")
    assert spread.value == pytest.approx(np.std(each, ddof=1), abs=1e-6)
    assert any("of 2 runs with other seeds" in text for text in result.notes)
    assert any("of 1 runs of other folds" in text for text in result.notes)


def test_a_glance_names_what_is_better_where_attention_is_no_better_than_random(store: Store) -> None:
    text = no_better_than_chance(rule(store, at_random))
    assert "no better than random" in text
    assert "`by=integrated-gradients` is better" in text
    assert no_better_than_chance(rule(store, what_passes)) == ""
    assert no_better_than_chance(rule(store, at_random, shown=True)) == ""


def test_the_mean_of_genes_has_students_interval() -> None:
    """Of genes that are their own blocks, the interval is the t interval of their mean."""
    from scipy import stats

    values = np.random.default_rng(0).normal(0.3, 1, 80)
    interval = mean_interval(np.append(values, np.nan), resamples=20_000)
    expected = stats.ttest_1samp(values, 0)
    low, high = expected.confidence_interval()
    assert (interval.value, interval.n) == (pytest.approx(values.mean()), 80)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    assert interval.p_value == pytest.approx(expected.pvalue, rel=0.15)
    assert mean_interval([0.0] * 5).p_value == 1
    assert np.isnan(mean_interval([0.2]).low)

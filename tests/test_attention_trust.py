"""Attribution, deletion curves and the check of attention, where the answer is known."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from attention_tools import random_source
from conftest import make_store, train, training
from diffchrom.attention.check import check, concentration, mark_shares, sample_genes, spearman
from diffchrom.attention.deletion import (
    DELETION,
    FRACTIONS,
    INSERTION,
    attention_map,
    curves_of,
)
from diffchrom.attention.plots import plot_curves
from diffchrom.attention.reports import report_check
from diffchrom.attention.rivals import open_others, sibling_runs
from diffchrom.config import hyperparameters
from diffchrom.deepdiff.attribution import (
    METHODS,
    attribute,
    attribute_signal,
    of_bins,
    of_marks,
    of_sequences,
)
from diffchrom.deepdiff.model import Output
from diffchrom.deepdiff.opened import OpenedModel, open_model
from diffchrom.demo.simulate import RULE, simulate
from diffchrom.errors import RunError
from diffchrom.prepare.building import prepare
from diffchrom.prepare.request import PrepareRequest
from diffchrom.progress import SILENT
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store

BIN = 500
SETTINGS = hyperparameters(
    "default",
    hidden=8,
    epochs=30,
    batch_size=16,
    lr=5e-3,
    patience=30,
    dropout=0.2,
    schedule="constant",
    cell_weight=1.0,
)


@pytest.fixture(scope="module")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The demo's simulated genes and tracks, in bins of 500."""
    folder = tmp_path_factory.mktemp("demo")
    files = simulate(folder, n_genes=720)
    expression = (str(files.expression),)
    prepare(
        PrepareRequest(
            folder / "s.h5",
            gtf=files.gtf,
            bigwigs=files.bigwigs,
            expression=expression,
            bin_size=BIN,
            threads=1,
        )
    )
    return Store(folder / "s.h5")


@pytest.mark.parametrize("variant", ["raw:d", "raw", "aux+siamese"])
def test_the_demos_rule_is_found_by_attribution_and_where_attention_misses_it_the_check_says_so(
    demo_store: Store, tmp_path: Path, variant: str
) -> None:
    job = training(demo_store.path, variant, settings=SETTINGS, device="cpu")
    run = train(job, tmp_path / "run")
    source = open_model(run, demo_store, device="cpu")
    contributions = attribute(source, np.flatnonzero(source.pair.parts == 2)[:100])
    share = dict(zip(source.marks, mark_shares(of_marks(contributions)).mean(axis=0), strict=True))
    drivers = [domain for domain in RULE if domain.effect]
    decoys = [domain.mark for domain in RULE if not domain.effect]
    assert min(share[domain.mark] for domain in drivers) > 1.5 * max(share[mark] for mark in decoys)
    profile = of_bins(contributions).mean(axis=0)
    middle = (np.arange(40) + 0.5) * BIN - 10_000
    for domain in drivers:
        bins = profile[source.marks.index(domain.mark)]
        inside = (middle > domain.first) & (middle < domain.last)
        assert domain.first - BIN < middle[bins.argmax()] < domain.last + BIN
        assert bins[inside].mean() > 1.5 * bins[~inside].mean()

    result = check(source, np.arange(len(demo_store.genes)), size=60)
    found = {
        one.mark: one.value
        for one in result.findings
        if (one.comparison, one.statistic) == ("attention", "share")
    }
    top = set(sorted(found, key=lambda mark: found[mark])[-len(drivers) :])
    if top != {domain.mark for domain in drivers}:
        assert any("attention ranks the marks" in text for text in result.warnings)


@pytest.fixture(scope="module")
def source(toy_store: Store) -> OpenedModel:
    return random_source(toy_store, "raw+aux")


def test_integrated_gradients_add_up_to_the_change_from_the_average_training_gene(
    source: OpenedModel,
) -> None:
    a, b = source.pair.signal(np.arange(12))
    contributions = attribute_signal(source, np.arange(12), a, b, "integrated_gradients")
    assert contributions.shape == (12, 2, 2, 20)
    full = source.predict_signal(np.arange(12), a, b).log2fc
    trained = [
        source.pair.store.signal(cell, source.marks)[source.pair.parts == 0] for cell in source.pair.cells
    ]
    average = np.mean(trained, axis=(0, 1), dtype=np.float64).astype(np.float32)
    np.testing.assert_allclose(source.average_signal, average, rtol=1e-5)
    averages = np.repeat(average[None], 12, axis=0)
    from_average = source.predict_signal(np.arange(12), averages, averages).log2fc
    np.testing.assert_allclose(
        contributions.sum(axis=(1, 2, 3)), full - from_average, atol=0.02 * np.ptp(full) + 1e-3
    )


def test_gradients_are_those_of_finite_differences(source: OpenedModel) -> None:
    """In double precision, where the quotient of differences means something."""
    double = replace(source, model=random_source(source.pair.store, "raw+aux").model.double())
    a, b = source.pair.signal(np.array([3]))
    x, y = (tensor.double().requires_grad_() for tensor in source.inputs(np.array([3]), a, b))
    baselines = (torch.zeros_like(x), torch.zeros_like(y))
    ours = METHODS["gradient_x_input"](double.model, (x, y), baselines, ())
    for cell, (values, contribution) in enumerate(zip((x, y), ours, strict=True)):
        for mark, position in ((0, 0), (1, 9), (1, 19)):
            step = torch.zeros_like(values)
            step[0, mark, position] = 1e-5
            ends = []
            for sign in (1, -1):
                moved = [x, y]
                moved[cell] = values + sign * step
                output: Output = double.model(*moved)
                ends.append(float(output.log2fc.detach()))
            slope = (ends[0] - ends[1]) / 2e-5
            expected = slope * float(values[0, mark, position].detach())
            assert float(contribution[0, mark, position].detach()) == pytest.approx(
                expected, rel=1e-4, abs=1e-9
            )


def test_contributions_do_not_depend_on_how_genes_are_batched(source: OpenedModel) -> None:
    rows = np.array([40, 2, 31, *range(3, 25)])
    whole = attribute(source, rows)
    alone = attribute(source, rows[[1]])
    np.testing.assert_allclose(whole[[1]], alone, atol=1e-4 * np.abs(whole).max())


def test_both_cells_contribute_by_one_gradient_where_only_their_difference_is_read(toy_store: Store) -> None:
    """raw:d reads A - B, so the gradient of B is the gradient of A with the other sign."""
    source = random_source(toy_store, "raw:d")
    rows = np.arange(5)
    a, b = source.pair.signal(rows)
    gradient = attribute_signal(source, rows, a, b, "gradient_x_input")
    x, y = (tensor.numpy() for tensor in source.inputs(rows, a, b))
    (x0, y0) = (
        tensor.numpy()
        for tensor in source.inputs(rows, *np.broadcast_to(source.average_signal, (2, *a.shape)))
    )
    np.testing.assert_allclose(gradient[:, 0] * (y - y0), -gradient[:, 1] * (x - x0), atol=1e-5)


def test_sequences_are_compared_with_what_they_read(source: OpenedModel) -> None:
    contributions = np.random.default_rng(0).normal(size=(3, 2, 2, 20)).astype(np.float32)
    sizes = of_sequences(source, contributions)
    for i, sequence in enumerate(source.sequences):
        j = source.marks.index(sequence.mark)
        parts = {"A": contributions[:, 0, j], "B": contributions[:, 1, j]}
        parts["A-B"] = parts["A"] + parts["B"]
        np.testing.assert_allclose(sizes[:, i], np.abs(parts[sequence.source]))


@pytest.mark.parametrize("variant", ["raw:d", "aux", "raw+aux"])
def test_the_attention_of_a_gene_adds_up_to_one_over_marks_and_bins(toy_store: Store, variant: str) -> None:
    source = random_source(toy_store, variant)
    rows = np.arange(7)
    weights = attention_map(source, source.attention_of(rows))
    assert weights.shape == (7, 2, 20)
    np.testing.assert_allclose(weights.sum(axis=(1, 2)), 1, atol=1e-5)


def test_masking_follows_the_order_it_is_given(source: OpenedModel) -> None:
    """The share of 0.05 of 2 x 20 pairs is two: checked against masking them by hand."""
    a, b = source.pair.signal(np.arange(4))
    importance = np.random.default_rng(1).random((4, 2, 20))
    with SILENT.task("x") as task:
        curves = curves_of(source, np.arange(4), a, b, {"mine": [importance]}, 0, task)[DELETION]
    before = source.predict_signal(np.arange(4), a, b).log2fc
    new_a, new_b = a.copy(), b.copy()
    for gene in range(4):
        for place in np.argsort(-importance[gene].ravel())[:2]:
            average = source.average_signal.ravel()[place]
            new_a[gene].ravel()[place] = new_b[gene].ravel()[place] = average
    expected = np.abs(source.predict_signal(np.arange(4), new_a, new_b).log2fc - before)
    at = FRACTIONS.index(0.05)
    assert curves.fractions[at] == 0.05
    np.testing.assert_allclose(curves.changes["mine"][:, at], expected, atol=1e-5)
    assert set(curves.changes) == {"mine", "random"}


def test_an_order_that_knows_the_model_beats_random_and_one_that_is_wrong_does_not(tmp_path: Path) -> None:
    """A model that reads one bin of one mark: masking it first must change everything at once."""
    store = make_store(tmp_path / "s.h5", n_genes=30)
    source = random_source(store, "raw:d")

    class OneBin(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> Output:
            return Output(5 * (b - a)[:, 1, 7] + a[:, 1, 7], {}, {}, {}, {})

        def parameters(self, recurse: bool = True):  # type: ignore[no-untyped-def]
            return iter([torch.zeros(1)])

    source = replace(source, model=OneBin())  # type: ignore[arg-type]
    rows = np.arange(30)
    a, b = source.pair.signal(rows)
    right, wrong = np.zeros((30, 2, 20)), np.ones((30, 2, 20))
    right[:, 1, 7], wrong[:, 1, 7] = 1, 0
    with SILENT.task("x") as task:
        bins = curves_of(source, rows, a, b, {"right": [right], "wrong": [wrong]}, 0, task)
        of_marks = {"right": [right.sum(-1)], "wrong": [-right.sum(-1)]}
        marks = curves_of(source, rows, a, b, of_marks, 0, task)[DELETION]
    area, back = bins[DELETION].area, bins[INSERTION].area
    assert back["right"].max() == 0  # the first that is put back is all there is
    assert (back["wrong"] >= back["random"]).all()
    assert back["random"].mean() > 0
    assert area["wrong"].max() == 0
    assert (area["right"] >= area["random"]).all()
    assert area["right"].mean() > 3 * area["random"].mean()
    assert marks.changes["wrong"].max() == 0
    assert marks.changes["right"].min() > 0


def test_concentration_is_zero_for_uniform_and_one_for_a_single_place() -> None:
    weights = np.array([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(concentration(weights), [0, 1, 0.5], atol=1e-12)


def test_rank_correlation_is_scipys() -> None:
    x, y = np.random.default_rng(0).integers(0, 6, (2, 5, 30)).astype(float)
    expected = [stats.spearmanr(x[i], y[i]).statistic for i in range(5)]
    np.testing.assert_allclose(spearman(x, y), expected)
    assert math.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_the_untrained_model_has_the_architecture_and_none_of_the_weights(source: OpenedModel) -> None:
    state = torch.random.get_rng_state()
    other = source.untrained(1)
    assert torch.equal(state, torch.random.get_rng_state())
    pairs = zip(source.model.parameters(), other.model.parameters(), strict=True)
    assert all(one.shape == two.shape and not torch.equal(one, two) for one, two in pairs)
    same = source.untrained(1).model.state_dict()
    assert all(torch.equal(same[name], value) for name, value in other.model.state_dict().items())


@pytest.fixture(scope="module")
def runs(toy_store: Store, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two seeds of one job and, between them, another variant."""
    folder = tmp_path_factory.mktemp("runs")
    small = hyperparameters("default", epochs=1, hidden=4)
    jobs = {"s0": ("raw", 0), "other": ("raw:d", 1), "s1": ("raw", 1)}
    (folder / "notes").mkdir()
    return [
        train(training(toy_store.path, variant, settings=small, seed=seed), folder / name)
        for name, (variant, seed) in jobs.items()
    ]


def test_runs_beside_it_that_differ_in_the_seed_alone_are_compared(
    runs: list[Run], toy_store: Store, tmp_path: Path
) -> None:
    assert [run.path.name for run in sibling_runs(runs[0])] == ["s1"]
    shutil.copytree(runs[0].path.parent, tmp_path / "runs")
    config = replace(runs[2].config, store={"fingerprint": "of another store"})
    Run(tmp_path / "runs" / "s1", config).save_config()
    assert sibling_runs(Run.open(tmp_path / "runs" / "s0")) == []
    source = open_model(runs[0], toy_store)
    with pytest.raises(RunError, match="compare runs of one variant"):
        open_others(source, [runs[1]], toy_store)


def test_a_run_agrees_with_itself_and_the_table_has_every_comparison(
    runs: list[Run], toy_store: Store, tmp_path: Path
) -> None:
    source = open_model(runs[0], toy_store)
    others = [runs[0].path, runs[2].path]
    report_check(runs[0], source, np.arange(60), others, tmp_path / "t.tsv", tmp_path / "curves.svg", size=20)
    table = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    assert (tmp_path / "curves.svg").read_bytes().startswith(b"<?xml")
    itself = table[table["comparison"] == f"run {runs[0].path}"]
    assert len(itself) == 4  # three blocks of bins, one task of marks
    np.testing.assert_allclose(itself["value"], 1)
    another = "integrated_gradients_of_another_gene"
    names = {"uniform", "random_weights", "gradient_x_input", "integrated_gradients", another}
    names |= {f"run {runs[2].path}", "other_seeds"}
    for level in ("bin", "mark"):
        part = table[(table["level"] == level) & table["statistic"].isin(["spearman", "concentration"])]
        assert names < set(part["comparison"])
        curve = table[(table["level"] == level) & (table["statistic"] == "deletion")]
        orders = {"attention", "gradient_x_input", "integrated_gradients", "random_weights", "random"}
        orders |= {"absolute_difference", "signal"}
        assert set(curve["comparison"]) == orders | ({"nearness_to_tss"} if level == "bin" else set())
    shares = table[(table["statistic"] == "share") & (table["comparison"] == "attention")]
    assert shares["value"].sum() == pytest.approx(1, abs=1e-5)
    known = table.dropna(subset=["low", "value", "high"])
    assert (known["low"] <= known["value"] + 1e-9).all()
    assert (known["value"] <= known["high"] + 1e-9).all()


def test_attention_that_is_uniform_is_called_no_better_than_random(toy_store: Store) -> None:
    """Context vectors of zero give every bin and every mark the same weight, so the order says nothing."""
    source = random_source(toy_store, "raw")
    with torch.no_grad():
        for name, parameter in source.model.named_parameters():
            if name.endswith("context"):
                parameter.zero_()
    result = check(source, np.arange(60), size=40)
    (uniform,) = {round(one.value, 5) for one in result.findings if one.comparison == "uniform"}
    assert uniform == 0
    assert {one.verdict for one in result.verdicts} == {"no better"}
    assert any("attention is no better than random" in text for text in result.warnings)
    assert any("no run with another seed" in text for text in result.notes)


def test_a_check_is_the_same_for_the_same_seed(toy_store: Store) -> None:
    source = random_source(toy_store, "raw:d")
    first, second = (check(source, np.arange(60), size=10, seed=4) for _ in range(2))
    assert repr(first.findings) == repr(second.findings)
    assert sample_genes(np.arange(60), 10, 4).tolist() == sorted(sample_genes(np.arange(60), 10, 4).tolist())
    assert sample_genes(np.arange(5), 10, 4).tolist() == [0, 1, 2, 3, 4]


def test_curves_are_told_apart_without_colour(toy_store: Store) -> None:
    result = check(random_source(toy_store, "raw:d"), np.arange(60), size=10)
    figure = plot_curves(result.curves)
    assert [len(axis.lines) for axis in figure.axes] == [8, 7, 8, 7]  # bins and marks, deletion and insertion
    for axis in figure.axes:
        styles = {str(line.get_label()): str(line.get_marker()) for line in axis.lines}
        assert len(set(styles.values())) == len(axis.lines)
        assert styles["random"] == str(figure.axes[0].lines[-1].get_marker())

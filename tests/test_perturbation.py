from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attention_tools import random_source
from conftest import make_store
from diffchrom.attention.perturbation import (
    Lenders,
    parse_perturbations,
    perturb,
    perturbed,
    summarise,
    write_perturbations,
)
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.inference import predict_tensors
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.errors import StoreError, UsageError
from diffchrom.progress import SilentReporter
from diffchrom.store.store import Store

ROWS = np.array([5, 2, 17])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    store = make_store(tmp_path_factory.mktemp("three") / "s.h5", cells=("A1", "B2", "C3"))
    return random_source(store, "raw")


def after(source: OpenedModel, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    a, b = source.pair.signal(ROWS)
    (perturbation,) = parse_perturbations(source, [text])
    kept = a.copy(), b.copy()
    changed = perturbed(source, perturbation, ROWS, a, b)
    np.testing.assert_array_equal(a, kept[0])
    np.testing.assert_array_equal(b, kept[1])
    return a, b, *changed


def test_zero_takes_a_mark_from_both_cells_and_leaves_the_other_marks(source: OpenedModel) -> None:
    a, b, new_a, new_b = after(source, "H3K4me3=0")
    assert not new_a[:, 0].any()
    assert not new_b[:, 0].any()
    np.testing.assert_array_equal(new_a[:, 1], a[:, 1])
    np.testing.assert_array_equal(new_b[:, 1], b[:, 1])


def test_mean_gives_a_mark_the_signal_of_the_average_training_gene(source: OpenedModel) -> None:
    _, b, new_a, new_b = after(source, "H3K4me3=mean")
    train = source.pair.rows("train")
    a_train, b_train = source.pair.signal(train)
    average = np.concatenate([a_train, b_train])[:, 0].mean(axis=0)
    for changed in (new_a, new_b):
        np.testing.assert_allclose(changed[:, 0], np.tile(average, (3, 1)), rtol=1e-5)
    np.testing.assert_array_equal(new_b[:, 1], b[:, 1])


def test_a_mark_alone_is_set_to_its_mean(source: OpenedModel) -> None:
    for short, whole in (
        ("H3K4me3", ["H3K4me3=mean"]),
        ("A1:H3K4me3,H3K27me3=0", ["A1:H3K4me3=mean,H3K27me3=0"]),
    ):
        assert parse_perturbations(source, [short]) == parse_perturbations(source, whole)
    assert parse_perturbations(source, ["all"]) == parse_perturbations(source, ["all=mean"])


def test_a_cell_of_the_pair_gives_its_signal_to_the_other(source: OpenedModel) -> None:
    a, b, new_a, new_b = after(source, "H3K27me3=A1")
    np.testing.assert_array_equal(new_a, a)
    np.testing.assert_array_equal(new_b[:, 1], a[:, 1])
    np.testing.assert_array_equal(new_b[:, 0], b[:, 0])


def test_one_cell_may_be_changed_alone_and_changes_joined(source: OpenedModel) -> None:
    a, b, new_a, new_b = after(source, "B2:H3K4me3=0, A1:H3K27me3=B2")
    assert not new_b[:, 0].any()
    np.testing.assert_array_equal(new_a[:, 1], b[:, 1])
    np.testing.assert_array_equal(new_a[:, 0], a[:, 0])
    np.testing.assert_array_equal(new_b[:, 1], b[:, 1])


def test_joined_swaps_read_the_signal_as_it_was(source: OpenedModel) -> None:
    a, b, new_a, new_b = after(source, "A1:H3K4me3=B2,B2:H3K4me3=A1")
    np.testing.assert_array_equal(new_a[:, 0], b[:, 0])
    np.testing.assert_array_equal(new_b[:, 0], a[:, 0])


def test_a_cell_outside_the_pair_gives_its_signal_to_both(source: OpenedModel) -> None:
    _, _, new_a, new_b = after(source, "H3K4me3=C3")
    third = source.pair.store.signal("C3", ("H3K4me3",))[ROWS, 0]
    np.testing.assert_array_equal(new_a[:, 0], third)
    np.testing.assert_array_equal(new_b[:, 0], third)


def test_the_table_holds_predictions_before_and_after(source: OpenedModel, tmp_path: Path) -> None:
    perturbations = parse_perturbations(source, ["all=0", "H3K4me3=A1"])
    assert [one.name for one in perturbations] == ["H3K4me3=0", "H3K27me3=0", "H3K4me3=A1"]
    summary = write_perturbations(source, np.arange(60), perturbations, tmp_path / "x.tsv")
    table = pd.read_csv(tmp_path / "x.tsv", sep="\t")
    assert len(table) == 180
    a, b = source.pair.signal(np.arange(60))
    before = source.predict_signal(np.arange(60), a, b).log2fc
    b[:, 0] = a[:, 0]
    swapped = source.predict_signal(np.arange(60), a, b).log2fc
    part = table[table["perturbation"] == "H3K4me3=A1"]
    np.testing.assert_allclose(part["log2fc_pred"], before, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(part["log2fc_pred_perturbed"], swapped, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(part["change"], swapped - before, atol=1e-5)
    np.testing.assert_allclose(part["log2fc"], source.pair.labels.log2fc, rtol=1e-5)
    np.testing.assert_allclose(summary["mean_change"][2], (swapped - before).mean(), atol=1e-5)


def test_the_summary_counts_changes_of_a_factor_of_two() -> None:
    changes = np.array([[1.0, 0.0], [-1.5, 0.5], [0.99, -0.5], [3.0, 0.0]])
    table = summarise(["x", "y"], changes, np.abs(changes), -2 * changes, np.ones(4))
    assert table["mean_spread"].tolist() == [pytest.approx(1.6225), 0.25]
    assert table["mean_absolute_null"].tolist() == [pytest.approx(3.245), 0.5]
    assert table["n_raised"].tolist() == [2, 0]
    assert table["n_lowered"].tolist() == [1, 0]
    assert table["mean_change"].tolist() == [pytest.approx(0.8725), 0.0]
    assert table["mean_absolute_change"].tolist() == [pytest.approx(1.6225), 0.25]
    assert (table["lowest"].tolist(), table["highest"].tolist()) == ([-1.5, -0.5], [3.0, 0.5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=0", "give MARK=mean"),
        ("H3K4me3=", "give MARK=mean"),
        (":H3K4me3=0", "give MARK=mean"),
        ("H3K9me3=0", "no mark H3K9me3; the run has H3K4me3, H3K27me3"),
        ("C3:H3K4me3=0", "C3 is not in the pair A1,B2"),
        ("H3K4me3=K562", "no cell K562 .* it has A1, B2, C3; mean stands for the average gene"),
        ("A1:H3K4me3=A1", "changes nothing"),
        ("H3K4me3=0,A1:H3K4me3=B2", "changes the same mark of the same cell twice"),
        ("all=0,H3K4me3=B2", "stands alone"),
    ],
)
def test_what_makes_no_perturbation_is_refused(source: OpenedModel, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_perturbations(source, [text])


def test_an_effect_is_what_is_lost_of_the_measured_change_beside_what_other_genes_marks_lose() -> None:
    """Worked by hand: gene 3 has no label, and the second perturbation moves much but to no side."""
    log2fc = np.array([2.0, -1.0, 3.0, np.nan])
    changes = np.array([[-1.0, 2.0], [0.5, 2.0], [-1.5, -2.0], [9.0, 9.0]])
    null = np.array([[0.1, 2.0], [-0.1, 2.0], [0.2, -2.0], [9.0, 9.0]])
    table = summarise(["x", "y"], changes, np.abs(changes), null, log2fc)
    assert table["effect"].tolist() == pytest.approx([1.0, 2 / 3])
    assert table["effect_null"].tolist() == pytest.approx([-0.4 / 3, 2 / 3])
    assert table["effect_minus_null"].tolist() == pytest.approx([3.4 / 3, 0])
    assert table["effect_minus_null_low"][0] < 3.4 / 3 < table["effect_minus_null_high"][0]
    assert table["effect_minus_null_low"][1] == table["effect_minus_null_high"][1] == 0
    unlabelled = summarise(["x"], changes[:, :1], changes[:, :1], null[:, :1], np.full(4, np.nan))
    assert np.isnan(unlabelled["effect"]).all()


def test_the_same_perturbation_twice_is_refused(source: OpenedModel) -> None:
    with pytest.raises(UsageError, match="given twice"):
        parse_perturbations(source, ["H3K4me3=0", "all=0"])


def test_a_donor_without_the_mark_is_refused(tmp_path: Path, source: OpenedModel) -> None:
    store: Store = make_store(tmp_path / "s.h5")
    with store.edit() as editor:
        editor.add_signal("D4", "H3K27me3", np.ones((60, 20), np.float32))
    with pytest.raises(StoreError, match="cell D4 lacks H3K4me3"):
        parse_perturbations(random_source(store, "raw"), ["H3K4me3=D4"])


def test_spread_is_over_members_and_null_is_the_same_of_another_genes_marks(source: OpenedModel) -> None:
    members = [random_source(source.pair.store, "raw", seed).model for seed in (1, 2, 3)]
    together = replace(source, model=Ensemble(members).eval())
    (mean,) = parse_perturbations(together, ["H3K4me3=mean"])
    rows = np.arange(60)
    (table,) = perturb(together, rows, [mean])
    a, b = together.pair.signal(rows)
    new_a, new_b = perturbed(together, mean, rows, a, b)
    each = [
        predict_tensors(model, *together.inputs(rows, new_a, new_b)).log2fc
        - predict_tensors(model, *together.inputs(rows, a, b)).log2fc
        for model in members
    ]
    np.testing.assert_allclose(table["change"], np.mean(each, axis=0), atol=1e-5)
    np.testing.assert_allclose(table["change_spread"], np.std(each, axis=0, ddof=1), atol=1e-5)
    np.testing.assert_array_equal(table["log2fc_pred"], together.predict_signal(rows, a, b).log2fc)
    lent_a, lent_b = Lenders(together).lent(mean, rows, a, b)
    train = together.pair.rows("train")
    for row in range(60):
        lender = int(np.flatnonzero((lent_a[row, 0] == a[:, 0]).all(axis=1))[0])
        assert lender != row
        assert lender in train
        np.testing.assert_array_equal(lent_b[row, 0], b[lender, 0])
    np.testing.assert_array_equal(lent_a[:, 1], a[:, 1])
    averaged = perturbed(together, mean, rows, lent_a, lent_b)
    before, after = (together.predict_signal(rows, *x).log2fc for x in ((lent_a, lent_b), averaged))
    null = after - before
    np.testing.assert_allclose(table["change_null"], null, atol=1e-6)
    (some,) = perturb(together, rows[10:20], [mean])
    np.testing.assert_allclose(some["change_null"], table["change_null"][10:20], atol=1e-6)
    (single,) = perturb(source, rows, [mean])
    assert np.isnan(single["change_spread"]).all()


def test_no_signal_warns_once_that_it_was_never_seen(source: OpenedModel) -> None:
    class Warnings(SilentReporter):
        said: list[str] = []  # noqa: RUF012

        def warn(self, message: str) -> None:
            self.said.append(message)

    list(perturb(source, ROWS, parse_perturbations(source, ["all=mean"]), Warnings()))
    assert Warnings.said == []
    list(perturb(source, ROWS, parse_perturbations(source, ["all=0", "A1:H3K4me3=0"]), Warnings()))
    assert len(Warnings.said) == 1
    assert "ever seen" in Warnings.said[0]

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attention_tools import random_source
from conftest import make_store
from diffchrom.attention.perturbation import parse_perturbations, perturbed, summarise, write_perturbations
from diffchrom.deepdiff.inference import predict_tensors
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.errors import StoreError, UsageError
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
    before = predict_tensors(source.model, *source.inputs(a, b)).log2fc
    b[:, 0] = a[:, 0]
    swapped = predict_tensors(source.model, *source.inputs(a, b)).log2fc
    part = table[table["perturbation"] == "H3K4me3=A1"]
    np.testing.assert_allclose(part["log2fc_pred"], before, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(part["log2fc_pred_perturbed"], swapped, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(part["change"], swapped - before, atol=1e-5)
    np.testing.assert_allclose(part["log2fc"], source.pair.labels.log2fc, rtol=1e-5)
    np.testing.assert_allclose(summary["mean_change"][2], (swapped - before).mean(), atol=1e-5)


def test_the_summary_counts_changes_of_a_factor_of_two() -> None:
    changes = np.array([[1.0, 0.0], [-1.5, 0.5], [0.99, -0.5], [3.0, 0.0]])
    table = summarise(["x", "y"], changes)
    assert table["n_raised"].tolist() == [2, 0]
    assert table["n_lowered"].tolist() == [1, 0]
    assert table["mean_change"].tolist() == [pytest.approx(0.8725), 0.0]
    assert table["mean_absolute_change"].tolist() == [pytest.approx(1.6225), 0.25]
    assert (table["lowest"].tolist(), table["highest"].tolist()) == ([-1.5, -0.5], [3.0, 0.5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("H3K4me3", "give MARK=0"),
        ("=0", "give MARK=0"),
        ("H3K4me3=", "give MARK=0"),
        (":H3K4me3=0", "give MARK=0"),
        ("H3K9me3=0", "no mark H3K9me3; the run has H3K4me3, H3K27me3"),
        ("C3:H3K4me3=0", "C3 is not in the pair A1,B2"),
        ("H3K4me3=K562", "no cell K562 .* it has A1, B2, C3; 0 stands for no signal"),
        ("A1:H3K4me3=A1", "changes nothing"),
        ("H3K4me3=0,A1:H3K4me3=B2", "changes the same mark of the same cell twice"),
        ("all=0,H3K4me3=B2", "stands alone"),
    ],
)
def test_what_makes_no_perturbation_is_refused(source: OpenedModel, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_perturbations(source, [text])


def test_the_same_perturbation_twice_is_refused(source: OpenedModel) -> None:
    with pytest.raises(UsageError, match="given twice"):
        parse_perturbations(source, ["H3K4me3=0", "all=0"])


def test_a_donor_without_the_mark_is_refused(tmp_path: Path, source: OpenedModel) -> None:
    store: Store = make_store(tmp_path / "s.h5")
    with store.edit() as editor:
        editor.add_signal("D4", "H3K27me3", np.ones((60, 20), np.float32))
    with pytest.raises(StoreError, match="cell D4 lacks H3K4me3"):
        parse_perturbations(random_source(store, "raw"), ["H3K4me3=D4"])

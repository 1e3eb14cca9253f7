"""The coefficients shown are those that predict, at the place they belong to."""

from __future__ import annotations

import numpy as np
import pytest

from baseline_data import LAYOUT, MARKS, N_BINS, examples, make_store, small
from diffchrom.baselines.coefficients import coefficients
from diffchrom.baselines.features import both_and_difference, log2_merged
from diffchrom.baselines.method import Context
from diffchrom.baselines.methods import METHODS
from diffchrom.errors import RunError
from diffchrom.pairs.pair import Pair

WITH = ("ridge", "random-forest", "gradient-boosting", "relieff-rf")


@pytest.fixture(scope="module")
def genes(tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("coefficients") / "store.h5")
    return examples(Pair.of(store, ("A", "B")).load())


def fitted(name, genes):
    method = small(name)
    return method.fit(genes, genes, method.grid(), Context())


def test_ridge_predicts_by_its_coefficients_times_the_log2_signal(genes):
    ridge = fitted("ridge", genes)
    columns = coefficients(ridge, MARKS, LAYOUT)
    signal = np.concatenate(
        [log2_merged(of_cell, ridge.features.merge) for of_cell in (genes.signal_a, genes.signal_b)],
        axis=1,
    )
    rest = ridge.predict(genes).log2fc - signal @ columns["coefficient"]
    np.testing.assert_allclose(rest, rest[0], atol=1e-6)
    np.testing.assert_allclose(
        columns["per_sd"], columns["coefficient"] * signal.std(axis=0, dtype=float), atol=1e-7
    )


def test_ridge_gives_each_mark_the_sign_of_what_it_does_in_each_cell(genes):
    columns = coefficients(fitted("ridge", genes), MARKS, LAYOUT)
    total = {
        (cell, mark): columns["coefficient"][(columns["cell"] == cell) & (columns["mark"] == mark)].sum()
        for cell in "AB"
        for mark in MARKS
    }
    assert total["B", "H3K4me3"] > 0.5 > -0.5 > total["A", "H3K4me3"]
    assert total["A", "H3K27me3"] > 0.2 > -0.2 > total["B", "H3K27me3"]
    assert abs(total["B", "H3K9me3"]) < 0.2


@pytest.mark.parametrize("name", WITH[1:])
def test_trees_find_the_mark_that_drives_expression(name, genes):
    columns = coefficients(fitted(name, genes), MARKS, LAYOUT)
    assert columns["importance"].sum() == pytest.approx(1)
    by_mark = {mark: columns["importance"][columns["mark"] == mark].sum() for mark in MARKS}
    assert by_mark["H3K4me3"] > by_mark["H3K27me3"] > by_mark["H3K9me3"]
    assert set(columns["cell"]) <= {"A", "B", "B-A"}


@pytest.mark.parametrize("name", WITH)
def test_a_row_a_feature_and_bins_inside_the_window(name, genes):
    columns = coefficients(fitted(name, genes), MARKS, LAYOUT)
    lengths = {len(values) for values in columns.values()}
    assert len(lengths) == 1
    assert (columns["first_window"] >= 1).all()
    assert (columns["first_window"] <= columns["last_window"]).all()
    assert (columns["last_window"] <= N_BINS).all()


def test_rows_stand_in_the_order_of_the_features(genes):
    forest = fitted("random-forest", genes)
    columns = coefficients(forest, MARKS, LAYOUT)
    row = int(np.flatnonzero((columns["cell"] == "B-A") & (columns["mark"] == MARKS[1]))[2])
    bins = slice(columns["first_window"][row] - 1, columns["last_window"][row])
    a, b = (signal[:, 1, bins].mean(axis=1) for signal in (genes.signal_a, genes.signal_b))
    np.testing.assert_allclose(
        both_and_difference(genes, forest.merge)[:, row], np.log2(b + 1) - np.log2(a + 1), atol=1e-5
    )


@pytest.mark.parametrize("name", sorted(set(METHODS) - set(WITH)))
def test_a_method_without_positions_names_those_that_have_them(name, genes):
    with pytest.raises(RunError, match="ridge, random-forest"):
        coefficients(fitted(name, genes), MARKS, LAYOUT)


@pytest.mark.parametrize("name", WITH)
def test_marks_of_another_run_are_refused(name, genes):
    with pytest.raises(RunError, match="fitted on"):
        coefficients(fitted(name, genes), MARKS[:1], LAYOUT)

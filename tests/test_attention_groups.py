from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from attention_tools import genes_at, random_source, store_of
from diffchrom.attention.groups import GroupRule, bootstrap_means, collect, group_table, permutation_p
from diffchrom.attention.plots import plot_distance, plot_groups
from diffchrom.attention.reports import report_groups
from diffchrom.attention.weights import Weights
from diffchrom.errors import InputError, UsageError
from diffchrom.files.figures import check_figure_path
from diffchrom.genome.genes import Window
from diffchrom.store.store import Store


def test_groups_are_the_genes_beyond_the_thresholds() -> None:
    values = np.array([8.0, 7.9, -8.0, np.nan, -9.0, 12.0, 0.0])
    groups = GroupRule(up=8, down=-8).groups(values)
    assert np.flatnonzero(groups["up"]).tolist() == [0, 5]
    assert np.flatnonzero(groups["down"]).tolist() == [2, 4]
    assert GroupRule(up=8).thresholds == (8, -8)
    assert GroupRule(down=-8).thresholds == (8, -8)


def test_a_quantile_takes_that_share_of_the_known_genes_at_each_end() -> None:
    values = np.append(np.arange(100.0), [np.nan] * 20)
    groups = GroupRule(quantile=0.1).groups(values)
    assert np.flatnonzero(groups["up"]).tolist() == list(range(90, 100))
    assert np.flatnonzero(groups["down"]).tolist() == list(range(10))


def test_groups_that_cannot_be_made_say_why() -> None:
    values = np.array([1.0, 2.0, -1.0, -2.0, 0.5])
    with pytest.raises(InputError, match=r"`up=8`: 0 of 5 genes pass.* from -2 to 2; choose other"):
        GroupRule(up=8, down=-8).groups(values)
    with pytest.raises(InputError, match=r"`down=-8`: 0 of 5 genes pass"):
        GroupRule(up=1, down=-8).groups(values)
    with pytest.raises(InputError, match="none of the 3 genes has a known log2fc"):
        GroupRule(up=1).groups(np.full(3, np.nan))
    with pytest.raises(InputError, match="equal log2fc"):
        GroupRule(quantile=0.5).groups(np.zeros(10))
    for wrong in (
        {},
        {"up": 1, "quantile": 0.1},
        {"quantile": 0.7},
        {"up": -1, "down": 1},
        {"up": 1, "by": "x"},
    ):
        with pytest.raises(UsageError):
            GroupRule(**wrong)  # type: ignore[arg-type]


def test_means_and_differences_are_those_of_the_groups_genes(toy_store: Store) -> None:
    source = random_source(toy_store, "raw+aux")
    rule = GroupRule(up=1, down=-1)
    table = pd.DataFrame(group_table(collect(Weights.of(source), np.arange(60), rule)))
    assert len(table) == 10 + 2 + 2
    log2fc = source.pair.labels.log2fc
    for group, rows in (("up", np.flatnonzero(log2fc >= 1)), ("down", np.flatnonzero(log2fc <= -1))):
        beta = np.concatenate([batch.beta["main"] for batch in source.attend_batches(rows)])
        main = table[table["task"] == "main"]
        np.testing.assert_allclose(main[f"beta_{group}"], beta.mean(axis=0), atol=1e-6)
        assert (main[f"n_{group}"] == len(rows)).all()
        assert (table[f"beta_{group}_low"] <= table[f"beta_{group}"]).all()
        assert (table[f"beta_{group}"] <= table[f"beta_{group}_high"]).all()
    np.testing.assert_allclose(table.groupby("task")["beta_up"].sum(), 1, atol=1e-5)
    np.testing.assert_allclose(table["difference"], table["beta_up"] - table["beta_down"], atol=1e-9)
    assert (table["q"] >= table["p"]).all()


def test_the_same_seed_gives_the_same_table(toy_store: Store) -> None:
    groups = collect(Weights.of(random_source(toy_store, "raw")), np.arange(60), GroupRule(quantile=0.2))
    one, two, other = (group_table(groups, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one["p"], two["p"])
    np.testing.assert_array_equal(one["beta_up_low"], two["beta_up_low"])
    assert not np.array_equal(one["beta_up_low"], other["beta_up_low"])


def test_alpha_is_averaged_by_distance_on_both_strands_and_orientations(tmp_path: Path) -> None:
    """In a genome-oriented store a minus gene's bins are turned round before they are averaged."""
    genes = genes_at([("chr1", 2000, "+"), ("chr1", 4000, "-"), ("chr1", 6000, "-"), ("chr1", 8000, "+")])
    store = store_of(tmp_path / "s.h5", genes, Window(300, 100, "genome"), {"chr1": 10_000})
    with store.edit() as editor:
        editor.add_expression("A", "counts", np.array([0.0, 0.0, 99.0, 99.0]), replace=True)
        editor.add_expression("B", "counts", np.array([99.0, 99.0, 0.0, 0.0]), replace=True)
    source = random_source(store, "raw:d")
    groups = collect(Weights.of(source), np.arange(4), GroupRule(up=1))
    alpha = np.concatenate([batch.alpha for batch in source.attend_batches(np.arange(4))])
    np.testing.assert_allclose(groups.alpha["up"], (alpha[0] + alpha[1][:, ::-1]) / 2, atol=1e-7)
    np.testing.assert_allclose(groups.alpha["down"], (alpha[2][:, ::-1] + alpha[3]) / 2, atol=1e-7)


def test_the_permutation_test_agrees_with_scipys_on_the_same_question() -> None:
    random = np.random.default_rng(0)
    up, down = random.normal(0.5, 1, (25, 1)), random.normal(0, 1, (30, 1))
    ours = permutation_p(up, down, np.random.default_rng(1))[0]
    theirs = stats.permutation_test(
        (up[:, 0], down[:, 0]), lambda x, y: abs(x.mean() - y.mean()), n_resamples=9999,
        alternative="greater",
    ).pvalue  # fmt: skip
    assert ours == pytest.approx(theirs, abs=0.02)


def test_p_is_small_for_a_difference_and_uniform_without_one() -> None:
    random = np.random.default_rng(0)
    shifted = permutation_p(random.normal(3, 1, (20, 1)), random.normal(0, 1, (20, 1)), random)
    assert shifted[0] <= 2e-4
    null = permutation_p(random.normal(0, 1, (20, 200)), random.normal(0, 1, (25, 200)), random)
    assert stats.kstest(null, "uniform").pvalue > 0.01
    same = np.full((5, 1), 0.2)
    assert permutation_p(same, same, random)[0] == 1


def test_the_bootstrap_interval_covers_as_it_should() -> None:
    """Of a mean of 50 normal values: half-width 1.96 / sqrt(50) = 0.277."""
    values = np.random.default_rng(0).normal(0, 1, (50, 1))
    low, high = bootstrap_means(values, np.random.default_rng(1))
    assert (high - low)[0] == pytest.approx(2 * 1.96 * values.std() / np.sqrt(50), rel=0.1)


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_figures_are_drawn_in_every_format_and_the_same_each_time(
    toy_store: Store, tmp_path: Path, suffix: str, magic: bytes
) -> None:
    source = random_source(toy_store, "aux")
    for name in ("a", "b"):
        folder = tmp_path / name
        report_groups(
            source, np.arange(60), GroupRule(up=1), folder / "t.tsv", folder / f"figure{suffix}", seed=0
        )
        assert sorted(os.listdir(folder)) == sorted(["t.tsv", f"figure{suffix}", f"figure.bins{suffix}"])
    for file in (f"figure{suffix}", f"figure.bins{suffix}"):
        assert (tmp_path / "a" / file).read_bytes().startswith(magic)
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_figures_show_what_the_table_says(toy_store: Store) -> None:
    source = random_source(toy_store, "raw+aux")
    groups = collect(Weights.of(source), np.arange(60), GroupRule(up=1))
    table = group_table(groups)
    bars = plot_groups(table, groups.kind)
    assert len(bars.axes) == 3
    heights = [patch.get_height() for patch in bars.axes[0].patches]
    main = table["task"] == "main"
    np.testing.assert_allclose(heights, np.concatenate([table["beta_up"][main], table["beta_down"][main]]))
    down = bars.axes[0].patches[len(heights) // 2]
    assert down.get_hatch()  # told apart without colour
    heat = plot_distance(groups)
    images = [axis.images[0] for axis in heat.axes if axis.images]
    assert len(images) == 5 * 2
    assert images[0].get_extent() == [-1.0, 1.0, 1.5, -0.5]
    np.testing.assert_allclose(images[1].get_array(), groups.alpha["down"][:2])


def test_an_unknown_figure_format_is_refused() -> None:
    with pytest.raises(UsageError, match=r"ends in \.png, \.svg, \.pdf"):
        check_figure_path(Path("x.jpg"))

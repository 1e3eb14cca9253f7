"""Attention over the whole gene: where the windows of every region lie, in every format."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_tools import adding_source, random_source, table_of
from conftest import genes_of
from diffchrom.attention.bed import BED_COLUMNS, BinChoice, bed_table
from diffchrom.attention.export import ExportOptions, export
from diffchrom.attention.formats import bin_table, wide_table
from diffchrom.attention.groups import GroupRule, collect, group_table
from diffchrom.attention.perturbation import parse_perturbations, perturbed
from diffchrom.attention.places import place_names
from diffchrom.attention.plots import plot_distance
from diffchrom.attention.reports import report_groups
from diffchrom.attention.tracks import combine, track_name
from diffchrom.attention.weights import Weights
from diffchrom.deepdiff import opened
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.errors import UsageError
from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.regions import REGIONS
from diffchrom.store.store import Store, create

SIZES = {"chr1": 500_000, "chr2": 300_000}
MARKS = ("H3K4me3", "H3K27me3")


def store_at(path: Path, genes: Genes, *, window: Window = Window(1000, 100), seed: int = 0) -> Store:  # noqa: B008
    """Cells A and B with random signal in every region."""
    random = np.random.default_rng(seed)
    store = create(path, genes, window, chrom_sizes=SIZES)
    with store.edit() as editor:
        for cell in "AB":
            for mark in MARKS:
                for region in (None, *REGIONS):
                    n = window.n_bins if region is None else len(REGIONS[region].windows)
                    values = random.gamma(1.0, 2.0, (len(genes), n)).astype(np.float32)
                    editor.add_signal(cell, mark, values, **({"region": region} if region else {}))
            editor.add_expression(cell, "counts", random.integers(0, 2000, len(genes)).astype(float))
    return store


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    """On chr1 (500 kb): TSS 250,000 on plus, 4,000 bases; first base 449,999 on minus, 4,000 bases."""
    genes = genes_of(["chr1", "chr1"], [250_000, 449_999], np.array([4000, 4000]), [False, True])
    return adding_source(store_at(tmp_path_factory.mktemp("two") / "s.h5", genes))


def coordinates(source: OpenedModel, row: int) -> dict[str, list[tuple[int, int]]]:
    weights = Weights.of(source)
    table = table_of(bin_table(weights, weights.batches(np.array([row])), np.array([0])))
    table = table.fillna({"start": -1, "end": -1}).astype({"start": int, "end": int})
    return {
        region: list(zip(part["start"], part["end"], strict=True))
        for region, part in table.groupby("region", sort=False)
    }


def test_windows_of_a_plus_gene_lie_where_its_regions_say(two: OpenedModel) -> None:
    places = coordinates(two, 0)
    assert list(places) == ["tss", "body", "tes", "distal"]
    assert places["tss"] == [(start, start + 100) for start in range(249_000, 251_000, 100)]
    assert places["body"] == [(start, start + 400) for start in range(250_000, 254_000, 400)]
    # The last transcribed base is 253,999; windows of 1 kb count from its 5' edge.
    assert places["tes"] == [(start, start + 1000) for start in range(247_999, 259_999, 1000)]
    far = [(-200, -100), (-100, -50), (-50, -20), (-20, -10), (10, 20), (20, 50), (50, 100), (100, 200)]
    assert places["distal"] == [(250_000 + 1000 * a, 250_000 + 1000 * b) for a, b in far]


def test_windows_of_a_minus_gene_run_against_the_coordinates_and_end_with_the_chromosome(
    two: OpenedModel,
) -> None:
    """First base 449,999 on minus: windows count from 450,000 downwards, and upstream is to the right."""
    places = coordinates(two, 1)
    assert places["tss"] == [(450_900 - 100 * i, 451_000 - 100 * i) for i in range(20)]
    assert places["body"] == [(449_600 - 400 * i, 450_000 - 400 * i) for i in range(10)]
    # The last transcribed base is 446,000, whose 5' edge is 446,001.
    assert places["tes"] == [(451_001 - 1000 * i, 452_001 - 1000 * i) for i in range(12)]
    assert places["distal"] == [
        (-1, -1), (-1, -1), (470_000, 500_000), (460_000, 470_000),
        (430_000, 440_000), (400_000, 430_000), (350_000, 400_000), (250_000, 350_000),
    ]  # fmt: skip


def test_numbers_count_within_a_region_and_the_region_stands_last(two: OpenedModel) -> None:
    weights = Weights.of(two)
    table = table_of(bin_table(weights, weights.batches(np.array([0])), np.array([1])))
    assert list(table.columns) == [
        "gene_id", "block", "mark", "bin", "chrom", "start", "end", "alpha", "region",
    ]  # fmt: skip
    assert table["bin"].tolist() == [*range(1, 21), *range(1, 11), *range(1, 13), *range(1, 9)]
    assert table["alpha"].sum() == pytest.approx(1, abs=1e-5)
    wide = table_of(wide_table(weights, weights.batches(np.array([0, 1])), np.array([1])))
    assert wide.columns[7:].tolist() == [
        *(f"bin_{i}" for i in range(1, 21)), *(f"body_{i}" for i in range(1, 11)),
        *(f"tes_{i}" for i in range(1, 13)), *(f"distal_{i}" for i in range(1, 9)),
    ]  # fmt: skip
    np.testing.assert_array_equal(wide.iloc[0, 7:].astype(float), table["alpha"])
    # The window whose bins those are, whatever else is read.
    assert wide["start"].tolist() == [249_000, 449_000]
    assert wide["end"].tolist() == [251_000, 451_000]


def bed_of(source: OpenedModel, rows: list[int], choice: BinChoice, by: str = "attention") -> pd.DataFrame:
    weights = Weights.of(source, by)
    order = source.windows.genome_order(np.array(rows))
    text = b"".join(bed_table(weights, weights.batches(order), np.array([0, 1]), choice))
    return pd.read_csv(io.BytesIO(text), sep="\t", names=[*BED_COLUMNS, "region"])


def test_bed_merges_neighbours_of_a_region_but_not_across_a_gap_or_another_region(two: OpenedModel) -> None:
    table = bed_of(two, [0], BinChoice(top=50))
    table = table[table["mark"] == "H3K4me3"]
    spans = {
        region: list(zip(part["start"], part["end"], strict=True)) for region, part in table.groupby("region")
    }
    assert spans == {
        "tss": [(249_000, 251_000)],
        "body": [(250_000, 254_000)],
        "tes": [(247_999, 259_999)],
        "distal": [(50_000, 240_000), (260_000, 450_000)],
    }
    assert table["weight"].sum() == pytest.approx(1, abs=1e-5)
    assert table["name"].tolist()[0] == "G0|main:A-B|H3K4me3|distal"
    assert table["start"].is_monotonic_increasing


def test_bed_of_signed_weights_ends_where_the_sign_turns_and_keeps_it(two: OpenedModel) -> None:
    table = bed_of(two, [0], BinChoice(top=1000), "contribution")
    (batch,) = two.attend_batches(np.array([0]))
    assert batch.contribution is not None
    for j, mark in enumerate(MARKS):
        part = table[(table["mark"] == mark) & (table["region"] == "body")]
        values = batch.contribution[0, j, two.pair.layout.spans["body"]]
        assert len(part) == 1 + (np.diff(np.sign(values)) != 0).sum()
        assert part["weight"].sum() == pytest.approx(values.sum(), abs=1e-5)
        assert (np.sign(part["weight"]) == np.sign(part["peak"])).all()
        assert np.abs(part["peak"]).max() == pytest.approx(np.abs(values).max(), abs=1e-6)
    expected = np.minimum(np.abs(table["weight"]), 1) * 1000
    np.testing.assert_allclose(table["score"], expected, atol=0.51)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    """Genes of 3 bases to 150 kb, on both strands and over both ends of both chromosomes."""
    random = np.random.default_rng(5)
    n = 14
    chrom = np.where(np.arange(n) % 3 == 0, "chr2", "chr1")
    first = random.integers(0, [SIZES[name] for name in chrom])
    length = np.array([3, 40, 900, 2500, 7000, 20_000, 150_000] * 2)
    minus = np.arange(n) % 2 == 0
    genes = genes_of(chrom, first, length, minus)
    return adding_source(store_at(tmp_path_factory.mktemp("crowd") / "s.h5", genes, seed=2))


@pytest.mark.parametrize("how", ["max", "mean"])
@pytest.mark.parametrize("by", ["attention", "contribution"])
def test_tracks_hold_one_value_a_base_of_all_windows_over_it(
    crowd: OpenedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, by: str
) -> None:
    """By brute force, base by base; batches of two genes must not show."""
    monkeypatch.setattr(opened, "ATTENTION_BATCH", 2)
    rows = np.arange(len(crowd.genes))
    export(crowd, rows, ExportOptions(format="bigwig", combine=how, by=by), tmp_path / "bw")
    export(crowd, rows, ExportOptions(format="bedgraph", combine=how, by=by), tmp_path / "bg")
    start, end = crowd.windows.intervals(rows, SIZES)
    weights = Weights.of(crowd, by)
    for i, sequence in enumerate(weights.sequences):
        values = np.concatenate([batch.alpha[:, i] for batch in weights.batches(rows)])
        name, columns = track_name(sequence), ["chrom", "start", "end", "value"]
        table = pd.read_csv(tmp_path / "bg" / f"{name}.bedgraph", sep="\t", names=columns)
        with pyBigWig.open(str(tmp_path / "bw" / f"{name}.bw")) as file:
            for chrom, size in SIZES.items():
                total, depth, largest = np.zeros(size), np.zeros(size, dtype=int), np.zeros(size)
                for row in np.flatnonzero(crowd.genes.chrom == chrom):
                    for first, last, value in zip(start[row], end[row], values[row], strict=True):
                        if first >= 0:
                            total[first:last] += value
                            depth[first:last] += 1
                            here = largest[first:last]
                            here[:] = np.where(np.abs(value) > np.abs(here), value, here)
                expected = largest if how == "max" else total / np.maximum(depth, 1)
                expected = np.where(depth > 0, expected, np.nan)
                np.testing.assert_allclose(file.values(chrom, 0, size, numpy=True), expected, atol=1e-5)
                part = table[table["chrom"] == chrom]
                assert (part["start"].to_numpy()[1:] >= part["end"].to_numpy()[:-1]).all()
                assert (part["end"] - part["start"]).sum() == (depth > 0).sum()


def test_bed_is_sorted_and_the_same_whatever_the_batches(
    crowd: OpenedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(range(len(crowd.genes)))
    whole = bed_of(crowd, rows, BinChoice(top=15))
    monkeypatch.setattr(opened, "ATTENTION_BATCH", 2)
    pd.testing.assert_frame_equal(bed_of(crowd, rows, BinChoice(top=15)), whole)
    order = whole.sort_values(["chrom", "start"], kind="stable").index
    assert list(order) == list(range(len(whole)))
    assert (whole["start"] >= 0).all()
    assert (whole["end"] <= whole["chrom"].map(SIZES)).all()


@settings(max_examples=20, deadline=None)
@given(
    first=st.integers(0, 299_999),
    length=st.integers(1, 120_000),
    minus=st.booleans(),
    orient=st.sampled_from(["transcription", "genome"]),
)
def test_a_track_covers_the_windows_of_a_gene_wherever_it_lies(
    tmp_path_factory: pytest.TempPathFactory, first: int, length: int, minus: bool, orient: str
) -> None:
    genes = genes_of(["chr2"], [first], np.array([length]), [minus])
    path = tmp_path_factory.mktemp("anywhere") / "s.h5"
    source = random_source(store_at(path, genes, window=Window(300, 100, orient)), "raw:d", regions=None)
    start, end = source.windows.intervals(np.array([0]), SIZES)
    expected = np.zeros(SIZES["chr2"], dtype=int)
    for begin, stop in zip(start[0], end[0], strict=True):
        expected[max(begin, 0) : max(stop, 0)] = 1
    covered = np.zeros(SIZES["chr2"], dtype=int)
    for stretch in combine(source, source.attend_batches(np.array([0])), np.array([0])):
        for begin, stop in zip(stretch.start, stretch.end, strict=True):
            covered[begin:stop] += 1
    np.testing.assert_array_equal(covered, expected)


def test_groups_turn_every_region_of_a_minus_gene_in_a_store_of_genome_order(tmp_path: Path) -> None:
    genes = genes_of(["chr1"] * 8, np.arange(8) * 9000 + 250_000, np.full(8, 3000), [True, False] * 4)
    store = store_at(tmp_path / "s.h5", genes, window=Window(1000, 100, "genome"))
    source = random_source(store, "raw:d", regions=None)
    groups = collect(Weights.of(source), np.arange(8), GroupRule(quantile=0.4))
    batch = source.attention_of(np.arange(8))
    log2fc = source.pair.labels.log2fc
    up = np.flatnonzero(log2fc >= np.quantile(log2fc, 0.6))
    for name, span in source.pair.layout.spans.items():
        alpha = batch.alpha[..., span]
        turned = np.where(genes.minus[:, None, None], alpha[..., ::-1], alpha)
        expected = turned[up].mean(axis=0)
        np.testing.assert_allclose(groups.layout.of_region(groups.alpha["up"], name), expected, atol=1e-6)


@pytest.mark.parametrize("by", ["attention", "gradient", "integrated-gradients", "contribution"])
def test_groups_of_every_kind_of_weight_are_drawn_with_a_panel_a_region(
    crowd: OpenedModel, tmp_path: Path, by: str
) -> None:
    rows, rule = np.arange(len(crowd.genes)), GroupRule(quantile=0.3)
    report_groups(crowd, rows, rule, tmp_path / "x.tsv", tmp_path / "x.svg", by=by)
    table = pd.read_csv(tmp_path / "x.tsv", sep="\t")
    name = Weights.of(crowd, by).kind.of_marks
    np.testing.assert_allclose(table["difference"], table[f"{name}_up"] - table[f"{name}_down"], atol=1e-4)
    assert (tmp_path / "x.bins.svg").exists()
    groups = collect(Weights.of(crowd, by), rows, rule)
    panels = plot_distance(groups).axes[:8]
    assert [panel.images[0].get_array().shape for panel in panels] == [(2, 20), (2, 10), (2, 12), (2, 8)] * 2
    labels = [text.get_text() for text in panels[3].get_xticklabels()]
    assert labels == ["-200", "-100", "-50", "-20", "-10 | 10", "20", "50", "100", "200"]
    if by == "contribution":
        each = crowd.attention_of(rows).contribution
        assert each is not None
        log2fc = crowd.pair.labels.log2fc
        up = log2fc >= np.quantile(log2fc, 0.7)
        expected = each[up].sum(axis=2).mean(axis=0)
        np.testing.assert_allclose(group_table(groups)["contribution_up"], expected, rtol=1e-4)


def test_places_are_named_as_readers_know_them() -> None:
    assert place_names(REGIONS["distal"])[3:5] == ["-20 to -10 kb from the TSS", "10 to 20 kb from the TSS"]
    assert place_names(REGIONS["body"])[0] == "0 to 10 % from TSS to TES"
    assert place_names(REGIONS["tes"])[0] == "-6 to -5 kb from the TES"


def test_a_mark_is_perturbed_in_one_region_only(two: OpenedModel) -> None:
    rows = np.array([0, 1])
    a, b = two.pair.signal(rows)
    body, tes = (two.pair.layout.spans[name] for name in ("body", "tes"))
    (one,) = parse_perturbations(two, ["H3K4me3@body=0,B:H3K4me3@tes=mean"])
    new_a, new_b = perturbed(two, one, rows, a, b)
    for before, after in ((a, new_a), (b, new_b)):
        assert not after[:, 0, body].any()
        np.testing.assert_array_equal(after[:, 1], before[:, 1])
        np.testing.assert_array_equal(after[:, 0, :20], before[:, 0, :20])
    np.testing.assert_array_equal(new_a[:, 0, tes], a[:, 0, tes])
    np.testing.assert_allclose(new_b[:, 0, tes], np.tile(two.average_signal[0, tes], (2, 1)), rtol=1e-6)
    names = [each.name for each in parse_perturbations(two, ["A:all@distal=mean"])]
    assert names == ["A:H3K4me3@distal=mean", "A:H3K27me3@distal=mean"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("H3K4me3@promoter=0", "no region promoter; the run reads tss, body, tes, distal"),
        ("H3K4me3@body=0,H3K4me3=mean", "the same mark of the same cell twice"),
        ("H3K4me3@body=0,H3K4me3@body=mean", "the same mark of the same cell twice"),
        ("H3K9ac@body=0", "no mark H3K9ac"),
    ],
)
def test_a_region_that_is_not_read_or_changed_twice_is_refused(
    two: OpenedModel, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        parse_perturbations(two, [text])


def test_contributions_of_the_default_add_up_to_its_prediction(
    whole_gene_store: Store, tmp_path: Path
) -> None:
    """Without the shift, which belongs to a run's own pair; in bins, marks, BED and groups alike."""
    source = random_source(whole_gene_store, "additive", regions=None)
    source.model.set_order(0)
    rows = np.arange(60)
    predicted = source.predict(rows).log2fc
    for level in ("bin", "mark"):
        export(source, rows, ExportOptions(level=level, by="contribution"), tmp_path / "x.tsv")
        table = pd.read_csv(tmp_path / "x.tsv", sep="\t")
        sums = table.groupby("gene_id", sort=False)["contribution"].sum()
        np.testing.assert_allclose(sums, predicted, rtol=1e-5, atol=1e-4)
    everything = ExportOptions(format="bed", top=1000, by="contribution")
    export(source, rows, everything, tmp_path / "x.bed")
    bed = pd.read_csv(tmp_path / "x.bed", sep="\t", names=[*BED_COLUMNS, "region"])
    # Distal windows that lie wholly beyond an end of the chromosome have no place in a BED.
    assert set(bed["region"]) == {"tss", "body", "tes", "distal"}
    attention = source.attention_of(rows)
    assert attention.contribution is not None
    start, _ = source.windows.intervals(rows, whole_gene_store.chrom_sizes)
    inside = np.where((start >= 0)[:, None], attention.contribution, 0).sum(axis=(1, 2))
    sums = bed.groupby("gene_id")["weight"].sum()
    np.testing.assert_allclose(sums, inside, rtol=1e-4, atol=1e-3)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_tools import genes_at, random_source, store_of, table_of
from conftest import train, training
from diffchrom.attention.bed import BinChoice, bed_table
from diffchrom.attention.formats import bin_table, mark_table, wide_table
from diffchrom.attention.weights import Weights
from diffchrom.config import hyperparameters
from diffchrom.deepdiff.opened import open_model
from diffchrom.errors import RunError, StoreError
from diffchrom.files.bulk import Names, bulk_lines
from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.layout import Layout
from diffchrom.genome.regions import region_of
from diffchrom.pairs import pair as pairs
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store
from diffchrom.variants import VARIANTS

#: Level I blocks of each variant, from the paper's Figure 3.
BLOCKS = {
    "raw:d": ("main:A-B",),
    "raw:c": ("main:A", "main:B"),
    "raw": ("main:A", "main:B", "main:A-B"),
    "aux": ("aux:A", "aux:B"),
    "raw+aux": ("main:A", "main:B", "main:A-B", "aux:A", "aux:B"),
    "aux+siamese": ("aux:A", "aux:B"),
    "raw+aux+siamese": ("main:A", "main:B", "main:A-B", "aux:A", "aux:B"),
    "antisymmetric": ("main:A-B",),
    "additive": ("main:A-B",),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_sequence_of_every_block_is_labelled_and_sums_to_one(toy_store: Store, variant: str) -> None:
    source = random_source(toy_store, variant)
    keep = np.arange(len(source.sequences))
    rows = np.array([7, 3, 41])
    bins = table_of(bin_table(Weights.of(source), source.attend_batches(rows), keep))
    assert len(bins) == 3 * len(BLOCKS[variant]) * 2 * 20
    assert list(dict.fromkeys(bins["block"])) == list(BLOCKS[variant])
    sums = bins.groupby(["gene_id", "block", "mark"], sort=False)["alpha"].sum()
    assert len(sums) == 3 * len(BLOCKS[variant]) * 2
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    marks = table_of(mark_table(Weights.of(source), source.attend_batches(rows), keep))
    sums = marks.groupby(["gene_id", "task"])["beta"].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    expected = {"main"} if VARIANTS[variant].main else set()
    row = VARIANTS[variant]
    expected |= {"A", "B"} if row.auxiliary and not row.antisymmetric else set()
    assert set(marks["task"]) == expected
    if "main" in expected:
        assert set(marks.loc[marks["task"] == "main", "block"]) == set(BLOCKS[variant])


def test_a_label_names_the_sequence_whose_signal_it_is(toy_store: Store) -> None:
    """Changing one mark in one cell moves the alpha of just the sequences that read it."""
    source = random_source(toy_store, "raw+aux")
    rows = np.array([0, 1])
    a, b = source.pair.signal(rows)
    before = source.attend_signal(rows, a, b)
    changed = b.copy()
    changed[:, 1] = changed[:, 1, ::-1] + 3
    after = source.attend_signal(rows, a, changed)
    moved = np.abs(after.alpha - before.alpha).max(axis=(0, 2)) > 1e-6
    named = {(one.block, one.mark) for one, yes in zip(source.sequences, moved, strict=True) if yes}
    assert named == {(block, "H3K27me3") for block in ("main:B", "main:A-B", "aux:B")}


def test_beta_follows_the_order_in_which_level_two_reads(toy_store: Store) -> None:
    """raw+aux's main task attends to main, then A, then B: 25 sequences of 5 marks, here 10 of 2."""
    source = random_source(toy_store, "raw+aux")
    assert source.tasks["main"] == source.sequences
    assert [one.block for one in source.tasks["A"]] == ["aux:A", "aux:A"]
    rows = np.array([5])
    batch = source.attend_signal(rows, *source.pair.signal(rows))
    table = table_of(mark_table(Weights.of(source), [batch], np.arange(10)))
    main = table[table["task"] == "main"]
    np.testing.assert_allclose(main["beta"], batch.beta["main"][0], atol=1e-6)
    assert list(main["mark"]) == ["H3K4me3", "H3K27me3"] * 5
    np.testing.assert_allclose(table["log2fc"], source.pair.labels.log2fc[5], rtol=1e-6)
    np.testing.assert_allclose(table["log2fc_pred"], batch.log2fc_pred[0], rtol=1e-6)


@pytest.mark.parametrize("orient", ["transcription", "genome"])
def test_coordinates_of_a_minus_strand_gene(tmp_path: Path, orient: str) -> None:
    """TSS 3999 on minus, flank 300: the window is [3700, 4300), and upstream is to the right.

    Worked by hand: the 5' edge of the first transcribed base of a minus gene at 3999 is 4000, so bins of 100
    tile [3700, 4300); in transcription orientation bin 1 is [4200, 4300), in genome orientation [3700, 3800).
    """
    window = Window(300, 100, orient)
    store = store_of(
        tmp_path / "s.h5", genes_at([("chr1", 3999, "-"), ("chr1", 4000, "+")]), window, {"chr1": 10_000}
    )
    source = random_source(store, "raw:d")
    table = table_of(bin_table(Weights.of(source), source.attend_batches(np.array([0, 1])), np.array([0])))
    minus, plus = table[table["gene_id"] == "G0"], table[table["gene_id"] == "G1"]
    ascending = [3700, 3800, 3900, 4000, 4100, 4200]
    assert list(plus["start"]) == ascending
    assert list(plus["end"]) == [start + 100 for start in ascending]
    assert list(minus["start"]) == (ascending[::-1] if orient == "transcription" else ascending)
    assert list(minus["bin"]) == [1, 2, 3, 4, 5, 6]


def test_windows_are_clipped_at_both_ends_of_a_chromosome(tmp_path: Path) -> None:
    """TSS 150, window [-150, 450) of a chromosome of 380: the first bin is gone, the second and last cut."""
    store = store_of(tmp_path / "s.h5", genes_at([("chr1", 150, "+")]), Window(300, 100), {"chr1": 380})
    source = random_source(store, "raw:d")
    batches = list(source.attend_batches(np.array([0])))
    table = table_of(bin_table(Weights.of(source), batches, np.array([0])))
    assert table["start"].fillna(-1).tolist() == [-1, 0, 50, 150, 250, 350]
    assert table["end"].fillna(-1).tolist() == [-1, 50, 150, 250, 350, 380]
    assert table["alpha"].sum() == pytest.approx(1, abs=1e-5)
    wide = table_of(wide_table(Weights.of(source), batches, np.array([0, 1])))
    assert (wide["start"].tolist(), wide["end"].tolist()) == ([0, 0], [380, 380])
    bed = b"".join(bed_table(Weights.of(source), batches, np.array([0]), BinChoice(top=6)))
    assert bed.split(b"\t")[1:3] == [b"0", b"380"]


def test_the_wide_table_holds_the_same_numbers(toy_store: Store) -> None:
    source = random_source(toy_store, "raw")
    rows = np.array([4, 9])
    long = table_of(bin_table(Weights.of(source), source.attend_batches(rows), np.arange(6)))
    wide = table_of(wide_table(Weights.of(source), source.attend_batches(rows), np.arange(6)))
    assert len(wide) == 12
    assert list(wide.columns[:7]) == ["gene_id", "block", "mark", "chrom", "start", "end", "strand"]
    np.testing.assert_array_equal(wide.filter(like="bin_").to_numpy().ravel(), long["alpha"])


def test_genes_without_coordinates_have_na_in_tables(tmp_path: Path) -> None:
    genes = genes_at([("NA", -1, ".")])
    nowhere = np.array([-1])
    genes = Genes(**{**vars(genes), "start": nowhere, "end": nowhere, "tss": nowhere, "tes": nowhere})
    source = random_source(store_of(tmp_path / "s.h5", genes, Window(300, 100), {}), "raw:d")
    text = b"".join(bin_table(Weights.of(source), source.attend_batches(np.array([0])), np.array([0])))
    assert text.splitlines()[1].split(b"\t")[:7] == [
        b"G0",
        b"main:A-B",
        b"H3K4me3",
        b"1",
        b"NA",
        b"NA",
        b"NA",
    ]
    text = b"".join(wide_table(Weights.of(source), source.attend_batches(np.array([0])), np.array([0])))
    assert text.splitlines()[1].split(b"\t")[3:7] == [b"NA", b"NA", b"NA", b"."]


@settings(max_examples=25, deadline=None)
@given(
    tss=st.integers(0, 9_999),
    half=st.integers(1, 6),
    bin_size=st.sampled_from([1, 7, 100]),
    top=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_a_minus_gene_and_its_mirror_image_give_mirrored_coordinates_and_equal_weights(
    tmp_path_factory: pytest.TempPathFactory, tss: int, half: int, bin_size: int, top: int, seed: int
) -> None:
    """Mirrored at the middle of a chromosome of 10,000 bases, base x becomes 9,999 - x."""
    length = 10_000
    window = Window(half * bin_size, bin_size)
    genes = genes_at([("chr1", tss, "+"), ("chr2", length - 1 - tss, "-")])
    one = np.random.default_rng(seed).gamma(1.0, 2.0, (2, 2, 1, window.n_bins))
    path = tmp_path_factory.mktemp("mirror") / "s.h5"
    store = store_of(path, genes, window, {"chr1": length, "chr2": length}, signal=np.repeat(one, 2, axis=2))
    source = random_source(store, "raw+aux", seed)
    rows, keep = np.array([0, 1]), np.arange(len(source.sequences))
    table = table_of(bin_table(Weights.of(source), source.attend_batches(rows), keep))
    plus, minus = table[table["gene_id"] == "G0"], table[table["gene_id"] == "G1"]
    np.testing.assert_allclose(plus["alpha"].to_numpy(), minus["alpha"].to_numpy(), atol=2e-7)
    np.testing.assert_array_equal(plus["start"].to_numpy(), length - minus["end"].to_numpy())
    np.testing.assert_array_equal(plus["end"].to_numpy(), length - minus["start"].to_numpy())

    def bed_of(row: int, mirrored: bool) -> list[tuple[object, ...]]:
        text = b"".join(
            bed_table(Weights.of(source), source.attend_batches(np.array([row])), keep, BinChoice(top))
        )
        fields = [line.split("\t") for line in text.decode().splitlines()]
        spans = [(int(field[1]), int(field[2])) for field in fields]
        spans = [(length - end, length - start) if mirrored else (start, end) for start, end in spans]
        return sorted(
            (span, *field[7:9], round(float(field[9]), 5)) for span, field in zip(spans, fields, strict=True)
        )

    assert bed_of(0, False) == bed_of(1, True)


def test_genes_are_ordered_as_sort_orders_bed(tmp_path: Path) -> None:
    places = [
        ("chr2", 500, "+"),
        ("chr10", 900, "-"),
        ("chr1", 800, "+"),
        ("chr10", 400, "+"),
        ("chr1", 10, "-"),
    ]
    genes = genes_at(places)
    window = Window(200, 100)
    windows = Layout((region_of("tss", window),), window.orient).windows(genes)
    assert windows.genome_order(np.arange(5)).tolist() == [4, 2, 3, 1, 0]


@pytest.mark.parametrize("budget", [0, pairs.SIGNAL_BUDGET])
def test_signal_is_read_in_any_order_within_any_budget(
    toy_store: Store, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setattr(pairs, "SIGNAL_BUDGET", budget)
    monkeypatch.setattr(pairs, "CHUNK_GENES", 2)
    rows = np.random.default_rng(0).permutation(60)
    source = random_source(toy_store, "raw")
    whole = load_signal(toy_store)
    np.testing.assert_array_equal(source.pair.signal_of("B2", rows), whole[rows])
    alpha = np.concatenate([batch.alpha for batch in source.attend_batches(rows)])
    straight = np.concatenate([batch.alpha for batch in source.attend_batches(np.arange(60))])
    np.testing.assert_allclose(alpha, straight[rows], atol=1e-6)


def load_signal(store: Store) -> np.ndarray:
    return store.signal("B2", store.marks("B2"))


def test_a_trained_run_is_opened_on_the_store_it_fits(toy_store: Store, tmp_path: Path) -> None:
    job = training(toy_store.path, "raw:d", settings=hyperparameters("default", epochs=1, hidden=4))
    run = train(job, tmp_path / "run")
    source = open_model(Run.open(run.path), toy_store)
    rows = np.arange(60)
    predicted = np.concatenate([batch.log2fc_pred for batch in source.attend_batches(rows)])
    stored = np.loadtxt(run.path / "predictions.tsv", skiprows=1, usecols=7, delimiter="\t")
    np.testing.assert_allclose(predicted, stored, atol=1e-5)
    window = toy_store.window
    other = store_of(tmp_path / "o.h5", genes_at([("chr1", 5000, "+")]), window, {}, marks=("H3K4me3",))
    with pytest.raises(StoreError, match=r"lacks H3K27me3.*run .* needs marks H3K4me3, H3K27me3"):
        open_model(run, other, ("A", "B"))
    shorter = store_of(tmp_path / "w.h5", genes_at([("chr1", 5000, "+")]), Window(300, 100), {})
    with pytest.raises(RunError, match="was trained on windows"):
        open_model(run, shorter, ("A", "B"))


@given(st.lists(st.integers(-1, 10**12 - 1), min_size=1, max_size=20))
def test_integers_are_written_as_python_writes_them(numbers: list[int]) -> None:
    text = bulk_lines((len(numbers),), (np.array(numbers),)).decode().split()
    assert text == ["NA" if number < 0 else str(number) for number in numbers]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_weights_are_written_to_eight_decimals(weights: list[float]) -> None:
    text = bulk_lines((len(weights),), (np.array(weights, np.float32),)).decode().split()
    assert text == [f"{weight:.8f}" for weight in weights]


def test_text_keeps_what_is_not_ascii_and_na_for_nothing() -> None:
    names = np.array(["café", "", "x"], dtype=object)
    assert bulk_lines((3,), (Names(names, np.arange(3)),)).decode() == "café\nNA\nx\n"


def test_columns_are_broadcast_to_the_rows() -> None:
    columns = (Names(["a", "b"], np.array([[1], [0]])), np.array([7, -1, 8]), np.array(0.5))
    assert bulk_lines((2, 3), columns).decode().splitlines() == [
        f"{name}\t{number}\t0.50000000" for name in "ba" for number in (7, "NA", 8)
    ]

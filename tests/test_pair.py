"""Models and baselines learn from the same input, named, read and described in one way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import called, make_store
from diffchrom.errors import DiffchromError, StoreError, UsageError
from diffchrom.genome.genes import Window
from diffchrom.pairs.pair import Pair
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store


def test_what_is_left_open_is_decided_by_the_store(toy_store: Store) -> None:
    pair = Pair.of(toy_store)
    assert (pair.cells, pair.split, pair.unit) == (("A1", "B2"), "chromosome", "counts")
    assert pair.marks == ("H3K4me3", "H3K27me3")


def test_rows_are_read_as_the_whole_is(toy_store: Store) -> None:
    pair = Pair.of(toy_store, ("B2", "A1"), marks=("H3K27me3",))
    data = pair.load()
    rows = np.array([40, 3, 3, 59])
    for whole, some in zip((data.signal_a, data.signal_b), pair.signal(rows), strict=True):
        np.testing.assert_array_equal(whole[rows], some)
    np.testing.assert_array_equal(data.signal_a[:, 0], toy_store.signal("B2", ["H3K27me3"])[:, 0])


def test_cells_come_in_the_order_of_the_table_of_changes(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5")
    with store.edit() as editor:
        editor.add_labels(
            ("B2", "A1"), {"log2fc": np.arange(60.0)}, {"source": "de.tsv", "dialect": "DESeq2"}
        )
    assert Pair.of(store).cells == ("B2", "A1")
    np.testing.assert_array_equal(Pair.of(store).labels.log2fc, np.arange(60.0))
    np.testing.assert_array_equal(Pair.of(store, ("A1", "B2")).labels.log2fc, -np.arange(60.0))


@pytest.mark.parametrize(
    ("cells", "wrong", "said"),
    [
        (("A1", "C3"), {}, "no cell named C3"),
        (None, {"marks": ("H3K9ac",)}, "lacks H3K9ac"),
        (None, {"split": "mine"}, "no split named mine"),
        (None, {"unit": "tpm"}, "no common expression in tpm"),
    ],
)
def test_what_the_store_has_not_is_named(
    toy_store: Store, cells: tuple[str, str] | None, wrong: dict[str, str], said: str
) -> None:
    with pytest.raises(DiffchromError, match=said):
        Pair.of(toy_store, cells, **wrong)


def test_a_model_and_a_baseline_tell_the_same_of_their_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Genes are 30 kb apart, so that windows of neighbours, which are of different parts, overlap.
    store = make_store(tmp_path / "s.h5", n_genes=80, window=Window(flank=50_000, bin_size=5_000))
    said = ["--store", str(store.path), "--threads", "1", "--pair", "B2,A1"]
    notes, configs = [], []
    for command in (["train", "--variant", "raw:d", "--epochs", "1", "--device", "cpu"], ["baseline"]):
        out = tmp_path / command[0]
        assert called([*command, *said, "--out", str(out)]) == 0
        notes.append([line for line in capsys.readouterr().err.splitlines() if "share bases" in line])
        configs.append(Run.open(out).config)
    assert len(notes[0]) == 1
    assert notes[0] == notes[1]
    for name in ("pair", "marks", "window", "split", "unit", "store"):
        assert getattr(configs[0], name) == getattr(configs[1], name)


def test_a_pair_reads_every_region_that_both_cells_have_side_by_side(whole_gene_store: Store) -> None:
    pair = Pair.of(whole_gene_store)
    assert pair.layout.names == ("tss", "body", "tes", "distal")
    assert [span.stop - span.start for span in pair.layout.spans.values()] == [200, 10, 12, 8]
    rows = np.array([7, 2, 11])
    for cell, signal in zip(pair.cells, pair.signal(rows), strict=True):
        assert signal.shape == (3, len(pair.marks), 230)
        for name in pair.layout.names:
            expected = whole_gene_store.region_signal(cell, name, pair.marks)[rows]
            np.testing.assert_array_equal(pair.layout.of_region(signal, name), expected)
    np.testing.assert_array_equal(pair.load().signal_a[rows], pair.signal(rows)[0])


def test_regions_are_chosen_by_name_and_the_bins_around_the_tss_are_always_read(
    whole_gene_store: Store,
) -> None:
    assert Pair.of(whole_gene_store, regions=("distal", "body")).layout.names == ("tss", "body", "distal")
    assert Pair.of(whole_gene_store).around_tss().layout.names == ("tss",)
    with pytest.raises(UsageError, match="did you mean body"):
        Pair.of(whole_gene_store, regions=("bodi",))


def test_a_region_that_one_cell_lacks_is_left_out_unless_it_is_asked_for(toy_store: Store) -> None:
    assert Pair.of(toy_store).layout.names == ("tss",)
    with pytest.raises(StoreError, match="no body signal.*regions=body"):
        Pair.of(toy_store, regions=("body",))


def test_coordinates_of_all_windows_stand_in_the_order_of_the_signal(whole_gene_store: Store) -> None:
    pair = Pair.of(whole_gene_store)
    rows = np.arange(len(pair))
    start, end = pair.layout.windows(pair.genes).intervals(rows, whole_gene_store.chrom_sizes)
    body = pair.layout.spans["body"]
    for row in rows[pair.genes.minus][:3]:  # transcription runs against the coordinates
        assert start[row, body][-1] == pair.genes.start[row]
        assert end[row, body][0] == pair.genes.end[row]

"""What test genes share with others: counted by hand on small cases, and by brute force on any."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import called, make_genes, make_store
from diffchrom.genome.genes import Window
from diffchrom.genome.windows import Windows
from diffchrom.pairs.leakage import find_leakage, store_leakage
from diffchrom.prepare.deepdiff_format import unlocated_genes
from diffchrom.store.store import Store

TRAIN, VALID, TEST = 0, 1, 2


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3000), st.sampled_from("+-"), st.sampled_from(["chr1", "chr2"]),
                  st.sampled_from([TRAIN, VALID, TEST, -1])),
        min_size=1, max_size=30,
    ),
    st.integers(1, 500),
)  # fmt: skip
def test_overlaps_are_those_of_windows_compared_one_by_one(
    drawn: list[tuple[int, str, str, int]], flank: int
) -> None:
    tss, strand, chrom, parts = (list(values) for values in zip(*drawn, strict=True))
    position = np.array(tss, dtype=np.int64)
    genes = replace(
        make_genes(len(drawn)),
        chrom=np.array(chrom, dtype=object),
        strand=np.array(strand, dtype=object),
        tss=position,
    )
    window = Window(flank, flank)
    windows = [set(range(first, first + 2 * flank)) for first in Windows.around(genes, window).start.tolist()]
    pairs = [
        (i, j)
        for i in range(len(drawn))
        for j in range(len(drawn))
        if parts[i] == TEST
        and parts[j] in (TRAIN, VALID)
        and chrom[i] == chrom[j]
        and windows[i] & windows[j]
    ]
    found = find_leakage(genes, np.array(parts, dtype=np.int8), window, "mine")
    assert found.overlapping_pairs == len(pairs)
    assert found.overlapping == len({i for i, _ in pairs})
    assert found.n_test == parts.count(TEST)


def test_symbols_count_and_ids_that_stand_for_symbols_do_not() -> None:
    genes = make_genes(6)
    genes.name[:] = ["A", "B", "NA", "a", "C", "NA"]
    parts = np.array([TRAIN, TRAIN, TRAIN, TEST, TEST, TEST], dtype=np.int8)
    found = find_leakage(genes, parts, Window(100), "mine")
    assert found.same_symbol == 1
    assert found.examples == ((str(genes.id[3]), str(genes.id[0]), "symbol"),)
    genes.name[:] = genes.id
    assert find_leakage(genes, parts, Window(100), "mine").same_symbol == 0


def test_without_coordinates_overlaps_are_unknown_not_none() -> None:
    genes = unlocated_genes([f"G{i}" for i in range(9)], [f"S{i}" for i in range(9)])
    found = find_leakage(genes, np.tile([0, 1, 2], 3).astype(np.int8), Window(100), "mine")
    assert found.overlapping is None
    assert found.warning() == ""


@pytest.fixture
def copied(tmp_path: Path) -> Store:
    """A store in which test gene 4 is gene 0, and test gene 9 nearly gene 1; test gene 14 has no signal."""
    store = make_store(tmp_path / "s.h5", n_genes=120)
    random = np.random.default_rng(0)
    with store.edit() as editor:
        for cell in store.cells():
            for mark in store.marks(cell):
                values = store.signal(cell, (mark,))[:, 0].copy()
                values[4] = values[0]
                values[9] = values[1] * random.normal(1, 1e-3, values.shape[1]).astype(np.float32)
                values[[2, 14]] = 0
                editor.add_signal(cell, mark, values, store.signal_attrs(cell, mark), replace=True)
    assert (store.split("chromosome")[[4, 9, 14]] == TEST).all()
    return store


def test_copies_and_near_copies_are_found_and_silent_genes_are_not(copied: Store) -> None:
    (found,) = store_leakage(copied)
    assert (found.identical, found.nearly_identical, found.nearly_identical_by_chance) == (1, 2, 0)
    assert found.featureless == 1
    ids = copied.genes.id
    assert (ids[4], ids[0], "signal") in found.examples
    assert any(one[:2] == (ids[9], ids[1]) for one in found.examples)


def test_info_tells_it_and_training_warns(
    copied: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(["info", str(copied.path), "--leakage"]) == 0
    text = capsys.readouterr().out
    assert "leakage of split chromosome: 24 test genes, 96 train and valid" in text
    assert (
        "1 test genes are identical to another gene in every bin, 2 have r > 0.99 with one (by chance 0)"
        in text
    )
    assert called(["info", str(copied.path), "--leakage", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)["leakage"][0]
    assert held["nearly_identical"] == 2
    assert held["overlapping"] == held["overlapping_share"] == 0

    crowded = make_store(tmp_path / "crowded.h5")
    names = crowded.genes.name.copy()
    names[4] = names[0]
    import h5py

    with h5py.File(crowded.path, "r+") as file:
        del file["genes/name"]
        file["genes/name"] = np.array([name.encode() for name in names])
    out = tmp_path / "run"
    assert called(["baseline", "--store", str(crowded.path), "--threads", "1", "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "split chromosome: of 12 test genes 1 share their symbol with training or validation genes" in said
    assert called(["info", str(out), "--leakage"]) == 2

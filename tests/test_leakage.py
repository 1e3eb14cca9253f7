"""What test genes share with others: counted by hand on small cases, and by brute force on any."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import called, genes_of, make_genes, make_store
from diffchrom.genome.genes import Window
from diffchrom.genome.regions import REGIONS, Region
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


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3000), st.integers(1, 600), st.booleans(), st.sampled_from(["chr1", "chr2"]),
                  st.sampled_from([TRAIN, VALID, TEST, -1])),
        min_size=1, max_size=20,
    )
)  # fmt: skip
def test_windows_beyond_the_tss_are_compared_one_by_one(drawn: list[tuple[int, int, bool, str, int]]) -> None:
    tss, length, minus, chrom, parts = (list(values) for values in zip(*drawn, strict=True))
    genes = genes_of(chrom, tss, np.array(length), minus)
    regions = (REGIONS["body"], Region("near", "tss", ((-300, -50), (50, 400))))
    found = find_leakage(genes, np.array(parts, dtype=np.int8), Window(100, 100), "mine", regions)
    learnt = [j for j, part in enumerate(parts) if part in (TRAIN, VALID)]
    bodies = [set(range(a, b)) for a, b in zip(genes.start.tolist(), genes.end.tolist(), strict=True)]
    for region, told in zip(regions, found.regions, strict=True):
        windows = Windows.of(genes, region, "transcription")
        reach = [set(range(a, b)) for a, b in zip(windows.start.tolist(), windows.end.tolist(), strict=True)]
        tests = [i for i, part in enumerate(parts) if part == TEST]
        met = {i: [j for j in learnt if chrom[i] == chrom[j] and reach[i] & reach[j]] for i in tests}
        assert told.overlapping_pairs == sum(map(len, met.values()))
        assert told.overlapping == sum(map(bool, met.values()))
        seen = {i for i in tests for j in learnt if chrom[i] == chrom[j] and reach[i] & bodies[j]}
        assert told.show_bodies == len(seen)
        _, nearest = windows.neighbours(np.array(tests, dtype=np.intp), np.array(learnt, dtype=np.intp))
        for i, one in zip(tests, nearest.tolist(), strict=True):
            assert one in met[i] or (one == -1 and not met[i])


def test_distal_windows_that_cross_the_split_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path / "s.h5", n_genes=40)  # 30 kb apart on four chromosomes
    split = np.where(np.arange(40) % 8 < 4, TRAIN, TEST).astype(np.int8)
    with store.edit() as editor:
        for region, n_windows in (("body", 10), ("distal", 8)):
            editor.add_signal("A1", "H3K4me3", np.ones((40, n_windows), np.float32), region=region)
        editor.add_split("mixed", split)
        editor.add_split("whole", np.where(np.arange(40) % 4 == 3, TEST, TRAIN).astype(np.int8))
    assert called(["info", str(store.path), "--leakage", "--json"]) == 0
    held = {one["split"]: one for one in json.loads(capsys.readouterr().out)["leakage"]}
    by_region = {one["region"]: one for one in held["mixed"]["regions"]}
    assert (by_region["body"]["overlapping"], by_region["body"]["show_bodies"]) == (0, 0)
    assert by_region["distal"]["overlapping"] == by_region["distal"]["show_bodies"] == 20
    assert all(one["overlapping"] == one["show_bodies"] == 0 for one in held["whole"]["regions"])
    found = {one.split: one for one in store_leakage(store)}
    assert (
        found["mixed"]
        .warning()
        .startswith(
            "split mixed: some of 20 test genes share bases of their windows (20 in distal) with training or"
        )
    )
    assert found["whole"].warning() == ""
    assert called(["info", str(store.path), "--leakage"]) == 0
    assert (
        "distal: windows of 20 test genes (100.0%) overlap others, in 100 pairs; those of 20 show another "
        "gene's body: its signal, not its label" in capsys.readouterr().out
    )


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
    assert (
        "chromosome: some of 12 test genes share their symbol (1) with training or validation genes" in said
    )
    assert called(["info", str(out), "--leakage"]) == 2

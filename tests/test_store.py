from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import make_genes, make_store
from diffchrom.errors import StoreError
from diffchrom.genome.genes import Window
from diffchrom.genome.regions import region_of
from diffchrom.pairs.pair import Pair
from diffchrom.processes.pool import Reply
from diffchrom.store import soundness as store_soundness
from diffchrom.store.store import Store, create

GOLDEN = Path(__file__).parent / "golden" / "store-v1.h5"


def test_the_golden_store_of_version_1_still_reads() -> None:
    store = Store(GOLDEN)
    assert store.cells() == ("E116", "E123")
    assert store.marks("E116") == ("H3K4me3", "H3K27me3")
    assert store.window == Window(200, 100, "transcription")
    assert store.genes.name.tolist() == ["ALPHA", "BETA", "γ"]
    assert store.genes.tss.tolist() == [1000, 8999, 20000]
    assert store.chrom_sizes == {"chr1": 10**5, "chr2": 10**5}
    assert store.split("chromosome").tolist() == [0, 1, 2]
    signal_values = store.signal("E123", ["H3K27me3", "H3K4me3"])
    assert signal_values.shape == (3, 2, 4)
    assert signal_values.dtype == np.float32
    assert signal_values[0].tolist() == [[110, 111, 112, 113], [100, 101, 102, 103]]
    np.testing.assert_array_equal(store.expression("E123", "counts"), [14, 0, np.nan])


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    store = create(tmp_path / "a.h5", make_genes(5), Window(500, 100), chrom_sizes={"chr1": 1000})
    values = np.random.default_rng(0).random((5, 10)).astype(np.float32)
    with store.edit() as editor:
        editor.add_signal("Z", "m2", values, {"unit": "counts"})
        editor.add_signal("Z", "m1", values + 1)
        editor.add_signal("A", "m1", values + 2, region="tes_bins")
    assert store.cells() == ("Z", "A")
    assert store.marks("Z") == ("m2", "m1")
    assert (store.regions("Z"), store.regions("A")) == (("tss",), ("tes_bins",))
    assert store.marks("A") == ()
    np.testing.assert_array_equal(store.signal("Z", ["m1", "m2"], slice(1, 3))[:, 1], values[1:3])
    np.testing.assert_array_equal(store.region_signal("A", "tes_bins", ["m1"])[:, 0], values + 2)
    assert store.signal_attrs("Z", "m2")["unit"] == "counts"


def test_the_fingerprint_sees_signal_and_expression_of_its_cells_only(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5", n_genes=10, cells=("A", "B", "C"))
    before = store.fingerprint(["A", "B"])
    with store.edit() as editor:
        editor.add_expression("C", "rpkm", np.ones(10))
    assert store.fingerprint(["A", "B"]) == before
    with store.edit() as editor:
        editor.add_expression("B", "rpkm", np.ones(10))
    assert store.fingerprint(["A", "B"]) != before


def test_the_digest_of_signals_sees_what_a_model_reads_and_nothing_else(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5", n_genes=10, cells=("A", "B"), marks=("m1", "m2", "m3"))
    before = store.signal_digest(["A", "B"], ["m1", "m2"])
    assert store.signal_digest(["B", "A"], ["m2", "m1"]) == before
    assert store.signal_digest(["A", "B"], ["m1", "m3"]) != before
    values = store.signal("A", ["m1"])[:, 0] + 1
    with store.edit() as editor:
        editor.add_expression("B", "rpkm", np.ones(10))
        editor.add_signal("A", "m3", values, replace=True)
        editor.add_signal("A", "m1", values, region="tes_bins")
    assert store.signal_digest(["A", "B"], ["m1", "m2"]) == before
    with pytest.raises(StoreError, match="no cell named C"):
        store.signal_digest(["A", "C"], ["m1"])
    with store.edit() as editor:
        editor.add_signal("A", "m1", values, replace=True)
    assert store.signal_digest(["A", "B"], ["m1", "m2"]) != before


def test_a_pairs_digest_is_of_every_region_that_it_reads(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5", n_genes=10, cells=("A", "B"), marks=("m1",))
    body = region_of("body", store.window)
    values = np.ones((10, len(body.windows)), np.float32)
    with store.edit() as editor:
        for cell in ("A", "B"):
            editor.add_signal(cell, "m1", values, region=body)
    around_tss, both = (Pair.of(store, ("A", "B"), regions=names) for names in (("tss",), ("tss", "body")))
    before = around_tss.signal_digest, both.signal_digest
    assert before[0] != before[1]
    assert Pair.of(store, ("B", "A"), regions=("tss", "body")).signal_digest == before[1]
    with store.edit() as editor:
        editor.add_signal("B", "m1", values + 1, region=body, replace=True)
    assert around_tss.signal_digest == before[0]
    assert both.signal_digest != before[1]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5", n_genes=10)
    values = np.ones((10, 20), np.float32)
    with pytest.raises(StoreError, match="`replace`"), store.edit() as editor:
        editor.add_signal("A1", "H3K4me3", values)
    with store.edit() as editor:
        editor.add_signal("A1", "H3K4me3", values, replace=True)
    np.testing.assert_array_equal(store.signal("A1", ["H3K4me3"])[:, 0], values)
    with pytest.raises(StoreError, match="exists already"):
        create(store.path, make_genes(2), Window())


def test_a_failed_edit_leaves_the_old_store_and_no_litter(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5", n_genes=10)
    before = store.path.read_bytes()
    with pytest.raises(ZeroDivisionError), store.edit() as editor:
        editor.add_expression("A1", "tpm", np.ones(10))
        raise ZeroDivisionError
    assert store.path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


def _edit_for_ever(path: Path) -> None:
    store = Store(path)
    number = 0
    while True:
        with store.edit() as editor:
            editor.add_expression("A1", f"unit{number}", np.ones(store.n_genes))
        number += 1


def test_a_writer_killed_at_any_moment_leaves_a_whole_store(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.h5", n_genes=10).path
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_edit_for_ever, args=(path,), daemon=True)
    process.start()
    try:
        time.sleep(3)
        assert process.is_alive()
    finally:
        process.kill()
        process.join()
    store = Store(path)
    for unit in store.expression_units("A1"):
        assert np.isfinite(store.expression("A1", unit)).all()
    assert store.signal("B2", store.marks("B2")).shape == (10, 2, 20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.attrs.update(format_version=3), "upgrade diffchrom"),
        (lambda file: file.attrs.update(format="cool"), "not a diffchrom store"),
        (lambda file: file.attrs.pop("bin_size"), "not a readable diffchrom store"),
        (lambda file: file.attrs.update(orient="sideways"), "not a readable diffchrom store"),
        (lambda file: file["genes"].pop("id"), "not a readable diffchrom store"),
    ],
)
def test_a_store_that_is_not_ours_is_refused(tmp_path: Path, change: object, message: str) -> None:
    path = Path(shutil.copy(GOLDEN, tmp_path / "a.h5"))
    with h5py.File(path, "r+") as file:
        change(file)  # type: ignore[operator]
    with pytest.raises(StoreError, match=message):
        Store(path)


def test_a_dataset_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN, tmp_path / "a.h5"))
    with h5py.File(path, "r+") as file:
        for name in list(file["genes"]):
            kind = file["genes"][name].dtype
            del file["genes"][name]
            file["genes"].create_dataset(name, shape=(10_000_000,), dtype=kind, chunks=(1000,))
    with pytest.raises(StoreError, match="does not hold"):
        _ = Store(path).genes


def test_text_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such store"):
        Store(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("gene_id\tA\n")
    with pytest.raises(StoreError, match="not a readable"):
        Store(tmp_path / "text.h5")
    (tmp_path / "cut.h5").write_bytes(GOLDEN.read_bytes()[:3000])
    with pytest.raises(StoreError):
        Store(tmp_path / "cut.h5").signal("E116", ["H3K4me3"])


def test_text_attributes_stand_in_checksummed_headers_whatever_they_hold(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a.h5", n_genes=5)
    attrs = {
        "notes": "γ" * 200_000,  # more than an object header holds
        "empty": "",
        "names": ["H1", "", "naïve"],
        "path": os.fsdecode(b"caf\xe9.bw"),  # no UTF-8
        "number": 3,
    }
    with store.edit() as editor:
        editor.set_attrs(attrs)
    held = Store(store.path).attrs
    assert held["notes"] == attrs["notes"]
    assert (held["empty"], held["number"], held["path"]) == ("", 3, "caf\\udce9.bw")
    assert held["names"].tolist() == attrs["names"]
    assert b"GCOL" not in store.path.read_bytes()  # the heap of variable-length text, which has no checksum


def test_a_heap_that_hdf5_would_walk_round_for_ever_is_refused_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_store(tmp_path / "a.h5", n_genes=5).path
    with h5py.File(path, "r+") as file:
        for number in range(3):
            file.attrs[f"text{number}"] = "of variable length"
    assert Store(path).attrs["text2"] == "of variable length"
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    # HDF5 file format 3.0, III.E: behind 16 bytes of header, free space (index 0) of size 0, so of no end.
    data[heap + 16 : heap + 32] = bytes(16)
    path.write_bytes(data)
    monkeypatch.setattr(store_soundness, "WALK_SECONDS", 2.0)
    with pytest.raises(
        StoreError, match=r"a\.h5: not a readable diffchrom store \(not read within 2 s.*prepare it"
    ):
        Store(path)


def test_metadata_without_checksums_is_walked_through_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "other"
    walks = []
    monkeypatch.setattr(
        store_soundness.LocalPool, "run", lambda *_, **__: walks.append(1) or iter([Reply(0)])
    )
    for _ in range(3):
        with pytest.raises(StoreError, match="not a diffchrom store"):
            Store(path)
    Store(make_store(tmp_path / "b.h5", n_genes=5).path)
    assert len(walks) == 1


@pytest.mark.parametrize("values", [np.full((3, 4), np.nan, np.float32), np.full((3, 4), np.inf, np.float32)])
def test_signal_must_be_finite(tmp_path: Path, values: np.ndarray) -> None:
    store = Store(shutil.copy(GOLDEN, tmp_path / "a.h5"))
    with pytest.raises(StoreError, match="finite"), store.edit() as editor:
        editor.add_signal("E999", "H3K4me3", values)
    assert "E999" not in store.cells()

"""Damaged stores are read or refused in one line; they never crash, hang or change.

HDF5 is a C library, so damaged files are opened in another process, as many as fit one after the other: what
kills that process would have killed a user's. Stores are damaged as diffchrom writes them and as stock h5py
does, whose metadata has no checksums at all or has its text in a heap without.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import make_store
from diffchrom.store.soundness import read_attrs

COPIES = int(os.environ.get("DIFFCHROM_FUZZ", "60"))
SEED = int(os.environ.get("DIFFCHROM_FUZZ_SEED", "8"))
#: What a file without checksums may take to be walked through in the test; a user's may take longer.
WALK_SECONDS = 4
SECONDS_A_COPY = 6.0

READ_EVERYTHING = """
import sys
from diffchrom.store import soundness as store_soundness
from diffchrom.errors import DiffchromError
from diffchrom.store.store import Store

store_soundness.WALK_SECONDS = float(sys.argv[1])
for path in sys.argv[2:]:
    before = open(path, "rb").read()
    try:
        store = Store(path)
        store.genes, store.chrom_sizes
        for cell in store.cells():
            store.signal(cell, store.marks(cell))
            for region in store.regions(cell):
                for mark in store.marks(cell, region=region):
                    store.region_signal(cell, region, [mark])
                    store.windows(store.region(cell, region, [mark])).intervals()
                    store.signal_attrs(cell, mark, region=region)
            for unit in store.expression_units(cell):
                store.expression(cell, unit)
                store.expression_attrs(cell, unit)
                store.replicates(cell, unit)
        for pair in store.labelled_pairs():
            store.labels(pair)
        for split in store.splits():
            store.split(split)
        store.fingerprint(store.cells())
        print("read", flush=True)
    except DiffchromError as error:
        assert "\\n" not in str(error) and len(str(error)) < 2000, error
        print("refused", flush=True)
    assert open(path, "rb").read() == before
"""


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Cut a file short, flip some bytes, or overwrite a stretch of it."""
    data = bytearray(whole)
    kind = chance.randrange(3)
    if kind == 0:
        return bytes(data[: chance.randrange(len(data))])
    if kind == 1:
        for _ in range(chance.choice((1, 4, 64))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return bytes(data)
    start = chance.randrange(len(data))
    stretch = data[start : start + chance.choice((8, 512))]
    data[start : start + len(stretch)] = chance.choice((b"\xff", b"\x00")) * len(stretch)
    return bytes(data)


def by_stock_h5py(source: Path, target: Path, libver: str) -> None:
    """Write a store again as somebody with h5py would: default format, text attributes of variable length."""

    def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            new = made.create_dataset(name, data=item[()], chunks=item.chunks, compression="gzip")
        else:
            new = made.require_group(name)
        new.attrs.update(read_attrs(item))

    with h5py.File(source, "r") as held, h5py.File(target, "w", libver=libver) as made:
        copy("/", held)
        held.visititems(copy)


LAYOUTS = {
    "ours": (None, COPIES),
    "variable-length text": ("v110", COPIES // 4),
    "no checksums": ("earliest", COPIES // 4),
}


@pytest.mark.timeout(60 + SECONDS_A_COPY * COPIES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fuzz_damaged_stores_are_read_or_refused(tmp_path: Path, layout: str) -> None:
    libver, copies = LAYOUTS[layout]
    store = make_store(tmp_path / "whole.h5", n_genes=30)
    source = store.path
    with store.edit() as editor:
        for region, n_windows in (("body", 10), ("distal", 8), ("tes_bins", store.window.n_bins)):
            editor.add_signal("A1", "H3K4me3", np.ones((30, n_windows), np.float32), region=region)
        editor.add_replicates("A1", "counts", np.ones((30, 2)))
        editor.add_labels(
            ("A1", "B2"), {"log2fc": np.ones(30), "se": np.ones(30)}, {"dialect": "a", "source": "b"}
        )
    if libver is not None:
        by_stock_h5py(source, tmp_path / "again.h5", libver)
        (tmp_path / "again.h5").replace(source)
    whole = source.read_bytes()
    chance = random.Random(SEED)
    paths = []
    for number in range(copies):
        path = tmp_path / f"{number}.h5"
        path.write_bytes(damaged(whole, chance))
        paths.append(str(path))
    ended = subprocess.run(
        [sys.executable, "-c", READ_EVERYTHING, str(WALK_SECONDS), str(source), *paths],
        text=True,
        capture_output=True,
        timeout=30 + SECONDS_A_COPY * copies,
    )
    answers = ended.stdout.split()
    assert answers[:1] == ["read"], f"the whole store: {ended.stderr[-2000:]}"
    stopped_at = paths[len(answers) - 1] if len(answers) <= copies else ""
    assert ended.returncode == 0, f"{stopped_at}: {ended.stderr[-2000:]}"
    assert set(answers) == {"read", "refused"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["whole.h5", *(f"{number}.h5" for number in range(copies))]
    )

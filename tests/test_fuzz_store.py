"""Damaged stores are read or refused in one line; they never crash, hang or change.

HDF5 is a C library, so damaged files are opened in another process, as many as fit one after the other: what
kills that process would have killed a user's.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import make_store

COPIES = int(os.environ.get("DIFFCHROM_FUZZ", "60"))
SECONDS_A_COPY = 5.0

READ_EVERYTHING = """
import sys
from diffchrom.errors import DiffchromError
from diffchrom.store import Store

for path in sys.argv[1:]:
    before = open(path, "rb").read()
    try:
        store = Store(path)
        store.genes, store.chrom_sizes
        for cell in store.cells():
            store.signal(cell, store.marks(cell))
            for mark in store.marks(cell):
                store.signal_attrs(cell, mark)
            for unit in store.expression_units(cell):
                store.expression(cell, unit)
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


@pytest.mark.timeout(60 + SECONDS_A_COPY * COPIES)
def test_fuzz_damaged_stores_are_read_or_refused(tmp_path: Path) -> None:
    whole = make_store(tmp_path / "whole.h5", n_genes=30).path.read_bytes()
    chance = random.Random(8)
    paths = []
    for number in range(COPIES):
        path = tmp_path / f"{number}.h5"
        path.write_bytes(damaged(whole, chance))
        paths.append(str(path))
    ended = subprocess.run(
        [sys.executable, "-c", READ_EVERYTHING, *paths],
        text=True,
        capture_output=True,
        timeout=30 + SECONDS_A_COPY * COPIES,
    )
    answers = ended.stdout.split()
    stopped_at = paths[len(answers)] if len(answers) < COPIES else ""
    assert ended.returncode == 0, f"{stopped_at}: {ended.stderr[-2000:]}"
    assert set(answers) == {"read", "refused"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["whole.h5", *(f"{number}.h5" for number in range(COPIES))]
    )

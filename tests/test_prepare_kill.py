"""Whatever ends a prepare, and whenever: the store opens, and the next prepare goes on to the same end."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import running, wait_for
from diffchrom.files.lock import lock_path
from diffchrom.store.store import Store
from test_prepare import GENES, write_bigwig, write_gtf

CELLS = ("A", "B")
MARKS = ("H3K4me1", "H3K4me3")


def command(folder: Path, store: Path, tracks: list[Path]) -> list[str]:
    words = ["prepare", "--gtf", str(folder / "genes.gtf"), "--store", str(store), "--flank", "1000"]
    words += ["--threads", "2", "--expression", str(folder / "rpkm.tsv"), "--bigwigs", *map(str, tracks)]
    return [sys.executable, "-m", "diffchrom", *words]


@pytest.fixture
def tracks(tmp_path: Path) -> list[Path]:
    write_gtf(tmp_path / "genes.gtf")
    rows = "".join(f"{gene[0]}\t{i}\t{2 * i}.5\n" for i, gene in enumerate(GENES))
    (tmp_path / "rpkm.tsv").write_text("gene_id\tA\tB\n" + rows)
    names = [f"{cell}-{mark}.bw" for cell in CELLS for mark in MARKS]
    return [write_bigwig(tmp_path / name, seed) for seed, name in enumerate(names)]


def everything(path: Path) -> dict[str, tuple[np.ndarray, dict[str, object]]]:
    """Every dataset and its attributes, but what was said on the way."""
    found: dict[str, tuple[np.ndarray, dict[str, object]]] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            attrs = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
            found[name] = (item[()], attrs)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def assert_equal_stores(one: Path, other: Path) -> None:
    a, b = everything(one), everything(other)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name][0], b[name][0], err_msg=name)
        assert a[name][1] == b[name][1], name


def run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


KILLS = int(os.environ.get("DIFFCHROM_KILLS", "4"))


def test_killed_at_random_moments_a_prepare_goes_on_to_the_same_store(
    tmp_path: Path, tracks: list[Path]
) -> None:
    whole = tmp_path / "whole.h5"
    run(command(tmp_path, whole, tracks[:3]))
    began = time.monotonic()
    run(command(tmp_path, whole, tracks))
    # Half of the kills meet the making of a store, half its extension.
    patience = 1.5 * (time.monotonic() - began)
    store = tmp_path / "killed.h5"
    moments = random.Random(0)
    for kill in range(KILLS):
        asked = tracks[:3] if kill < KILLS // 2 else tracks
        words = command(tmp_path, store, asked)
        with running(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            time.sleep(moments.uniform(0, patience))
        if store.exists():
            opened = Store(store)
            for cell in opened.cells():
                opened.signal(cell, opened.marks(cell))
    run(command(tmp_path, store, tracks[:3]))
    run(command(tmp_path, store, tracks))
    assert_equal_stores(store, whole)
    assert hidden(tmp_path) == []


def test_what_a_killed_writer_was_staging_is_removed(tmp_path: Path, tracks: list[Path]) -> None:
    (tmp_path / ".s.h5.abc123.tmp").write_bytes(b"half")
    (tmp_path / ".other.h5.abc123.tmp").write_bytes(b"not mine")
    run(command(tmp_path, tmp_path / "s.h5", tracks))
    assert hidden(tmp_path) == [".other.h5.abc123.tmp"]


def test_ctrl_c_ends_at_once_and_leaves_no_store_and_no_lock(tmp_path: Path, tracks: list[Path]) -> None:
    store = tmp_path / "s.h5"
    with running(command(tmp_path, store, tracks), stderr=subprocess.PIPE, text=True) as process:
        wait_for(lock_path(store).exists, every=0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "diffchrom: interrupted"
    assert "Traceback" not in errors
    assert not store.exists()
    assert lock_path(store).name not in hidden(tmp_path)


def test_two_writers_of_one_store_are_refused(tmp_path: Path, tracks: list[Path]) -> None:
    store = tmp_path / "s.h5"
    lock = lock_path(store)
    with running(["sleep", 60]) as sleeper:
        lock.write_text(f'{{"pid": {sleeper.pid}, "host": "{socket.gethostname()}", "started": ""}}')
        done = subprocess.run(command(tmp_path, store, tracks), capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert f"process {sleeper.pid} on" in done.stderr
        assert "is writing to it" in done.stderr
    # The same lock is stale now that its process is gone.
    run(command(tmp_path, store, tracks))
    assert not lock.exists()


def test_a_lock_of_another_machine_is_not_taken_for_stale(tmp_path: Path, tracks: list[Path]) -> None:
    store = tmp_path / "s.h5"
    lock_path(store).write_text('{"pid": 1, "host": "elsewhere", "started": "5"}')
    done = subprocess.run(command(tmp_path, store, tracks), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"or remove {lock_path(store)}" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_disk_is_one_line_and_leaves_the_store_as_it_was(tmp_path: Path, tracks: list[Path]) -> None:
    store = tmp_path / "s.h5"
    run(command(tmp_path, store, tracks[:2]))
    before = store.read_bytes()
    # A limit on the size of any file stands for the disk that is full.
    limited = ["bash", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "-", *command(tmp_path, store, tracks)]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert store.read_bytes() == before

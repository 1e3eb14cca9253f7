"""Whatever ends a prepare, and whenever: the store opens, and the next prepare goes on to the same end."""

from __future__ import annotations

import errno
import os
import random
import re
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
from diffchrom.errors import OutputError, StoreError
from diffchrom.files.lock import lock_path, locked
from diffchrom.genome.regions import DEFAULT_REGIONS
from diffchrom.store.store import Store
from test_prepare import GENES, leftovers, write_bigwig, write_gtf

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
                assert opened.regions(cell) == DEFAULT_REGIONS
                for region in DEFAULT_REGIONS:
                    opened.region_signal(cell, region, opened.marks(cell, region=region))
    run(command(tmp_path, store, tracks[:3]))
    run(command(tmp_path, store, tracks))
    assert_equal_stores(store, whole)
    assert leftovers(tmp_path) == set()


def test_what_a_killed_writer_was_staging_is_removed(tmp_path: Path, tracks: list[Path]) -> None:
    (tmp_path / ".s.h5.abc123.tmp").write_bytes(b"half")
    (tmp_path / ".other.h5.abc123.tmp").write_bytes(b"not mine")
    run(command(tmp_path, tmp_path / "s.h5", tracks))
    assert leftovers(tmp_path) == {".other.h5.abc123.tmp"}


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
    assert not {name for name in leftovers(tmp_path) if name.endswith(".tmp")}
    with locked(store):
        pass


def test_two_writers_of_one_store_are_refused_at_once(tmp_path: Path, tracks: list[Path]) -> None:
    store = tmp_path / "s.h5"
    with locked(store):
        began = time.monotonic()
        with pytest.raises(StoreError) as refused, locked(store):
            pass
        assert time.monotonic() - began < 1
        done = subprocess.run(command(tmp_path, store, tracks), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"{store}: process {os.getpid()} on {socket.gethostname()} is writing to it" in done.stderr
    assert "\n" not in str(refused.value)
    assert f"{store}: process {os.getpid()} on" in str(refused.value)
    run(command(tmp_path, store, tracks))


HOLDING = """
import sys, time
from diffchrom.files.lock import locked
with locked(sys.argv[1]):
    print(flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    store = tmp_path / "missing" / "folder" / "s.h5"
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(store)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"\n"
            with pytest.raises(StoreError, match=f"process {holder.pid} on"), locked(store):
                pass
        finally:
            holder.kill()
    with locked(store):
        assert lock_path(store).read_text().split()[0] == str(os.getpid())
    assert list(store.parent.iterdir()) == [lock_path(store)]


def test_what_an_abandoned_lock_file_says_is_nothing_to_go_by(tmp_path: Path) -> None:
    store = tmp_path / "s.h5"
    for text in ("", "1\nelsewhere\n", '{"pid": 1}', "\x00" * 100):
        lock_path(store).write_text(text)
        with locked(store), pytest.raises(StoreError, match=f"process {os.getpid()} on"), locked(store):
            pass


def test_where_there_can_be_no_lock_file_it_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"s\.h5: cannot be written \("), locked(tmp_path / "file" / "s.h5"):
        pass


def test_a_file_system_without_locks_has_one_writer_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_implemented(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", not_implemented)
    store = tmp_path / "s.h5"
    with (
        pytest.warns(UserWarning, match="flock not supported"),
        locked(store),
        pytest.raises(StoreError, match=re.escape(f"remove {lock_path(store)} if it runs no more")),
        locked(store),
    ):
        pass
    with pytest.warns(UserWarning, match="flock not supported"), locked(store):
        pass


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

"""Tracks read on a Dask cluster make the same store; what goes wrong there is told in a line."""

from __future__ import annotations

import operator
import os
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import worker_tasks
from conftest import SchedulerKiller, called, dask_cluster, free_port, wait_for
from diffchrom.errors import DiffchromError
from diffchrom.files.whole import staged
from diffchrom.prepare.building import prepare
from diffchrom.prepare.request import PrepareRequest
from diffchrom.processes.cluster import ClusterLostError, DaskPool, dask_pool
from diffchrom.processes.pool import Call, Reply
from diffchrom.store.store import Store
from test_prepare import GENES, leftovers, write_bigwig, write_gtf

pytestmark = pytest.mark.usefixtures("_nothing_stays_beside")
TRACKS = [f"{cell}-{mark}.bw" for cell in ("A1", "B2") for mark in ("H3K4me1", "H3K4me3")]
PREPARE = ["prepare", "--gtf", "genes.gtf", "--flank", "1000", "--blacklist", "blacklist.bed", "-q"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with genes, a blacklist and four tracks."""
    write_gtf(tmp_path / "genes.gtf")
    chrom, start = GENES[0][1:3]
    (tmp_path / "blacklist.bed").write_text(f"{chrom}\t{start}\t{start + 300}\n")
    for seed, name in enumerate(TRACKS):
        write_bigwig(tmp_path / name, seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_cluster_makes_and_extends_a_store_to_the_same_bytes(
    here: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # The cluster's own folder is another one: paths that are relative here are found all the same.
    made = []
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        for where in (["--threads", "2"], ["--dask", cluster.address]):
            for tracks in (TRACKS[:2], TRACKS):
                assert called([*PREPARE, "--bigwigs", *tracks, "--store", "s.h5", *where]) == 0
            made.append((here / "s.h5").rename(here / f"{len(made)}.h5"))
    assert made[0].read_bytes() == made[1].read_bytes()
    assert Store(made[1]).cells() == ("A1", "B2")
    assert leftovers(here) == set()


def test_a_dead_address_is_told_soon_and_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="the dask extra is not installed")
    began = time.monotonic()
    address = f"tcp://127.0.0.1:{free_port()}"
    assert called([*PREPARE, "--bigwigs", *TRACKS, "--store", "s.h5", "--dask", address]) == 2
    assert time.monotonic() - began < 10
    assert f"--dask {address}: no Dask scheduler answers" in capsys.readouterr().err
    assert not (here / "s.h5").exists()
    assert leftovers(here) == set()


def test_a_cluster_is_asked_only_when_there_is_a_track_to_read(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed", reason="the dask extra is not installed")
    nobody = ["--store", "s.h5", "--dask", f"tcp://127.0.0.1:{free_port()}"]
    (here / "rpkm.tsv").write_text("gene_id\tA1\tB2\n" + "".join(f"{gene[0]}\t1\t2.5\n" for gene in GENES))
    assert called(["prepare", "--bigwigs", *TRACKS, *nobody]) == 2
    assert "needs --gtf" in capsys.readouterr().err
    assert called([*PREPARE, "--bigwigs", *TRACKS, "--store", "s.h5", "--threads", "1"]) == 0
    assert called([*PREPARE, "--bigwigs", *TRACKS, "--expression", "rpkm.tsv", *nobody]) == 0
    assert Store("s.h5").expression_units("A1")


def test_what_breaks_on_a_cluster_costs_its_own_track_only(tmp_path: Path) -> None:
    calls = [
        Call("bad.bw", worker_tasks.crash),
        Call("slow.bw", worker_tasks.hang),
        Call("good.bw", worker_tasks.double, {"number": 4}),
    ]
    with dask_cluster(tmp_path) as cluster, dask_pool(cluster.address, timeout=60) as pool:
        wait_for(lambda: sum(pool._sizes()) == 2)
        replies = {reply.index: reply for reply in pool.run(calls, time_limit=10.0)}
        assert str(replies[0].error).startswith("bad.bw: reading it crashed its worker process (SIGSEGV)")
        assert "slow.bw: not read within 10 s" in str(replies[1].error)
        assert replies[2].value == 8
        assert pool.capacity == 2
        assert [worker.poll() for worker in cluster.workers] == [None, None]
        # A worker that is killed with its machine costs no track: another one reads it.
        marker = {"marker": str(tmp_path / "killed")}
        (reply,) = pool.run([Call("a.bw", worker_tasks.kill_the_dask_worker_once, marker)])
        assert reply.value == "read"
        wait_for(lambda: sum(pool._sizes()) == 1)
        with (
            pytest.raises(ClusterLostError, match="the scheduler is gone; start it again"),
            dask_pool(cluster.address, timeout=3) as other,
        ):
            cluster.scheduler.kill()
            wait_for(lambda: sum(other._sizes()) < 0)


def test_a_scheduler_lost_with_all_calls_in_flight_is_no_fault_of_the_tracks(tmp_path: Path) -> None:
    replies = []
    calls = [Call(name, worker_tasks.double, {"number": 1}) for name in ("a.bw", "b.bw")]
    with (
        dask_cluster(tmp_path, n_workers=0) as cluster,
        pytest.raises(ClusterLostError, match="the scheduler is gone; start it again"),
        dask_pool(cluster.address, timeout=60) as pool,
    ):
        pool._executor = SchedulerKiller(pool._executor, cluster, after=2)
        replies.extend(pool.run(calls))
    assert replies == []


class Elsewhere(Executor):
    """Runs calls here, on files that differ from those the caller sees."""

    def __init__(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        self.before, self.after = before, after

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.before()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        self.after()
        return future


def nothing() -> None:
    pass


def shorten() -> None:
    Path(TRACKS[0]).write_bytes(Path(TRACKS[0]).read_bytes()[:-1])


def remove() -> None:
    Path(TRACKS[0]).unlink(missing_ok=True)


def remove_parts() -> None:
    shutil.rmtree(".s.h5.parts", ignore_errors=True)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (shorten, nothing, "A1-H3K4me1.bw: has {less} bytes on {host}, and had {size} when"),
        (
            remove,
            nothing,
            "A1-H3K4me1.bw: cannot be read on {host} (No such file or directory); every worker",
        ),
        (
            nothing,
            remove_parts,
            "was written by a worker, and is not here; workers must see the store's folder",
        ),
    ],
)
def test_a_worker_that_sees_other_files_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch, before: Any, after: Any, said: str
) -> None:
    import platform

    @contextmanager
    def elsewhere(*_: object, **__: object) -> Iterator[DaskPool]:
        yield DaskPool(Elsewhere(before, after), lambda: [1])

    monkeypatch.setattr("diffchrom.prepare.building.dask_pool", elsewhere)
    size = Path(TRACKS[0]).stat().st_size
    request = PrepareRequest(
        store=Path("s.h5"), gtf=Path("genes.gtf"), bigwigs=(Path(TRACKS[0]),), flank=1000, dask="tcp://x"
    )
    with pytest.raises(DiffchromError) as error:
        prepare(request)
    assert said.format(less=size - 1, size=size, host=platform.node()) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (here / "s.h5").exists()


def test_a_part_that_a_worker_is_writing_outlives_an_interrupt_and_serves_the_next_prepare(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, interrupted = threading.Event(), threading.Event()

    def write_slowly(part: Path, data: bytes) -> None:
        with staged(part) as temporary:
            temporary.write_bytes(data)
            writing.set()
            assert interrupted.wait(60)

    class InterruptedMeanwhile(Executor):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            assert function(*args, **kwargs).error is None
            (part,) = Path(".s.h5.parts").glob("*.h5")
            data = part.read_bytes()
            shutil.rmtree(part.parent)  # it has not come so far yet
            self.worker = threading.Thread(target=write_slowly, args=(part.absolute(), data))
            self.worker.start()
            assert writing.wait(60)
            raise KeyboardInterrupt

    executor = InterruptedMeanwhile()

    @contextmanager
    def elsewhere(*_: object, **__: object) -> Iterator[DaskPool]:
        yield DaskPool(executor, lambda: [1])

    request = PrepareRequest(
        store=Path("s.h5"), gtf=Path("genes.gtf"), bigwigs=(Path(TRACKS[0]),), flank=1000, threads=1
    )
    with monkeypatch.context() as patch:
        patch.setattr("diffchrom.prepare.building.dask_pool", elsewhere)
        with pytest.raises(KeyboardInterrupt):
            prepare(replace(request, dask="tcp://x"))
    interrupted.set()
    executor.worker.join()
    assert any("read by an earlier prepare" in note for note in prepare(request).notes)
    assert Store("s.h5").cells() == ("A1",)
    assert leftovers(here) == set()


def test_only_old_remains_of_parts_are_taken_for_abandoned(here: Path) -> None:
    data = bytearray(Path(TRACKS[1]).read_bytes())
    (at,) = struct.unpack_from("<Q", data, 16)  # fullDataOffset; a block of data follows its count
    data[at + 8 : at + 40] = bytes(32)
    Path(TRACKS[1]).write_bytes(data)
    command = [*PREPARE, "--bigwigs", TRACKS[1], "--store", "s.h5"]
    parts = Path(".s.h5.parts")
    parts.mkdir()
    old, new = parts / ".1.h5.a.tmp", parts / ".2.h5.b.tmp"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    assert called(command) != 0
    assert list(parts.iterdir()) == [new]
    os.utime(new, (0, 0))
    assert called(command) != 0
    assert leftovers(here) == set()


def test_calls_are_handed_out_by_the_threads_that_the_cluster_has_now() -> None:
    in_flight: list[Future[Any]] = []
    seen = []

    class Waiting(Executor):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            in_flight.append(Future())
            return in_flight[-1]

    def sizes() -> list[int]:
        seen.append(len(in_flight))
        if len(seen) < 4:
            return [[], [1], [1, 3]][len(seen) - 1]  # a worker joins, and one of three threads
        for future in in_flight:
            if not future.done():
                future.set_result(Reply(0))
        return []

    calls = [Call("x.bw", operator.neg)] * 9
    assert len(list(DaskPool(Waiting(), sizes).run(calls))) == 9
    assert seen[:4] == [0, 0, 2, 8]


def test_what_the_executor_itself_raises_names_the_track() -> None:
    class Gone(Executor):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(ConnectionError("the scheduler\nis gone"))
            return future

    (reply,) = DaskPool(Gone(), list).run([Call("x.bw", operator.neg)])
    told = "x.bw: reading it failed on the cluster (ConnectionError: the scheduler is gone); see the"
    assert str(reply.error).startswith(told)

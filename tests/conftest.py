from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffchrom.cli import main
from diffchrom.genome.genes import Genes, Window
from diffchrom.processes import cluster
from diffchrom.store.store import Store, create

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("DIFFCHROM_SHARED_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder} (set DIFFCHROM_SHARED_DATA)")
    return folder


def called(arguments: list[str]) -> int:
    """Exit code of a command."""
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def make_genes(n: int, *, n_chroms: int = 4) -> Genes:
    """Genes 30 kb apart, on alternating strands, spread over chromosomes in turn."""
    number = np.arange(n)
    tss = 30_000 * (1 + number // n_chroms)
    strand = np.where(number % 2 == 0, "+", "-").astype(object)
    start = np.where(strand == "+", tss, tss - 999)
    end = np.where(strand == "+", tss + 1000, tss + 1)
    return Genes(
        id=np.array([f"ENSG{i:011d}" for i in number], dtype=object),
        name=np.array([f"GENE{i}" for i in number], dtype=object),
        chrom=np.array([f"chr{i % n_chroms + 1}" for i in number], dtype=object),
        strand=strand,
        start=start,
        end=end,
        tss=tss,
        tes=np.where(strand == "+", end - 1, start),
    )


def make_store(
    path: Path,
    *,
    n_genes: int = 60,
    cells: tuple[str, ...] = ("A1", "B2"),
    marks: tuple[str, ...] = ("H3K4me3", "H3K27me3"),
    window: Window = Window(flank=1000, bin_size=100),  # noqa: B008
    seed: int = 0,
) -> Store:
    """A small store in which the first mark around the TSS drives expression up, the second down."""
    random = np.random.default_rng(seed)
    genes = make_genes(n_genes)
    store = create(path, genes, window, chrom_sizes=dict.fromkeys(sorted(set(genes.chrom)), 10**7))
    middle = window.n_bins // 2
    with store.edit() as editor:
        for cell in cells:
            log2 = np.full(n_genes, 6.0)
            for j, mark in enumerate(marks):
                strength = random.beta(0.5, 0.5, n_genes)
                signal = random.gamma(4.0, 0.25, (n_genes, window.n_bins))
                signal[:, middle - 2 : middle + 2] += 8 * strength[:, None]
                editor.add_signal(cell, mark, signal.astype(np.float32), {"unit": "coverage", "source": mark})
                log2 += (3.0, -3.0)[j % 2] * strength
            counts = np.round(np.exp2(log2 + random.normal(0, 0.3, n_genes)))
            editor.add_expression(cell, "counts", counts)
        parts = np.choose(np.arange(n_genes) % 5, [0, 0, 0, 1, 2]).astype(np.int8)
        editor.add_split("chromosome", parts)
    return store


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """60 genes, 20 bins, two marks, two cells, a split; read-only."""
    return make_store(tmp_path_factory.mktemp("toy") / "toy.h5")


def wait_for(condition: Callable[[], object], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)


@pytest.fixture
def _nothing_stays_beside() -> Iterator[None]:
    """End the process that a `DaskPool` without a cluster keeps beside this one."""
    yield
    if cluster._BESIDE.pool is not None:
        cluster._BESIDE.pool.close()


@dataclass(frozen=True)
class DaskCluster:
    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def dask_cluster(folder: Path, n_workers: int = 2) -> Iterator[DaskCluster]:
    """A scheduler and worker processes in `folder`, as a user would start them by hand."""
    pytest.importorskip("distributed", reason="the dask extra is not installed")
    address = f"tcp://127.0.0.1:{free_port()}"
    # The workers must import the tests' functions and diffchrom.
    paths = [str(Path(__file__).parent), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    common = ["--no-dashboard", "--host", "127.0.0.1"]
    scheduler = ["distributed.cli.dask_scheduler", "--port", address.rpartition(":")[2], *common]
    worker = ["distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *common]
    with (folder / "dask.log").open("wb") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", *words], env=environment, stdout=log, stderr=log, cwd=folder
            )
            for words in (scheduler, *[worker] * n_workers)
        ]
        try:
            yield DaskCluster(address, processes[0], processes[1:])
        finally:
            for process in processes:
                process.kill()
                process.wait()


class SchedulerKiller(Executor):
    """Hands calls on to a cluster, and kills its scheduler as soon as some are in flight."""

    def __init__(self, executor: Executor, cluster: DaskCluster, after: int) -> None:
        self.executor, self.cluster, self.left = executor, cluster, after

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = self.executor.submit(function, *args, **kwargs)
        self.left -= 1
        if self.left == 0:
            self.cluster.scheduler.kill()
        return future


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])

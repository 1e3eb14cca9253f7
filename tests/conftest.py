from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffchrom.cli import main
from diffchrom.config import DEFAULT_VARIANT
from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.regions import REGIONS, Region
from diffchrom.genome.windows import Windows
from diffchrom.pairs.choices import parse_pair
from diffchrom.pairs.pair import Pair
from diffchrom.processes import cluster
from diffchrom.runs.folder import Run
from diffchrom.runs.making import Recipe, make
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


def genes_of(chrom: Any, tss: Any, length: Any, minus: Any) -> Genes:
    """Genes by chromosome, first transcribed base, bases and strand."""
    names, first, strand = np.array(chrom, dtype=object), np.array(tss), np.array(minus, dtype=bool)
    ids = np.array([f"G{i}" for i in range(len(names))], dtype=object)
    last = np.where(strand, first - length + 1, first + length - 1)
    signs = np.where(strand, "-", "+").astype(object)
    low, high = np.minimum(first, last), np.maximum(first, last)
    return Genes(ids, ids, names, signs, low, high + 1, first, last)


def bins_at(chrom: Any, start: Any, n_bins: int, bin_size: int) -> Windows:
    """Bins that begin at given bases, in ascending coordinates."""
    edges = range(0, n_bins * bin_size + 1, bin_size)
    region = Region("bins", "tss", tuple(pairwise(edges)), bins=True)
    first = np.array(start, dtype=np.int64)
    names = np.array(chrom, dtype=object)
    return Windows(names, first, np.zeros(len(first), bool), np.ones_like(first), region, "genome")


def make_store(
    path: Path,
    *,
    n_genes: int = 60,
    cells: tuple[str, ...] = ("A1", "B2"),
    marks: tuple[str, ...] = ("H3K4me3", "H3K27me3"),
    window: Window = Window(flank=1000, bin_size=100),  # noqa: B008
    seed: int = 0,
    regions: tuple[str, ...] = (),
) -> Store:
    """A small store in which the first mark around the TSS drives expression up, the second down.

    Windows of `regions` beyond the TSS hold noise around the strength of the mark; all else is as without.
    """
    random, random_beyond = np.random.default_rng(seed), np.random.default_rng([seed, 1])
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
                for region in regions:
                    noise = random_beyond.gamma(4.0, 0.1, (n_genes, len(REGIONS[region].windows)))
                    beyond = (noise + strength[:, None]).astype(np.float32)
                    editor.add_signal(cell, mark, beyond, {"unit": "coverage"}, region=region)
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


@pytest.fixture(scope="session")
def whole_gene_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """As `toy_store`, with bins of the default size and every region; read-only."""
    path = tmp_path_factory.mktemp("whole_gene") / "store.h5"
    return make_store(path, window=Window(), regions=tuple(REGIONS))


@dataclass(frozen=True)
class Case:
    """A recipe and what of a store it is made on, for tests that change one of these at a time."""

    recipe: Recipe
    store: Path
    pair: str | None = None
    marks: tuple[str, ...] | None = None
    split: str | None = None
    unit: str | None = None
    regions: tuple[str, ...] | None = None

    def make(self, out: Path | str | None = None, **options: Any) -> Run:
        chosen = {name: getattr(self, name) for name in ("marks", "split", "unit", "regions")}
        return make(self.recipe, Pair.of(Store(self.store), parse_pair(self.pair), **chosen), out, **options)

    def but(self, **changes: Any) -> Case:
        """The same with other attributes, of the case or of its recipe."""
        own = {name: changes.pop(name) for name in list(changes) if name in self.__dataclass_fields__}
        return replace(self, recipe=replace(self.recipe, **changes), **own)


def training(store: Path, name: str = DEFAULT_VARIANT, **changes: Any) -> Case:
    from diffchrom.deepdiff.training import Training

    return Case(Training(name), Path(store)).but(**changes)


def train(
    case: Case, out: Path | str, *, memory: int | None = None, side_by_side: bool = True, **options: Any
) -> Run:
    return case.but(memory=memory, side_by_side=side_by_side).make(out, **options)


def fitting(store: Path, name: str, pair: str | None = None, **changes: Any) -> Case:
    from diffchrom.baselines.fitting import Fitting

    return Case(Fitting(name), Path(store), pair).but(**changes)


def predictions_of(
    run: Run, store: Store, pair: str | None = None, device: str = "auto"
) -> tuple[Pair, dict[str, np.ndarray]]:
    """Pair and columns of predictions of all genes of a store."""
    from diffchrom.deepdiff.opened import open_model

    opened = open_model(run, store, parse_pair(pair), device=device)
    return opened.pair, opened.predict(np.arange(len(opened.pair))).columns()


def wait_for(condition: Callable[[], object], seconds: float = 90.0, *, every: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(every)


@contextmanager
def running(words: Sequence[object], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that is gone when the block ends, however it ends, with all of its process group.

    It can be interrupted even where this process cannot, as in a script's background, and imports what the
    tests import. `options` are those of `subprocess.Popen`.
    """
    paths = [str(Path(__file__).parent), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    # What is ignored stays so in a new program; what has a handler falls back to the default.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(list(map(str, words)), env=environment, start_new_session=True, **options)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


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
    common = ["--no-dashboard", "--host", "127.0.0.1"]
    scheduler = ["distributed.cli.dask_scheduler", "--port", address.rpartition(":")[2], *common]
    worker = ["distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *common]
    with (folder / "dask.log").open("wb") as log, ExitStack() as stack:
        processes = [
            stack.enter_context(running([sys.executable, "-m", *words], stdout=log, stderr=log, cwd=folder))
            for words in (scheduler, *[worker] * n_workers)
        ]
        yield DaskCluster(address, processes[0], processes[1:])


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

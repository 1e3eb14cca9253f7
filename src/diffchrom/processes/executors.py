"""Where work runs: processes of this machine, or an existing Dask cluster.

Both are `concurrent.futures.Executor`; whoever has work submits it and need not know which one it got. A
sweep submits jobs; `prepare` has work items, which read files that nobody vouches for and so run in processes
of their own wherever that is (`item_pool`).
This module imports nothing heavy, because every worker process imports it before its threads are set.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from diffchrom.errors import DiffchromError, InputError, UsageError
from diffchrom.processes.apart import packed, run_apart
from diffchrom.processes.workers import Outcome, WorkerPool, WorkItem
from diffchrom.progress import SILENT, Reporter

T = TypeVar("T")

#: Variables that say to the numerical libraries how many threads to use; read when those are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: How often a call is started again after the process that ran it died.
RETRIES = 2
#: Seconds until a Dask scheduler that does not answer is given up.
CONNECT_TIMEOUT = 6.0


class WorkerDiedError(DiffchromError):
    """The process that ran a call was killed, every time it was tried."""


class ClusterLostError(DiffchromError):
    """The scheduler of a Dask cluster went away while it was in use."""


@dataclass(frozen=True)
class Cores:
    """How cores are used: `workers` processes with `threads` threads each."""

    workers: int
    threads: int


def share_cores(cores: int, n_jobs: int, workers: int | None = None) -> Cores:
    """Divide cores among jobs so that each core is used once.

    One thread a job wastes nothing, so there are as many workers as cores; with fewer jobs than cores each
    gets more threads.

    Parameters
    ----------
    cores : how many may be used.
    n_jobs : how many jobs there are.
    workers : how many processes; None is as many as the cores and jobs allow.
    """
    if workers is not None and workers > cores:
        raise UsageError(f"--workers {workers}: more than the {cores} cores to use (see --threads)")
    count = max(1, min(workers or cores, n_jobs))
    return Cores(count, max(1, cores // count))


def _start_worker(threads: int) -> None:
    """Prepare a new worker process, before anything heavy is imported into it."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    # Ctrl-C reaches the whole foreground group; the parent alone decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this process when its parent is gone: a killed sweep leaves no worker behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Worker:
    """One process, replaced when it dies."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ProcessPoolExecutor | None = None
        self._pid: int | None = None
        self._closed = False

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a call in the process; a process that dies is replaced and the call started again."""
        for _ in range(RETRIES + 1):
            if self._closed:
                break
            try:
                pool = self._pool or self._start()
                return pool.submit(function, *args, **kwargs).result()
            except BrokenProcessPool:
                self._drop()
        if self._closed:
            self.close(kill=True)  # a process may have been starting while the pool was closed
        raise WorkerDiedError(
            f"its process died {RETRIES + 1} times (out of memory? see dmesg); use fewer --workers"
        )

    def _start(self) -> ProcessPoolExecutor:
        # Spawned, never forked: torch's threads and open HDF5 files do not survive a fork.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1, context, _start_worker, (self._threads,))
        self._pool, self._pid = pool, pool.submit(os.getpid).result()
        return pool

    def _drop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._pid = None

    def close(self, *, kill: bool) -> None:
        """End the process, at once if `kill`."""
        self._closed = True
        pool, pid = self._pool, self._pid
        if kill and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if pool is not None:
            pool.shutdown(wait=not kill, cancel_futures=True)


class LocalPool(Executor):
    """Processes of this machine, each running one call at a time.

    Unlike with one `ProcessPoolExecutor`, a process that dies breaks nobody else's call: it is known which
    call it was running, and that one is started again in a new process.

    Parameters
    ----------
    workers : number of processes, started when they are first needed.
    threads : threads of the numerical libraries in each.
    """

    def __init__(self, workers: int, threads: int = 1) -> None:
        self.workers = workers
        self._dispatch = ThreadPoolExecutor(workers, "diffchrom-worker")
        self._all = [_Worker(threads) for _ in range(workers)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._idle.put(worker)

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a call of an importable function in one of the processes."""
        return self._dispatch.submit(self._run, function, args, kwargs)

    def _run(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        worker = self._idle.get()
        try:
            return worker.call(function, *args, **kwargs)
        finally:
            self._idle.put(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; with ``wait=False`` they are stopped in the middle of what they do."""
        self._dispatch.shutdown(wait=False, cancel_futures=cancel_futures or not wait)
        if wait:
            self._dispatch.shutdown(wait=True)
        for worker in self._all:
            worker.close(kill=not wait)


@dataclass(frozen=True)
class Place:
    """Where calls go.

    Attributes
    ----------
    executor : takes calls.
    sizes : says how many threads each of its processes has now; clusters grow and shrink.
    """

    executor: Executor
    sizes: Callable[[], list[int]]

    def capacity(self) -> int:
        """How many processes it has now."""
        return len(self.sizes())


@contextlib.contextmanager
def local_place(cores: Cores) -> Iterator[Place]:
    """Processes of this machine while the block runs; they are stopped at once when it fails."""
    pool = LocalPool(cores.workers, cores.threads)
    try:
        yield Place(pool, lambda: [cores.threads] * cores.workers)
    except BaseException:
        pool.shutdown(wait=False)
        raise
    pool.shutdown()


@contextlib.contextmanager
def dask_place(
    address: str, timeout: float = CONNECT_TIMEOUT, reporter: Reporter = SILENT
) -> Iterator[Place]:
    """Use an existing Dask cluster while the block runs.

    Parameters
    ----------
    address : of the scheduler, as ``tcp://host:8786``.
    timeout : seconds to wait for it.
    reporter : where notes on the cluster go.

    Raises
    ------
    UsageError
        ``distributed`` is not installed, or nobody answers at the address.
    ClusterLostError
        The scheduler went away, or cancelled what it was given.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("--dask needs dask.distributed: pip install 'diffchrom[dask]'") from error
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise UsageError(
            f"--dask {address}: no Dask scheduler answers within {timeout:.0f} s; start one with "
            "`dask scheduler`, and give the address that it prints"
        ) from error
    try:
        place = Place(client.get_executor(pure=False), lambda: _dask_threads(client))
        if not place.capacity():
            reporter.warn(f"--dask {address}: the cluster has no workers yet; waiting for some")
        yield place
    except DiffchromError:
        raise
    except Exception as error:
        # A client that has lost its scheduler cancels its calls, and may be connected to another one by now.
        if client.status == "running" and not isinstance(error, CancelledError):
            raise
        raise ClusterLostError(
            f"--dask {address}: the scheduler is gone; start it again, and give the same command to go on"
        ) from error
    finally:
        _close_quietly(client)


def _close_quietly(client: Any) -> None:
    """Close a Dask client; one that is looking for its lost scheduler would log a traceback of that."""
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        client.close()
    finally:
        logger.setLevel(level)


def _dask_threads(client: Any) -> list[int]:
    """Threads of every worker that the cluster has now."""
    return [int(worker["nthreads"]) for worker in client.scheduler_info(n_workers=-1)["workers"].values()]


class ItemPool(Protocol):
    """What runs work items: `workers.WorkerPool` here, `ExecutorPool` elsewhere.

    Attributes
    ----------
    goes_on : bool
        Whether what has begun runs to its end when the caller stops early.
    """

    goes_on: ClassVar[bool]

    def run(self, items: Sequence[WorkItem], *, time_limit: float = 3600.0) -> Iterator[Outcome]:
        """Run every item and yield outcomes in order of completion."""


class ExecutorPool:
    """Work items on an executor, each in a process of its own beside the executor's worker.

    Parameters
    ----------
    place : its workers must see all files under the same paths.
    """

    goes_on: ClassVar[bool] = True

    def __init__(self, place: Place) -> None:
        self._place = place

    def run(self, items: Sequence[WorkItem], *, time_limit: float = 3600.0) -> Iterator[Outcome]:
        """Run every item and yield outcomes in order of completion; see `workers.WorkerPool.run`.

        What has not begun when the caller stops early is not run; what has begun runs to its end.
        """
        waiting = list(range(len(items)))[::-1]
        futures: dict[Future[Outcome], int] = {}
        folder = str(Path.cwd())
        try:
            while waiting or futures:
                # Twice what its threads run at a time, so that none waits for the way back and forth.
                room = 2 * max(1, sum(self._place.sizes())) - len(futures)
                for _ in range(min(room, len(waiting))):
                    index = waiting.pop()
                    data = packed(items[index])
                    future = self._place.executor.submit(run_apart, data, time_limit, folder)
                    futures[future] = index
                for future in wait(futures, timeout=1.0, return_when=FIRST_COMPLETED).done:
                    index = futures.pop(future)
                    yield _outcome(index, items[index].label, future)
        finally:
            for future in futures:
                future.cancel()


def _outcome(index: int, label: str, future: Future[Outcome]) -> Outcome:
    """Outcome of a call; what the executor itself raises (a worker that died again and again) is an error.

    CancelledError passes: nobody here cancels a call, so the cluster is lost, and the file is not at fault.
    """
    try:
        return replace(future.result(), index=index)
    except CancelledError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        message = f"{label}: could not be read on the cluster ({reason}); see the workers' logs"
        return Outcome(index, error=InputError(message))


@contextlib.contextmanager
def item_pool(threads: int, dask: str | None = None, reporter: Reporter = SILENT) -> Iterator[ItemPool]:
    """Processes of this machine for work items, or those of a Dask cluster, while the block runs.

    Parameters
    ----------
    threads : most processes at a time on this machine.
    dask : address of a scheduler; then nothing runs here.
    reporter : where notes on the cluster go.

    Raises
    ------
    UsageError
        See `dask_place`.
    """
    if dask is None:
        with WorkerPool(threads) as pool:
            yield pool
    else:
        with dask_place(dask, reporter=reporter) as place:
            yield ExecutorPool(place)

"""Calls on an existing Dask cluster, each in a process beside a Dask worker, which must outlive a crash."""

from __future__ import annotations

import contextlib
import itertools
import logging
import pickle
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffchrom.errors import DiffchromError, InputError, UsageError
from diffchrom.processes.pool import READING, Call, LocalPool, Pool, Purpose, Reply
from diffchrom.progress import SILENT, Reporter

#: Seconds until a Dask scheduler that does not answer is given up.
CONNECT_TIMEOUT = 6.0
#: Seconds for which a process beside a Dask worker is kept for the next call: starting one and importing what
#: it needs takes longer than many a track.
KEPT_SECONDS = 20.0


class ClusterLostError(DiffchromError):
    """The scheduler of a Dask cluster went away while it was in use."""


class _Beside(threading.local):
    """The process of a thread that runs `run_beside`."""

    pool: LocalPool | None = None
    made_for: tuple[object, ...] = ()


_BESIDE = _Beside()


def run_beside(data: bytes) -> Reply:
    """Make a call that `DaskPool` has packed, in a process beside this one."""
    # From this program: nothing from outside is ever unpickled.
    call, purpose, time_limit, folder = pickle.loads(zlib.decompress(data))
    there = Path(folder) if Path(folder).is_dir() else None
    if _BESIDE.pool is None or _BESIDE.made_for != (purpose, there):
        if _BESIDE.pool is not None:
            _BESIDE.pool.close()
        _BESIDE.pool = LocalPool(1, purpose=purpose, folder=there, keep=KEPT_SECONDS)
        _BESIDE.made_for = purpose, there
    (reply,) = _BESIDE.pool.run([call], time_limit=time_limit)
    return reply


class DaskPool(Pool):
    """Calls on the workers of a cluster, as many at a time as these have threads.

    Parameters
    ----------
    executor : hands calls to workers that see all files under the same paths.
    sizes : says how many threads each of its workers has now; clusters grow and shrink.
    purpose : what its errors say; about memory they say what helps there.
    ahead : calls handed out for a thread; with 2 none waits for the way back and forth.
    """

    goes_on = True

    def __init__(
        self, executor: Executor, sizes: Callable[[], list[int]], purpose: Purpose = READING, ahead: int = 2
    ) -> None:
        super().__init__(replace(purpose, memory="use Dask workers with fewer --nthreads"))
        self._executor, self._sizes, self._ahead = executor, sizes, ahead
        self.capacity = sum(sizes())

    def run(self, calls: Iterable[Call], *, time_limit: float = 3600.0) -> Iterator[Reply]:
        """Make every call; see `pool.Pool.run`.

        What has not begun when the caller stops early is not run; what has begun runs to its end.
        """
        waiting = enumerate(calls)
        futures: dict[Future[Reply], tuple[int, str]] = {}
        folder = str(Path.cwd())
        try:
            while True:
                self.capacity = sum(self._sizes())
                room = self._ahead * max(1, self.capacity) - len(futures)
                for index, call in itertools.islice(waiting, max(0, room)):
                    # Compressed: masks of bins are large, and nearly all zeros.
                    data = zlib.compress(pickle.dumps((call, self._purpose, time_limit, folder)), 1)
                    futures[self._executor.submit(run_beside, data)] = index, call.label
                if not futures:
                    return
                for future in wait(futures, timeout=1.0, return_when=FIRST_COMPLETED).done:
                    yield self._reply(*futures.pop(future), future)
        finally:
            for future in futures:
                future.cancel()

    def _reply(self, index: int, label: str, future: Future[Reply]) -> Reply:
        """Reply to a call; what the executor itself raises (a worker that died again and again) is an error.

        CancelledError passes: nobody here cancels a call, so the cluster is lost, and no call is at fault.
        """
        try:
            return replace(future.result(), index=index)
        except CancelledError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            what = f"{self._purpose.doing} failed on the cluster ({reason}); see the workers' logs"
            return Reply(index, error=InputError(f"{label}: {what}"))


@contextlib.contextmanager
def dask_pool(
    address: str,
    purpose: Purpose = READING,
    *,
    ahead: int = 2,
    timeout: float = CONNECT_TIMEOUT,
    reporter: Reporter = SILENT,
) -> Iterator[DaskPool]:
    """Use an existing Dask cluster while the block runs.

    Parameters
    ----------
    address : of the scheduler, as ``tcp://host:8786``.
    purpose, ahead : see `DaskPool`.
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
        raise UsageError("`dask` needs dask.distributed: pip install 'diffchrom[dask]'") from error
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise UsageError(
            f"`dask={address}`: no Dask scheduler answers within {timeout:.0f} s; start one with "
            "`dask scheduler`, and give the address that it prints"
        ) from error
    try:
        pool = DaskPool(client.get_executor(pure=False), lambda: _threads(client), purpose, ahead)
        if not pool.capacity:
            reporter.warn(f"`dask={address}`: the cluster has no workers yet; waiting for some")
        yield pool
    except DiffchromError:
        raise
    except Exception as error:
        # A client that has lost its scheduler cancels its calls, and may be connected to another one by now.
        if client.status == "running" and not isinstance(error, CancelledError):
            raise
        raise ClusterLostError(
            f"`dask={address}`: the scheduler is gone; start it again, and give the same command to go on"
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


def _threads(client: Any) -> list[int]:
    """Threads of every worker that the cluster has now."""
    return [int(worker["nthreads"]) for worker in client.scheduler_info(n_workers=-1)["workers"].values()]

"""Work items in a process beside the one that is asked: a worker of a cluster must outlive a crash."""

from __future__ import annotations

import pickle
import threading
import zlib
from pathlib import Path

from diffchrom.processes.workers import Outcome, Wording, WorkerPool, WorkItem


def packed(item: WorkItem) -> bytes:
    """A work item as bytes to be sent, compressed: masks of bins are large, and nearly all zeros."""
    return zlib.compress(pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL), 1)


class _Kept(threading.local):
    """The worker of a thread that calls `run_apart`, for its next call; ended when that is long in coming."""

    def __init__(self) -> None:
        self.lease = _Lease()


class _Lease:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: WorkerPool | None = None
        self._folder: Path | None = None
        self._timer: threading.Timer | None = None

    def run(self, item: WorkItem, time_limit: float, folder: Path | None) -> Outcome:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._pool is None or self._folder != folder:
                self._close()
                self._pool, self._folder = WorkerPool(1, folder, _ON_CLUSTER), folder
            try:
                (outcome,) = self._pool.run([item], time_limit=time_limit)
            except BaseException:
                self._close()
                raise
            self._timer = threading.Timer(KEPT_SECONDS, self._give_up)
            self._timer.daemon = True
            self._timer.start()
            return outcome

    def _give_up(self) -> None:
        with self._lock:
            if threading.current_thread() is self._timer:  # else another call has come meanwhile
                self._close()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._pool = None


#: A track takes a thread of a Dask worker; --threads says nothing there.
_ON_CLUSTER = Wording(memory="use Dask workers with fewer --nthreads")
#: Seconds for which `run_apart` keeps a worker that has nothing to do.
KEPT_SECONDS = 20.0
_KEPT = _Kept()


def run_apart(data: bytes, time_limit: float, folder: str) -> Outcome:
    """Run a `packed` work item in another process, so that a crash spares the process that calls this.

    A thread's next call finds the other process still there, as starting one and importing what it needs
    takes longer than many a track.

    Parameters
    ----------
    data : from `packed`, of this program; nothing from outside is ever unpickled.
    time_limit : seconds the item may take.
    folder : where relative paths start, if this machine has it.
    """
    item: WorkItem = pickle.loads(zlib.decompress(data))
    return _KEPT.lease.run(item, time_limit, Path(folder) if Path(folder).is_dir() else None)

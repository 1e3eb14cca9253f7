"""Tasks in worker processes: a crash or a hang costs one error that names the task, never the run.

Workers are fresh interpreters started by `subprocess`, not forks: nothing that is open or threaded here
(HDF5 files, torch) reaches them, and a caller's script needs no ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pickle
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar

from diffchrom.errors import DiffchromError, InputError

_LENGTH = struct.Struct("<Q")
_START = "import sys; sys.path[:] = {path!r}; from diffchrom.workers import serve; serve()"
#: Numeric libraries in a worker get one thread each: there is a worker for every core.
_SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class WorkItem:
    """One call in a worker.

    Attributes
    ----------
    label : str
        What an error message names: the track's file.
    function : str
        ``module:function``.
    arguments : dict
        Keyword arguments; must be picklable.
    """

    label: str
    function: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a work item: its value, or the error that it ended in."""

    index: int
    value: Any = None
    error: DiffchromError | None = None


def _send(stream: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    data = stream.read(_LENGTH.unpack(head)[0])
    # Both ends are this program: nothing from outside is ever unpickled.
    return pickle.loads(data)


def _die_with_parent() -> None:
    """Have the kernel end this worker when its parent dies, even by SIGKILL in the middle of a call."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


def serve() -> None:
    """Run in a worker: read calls from stdin and write results to stdout until the parent is gone."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the replies
    calls = os.fdopen(os.dup(0), "rb")
    while True:
        try:
            function, arguments = _receive(calls)
        except EOFError:
            return
        module, _, name = function.partition(":")
        try:
            reply = (True, getattr(importlib.import_module(module), name)(**arguments))
        except DiffchromError as error:
            reply = (False, error)
        except MemoryError:
            reply = (False, MemoryError())  # the pool knows what to do about it
        except Exception as error:
            reply = (False, InputError(f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"))
        with contextlib.suppress(BrokenPipeError):
            _send(replies, reply)


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    index: int = -1
    deadline: float = 0.0
    received: io.BytesIO = field(default_factory=io.BytesIO)

    @classmethod
    def start(cls, folder: Path | None = None) -> _Worker:
        code = _START.format(path=[entry or str(Path.cwd()) for entry in sys.path])
        # Its own process group: a terminal's Ctrl-C must not reach workers before the parent decides.
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            cwd=folder,
            env=os.environ | _SINGLE_THREADED,
        )
        return cls(process)

    @property
    def replies(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def give(self, index: int, item: WorkItem, time_limit: float) -> None:
        self.index, self.deadline = index, time.monotonic() + time_limit
        self.received = io.BytesIO()
        with contextlib.suppress(BrokenPipeError):  # seen as a crash when its stdout ends
            assert self.process.stdin is not None
            data = pickle.dumps((item.function, item.arguments), protocol=pickle.HIGHEST_PROTOCOL)
            view = memoryview(_LENGTH.pack(len(data)) + data)
            while view:
                view = view[self.process.stdin.write(view) :]

    def take(self) -> tuple[bool, Any] | None:
        """Read what has arrived; the whole reply, or None while it is incomplete; EOFError after a crash."""
        data = os.read(self.replies.fileno(), 1 << 20)
        if not data:
            raise EOFError
        self.received.write(data)
        whole = self.received.getbuffer()
        if len(whole) < _LENGTH.size or len(whole) < _LENGTH.size + _LENGTH.unpack(whole[: _LENGTH.size])[0]:
            return None
        reply: tuple[bool, Any] = pickle.loads(whole[_LENGTH.size :])
        return reply

    def stop(self) -> int:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        return self.process.wait()


def _crashed(label: str, worker: _Worker, remedy: str) -> InputError:
    try:
        code = worker.process.wait(timeout=10)  # its end of the pipe closes a moment before it is gone
    except subprocess.TimeoutExpired:
        return InputError(f"{label}: reading it broke its worker process; is the file damaged?")
    reason = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    advice = f"out of memory? {remedy}" if code == -signal.SIGKILL else "is the file damaged?"
    return InputError(f"{label}: reading it crashed its worker process ({reason}); {advice}")


class WorkerPool:
    """Worker processes, started when they are needed and kept between calls of `run`.

    Use it in a ``with`` statement: all workers are killed at its end, whatever ends it.

    Parameters
    ----------
    threads : int
        Most workers at a time.
    folder : Path or None
        Where workers find relative paths; None is the current folder.
    memory_remedy : str
        What an error says to do where the memory does not suffice.
    """

    goes_on: ClassVar[bool] = False

    def __init__(
        self, threads: int, folder: Path | None = None, memory_remedy: str = "use fewer --threads"
    ) -> None:
        self.threads = max(1, threads)
        self._memory_remedy = memory_remedy
        self._folder = folder
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all workers."""
        self._dismiss(self._busy + self._idle)
        self._selector.close()

    def run(self, items: Sequence[WorkItem], *, time_limit: float = 3600.0) -> Iterator[Outcome]:
        """Run every item in a worker and yield outcomes in order of completion.

        Parameters
        ----------
        items : sequence of WorkItem
        time_limit : float
            Seconds an item may take; its worker is then killed and the item ends in an InputError.
        """
        waiting = list(range(len(items)))[::-1]
        try:
            while waiting or self._busy:
                while waiting and len(self._busy) < self.threads:
                    index = waiting.pop()
                    self._engage().give(index, items[index], time_limit)
                patience = min(worker.deadline for worker in self._busy) - time.monotonic()
                for key, _ in self._selector.select(min(max(patience, 0.0), 60.0)):
                    outcome = self._listen(key.data, items)
                    if outcome is not None:
                        yield outcome
                for worker in [worker for worker in self._busy if worker.deadline <= time.monotonic()]:
                    self._dismiss([worker])
                    label = items[worker.index].label
                    message = f"{label}: not read within {time_limit:.0f} s; is the file damaged?"
                    yield Outcome(worker.index, error=InputError(message))
        finally:
            self._dismiss(list(self._busy))  # the caller has stopped early

    def _engage(self) -> _Worker:
        # One that was killed while it had nothing to do must not be taken for a crash on the next file.
        self._dismiss([worker for worker in self._idle if worker.process.poll() is not None])
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = _Worker.start(self._folder)
            self._selector.register(worker.replies, selectors.EVENT_READ, worker)
        self._busy.append(worker)
        return worker

    def _listen(self, worker: _Worker, items: Sequence[WorkItem]) -> Outcome | None:
        """Read what a worker has sent; its outcome, or None while that is incomplete."""
        try:
            reply = worker.take()
        except EOFError:
            busy = worker in self._busy
            error = _crashed(items[worker.index].label, worker, self._memory_remedy) if busy else None
            self._dismiss([worker])
            return Outcome(worker.index, error=error) if busy else None
        if reply is None:
            return None
        self._busy.remove(worker)
        self._idle.append(worker)
        good, value = reply
        if good:
            return Outcome(worker.index, value)
        if isinstance(value, MemoryError):
            value = InputError(f"not enough memory; {self._memory_remedy}")
        return Outcome(worker.index, error=_named(value, items[worker.index].label))

    def _dismiss(self, workers: Sequence[_Worker]) -> None:
        for worker in workers:
            self._selector.unregister(worker.replies)
            for group in (self._busy, self._idle):
                if worker in group:
                    group.remove(worker)
            worker.stop()


def _named(error: DiffchromError, label: str) -> DiffchromError:
    """Put the track's name in front of a message that lacks it."""
    return error if label in str(error) else type(error)(f"{label}: {error}")


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
                self._pool, self._folder = WorkerPool(1, folder, _CLUSTER_REMEDY), folder
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
_CLUSTER_REMEDY = "use Dask workers with fewer --nthreads"
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

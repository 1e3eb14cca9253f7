"""Calls in processes of their own: a crash or a hang costs one error that names the call, never the run.

Workers are fresh interpreters started by `subprocess`, not forks: nothing that is open or threaded here
(HDF5 files, torch) reaches them, and a caller's script needs no ``if __name__ == "__main__"``. This module
imports nothing heavy, because every worker imports it before it knows what it is to do.
"""

from __future__ import annotations

import bdb
import contextlib
import itertools
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Self

from diffchrom.errors import DiffchromError, InputError
from diffchrom.processes.machine import THREAD_VARIABLES

_START = (
    "import sys; sys.path[:] = {path!r}; "
    "from diffchrom.processes.pool import serve; serve({fd}, {keep}, parent={parent})"
)


@dataclass(frozen=True)
class Call:
    """A function of a module and its arguments, all of which must be picklable.

    Attributes
    ----------
    label : what an error message names: the track's file.
    function : what is called.
    arguments : by keyword.
    """

    label: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Purpose:
    """What calls are for, as errors say it.

    Attributes
    ----------
    doing : what is done, as in "reading it crashed its worker process".
    undone : the same, of a call that took too long.
    advice : where a worker broke down or took too long.
    memory : where the memory does not suffice.
    retries : how often a call is started again after the process that ran it died.
    """

    doing: str = "reading it"
    undone: str = "not read"
    advice: str = "is the file damaged?"
    memory: str = "use fewer `threads`"
    retries: int = 0


READING = Purpose()


@dataclass(frozen=True)
class Reply:
    """What became of the call with this number: its value, or the error that it ended in."""

    index: int
    value: Any = None
    error: DiffchromError | None = None


def _answer(index: int, call: Call, purpose: Purpose) -> Reply:
    """Make a call in this process; whatever goes wrong becomes its error."""
    try:
        return Reply(index, call.function(**call.arguments))
    except bdb.BdbQuit:  # somebody has left a debugger
        raise
    except DiffchromError as raised:
        error: DiffchromError = raised
    except MemoryError:
        error = InputError(f"not enough memory; {purpose.memory}")
    except Exception as raised:
        error = InputError(f"unexpected {type(raised).__name__}: {' '.join(str(raised).split())}")
    if call.label not in str(error):
        error = type(error)(f"{call.label}: {error}")
    return Reply(index, error=error.with_traceback(None))  # whose frames hold the arrays of the call


class Pool:
    """Calls in this process, one after the other: a breakpoint works, and a crash or a hang is everybody's.

    `LocalPool` and `cluster.DaskPool` make them elsewhere.

    Attributes
    ----------
    goes_on : whether what has begun runs to its end when the caller stops early.
    threads : of the numerical libraries, in each call.
    capacity : how many calls it makes at a time, now.
    """

    goes_on = False
    threads = 1
    capacity = 1

    def __init__(self, purpose: Purpose = READING) -> None:
        self._purpose = purpose

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, whatever they do."""

    def run(self, calls: Iterable[Call], *, time_limit: float = 3600.0) -> Iterator[Reply]:
        """Make every call, drawn when there is room for it, and yield replies in order of completion.

        Parameters
        ----------
        calls : numbered from 0 in `Reply.index`.
        time_limit : seconds a call may take where its process can be killed; its reply is then an InputError.
        """
        for index, call in enumerate(calls):
            yield _answer(index, call, self._purpose)


@dataclass(frozen=True)
class _Told:
    message: Any


_parent: Connection | None = None


def tell(message: Any) -> None:
    """Send a message from a worker, in the middle of a call, to the `told` of whoever runs the pool."""
    if _parent is not None:
        _parent.send_bytes(pickle.dumps(_Told(message)))


def _die_with_parent(parent: int) -> None:
    """Have the kernel end this worker when its parent dies, even by SIGKILL in the middle of a call."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died while this worker started: nobody is told of that any more
        sys.exit()


def serve(descriptor: int, keep: float | None, *, parent: int) -> None:
    """Run in a worker: make calls until the parent is gone, or no other comes for `keep` seconds."""
    global _parent
    _die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _parent = Connection(descriptor)
    patience = None
    with contextlib.suppress(EOFError, OSError):
        while _parent.poll(patience):
            # Both ends are this program: nothing from outside is ever unpickled.
            _parent.send_bytes(pickle.dumps(_answer(*pickle.loads(_parent.recv_bytes()))))
            patience = keep


class _Worker:
    """A process, and the call that it makes, if any."""

    def __init__(self, threads: int, folder: Path | None, keep: float | None) -> None:
        self.call: Call | None = None
        self.idle_since = time.monotonic()
        self.connection, theirs = Pipe()
        path = [entry or str(Path.cwd()) for entry in sys.path]
        # Twice as long as it is used for, so that it never goes while a call is on its way.
        code = _START.format(
            path=path, fd=theirs.fileno(), keep=None if keep is None else 2 * keep, parent=os.getpid()
        )
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a library prints must not mix with results
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a terminal's Ctrl-C must not reach it before the parent decides
                cwd=folder,
                env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)),
            )

    def give(self, index: int, call: Call, purpose: Purpose, time_limit: float, attempt: int = 1) -> None:
        self.index, self.call, self.attempt = index, call, attempt
        self.deadline = time.monotonic() + time_limit
        with contextlib.suppress(OSError):  # seen as a crash when its reply is awaited
            self.connection.send_bytes(pickle.dumps((index, call, purpose)))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def crash(self, purpose: Purpose) -> str:
        """How it ended, after its end of the connection has closed."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # it is gone a moment after that
            self.process.wait(timeout=10)
        code = self.process.returncode
        reason = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        advice = f"out of memory? {purpose.memory}" if code == -signal.SIGKILL else purpose.advice
        times = f" {self.attempt} times" if self.attempt > 1 else ""
        return f"{purpose.doing} crashed its worker process{times} ({reason}); {advice}"


class LocalPool(Pool):
    """Calls in worker processes, started when they are needed and kept between calls of `run`.

    Use it in a ``with`` statement: all workers are killed at its end, whatever ends it.

    Parameters
    ----------
    workers : most processes at a time.
    threads : threads of the numerical libraries in each.
    purpose : what its errors say.
    folder : where workers find relative paths; None is the current folder.
    keep : seconds for which a worker without a call is kept; None is as long as the pool.
    """

    def __init__(
        self,
        workers: int,
        threads: int = 1,
        purpose: Purpose = READING,
        *,
        folder: Path | None = None,
        keep: float | None = None,
    ) -> None:
        super().__init__(purpose)
        self.capacity, self.threads = max(1, workers), threads
        self._folder, self._keep = folder, keep
        self._workers: list[_Worker] = []

    def close(self) -> None:
        """Kill all workers."""
        self._dismiss(self._workers)

    def run(
        self,
        calls: Iterable[Call],
        *,
        time_limit: float = 3600.0,
        told: Callable[[int, Any], None] = lambda index, message: None,
    ) -> Iterator[Reply]:
        """Make every call; see `Pool.run`. `told` is given a call's number and what it tells (`tell`)."""
        waiting = enumerate(calls)
        try:
            while True:
                for index, call in itertools.islice(waiting, self.capacity - len(self._busy())):
                    self._free_worker().give(index, call, self._purpose, time_limit)
                busy = self._busy()
                if not busy:
                    return
                patience = min(worker.deadline for worker in busy) - time.monotonic()
                ready = wait([worker.connection for worker in busy], min(max(patience, 0), 60))
                now = time.monotonic()
                for worker in busy:
                    if worker.connection in ready:
                        yield from self._listen(worker, time_limit, told)
                    elif worker.deadline <= now:
                        what = f"{self._purpose.undone} within {time_limit:.0f} s; {self._purpose.advice}"
                        yield self._lost(worker, what)
        finally:
            self._dismiss(self._busy())  # the caller has stopped early

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.call is not None]

    def _free_worker(self) -> _Worker:
        # One that ended while it had nothing to do must not be taken for a crash in the next call.
        oldest = -math.inf if self._keep is None else time.monotonic() - self._keep
        idle = [worker for worker in self._workers if worker.call is None]
        gone = [each for each in idle if each.process.poll() is not None or each.idle_since < oldest]
        self._dismiss(gone)
        left = [worker for worker in idle if worker not in gone]
        if not left:
            left = [_Worker(self.threads, self._folder, self._keep)]
            self._workers += left
        return left[0]

    def _listen(
        self, worker: _Worker, time_limit: float, told: Callable[[int, Any], None]
    ) -> Iterator[Reply]:
        """Take what a worker has sent: its reply, what it tells, or that it is no more."""
        assert worker.call is not None
        try:
            message = pickle.loads(worker.connection.recv_bytes())
        except (EOFError, OSError):
            lost = self._lost(worker, worker.crash(self._purpose))
            if worker.attempt > self._purpose.retries:
                yield lost
            else:
                again = worker.index, worker.call, self._purpose, time_limit, worker.attempt + 1
                self._free_worker().give(*again)
            return
        if isinstance(message, _Told):
            told(worker.index, message.message)
            return
        worker.call, worker.idle_since = None, time.monotonic()
        yield message

    def _lost(self, worker: _Worker, what: str) -> Reply:
        assert worker.call is not None
        self._dismiss([worker])
        return Reply(worker.index, error=InputError(f"{worker.call.label}: {what}"))

    def _dismiss(self, workers: Sequence[_Worker]) -> None:
        for worker in list(workers):
            self._workers.remove(worker)
            worker.stop()

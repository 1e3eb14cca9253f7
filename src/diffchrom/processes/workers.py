"""Tasks in worker processes: a crash or a hang costs one error that names the task, never the run.

Workers are fresh interpreters started by `subprocess`, not forks: nothing that is open or threaded here
(HDF5 files, torch) reaches them, and a caller's script needs no ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import selectors
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar

from diffchrom.errors import DiffchromError, InputError

_LENGTH = struct.Struct("<Q")
#: Kinds of messages from a worker.
_TOLD, _DONE, _FAILED = "told", "done", "failed"
_START = "import sys; sys.path[:] = {path!r}; from diffchrom.processes.workers import serve; serve()"
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


class _ParentGoneError(Exception):
    """Nobody listens to what a worker tells."""


def _send_told(stream: IO[bytes], message: Any) -> None:
    try:
        _send(stream, (_TOLD, message))
    except BrokenPipeError as error:
        raise _ParentGoneError from error


@dataclass(frozen=True)
class Wording:
    """What the errors of a pool say.

    Attributes
    ----------
    doing : what was done to an item, as in "reading it crashed its worker process".
    undone : the same, of an item that took too long.
    advice : where a worker broke down or took too long.
    memory : where the memory does not suffice.
    """

    doing: str = "reading it"
    undone: str = "not read"
    advice: str = "is the file damaged?"
    memory: str = "use fewer --threads"


READING = Wording()

_tell: Callable[[Any], None] | None = None


def tell(message: Any) -> None:
    """Send a message from a worker, in the middle of a call, to the `told` of whoever runs the pool."""
    if _tell is not None:
        _tell(message)


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
    global _tell
    _tell = partial(_send_told, replies)
    calls = os.fdopen(os.dup(0), "rb")
    while True:
        try:
            function, arguments = _receive(calls)
        except EOFError:
            return
        module, _, name = function.partition(":")
        try:
            reply = (_DONE, getattr(importlib.import_module(module), name)(**arguments))
        except _ParentGoneError:
            return
        except DiffchromError as error:
            reply = (_FAILED, error)
        except MemoryError:
            reply = (_FAILED, MemoryError())  # the pool knows what to do about it
        except Exception as error:
            reply = (
                _FAILED,
                InputError(f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"),
            )
        with contextlib.suppress(BrokenPipeError):
            _send(replies, reply)


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    index: int = -1
    deadline: float = 0.0
    received: bytearray = field(default_factory=bytearray)

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
        self.received = bytearray()
        with contextlib.suppress(BrokenPipeError):  # seen as a crash when its stdout ends
            assert self.process.stdin is not None
            data = pickle.dumps((item.function, item.arguments), protocol=pickle.HIGHEST_PROTOCOL)
            view = memoryview(_LENGTH.pack(len(data)) + data)
            while view:
                view = view[self.process.stdin.write(view) :]

    def take(self) -> list[tuple[str, Any]]:
        """Read what has arrived; the messages that are whole by now. EOFError after a crash."""
        data = os.read(self.replies.fileno(), 1 << 20)
        if not data:
            raise EOFError
        self.received += data
        messages = []
        while len(self.received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self.received)[0]
            if len(self.received) < end:
                break
            with memoryview(self.received) as view:
                messages.append(pickle.loads(view[_LENGTH.size : end]))
            del self.received[:end]
        return messages

    def stop(self) -> int:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        return self.process.wait()


def _crashed(label: str, worker: _Worker, wording: Wording) -> InputError:
    try:
        code = worker.process.wait(timeout=10)  # its end of the pipe closes a moment before it is gone
    except subprocess.TimeoutExpired:
        return InputError(f"{label}: {wording.doing} broke its worker process; {wording.advice}")
    reason = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    advice = f"out of memory? {wording.memory}" if code == -signal.SIGKILL else wording.advice
    return InputError(f"{label}: {wording.doing} crashed its worker process ({reason}); {advice}")


class WorkerPool:
    """Worker processes, started when they are needed and kept between calls of `run`.

    Use it in a ``with`` statement: all workers are killed at its end, whatever ends it.

    Parameters
    ----------
    threads : int
        Most workers at a time.
    folder : Path or None
        Where workers find relative paths; None is the current folder.
    wording : Wording
        What its errors say.
    """

    goes_on: ClassVar[bool] = False

    def __init__(self, threads: int, folder: Path | None = None, wording: Wording = READING) -> None:
        self.threads = max(1, threads)
        self._wording = wording
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

    def run(
        self,
        items: Sequence[WorkItem],
        *,
        time_limit: float = 3600.0,
        told: Callable[[int, Any], None] | None = None,
    ) -> Iterator[Outcome]:
        """Run every item in a worker and yield outcomes in order of completion.

        Parameters
        ----------
        items : sequence of WorkItem
        time_limit : float
            Seconds an item may take; its worker is then killed and the item ends in an InputError.
        told : callable or None
            Given an item's index and what its call tells (`tell`) before it ends.
        """
        waiting = list(range(len(items)))[::-1]
        try:
            while waiting or self._busy:
                while waiting and len(self._busy) < self.threads:
                    index = waiting.pop()
                    self._engage().give(index, items[index], time_limit)
                patience = min(worker.deadline for worker in self._busy) - time.monotonic()
                for key, _ in self._selector.select(min(max(patience, 0.0), 60.0)):
                    outcome = self._listen(key.data, items, told)
                    if outcome is not None:
                        yield outcome
                for worker in [worker for worker in self._busy if worker.deadline <= time.monotonic()]:
                    self._dismiss([worker])
                    label = items[worker.index].label
                    message = (
                        f"{label}: {self._wording.undone} within {time_limit:.0f} s; {self._wording.advice}"
                    )
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

    def _listen(
        self, worker: _Worker, items: Sequence[WorkItem], told: Callable[[int, Any], None] | None
    ) -> Outcome | None:
        """Read what a worker has sent; its outcome, or None while that has not come."""
        try:
            messages = worker.take()
        except EOFError:
            # One that had nothing to do may have worked on other items than these.
            busy = worker in self._busy
            error = _crashed(items[worker.index].label, worker, self._wording) if busy else None
            self._dismiss([worker])
            return Outcome(worker.index, error=error) if busy else None
        for kind, value in messages:
            if kind == _TOLD:
                if told is not None:
                    told(worker.index, value)
                continue
            self._busy.remove(worker)
            self._idle.append(worker)
            if kind == _DONE:
                return Outcome(worker.index, value)
            if isinstance(value, MemoryError):
                value = InputError(f"not enough memory; {self._wording.memory}")
            return Outcome(worker.index, error=_named(value, items[worker.index].label))
        return None

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

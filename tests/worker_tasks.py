"""What tests have worker processes do; a work item finds it by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from diffchrom.errors import InputError
from diffchrom.processes.workers import tell


def double(number: int) -> int:
    return 2 * number


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    time.sleep(600)


def refuse() -> None:
    raise InputError("x.bw: is empty, not a bigWig")


def break_down() -> None:
    raise ZeroDivisionError("by zero")


def exhaust() -> None:
    raise MemoryError


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def talk() -> str:
    print("libraries print where they should not")
    return "done"


def count(to: int) -> str:
    for number in range(to):
        tell({"number": number, "padding": bytes(200_000)})
        time.sleep(0.01)
    return "counted"


def process_id() -> int:
    return os.getpid()


def current_folder() -> str:
    return str(Path.cwd())


def large() -> bytes:
    return bytes(10_000_000)


def kill_the_dask_worker_once(marker: str) -> str:
    path = Path(marker)
    if not path.exists():
        path.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    return "read"

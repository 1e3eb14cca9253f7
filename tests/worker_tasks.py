"""What tests have worker processes do, and how they look at these."""

from __future__ import annotations

import bdb
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from diffchrom.errors import InputError
from diffchrom.prepare.track_reading import read_track
from diffchrom.processes.pool import tell


def double(number: int) -> int:
    return 2 * number


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    time.sleep(600)


def tell_and_hang() -> None:
    tell(os.getpid())
    hang()


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
        tell({"number": number, "process": os.getpid(), "padding": bytes(200_000)})
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


def leave_the_debugger() -> None:
    raise bdb.BdbQuit


def threads() -> str:
    return os.environ["OMP_NUM_THREADS"]


def die(marker: str, times: int) -> int:
    """Kill the process that runs this, the first `times` times."""
    path = Path(marker)
    count = len(path.read_text()) if path.exists() else 0
    if count < times:
        path.write_text("x" * (count + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return count


def state(pid: int) -> str:
    """State of a process as Linux tells it; X where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def descendants(parent: int) -> list[int]:
    """Process numbers of a process's children."""
    shown = subprocess.run(["ps", "--ppid", str(parent), "-o", "pid="], capture_output=True, text=True)
    return [int(pid) for pid in shown.stdout.split()]


def crash_on_h3k27me3_of_e2(part: Path, sources: Any, *arguments: Any, **more: Any) -> None:
    if "E2-H3K27me3" in sources[0].path:
        crash()
    read_track(part, sources, *arguments, **more)

"""What this machine has left for us."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

from diffchrom.errors import UsageError

#: Variables that say to the numerical libraries how many threads to use; read when those are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


def share_cores(cores: int, n_jobs: int, workers: int | None = None) -> tuple[int, int]:
    """Divide cores among jobs so that each core is used once: how many workers, and threads of each.

    One thread a job wastes nothing, so there are as many workers as cores; with fewer jobs than cores each
    gets more threads.
    """
    if workers is not None and workers > cores:
        raise UsageError(f"`workers={workers}`: more than the {cores} cores to use (see `threads`)")
    count = max(1, min(workers or cores, n_jobs))
    return count, max(1, cores // count)


_worker = 0


def set_worker_number(number: int) -> None:
    """Say which of several processes this one is, from 0, from now on: they share what a machine has."""
    global _worker
    _worker = number


def worker_number() -> int:
    """Which of several processes this one is; 0 unless it was told."""
    return _worker


def available_threads() -> int:
    """Cores this process may use (fewer than the machine has under taskset, cgroups or SLURM)."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def peak_memory() -> int:
    """Bytes that this process, or one that it ended, has had resident at most."""
    own, ended = (resource.getrusage(of).ru_maxrss for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(own, ended) * (1 if sys.platform == "darwin" else 1024)


def cpu_seconds() -> float:
    """What this process and those that it ended have used of the cores."""
    return sum(os.times()[:4])


def available_memory() -> int:
    """Bytes of memory that are free for this process, as far as the system tells."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path, key in (("/proc/meminfo", "MemAvailable:"), ("/sys/fs/cgroup/memory.max", "")):
        with contextlib.suppress(OSError, ValueError, StopIteration):
            line = next(line for line in Path(path).read_text().splitlines() if line.startswith(key))
            free = min(free, int(line.split()[1]) * 1024 if key else int(line))
    return free

"""What ``diffchrom sweep`` shows: the live table, the dry run's list, the finished runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from diffchrom.commands.console import Console
from diffchrom.commands.printing import Lines
from diffchrom.errors import RunError
from diffchrom.pairs.choices import direction
from diffchrom.runs.folder import FINISHED, SUMMARY_COLUMNS, Run
from diffchrom.sweeps.estimate import estimate_jobs
from diffchrom.sweeps.folder import read_jobs, status_of
from diffchrom.sweeps.jobs import Job
from diffchrom.sweeps.running import Progress
from diffchrom.sweeps.unseen import COLUMNS as UNSEEN_COLUMNS
from diffchrom.sweeps.unseen import unseen_cells

_SHOWN = 12
DRY_RUN_COLUMNS = (
    "job", "kind", "method", "preset", "pair", "held_out", "split", "seed", "status", "seconds", "memory_mb",
    "basis",
)  # fmt: skip


def duration(seconds: float) -> str:
    """Seconds for people: 45 s, 12 min, 3 h 20 min; ? where unknown."""
    if seconds != seconds:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@contextmanager
def live_view(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that has progress shown in a live table on stderr, where that is a terminal."""
    if console.quiet or not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console as RichConsole
    from rich.live import Live

    screen = RichConsole(stderr=True)
    shown: list[Progress] = []
    live = Live(
        console=screen,
        refresh_per_second=2,
        transient=True,
        get_renderable=lambda: _table(shown[-1]) if shown else "",
    )
    with live, console.beside(screen):
        yield shown.append


def _table(progress: Progress) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    failed = len(progress.failed)
    head = (
        f"{progress.done}/{progress.total} jobs done, {failed} failed · "
        f"{len(progress.running)} running on {progress.workers} workers · "
        f"{duration(progress.seconds_left)} left"
    )
    table = Table("running", "for", box=None)
    now = time.monotonic()
    for name, since in list(progress.running.items())[:_SHOWN]:
        table.add_row(name, duration(now - since))
    if len(progress.running) > _SHOWN:
        table.add_row(f"and {len(progress.running) - _SHOWN} more", "")
    return Group(Text(head), table)


def print_jobs(jobs: Sequence[Job], out: Path, workers: int, console: Console, lines: Lines) -> None:
    """Print the jobs with estimates, and the sum on stderr."""
    estimates = estimate_jobs(jobs, read_jobs(out))
    left, unknown, memory = 0.0, 0, 0.0
    for job, estimate in zip(jobs, estimates, strict=True):
        status = status_of(job, out)
        if status != FINISHED:
            left += estimate.seconds if estimate.seconds == estimate.seconds else 0
            unknown += estimate.seconds != estimate.seconds
            memory = max(memory, estimate.memory_mb)
        values = (
            job.name, job.kind, job.method, job.preset, ",".join(job.pair), ",".join(job.held_out) or None,
            job.split, job.seed, status,
            round(estimate.seconds, 1), float(round(estimate.memory_mb)), estimate.basis,
        )  # fmt: skip
        lines.print(DRY_RUN_COLUMNS, values)
    note = f" and {unknown} jobs of unknown length" if unknown else ""
    console.note(
        f"{len(jobs)} jobs; at most {duration(left / workers)} on {workers} workers{note}; "
        f"about {memory * workers / 1024:.1f} GB of memory"
    )


def print_runs(jobs: Sequence[Job], out: Path, console: Console, lines: Lines) -> None:
    """Print a line a finished run, as `train` does; what was not finished has been told already.

    Where cells were left out, print instead a line a method and kind of pair, as `compare --unseen` does.
    """
    console.note(direction(*(job.pair for job in jobs)))
    runs = list(_finished(jobs, out))
    if not any(job.held_out for job in jobs):
        for run in runs:
            lines.print(SUMMARY_COLUMNS, run.summary())
    for row in unseen_cells(runs):
        lines.print(UNSEEN_COLUMNS, row.row())


def _finished(jobs: Sequence[Job], out: Path) -> Iterator[Run]:
    for job in jobs:
        with suppress(RunError):
            if status_of(job, out) == FINISHED:
                yield Run.open(out / job.name)

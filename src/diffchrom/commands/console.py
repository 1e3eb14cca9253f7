"""The terminal's side of `progress.Reporter`: progress bars and notes on stderr, results on stdout."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from diffchrom.commands.spelling import as_options
from diffchrom.files.tables import aligned
from diffchrom.progress import SILENT, Task

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID
    from rich.progress import Task as RichTask


class _BarTask:
    """A rich progress bar that is redrawn a few times a second, however often it is advanced."""

    _EVERY = 0.1

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._lock = threading.Lock()
        self._pending = 0
        self._shown = 0.0

    def advance(self, steps: int = 1, status: str = "") -> None:
        """Count steps; see `progress.Task`."""
        with self._lock:
            self._pending += steps
            now = time.monotonic()
            if not status and now - self._shown < self._EVERY:
                return
            self._shown = now
            pending, self._pending = self._pending, 0
        shown: dict[str, Any] = {"status": status} if status else {}
        self._progress.update(self._task, advance=pending, **shown)


def _rate_column() -> ProgressColumn:
    """Steps a second, or seconds a step where these are long."""
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            speed = task.finished_speed or task.speed
            if not speed:
                return Text("")
            return Text(f"{speed:,.1f}/s" if speed >= 1 else f"{1 / speed:,.1f} s each")

    return Rate()


class Console:
    """Reporter for people: bars only on a terminal, notes unless quiet, warnings always.

    Parameters
    ----------
    quiet : show nothing but warnings and errors.
    verbose : show details too.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self._progress: Progress | None = None
        self._screen: Any = None

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Task]:
        """Show a progress bar while the block runs; nested tasks share one display."""
        if self.quiet or not sys.stderr.isatty():
            with SILENT.task(description, total) as silent:
                yield silent
            return
        progress = self._progress or self._new_display()
        outermost = self._progress is None
        if outermost:
            self._progress = progress
            progress.start()
        bar = progress.add_task(description, total=total, status="")
        try:
            yield _BarTask(progress, bar)
        finally:
            if outermost:
                progress.stop()
                self._progress = None
            else:
                progress.remove_task(bar)

    @staticmethod
    def _new_display() -> Progress:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            _rate_column(),
            TextColumn("{task.fields[status]}", markup=False),
            console=RichConsole(stderr=True),
            transient=True,
        )

    @contextmanager
    def beside(self, screen: Any) -> Iterator[None]:
        """Print through a rich console while the block runs, above the live display that it shows."""
        self._screen = screen
        try:
            yield
        finally:
            self._screen = None

    def note(self, message: str) -> None:
        """Print a note, unless quiet."""
        if not self.quiet:
            self._print(message)

    def detail(self, message: str) -> None:
        """Print what only ``--verbose`` asks for."""
        if self.verbose:
            self._print(message)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self._print(f"warning: {message}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print a small table in aligned columns, unless quiet."""
        if self.quiet:
            return
        for line in aligned([[str(value) for value in row] for row in (header, *rows)]):
            self._print(line)

    def _print(self, message: str) -> None:
        screen = self._progress.console if self._progress is not None else self._screen
        if screen is not None:
            screen.print(as_options(message), markup=False, highlight=False, soft_wrap=True)
        else:
            print(as_options(message), file=sys.stderr)

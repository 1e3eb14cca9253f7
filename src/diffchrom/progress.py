"""How the library tells a caller what it is doing, without ever printing.

Long functions take a `Reporter`. The command line passes one that draws progress bars and prints notes on
stderr (`diffchrom.commands.console`); everybody else gets the silent one by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Task(Protocol):
    """One piece of long work, with a known or unknown number of steps."""

    def advance(self, steps: int = 1, status: str = "") -> None:
        """Count `steps` as done and show `status` (loss, file name, ...) beside the bar."""


class Reporter(Protocol):
    """Where progress, notes and warnings go."""

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Task]:
        """Show `description` with a progress bar of `total` steps while the block runs."""
        raise NotImplementedError

    def note(self, message: str) -> None:
        """Tell what was understood, matched, dropped or guessed."""

    def warn(self, message: str) -> None:
        """Tell what the user should look at."""


@contextmanager
def noting(reporter: Reporter, notes: Callable[[], Iterable[str]]) -> Iterator[None]:
    """Tell those `notes` that say anything when the block ends, also where ``| head`` closes the pipe.

    Told before the block, they would stand beside the one line of an error.
    """

    def tell() -> None:
        for note in filter(None, notes()):
            reporter.note(note)

    try:
        yield
    except BrokenPipeError:
        tell()
        raise
    tell()


class _SilentTask:
    def advance(self, steps: int = 1, status: str = "") -> None:
        pass


class SilentReporter:
    """Says nothing; the default everywhere in the library."""

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Task]:
        """Do nothing while the block runs."""
        yield _SilentTask()

    def note(self, message: str) -> None:
        """Drop the note."""

    def warn(self, message: str) -> None:
        """Drop the warning."""


SILENT = SilentReporter()


class _BarTask:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self, steps: int = 1, status: str = "") -> None:
        self._bar.update(steps)
        if status and hasattr(self._bar, "set_postfix_str"):
            self._bar.set_postfix_str(status)


class BarReporter:
    """Progress through bars like tqdm's, as in ``BarReporter(tqdm.auto.tqdm, print)`` in a notebook.

    Parameters
    ----------
    bar : ``bar(total=..., desc=...)`` makes a context manager that has ``update(steps)``.
    say : takes notes and warnings; None drops them.
    """

    def __init__(self, bar: Callable[..., Any], say: Callable[[str], object] | None = None) -> None:
        self._bar = bar
        self._say = say or (lambda message: None)

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Task]:
        """Show a bar while the block runs."""
        with self._bar(total=total, desc=description) as bar:
            yield _BarTask(bar)

    def note(self, message: str) -> None:
        """Say it."""
        self._say(message)

    def warn(self, message: str) -> None:
        """Say it, marked as a warning."""
        self._say(f"warning: {message}")

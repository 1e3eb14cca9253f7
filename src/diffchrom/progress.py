"""How the library tells a caller what it is doing, without ever printing.

Long functions take a `Reporter`. The command line passes one that draws progress bars and prints notes on
stderr (`diffchrom.commands.console`); everybody else gets the silent one by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


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

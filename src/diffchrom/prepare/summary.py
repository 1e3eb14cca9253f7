"""What a `prepare` understood, dropped, renamed or guessed: told as it happens, and kept for the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from diffchrom.files.text import printable
from diffchrom.progress import Reporter


@dataclass
class Summary:
    """Notes and warnings, in order.

    Attributes
    ----------
    reporter : where they are shown.
    lines : all that was said.
    """

    reporter: Reporter
    lines: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        """Tell and keep what was understood, dropped, renamed or guessed."""
        message = printable(message)
        self.lines.append(message)
        self.reporter.note(message)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table in aligned columns; it is not kept."""
        text = [[cell or "-" for cell in row] for row in (header, *rows)]
        widths = [max(map(len, column)) for column in zip(*text, strict=True)]
        for row in text:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.reporter.note(printable(line.rstrip()))

    def warn(self, message: str) -> None:
        """Tell and keep what the user should look at."""
        message = printable(message)
        self.lines.append(f"warning: {message}")
        self.reporter.warn(message)

"""Reading the tables that diffchrom wrote: predictions, histories, jobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import RunError
from diffchrom.files.tables import NA
from diffchrom.files.whole import open_text


@dataclass(frozen=True)
class WrittenTable:
    """A table as it was written, text by text.

    Attributes
    ----------
    path, what, remedy : the file, what it should be, and what to do where it is not.
    header : names of the columns.
    rows : of as many fields as the header, as text.
    """

    path: Path
    what: str
    remedy: str
    header: list[str]
    rows: list[list[str]]

    @classmethod
    def read(cls, path: Path, what: str, columns: Iterable[str], remedy: str) -> WrittenTable:
        """Read a file that must have the `columns`; RunError where it is missing or broken."""
        if not path.is_file():
            raise RunError(f"{path}: missing; {remedy}")
        with open_text(path, what) as stream:
            header, *rows = [line.rstrip("\n").split("\t") for line in stream] or [[""]]
        table = cls(path, what, remedy, header, rows)
        if missing := [name for name in columns if name not in header]:
            raise table.error(f"no column {', '.join(missing)}")
        for number, row in enumerate(rows):
            if len(row) != len(header):
                raise table.error(f"{len(row)} of {len(header)} fields", number)
        return table

    def error(self, reason: str, row: int | None = None) -> RunError:
        """What to raise where the table, or a row of it, counted from 0, is not what it should be."""
        where = "" if row is None else f"line {row + 2}: "
        return RunError(f"{self.path}: not a {self.what} ({where}{reason}); {self.remedy}")

    def column(self, name: str) -> npt.NDArray[Any]:
        """Text of a column, object [n_rows]."""
        at = self.header.index(name)
        return np.array([row[at] for row in self.rows], dtype=object)

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Numbers of a column, [n_rows]; NaN where it says NA, RunError where it says anything else."""
        values = np.full(len(self.rows), np.nan)
        for number, text in enumerate(self.column(name)):
            try:
                values[number] = "nan" if text == NA else text
            except ValueError as error:
                raise self.error(f"{name}: {error}", number) from error
        return values

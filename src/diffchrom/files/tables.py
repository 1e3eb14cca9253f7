"""Tables as diffchrom writes them: TSV, one header line, NA for what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

NA = "NA"
_ROWS_AT_A_TIME = 4096


def format_value(value: Any) -> str:
    """One cell of a table: floats with 7 significant digits (a float32's worth), NaN and None as NA."""
    if value is None:
        return NA
    if isinstance(value, float | np.floating):
        return f"{float(value):.7g}" if np.isfinite(value) else NA
    return str(value) or NA


def format_row(values: Iterable[Any]) -> str:
    """One line of a table, without its end."""
    return "\t".join(map(format_value, values))


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table for people: cells in columns, two blanks between them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _formatted(column: npt.NDArray[Any]) -> list[str]:
    if column.dtype.kind == "f":
        return [
            f"{value:.7g}" if finite else NA
            for value, finite in zip(column, np.isfinite(column), strict=True)
        ]
    if column.dtype.kind in "iu":
        return [str(value) for value in column.tolist()]
    return [str(value) or NA for value in column]


def lines(columns: Mapping[str, npt.NDArray[Any]]) -> Iterator[str]:
    """Yield a table in pieces of text, the header first, without ever holding it whole."""
    yield "\t".join(columns) + "\n"
    n_rows = len(next(iter(columns.values()))) if columns else 0
    for first in range(0, n_rows, _ROWS_AT_A_TIME):
        block = [
            _formatted(np.asarray(column[first : first + _ROWS_AT_A_TIME])) for column in columns.values()
        ]
        yield "".join("\t".join(row) + "\n" for row in zip(*block, strict=True))


def joined_lines(batches: Iterable[Mapping[str, npt.NDArray[Any]]]) -> Iterator[str]:
    """Yield the text of a table that comes in batches of rows: one header, whatever the number of batches."""
    for number, columns in enumerate(batches):
        pieces = lines(columns)
        header = next(pieces)
        if number == 0:
            yield header
        yield from pieces


def write_table(stream: IO[str], columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write columns of equal length to an open text stream."""
    for piece in lines(columns):
        stream.write(piece)

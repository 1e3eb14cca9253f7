"""Tables of genes as they stand in a file: delimiter, header, identifiers and numbers.

What the numbers mean is decided in `reading` (expression) and `differential` (changes between conditions).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError
from diffchrom.expression.dialects import (
    DESCRIPTION_COLUMNS,
    DIALECTS,
    GENE_ID_COLUMNS,
    HTSEQ,
    ID_NAMES,
    MATRIX,
    MISSING,
    NAME_COLUMNS,
    TWO_COLUMNS,
    Dialect,
    recognise,
)
from diffchrom.files.text import guess_delimiter, peek_lines, table_rows, words
from diffchrom.genome.ids import examples

Values = npt.NDArray[np.float64]

_SUMMARIES = words(
    """__no_feature __ambiguous __too_low_aqual __not_aligned __alignment_not_unique n_unmapped
    n_multimapping n_nofeature n_ambiguous"""
)


@dataclass
class Columns:
    """A table read, before its samples are understood."""

    path: Path
    dialect: Dialect
    samples: list[str]
    ids: list[str]
    names: list[str] | None
    genes: list[str] | None
    values: Values
    lines: array[int]
    notes: list[str]

    def keep(self, rows: npt.NDArray[np.intp]) -> None:
        """Keep these rows, in this order."""
        self.ids = [self.ids[i] for i in rows]
        self.names = [self.names[i] for i in rows] if self.names else None
        self.genes = [self.genes[i] for i in rows] if self.genes else None
        self.values = self.values[rows]
        self.lines = array("q", [self.lines[i] for i in rows])


def _delimiter_and_start(path: Path, head: Sequence[tuple[int, str]]) -> tuple[str, int]:
    """Return the delimiter, and the number of the line on which the table starts."""
    if head and re.match(r"^#1\.[23]\s*$", head[0][1]):  # GCT: a version, the dimensions, then the header
        return "\t", 3
    data = [(number, line) for number, line in head if line.strip() and not line.startswith("#")]
    if not data:
        raise InputError(f"{path}: holds no table; give gene ids and their expression")
    delimiter = guess_delimiter([line for _, line in data[:20]])
    first = data[0][0]
    before = [line for number, line in head if number == first - 1]
    # A header that starts with # looks like a comment, but has as many columns as the line below it.
    columns = data[0][1].count(delimiter)
    if (
        before
        and delimiter != " "
        and before[0].startswith("#")
        and before[0].count(delimiter) == columns > 0
    ):
        first -= 1
    return delimiter, first


def _bad_number(path: Path, line: int, column: str, text: str) -> NoReturn:
    raise InputError(
        f"{path}:{line}: {column} holds {text!r:.60}, not a number; is this a table of values by gene?"
    )


def _parse_numbers(path: Path, line: int, texts: Sequence[str], columns: Sequence[str]) -> list[float]:
    try:
        return list(map(float, texts))
    except ValueError:
        numbers = []
        for text, column in zip(texts, columns, strict=True):
            if text.strip().lower() in MISSING:
                numbers.append(np.nan)
                continue
            try:
                numbers.append(float(text))
            except ValueError:
                _bad_number(path, line, column, text)
        return numbers


def _layout(
    path: Path, dialect: Dialect, header: Sequence[str], width: int
) -> tuple[int, int | None, int | None, list[int]]:
    """Return the columns of identifiers, symbols and genes (None where there are none), and of samples."""
    lower = [name.strip().lower() for name in header]
    id_column = lower.index(dialect.id_column) if dialect.id_column else 0
    name_column = lower.index(dialect.name_column) if dialect.name_column else None
    gene_column = lower.index(dialect.gene_column) if dialect.gene_column else None
    if dialect.changes:
        named = [i for i, name in enumerate(lower) if name in GENE_ID_COLUMNS]
        found = [i for i, name in enumerate(lower) if name in NAME_COLUMNS]
        columns = [lower.index(name) for name in dialect.changes.values() if name in lower]
        return named[0] if named else 0, found[0] if found else None, None, columns
    if dialect.units:
        return id_column, name_column, gene_column, [lower.index(name) for name in dialect.units.values()]
    if dialect is MATRIX:
        found = [i for i, name in enumerate(lower) if name in NAME_COLUMNS and i != id_column]
        name_column = found[0] if found else None
    dropped = dialect.not_samples | DESCRIPTION_COLUMNS | frozenset(NAME_COLUMNS)
    samples = [i for i in range(width) if i != id_column and lower[i] not in dropped]
    if not samples:
        raise InputError(f"{path}: no column holds expression; the header is {examples(header, 8)}")
    return id_column, name_column, gene_column, samples


def _header(path: Path, head: Sequence[tuple[int, list[str]]], has_header: bool) -> list[str]:
    """Return the name of each column, empty where it has none; empty columns at the end are taken off."""
    line, row = head[-1]
    if not has_header:
        header = [""] * len(row)
    else:
        header = [name.strip() for name in head[0][1]]
        if len(header) == len(row) - 1 and row[-1].strip() and header[0].lower() not in ID_NAMES:
            header = ["", *header]  # R's write.table leaves the row names without a header
        while header and not header[-1] and (len(row) < len(header) or not row[len(header) - 1].strip()):
            header.pop()
    if len(header) < 2:
        raise InputError(f"{path}:{line}: one column; a table of expression has gene ids and values")
    return header


def read_columns(path: Path, *, changes: bool = False) -> Columns:
    """Read identifiers and numbers; the dialect is recognised on the way.

    Parameters
    ----------
    changes : whether a table of changes between conditions is wanted, not one of expression.

    Raises
    ------
    InputError
        With the line, when the file is no such table.
    """
    beginning, all_lines = peek_lines(path, "table of changes" if changes else "expression table")
    delimiter, start = _delimiter_and_start(path, beginning)
    rows = ((n, fields) for n, fields in table_rows(path, all_lines, delimiter) if n >= start)
    head = list(islice(rows, 2))
    dialect, has_header = recognise([fields for _, fields in head])
    _check_kind(path, dialect, changes)
    header = _header(path, head, has_header)
    width = len(header)
    id_column, name_column, gene_column, samples = _layout(path, dialect, header, width)
    labels = [f"column {header[i][:40] or i + 1}" for i in samples]
    ids: list[str] = []
    names: list[str] = []
    genes: list[str] = []
    lines, numbers = array("q"), array("d")
    for part in (head[1:] if has_header else head, rows):
        for line, fields in part:
            if len(fields) != width and (len(fields) < width or any(text.strip() for text in fields[width:])):
                raise InputError(f"{path}:{line}: {len(fields)} columns, the table has {width}")
            identifier = fields[id_column].strip()
            if identifier.lower() in _SUMMARIES:
                dialect = HTSEQ if dialect is TWO_COLUMNS else dialect
                continue
            if not identifier:
                raise InputError(f"{path}:{line}: the identifier is empty")
            ids.append(identifier)
            lines.append(line)
            numbers.extend(_parse_numbers(path, line, [fields[i] for i in samples], labels))
            if name_column is not None:
                names.append(fields[name_column].strip())
            if gene_column is not None:
                genes.append(fields[gene_column].strip())
    if not ids:
        raise InputError(f"{path}: holds no genes")
    values = np.array(numbers, dtype=np.float64).reshape(len(ids), len(samples))
    columns = Columns(
        path, dialect, [header[i] for i in samples], ids, names or None, genes or None, values, lines, []
    )
    _check_values(columns, labels)
    return columns


def _check_kind(path: Path, dialect: Dialect, changes: bool) -> None:
    if dialect.changes and not changes:
        raise InputError(
            f"{path}: a table of {dialect.name} holds changes between conditions, not expression; give it as "
            f"`labels=A,B={path.name}` (B over A), or give the counts that it was made from"
        )
    if changes and not dialect.changes:
        known = ", ".join(one.name for one in DIALECTS if one.changes)
        raise InputError(
            f"{path}: its header is not that of {known}; a table of expression goes to `expression`"
        )


def _check_values(table: Columns, labels: Sequence[str]) -> None:
    for wrong, why in (
        (np.isinf(table.values), "is infinite"),
        (
            (table.values < 0) & (not table.dialect.changes),
            "is negative: expression must not be log-transformed; give counts, RPKM or TPM",
        ),
    ):
        if wrong.any():
            row, column = (int(i[0]) for i in np.nonzero(wrong))
            raise InputError(
                f"{table.path}:{table.lines[row]}: {table.ids[row]:.40} in {labels[column]}: "
                f"{table.values[row, column]:g} {why}"
            )
    known = table.values[np.isfinite(table.values)]
    if (
        not table.dialect.changes
        and len(known) >= 1000
        and 0 < known.max() < 25
        and not (known == np.round(known)).all()
    ):
        table.notes.append(
            f"no value is above {known.max():.3g}: if they are log-transformed, give untransformed ones"
        )


def drop_repeated(table: Columns) -> None:
    """Keep one of identical rows; leave out identifiers whose rows differ: none is known to be right."""
    seen: dict[str, int] = {}
    keep = np.ones(len(table.ids), dtype=bool)
    same: list[str] = []
    differ: dict[str, None] = {}
    for row, identifier in enumerate(table.ids):
        first = seen.setdefault(identifier, row)
        if first != row:
            keep[row] = False
            if np.array_equal(table.values[first], table.values[row], equal_nan=True):
                same.append(identifier)
            else:
                differ[identifier] = None
    for identifier in differ:
        keep[seen[identifier]] = False
    if same:
        table.notes.append(f"{len(same)} repeated rows are identical and count once: {examples(same)}")
    if differ:
        table.notes.append(
            f"{len(differ)} identifiers have rows that contradict each other and are left out: "
            f"{examples(differ)}"
        )
    if not keep.all():
        table.keep(np.flatnonzero(keep))

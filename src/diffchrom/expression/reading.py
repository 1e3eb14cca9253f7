"""Expression tables of any dialect, read into `ExpressionTable`s: identifiers x cells, one table a unit.

What a table means is decided by rows of `expression_dialects.DIALECTS`; joining to genes is in
`expression_join`.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from diffchrom.annotation.transcripts import sum_transcripts
from diffchrom.errors import InputError, UsageError
from diffchrom.expression.dialects import (
    DESCRIPTION_COLUMNS,
    HTSEQ,
    ID_NAMES,
    MATRIX,
    MISSING,
    NAME_COLUMNS,
    STAR,
    TWO_COLUMNS,
    Dialect,
    guess_unit,
    recognise,
)
from diffchrom.expression.samples import split_spec, understand_samples
from diffchrom.files import require_file
from diffchrom.gene_ids import examples
from diffchrom.text_tables import guess_delimiter, peek_lines, table_rows, words

Values = npt.NDArray[np.float64]
Strings = npt.NDArray[np.object_]

#: STAR's columns of counts, and what htseq-count calls them.
STRANDEDNESS = ("unstranded", "forward", "reverse")
# Reads of a stranded library lie nearly all on one strand: 90% and more, against 50% of an unstranded one.
_STRANDED_SHARE = 0.8
UNKNOWN_UNIT = "unknown"
_SUMMARIES = words(
    """__no_feature __ambiguous __too_low_aqual __not_aligned __alignment_not_unique n_unmapped
    n_multimapping n_nofeature n_ambiguous"""
)


@dataclass(frozen=True)
class ExpressionTable:
    """Expression in one unit, as one file has it.

    Attributes
    ----------
    unit : ``counts``, ``rpkm``, ``tpm``, ..., or ``unknown``.
    cells : names of the columns of `values`.
    ids : object [n_rows]
        Identifiers as the file has them, unique.
    names : object [n_rows] or None
        Symbols, where the file has a column of them.
    values : float64 [n_rows, n_cells]
        On the natural scale, not negative, NaN where unknown; means over replicates.
    replicates : cell to (names, float64 [n_rows, n_replicates]), for cells that have more than one column.
    dialect, source : what the file was recognised as, and its path.
    notes : what was guessed, dropped or averaged, one sentence each.
    """

    unit: str
    cells: tuple[str, ...]
    ids: Strings
    names: Strings | None
    values: Values
    replicates: dict[str, tuple[tuple[str, ...], Values]]
    dialect: str
    source: Path
    notes: tuple[str, ...] = ()


@dataclass
class _Columns:
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
        f"{path}:{line}: {column} holds {text!r:.60}, not a number; is this a table of expression?"
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


def _read_columns(path: Path) -> _Columns:
    """Read identifiers and numbers; the dialect is recognised on the way."""
    beginning, all_lines = peek_lines(path, "expression table")
    delimiter, start = _delimiter_and_start(path, beginning)
    rows = ((n, fields) for n, fields in table_rows(path, all_lines, delimiter) if n >= start)
    head = list(islice(rows, 2))
    dialect, has_header = recognise([fields for _, fields in head])
    if dialect.remedy:
        raise InputError(f"{path}: a table of {dialect.name} {dialect.remedy}")
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
    columns = _Columns(
        path, dialect, [header[i] for i in samples], ids, names or None, genes or None, values, lines, []
    )
    _check_values(columns, labels)
    return columns


def _check_values(table: _Columns, labels: Sequence[str]) -> None:
    for wrong, why in (
        (np.isinf(table.values), "is infinite"),
        (table.values < 0, "is negative: expression must not be log-transformed; give counts, RPKM or TPM"),
    ):
        if wrong.any():
            row, column = (int(i[0]) for i in np.nonzero(wrong))
            raise InputError(
                f"{table.path}:{table.lines[row]}: {table.ids[row]:.40} in {labels[column]}: "
                f"{table.values[row, column]:g} {why}"
            )
    known = table.values[np.isfinite(table.values)]
    if len(known) >= 1000 and 0 < known.max() < 25 and not (known == np.round(known)).all():
        table.notes.append(
            f"no value is above {known.max():.3g}: if they are log-transformed, give untransformed ones"
        )


def _drop_repeated(table: _Columns) -> None:
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


def _choose_strand(table: _Columns, strandedness: str | None) -> None:
    """Keep one of STAR's three columns of counts: the one asked for, or the one the counts speak for."""
    if strandedness is not None and strandedness not in STRANDEDNESS:
        raise UsageError(f"--strandedness {strandedness}: choose one of {', '.join(STRANDEDNESS)}")
    if table.values.shape[1] != len(STRANDEDNESS):
        raise InputError(f"{table.path}: a STAR table has four columns, this has {table.values.shape[1] + 1}")
    if strandedness is None:
        forward, reverse = np.nansum(table.values[:, 1]), np.nansum(table.values[:, 2])
        share = forward / (forward + reverse) if forward + reverse else 0.5
        strandedness = "unstranded"
        if max(share, 1 - share) >= _STRANDED_SHARE:
            strandedness = "forward" if share > 0.5 else "reverse"
        table.notes.append(
            f"{table.path.name}: the library is taken as {strandedness} ({share:.0%} of the stranded reads "
            "are forward)"
        )
    column = STRANDEDNESS.index(strandedness)
    table.values = table.values[:, column : column + 1]
    table.samples = [""]


def _unit(table: _Columns, unit: str | None) -> str:
    if unit:
        return unit
    named = {guess_unit(name) for name in table.samples} - {""}
    guess = table.dialect.unit or (named.pop() if len(named) == 1 else "") or guess_unit(table.path.name)
    if guess:
        return guess
    known = table.values[np.isfinite(table.values)]
    if (known == np.round(known)).all():
        table.notes.append(f"{table.path.name} holds whole numbers: taken as counts")
        return "counts"
    table.notes.append(
        f"the unit of {table.path.name} is not known: name it in the file's name or with --expression-unit"
    )
    return UNKNOWN_UNIT


def _average(
    table: _Columns, values: Values, groups: Mapping[str, list[int]]
) -> tuple[Values, dict[str, tuple[tuple[str, ...], Values]]]:
    """Mean over each cell's replicates that know a gene, on the scale of the table."""
    means = np.full((len(values), len(groups)), np.nan)
    replicates = {}
    for j, (cell, columns) in enumerate(groups.items()):
        part = values[:, columns]
        known = np.isfinite(part)
        count = known.sum(axis=1)
        total = np.where(known, part, 0).sum(axis=1)
        means[:, j] = np.divide(total, count, out=means[:, j].copy(), where=count > 0)
        if len(columns) > 1:
            replicates[cell] = (tuple(table.samples[i] for i in columns), part)
    if replicates:
        listed = ", ".join(f"{len(names)} of {cell}" for cell, (names, _) in replicates.items())
        table.notes.append(f"replicates are averaged: {listed}")
    return means, replicates


def read_expression(
    spec: str | Path,
    *,
    cells: Collection[str] | None = None,
    unit: str | None = None,
    transcripts: Callable[[], Mapping[str, str]] | None = None,
    strandedness: str | None = None,
) -> tuple[ExpressionTable, ...]:
    """Read ``FILE`` or ``CELL=FILE`` in any of the known dialects, gzipped or not.

    Parameters
    ----------
    cells : names of the cells whose tracks are known, to recognise replicate columns (``E116_2``) and files.
    unit : unit of a matrix or a two-column table; by default guessed from names, or counts where all values
        are whole numbers.
    transcripts : returns transcript id to gene id; called for tables of transcripts only.
    strandedness : which of STAR's columns to take; by default inferred.

    Returns
    -------
    tuple of ExpressionTable
        One for each unit the file has.

    Raises
    ------
    InputError
        When the file is no table of expression, a value is negative, infinite or no number, or it is not
        clear which cell it is.
    """
    cell, path = split_spec(spec)
    table = _read_columns(require_file(path, "expression table"))
    dialect = table.dialect
    if dialect is STAR:
        _choose_strand(table, strandedness)
    if dialect.transcripts:
        table.ids, table.values, notes = sum_transcripts(
            path, dialect.name, table.ids, table.genes, table.values, transcripts
        )
        table.names = None
        table.notes += notes
    else:
        _drop_repeated(table)
    tables = []
    if dialect.units:
        (only,) = understand_samples(path, dialect.name, [""], cell, cells, table.notes)
        shapes = [(name, {only: [j]}) for j, name in enumerate(dialect.units)]
    else:
        shapes = [
            (
                _unit(table, unit),
                understand_samples(path, dialect.name, table.samples, cell, cells, table.notes),
            )
        ]
    for name, groups in shapes:
        means, replicates = _average(table, table.values, groups)
        tables.append(
            ExpressionTable(
                unit=name,
                cells=tuple(groups),
                ids=np.array(table.ids, dtype=object),
                names=np.array(table.names, dtype=object) if table.names else None,
                values=means,
                replicates=replicates,
                dialect=table.dialect.name,
                source=path,
                notes=tuple(table.notes),
            )
        )
    return tuple(tables)

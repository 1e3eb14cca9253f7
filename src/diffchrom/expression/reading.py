"""Expression tables of any dialect, read into `ExpressionTable`s: identifiers x cells, one table a unit.

What a table means is decided by rows of `dialects.DIALECTS`; `parsing` reads it, `joining` meets genes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError, UsageError
from diffchrom.expression.dialects import LENGTHS, STAR, guess_unit
from diffchrom.expression.parsing import Columns, Values, drop_repeated, read_columns
from diffchrom.expression.samples import split_spec, understand_samples
from diffchrom.expression.transcripts import sum_transcripts
from diffchrom.files.whole import require_file

Strings = npt.NDArray[np.object_]

#: STAR's columns of counts, and what htseq-count calls them.
STRANDEDNESS = ("unstranded", "forward", "reverse")
# Reads of a stranded library lie nearly all on one strand: 90% and more, against 50% of an unstranded one.
_STRANDED_SHARE = 0.8
UNKNOWN_UNIT = "unknown"
#: What nf-core/rnaseq leaves of its quantifiers, in ``star_salmon/``, ``salmon/``, ``star_rsem/``, ...
MERGED_TABLES = ("*.merged.gene_counts.tsv", "*.merged.gene_tpm.tsv")


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


def _choose_strand(table: Columns, strandedness: str | None) -> None:
    """Keep one of STAR's three columns of counts: the one asked for, or the one the counts speak for."""
    if strandedness is not None and strandedness not in STRANDEDNESS:
        raise UsageError(f"`strandedness={strandedness}`: choose one of {', '.join(STRANDEDNESS)}")
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


def _unit(table: Columns, unit: str | None) -> str:
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
        f"the unit of {table.path.name} is not known: name it in the file's name or with `expression_unit`"
    )
    return UNKNOWN_UNIT


def _average(
    table: Columns, values: Values, groups: Mapping[str, list[int]]
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


def merged_tables(spec: str) -> tuple[str, ...]:
    """Put in place of a folder nf-core/rnaseq's merged tables in it: counts and TPM of genes.

    Raises
    ------
    InputError
        When the folder has none, or those of several quantifiers.
    """
    folder = Path(spec)
    if not folder.is_dir():
        return (spec,)
    for place in (".", "*"):
        tables = sorted(path for name in MERGED_TABLES for path in folder.glob(f"{place}/{name}"))
        makers = sorted({str(path.parent) for path in tables})
        if len(makers) > 1:
            raise InputError(
                f"{folder}: has tables of {' and '.join(makers)}; give the folder of one of them"
            )
        if tables:
            return tuple(map(str, tables))
    raise InputError(f"{folder}: a folder without {' or '.join(MERGED_TABLES)}; give a table of expression")


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
    if LENGTHS.search(path.name):
        raise InputError(f"{path}: holds lengths of genes by its name; give counts or TPM")
    table = read_columns(require_file(path, "expression table"))
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
        drop_repeated(table)
    return tuple(_expression_table(table, name, groups) for name, groups in _groups(table, cell, cells, unit))


def _groups(
    table: Columns, cell: str | None, cells: Collection[str] | None, unit: str | None
) -> list[tuple[str, dict[str, list[int]]]]:
    """Units of the table, and in each what columns are a cell's: several are its replicates."""
    path, dialect = table.path, table.dialect
    if dialect.units:  # a column a unit, all of one cell
        (only,) = understand_samples(path, dialect.name, [""], cell, cells, table.notes)
        return [(name, {only: [j]}) for j, name in enumerate(dialect.units)]
    name = _unit(table, unit)
    return [(name, understand_samples(path, dialect.name, table.samples, cell, cells, table.notes))]


def _expression_table(table: Columns, unit: str, groups: Mapping[str, list[int]]) -> ExpressionTable:
    means, replicates = _average(table, table.values, groups)
    return ExpressionTable(
        unit=unit,
        cells=tuple(groups),
        ids=np.array(table.ids, dtype=object),
        names=np.array(table.names, dtype=object) if table.names else None,
        values=means,
        replicates=replicates,
        dialect=table.dialect.name,
        source=table.path,
        notes=tuple(table.notes),
    )

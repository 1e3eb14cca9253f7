"""Expression of a `prepare`: tables of any dialect, joined to the store's genes and cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.annotation.formats import read_transcripts
from diffchrom.errors import InputError, StoreError, for_each
from diffchrom.expression.joining import JoinedExpression, join_expression
from diffchrom.expression.reading import ExpressionTable, merged_tables, read_expression
from diffchrom.expression.transcripts import read_tx2gene
from diffchrom.genome.genes import Genes
from diffchrom.prepare.summary import Summary
from diffchrom.store.elsewhere import cells_elsewhere, expression_elsewhere
from diffchrom.store.format import digest
from diffchrom.store.store import Store
from diffchrom.store.writer import StoreEditor


@dataclass(frozen=True)
class ExpressionOptions:
    """How expression is read; None leaves it to the tables.

    Attributes
    ----------
    unit : of matrices and two-column tables.
    strandedness : which of STAR's columns.
    tx2gene : table of transcript and gene ids; the annotation is used without one.
    """

    unit: str | None = None
    strandedness: str | None = None
    tx2gene: Path | None = None


def read_joined(
    specs: Sequence[str],
    genes: Genes,
    cells: Sequence[str],
    options: ExpressionOptions,
    annotation: Path | None,
    summary: Summary,
    *,
    labelled: bool = False,
) -> tuple[tuple[JoinedExpression, ...], tuple[JoinedExpression, ...]]:
    """Read every table and join it to the genes.

    Parameters
    ----------
    specs : ``FILE`` or ``CELL=FILE``.
    cells : cells that have tracks; where there are none, all cells of the tables are kept.
    annotation : where transcripts' genes are looked up without a tx2gene table.
    labelled : whether those have expression already, so that tables may be of other cells alone.

    Returns
    -------
    Of cells that have tracks, and of all others.
    """
    if not specs:
        return (), ()

    def read(spec: str) -> tuple[ExpressionTable, ...]:
        return read_expression(
            spec,
            cells=cells or None,
            unit=options.unit,
            transcripts=_transcripts(options, annotation),
            strandedness=options.strandedness,
        )

    files = [file for spec in specs for file in merged_tables(spec)]
    tables = [table for some in for_each(read, files) for table in some]
    joined = join_expression(tables, genes)
    for note in dict.fromkeys(note for one in joined for note in one.notes):
        summary.note(note)
    if not cells:
        return joined, ()
    kept = tuple(one for one in joined if one.cell in cells)
    elsewhere = tuple(one for one in joined if one.cell not in cells)
    others = list(dict.fromkeys(one.cell for one in elsewhere))
    if not (kept or labelled):
        raise InputError(
            f"{specs[0].rpartition('=')[2]}: its cells ({', '.join(others[:5])}) are not those of the tracks "
            f"({', '.join(cells[:5])}); name one with `expression=CELL=FILE`"
        )
    if others:
        more = ", ..." if len(others) > 10 else ""
        summary.note(
            f"expression of {len(others)} cells without tracks is kept for `gene_prior`: "
            f"{', '.join(others[:10])}{more}"
        )
    for cell in cells:
        if kept and not any(one.cell == cell for one in kept):
            summary.note(f"no expression for cell {cell}")
    return kept, elsewhere


def _transcripts(
    options: ExpressionOptions, annotation: Path | None
) -> Callable[[], Mapping[str, str]] | None:
    if options.tx2gene is not None:
        table = options.tx2gene
        return lambda: read_tx2gene(table)
    if annotation is not None:
        return lambda: read_transcripts(annotation)
    return None


def add_elsewhere(editor: StoreEditor, joined: Sequence[JoinedExpression]) -> None:
    """Add expression of cells without tracks (what `new_elsewhere` left), its replicates averaged."""
    for one in joined:
        attrs = {"source": "\n".join(one.sources), "known": int(np.isfinite(one.values).sum())}
        editor.add_expression_elsewhere(one.cell, one.unit, one.values, attrs, replace=True)


def new_elsewhere(
    store: Store, joined: Sequence[JoinedExpression], *, replace: bool
) -> list[JoinedExpression]:
    """Return the part of `joined`, of cells without tracks, that the store does not hold already.

    Raises
    ------
    StoreError
        When the store holds other values of a cell, and `replace` is False.
    """
    new = []
    for one in joined:
        if one.cell in cells_elsewhere(store, one.unit):
            if np.array_equal(expression_elsewhere(store, one.unit, one.cell), one.values, equal_nan=True):
                continue
            if not replace:
                raise StoreError(
                    f"{store.path}: has other expression of {one.cell} in {one.unit} already; use `replace` "
                    "to renew it"
                )
        new.append(one)
    return new


def add_expression(editor: StoreEditor, joined: Sequence[JoinedExpression]) -> None:
    """Add expression (what `new_expression` left) to the store that is being made or extended."""
    for one in joined:
        names = "\n".join(one.replicates[0]) if one.replicates else ""
        known = int(np.isfinite(one.values).sum())
        attrs = {"source": "\n".join(one.sources), "replicates": names, "known": known}
        editor.add_expression(one.cell, one.unit, one.values, attrs, replace=True)
        if one.replicates:
            editor.add_replicates(one.cell, one.unit, one.replicates[1], replace=True)


def new_expression(
    store: Store, joined: Sequence[JoinedExpression], *, replace: bool
) -> list[JoinedExpression]:
    """Return the part of `joined` that the store does not hold already, value by value.

    Raises
    ------
    StoreError
        When the store holds other values or replicates for a cell and unit, and `replace` is False.
    """
    new = []
    cells = store.cells()
    for one in joined:
        if one.cell in cells and one.unit in store.expression_units(one.cell):
            replicates = store.replicates(one.cell, one.unit)
            differing = _differing(store, one, replicates)
            if differing and not replace:
                source = store.expression_attrs(one.cell, one.unit).get("source", "?")
                raise StoreError(
                    f"{store.path}: has expression of {one.cell} in {one.unit} already, with other "
                    f"{differing}, from {source}; use `replace` to renew it"
                )
            if not differing and (one.replicates is None or replicates is not None):
                continue  # a table of means takes no replicates away, but replicates add to means
        new.append(one)
    return new


def _differing(store: Store, one: JoinedExpression, replicates: npt.NDArray[np.float64] | None) -> str:
    """Say what the store holds otherwise, ``values`` or ``replicates``; empty where nothing is."""
    if store.expression_attrs(one.cell, one.unit).get("values_sha256") != digest(one.values):
        return "values"
    if one.replicates is None or replicates is None or _same_columns(one.replicates[1], replicates):
        return ""
    return "replicates"


def _same_columns(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> bool:
    """Tell whether two tables have the same columns, in whichever order their files were given."""
    return sorted(digest(column) for column in first.T) == sorted(digest(column) for column in second.T)

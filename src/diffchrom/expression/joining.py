"""Expression tables joined to genes: by identifier, without versions, or by unique symbol, and said so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError
from diffchrom.expression.reading import ExpressionTable
from diffchrom.genome.genes import Genes
from diffchrom.genome.ids import examples, is_par_y, unversioned

Values = npt.NDArray[np.float64]
#: Row of the table for each gene, -1 where it has none.
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class JoinedExpression:
    """One cell's expression in one unit, gene by gene.

    Attributes
    ----------
    values : float64 [n_genes], NaN where unknown; the mean over replicates.
    replicates : names, and float64 [n_genes, n_replicates]; None where there is one column.
    sources : files it came from.
    notes : what was matched, averaged and left out, one sentence each.
    """

    cell: str
    unit: str
    values: Values
    replicates: tuple[tuple[str, ...], Values] | None
    sources: tuple[str, ...]
    notes: tuple[str, ...]

    def take(self, index: npt.NDArray[Any]) -> JoinedExpression:
        """Return the expression of the genes at `index`."""
        kept = (self.replicates[0], self.replicates[1][index]) if self.replicates else None
        return replace(self, values=self.values[index], replicates=kept)


def _unique(keys: Sequence[str]) -> dict[str, int]:
    """Return key to position, for keys that stand once."""
    counts = Counter(keys)
    return {key: i for i, key in enumerate(keys) if counts[key] == 1 and key}


def _lookup(wanted: Sequence[str], known: Mapping[str, int]) -> Rows:
    return np.array([known.get(key, -1) for key in wanted], dtype=np.intp)


def match_rows(
    table_ids: Iterable[str], names: Iterable[str] | None, source: Path, genes: Genes
) -> tuple[Rows, tuple[str, ...]]:
    """Find each gene's row: by identifier, then without versions; by symbol where no identifier is met.

    Parameters
    ----------
    table_ids, names : identifiers and, where it has them, symbols of a table's rows.
    source : the table's path, for messages.

    Returns
    -------
    (rows, notes)
        Positions in the table, -1 for genes that it does not have.

    Raises
    ------
    InputError
        When the table meets no gene at all.
    """
    ids = [str(identifier) for identifier in table_ids]
    rows = _lookup(list(genes.id), {identifier: i for i, identifier in enumerate(ids)})
    notes: list[str] = []
    exact = int((rows >= 0).sum())
    if exact < len(genes):
        # The Y copies of pseudo-autosomal genes keep their suffix and so never pass for the X copies.
        plain = _lookup([unversioned(gene) for gene in genes.id], _unique([unversioned(i) for i in ids]))
        added = int(((rows < 0) & (plain >= 0)).sum())
        rows = np.where(rows >= 0, rows, plain)
        if added:
            notes.append(f"{added} gene ids were met without their version suffix")
    if not (rows >= 0).any():
        symbols = [str(name) for name in names] if names is not None else ids
        known = _unique(symbols)
        single = _unique(list(genes.name))
        rows = _lookup([name if name in single else "" for name in genes.name], known)
        met = int((rows >= 0).sum())
        if met:
            twice = sum(1 for name in set(genes.name) if name not in single and name in set(symbols))
            notes.append(
                f"{met} genes were joined by symbol, since no id of {source.name} is in the annotation"
                + (f"; {twice} symbols that several genes have were left out" if twice else "")
            )
    if not (rows >= 0).any():
        raise InputError(
            f"{source}: none of its ids ({examples(ids)}) is a gene of the annotation "
            f"({examples(genes.id)}; symbols {examples(genes.name)}); give a table and a GTF of one genome"
        )
    used = set(rows[rows >= 0].tolist())
    par = sum(1 for i, identifier in enumerate(ids) if is_par_y(identifier) and i not in used)
    if par:
        notes.append(f"{par} rows of Y copies of pseudo-autosomal genes (_PAR_Y) were left out")
    notes.append(
        f"{len(used)} of {len(ids)} rows of {source.name} met {int((rows >= 0).sum())} of {len(genes)} genes"
    )
    return rows, tuple(notes)


def _take(values: Values, rows: Rows) -> Values:
    """Rows of a table, gene by gene; NaN where a gene has none."""
    return np.where((rows >= 0)[:, None], values[rows], np.nan)


def join_expression(tables: Sequence[ExpressionTable], genes: Genes) -> tuple[JoinedExpression, ...]:
    """Join tables to genes; several tables of one cell in one unit are its replicates, and averaged.

    Returns
    -------
    tuple of JoinedExpression
        One for each cell and unit, in the order of the tables.
    """
    parts: dict[tuple[str, str], list[tuple[tuple[str, ...], Values]]] = {}
    sources: dict[tuple[str, str], dict[str, None]] = {}
    notes: dict[tuple[str, str], dict[str, None]] = {}
    for table in tables:
        rows, matched = match_rows(table.ids, table.names, table.source, genes)
        for j, cell in enumerate(table.cells):
            key = (cell, table.unit)
            names, values = table.replicates.get(cell, ((table.source.name,), table.values[:, j : j + 1]))
            parts.setdefault(key, []).append((names, _take(values, rows)))
            sources.setdefault(key, {})[str(table.source)] = None
            notes.setdefault(key, {}).update(dict.fromkeys((*table.notes, *matched)))
    joined = []
    for (cell, unit), found in parts.items():
        names = tuple(name for group, _ in found for name in group)
        values = np.concatenate([value for _, value in found], axis=1)
        known = np.isfinite(values)
        count = known.sum(axis=1)
        mean = np.full(len(genes), np.nan)
        np.divide(np.where(known, values, 0).sum(axis=1), count, out=mean, where=count > 0)
        key = (cell, unit)
        if len(found) > 1:
            notes[key][f"{len(names)} replicates of {cell} in {len(found)} files are averaged"] = None
        joined.append(
            JoinedExpression(
                cell=cell,
                unit=unit,
                values=mean,
                replicates=(names, values) if len(names) > 1 else None,
                sources=tuple(sources[key]),
                notes=tuple(notes[key]),
            )
        )
    return tuple(joined)

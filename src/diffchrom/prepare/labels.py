"""Changes of a pair that `prepare` is given as a table, in place of those derived from expression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import StoreError, UsageError
from diffchrom.expression.differential import JoinedLabels, read_labels, split_labels
from diffchrom.genome.genes import Genes
from diffchrom.prepare.summary import Summary
from diffchrom.store.store import Store
from diffchrom.store.writer import StoreEditor


def read_all_labels(
    specs: Sequence[str], genes: Genes, cells: Sequence[str], summary: Summary
) -> list[JoinedLabels]:
    """Read every ``A,B=FILE`` and join it to the genes.

    Raises
    ------
    UsageError
        A pair of which a cell is not in `cells`, or that is given twice.
    """
    pairs: set[frozenset[str]] = set()
    for spec in specs:
        pair, path = split_labels(spec)
        for cell in pair:
            if cell not in cells:
                known = ", ".join(cells) or "none"
                raise UsageError(f"`labels={spec}`: no cell named {cell}; the store has {known}")
        if frozenset(pair) in pairs:
            raise UsageError(f"`labels={','.join(pair)}={path}`: that pair was given another table already")
        pairs.add(frozenset(pair))
    joined = [read_labels(spec, genes) for spec in specs]
    for note in dict.fromkeys(note for one in joined for note in one.notes):
        summary.note(note)
    return joined


def add_labels(editor: StoreEditor, joined: Sequence[JoinedLabels]) -> None:
    """Add labels (what `new_labels` left) to the store that is being made or extended."""
    for one in joined:
        columns = {"log2fc": one.log2fc, "se": one.se, "padj": one.padj}
        known = {name: values for name, values in columns.items() if values is not None}
        attrs = {"source": str(one.source), "dialect": one.dialect}
        editor.add_labels(one.pair, known, attrs, replace=True)


def new_labels(store: Store, joined: Sequence[JoinedLabels], *, replace: bool) -> list[JoinedLabels]:
    """Return the labels that the store does not hold already, value by value.

    Raises
    ------
    StoreError
        When it holds others for the pair, and `replace` is False.
    """
    new = []
    for one in joined:
        held = store.labels(one.pair)
        if held is not None:
            mine, theirs = ((which.log2fc, which.se, which.padj) for which in (one, held))
            if all(_same(a, b) for a, b in zip(mine, theirs, strict=True)):
                continue
            if not replace:
                raise StoreError(
                    f"{store.path}: has labels of {','.join(one.pair)} already, with other values, from "
                    f"{held.attrs.get('source', '?')}; use `replace` to renew them"
                )
        new.append(one)
    return new


def _same(first: npt.NDArray[Any] | None, second: npt.NDArray[Any] | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second, equal_nan=True)

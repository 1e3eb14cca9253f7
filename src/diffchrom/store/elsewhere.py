"""Expression of cells without tracks: what genes do elsewhere (docs/store.md)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from diffchrom.store.format import ELSEWHERE, EXPRESSION_UNITS, datasets_in, groups_in, read_column, reading
from diffchrom.store.store import Store


def units_elsewhere(store: Store) -> tuple[str, ...]:
    """Units in which expression of cells without tracks is known, the preferred first."""
    with reading(store.path) as file:
        units = groups_in(file, ELSEWHERE)
    return tuple(sorted(units, key=lambda unit: (unit not in EXPRESSION_UNITS, _rank(unit), unit)))


def _rank(unit: str) -> int:
    return EXPRESSION_UNITS.index(unit) if unit in EXPRESSION_UNITS else 0


def cells_elsewhere(store: Store, unit: str) -> tuple[str, ...]:
    """Cells without tracks whose expression is known in a unit, in the order in which they were added."""
    with reading(store.path) as file:
        return datasets_in(file, f"{ELSEWHERE}/{unit}")


def expression_elsewhere(store: Store, unit: str, cell: str) -> npt.NDArray[np.float64]:
    """Expression of a cell without tracks; float64 [n_genes], NaN where unknown."""
    with reading(store.path) as file:
        values = read_column(file[f"{ELSEWHERE}/{unit}"], cell, store.n_genes)
        return np.asarray(values, dtype=np.float64)

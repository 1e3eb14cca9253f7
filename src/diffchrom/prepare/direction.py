"""Whether a table of changes has the sign that its pair says, told by what else is known of the two cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError
from diffchrom.expression.differential import JoinedLabels
from diffchrom.expression.joining import JoinedExpression
from diffchrom.genome.genes import Window
from diffchrom.genome.regions import TSS
from diffchrom.metrics import pearson
from diffchrom.prepare.summary import Summary
from diffchrom.prepare.tracks import Part
from diffchrom.store.parts import read_part
from diffchrom.store.store import Store

#: A table whose changes correlate less than this with what is known otherwise is taken to be reversed.
LOWEST_R = -0.3
#: With fewer genes chance alone passes that (with 50, one time in a hundred).
MIN_GENES = 50
#: Marks that rise with expression wherever they were looked at, the most reliable first.
ACTIVE_MARKS = ("H3K4me3", "H3K27ac")
#: Bases on each side of the TSS in which they are looked at.
NEAR = 1000

Values = npt.NDArray[np.float64]
#: By name (a unit, a mark): something that is higher where a gene is expressed more; [n_genes].
Levels = Mapping[str, Values]
LevelsOf = Callable[[str], Levels]


def check_directions(
    changes: Sequence[JoinedLabels], levels_of: LevelsOf, *, force: bool, summary: Summary
) -> list[JoinedLabels]:
    """Refuse tables whose sign contradicts the difference in the levels of their cells.

    Parameters
    ----------
    changes : tables to look at.
    levels_of : what is known of a cell; of the levels that both cells have the first is taken.
    force : warn instead.

    Returns
    -------
    list
        Tables of whose cells nothing is known, or of too few genes.

    Raises
    ------
    InputError
        r is below `LOWEST_R`.
    """
    left = []
    for one in changes:
        first, second = (levels_of(cell) for cell in one.pair)
        name = next((name for name in first if name in second), "")
        difference = second[name] - first[name] if name else np.full(len(one.log2fc), np.nan)
        both = np.isfinite(difference) & np.isfinite(one.log2fc)
        if both.sum() < MIN_GENES:
            left.append(one)
            continue
        r = pearson(one.log2fc[both], difference[both])
        if not r < LOWEST_R:
            continue
        a, b = one.pair
        said = (
            f"{one.source}: its changes of {a},{b} contradict {name} of the two cells "
            f"(r = {r:.2f} on {both.sum()} genes)"
        )
        if not force:
            raise InputError(f"{said}; swap: `labels={b},{a}={one.source}` (or `force` to keep them)")
        summary.warn(said)
    return left


def expression_levels(joined: Sequence[JoinedExpression], store: Store | None = None) -> LevelsOf:
    """log2(expression + 1) of a cell by unit: what the store has, and in its place what was read."""

    def levels(cell: str) -> Levels:
        held = store.expression_units(cell) if store and cell in store.cells() else ()
        values = {unit: store.expression(cell, unit) for unit in held if store}
        values |= {one.unit: one.values for one in joined if one.cell == cell}
        return {f"expression in {unit}": np.log2(of_unit + 1) for unit, of_unit in values.items()}

    return levels


def mark_levels(parts: Sequence[Part], window: Window, store: Store | None = None) -> LevelsOf:
    """Rank of each gene's signal near the TSS of a cell by active mark; no depth and no unit decides it."""
    from scipy.stats import rankdata

    middle, reach = window.n_bins // 2, max(1, NEAR // window.bin_size)
    near = slice(max(0, middle - reach), middle + reach)

    def levels(cell: str) -> Levels:
        signals = {}
        for mark in ACTIVE_MARKS:
            if store and cell in store.cells() and mark in store.marks(cell):
                signals[mark] = store.signal(cell, (mark,))[:, 0]
            for part in parts:
                read = TSS in (region.name for region in part.plan.regions)
                if read and (part.plan.cell, part.plan.mark) == (cell, mark):
                    signals[mark] = read_part(part.path, TSS)[0]
        means = {mark: signal[:, near].mean(axis=1, dtype=np.float64) for mark, signal in signals.items()}
        return {f"{mark} at the TSS": rankdata(mean) / len(mean) for mark, mean in means.items()}

    return levels


def stored_labels(
    store: Store, cells: Sequence[str], renewed: Sequence[tuple[str, str]]
) -> list[JoinedLabels]:
    """Tables that a store has already of pairs with any of `cells`, but for pairs that get another one."""
    others = [set(pair) for pair in renewed]
    tables = []
    for pair in store.labelled_pairs():
        given = store.labels(pair) if set(pair) & set(cells) and set(pair) not in others else None
        if given is not None:
            source = Path(given.attrs.get("source", "?"))
            dialect = given.attrs.get("dialect", "")
            tables.append(JoinedLabels(pair, given.log2fc, given.se, given.padj, dialect, source))
    return tables

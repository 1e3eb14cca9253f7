"""Which cells, marks, split and unit of a store are meant, where a user leaves them open."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

from diffchrom.config import DEFAULT_SPLIT
from diffchrom.errors import StoreError, UsageError, did_you_mean
from diffchrom.genome.regions import DEFAULT_REGIONS, TSS, Region
from diffchrom.pairs.splits import fewer_training_genes, fold_split, is_fold_name, whole_split_name
from diffchrom.store.store import Store

#: Numbers under which a store keeps the parts of a split, and the names users give them.
SPLIT_PARTS = {"train": 0, "valid": 1, "test": 2}
PART_NAMES = {number: name for name, number in SPLIT_PARTS.items()} | {-1: "unused"}


def parse_pair(text: str | None) -> tuple[str, ...] | None:
    """Turn ``A,B``, as a user writes a pair, into two names; None stays None."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if len(names) != 2 or not all(names):
        raise UsageError(f"`pair={text}`: give two cells with a comma between them, as in `pair=A,B`")
    return names


def resolve_cells(store: Store, cells: Sequence[str] | None) -> tuple[str, str]:
    """Cells A and B of the store; None is its two cells, where it has exactly two.

    Those come in the order of the table of changes that they were given, if they were (its sign is the
    user's), else in the store's.
    """
    present = store.cells()
    if cells is None:
        if len(present) != 2:
            names = ", ".join(present) or "none"
            raise UsageError(f"`pair=A,B` is needed: {store.path} has {len(present)} cells ({names})")
        return next((pair for pair in store.labelled_pairs() if set(pair) == set(present)), present)
    unknown = [name for name in cells if name not in present]
    if unknown:
        raise StoreError(
            f"{store.path}: no cell named {', '.join(unknown)}; it has {', '.join(present)}"
            + did_you_mean(unknown, present)
        )
    first, second = cells
    if first == second:
        raise UsageError(f"`pair={first},{second}`: the two cells are the same")
    return first, second


def direction(*pairs: Sequence[str]) -> str:
    """Say what the sign of the log2 fold changes of one pair, or of several, means."""
    if len({tuple(pair) for pair in pairs}) > 1:
        return "log2fc: positive = higher in B, the second cell of each pair"
    first, second = pairs[0]
    return f"log2fc: positive = higher in {second} (A is {first}, B is {second})"


def resolve_split(store: Store, name: str | None) -> str:
    """Name of the split to use: the one asked for, the only one, or `config.DEFAULT_SPLIT`."""
    known = store.splits()
    chosen = name or (known[0] if len(known) == 1 else DEFAULT_SPLIT)
    if not has_split(store, chosen):
        raise StoreError(
            f"{store.path}: no split named {chosen}; it has {', '.join(known) or 'none'}; "
            "add one with `prepare_store(splits=...)`" + did_you_mean(chosen, known)
        )
    return chosen


def has_split(store: Store, name: str) -> bool:
    """Tell whether `read_split` finds a split of this name."""
    whole, _ = whole_split_name(name)
    return name in store.splits() or whole in store.splits() or is_fold_name(whole)


def read_split(store: Store, name: str) -> npt.NDArray[np.int8]:
    """Read a split; folds (`splits.Folds.names`) and splits with fewer training genes need not be stored.

    Returns
    -------
    int8 array [n_genes]
        0 train, 1 valid, 2 test, -1 unused.
    """
    if name in store.splits():
        return store.split(name)
    whole, n = whole_split_name(name)
    stored = whole in store.splits() or not is_fold_name(whole)
    split = store.split(whole) if stored else fold_split(store.genes, whole, store.window.width)
    return split if n is None else fewer_training_genes(split, store.genes, n)


def resolve_marks(store: Store, cells: Sequence[str], marks: Sequence[str] | None = None) -> tuple[str, ...]:
    """Marks to use: those asked for (StoreError when a cell lacks one), or all that the cells have.

    A mark that not all cells have is an error too: a model trained on fewer marks than the store
    holds should be somebody's decision.
    """
    held = {cell: store.marks(cell) for cell in cells}
    wanted = tuple(marks) if marks else tuple(dict.fromkeys(mark for cell in cells for mark in held[cell]))
    lacking = {cell: [mark for mark in wanted if mark not in held[cell]] for cell in cells}
    for cell, missing in lacking.items():
        if missing:
            common = ",".join(store.common_marks(cells))
            advice = f"choose other marks{did_you_mean(missing, held[cell])}"
            if common and not marks:
                advice = f"use `marks={common}`"
            raise StoreError(
                f"{store.path}: cell {cell} lacks {', '.join(missing)}; add it with `diffchrom prepare`, "
                f"or {advice}"
            )
    if not wanted:
        raise StoreError(f"{store.path}: cells {' and '.join(cells)} have no tracks")
    return wanted


def pairs_with_marks(
    store: Store, marks: Sequence[str], against: str | None = None
) -> tuple[tuple[tuple[str, str], ...], dict[str, list[str]]]:
    """Pairs of the store's cells that have all `marks`.

    Parameters
    ----------
    against : the cell A of every pair; None makes every pair once, the cell that was added first being A.

    Returns
    -------
    pairs, and cell to the marks that it lacks, for cells that are left out.

    Raises
    ------
    StoreError
        When there is no such pair, or `against` is no cell or lacks a mark.
    """
    cells = store.cells()
    if against is not None and against not in cells:
        raise StoreError(
            f"{store.path}: no cell named {against}; it has {', '.join(cells)}{did_you_mean(against, cells)}"
        )
    held = {cell: store.marks(cell) for cell in cells}
    lacking = {cell: [mark for mark in marks if mark not in held[cell]] for cell in cells}
    if against is not None and lacking[against]:
        raise StoreError(
            f"{store.path}: cell {against} lacks {', '.join(lacking[against])}; it can't be compared with"
        )
    usable = [cell for cell in cells if not lacking[cell]]
    every = combinations(usable, 2) if against is None else product((against,), usable)
    pairs = tuple((first, second) for first, second in every if first != second)
    if not pairs:
        raise StoreError(f"{store.path}: fewer than two cells have {', '.join(marks)}")
    return pairs, {cell: missing for cell, missing in lacking.items() if missing}


def resolve_regions(
    store: Store, cells: Sequence[str], marks: Sequence[str], names: Sequence[str] | None = None
) -> tuple[Region, ...]:
    """Regions to read: the bins around the TSS, and those asked for or else all that every cell has.

    Their order is that of `DEFAULT_REGIONS`, whichever order they were named or stored in.
    """
    for name in names or ():
        if name not in DEFAULT_REGIONS:
            known = ", ".join(DEFAULT_REGIONS)
            raise UsageError(
                f"`regions={name}`: unknown; choose among {known}{did_you_mean(name, DEFAULT_REGIONS)}"
            )
    common = {region.name: region for region in store.common_regions(cells, marks)}
    wanted = {TSS, *(common if names is None else names)}
    # Asking the store again for what is not common says which track lacks it.
    return tuple(
        common.get(name) or _common_rule(store, cells, name, marks)
        for name in DEFAULT_REGIONS
        if name in wanted
    )


def _common_rule(store: Store, cells: Sequence[str], name: str, marks: Sequence[str]) -> Region:
    rules = {cell: store.region(cell, name, marks) for cell in cells}
    for cell, rule in rules.items():
        if rule != rules[cells[0]]:
            raise StoreError(
                f"{store.path}: {cells[0]} and {cell} have different windows in region {name}; prepare them "
                f"again with `regions={name}` `replace`"
            )
    return rules[cells[0]]


def resolve_unit(store: Store, cells: Sequence[str], unit: str | None = None) -> str | None:
    """Unit of expression that all cells have: the one asked for, else the preferred; None where none is."""
    first, *others = (store.expression_units(cell) for cell in cells)
    common = [name for name in first if all(name in other for other in others)]
    if unit is not None and unit not in common:
        raise StoreError(
            f"{store.path}: cells {' and '.join(cells)} have no common expression in {unit}; "
            f"they share {', '.join(common) or 'none'}"
        )
    return unit or (common[0] if common else None)


def check_units(store: Store, cells: Sequence[str], marks: Sequence[str]) -> None:
    """Refuse cells in which one mark's tracks have different units of signal."""
    for mark in marks:
        units = {cell: str(store.signal_attrs(cell, mark).get("unit", "")) for cell in cells}
        known = {unit: cell for cell, unit in reversed(units.items()) if unit}
        if len(known) > 1:
            (first, cell), (second, further) = list(known.items())[::-1][:2]
            raise StoreError(
                f"{store.path}: {mark} is {first} in {cell} and {second} in {further}; "
                "prepare both from tracks of one unit"
            )

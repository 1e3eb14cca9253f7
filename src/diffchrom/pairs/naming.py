"""Pairs of cells as users write them: ``A,B``, a file of them, all of a store, or all of some cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

from diffchrom.errors import InputError, StoreError, UsageError
from diffchrom.files.whole import open_text
from diffchrom.pairs.choices import parse_pair, resolve_cells
from diffchrom.store.store import Store

ALL = "all"


def read_pairs(values: Iterable[str], folder: Path = Path()) -> tuple[str, ...]:
    """Turn ``pairs`` into pairs of cells: ``all``, ``A,B``, or a file with a pair a line.

    In a file the two cells stand with a comma, tab or space between them; ``#`` starts a comment.
    """
    pairs: list[str] = []
    for value in values:
        file = folder / value
        if value == ALL or ("," in value and not file.is_file()):
            pairs.append(value)
            continue
        if not file.is_file():
            raise UsageError(f"`pairs={value}`: neither all, nor a pair A,B, nor a file of pairs")
        with open_text(file, "list of pairs") as stream:
            for number, line in enumerate(stream, 1):
                cells = line.split("#")[0].replace(",", " ").split()
                if cells and len(cells) != 2:
                    raise InputError(f"{file}: line {number} has {len(cells)} names; a pair is two cells")
                if cells:
                    pairs.append(",".join(cells))
    if not pairs:
        raise UsageError("`pairs`: no pair in it; give all, A,B, or a file with a pair a line")
    return (ALL,) if ALL in pairs else tuple(dict.fromkeys(pairs))


def resolve_pairs(store: Store, pairs: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of cells of the store; ``all`` is every two cells with expression, in the store's order."""
    if ALL not in pairs:
        return [resolve_cells(store, parse_pair(pair)) for pair in pairs]
    cells = [cell for cell in expressed(store) if store.marks(cell)]
    if len(cells) < 2:
        raise StoreError(f"{store.path}: fewer than two cells have both tracks and expression; add some")
    return list(combinations(cells, 2))


def expressed(store: Store) -> list[str]:
    """Cells of the store that have expression."""
    return [cell for cell in store.cells() if store.expression_units(cell)]

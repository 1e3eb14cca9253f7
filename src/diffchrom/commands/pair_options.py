"""Options that name the pairs of cells to learn from, and what they mean in a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffchrom.commands import completion, options
from diffchrom.config import NORMALISE
from diffchrom.errors import UsageError

if TYPE_CHECKING:
    from diffchrom.pairs.pair_set import PairSet
    from diffchrom.store.store import Store

PairOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pair",
        metavar="A,B",
        help="The two cells; may be left out where the store has just two. Given again: for one model.",
        autocompletion=completion.cells,
    ),
]
CellsOption = Annotated[
    str | None,
    typer.Option(
        "--cells",
        metavar="A,B,C,...",
        help="All pairs of these cells, for one model.",
        autocompletion=completion.cells,
    ),
]
PairsOption = Annotated[
    str | None,
    typer.Option("--pairs", metavar="FILE|all", help="The pairs of a file, one a line, for one model."),
]
HoldOutOption = Annotated[
    str | None,
    typer.Option(
        "--hold-out",
        metavar="C[,D...]",
        help="Cells of the pairs to learn nothing from; accuracy is told with and without them.",
        autocompletion=completion.cells,
    ),
]
NormaliseOption = Annotated[
    str | None,
    typer.Option(
        "--normalise",
        metavar="|".join(NORMALISE),
        help="Against differences in depth: each mark of a cell to the mean distribution of all cells.",
        show_default="quantile for several pairs, none for one",
    ),
]


@dataclass(frozen=True)
class Named:
    """Pairs in one of three ways: ``A,B`` each, all of some cells, or a file of them (``all`` is all)."""

    pairs: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    file: str | None = None

    def of(self, store: Store) -> list[tuple[str, str]]:
        """The cells of each."""
        from itertools import combinations

        from diffchrom.pairs.choices import parse_pair, resolve_cells
        from diffchrom.pairs.naming import read_pairs, resolve_pairs

        if self.file is not None:
            return resolve_pairs(store, read_pairs((self.file,)))
        if self.cells:
            if len(self.cells) < 2:
                raise UsageError(f"--cells {self.cells[0]}: a pair is two cells; name more")
            return list(combinations(self.cells, 2))
        return [resolve_cells(store, parse_pair(pair)) for pair in self.pairs or (None,)]


def named_pairs(
    context: typer.Context, pair: list[str] | None, cells: str | None, pairs: str | None
) -> Named:
    """Pairs as the user named them, in one of three ways; ``diffchrom.toml`` counts where none was given."""
    given = {"--pair": options.was_given(context, "pair"), "--cells": bool(cells), "--pairs": bool(pairs)}
    ways = [name for name, was in given.items() if was]
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(ways)}: name the pairs in one way")
    return Named(() if cells or pairs else tuple(pair or ()), options.split_names(cells) or (), pairs)


def open_pairs(
    store: Path,
    named: Named,
    *,
    hold_out: str | None,
    normalise: str | None,
    marks: str | None,
    split: str | None,
    unit: str | None,
    regions: str | None,
    folds: int = 0,
) -> PairSet:
    """Find in a store the pairs that the options of these names mean; folds make their own splits."""
    from diffchrom.pairs.pair import Pair
    from diffchrom.pairs.pair_set import PairSet
    from diffchrom.store.store import Store

    opened = Store(store)
    pairs, chosen_marks, chosen_regions = (
        named.of(opened),
        options.split_names(marks),
        options.split_names(regions),
    )
    if normalise is not None:
        options.check_choice("--normalise", normalise, NORMALISE)
    split = "" if folds else split
    if len(pairs) > 1 or hold_out:
        return PairSet.of(
            opened,
            pairs,
            held_out=options.split_names(hold_out) or (),
            marks=chosen_marks,
            split=split,
            unit=unit,
            regions=chosen_regions,
            normalise=normalise,
        )
    pair = Pair.of(opened, pairs[0], marks=chosen_marks, split=split, unit=unit, regions=chosen_regions)
    return PairSet((pair,), normalise=normalise or NORMALISE[0])

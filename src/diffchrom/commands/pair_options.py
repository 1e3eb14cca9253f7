"""Options that name the pairs of cells to learn from, and what they mean in a store."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffchrom.commands import completion
from diffchrom.commands.options import split_names, was_given
from diffchrom.config import NORMALISE, check_device
from diffchrom.errors import UsageError, check_choice
from diffchrom.genome.regions import TSS

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


class PairOptions:
    """What `train` and `baseline` take in common; fields of dataclasses, each in an order of its own."""

    context: typer.Context
    store: Path
    pair: list[str] | None
    cells: str | None
    pairs: str | None
    hold_out: str | None
    normalise: str | None
    gene_prior: bool
    marks: str | None
    regions: str | None
    split: str | None
    folds: int
    unit: str | None
    resume: bool
    force: bool
    device: str

    def check(self, whole_gene: Mapping[str, bool], prior: Mapping[str, bool]) -> None:
        """Refuse what contradicts itself, and what no model asked for reads.

        Parameters
        ----------
        whole_gene, prior : whether a model reads more than the bins around the TSS, and the gene prior.
        """
        check_device(self.device)
        given = {"--pair": was_given(self.context, "pair"), "--cells": self.cells, "--pairs": self.pairs}
        ways = [name for name, value in given.items() if value]
        if len(ways) > 1:
            raise UsageError(f"{' and '.join(ways)}: name the pairs in one way")
        if self.folds and self.split:
            raise UsageError("--folds makes its own splits; leave out --split")
        if set(split_names(self.regions) or ()) - {TSS} and not any(whole_gene.values()):
            names = ", ".join(whole_gene)
            raise UsageError(f"--regions {self.regions}: {names} reads the bins around the TSS alone")
        if self.gene_prior and not any(prior.values()):
            raise UsageError(
                f"--gene-prior: {', '.join(prior)} reads signal alone; train --variant additive, and "
                "baseline --method ridge, random-forest and gradient-boosting read it"
            )

    def open_pairs(self) -> PairSet:
        """Find the pairs in the store; folds make their own splits."""
        from diffchrom.pairs.pair import Pair
        from diffchrom.pairs.pair_set import PairSet
        from diffchrom.store.store import Store

        store = Store(self.store)
        pairs = self._cells_of_pairs(store)
        if self.normalise is not None:
            check_choice("normalise", self.normalise, NORMALISE)
        read: dict[str, Any] = {
            "marks": split_names(self.marks),
            "regions": split_names(self.regions),
            "split": "" if self.folds else self.split,
            "unit": self.unit,
        }
        if len(pairs) > 1 or self.hold_out:
            held_out = split_names(self.hold_out) or ()
            return PairSet.of(store, pairs, held_out=held_out, normalise=self.normalise, **read)
        return PairSet((Pair.of(store, pairs[0], **read),), normalise=self.normalise or NORMALISE[0])

    def _cells_of_pairs(self, store: Store) -> list[tuple[str, str]]:
        """A and B of each pair; ``diffchrom.toml`` counts where none was named."""
        from diffchrom.pairs.choices import parse_pair, resolve_cells
        from diffchrom.pairs.naming import read_pairs, resolve_pairs

        if self.pairs is not None:
            return resolve_pairs(store, read_pairs((self.pairs,)))
        if cells := split_names(self.cells):
            if len(cells) < 2:
                raise UsageError(f"--cells {cells[0]}: a pair is two cells; name more")
            return list(combinations(cells, 2))
        return [resolve_cells(store, parse_pair(pair)) for pair in self.pair or (None,)]

"""Several pairs of cells that one model learns from, and those it is judged on: an example is (pair, gene).

All have the same marks, regions, split and unit, so a test gene is a test gene in every pair. A cell that is
held out is in no pair that is learnt from; nothing of it is read before the model is finished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from diffchrom.config import NORMALISE, usual_normalise
from diffchrom.errors import StoreError, UsageError
from diffchrom.genome.genes import Signal
from diffchrom.pairs.choices import (
    check_units,
    resolve_cells,
    resolve_marks,
    resolve_regions,
    resolve_split,
    resolve_unit,
)
from diffchrom.pairs.pair import Pair, PairData, signal_bytes
from diffchrom.pairs.signal_seen import SeenSignal
from diffchrom.store.store import Store

#: Kinds of pairs by the number of their cells that were held out.
KINDS = ("seen", "one_unseen", "both_unseen")
#: Fewest cells that are learnt from of which one can be left out, so that a pair remains.
LEAST_CELLS = 3


@dataclass(frozen=True)
class PairSet:
    """Pairs of one store, alike in all but their cells.

    Attributes
    ----------
    pairs : to learn from; the first one is what a run's own table of predictions is of.
    held_out : cells of which nothing is learnt.
    unseen : pairs with a cell that is held out, to be judged on.
    normalise : one of `config.NORMALISE`, done to each cell's signal before anything reads it.
    """

    pairs: tuple[Pair, ...]
    held_out: tuple[str, ...] = ()
    unseen: tuple[Pair, ...] = ()
    normalise: str = NORMALISE[0]

    @classmethod
    def of(
        cls,
        store: Store,
        pairs: Sequence[Sequence[str]],
        *,
        held_out: Sequence[str] = (),
        marks: Sequence[str] | None = None,
        split: str | None = None,
        unit: str | None = None,
        regions: Sequence[str] | None = None,
        normalise: str | None = None,
    ) -> PairSet:
        """Find several pairs in a store, with what their cells have in common; see `Pair.of`.

        Parameters
        ----------
        pairs : A and B of each. A pair and its reverse are one pair.
        held_out : cells to hold out; pairs with one of them are not learnt from.
        normalise : of `config.NORMALISE`; None is what is usual (`config.usual_normalise`).
        split : name; None is the only one, or the default one; "" is none.

        Raises
        ------
        UsageError
            A pair that is named twice, a cell held out that no pair has, or none left to learn from.
        StoreError
            What `Pair.of` refuses, of any of the cells.
        """
        cells = [resolve_cells(store, pair) for pair in pairs]
        _check_distinct(cells)
        involved = tuple(dict.fromkeys(cell for pair in cells for cell in pair))
        for cell in held_out:
            if cell not in involved:
                raise UsageError(f"`held_out={cell}`: in none of the pairs; they have {', '.join(involved)}")
        chosen_marks = resolve_marks(store, involved, marks)
        check_units(store, involved, chosen_marks)
        chosen_unit = resolve_unit(store, involved, unit)
        if chosen_unit is None and any(store.labels(pair) is None for pair in cells):
            units = {cell: ", ".join(store.expression_units(cell)) or "none" for cell in involved}
            raise StoreError(
                f"{store.path}: no unit of expression is common to all cells "
                f"({'; '.join(f'{cell}: {own}' for cell, own in units.items())}); add expression with "
                "`prepare_store(expression=...)`, changes of every pair with `labels`, or leave cells out"
            )
        chosen_split = "" if split == "" else resolve_split(store, split)
        chosen_regions = resolve_regions(store, involved, chosen_marks, regions)
        found = [Pair(store, pair, chosen_marks, chosen_split, chosen_unit, chosen_regions) for pair in cells]
        learnt = tuple(pair for pair in found if not set(pair.cells) & set(held_out))
        if not learnt:
            raise UsageError(
                f"`held_out={','.join(held_out)}`: leaves no pair to learn from; name more pairs"
            )
        unseen = tuple(pair for pair in found if set(pair.cells) & set(held_out))
        if normalise is None:
            normalise = usual_normalise(several=len(found) > 1 or bool(held_out))
        return cls(learnt, tuple(held_out), unseen, normalise=normalise)

    @property
    def first(self) -> Pair:
        """The run's own pair."""
        return self.pairs[0]

    @property
    def single(self) -> bool:
        """Whether a model is for one pair alone, whose order and shift it may learn."""
        return len(self.pairs) == 1 and not self.held_out

    @property
    def cells(self) -> tuple[str, ...]:
        """Cells that are learnt from, each once."""
        return tuple(dict.fromkeys(cell for pair in self.pairs for cell in pair.cells))

    @property
    def judged(self) -> tuple[Pair, ...]:
        """Pairs whose accuracy is told, pair by pair; none where there is only the run's own."""
        return () if self.single else self.pairs + self.unseen

    def kind(self, pair: Pair) -> str:
        """One of `KINDS`."""
        return KINDS[sum(cell in self.held_out for cell in pair.cells)]

    def of_split(self, split: str) -> PairSet:
        """The same with genes divided by another split."""
        return self.each(lambda pair: replace(pair, split=split))

    def each(self, change: Callable[[Pair], Pair]) -> PairSet:
        """The same with every pair changed alike."""
        return replace(self, pairs=tuple(map(change, self.pairs)), unseen=tuple(map(change, self.unseen)))

    @cached_property
    def signal_seen(self) -> SeenSignal:
        """Distributions of the signal of the cells that are learnt from, as it stands in the store."""
        first = replace(self.first, reference=None)
        values = np.stack([first.quantiles_of(cell) for cell in self.cells])
        return SeenSignal(self.cells, first.marks, first.layout.names, values)

    def normalised(self) -> PairSet:
        """The same with signal normalised as it says."""
        if self.normalise == NORMALISE[0]:
            return self
        reference = self.signal_seen.reference
        return self.each(lambda pair: replace(pair, reference=reference))

    def without(self, cell: str) -> PairSet | None:
        """The pairs to learn from in which `cell` is not, those with it unseen; None where none is left."""
        learnt = tuple(pair for pair in self.pairs if cell not in pair.cells)
        unseen = tuple(pair for pair in self.pairs if cell in pair.cells)
        if not learnt:
            return None
        apart = replace(self, pairs=learnt, held_out=(cell,), unseen=unseen)
        return apart.each(lambda pair: replace(pair, prior_without=(*pair.prior_without, cell)))

    def load(self, spill: Path | None = None) -> tuple[PairData, ...]:
        """Read everything of the pairs to learn from, a cell that is in several of them once."""
        signals: dict[str, Signal] = {}
        return tuple(pair.load(spill, signals) for pair in self.pairs)

    def examples(self, data: Sequence[PairData], *, antisymmetric: bool) -> tuple[PairData, ...]:
        """What is learnt from: both orders of a pair, unless one tells a model all about the other.

        A `single` pair is learnt in the order in which it was asked for.
        """
        if self.single or antisymmetric:
            return tuple(data)
        return (*data, *(of_pair.exchanged() for of_pair in data))


def signal_bytes_of(pairs: PairSet) -> int:
    """Bytes of the signal of all cells that are learnt from."""
    return signal_bytes(pairs.first) // 2 * len(pairs.cells)


def _check_distinct(pairs: Sequence[tuple[str, str]]) -> None:
    for number, pair in enumerate(pairs):
        if pair in pairs[:number]:
            raise UsageError(f"`pair={','.join(pair)}`: is given twice")
        if pair[::-1] in pairs[:number]:
            raise UsageError(
                f"`pair={','.join(pair)}`: is {','.join(pair[::-1])} exchanged, which is given already; "
                "both orders of a pair are learnt from in any case"
            )

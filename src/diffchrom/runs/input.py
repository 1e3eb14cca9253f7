"""What a run learns from, whether it trains a model or fits a baseline: a pair of cells of a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from diffchrom.pairs.choices import resolve_marks, resolve_pair, resolve_split
from diffchrom.pairs.leakage import find_leakage
from diffchrom.pairs.pair import PairData, load_pair
from diffchrom.progress import Reporter
from diffchrom.runs.folder import describe_store
from diffchrom.store.store import Store


class Job(Protocol):
    """What `TrainingJob` and `BaselineJob` say of their input, in the user's words."""

    @property
    def store(self) -> Path:
        """Path of the store."""

    @property
    def pair(self) -> str | None:
        """``A,B``; None where the store has just two cells."""

    @property
    def marks(self) -> tuple[str, ...] | None:
        """In the order wanted; None is all marks of the pair."""

    @property
    def split(self) -> str | None:
        """Name; None is the default one."""

    @property
    def unit(self) -> str | None:
        """Of the expression; None is the preferred one."""


@dataclass(frozen=True)
class RunInput:
    """A job's input with nothing left open but the unit, which the labels decide.

    Attributes
    ----------
    store : where from.
    pair, marks, split : of the store.
    unit : the one asked for, or None.
    """

    store: Store
    pair: tuple[str, str]
    marks: tuple[str, ...]
    split: str
    unit: str | None

    @classmethod
    def of(cls, job: Job) -> RunInput:
        """Find in the store what a job names; StoreError or UsageError where it has no such thing."""
        store = Store(job.store)
        pair = resolve_pair(store, job.pair)
        split = resolve_split(store, job.split)
        return cls(store, pair, resolve_marks(store, pair, job.marks), split, job.unit)

    def load(self, reporter: Reporter, spill: Path | None = None) -> PairData:
        """Read it, and say what test genes share with others; parameters and errors as of `load_pair`."""
        data = load_pair(
            self.store, self.pair, marks=self.marks, split=self.split, unit=self.unit, spill=spill
        )
        if said := find_leakage(data.genes, data.split, self.store.window, self.split).warning():
            reporter.note(said)
        return data

    def described(self, data: PairData) -> dict[str, Any]:
        """The fields of a `RunConfig` that say what was learnt from; `data` is what `load` returned."""
        return {
            "pair": self.pair,
            "marks": data.marks,
            "window": self.store.window,
            "split": self.split,
            "unit": data.unit,
            "store": describe_store(self.store, self.pair),
        }

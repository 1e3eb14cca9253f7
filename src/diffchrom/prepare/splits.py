"""Splits of a `prepare`: the default one of a new store, and those asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.config import PREPARE
from diffchrom.errors import StoreError, UsageError
from diffchrom.genome.genes import Genes
from diffchrom.pairs.splits import describe_split, make_split
from diffchrom.prepare.summary import Summary
from diffchrom.store.store import Store

#: What a new store gets where its genes lie on too few chromosomes for the default.
FALLBACK = "random"


@dataclass(frozen=True)
class NamedSplit:
    """A split and what the store tells about it; `values` is int8 [n_genes]."""

    name: str
    values: npt.NDArray[np.int8]
    attrs: dict[str, Any]


def split_genes(name: str, genes: Genes, seed: int, summary: Summary) -> NamedSplit:
    """Make the split called `name`, and say what it holds."""
    values = make_split(name, genes, seed)
    summary.note(f"split {name}: {describe_split(values, genes)}")
    return NamedSplit(name, values, {"source": name, "seed": seed})


def new_splits(names: Sequence[str], genes: Genes, seed: int, summary: Summary) -> list[NamedSplit]:
    """Splits of a new store: those asked for, else the default, else random with a warning."""
    if names:
        return [split_genes(name, genes, seed, summary) for name in dict.fromkeys(names)]
    try:
        return [split_genes(PREPARE.split, genes, seed, summary)]
    except UsageError as error:
        try:
            chosen = split_genes(FALLBACK, genes, seed, summary)
        except UsageError:
            summary.warn(f"no split is stored: {error}")
            return []
    summary.warn(
        f"too few chromosomes to split by: genes are split at random, and windows of neighbours overlap "
        f"across the split {FALLBACK}"
    )
    return [chosen]


def added_splits(
    store: Store, names: Sequence[str], seed: int, summary: Summary, *, replace: bool
) -> list[NamedSplit]:
    """Splits asked for that the store has not yet.

    Raises
    ------
    StoreError
        When it holds another split under the name, and `replace` is False.
    """
    new = []
    for name in dict.fromkeys(names):
        split = split_genes(name, store.genes, seed, summary)
        if name in store.splits():
            if np.array_equal(store.split(name), split.values):
                continue
            if not replace:
                raise StoreError(
                    f"{store.path}: holds another split {name} already; use `replace` to renew it"
                )
        new.append(split)
    return new

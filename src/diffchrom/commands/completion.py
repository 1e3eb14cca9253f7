"""What a shell offers after an option: names in the store that is meant, of runs, and of what can be chosen.

A completion never fails: what cannot be read offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from diffchrom.config import DEVICES, default_store
from diffchrom.errors import DiffchromError
from diffchrom.variants import VARIANTS

if TYPE_CHECKING:
    from diffchrom.store.store import Store

Complete = Callable[[typer.Context, str], list[str]]


def _beginning(incomplete: str, names: Iterable[str], *, commas: bool = False) -> list[str]:
    """Names that begin so; with `commas` the last of a list, which names each once."""
    before, _, last = incomplete.rpartition(",") if commas else ("", "", incomplete)
    prefix = f"{before}," if before else ""
    chosen = before.split(",")
    return [prefix + name for name in names if name.startswith(last) and name not in chosen]


def _store_of(context: typer.Context) -> Store:
    from diffchrom.store.store import Store

    return Store(context.params.get("store") or default_store())


def _of_store(names: Callable[[Store], Iterable[str]], *, commas: bool) -> Complete:
    """Complete with names that the store on the command line, or the default one, has."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        with suppress(DiffchromError, OSError):
            return _beginning(incomplete, names(_store_of(context)), commas=commas)
        return []

    return complete


def _marks(store: Store) -> Iterable[str]:
    return dict.fromkeys(mark for cell in store.cells() for mark in store.marks(cell))


cells = _of_store(lambda store: store.cells(), commas=True)
marks = _of_store(_marks, commas=True)
splits = _of_store(lambda store: store.splits(), commas=False)


def variants(incomplete: str) -> list[str]:
    """Names of `variants.VARIANTS`."""
    return _beginning(incomplete, VARIANTS)


def devices(incomplete: str) -> list[str]:
    """Names of `config.DEVICES`."""
    return _beginning(incomplete, DEVICES)


def methods(incomplete: str) -> list[str]:
    """Names of `baselines.methods.METHODS`, with commas between them."""
    from diffchrom.baselines.methods import ALL, METHODS

    return _beginning(incomplete, (*METHODS, ALL), commas=True)


def runs(incomplete: str) -> list[str]:
    """Run folders below ``runs/`` or below what is typed so far."""
    from diffchrom.runs.folder import is_finished

    typed = Path(incomplete)
    typed = typed if incomplete.endswith("/") else typed.parent
    with suppress(OSError):
        places = [place for place in dict.fromkeys((typed, Path("runs"))) if place.is_dir()]
        folders = [path for place in places for path in sorted(place.iterdir()) if path.is_dir()]
        return [str(path) for path in folders if is_finished(path) and str(path).startswith(incomplete)]
    return []

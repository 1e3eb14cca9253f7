"""What ``--verbose`` adds: what was chosen, from which files that came, and what a command took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffchrom.commands.console import Console
from diffchrom.processes.machine import cpu_seconds, peak_memory

if TYPE_CHECKING:
    from diffchrom.pairs.pair import Pair


def tell_chosen(console: Console, pair: Pair) -> None:
    """Tell what was chosen of a store for a pair of cells, and which files its tracks came from."""
    if not console.verbose:
        return
    a, b = pair.cells
    console.detail(
        f"{pair.store.path}: {len(pair)} genes, A {a}, B {b}, marks {','.join(pair.marks)}, regions "
        f"{','.join(pair.layout.names)} (of methods that read them), split {pair.split or 'none'}, "
        f"expression {'in ' + pair.unit if pair.unit else 'unknown'}"
    )
    for cell in pair.cells:
        sources = {mark: str(pair.store.signal_attrs(cell, mark).get("source", "?")) for mark in pair.marks}
        named = (f"{mark} of {', '.join(source.splitlines())}" for mark, source in sources.items())
        console.detail(f"{cell}: {'; '.join(named)}")


def taken() -> str:
    """Say what the process, and those that it ended, have taken so far."""
    cpu, memory = cpu_seconds(), peak_memory() / 1e9
    return f"took {cpu:.1f} s of CPU time and {memory:.2f} GB of memory (of the largest process)"

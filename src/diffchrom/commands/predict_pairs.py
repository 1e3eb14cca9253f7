"""``predict --against`` and ``--matrix``: many pairs of a store's cells in one table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from diffchrom.baselines.opened import open_predictor
from diffchrom.commands.console import Console
from diffchrom.files.tables import joined_lines
from diffchrom.files.whole import output_text
from diffchrom.pairs.choices import direction, pairs_with_marks
from diffchrom.pairs.selection import chosen_rows
from diffchrom.progress import noting
from diffchrom.runs.folder import Run
from diffchrom.runs.opening import pair_of_run
from diffchrom.runs.predicted import Opened, changes_table
from diffchrom.store.store import Store


def write_pairs(
    run: Run,
    store: Store,
    against: str | None,
    chosen: tuple[str, Path | None],
    output: Path,
    *,
    device: str,
    threads: int,
    console: Console,
) -> None:
    """Write predicted log2fc of many pairs, gene by pair.

    Parameters
    ----------
    against : cell A of every pair; None is every pair of cells.
    chosen : part of the split, and list of genes, as of `chosen_rows`.
    """
    pairs, lacking = pairs_with_marks(store, run.config.marks, against)
    first = pair_of_run(run, store, pairs[0])
    part, gene_list = chosen
    rows = chosen_rows(first.genes, first.parts, part=part, gene_list=gene_list, reporter=console)
    notes = [f"{cell} is left out: it lacks {', '.join(marks)}" for cell, marks in lacking.items()]

    def opened() -> Iterator[Opened]:
        for pair in pairs:
            one, _ = open_predictor(run, store, pair, device=device, threads=threads)
            notes.extend((one.without_shift, one.pair.prior_note))
            yield one

    with noting(console, lambda: (direction(*pairs), *notes)), output_text(output) as stream:
        stream.writelines(joined_lines([changes_table(opened(), rows, console)]))

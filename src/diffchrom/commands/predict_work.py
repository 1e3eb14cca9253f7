"""The library calls behind ``predict``: one pair of cells, or many in one table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from diffchrom.baselines.opened import open_predictor
from diffchrom.commands.console import Console
from diffchrom.commands.details import tell_chosen
from diffchrom.files.tables import joined_lines
from diffchrom.files.whole import output_text
from diffchrom.genome.genes import Rows
from diffchrom.pairs.choices import direction, pairs_with_marks, parse_pair
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.selection import chosen_rows
from diffchrom.progress import noting
from diffchrom.runs.folder import Run
from diffchrom.runs.opening import pair_of_run
from diffchrom.runs.predicted import DOWN, UP, Opened, PredictedTable, changes_table, largest
from diffchrom.runs.signal import describe_distances, signal_distances
from diffchrom.store.store import Store

if TYPE_CHECKING:
    from diffchrom.commands.predict import PredictOptions


def write_pair(run: Run, store: Store, asked: PredictOptions, console: Console) -> None:
    """Write what is predicted of one pair, a row a gene."""
    opened, note = open_predictor(
        run, store, parse_pair(asked.pair), device=asked.device, threads=asked.threads
    )
    tell_chosen(console, opened.pair)
    distance = describe_distances(signal_distances(run, opened.pair))
    rows = _rows(opened.pair, asked, console)
    table = PredictedTable(opened.pair)
    pieces = opened.predict_batches(rows, console)
    tables = (table.completed(piece.columns(), piece.rows) for piece in pieces)
    pair = opened.pair
    said = (note, direction(pair.cells), opened.without_shift, distance)
    with noting(console, lambda: (*said, pair.prior_note)), output_text(asked.output) as stream:
        sign = UP * asked.up + DOWN * asked.down
        chosen = tables if asked.top is None else [largest(tables, asked.top, sign)]
        stream.writelines(joined_lines(chosen))
    if doubt := table.note():
        console.note(doubt)


def write_pairs(run: Run, store: Store, asked: PredictOptions, console: Console) -> None:
    """Write predicted log2fc of many pairs, gene by pair: all against one cell, or of every two cells."""
    pairs, lacking = pairs_with_marks(store, run.config.marks, asked.against)
    rows = _rows(pair_of_run(run, store, pairs[0]), asked, console)
    notes = [f"{cell} is left out: it lacks {', '.join(marks)}" for cell, marks in lacking.items()]

    def opened() -> Iterator[Opened]:
        for pair in pairs:
            one, _ = open_predictor(run, store, pair, device=asked.device, threads=asked.threads)
            notes.extend((one.without_shift, one.pair.prior_note))
            yield one

    with noting(console, lambda: (direction(*pairs), *notes)), output_text(asked.output) as stream:
        stream.writelines(joined_lines([changes_table(opened(), rows, console)]))


def _rows(pair: Pair, asked: PredictOptions, console: Console) -> Rows:
    return chosen_rows(pair.genes, pair.parts, part=asked.split, gene_list=asked.genes, reporter=console)

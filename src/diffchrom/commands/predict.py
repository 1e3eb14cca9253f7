"""``diffchrom predict``: a run's predictions as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import completion, options
from diffchrom.errors import UsageError

PARTS = ("train", "valid", "test", "all")


def predict(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A folder made by `train` or `baseline`.", autocompletion=completion.runs
        ),
    ],
    store: options.StoreOption,
    threads: options.ThreadsOption,
    pair: Annotated[
        str | None, typer.Option(metavar="C,D", help="Another pair of cells.", show_default="the run's own")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="CELL", help="Every other cell against this one: a table of genes by pairs."),
    ] = None,
    matrix: Annotated[bool, typer.Option("--matrix", help="Such a table of every pair of cells.")] = False,
    split: Annotated[
        str, typer.Option(metavar="|".join(PARTS), help="Genes of this part of the run's split only.")
    ] = "all",
    genes: Annotated[
        Path | None, typer.Option(help="Only the genes of this file: ids or names in its first column.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the N genes of largest |log2fc_pred|.")
    ] = None,
    up: Annotated[bool, typer.Option("--up", help="Of --top: only those higher in B.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Of --top: only those higher in A.")] = False,
    output: options.OutputOption = options.STDOUT,
    device: options.DeviceOption = "auto",
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Predict log2 fold changes (positive: higher in B) with a trained run or a fitted baseline."""
    options.check_choice("--split", split, PARTS)
    options.check_device(device)
    if up and down:
        raise UsageError("--up and --down: one at a time; --top alone takes both")
    if (up or down) and top is None:
        raise UsageError(f"{'--up' if up else '--down'}: needs --top N")
    several = matrix or against is not None
    if several and (top is not None or pair is not None or (matrix and against is not None)):
        raise UsageError("--against, --matrix, --pair and --top: one of them")
    console = options.start(quiet=quiet, verbose=verbose, threads=threads)
    from diffchrom.baselines.opened import open_predictor
    from diffchrom.files.tables import joined_lines
    from diffchrom.files.whole import output_text
    from diffchrom.pairs.choices import direction, parse_pair
    from diffchrom.pairs.selection import chosen_rows
    from diffchrom.progress import noting
    from diffchrom.runs.folder import Run
    from diffchrom.runs.predicted import DOWN, UP, PredictedTable, largest
    from diffchrom.runs.signal import describe_distances, signal_distances
    from diffchrom.store.store import Store

    made = Run.open(run)
    if several:
        from diffchrom.commands.predict_pairs import write_pairs

        write_pairs(
            made, Store(store), against, (split, genes), output,
            device=device, threads=threads, console=console,
        )  # fmt: skip
        return
    opened, note = open_predictor(made, Store(store), parse_pair(pair), device=device, threads=threads)
    distance = describe_distances(signal_distances(made, opened.pair))
    rows = chosen_rows(opened.genes, opened.pair.parts, part=split, gene_list=genes, reporter=console)
    table = PredictedTable(opened.pair)
    pieces = opened.predict_batches(rows, console)
    tables = (table.completed(piece.columns(), piece.rows) for piece in pieces)
    with (
        noting(
            console,
            lambda: (
                note,
                direction(opened.pair.cells),
                opened.without_shift,
                distance,
                opened.pair.prior_note,
            ),
        ),
        output_text(output) as stream,
    ):
        chosen = tables if top is None else [largest(tables, top, UP * up + DOWN * down)]
        stream.writelines(joined_lines(chosen))
    if said := table.note():
        console.note(said)

"""``diffchrom predict``: a run's predictions as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import options
from diffchrom.config import DEVICES

PARTS = ("train", "valid", "test", "all")


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by `diffchrom train`.")],
    store: options.StoreOption,
    threads: options.ThreadsOption,
    pair: Annotated[
        str | None, typer.Option(metavar="C,D", help="Another pair of cells.", show_default="the run's own")
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="|".join(PARTS), help="Genes of this part of the run's split only.")
    ] = "all",
    genes: Annotated[
        Path | None, typer.Option(help="Only the genes of this file: ids or names in its first column.")
    ] = None,
    output: options.OutputOption = options.STDOUT,
    device: options.DeviceOption = "auto",
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Predict log2 fold changes (B over A) with a trained run."""
    options.check_choice("--split", split, PARTS)
    options.check_choice("--device", device, DEVICES)
    console = options.start(quiet=quiet, verbose=verbose, threads=threads)
    from diffchrom.deepdiff.opened import open_model
    from diffchrom.files.tables import joined_lines
    from diffchrom.files.whole import output_text
    from diffchrom.pairs.choices import direction, parse_pair
    from diffchrom.pairs.selection import chosen_rows
    from diffchrom.runs.folder import Run
    from diffchrom.store.store import Store

    made = Run.open(run)
    opened, note = open_model(made, Store(store), parse_pair(pair), device=device).calibrated(made)
    if note:
        console.note(note)
    genome, parts = opened.genes, opened.pair.parts
    rows = chosen_rows(genome, parts, part=split, gene_list=genes, reporter=console)
    with output_text(output) as stream:
        stream.writelines(joined_lines(piece.columns() for piece in opened.predict_batches(rows, console)))
    console.note(direction(opened.pair.cells))

"""``diffchrom predict``: a run's predictions as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import completion, options
from diffchrom.commands.declared import takes
from diffchrom.config import check_device
from diffchrom.errors import UsageError, check_choice


@dataclass(frozen=True)
class PredictOptions:
    """What `predict` takes."""

    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A folder made by `train` or `baseline`.", autocompletion=completion.runs
        ),
    ]
    store: options.StoreOption
    threads: options.ThreadsOption
    pair: options.OtherPairOption = None
    against: Annotated[
        str | None,
        typer.Option(metavar="CELL", help="Every other cell against this one: a table of genes by pairs."),
    ] = None
    matrix: Annotated[bool, typer.Option("--matrix", help="Such a table of every pair of cells.")] = False
    split: options.PartOption = "all"
    genes: options.GenesOption = None
    top: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the N genes of largest |log2fc_pred|.")
    ] = None
    up: Annotated[bool, typer.Option("--up", help="Of --top: only those higher in B.")] = False
    down: Annotated[bool, typer.Option("--down", help="Of --top: only those higher in A.")] = False
    output: options.OutputOption = options.STDOUT
    device: options.DeviceOption = "auto"
    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False


@takes(PredictOptions)
def predict(asked: PredictOptions) -> None:
    """Predict log2 fold changes (positive: higher in B) with a trained run or a fitted baseline."""
    check_choice("split", asked.split, options.PARTS)
    check_device(asked.device)
    if asked.up and asked.down:
        raise UsageError("--up and --down: one at a time; --top alone takes both")
    if (asked.up or asked.down) and asked.top is None:
        raise UsageError(f"{'--up' if asked.up else '--down'}: needs --top N")
    ways = (asked.against, asked.matrix or None, asked.pair, asked.top)
    several = asked.matrix or asked.against is not None
    if several and sum(way is not None for way in ways) > 1:
        raise UsageError("--against, --matrix, --pair and --top: one of them")
    console = options.start(quiet=asked.quiet, verbose=asked.verbose, threads=asked.threads)
    from diffchrom.commands.predict_work import write_pair, write_pairs
    from diffchrom.runs.folder import Run
    from diffchrom.runs.opening import store_for

    write = write_pairs if several else write_pair
    run = Run.open(asked.run)
    write(run, store_for(run, asked.store), asked, console)

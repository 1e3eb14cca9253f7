"""``diffchrom info``: what a store or a run holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import options
from diffchrom.commands.spelling import as_options
from diffchrom.config import default_store
from diffchrom.errors import UsageError

#: Coefficients of a baseline that are shown.
LARGEST = 10


def info(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="[STORE|RUN]",
            default_factory=default_store,
            show_default="diffchrom.h5 or $DIFFCHROM_STORE",
            help="A store, or a folder made by `train` or `baseline`.",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read everything and compare checksums.")] = False,
    leakage: Annotated[
        bool,
        typer.Option("--leakage", help="What test genes share with others: windows, symbols, signal."),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the mean signal around the TSS: FILE.png, .svg or .pdf.")
    ] = None,
    output: options.OutputOption = options.STDOUT,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Tell what a store or a run holds: cells, marks, genes, splits, signal, and what looks wrong."""
    console = options.start(quiet=quiet, verbose=verbose)
    from diffchrom.files.figures import check_figure_path
    from diffchrom.files.whole import output_text
    from diffchrom.inspection import text as report
    from diffchrom.inspection.summary import summarise_store
    from diffchrom.pairs.leakage import leakage_text, store_leakage
    from diffchrom.runs.folder import Run
    from diffchrom.runs.handed_on import SUFFIX
    from diffchrom.store.store import Store

    if path.is_dir() or path.suffix == SUFFIX:
        if plot is not None or leakage:
            option = "--leakage looks at the splits" if leakage else "--plot draws the tracks"
            raise UsageError(f"{option} of a store; {path} is a run")
        run = Run.open(path, unfinished=True)
        values = report.run_dict(run, verify=verify)
        text = report.run_text(values)
        if run.config.kind == "baseline":
            from diffchrom.baselines.opened import largest_coefficients

            largest = largest_coefficients(run, LARGEST)
            values |= {"coefficients": {name: column.tolist() for name, column in largest.items()}}
            text += report.coefficients_text(largest, run.config)
    else:
        if plot is not None:
            check_figure_path(plot)
        summary = summarise_store(Store(path), verify=verify, reporter=console)
        values, text = summary.to_dict(), report.store_text(summary)
        if leakage:
            found = store_leakage(Store(path), console)
            values |= {"leakage": [one.to_dict() for one in found]}
            text += leakage_text(found)
        if plot is not None:
            report.plot_profiles(summary, plot)
    with output_text(output) as stream:
        stream.write(as_options(report.json_text(values) if json else text))

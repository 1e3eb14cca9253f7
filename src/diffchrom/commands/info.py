"""``diffchrom info``: what a store or a run holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from diffchrom.commands import options
from diffchrom.commands.console import Console
from diffchrom.commands.declared import takes
from diffchrom.commands.spelling import as_options
from diffchrom.config import default_store
from diffchrom.errors import UsageError

#: Coefficients of a baseline that are shown.
LARGEST = 10


@dataclass(frozen=True)
class InfoOptions:
    """What `info` takes."""

    path: Annotated[
        Path,
        typer.Argument(
            metavar="[STORE|RUN]",
            default_factory=default_store,
            show_default="diffchrom.h5 or $DIFFCHROM_STORE",
            help="A store, or a folder made by `train` or `baseline`.",
        ),
    ]
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
    verify: Annotated[bool, typer.Option("--verify", help="Read everything and compare checksums.")] = False
    leakage: Annotated[
        bool, typer.Option("--leakage", help="What test genes share with others: windows, symbols, signal.")
    ] = False
    plot: Annotated[
        Path | None, typer.Option(help="Draw the mean signal around the TSS: FILE.png, .svg or .pdf.")
    ] = None
    output: options.OutputOption = options.STDOUT
    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False


@takes(InfoOptions)
def info(asked: InfoOptions) -> None:
    """Tell what a store or a run holds: cells, marks, genes, splits, signal, and what looks wrong."""
    console = options.start(quiet=asked.quiet, verbose=asked.verbose)
    from diffchrom.files.whole import output_text
    from diffchrom.inspection.text import json_text
    from diffchrom.runs.handed_on import SUFFIX

    of_run = asked.path.is_dir() or asked.path.suffix == SUFFIX
    values, text = _about_run(asked) if of_run else _about_store(asked, console)
    with output_text(asked.output) as stream:
        stream.write(as_options(json_text(values) if asked.json else text))


def _about_run(asked: InfoOptions) -> tuple[dict[str, Any], str]:
    from diffchrom.inspection.text import coefficients_text, run_dict, run_text
    from diffchrom.runs.folder import Run

    if asked.plot is not None or asked.leakage:
        option = "--leakage looks at the splits" if asked.leakage else "--plot draws the tracks"
        raise UsageError(f"{option} of a store; {asked.path} is a run")
    run = Run.open(asked.path, unfinished=True)
    values = run_dict(run, verify=asked.verify)
    text = run_text(values)
    if run.config.kind == "baseline":
        from diffchrom.baselines.opened import largest_coefficients

        largest = largest_coefficients(run, LARGEST)
        values |= {"coefficients": {name: column.tolist() for name, column in largest.items()}}
        text += coefficients_text(largest, run.config)
    return values, text


def _about_store(asked: InfoOptions, console: Console) -> tuple[dict[str, Any], str]:
    from diffchrom.files.figures import check_figure_path
    from diffchrom.inspection.summary import summarise_store
    from diffchrom.inspection.text import plot_profiles, store_text
    from diffchrom.pairs.leakage import leakage_text, store_leakage
    from diffchrom.store.store import Store

    if asked.plot is not None:
        check_figure_path(asked.plot)
    store = Store(asked.path)
    summary = summarise_store(store, verify=asked.verify, reporter=console)
    values, text = summary.to_dict(), store_text(summary)
    if asked.leakage:
        leakage = store_leakage(store, console)
        values |= {"leakage": [split.to_dict() for split in leakage]}
        text += leakage_text(leakage)
    if asked.plot is not None:
        plot_profiles(summary, asked.plot)
    return values, text

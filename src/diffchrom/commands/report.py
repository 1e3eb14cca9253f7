"""``diffchrom report``: one HTML page about a run or a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import completion, options
from diffchrom.config import check_device


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|SWEEP...", help="Run folders, or folders of them.", autocompletion=completion.runs
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page; - is stdout.")] = Path(
        "report.html"
    ),
    store: Annotated[
        Path | None,
        typer.Option(help="Where the runs' store is.", show_default="where it was when they were made"),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.", show_default="the pairs")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Join runs of different stores or splits all the same.")
    ] = False,
    device: options.DeviceOption = "auto",
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """One self-contained HTML page: data, accuracy, predictions, training, attention, methods text."""
    check_device(device)
    console = options.start(quiet=quiet, verbose=verbose)
    from diffchrom.report.build import build_report
    from diffchrom.report.page import write_page

    page = build_report(runs, store=store, title=title, force=force, reporter=console, device=device)
    write_page(output, page)
    if str(output) != "-":
        console.note(f"{output}: open it in a browser")

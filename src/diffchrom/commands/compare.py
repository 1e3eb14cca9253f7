"""``diffchrom compare``: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import options


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...|SWEEP", help="Run folders, or folders of them.")
    ],
    summary: Annotated[
        bool,
        typer.Option(
            "--summary",
            help="A row a method: the paper's Table 1, pairs won, paired bootstrap with Holm's correction.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw r by pair and method (Figure 4): .png, .svg or .pdf."),
    ] = None,
    output: options.OutputOption = options.STDOUT,
    force: Annotated[
        bool, typer.Option("--force", help="Compare runs of different stores or splits all the same.")
    ] = False,
    resamples: Annotated[
        int | None,
        typer.Option(min=100, help="Gene resamples.", show_default="as many as the correction needs"),
    ] = None,
    seed: options.SeedOption = 0,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Metrics of runs with intervals; a row a (pair, method, preset, seed)."""
    console = options.start(quiet=quiet, verbose=verbose)
    from diffchrom.files.figures import check_figure_path
    from diffchrom.files.tables import format_row
    from diffchrom.files.whole import output_text
    from diffchrom.sweeps.results import COLUMNS, load_results

    if plot is not None:
        check_figure_path(plot)
    results = load_results(runs, force=force, reporter=console)
    header: tuple[str, ...] = COLUMNS
    if summary or plot is not None:
        from diffchrom.sweeps.comparison import compare as compare_methods
        from diffchrom.sweeps.comparison import summary_table
        from diffchrom.sweeps.plots import plot_methods

        comparison = compare_methods(results, resamples=resamples, seed=seed, reporter=console)
        if plot is not None:
            plot_methods(comparison, plot)
    if summary:
        header, rows = summary_table(comparison)
    else:
        rows = [list(result.row().values()) for result in results]
    with output_text(output) as stream:
        stream.write(format_row(header) + "\n")
        stream.writelines(format_row(row) + "\n" for row in rows)

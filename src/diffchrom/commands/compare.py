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
    percent: Annotated[
        bool, typer.Option("--percent", help="Table 1 in percent of the baselines' r, as in the paper.")
    ] = False,
    pairs: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|A,B", help="Only these pairs, in this order; may be repeated."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw r by pair and method (Figure 4): .png, .svg or .pdf."),
    ] = None,
    name_best: Annotated[
        bool, typer.Option("--name-best", help="Write the best variant's name over every pair drawn.")
    ] = False,
    output: options.OutputOption = None,
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
    from diffchrom.sweeps.plan import read_pairs
    from diffchrom.sweeps.results import COLUMNS, load_results, of_pairs

    if plot is not None:
        check_figure_path(plot)
    wanted = read_pairs(pairs) if pairs else ("all",)
    results = of_pairs(load_results(runs, force=force, reporter=console), wanted)
    header: tuple[str, ...] = COLUMNS
    if summary or plot is not None:
        from diffchrom.sweeps.comparison import compare as compare_methods
        from diffchrom.sweeps.comparison import summary_table
        from diffchrom.sweeps.plots import plot_methods

        comparison = compare_methods(results, resamples=resamples, seed=seed, reporter=console)
        if plot is not None:
            plot_methods(comparison, plot, name_best=name_best)
    if summary:
        header, rows = summary_table(comparison, percent=percent)
    else:
        rows = [list(result.row().values()) for result in results]
    with output_text(output) as stream:
        stream.write(format_row(header) + "\n")
        stream.writelines(format_row(row) + "\n" for row in rows)

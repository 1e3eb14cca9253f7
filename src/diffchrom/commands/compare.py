"""``diffchrom compare``: runs side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffchrom.commands import completion, options
from diffchrom.commands.printing import JsonOption
from diffchrom.config import RESAMPLES
from diffchrom.errors import UsageError
from diffchrom.files.figures import check_figure_path

if TYPE_CHECKING:
    from diffchrom.sweeps.results import Result


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...|SWEEP",
            help="Run folders, or folders of them.",
            autocompletion=completion.runs,
        ),
    ],
    summary: Annotated[
        bool,
        typer.Option(
            "--summary",
            help="A row a method: the paper's Table 1, pairs won, differences with interval and p-value.",
        ),
    ] = False,
    unseen: Annotated[
        bool,
        typer.Option(
            "--unseen",
            help="A row a method and kind of pair: r with cells held out, and of the pair's own model.",
        ),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="Method to take differences from.", show_default="the best"),
    ] = None,
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
    anndata: Annotated[
        Path | None,
        typer.Option(metavar="FILE.h5ad", help="Predictions, gene x run, as AnnData (extra: anndata)."),
    ] = None,
    json: JsonOption = False,
    name_best: Annotated[
        bool, typer.Option("--name-best", help="Write the best variant's name over every pair drawn.")
    ] = False,
    output: options.OutputOption = options.STDOUT,
    force: Annotated[
        bool, typer.Option("--force", help="Take runs of different stores or splits for one group.")
    ] = False,
    resamples: Annotated[
        int, typer.Option(min=100, help="How often genes are drawn for --summary and --plot.")
    ] = RESAMPLES,
    seed: options.SeedOption = 0,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Metrics of runs with intervals: a row a run, or a row a method; short on a terminal, else TSV."""
    console = options.start(quiet=quiet, verbose=verbose)
    if plot is not None:
        check_figure_path(plot)
    _check_table(unseen, summary, against, other=bool(pairs or anndata))
    if unseen:
        from diffchrom.commands.compare_unseen import print_unseen

        print_unseen(runs, plot, output, json, console)
        return
    from diffchrom.commands.compare_view import for_people, show_methods, write_rows
    from diffchrom.inspection.anndata import write_anndata
    from diffchrom.pairs.choices import direction
    from diffchrom.pairs.naming import read_pairs
    from diffchrom.runs.tables import DRAWN_ALONE
    from diffchrom.sweeps.comparison import compare_groups
    from diffchrom.sweeps.plots import plot_methods
    from diffchrom.sweeps.results import load_results, of_pairs
    from diffchrom.sweeps.summary import one_table, summary_tables

    results = of_pairs(load_results(runs, force=force, reporter=console), read_pairs(pairs or ("all",)))
    console.note(direction(*(result.pair for result in results)))
    if alone := sum(result.resampled["genes"] > 0 for result in results):
        console.note(f"in {alone} of {len(results)} runs, {DRAWN_ALONE}")
    comparisons = []
    if summary or plot is not None:
        comparisons = compare_groups(results, resamples=resamples, seed=seed, reporter=console)
    if plot is not None:
        plot_methods(comparisons, plot, name_best=name_best)
    if anndata is not None:
        write_anndata(anndata, [result.run for result in results])
    if not summary:
        _print_runs(results, output, json)
        return
    tables = summary_tables(comparisons, against)
    if for_people(output, json):
        show_methods(comparisons, tables, sys.stdout)
        return
    write_rows(*one_table(tables, percent=percent), output, json)


def _check_table(unseen: bool, summary: bool, against: str | None, *, other: bool) -> None:
    """Refuse options of one table beside those of another."""
    if unseen and (summary or against or other):
        raise UsageError("--unseen: --summary, --against, --pairs and --anndata do not go with it")
    if against is not None and not summary:
        raise UsageError("--against is for the differences of --summary; give both")


def _print_runs(results: Sequence[Result], output: Path, json: bool) -> None:
    """Print a row a run, short where a person reads along."""
    from diffchrom.commands.compare_view import for_people, show_runs, write_rows
    from diffchrom.sweeps.results import COLUMNS

    if for_people(output, json):
        show_runs(results, sys.stdout)
    else:
        write_rows(COLUMNS, [result.row() for result in results], output, json)

"""``diffchrom compare``: runs side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffchrom.commands import completion, options
from diffchrom.commands.console import Console
from diffchrom.commands.declared import takes
from diffchrom.commands.printing import JsonOption
from diffchrom.config import RESAMPLES
from diffchrom.errors import UsageError
from diffchrom.files.figures import check_figure_path

if TYPE_CHECKING:
    from diffchrom.sweeps.comparison import Comparison
    from diffchrom.sweeps.results import Result


@dataclass(frozen=True)
class CompareOptions:
    """What `compare` takes."""

    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...|SWEEP", help="Run folders, or folders of them.", autocompletion=completion.runs
        ),
    ]
    summary: Annotated[
        bool,
        typer.Option(
            "--summary",
            help="A row a method: the paper's Table 1, pairs won, differences with interval and p-value.",
        ),
    ] = False
    unseen: Annotated[
        bool,
        typer.Option(
            "--unseen",
            help="A row a method and kind of pair: r with cells held out, and of the pair's own model.",
        ),
    ] = False
    against: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="Method to take differences from.", show_default="the best"),
    ] = None
    percent: Annotated[
        bool, typer.Option("--percent", help="Table 1 in percent of the baselines' r, as in the paper.")
    ] = False
    pairs: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|A,B", help="Only these pairs, in this order; may be repeated."),
    ] = None
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw r by pair and method (Figure 4): .png, .svg or .pdf."),
    ] = None
    anndata: Annotated[
        Path | None,
        typer.Option(metavar="FILE.h5ad", help="Predictions, gene x run, as AnnData (extra: anndata)."),
    ] = None
    json: JsonOption = False
    name_best: Annotated[
        bool, typer.Option("--name-best", help="Write the best variant's name over every pair drawn.")
    ] = False
    output: options.OutputOption = options.STDOUT
    force: Annotated[
        bool, typer.Option("--force", help="Take runs of different stores or splits for one group.")
    ] = False
    resamples: Annotated[
        int, typer.Option(min=100, help="How often genes are drawn for --summary and --plot.")
    ] = RESAMPLES
    seed: options.SeedOption = 0
    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False


@takes(CompareOptions)
def compare(asked: CompareOptions) -> None:
    """Metrics of runs with intervals: a row a run, or a row a method; short on a terminal, else TSV."""
    console = options.start(quiet=asked.quiet, verbose=asked.verbose)
    if asked.plot is not None:
        check_figure_path(asked.plot)
    if asked.unseen and (asked.summary or asked.against or asked.pairs or asked.anndata):
        raise UsageError("--unseen: --summary, --against, --pairs and --anndata do not go with it")
    if asked.against is not None and not asked.summary:
        raise UsageError("--against is for the differences of --summary; give both")
    if asked.unseen:
        from diffchrom.commands.compare_unseen import print_unseen

        print_unseen(asked.runs, asked.plot, asked.output, asked.json, console)
    else:
        _compare_runs(asked, console)


def _compare_runs(asked: CompareOptions, console: Console) -> None:
    from diffchrom.inspection.anndata import write_anndata
    from diffchrom.pairs.choices import direction
    from diffchrom.pairs.naming import read_pairs
    from diffchrom.runs.tables import DRAWN_ALONE
    from diffchrom.sweeps.comparison import compare_groups
    from diffchrom.sweeps.plots import plot_methods
    from diffchrom.sweeps.results import load_results, of_pairs

    loaded = load_results(asked.runs, force=asked.force, reporter=console)
    results = of_pairs(loaded, read_pairs(asked.pairs or ("all",)))
    console.note(direction(*(result.pair for result in results)))
    if alone := sum(result.resampled["genes"] > 0 for result in results):
        console.note(f"in {alone} of {len(results)} runs, {DRAWN_ALONE}")
    comparisons = []
    if asked.summary or asked.plot is not None:
        comparisons = compare_groups(results, resamples=asked.resamples, seed=asked.seed, reporter=console)
    if asked.plot is not None:
        plot_methods(comparisons, asked.plot, name_best=asked.name_best)
    if asked.anndata is not None:
        write_anndata(asked.anndata, [result.run for result in results])
    _show(results, comparisons, asked)


def _show(results: Sequence[Result], comparisons: Sequence[Comparison], asked: CompareOptions) -> None:
    """Print a row a method, or a row a run; short where a person reads along."""
    from diffchrom.commands.compare_view import for_people, show_methods, show_runs, write_rows
    from diffchrom.sweeps.results import COLUMNS
    from diffchrom.sweeps.summary import one_table, summary_tables

    tables = summary_tables(comparisons, asked.against) if asked.summary else []
    if not for_people(asked.output, asked.json):
        by_run = (COLUMNS, [result.row() for result in results])
        header, rows = one_table(tables, percent=asked.percent) if asked.summary else by_run
        write_rows(header, rows, asked.output, asked.json)
    elif asked.summary:
        show_methods(comparisons, tables, sys.stdout)
    else:
        show_runs(results, sys.stdout)

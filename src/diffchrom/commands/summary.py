"""What `train` and `baseline` do with a recipe, and print of the run."""

from __future__ import annotations

from pathlib import Path

from diffchrom.files.tables import format_row
from diffchrom.pairs.choices import direction
from diffchrom.pairs.pair import Pair
from diffchrom.progress import Reporter
from diffchrom.runs.cross_validation import COLUMNS, cross_validate, describe_folds, table_rows
from diffchrom.runs.folder import Run
from diffchrom.runs.making import Recipe, make
from diffchrom.runs.tables import SUMMARY_COLUMNS, describe_accuracy, describe_labels


def make_and_print(
    recipe: Recipe,
    pair: Pair,
    out: Path | None,
    *,
    folds: int,
    resume: bool,
    force: bool,
    console: Reporter,
    header: bool = True,
) -> None:
    """Make a run, or one for each of some folds, and print its accuracy on test genes."""
    if folds:
        run = cross_validate(recipe, pair, folds, out, force=force, reporter=console)
        print_cross_validation(run, console, header=header)
    else:
        run = make(recipe, pair, out, resume=resume, force=force, reporter=console)
        print_run(run, header=header)
    console.note(f"{run.path}: {describe_accuracy(run.config)}")
    if header:
        console.note(direction(pair.cells))


def print_run(run: Run, *, header: bool = True) -> None:
    """Print one line, under a header where it is the first."""
    if header:
        print(format_row(SUMMARY_COLUMNS))
    print(format_row(run.summary()), flush=True)


def print_cross_validation(run: Run, reporter: Reporter, *, header: bool = True) -> None:
    """Print a line a fold and one of all genes; how r spreads over the folds is a note."""
    if header:
        print(format_row(COLUMNS))
    for row in table_rows(run):
        print(format_row(row), flush=True)
    reporter.note(f"{run.path}: {describe_folds(run.config.details)}")
    if said := describe_labels(run.config.details):
        reporter.note(f"{run.path}: {said}")

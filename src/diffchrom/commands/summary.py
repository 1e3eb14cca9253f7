"""What `train` and `baseline` do with a recipe, and print of the run."""

from __future__ import annotations

from pathlib import Path

from diffchrom.commands.printing import Lines
from diffchrom.pairs.choices import direction
from diffchrom.pairs.pair import Pair
from diffchrom.progress import Reporter
from diffchrom.runs.cross_validation import COLUMNS, cross_validate, describe_folds, table_rows
from diffchrom.runs.folder import SUMMARY_COLUMNS, Run
from diffchrom.runs.making import Recipe, make
from diffchrom.runs.tables import describe_accuracy, describe_labels


def make_and_print(
    recipe: Recipe,
    pair: Pair,
    out: Path | None,
    *,
    folds: int,
    resume: bool,
    force: bool,
    console: Reporter,
    lines: Lines,
) -> Run:
    """Make a run, or one for each of some folds, print its accuracy on test genes, and return it."""
    first = not lines.started
    if folds:
        run = cross_validate(recipe, pair, folds, out, force=force, reporter=console)
        print_cross_validation(run, console, lines)
    else:
        run = make(recipe, pair, out, resume=resume, force=force, reporter=console)
        lines.print(SUMMARY_COLUMNS, run.summary())
    console.note(f"{run.path}: {describe_accuracy(run.config)}")
    if first:
        console.note(direction(pair.cells))
    return run


def print_cross_validation(run: Run, reporter: Reporter, lines: Lines) -> None:
    """Print a line a fold and one of all genes; how r spreads over the folds is a note."""
    for row in table_rows(run):
        lines.print(COLUMNS, row)
    reporter.note(f"{run.path}: {describe_folds(run.config.details)}")
    if said := describe_labels(run.config.details):
        reporter.note(f"{run.path}: {said}")

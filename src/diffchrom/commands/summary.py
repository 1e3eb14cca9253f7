"""What `train` and `baseline` do with a recipe, and print of the run."""

from __future__ import annotations

from pathlib import Path

from diffchrom.commands.console import Console
from diffchrom.commands.details import tell_chosen
from diffchrom.commands.pair_options import PairOptions
from diffchrom.commands.printing import Lines
from diffchrom.pairs.choices import direction
from diffchrom.pairs.pair_set import PairSet
from diffchrom.progress import Reporter
from diffchrom.runs.cross_validation import COLUMNS, cross_validate, describe_folds, fold_folder, table_rows
from diffchrom.runs.folder import SUMMARY_COLUMNS, Run
from diffchrom.runs.making import Recipe, make
from diffchrom.runs.pair_results import COLUMNS as PAIR_COLUMNS
from diffchrom.runs.pair_results import describe_results, read_results
from diffchrom.runs.tables import describe_accuracy, describe_labels


def make_and_print(
    recipe: Recipe,
    pairs: PairSet,
    asked: PairOptions,
    out: Path | None,
    console: Console,
    lines: Lines,
    *,
    ridge: bool = False,
) -> Run:
    """Make a run, or one for each of some folds, print its accuracy on test genes, and return it.

    Of several pairs, or with cells held out, there is a row a pair, with `ridge` of the same pairs beside it.
    """
    first = not lines.started
    if first:
        for pair in pairs.pairs:
            tell_chosen(console, pair)
    if asked.folds:
        run = cross_validate(recipe, pairs, asked.folds, out, force=asked.force, reporter=console)
    else:
        run = make(recipe, pairs, out, resume=asked.resume, force=asked.force, reporter=console)
        if ridge and pairs.judged:
            from diffchrom.baselines.beside import with_ridge

            run = with_ridge(run, pairs, console)
    if pairs.judged:
        _print_pairs(run, console, lines)
    elif asked.folds:
        print_cross_validation(run, console, lines)
    else:
        lines.print(SUMMARY_COLUMNS, run.summary())
    if not pairs.judged:
        console.note(f"{run.path}: {describe_accuracy(run.config)}")
    if first:
        console.note(direction(*(pair.cells for pair in pairs.pairs + pairs.unseen)))
    return run


def _print_pairs(run: Run, console: Reporter, lines: Lines) -> None:
    """Print a line a pair, of each fold and of all; what kinds of pairs come to on average is a note."""
    folds = [Run.open(fold_folder(run.path, number)) for number in range(1, run.config.folds + 1)]
    for one in (*folds, run):
        for result in read_results(one.config.details["pairs"]):
            lines.print(("run", "variant", *PAIR_COLUMNS), (str(one.path), one.config.variant, *result.row()))
    for said in describe_results(read_results(run.config.details["pairs"])):
        console.note(f"{run.path}: {said}")


def print_cross_validation(run: Run, reporter: Reporter, lines: Lines) -> None:
    """Print a line a fold and one of all genes; how r spreads over the folds is a note."""
    for row in table_rows(run):
        lines.print(COLUMNS, row)
    reporter.note(f"{run.path}: {describe_folds(run.config.details)}")
    if said := describe_labels(run.config.details):
        reporter.note(f"{run.path}: {said}")

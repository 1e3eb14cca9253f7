"""What `train` and `baseline` print of a run."""

from __future__ import annotations

from diffchrom.files.tables import format_row
from diffchrom.progress import Reporter
from diffchrom.runs.cross_validation import COLUMNS, describe_folds, table_rows
from diffchrom.runs.folder import Run
from diffchrom.runs.tables import SUMMARY_COLUMNS, describe_labels


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

"""Print the table "Cross-validation" of docs/results.md from the folder that run.sh filled."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from diffchrom.metrics import paired_bootstrap
from diffchrom.runs import PREDICTIONS, Run

HEADER = ("data", "method", "r of all genes", "mean of folds (sd)", "MSE", "default minus method")


def row(name: str, run: Run, default: Run) -> tuple[str, ...]:
    """Return the cells of one method; the default itself has no difference."""
    test, details = run.config.metrics["test"], run.config.details
    low, high = details["test_intervals"]["pearson"]
    difference = ""
    if run is not default:
        ours, theirs = (pd.read_csv(one.path / PREDICTIONS, sep="\t") for one in (default, run))
        both = ours.merge(theirs, on="gene_id", suffixes=("", "_other"))
        pearson = paired_bootstrap(
            both["log2fc"], both["log2fc_pred"], both["log2fc_pred_other"], ("pearson",), resamples=2000
        )["pearson"]
        difference = f"{pearson.value:.4f} [{pearson.low:.4f}, {pearson.high:.4f}]"
    return (
        f"{name}, {test['n']:,} genes",
        run.config.variant,
        f"{test['pearson']:.3f} [{low:.3f}, {high:.3f}]",
        f"{details['fold_mean']['pearson']:.3f} ({details['fold_sd']['pearson']:.3f})",
        f"{test['mse']:.3f}",
        difference,
    )


def main(folder: Path) -> None:
    """Print a Markdown table of the data sets in `folder`."""
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for name in ("sample", "pilot", "segmentation"):
        if not (folder / name).is_dir():
            continue
        default = Run.open(folder / name / "default")
        baselines = [Run.open(path) for path in sorted((folder / name / "baselines").iterdir())]
        for run in (default, *baselines):
            print(f"| {' | '.join(row(name, run, default))} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Print a sweep's methods as the tables of docs/results.md show them: `table.py SWEEP`, means over seeds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from diffchrom.sweeps.comparison import Comparison, compare
from diffchrom.sweeps.results import Result, load_results

METRICS = ("spearman", "mse", "r2", "sign_accuracy", "auprc")
HEADER = (
    "method", "preset", "r [95% interval]", "r by seed", "Spearman", "MSE", "R2", "sign accuracy",
    "AUPRC, change of 2 or more", "best minus method",
)  # fmt: skip


def mean(values: list[float | None]) -> str:
    """Mean of what is defined, in a table's digits."""
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else ""


def row(comparison: Comparison, index: int, results: list[Result]) -> tuple[str, ...]:
    """Return the cells of one method, of all its seeds together."""
    method, preset = comparison.methods[index]
    metrics = [result.row() for result in sorted(results, key=lambda result: result.run.config.seed)]
    low, high = comparison.interval(index, 0)
    r, difference = "undefined", ""
    if np.isfinite(comparison.r[index, 0]):
        r = f"{comparison.r[index, 0]:.3f} [{low:.3f}, {high:.3f}]"
    if index and np.isfinite(comparison.r[index, 0]):
        best = comparison.r[0, 0] - comparison.r[index, 0]
        ends = np.percentile(comparison.resampled[:, 0, 0] - comparison.resampled[:, index, 0], [2.5, 97.5])
        difference = f"{best:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"
    return (
        method,
        preset,
        r,
        ", ".join(f"{one['pearson']:.2f}" for one in metrics if one["pearson"] is not None),
        *(mean([one[name] for one in metrics]) for name in METRICS),
        difference,
    )


def main(sweep: Path) -> None:
    """Print a Markdown table, the method of the highest mean r first."""
    results = load_results([sweep])
    comparison = compare(results)
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for index, key in enumerate(comparison.methods):
        own = [result for result in results if (result.row()["method"], result.row()["preset"]) == key]
        print(f"| {' | '.join(row(comparison, index, own))} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

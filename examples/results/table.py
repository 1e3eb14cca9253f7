"""Print a sweep's methods as the tables of docs/results.md show them: `table.py SWEEP`, means over seeds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffchrom.metrics import METRICS
from diffchrom.sweeps.comparison import compare_groups
from diffchrom.sweeps.results import Result, load_results
from diffchrom.sweeps.summary import summary_rows

#: Those of narrow tables, and what methods that classify are measured by.
TITLES = {metric.name: metric.title for metric in METRICS.values() if metric.title} | {"auroc": "AUROC"}
SHOWN = [metric for metric in METRICS.values() if metric.name in TITLES and metric.name != "pearson"]
HEADER = ("method", "r [95%]", "r by seed", *(TITLES[one.name] for one in SHOWN), "method less best [95%]")


def cell(row: dict[str, Any], name: str) -> str:
    """A value in a table's digits, with its interval where it has one."""
    if row[name] is None:
        return ""
    ends = [row.get(f"{name}_{end}") for end in ("low", "high")]
    return f"{row[name]:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if None not in ends else "")


def cells(row: dict[str, Any], results: Sequence[Result]) -> tuple[str, ...]:
    """Return the cells of one method, of all its seeds together."""
    by_seed = [result.measured["pearson"][0] for result in results]
    return (
        row["label"],
        cell(row, "mean_pearson") or "undefined",
        ", ".join(f"{r:.2f}" for r in by_seed if r is not None),
        *(cell(row, f"mean_{metric.name}") for metric in SHOWN),
        cell(row, "difference"),
    )


def main(sweep: Path) -> None:
    """Print a Markdown table, the method of the highest mean r first."""
    for comparison in compare_groups(load_results([sweep])):
        print(f"\n| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
        for row, results in zip(summary_rows(comparison), comparison.results, strict=True):
            print(f"| {' | '.join(cells(row, results))} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

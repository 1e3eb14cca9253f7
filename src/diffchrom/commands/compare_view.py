"""What ``diffchrom compare`` shows on a terminal: short tables in aligned columns, each with a legend."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from diffchrom.commands import options
from diffchrom.commands.printing import Lines
from diffchrom.files.tables import aligned
from diffchrom.files.whole import output_text
from diffchrom.genome.blocks import BLOCK_SIZE
from diffchrom.metrics import METRICS
from diffchrom.pairs.splits import fold_number
from diffchrom.sweeps.comparison import Comparison
from diffchrom.sweeps.results import Result

Row = Mapping[str, Any]

#: Columns of a row a run before the metrics; those of one value for all runs are said once, above the table.
_RUN = {"label": "method", "pair": "pair", "seed": "seed", "fold": "fold", "n": "genes"}
#: Columns of a row a method, with their titles; metrics follow.
_METHOD = {
    "label": "method",
    "averaged": "mean over",
    "n_pairs": "pairs",
    "mean_pearson": "r [95%]",
    "difference": "less {against} [95%]",
    "p_holm": "p",
    "wins": "won",
}
_SHOWN = [metric for metric in METRICS.values() if metric.title]
_WITH_ENDS = ("pearson", "mean_pearson", "difference")
_MORE = "More columns, with the interval of every metric, in the table of -o FILE."


def for_people(output: Path, json: bool) -> bool:
    """Whether a person reads along."""
    return not json and output == options.STDOUT and sys.stdout.isatty()


def write_rows(header: Sequence[str], rows: Sequence[Row], output: Path, json: bool) -> None:
    """Write a table, as TSV or a JSON object a row."""
    with output_text(output) as stream:
        lines = Lines(json, stream)
        for row in rows:
            lines.print(header, [row[name] for name in header])


def show_runs(results: Sequence[Result], stream: IO[str]) -> None:
    """Write a row a run, group by group."""
    metrics = {one.name: one.title for one in _SHOWN} | {"pearson": "r [95%]"}
    rows = [result.row() | {"fold": fold_number(result.run.config.split)} for result in results]
    for group, members in _by_group(rows).items():
        same = {name: members[0][name] for name in _RUN if len({row[name] for row in members}) == 1}
        same = {name: value for name, value in same.items() if name != "label" and value is not None}
        told = [group, *(f"{_RUN[name]} {value}" for name, value in same.items())]
        stream.write("; ".join(filter(None, told)) + "\n")
        titles = {name: title for name, title in _RUN.items() if name not in same} | metrics
        stream.writelines(f"{line}\n" for line in table_lines(members, titles))
        stream.write("\n")
    _legend(rows, "", "", stream)


def show_methods(comparisons: Sequence[Comparison], tables: Sequence[Sequence[Row]], stream: IO[str]) -> None:
    """Write a row a method, group by group, of `summary.summary_rows`."""
    metrics = {f"mean_{one.name}": one.title for one in _SHOWN if one.name != "pearson"}
    for comparison, rows in zip(comparisons, tables, strict=True):
        against = next((row["against"] for row in rows if row["against"]), "")
        titles = {name: title.format(against=against) for name, title in _METHOD.items()} | metrics
        if len(comparison.pairs) == 1:
            titles = {name: title for name, title in titles.items() if name not in ("n_pairs", "wins")}
        pairs = "; ".join(", ".join(pair) for pair in comparison.pairs)
        stream.write("; ".join(filter(None, [comparison.group, f"pair {pairs}"])) + "\n")
        stream.writelines(f"{line}\n" for line in table_lines(rows, titles))
        stream.write("\n")
    said = "less M: mean difference in r to M on the same genes; p: two-sided, after Holm's correction\n"
    _legend([row for rows in tables for row in rows], "mean_", said, stream)


def _by_group(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    return groups


def table_lines(rows: Sequence[Row], titles: Mapping[str, str]) -> Iterator[str]:
    """Lines of the columns of `titles` in which anything is known."""
    kept = [name for name in titles if any(row[name] not in (None, "") for row in rows)]
    cells = [[_cell(row, name) for name in kept] for row in rows]
    return aligned([[titles[name] for name in kept], *cells])


def _cell(row: Row, name: str) -> str:
    value = row[name]
    if value in (None, ""):
        return ""
    if name == "p_holm":
        return f"{value:.2g}"
    shown = f"{value:.3f}" if isinstance(value, float) else str(value)
    low, high = (row.get(f"{name}_{end}") for end in ("low", "high"))
    return f"{shown} [{low:.3f}, {high:.3f}]" if name in _WITH_ENDS and low is not None else shown


def _legend(rows: Sequence[Row], prefix: str, more: str, stream: IO[str]) -> None:
    """Say what the columns of metrics are, how intervals are made, and where the rest is."""
    shown = [one for one in _SHOWN if any(row[f"{prefix}{one.name}"] is not None for row in rows)]
    stream.writelines(f"{line}\n" for line in aligned([[one.title, one.summary] for one in shown]))
    blocks = f"blocks of {BLOCK_SIZE // 10**6} Mb"
    stream.write(f"[95%]: interval of a bootstrap that draws the test genes in {blocks}\n{more}{_MORE}\n")

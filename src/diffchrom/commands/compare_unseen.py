"""``compare --unseen``: how much worse methods are in cells that they have not seen."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from diffchrom.commands.compare_view import for_people, table_lines, write_rows
from diffchrom.commands.console import Console
from diffchrom.sweeps.plots import plot_unseen
from diffchrom.sweeps.results import find_runs
from diffchrom.sweeps.unseen import COLUMNS, require_unseen

#: Titles of `COLUMNS` for people.
_TITLES = ("left out", "pairs", "method", "cases", "r", "lowest", "highest", "own pair", "share", "coverage")
_LEGEND = """
r: mean over cases (pairs that a run is judged on), lowest and highest; own pair: r of models of the
pairs themselves, the ceiling; share: mean of r / own pair; coverage: of 90% intervals.
Kinds of pairs are never averaged together.
"""


def print_unseen(
    paths: Sequence[Path], plot: Path | None, output: Path, json: bool, console: Console
) -> None:
    """Print a row a method and kind of pair of the runs in `paths`, and draw them."""
    cells = require_unseen(find_runs(paths, console))
    if plot is not None:
        plot_unseen(cells, plot)
    rows = [dict(zip(COLUMNS, one.row(), strict=True)) for one in cells]
    if not for_people(output, json):
        write_rows(COLUMNS, rows, output, json)
        return
    lines = table_lines(rows, dict(zip(COLUMNS, _TITLES, strict=True)))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.write(_LEGEND)

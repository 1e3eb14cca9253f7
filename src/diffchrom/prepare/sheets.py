"""Sample sheets as tables, and diffchrom's own; `pipelines` and `encode` know those of others."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffchrom.errors import InputError, for_each
from diffchrom.files.text import guess_delimiter, peek_lines, table_rows
from diffchrom.files.whole import require_file
from diffchrom.prepare.samples import Track, check_tracks
from diffchrom.prepare.track_names import UNITS, guess_unit

SHEET_REQUIRED = ("cell", "mark", "path")
SHEET_OPTIONAL = ("replicate", "scale", "control", "unit")


@dataclass(frozen=True)
class SheetRow:
    """One line: its number, and its values by lower-case column."""

    line: int
    values: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A sample sheet as it stands in its file; ``NA`` is empty."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[SheetRow, ...]


def read_table(path: str | Path) -> Table:
    """Read a table with a header, with tabs or commas between columns, without lines that start with ``#``.

    Raises
    ------
    InputError
        When a line has more columns than the header, or a column stands twice.
    """
    sheet = require_file(path, "sample sheet")
    head, lines = peek_lines(sheet, "sample sheet", 5)
    columns: list[str] = []
    rows: list[SheetRow] = []
    for number, row in table_rows(sheet, lines, guess_delimiter([line for _, line in head])):
        fields = [value.strip() for value in row]
        is_header = not columns and fields[0].lstrip("# ").lower() in SHEET_REQUIRED
        if fields[0].startswith("#") and not is_header:
            continue
        if not columns:
            columns = [name.lstrip("# ").lower() for name in fields]
            if len(set(columns)) != len(columns):
                raise InputError(f"{sheet}:{number}: the header has one twice; name each column once")
            continue
        if len(fields) > len(columns):
            raise InputError(f"{sheet}:{number}: {len(fields)} columns, the header has {len(columns)}")
        fields += [""] * (len(columns) - len(fields))
        values = ["" if value == "NA" else value for value in fields]
        rows.append(SheetRow(number, dict(zip(columns, values, strict=True))))
    if not rows and set(SHEET_REQUIRED) >= set(columns):
        raise InputError(f"{sheet}: lists no tracks; give the columns {' '.join(SHEET_REQUIRED)}")
    return Table(sheet, tuple(columns), tuple(rows))


def own_tracks(table: Table) -> tuple[Track, ...]:
    """Return the tracks of diffchrom's own sample sheet: one a row.

    Columns are cell, mark and path, and optionally replicate, scale, control and unit. Relative paths are
    looked up from the sheet's folder. Empty cells and ``NA`` take the default.
    """
    missing = [name for name in SHEET_REQUIRED if name not in table.columns]
    unknown = [name for name in table.columns if name not in SHEET_REQUIRED + SHEET_OPTIONAL]
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}"
        raise InputError(
            f"{table.path}:1: the header {wrong}; a sample sheet has the columns {' '.join(SHEET_REQUIRED)} "
            f"and may have {' '.join(SHEET_OPTIONAL)}, or is that of nf-core/chipseq, nf-core/cutandrun or "
            "ENCODE"
        )
    if not table.rows:
        raise InputError(f"{table.path}: lists no tracks; give the columns {' '.join(SHEET_REQUIRED)}")
    tracks = for_each(lambda row: _own_track(table.path, row), table.rows)
    return check_tracks(tracks, table.path.name)


def _scale(where: str, text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"{where}: scale is {text!r:.60}, not a positive number")
    return scale


def check_name(where: str, column: str, value: str) -> None:
    """Refuse a cell or mark that cannot be the name of a group in a store."""
    if not value:
        raise InputError(f"{where}: column {column} is empty")
    if not value.isprintable():
        raise InputError(f"{where}: {column} {value!r:.60} has characters that cannot be printed; use a name")
    if "/" in value:
        raise InputError(f"{where}: {column} {value!r:.60} has a / in it; use another name")


def _own_track(sheet: Path, row: SheetRow) -> Track:
    where, values = f"{sheet}:{row.line}", row.values
    for column in ("cell", "mark"):
        check_name(where, column, values[column])
    if not values["path"]:
        raise InputError(f"{where}: column path is empty")
    unit = values.get("unit", "")
    if unit and unit not in UNITS:
        raise InputError(f"{where}: unit is {unit!r:.60}, not one of {', '.join(UNITS)}")
    path = sheet.parent / values["path"]
    control = sheet.parent / values["control"] if values.get("control") else None
    for file in (path, control):
        if file is not None and not os.path.exists(file):  # noqa: PTH110 - False for impossible names too
            raise InputError(
                f"{where}: {file!s:.200}: no such file (paths are relative to the sheet's folder)"
            )
    return Track(
        cell=values["cell"],
        mark=values["mark"],
        path=path,
        replicate=values.get("replicate", ""),
        scale=_scale(where, values["scale"]) if values.get("scale") else 1.0,
        control=control,
        unit=unit or guess_unit(path.name),
    )

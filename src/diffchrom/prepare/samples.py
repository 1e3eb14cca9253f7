"""Tracks: which file is which mark of which cell, and what contradicts itself among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffchrom.errors import InputError
from diffchrom.prepare.track_names import MARK, NamedFile, numbered, without_replicate

WAY_OUT = (
    "say it in a table with the columns cell, mark and path: `samples=sheet.tsv` (`write_samples` drafts one)"
)


@dataclass(frozen=True)
class Track:
    """One file of one mark in one cell.

    Attributes
    ----------
    replicate : empty where a track has no replicates.
    scale : factor its values are multiplied by (spike-in or depth).
    control : track to subtract or divide by, or None.
    unit : one of `UNITS`, or empty where its name does not tell.
    """

    cell: str
    mark: str
    path: Path
    replicate: str = ""
    scale: float = 1.0
    control: Path | None = None
    unit: str = ""


def refuse_unknown(files: Sequence[NamedFile]) -> None:
    """Raise one InputError that names every file that is not understood, and why; nothing where all are."""
    unknown = [
        f"{file.path}: {file.why or f'is no mark but {file.kind}'}" for file in files if file.kind != MARK
    ]
    if unknown:
        raise InputError(f"{'; '.join(unknown)}; {WAY_OUT}")


def named_tracks(files: Sequence[NamedFile]) -> tuple[Track, ...]:
    """Return the tracks of files whose names say mark and cell.

    ``H3K4me3_wt_1.bw`` is replicate 1 of wt where there is a wt_2, too, else of the cell wt_1.
    """
    numbers: dict[str, set[int]] = {}
    split = {file.path: numbered(file.cell) for file in files if _ends_in_cell(file)}
    for parts in split.values():
        if parts:
            numbers.setdefault(parts[0], set()).add(int(parts[1]))
    tracks = []
    for file in files:
        cell, replicate = file.cell, file.replicate
        parts = split.get(file.path)
        if parts and not replicate and len(numbers[parts[0]]) > 1:
            cell, replicate = parts[0], str(int(parts[1]))
        tracks.append(Track(cell, file.mark, file.path, replicate, unit=file.unit))
    return tuple(tracks)


def _ends_in_cell(file: NamedFile) -> bool:
    return file.path.name.split(".", 1)[0].endswith(file.cell)


def check_tracks(tracks: Sequence[Track], where: str = "") -> tuple[Track, ...]:
    """Return `tracks` when each (cell, mark, replicate) and each path stands once; else InputError."""
    seen: dict[tuple[str, str, str], Track] = {}
    paths: dict[Path, Track] = {}
    for track in tracks:
        key = (track.cell, track.mark, track.replicate)
        other = seen.setdefault(key, track)
        if other is not track:
            hint = f"number them in the column replicate of {where}" if where else WAY_OUT
            raise InputError(
                f"{track.path} and {other.path}: both are {track.mark} of {track.cell}"
                f"{f' replicate {track.replicate}' if track.replicate else ''}; {hint}"
            )
        twin = paths.setdefault(track.path.absolute(), track)
        if twin is not track:
            raise InputError(
                f"{track.path}: given twice, as {twin.mark} of {twin.cell} and as "
                f"{track.mark} of {track.cell}"
            )
    groups: dict[tuple[str, str], set[str]] = {}
    for track in tracks:
        groups.setdefault((track.cell, track.mark), set()).add(track.replicate)
    for (cell, mark), replicates in groups.items():
        if len(replicates) > 1 and "" in replicates:
            raise InputError(
                f"{mark} of {cell}: one file without a replicate stands beside replicates "
                f"{', '.join(sorted(replicates - {''}))}; is it their merge? leave one or the other out, or "
                f"{WAY_OUT}"
            )
    return tuple(tracks)


def alike_cells(cells: Iterable[str]) -> list[tuple[str, ...]]:
    """Return groups of cells whose names differ only by what may be the number of a replicate."""
    groups: dict[str, list[str]] = {}
    for cell in dict.fromkeys(cells):
        groups.setdefault(without_replicate(cell), []).append(cell)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def grid(tracks: Sequence[Track]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Lay tracks out as a cell x mark table.

    Returns
    -------
    (header, rows)
        The header is ``cell`` and the marks; each row a cell and its files' names, empty where it has none.
    """
    marks = tuple(dict.fromkeys(track.mark for track in tracks))
    rows = []
    for cell in dict.fromkeys(track.cell for track in tracks):
        names = {
            mark: " + ".join(t.path.name for t in tracks if (t.cell, t.mark) == (cell, mark))
            for mark in marks
        }
        rows.append((cell, *(names[mark] for mark in marks)))
    return ("cell", *marks), rows

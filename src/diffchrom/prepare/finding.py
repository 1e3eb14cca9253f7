"""Tracks of a `prepare`: folders opened, sheets joined, controls matched, and what is no mark left out."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from diffchrom.errors import InputError, OutputError, UsageError, for_each
from diffchrom.files.whole import output_text, require_file
from diffchrom.genome.ids import examples
from diffchrom.prepare.encode import encode_tracks, is_encode
from diffchrom.prepare.pipelines import PIPELINES, Sheet, pipeline_tracks, recognise
from diffchrom.prepare.request import PrepareRequest
from diffchrom.prepare.samples import Track, alike_cells, check_tracks, grid, named_tracks, refuse_unknown
from diffchrom.prepare.sheets import SHEET_OPTIONAL, SHEET_REQUIRED, own_tracks, read_table
from diffchrom.prepare.summary import Summary
from diffchrom.prepare.track_names import CONTROL, MARK, RNA, UNKNOWN, NamedFile, numbered, understand
from diffchrom.progress import SILENT, Reporter
from diffchrom.signal.bins import track_chroms
from diffchrom.signal.reads import reads_kind

_BIGWIG_ENDINGS = (".bigwig", ".bw")
#: What names a control that serves all cells: ``igg_ctrl_R1.bigWig``.
_SHARED = ("", "ctrl", "control", "ctl")


def find_tracks(request: PrepareRequest, summary: Summary) -> tuple[Track, ...]:
    """Understand all tracks, check that their files are there, and show the cell x mark table."""
    bigwigs = open_folders(request.bigwigs, summary)
    tracks, controls, used = _sheet_tracks(request, bigwigs, summary)
    files = [understand(path) for path in (*(() if used else bigwigs), *request.reads)]
    refuse_unknown([file for file in files if file.kind == UNKNOWN])
    _tell_left_out(files, RNA, "RNA, which is no mark (expression goes to `expression`)", summary)
    named = named_tracks([file for file in files if file.kind == MARK])
    controls = {**match_controls(named, files), **controls}
    tracks = check_tracks([*named, *tracks])
    tracks = _with_controls(tracks, controls, files, request.named_controls, summary)
    _check_files(tracks, bigwigs, request.reads)
    for group in alike_cells(track.cell for track in tracks):
        summary.warn(
            f"cells {' and '.join(group)} differ only by what may be the number of a replicate; if they are "
            "replicates of one cell, say so in the column replicate of a sheet (`write_samples` drafts one)"
        )
    if tracks:
        header, rows = grid(tracks)
        summary.table(header, rows)
    return tracks


def open_folders(paths: Iterable[Path], summary: Summary) -> tuple[Path, ...]:
    """Put in place of each folder the bigWigs in it.

    These are where one of `pipelines.PIPELINES` leaves them, else those of the folder itself, else those of
    the folders in it.

    Raises
    ------
    InputError
        A folder without bigWigs.
    """
    files: dict[Path, None] = {}
    for path in paths:
        inside = _bigwigs_of(path) if path.is_dir() else [path]
        if not inside:
            places = ", ".join(dict.fromkeys(one.folder for one in PIPELINES))
            raise InputError(f"{path}: a folder without bigWigs (looked in it, its folders, and {places})")
        if path.is_dir():
            summary.note(f"{path}: {len(inside)} bigWigs")
        files.update(dict.fromkeys(inside))
    return tuple(files)


def _bigwigs_of(folder: Path) -> list[Path]:
    patterns = [*dict.fromkeys(one.folder for one in PIPELINES), ".", "*"]
    for pattern in patterns:
        inside = [folder] if pattern == "." else sorted(folder.glob(pattern))
        listed = [path for place in inside if place.is_dir() for path in sorted(place.iterdir())]
        files = [path for path in listed if path.suffix.lower() in _BIGWIG_ENDINGS and path.is_file()]
        if files:
            return files
    return []


def _sheet_tracks(
    request: PrepareRequest, bigwigs: Sequence[Path], summary: Summary
) -> tuple[tuple[Track, ...], Mapping[Path, Path], bool]:
    """Tracks of the sample sheet, the controls that it names, and whether it speaks for the bigWigs given."""
    if request.samples is None:
        return (), {}, False
    table = read_table(request.samples)
    sheet: Sheet | None = None
    pipeline = recognise(table)
    if pipeline is not None:
        if not bigwigs:
            raise UsageError(
                f"{table.path} is a sheet of {pipeline.name}, which names no bigWigs; give its folder of "
                "results with `bigwigs`"
            )
        sheet = pipeline_tracks(table, pipeline, bigwigs)
    elif is_encode(table):
        sheet = encode_tracks(table, bigwigs, request.track_options.unit)
    if sheet is None:
        return own_tracks(table), {}, False
    summary.note(f"{table.path}: a sheet of {sheet.pipeline}, {len(sheet.tracks)} tracks")
    for note in sheet.notes:
        summary.note(note)
    return sheet.tracks, sheet.controls, True


def match_controls(tracks: Sequence[Track], files: Sequence[NamedFile]) -> dict[Path, Path]:
    """Find each track's control by name: of its cell and replicate, else of its cell, else one for all."""
    controls = [file for file in files if file.kind == CONTROL]
    cells = {track.cell for track in tracks}
    matched = {}
    for track in tracks:
        own = [file for file in controls if _control_cell(file, cells) == track.cell]
        shared = [file for file in controls if file.cell not in cells and file.cell.lower() in _SHARED]
        for candidates in (own, shared):
            if candidates:
                same = [
                    file for file in candidates if track.replicate and _number(file, cells) == track.replicate
                ]
                matched[track.path] = min(
                    same or candidates, key=lambda file: (_number(file, cells), file.path)
                ).path
                break
    return matched


def _control_cell(file: NamedFile, cells: set[str]) -> str:
    parts = numbered(file.cell)
    return parts[0] if parts and file.cell not in cells and parts[0] in cells else file.cell


def _number(file: NamedFile, cells: set[str]) -> str:
    parts = numbered(file.cell)
    return file.replicate or (parts[1] if parts and file.cell not in cells else "")


def _with_controls(
    tracks: tuple[Track, ...],
    controls: Mapping[Path, Path],
    files: Sequence[NamedFile],
    asked: bool,
    summary: Summary,
) -> tuple[Track, ...]:
    """Give tracks the controls that are known by name, where they are asked for; say what is left out."""
    if asked:
        used = set(controls.values())
        unused = [file for file in files if file.path not in used]
        _tell_left_out(unused, CONTROL, "controls of no track here", summary)
        lacking = [track.path.name for track in tracks if not (track.control or track.path in controls)]
        if lacking:
            summary.warn(f"{len(lacking)} tracks have no control, and are read without: {examples(lacking)}")
        return tuple(replace(track, control=track.control or controls.get(track.path)) for track in tracks)
    how = "controls; `control=subtract` (or log-ratio) uses them"
    if not _tell_left_out(files, CONTROL, how, summary) and controls:
        summary.note(
            f"controls of {len(controls)} tracks are known and left out; `control=subtract` (or log-ratio) "
            "uses them"
        )
    return tracks


def _tell_left_out(files: Sequence[NamedFile], kind: str, why: str, summary: Summary) -> bool:
    names = [file.path.name for file in files if file.kind == kind]
    if names:
        summary.note(f"{len(names)} files are left out as {why}: {examples(names, 10)}")
    return bool(names)


def _check_files(tracks: Sequence[Track], bigwigs: Sequence[Path], reads: Sequence[Path]) -> None:
    """Look at every file that is to be read, so that all that are no bigWigs and no reads show at once."""
    for_each(lambda track: require_file(track.path, "track"), tracks)
    used = {path for track in tracks for path in (track.path, track.control)}
    for_each(reads_kind, [path for path in reads if path in used])
    for_each(track_chroms, [path for path in bigwigs if path in used])


def draft_samples(request: PrepareRequest, sheet: Path, reporter: Reporter = SILENT) -> None:
    """Write a sample sheet of the tracks named, for a person to fill in and correct.

    What is not understood stands with an empty cell or mark; RNA and controls that are not asked for stand as
    comments.

    Raises
    ------
    UsageError
        When no tracks are given.
    OutputError
        When the file is there already: it may have been edited.
    """
    if not (request.bigwigs or request.reads or request.samples):
        raise UsageError("`write_samples` drafts a sheet of tracks; give `bigwigs` or `reads`")
    if sheet.exists() and not request.replace:
        raise OutputError(f"{sheet}: exists already; give another name, or `replace`")
    summary = Summary(reporter)
    bigwigs = open_folders(request.bigwigs, summary)
    tracks, controls, used = _sheet_tracks(request, bigwigs, summary)
    files = [understand(path) for path in (*(() if used else bigwigs), *request.reads)]
    named = (*named_tracks([file for file in files if file.kind == MARK]), *tracks)
    controls = {**match_controls(named, files), **controls} if request.named_controls else {}
    rows = [replace(track, control=track.control or controls.get(track.path)) for track in named]
    unknown = [file for file in files if file.kind == UNKNOWN]
    rows += [Track(file.cell, file.mark, file.path, file.replicate, unit=file.unit) for file in unknown]
    left_out = [file for file in files if file.kind in (RNA, CONTROL) and file.path not in controls.values()]
    names = (*SHEET_REQUIRED, *SHEET_OPTIONAL)
    with output_text(sheet) as stream:
        table = csv.writer(
            stream, delimiter="\t", lineterminator="\n"
        )  # a file's name may have quotes and tabs
        table.writerow(names)
        table.writerows([_field(track, name, sheet) for name in names] for track in rows)
        for file in left_out:
            stream.write(f"# {file.kind}: {' '.join(_relative(file.path, sheet).split())}\n")
    for file in unknown:
        summary.warn(f"{file.path}: {file.why}")
    reporter.note(
        f"{sheet}: {len(rows)} tracks, {len(unknown)} of them to be filled in; edit it and give it as "
        f"`samples={sheet}`"
    )


def _field(track: Track, name: str, sheet: Path) -> str:
    value = getattr(track, name)
    if isinstance(value, Path):
        return _relative(value, sheet)
    return "" if value is None or (name == "scale" and value == 1) else str(value)


def _relative(path: Path, sheet: Path) -> str:
    """Return a path as a sheet has it: from the sheet's folder where it lies in it, else as it is."""
    absolute, folder = Path(os.path.abspath(path)), Path(os.path.abspath(sheet)).parent  # noqa: PTH100 - no links
    return str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)

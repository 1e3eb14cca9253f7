"""ENCODE's ``metadata.tsv``: which downloaded bigWig is which mark of which cell.

The columns are those of ENCODE's batch download (https://www.encodeproject.org/help/batch-download/). Its
files are named by accession alone (``ENCFF123ABC.bigWig``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffchrom.errors import InputError
from diffchrom.genome.ids import examples
from diffchrom.prepare.pipelines import Sheet
from diffchrom.prepare.samples import Track, check_tracks
from diffchrom.prepare.sheets import SheetRow, Table, check_name

#: Columns that tell the table, in lower case.
HEADER = frozenset(
    {"file accession", "file format", "output type", "experiment target", "biosample term name"}
)
#: Output types that are tracks, the preferred first, and their units.
OUTPUTS: Mapping[str, str] = {
    "fold change over control": "fold-change",
    "signal p-value": "pvalue",
    "read-depth normalized signal": "coverage",
    "signal of unique reads": "coverage",
    "raw signal": "coverage",
    "signal": "",
}


def is_encode(table: Table) -> bool:
    """Tell whether a table is ENCODE's ``metadata.tsv``."""
    return set(table.columns) >= HEADER


def encode_tracks(table: Table, files: Sequence[Path], unit: str = "") -> Sheet:
    """Join ENCODE's ``metadata.tsv`` and the files that were downloaded, beside it or among `files`.

    Of several outputs of one experiment the first of `OUTPUTS` is taken (or that of `unit`), and of
    replicates and their pool the pool; what is left out is said.

    Raises
    ------
    InputError
        When none of its files is here, or they are of several assemblies.
    """
    rows, present = _present(table, files)
    notes, left_out = [], []
    if len(present) < len(rows):
        notes.append(f"{len(rows) - len(present)} of {len(rows)} bigWigs of {table.path.name} are not here")
    experiments: dict[tuple[str, str, str], list[Track]] = {}
    outputs: dict[Path, int] = {}
    for row, path in present:
        output = row.values["output type"].lower()
        if not row.values["experiment target"] or output not in OUTPUTS:
            left_out.append(f"{path.name} ({row.values.get('assay') or output})")
            continue
        track = _track(table.path, row, path)
        outputs[path] = -1 if unit and track.unit == unit else list(OUTPUTS).index(output)
        key = (track.cell, track.mark, row.values.get("experiment accession", ""))
        experiments.setdefault(key, []).append(track)
    tracks: list[Track] = []
    for candidates in experiments.values():
        best = min(outputs[track.path] for track in candidates)
        chosen = [track for track in candidates if outputs[track.path] == best]
        taken = [track for track in chosen if not track.replicate] or chosen
        tracks += taken
        left_out += [f"{t.path.name} (another output or replicate)" for t in candidates if t not in taken]
    if left_out:
        notes.append(f"{len(left_out)} files of {table.path.name} are left out: {examples(left_out)}")
    if not tracks:
        raise InputError(
            f"{table.path}: none of its {len(rows)} bigWigs is a track that is here; download them beside "
            "it, or give their folder with `bigwigs`"
        )
    return Sheet("ENCODE", check_tracks(tracks, table.path.name), {}, tuple(notes))


def _present(table: Table, files: Sequence[Path]) -> tuple[list[SheetRow], list[tuple[SheetRow, Path]]]:
    """Rows of bigWigs, and those of them whose file is here."""
    beside = [path for path in table.path.parent.iterdir() if path.suffix.lower() == ".bigwig"]
    here = {path.name.split(".", 1)[0]: path for path in (*sorted(beside), *files)}
    rows = [row for row in table.rows if row.values["file format"].lower() == "bigwig"]
    named = [(row, here.get(row.values["file accession"])) for row in rows]
    present = [(row, path) for row, path in named if path is not None]
    assemblies = sorted({row.values.get("file assembly", "") for row, _ in present} - {""})
    if len(assemblies) > 1:
        raise InputError(
            f"{table.path}: its files here are of {' and '.join(assemblies)}; keep those of one assembly"
        )
    return rows, present


def _track(sheet: Path, row: SheetRow, path: Path) -> Track:
    """Track of a row: of its one replicate, or the pool of several."""
    cell = row.values["biosample term name"].replace(" ", "_")
    mark = row.values["experiment target"].rsplit("-", 1)[0]
    check_name(f"{sheet}:{row.line}", "biosample term name", cell)
    check_name(f"{sheet}:{row.line}", "experiment target", mark)
    replicates = re.findall(r"\d+", row.values.get("biological replicate(s)", ""))
    replicate = replicates[0] if len(replicates) == 1 else ""
    return Track(cell, mark, path, replicate, unit=OUTPUTS[row.values["output type"].lower()])

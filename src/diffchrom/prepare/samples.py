"""Which cell and which mark a track is, from its path or from a sample sheet.

A path is understood only where it can mean one thing; everything else is refused, with ``--samples`` as the
way out: a wrong guess would train a model on swapped tracks without a sound.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffchrom.errors import InputError
from diffchrom.files.text import guess_delimiter, peek_lines, table_rows, words
from diffchrom.files.whole import require_file

SHEET_REQUIRED = ("cell", "mark", "path")
SHEET_OPTIONAL = ("replicate", "scale", "control", "unit")
WAY_OUT = "say it in a table with the columns cell, mark and path: --samples sheet.tsv"

#: Words of file names that tell a track's unit (Roadmap, ENCODE, MACS, deepTools), and the unit.
UNIT_WORDS: Mapping[str, str] = {
    "fc": "fold-change",
    "fe": "fold-change",
    "foldchange": "fold-change",
    "pval": "pvalue",
    "pvalue": "pvalue",
    "ppois": "pvalue",
    "coverage": "coverage",
    "cov": "coverage",
    "rpkm": "coverage",
    "cpm": "coverage",
    "bpm": "coverage",
    "rpgc": "coverage",
    "rpm": "coverage",
    "counts": "counts",
    "reads": "counts",
}
UNITS = ("fold-change", "pvalue", "coverage", "counts")

# Words that say how a file was made, not which cell or mark it is.
_NOISE = words(
    """bigwig bw bam bed tagalign gz signal imputed consolidated pilot seglevel filtered sorted dedup rmdup
    nodup norm normalized normalised merged pooled bdg hg18 hg19 hg38 grch37 grch38 mm9 mm10 mm39 chip
    chipseq cutandtag cutnrun cuttag cutandrun uniq"""
)
# Before the mark these may well name a condition; after it they are what MACS and Roadmap write.
_NOISE_AFTER = _NOISE | words("treat pileup control lambda narrow broad p q final unique log10 seq")
_ACCESSION = re.compile(r"^(?:GSM|GSE|SRR|SRX|ERR|DRR|ENCFF|ENCSR)[0-9A-Z]{3,}$", re.IGNORECASE)
# After a mark, and where something else names the cell: E116-H3K4me3_r2.bw, E116-H3K4me3-2.bw.
_SHORT_REPLICATE = re.compile(r"^r?(\d{1,2})$", re.IGNORECASE)
_REPLICATE = re.compile(r"^(?:rep|replicate|biorep|br)[._]?(\d{1,3})$", re.IGNORECASE)
_HISTONE = re.compile(
    r"(?<![A-Za-z0-9])(H(?:1|2A|2B|3|4)(?:\.[1-4])?)([KRST]\d{1,3})(me[1-3][as]?|ac|ub1?|ph|cr|bhb|la)(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_VARIANT = re.compile(
    r"(?<![A-Za-z0-9])(H2A\.?Z|H3\.3|DNase|ATAC|CTCF|POLR2A|Pol2|EP300|RAD21)(?![A-Za-z0-9])", re.IGNORECASE
)
_VARIANT_NAMES = {"h2az": "H2A.Z", "h2a.z": "H2A.Z", "dnase": "DNase", "pol2": "Pol2"}
_GENERIC_FOLDERS = words(
    """data bigwig bigwigs bw tracks signal chip chipseq results output out files download downloads tmp"""
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


def _mark_spelling(match: re.Match[str]) -> str:
    if match.re is _HISTONE:
        return match[1].upper() + match[2].upper() + match[3].lower()
    return _VARIANT_NAMES.get(match[0].lower(), match[0].upper())


def find_marks(text: str) -> list[tuple[str, int, int]]:
    """Return (mark in its standard spelling, start, end) of each histone mark or factor named in `text`."""
    matches = list(_HISTONE.finditer(text))
    spans = [match.span() for match in matches]
    for match in _VARIANT.finditer(text):
        if not any(start <= match.start() < end for start, end in spans):
            matches.append(match)
    matches.sort(key=lambda match: match.start())
    return [(_mark_spelling(match), *match.span()) for match in matches]


def guess_unit(name: str) -> str:
    """Return the unit that a file's name tells, empty when it tells none or two."""
    text = re.sub(r"fold[._-]?(?:change|enrichment)", "foldchange", name.lower())
    units = {UNIT_WORDS[word] for word in re.split(r"[^a-z0-9]+", text) if word in UNIT_WORDS}
    return units.pop() if len(units) == 1 else ""


def _is_noise(word: str, noise: frozenset[str]) -> bool:
    return word.lower() in noise or word.lower() in UNIT_WORDS or bool(_ACCESSION.match(word))


def _replicates(text: str) -> tuple[str, str]:
    """Take ``rep1`` and the like out of `text`; return what is left and the replicates found."""
    found: list[str] = []

    def note(match: re.Match[str]) -> str:
        replicate = _REPLICATE.match(match[0])
        if replicate:
            found.append(replicate[1])
            return ""
        return match[0]

    left = re.sub(r"[A-Za-z0-9]+", note, text)
    return left, ",".join(dict.fromkeys(found))


def _cell_name(text: str, noise: frozenset[str] = _NOISE) -> str:
    """Return `text` without separators at its ends and without words that name no cell."""
    words = re.split(r"([-_. ]+)", text.strip("-_. "))
    kept = [(separator, word) for separator, word in zip(["", *words[1::2]], words[::2], strict=True)]
    kept = [(separator, word) for separator, word in kept if word and not _is_noise(word, noise)]
    return "".join(("" if i == 0 else separator) + word for i, (separator, word) in enumerate(kept))


def _after_mark(text: str) -> str:
    """Return what may be a cell's name in the text after the mark, up to the first dot."""
    # Roadmap, ENCODE and MACS put what a file is after a dot: E003-H3K27me3.pilot.pval.bigwig.
    return _cell_name(text.split(".", 1)[0], _NOISE_AFTER)


def _refuse(path: Path, why: str) -> InputError:
    return InputError(f"{path}: {why}; {WAY_OUT}")


def guess_track(path: str | Path) -> Track:
    """Understand one path.

    Examples are ``E116-H3K4me3.fc.signal.bigwig``, ``E116/H3K4me3.bw`` and ``E116_H3K4me3_rep1.bw``.

    Raises
    ------
    InputError
        When the path names no mark, several marks, no cell, or what may be two cells.
    """
    path = Path(path)
    name, replicate = _replicates(path.name)
    marks = find_marks(name)
    folder = path.parent.name
    in_folder = find_marks(folder)
    if len({mark for mark, _, _ in marks}) > 1:
        raise _refuse(path, f"names {len(marks)} marks ({', '.join(mark for mark, _, _ in marks)})")
    if marks:
        mark, start, end = marks[0][0], marks[0][1], marks[-1][2]
        before, after = _cell_name(name[:start]), _after_mark(name[end:])
        above, more = "", ""
        if folder and not in_folder and folder.lower() not in _GENERIC_FOLDERS:
            above, more = _replicates(folder)
            above = _cell_name(above)
        short = _SHORT_REPLICATE.match(after)
        if short and not replicate and (before or above):
            replicate, after = short[1], ""
        if before and after:
            raise _refuse(path, f"cannot tell whether {before} or {after} is the cell")
        cell = before or after
        if not cell:
            cell, replicate = above, replicate or more
    elif len(in_folder) == 1:
        mark = in_folder[0][0]
        cell = _cell_name(name.split(".", 1)[0])
    else:
        raise _refuse(path, "names no histone mark that is known")
    if not cell:
        raise _refuse(path, f"names the mark {mark} but no cell")
    return Track(cell, mark, path, replicate, unit=guess_unit(path.name))


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


def guess_tracks(paths: Iterable[str | Path]) -> tuple[Track, ...]:
    """Understand many paths (`guess_track`), refusing two files for one cell, mark and replicate."""
    return check_tracks([guess_track(path) for path in paths])


def _scale(where: str, text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"{where}: scale is {text!r:.60}, not a positive number")
    return scale


def _sheet_row(sheet: Path, number: int, values: Mapping[str, str]) -> Track:
    where = f"{sheet}:{number}"
    for column in SHEET_REQUIRED:
        if not values[column]:
            raise InputError(f"{where}: column {column} is empty")
    for column in ("cell", "mark"):
        if "/" in values[column]:
            raise InputError(f"{where}: {column} {values[column]!r:.60} has a / in it; use another name")
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


def read_sample_sheet(path: str | Path) -> tuple[Track, ...]:
    """Read a sample sheet: a header, then one track a line, with tabs or commas between columns.

    Columns are cell, mark and path, and optionally replicate, scale, control and unit. Relative paths are
    looked up from the sheet's folder. Empty cells and ``NA`` take the default.
    """
    sheet = require_file(path, "sample sheet")
    head, lines = peek_lines(sheet, "sample sheet", 5)
    columns: list[str] = []
    tracks: list[Track] = []
    for number, row in table_rows(sheet, lines, guess_delimiter([line for _, line in head])):
        fields = [value.strip() for value in row]
        if fields[0].startswith("#") and not (
            not columns and fields[0].lstrip("# ").lower() in SHEET_REQUIRED
        ):
            continue
        if not columns:
            columns = [name.lstrip("# ").lower() for name in fields]
            missing = [name for name in SHEET_REQUIRED if name not in columns]
            unknown = [name for name in columns if name not in SHEET_REQUIRED + SHEET_OPTIONAL]
            if missing or unknown or len(set(columns)) != len(columns):
                wrong = (
                    f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown) or 'one twice'}"
                )
                raise InputError(
                    f"{sheet}:{number}: the header {wrong}; a sample sheet has the columns "
                    f"{' '.join(SHEET_REQUIRED)} and may have {' '.join(SHEET_OPTIONAL)}"
                )
            continue
        if len(fields) > len(columns):
            raise InputError(f"{sheet}:{number}: {len(fields)} columns, the header has {len(columns)}")
        fields += [""] * (len(columns) - len(fields))
        values = {name: "" if value == "NA" else value for name, value in zip(columns, fields, strict=True)}
        tracks.append(_sheet_row(sheet, number, values))
    if not tracks:
        raise InputError(f"{sheet}: lists no tracks; give the columns {' '.join(SHEET_REQUIRED)}")
    return check_tracks(tracks, sheet.name)


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

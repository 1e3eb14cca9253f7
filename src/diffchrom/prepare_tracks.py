"""Tracks of a `prepare`: found, checked, read in worker processes into parts beside the store."""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.config import PREPARE
from diffchrom.errors import DiffchromError, InputError, StoreError
from diffchrom.files import require_file
from diffchrom.genes import Genes, Window
from diffchrom.samples import Track, check_tracks, grid, guess_tracks, read_sample_sheet
from diffchrom.signal import track_chroms
from diffchrom.store import read_part
from diffchrom.summary import Summary
from diffchrom.track_reading import (
    CONTROL_MODES,
    ReadSettings,
    Source,
    TrackReport,
    Windows,
    file_facts,
    settings_digest,
)
from diffchrom.workers import WorkerPool, WorkItem


@dataclass(frozen=True)
class TrackOptions:
    """How tracks are read.

    Attributes
    ----------
    unit : of all tracks, over what their names tell; empty leaves it to the names.
    settings : how reads are counted and controls are used.
    time_limit : seconds a track may take.
    """

    unit: str = ""
    settings: ReadSettings = field(
        default_factory=lambda: ReadSettings(PREPARE.control, PREPARE.count, PREPARE.extend, PREPARE.min_mapq)
    )
    time_limit: float = PREPARE.time_limit


@dataclass(frozen=True)
class Plan:
    """One track of the store to be: its files, and the digest by which an unchanged one is recognised."""

    cell: str
    mark: str
    sources: tuple[Source, ...]
    unit: str
    settings_sha256: str

    @property
    def label(self) -> str:
        """The files, for messages."""
        return " + ".join(source.path for source in self.sources)

    def attrs(self) -> dict[str, Any]:
        """Attributes of the track in the store."""
        facts = [file_facts(source.path) for source in self.sources]
        return {
            "source": "\n".join(source.path for source in self.sources),
            "source_size": np.array([fact["size"] for fact in facts], dtype=np.int64),
            "source_mtime_ns": np.array([fact["mtime_ns"] for fact in facts], dtype=np.int64),
            "replicate": "\n".join(source.replicate for source in self.sources),
            "scale": np.array([source.scale for source in self.sources]),
            "control": "\n".join(source.control.path if source.control else "" for source in self.sources),
            "unit": self.unit,
            "settings_sha256": self.settings_sha256,
        }


@dataclass(frozen=True)
class Part:
    """A track that has been read: where, for which plan, and what was found."""

    plan: Plan
    path: Path


def find_tracks(
    bigwigs: Sequence[Path], reads: Sequence[Path], samples: Path | None, summary: Summary
) -> tuple[Track, ...]:
    """Understand all tracks, check that their files are there, and show the cell x mark table."""
    named = guess_tracks([*bigwigs, *reads])
    tracks = check_tracks([*named, *(read_sample_sheet(samples) if samples else ())])
    for track in tracks:
        require_file(track.path, "track")
    if tracks:
        header, rows = grid(tracks)
        summary.reporter.note("\n".join("\t".join(cell or "-" for cell in row) for row in (header, *rows)))
    return tracks


def is_reads(path: Path) -> bool:
    """Tell reads (BAM, BED, tagAlign) from bigWigs by name."""
    return path.name.lower().removesuffix(".gz").endswith((".bam", ".bed", ".tagalign"))


def _match_chroms(wanted: Sequence[str], sizes: dict[str, int]) -> dict[str, str]:
    """Annotation's chromosome names to the track's, with ``chr`` added or taken away where that is needed."""
    matched = {}
    for name in wanted:
        other = name.removeprefix("chr") if name.startswith("chr") else f"chr{name}"
        found = next((candidate for candidate in (name, other) if candidate in sizes), None)
        if found:
            matched[name] = found
    return matched


def _source(track: Track, chroms: Sequence[str], sizes: dict[str, int], summary: Summary) -> Source:
    kind = "reads" if is_reads(track.path) else "bigwig"
    track_sizes = track_chroms(track.path)
    matched = _match_chroms(chroms, track_sizes)
    if not matched:
        raise InputError(
            f"{track.path}: has none of the annotation's chromosomes ({', '.join(chroms[:3])}, ...); "
            f"it has {', '.join(list(track_sizes)[:3])}, ..."
        )
    for name, theirs in matched.items():
        sizes[name] = max(sizes.get(name, 0), track_sizes[theirs])
    control = None
    if track.control is not None:
        control = _source(replace(track, path=track.control, control=None, scale=1.0), chroms, sizes, summary)
    return Source(str(track.path), kind, matched, track.scale, track.replicate, control)


def plan_tracks(
    tracks: Sequence[Track],
    genes: Genes,
    window: Window,
    around: str,
    options: TrackOptions,
    summary: Summary,
) -> tuple[list[Plan], dict[str, int]]:
    """Group replicates, check every file's structure, match chromosome names, and name units.

    Returns
    -------
    plans : one a (cell, mark).
    sizes : lengths of the annotation's chromosomes, as the tracks tell them.
    """
    if options.settings.control not in CONTROL_MODES:
        raise InputError(f"--control {options.settings.control}: choose {' or '.join(CONTROL_MODES)}")
    chroms = list(dict.fromkeys(genes.chrom.tolist()))
    sizes: dict[str, int] = {}
    groups: dict[tuple[str, str], list[Track]] = defaultdict(list)
    for track in tracks:
        groups[track.cell, track.mark].append(track)
    plans = []
    for (cell, mark), members in groups.items():
        units = {options.unit or track.unit for track in members}
        if len(units) > 1:
            raise InputError(
                f"{members[0].path}: replicates of {mark} of {cell} have different units "
                f"({', '.join(unit or 'unknown' for unit in sorted(units))}); name one with --unit"
            )
        sources = tuple(_source(track, chroms, sizes, summary) for track in members)
        digest = settings_digest(sources, window, around, options.settings)
        plans.append(Plan(cell, mark, sources, units.pop(), digest))
        if len(members) > 1:
            summary.note(f"{cell} {mark}: {len(members)} replicates averaged")
    for unit in dict.fromkeys(plan.unit for plan in plans):
        count = sum(plan.unit == unit for plan in plans)
        told = (
            "said with --unit" if options.unit else "from the file names" if unit else "name it with --unit"
        )
        summary.note(f"unit of {count} tracks: {unit or 'unknown'} ({told})")
    return plans, sizes


def parts_folder(store: Path) -> Path:
    """Return the folder in which parts of a store wait until all have been read."""
    return store.with_name(f".{store.name}.parts")


def remove_parts(folder: Path) -> None:
    """Remove the folder of parts and all in it."""
    shutil.rmtree(folder, ignore_errors=True)


def _is_whole(path: Path) -> bool:
    try:
        read_part(path)
    except StoreError:
        return False
    return True


def read_parts(
    folder: Path,
    plans: Sequence[Plan],
    windows: Windows,
    options: TrackOptions,
    pool: WorkerPool,
    summary: Summary,
    *,
    draft: bool = False,
) -> list[Part]:
    """Read tracks in worker processes; what an earlier `prepare` has left in `folder` is not read again.

    Raises
    ------
    DiffchromError
        That of the first track that failed, after all others have been read and kept.
    """
    digest = windows.digest()
    parts = []
    for plan in plans:
        name = hashlib.sha256(f"{plan.settings_sha256} {digest} {plan.label} {draft}".encode()).hexdigest()[
            :32
        ]
        parts.append(Part(plan, folder / f"{name}.h5"))
    waiting = [part for part in parts if not _is_whole(part.path)]
    if len(waiting) < len(parts):
        summary.note(
            f"{len(parts) - len(waiting)} tracks were read by an earlier prepare that did not finish"
        )
    items = [
        WorkItem(
            part.plan.label,
            "diffchrom.track_reading:read_track",
            {
                "part": part.path,
                "sources": part.plan.sources,
                "windows": windows,
                "settings": options.settings,
                "attrs": part.plan.attrs(),
                "draft": draft,
            },
        )
        for part in waiting
    ]
    failures: list[DiffchromError] = []
    try:
        with summary.reporter.task("reading tracks", len(items)) as task:
            for outcome in pool.run(items, time_limit=options.time_limit):
                part = waiting[outcome.index]
                task.advance(1, f"{part.plan.cell} {part.plan.mark}")
                if outcome.error is not None:
                    failures.append(outcome.error)
                else:
                    _tell(part, outcome.value, len(windows.start), summary)
    finally:
        if folder.is_dir() and not any(folder.glob("*.h5")):
            remove_parts(folder)
    if failures:
        for failure in failures[1:]:
            summary.warn(str(failure))
        raise failures[0]
    return parts


def _tell(part: Part, report: TrackReport, n_windows: int, summary: Summary) -> None:
    plan = part.plan
    if report.clipped:
        summary.note(
            f"{plan.cell} {plan.mark}: {report.clipped} of {n_windows} windows run over a chromosome's end "
            "(0 beyond it)"
        )
    if report.absent:
        summary.note(f"{plan.cell} {plan.mark}: {report.absent} windows on chromosomes that the track lacks")


def take_rows(
    folder: Path, parts: Sequence[Part], kept: npt.NDArray[np.bool_], pool: WorkerPool, summary: Summary
) -> list[Part]:
    """Reduce drafts to the kept genes, compressed as they will stand in the store."""
    chosen = [Part(part.plan, part.path.with_suffix(".kept.h5")) for part in parts]
    items = [
        WorkItem(
            part.plan.label,
            "diffchrom.track_reading:take_part_rows",
            {"source": part.path, "target": target.path, "kept": kept},
        )
        for part, target in zip(parts, chosen, strict=True)
    ]
    with summary.reporter.task("compressing", len(items)) as task:
        for outcome in pool.run(items):
            if outcome.error is not None:
                raise outcome.error
            task.advance()
    return chosen

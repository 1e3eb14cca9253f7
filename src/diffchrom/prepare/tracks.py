"""Tracks of a `prepare`: found, checked, read in worker processes into parts beside the store."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.annotation.chromosomes import Genome, check_genome
from diffchrom.config import PREPARE
from diffchrom.errors import DiffchromError, InputError, OutputError
from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.ids import examples
from diffchrom.genome.regions import REGION_NAMES, TSS, Region, region_of
from diffchrom.prepare.samples import Track
from diffchrom.prepare.summary import Summary
from diffchrom.prepare.track_reading import (
    MaskedWindows,
    ReadSettings,
    Source,
    file_facts,
    read_track,
    settings_digest,
    take_part_rows,
)
from diffchrom.processes.pool import Call, Pool
from diffchrom.signal.bins import track_chroms
from diffchrom.signal.reads import bam_chroms, reads_kind
from diffchrom.store.parts import is_part, read_part


@dataclass(frozen=True)
class TrackOptions:
    """How tracks are read.

    Attributes
    ----------
    unit : of all tracks, over what their names tell; empty leaves it to the names.
    mask_sha256 : digest of the blacklist that masks bins and bases; empty without one.
    settings : how reads are counted and controls are used.
    time_limit : seconds a track may take.
    """

    unit: str = ""
    mask_sha256: str = ""
    settings: ReadSettings = field(
        default_factory=lambda: ReadSettings(PREPARE.control, PREPARE.count, PREPARE.extend, PREPARE.min_mapq)
    )
    time_limit: float = PREPARE.time_limit


@dataclass(frozen=True)
class Plan:
    """One track of the store to be.

    Attributes
    ----------
    sources : its files.
    regions : in which it is read.
    settings_sha256 : digest by which an unchanged track is recognised, by region that a store may have.
    """

    cell: str
    mark: str
    sources: tuple[Source, ...]
    unit: str
    regions: tuple[Region, ...]
    settings_sha256: Mapping[str, str]

    @property
    def label(self) -> str:
        """The files, for messages."""
        return " + ".join(source.path for source in self.sources)

    def attrs(self) -> dict[str, dict[str, Any]]:
        """Attributes of the track in the store, by region."""
        facts = [file_facts(source.path) for source in self.sources]
        shared = {
            "source": "\n".join(source.path for source in self.sources),
            "source_size": np.array([fact["size"] for fact in facts], dtype=np.int64),
            "source_mtime_ns": np.array([fact["mtime_ns"] for fact in facts], dtype=np.int64),
            "replicate": "\n".join(source.replicate for source in self.sources),
            "scale": np.array([source.scale for source in self.sources]),
            "control": "\n".join(source.control.path if source.control else "" for source in self.sources),
            "unit": self.unit,
        }
        return {
            region.name: {
                **({} if region.bins else region.attrs()),
                **shared,
                "settings_sha256": self.settings_sha256[region.name],
            }
            for region in self.regions
        }


@dataclass(frozen=True)
class Part:
    """A track that has been read: where, for which plan, and what was found."""

    plan: Plan
    path: Path


def _is_reads(path: Path) -> bool:
    """Tell reads from bigWigs; what is neither passes for a bigWig, whose reader says what it is instead."""
    if path.name.lower().removesuffix(".gz").endswith((".bam", ".bed", ".tagalign")):
        return True
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _chrom_sizes(path: Path) -> dict[str, int]:
    """Names and lengths of a track's chromosomes; empty for a BED, which tells none."""
    if not _is_reads(path):
        return track_chroms(path)
    return bam_chroms(path) if reads_kind(path) == "bam" else {}


def check_tracks_genome(
    tracks: Sequence[Track],
    genes: Genes,
    *,
    gtf: str,
    header: str,
    known: Mapping[str, Mapping[str, int]],
    force: bool,
    summary: Summary,
) -> Genome:
    """Check the structure of every file, match chromosome names, and refuse genomes that differ.

    Parameters
    ----------
    known : chromosome lengths from elsewhere (the store that is extended, a chrom.sizes), by its name.
    """
    paths = dict.fromkeys(
        path for track in tracks for path in (track.path, track.control) if path is not None
    )
    sizes = {str(path): _chrom_sizes(path) for path in paths}
    genome = check_genome(genes, sizes, gtf=gtf, header=header, known=known, force=force)
    for note in genome.notes:
        summary.note(note)
    return genome


def _source(path: Path, track: Track, genome: Genome) -> Source:
    control = None
    if track.control is not None and path != track.control:
        control = replace(_source(track.control, track, genome), scale=1.0)
    kind = "reads" if _is_reads(path) else "bigwig"
    names = genome.names.get(str(path), {})
    size = file_facts(path)["size"]
    return Source(str(path), kind, names, genome.sizes, track.scale, track.replicate, size, control)


def plan_tracks(
    tracks: Sequence[Track],
    genome: Genome,
    window: Window,
    regions: Sequence[str],
    options: TrackOptions,
    summary: Summary,
) -> list[Plan]:
    """Group replicates and name units; one plan a (cell, mark), of all `regions`."""
    rules = {name: region_of(name, window) for name in REGION_NAMES}
    groups: dict[tuple[str, str], list[Track]] = defaultdict(list)
    for track in tracks:
        groups[track.cell, track.mark].append(track)
    plans = []
    for (cell, mark), members in groups.items():
        sources = tuple(_source(track.path, track, genome) for track in members)
        units = {
            options.unit or track.unit or ("counts" if source.kind == "reads" else "")
            for track, source in zip(members, sources, strict=True)
        }
        if len(units) > 1:
            raise InputError(
                f"{members[0].path}: replicates of {mark} of {cell} have different units "
                f"({', '.join(unit or 'unknown' for unit in sorted(units))}); name one with `unit`"
            )
        digests = {
            name: settings_digest(sources, window, rule, options.settings, options.mask_sha256)
            for name, rule in rules.items()
        }
        asked = tuple(rules[name] for name in regions)
        plans.append(Plan(cell, mark, sources, units.pop(), asked, digests))
    for count, cases in Counter(len(plan.sources) for plan in plans).items():
        if count > 1:
            summary.note(f"{count} replicates each of {cases} tracks are averaged")
    controls = [track.control.name for track in tracks if track.control is not None]
    if controls:
        summary.note(
            f"controls of {len(controls)} files are used by {options.settings.control}: {examples(controls)}"
        )
    for unit in dict.fromkeys(plan.unit for plan in plans):
        count = sum(plan.unit == unit for plan in plans)
        told = "`unit`" if options.unit else "by file names or kind" if unit else "name it with `unit`"
        summary.note(f"unit of {count} tracks: {unit or 'unknown'} ({told})")
    return plans


def parts_folder(store: Path) -> Path:
    """Return the folder in which parts of a store wait until all have been read."""
    return store.with_name(f".{store.name}.parts")


def remove_parts(folder: Path) -> None:
    """Remove the folder of parts and all in it."""
    shutil.rmtree(folder, ignore_errors=True)


def _unfinished(folder: Path) -> set[Path]:
    """What is being written in the folder of parts, or was when its worker was killed."""
    return set(folder.glob(".*.tmp"))


def _remove_abandoned(folder: Path, time_limit: float) -> None:
    """Remove what killed workers left; what was touched lately may be in the making on a cluster."""
    oldest = time.time() - max(time_limit, PREPARE.time_limit)
    for path in _unfinished(folder):
        with contextlib.suppress(OSError):  # a worker may be renaming it into place
            if path.stat().st_mtime < oldest:
                path.unlink()


def read_parts(
    folder: Path,
    plans: Sequence[Plan],
    windows: MaskedWindows,
    options: TrackOptions,
    pool: Pool,
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
    _remove_abandoned(folder, options.time_limit)
    before = _unfinished(folder)
    parts = [_part(folder, plan, digest, draft) for plan in plans]
    waiting = [part for part in parts if not is_part(part.path)]
    if len(waiting) < len(parts):
        summary.note(
            f"{len(parts) - len(waiting)} tracks were read by an earlier prepare that did not finish"
        )
    shared = {"windows": windows, "settings": options.settings, "draft": draft}
    try:
        failures = _read_waiting(waiting, shared, pool, options.time_limit, summary)
    finally:
        with contextlib.suppress(OSError):  # not empty: parts for the next run, or one in the making
            for path in set() if pool.goes_on else _unfinished(folder) - before:
                path.unlink()  # of a worker that has been killed
            folder.rmdir()
    if failures:
        for failure in failures[1:]:
            summary.warn(str(failure))
        kept = len(parts) - len(failures)
        if kept:
            summary.reporter.note(f"{kept} other tracks are read and kept for the next run of this command")
        raise failures[0]
    return parts


def _part(folder: Path, plan: Plan, windows_digest: str, draft: bool) -> Part:
    """Where a plan's part lies: under a name made of all that decides what is in it."""
    digests = " ".join(plan.settings_sha256[region.name] for region in plan.regions)
    known_by = f"{digests} {windows_digest} {plan.label} {draft}"
    return Part(plan, folder / f"{hashlib.sha256(known_by.encode()).hexdigest()[:32]}.h5")


def _read_waiting(
    waiting: Sequence[Part], shared: Mapping[str, Any], pool: Pool, time_limit: float, summary: Summary
) -> list[DiffchromError]:
    """Read tracks into their parts, and return the errors of those that failed; `shared` goes to all."""
    failures: list[DiffchromError] = []
    calls = [
        Call(
            part.plan.label,
            read_track,
            {
                "part": part.path.absolute(),
                "sources": part.plan.sources,
                "attrs": part.plan.attrs(),
                **shared,
            },
        )
        for part in waiting
    ]
    with summary.reporter.task("reading tracks", len(calls)) as task:
        for reply in pool.run(calls, time_limit=time_limit):
            part = waiting[reply.index]
            task.advance(1, f"{part.plan.cell} {part.plan.mark}")
            error = reply.error or _unseen(part.path)
            if error is not None:
                failures.append(error)
    return failures


def _unseen(path: Path) -> DiffchromError | None:
    """The error of a part that a worker has written where this process does not see it."""
    # Listing the folder makes network file systems forget that the file was not there before.
    if path.parent.is_dir() and path.name in {entry.name for entry in path.parent.iterdir()}:
        return None
    return OutputError(
        f"{path}: was written by a worker, and is not here; workers must see the store's folder "
        f"{path.parent.parent.absolute()} under the same path"
    )


def tell_found(parts: Sequence[Part], summary: Summary) -> None:
    """Say of how many genes windows run over chromosome ends, or lie where a track has no chromosome."""
    for name, meaning in (
        ("clipped", "run over a chromosome's end and have 0 beyond it"),
        ("absent", "lie on chromosomes that are not in the track, and have 0"),
    ):
        groups: dict[tuple[str, int], list[str]] = defaultdict(list)
        for part in parts:
            # A chromosome is absent for all regions alike.
            for region in part.plan.regions[: 1 if name == "absent" else None]:
                count = int(read_part(part.path, region.name, name)[1][name])
                groups[region.name, count].append(f"{part.plan.cell} {part.plan.mark}")
        for (told, count), labels in groups.items():
            if count:
                where = "all tracks" if len(labels) == len(parts) > 1 else examples(labels)
                which = f"{count} windows" if told == TSS else f"{told}: windows of {count} genes"
                summary.note(f"{which} {meaning} ({where})")


def take_rows(
    folder: Path, parts: Sequence[Part], kept: npt.NDArray[np.bool_], pool: Pool, summary: Summary
) -> list[Part]:
    """Reduce drafts to the kept genes, compressed as they will stand in the store."""
    chosen = [Part(part.plan, part.path.with_suffix(".kept.h5")) for part in parts]
    calls = [
        Call(
            part.plan.label,
            take_part_rows,
            {
                "source": part.path.absolute(),
                "target": target.path.absolute(),
                "regions": [region.name for region in part.plan.regions],
                "kept": kept,
            },
        )
        for part, target in zip(parts, chosen, strict=True)
    ]
    with summary.reporter.task("compressing", len(calls)) as task:
        for reply in pool.run(calls):
            if reply.error is not None:
                raise reply.error
            task.advance()
    return chosen

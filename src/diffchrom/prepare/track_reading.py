"""One track of a store: its files read, scaled, averaged and laid out as rows; the work of one worker."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError
from diffchrom.genome.genes import Window
from diffchrom.genome.windows import Windows

#: Raised when the same files would give other values than before: what stores hold is then read again.
READER_VERSION = 1
CONTROL_MODES = ("subtract", "log-ratio")


@dataclass(frozen=True)
class Source:
    """One file of a track.

    Attributes
    ----------
    path : str
    kind : str
        ``bigwig`` or ``reads``.
    chroms : mapping
        The annotation's chromosome names to the file's; chromosomes that the file lacks are left out. Empty
        for a BED, whose names are met as it is read.
    sizes : mapping
        Lengths of the annotation's chromosomes, for files that tell none.
    scale : float
        Factor its values are multiplied by.
    size : int or None
        Bytes it had when it was planned; None is not checked.
    control : Source or None
        What is subtracted from it or divides it, after its own scaling.
    """

    path: str
    kind: str
    chroms: Mapping[str, str]
    sizes: Mapping[str, int]
    scale: float = 1.0
    replicate: str = ""
    size: int | None = None
    control: Source | None = None


@dataclass(frozen=True)
class ReadSettings:
    """How reads are counted and controls are used; part of what decides a track's values."""

    control: str
    count: str
    extend: int
    min_mapq: int


def file_facts(path: str | Path) -> dict[str, int]:
    """Size and modification time, by which an unchanged file is recognised."""
    status = Path(path).stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def check_same_file(source: Source) -> None:
    """See that this process has the file that was planned with, and that of its control.

    Raises
    ------
    InputError
        Where the file is missing or of another size: on a machine that sees other files under the path.
    """
    must = "every worker must see the same tracks under the same paths"
    try:
        size = file_facts(source.path)["size"]
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{source.path}: cannot be read on {platform.node()} ({reason}); {must}") from error
    if source.size not in (None, size):
        raise InputError(
            f"{source.path}: has {size} bytes on {platform.node()}, and had {source.size} when this prepare "
            f"began; {must}, and none may change meanwhile"
        )
    if source.control is not None:
        check_same_file(source.control)


def settings_digest(
    sources: tuple[Source, ...], window: Window, anchor: str, settings: ReadSettings, mask: str = ""
) -> str:
    """Sha256 of all that decides a track's values except which genes there are."""

    def facts(source: Source) -> dict[str, Any]:
        return {
            **file_facts(source.path),
            "kind": source.kind,
            "scale": source.scale,
            "control": facts(source.control) if source.control else None,
        }

    told = {
        "reader": READER_VERSION,
        "window": asdict(window),
        "around": anchor,
        "settings": asdict(settings),
        "mask": mask,
        "sources": [facts(source) for source in sources],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _Binned:
    values: npt.NDArray[np.float32]
    coverage: npt.NDArray[np.float32]
    clipped: npt.NDArray[np.bool_]
    absent: npt.NDArray[np.bool_]
    depth: int | None


def _read_bigwig(source: Source, windows: Windows, settings: ReadSettings) -> _Binned:
    from diffchrom.signal.bins import bin_track

    names = np.array([source.chroms.get(chrom, "") for chrom in windows.chrom], dtype=object)
    binned = bin_track(source.path, names, windows.start, n_bins=windows.n_bins, bin_size=windows.bin_size)
    return _Binned(binned.values, binned.coverage, binned.clipped, binned.absent, None)


def _read_reads(source: Source, windows: Windows, settings: ReadSettings) -> _Binned:
    from diffchrom.signal.reads import count_reads

    counted = count_reads(
        source.path,
        windows.chrom,
        windows.start,
        n_bins=windows.n_bins,
        bin_size=windows.bin_size,
        count=settings.count,
        extend=settings.extend,
        min_mapq=settings.min_mapq,
        sizes=source.sizes,
    )
    # No reads means a count of 0, not missing data.
    coverage = np.where(counted.absent, 0, 1).astype(np.float32)
    return _Binned(counted.counts, coverage, counted.clipped, counted.absent, counted.depth)


_READERS = {"bigwig": _read_bigwig, "reads": _read_reads}


def _read_source(source: Source, windows: Windows, settings: ReadSettings) -> _Binned:
    binned = _READERS[source.kind](source, windows, settings)
    values = binned.values
    if source.scale != 1.0:
        with np.errstate(over="ignore"):  # what becomes infinite is refused later
            values = (values.astype(np.float64) * source.scale).astype(np.float32)
    if source.control is not None:
        control = _read_source(source.control, windows, settings).values
        if settings.control == "subtract":
            values = np.maximum(values - control, 0)
        else:
            if min(values.min(), control.min()) <= -1:
                raise InputError(f"{source.path}: signal of -1 or less has no log-ratio to a control")
            values = np.log2((values + 1) / (control + 1))
    return _Binned(values, binned.coverage, binned.clipped, binned.absent, binned.depth)


def read_track(
    part: Path,
    sources: tuple[Source, ...],
    windows: Windows,
    settings: ReadSettings,
    attrs: Mapping[str, Any],
    mask: npt.NDArray[np.bool_] | None = None,
    *,
    draft: bool = False,
) -> None:
    """Read the files of one track (its replicates) and write the part of a store that it makes.

    Parameters
    ----------
    part : the file to write.
    sources : replicates; averaged after scaling.
    windows : rows of the part.
    settings : how reads are counted and controls are used.
    attrs : attributes of the track in the store; those of `_found` are added.
    mask : bool [n_genes, n_bins] in the store's order of bins; True where a blacklist puts 0; or None.
    draft : the part's rows are still to be chosen (a new store).
    """
    from diffchrom.store.parts import write_part

    for source in sources:
        check_same_file(source)
    binned = [_read_source(source, windows, settings) for source in sources]
    total = binned[0].values.astype(np.float64)
    for other in binned[1:]:
        total += other.values
    with np.errstate(over="ignore"):
        values = (total / len(binned)).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{sources[0].path}: scaled signal is too large for float32; check the scale")
    values[windows.flip] = values[windows.flip, ::-1]
    if mask is not None:
        values[mask] = 0
    extra = {
        "coverage": np.max([one.coverage for one in binned], axis=0),
        "absent": np.all([one.absent for one in binned], axis=0),
        "clipped": np.any([one.clipped for one in binned], axis=0),
    }
    depth = np.array([one.depth for one in binned if one.depth is not None], dtype=np.int64)
    write_part(part, values, {**attrs, "depth": depth, **_found(extra)}, extra, draft=draft)


def _found(extra: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Attributes of what was found: share of bases with data; windows clipped, windows without the track."""
    return {
        "covered": float(extra["coverage"].mean(dtype=np.float64)),
        "clipped": int(extra["clipped"].sum()),
        "absent": int(extra["absent"].sum()),
    }


def take_part_rows(source: Path, target: Path, kept: npt.NDArray[np.bool_]) -> None:
    """Write a part with only the kept genes; the work of one worker."""
    from diffchrom.store.parts import read_part, write_part

    values, attrs = read_part(source)
    extra = {name: read_part(source, name)[0][kept] for name in ("coverage", "absent", "clipped")}
    write_part(target, values[kept], {**attrs, **_found(extra)}, extra)

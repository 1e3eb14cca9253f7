"""One track of a store: its files read once for all regions, scaled, averaged and laid out as rows.

This is the work of one worker.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError
from diffchrom.genome.genes import Signal, Window
from diffchrom.genome.regions import Region
from diffchrom.genome.windows import NOWHERE, GenomeIntervals, Mask, Windows

if TYPE_CHECKING:
    from diffchrom.signal.bins import BinnedSignal

#: Raised when the same files would give other values than before: what stores hold is then read again.
READER_VERSION = 1
CONTROL_MODES = ("subtract", "log-ratio")


@dataclass(frozen=True)
class MaskedWindows:
    """The genes' windows of all regions that are read, and what a blacklist masks of them.

    Attributes
    ----------
    regions : by name.
    bin_size : bases of a store's bin.
    bin_masks : bool [n_genes, n_bins] by region of bins, in the store's order; True where a bin is 0. Empty
        without a blacklist.
    masked : where the signal counts as 0 in the other regions.
    """

    regions: Mapping[str, Windows]
    bin_size: int
    bin_masks: Mapping[str, Mask] = field(default_factory=dict)
    masked: GenomeIntervals = NOWHERE

    def digest(self) -> str:
        """Sha256 of where the windows lie."""
        told = [f"{name} {windows.digest()}" for name, windows in self.regions.items()]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()


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
    sources: tuple[Source, ...], window: Window, region: Region, settings: ReadSettings, mask: str = ""
) -> str:
    """Sha256 of all that decides a track's values in a region except which genes there are."""

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
        **({"around": region.anchor} if region.bins else {"region": asdict(region)}),
        "settings": asdict(settings),
        "mask": mask,
        "sources": [facts(source) for source in sources],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


#: Signal by region, and the reads used; None where reads are not what is counted.
_Read = tuple[list["BinnedSignal"], int | None]


def _read_bigwig(
    source: Source, regions: Sequence[Windows], windows: MaskedWindows, settings: ReadSettings
) -> _Read:
    from diffchrom.signal.bins import bin_track

    names = np.array([source.chroms.get(chrom, "") for chrom in regions[0].chrom], dtype=object)
    named = [replace(one, chrom=names) for one in regions]
    return bin_track(source.path, named, windows.masked.renamed(source.chroms)), None


def _read_reads(
    source: Source, regions: Sequence[Windows], windows: MaskedWindows, settings: ReadSettings
) -> _Read:
    from diffchrom.signal.reads import count_reads

    return count_reads(
        source.path,
        regions,
        bin_size=windows.bin_size,
        count=settings.count,
        extend=settings.extend,
        min_mapq=settings.min_mapq,
        sizes=source.sizes,
        masked=windows.masked,
    )


_READERS = {"bigwig": _read_bigwig, "reads": _read_reads}


def _read_source(
    source: Source, regions: Sequence[Windows], windows: MaskedWindows, settings: ReadSettings
) -> _Read:
    signals, depth = _READERS[source.kind](source, regions, windows, settings)
    if source.scale != 1.0:
        with np.errstate(over="ignore"):  # what becomes infinite is refused later
            signals = [
                replace(one, values=(one.values.astype(np.float64) * source.scale).astype(np.float32))
                for one in signals
            ]
    if source.control is not None:
        controls, _ = _read_source(source.control, regions, windows, settings)
        signals = [
            replace(one, values=_over_control(one.values, control.values, source, settings))
            for one, control in zip(signals, controls, strict=True)
        ]
    return signals, depth


def _over_control(values: Signal, control: Signal, source: Source, settings: ReadSettings) -> Signal:
    if settings.control == "subtract":
        return np.asarray(np.maximum(values - control, 0))
    if min(values.min(), control.min()) <= -1:
        raise InputError(f"{source.path}: signal of -1 or less has no log-ratio to a control")
    return np.asarray(np.log2((values + 1) / (control + 1)))


def read_track(
    part: Path,
    sources: tuple[Source, ...],
    windows: MaskedWindows,
    settings: ReadSettings,
    attrs: Mapping[str, Mapping[str, Any]],
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
    attrs : regions to read, and attributes of the track there in the store; those of `_found` are added.
    draft : the part's rows are still to be chosen (a new store).
    """
    from diffchrom.store.parts import RegionSignal, write_part

    for source in sources:
        check_same_file(source)
    regions = [windows.regions[name] for name in attrs]
    read = [_read_source(source, regions, windows, settings) for source in sources]
    depth = np.array([depth for _, depth in read if depth is not None], dtype=np.int64)
    signals = {}
    for i, (name, told) in enumerate(attrs.items()):
        replicates = [signal[i] for signal, _ in read]
        values = windows.regions[name].ascending(_average(replicates, sources[0]))
        if name in windows.bin_masks:
            values[windows.bin_masks[name]] = 0
        extra = {
            "coverage": np.max([one.coverage for one in replicates], axis=0),
            "absent": np.all([one.absent for one in replicates], axis=0),
            "clipped": np.any([one.clipped for one in replicates], axis=0),
        }
        signals[name] = RegionSignal(values, {**told, "depth": depth, **_found(extra)}, extra)
    write_part(part, signals, draft=draft)


def _average(replicates: Sequence[BinnedSignal], source: Source) -> Signal:
    total = replicates[0].values.astype(np.float64)
    for other in replicates[1:]:
        total += other.values
    with np.errstate(over="ignore"):
        values = (total / len(replicates)).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{source.path}: scaled signal is too large for float32; check the scale")
    return values


def _found(extra: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Attributes of what was found: share of bases with data; genes clipped, genes without the track."""
    return {
        "covered": float(extra["coverage"].mean(dtype=np.float64)),
        "clipped": int(extra["clipped"].sum()),
        "absent": int(extra["absent"].sum()),
    }


def take_part_rows(source: Path, target: Path, regions: Sequence[str], kept: Mask) -> None:
    """Write a part with only the kept genes; the work of one worker."""
    from diffchrom.store.parts import RegionSignal, read_part, write_part

    signals = {}
    for region in regions:
        values, attrs = read_part(source, region)
        extra = {name: read_part(source, region, name)[0][kept] for name in ("coverage", "absent", "clipped")}
        signals[region] = RegionSignal(values[kept], {**attrs, **_found(extra)}, extra)
    write_part(target, signals)

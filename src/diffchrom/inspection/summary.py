"""What a store holds, track by track, and what looks wrong in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import StoreError
from diffchrom.genome.regions import BIN_REGIONS, TSS
from diffchrom.pairs.choices import PART_NAMES
from diffchrom.pairs.splits import natural_order
from diffchrom.progress import SILENT, Reporter
from diffchrom.store.elsewhere import cells_elsewhere, units_elsewhere
from diffchrom.store.format import digest
from diffchrom.store.statistics import Statistics
from diffchrom.store.store import Store

#: A track this many times deeper, or shallower, than the median of its mark's other tracks is flagged.
DEPTH_RATIO = 100.0
#: The same, for tracks of one mark, whose depth differs between cells by libraries rather than by biology.
MARK_DEPTH_RATIO = 3.0
#: A track is flagged when it is this much better correlated with another mark than with its own.
SWAP_MARGIN = 0.1


@dataclass(frozen=True)
class TrackSummary:
    """One track.

    Attributes
    ----------
    region : in which it is summarised.
    covered : share of the windows' bases with data, where the store tells; NaN otherwise.
    nonzero : share of windows that are not 0.
    mean, maximum : of all windows.
    profile : float64 [n_windows]; mean over genes, window by window.
    flags : what looks wrong, one sentence each.
    intact : whether the values are those that were written; None where not verified.
    """

    cell: str
    mark: str
    region: str
    unit: str
    source: str
    covered: float
    nonzero: float
    mean: float
    maximum: float
    profile: npt.NDArray[np.float64]
    flags: tuple[str, ...] = ()
    intact: bool | None = None


@dataclass(frozen=True)
class ExpressionSummary:
    """A cell's expression in one unit: genes known, share of zeros, median, maximum, replicates stored."""

    cell: str
    unit: str
    known: int
    zero: float
    median: float
    maximum: float
    intact: bool | None = None
    replicates: int = 1


@dataclass(frozen=True)
class LabelSummary:
    """Changes of a pair (``A,B``) given as a table: genes known, with a standard error, where from."""

    pair: str
    known: int
    with_se: int
    dialect: str
    source: str


@dataclass(frozen=True)
class PairSummary:
    """A pair of cells: marks that both have, marks that only one has, and where labels come from."""

    pair: str
    marks: tuple[str, ...]
    of_one: tuple[str, ...]
    labels: str


def _pairs(store: Store) -> tuple[PairSummary, ...]:
    """Pairs of cells with a mark in common."""
    marks = {cell: store.marks(cell) for cell in store.cells()}
    units = {cell: store.expression_units(cell) for cell in marks}
    given = {frozenset(pair) for pair in store.labelled_pairs()}
    pairs = []
    for first, second in combinations(marks, 2):
        common = tuple(mark for mark in marks[first] if mark in marks[second])
        shared = [unit for unit in units[first] if unit in units[second]]
        labels = "given" if frozenset((first, second)) in given else ", ".join(shared)
        if common:
            of_one = tuple(
                mark for mark in dict.fromkeys((*marks[first], *marks[second])) if mark not in common
            )
            pairs.append(PairSummary(f"{first},{second}", common, of_one, labels))
    return tuple(pairs)


@dataclass(frozen=True)
class StoreSummary:
    """All of a store.

    Attributes
    ----------
    about : format, versions, window, annotation, ...; name to value.
    chroms : chromosome to number of genes.
    splits : split to part to number of genes.
    notes : what `prepare` said when the store was made or extended.
    pairs : every pair of cells with tracks: marks that both have, and what its labels would be.
    elsewhere : unit to number of cells whose expression is known and that have no tracks.
    verified : whether every checksum was read and agrees; None where not asked.
    """

    path: str
    n_genes: int
    about: Mapping[str, Any]
    chroms: Mapping[str, int]
    splits: Mapping[str, Mapping[str, int]]
    tracks: tuple[TrackSummary, ...]
    expression: tuple[ExpressionSummary, ...]
    notes: tuple[str, ...] = ()
    verified: bool | None = None
    labels: tuple[LabelSummary, ...] = ()
    pairs: tuple[PairSummary, ...] = ()
    elsewhere: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``info --json`` prints, without the profiles."""
        tracks = [
            {name: value for name, value in vars(track).items() if name != "profile"} for track in self.tracks
        ]
        return {
            **vars(self),
            "tracks": tracks,
            "expression": [vars(one) for one in self.expression],
            "labels": [vars(one) for one in self.labels],
            "pairs": [vars(one) for one in self.pairs],
        }


@dataclass
class _Sketches:
    """Standardised log signal of each track (`Statistics.sketch`), for telling marks apart."""

    vectors: dict[tuple[str, str], npt.NDArray[np.float32]] = field(default_factory=dict)

    def add(self, cell: str, mark: str, sketch: npt.NDArray[np.float32]) -> None:
        vector = sketch.ravel()
        deviation = float(vector.std())
        if deviation > 0:
            self.vectors[cell, mark] = ((vector - vector.mean()) / deviation).astype(np.float32)

    def swapped(self, cell: str, mark: str) -> str:
        """Return a warning when the track is more like another mark of the other cells than its own."""
        mine = self.vectors.get((cell, mark))
        others: dict[str, list[npt.NDArray[np.float32]]] = {}
        for (other_cell, other_mark), vector in self.vectors.items():
            if other_cell != cell:
                others.setdefault(other_mark, []).append(vector)
        if mine is None or mark not in others or len(others) < 2:
            return ""
        likeness = {
            other: float(np.mean([np.mean(mine * vector) for vector in vectors]))
            for other, vectors in others.items()
        }
        best = max(likeness, key=likeness.__getitem__)
        if best == mark or likeness[best] < likeness[mark] + SWAP_MARGIN:
            return ""
        return (
            f"more like {best} of the other cells (r = {likeness[best]:.2f}) than like their {mark} "
            f"({likeness[mark]:.2f}): are names swapped?"
        )


def _digest_agrees(values: npt.NDArray[Any], attrs: Mapping[str, Any]) -> bool:
    return bool(attrs.get("values_sha256") == digest(values))


def _track(
    store: Store, cell: str, mark: str, region: str, sketches: _Sketches, verify: bool
) -> TrackSummary:
    attrs = store.signal_attrs(cell, mark, region=region)
    n_windows = store.window.n_bins if region in BIN_REGIONS else len(attrs["windows"])
    statistics = None if verify else Statistics.from_attrs(attrs, (store.n_genes, n_windows))
    intact = None
    if statistics is None:
        values = store.region_signal(cell, region, (mark,))[:, 0]
        statistics = Statistics.of(values)
        intact = _digest_agrees(values, attrs) if verify else None
    if region == TSS:
        sketches.add(cell, mark, statistics.sketch)
    flags = []
    if not statistics.nonzero:
        flags.append("all zero")
    elif statistics.minimum == statistics.maximum:
        flags.append(f"the same everywhere ({statistics.mean:g})")
    return TrackSummary(
        cell=cell,
        mark=mark,
        region=region,
        unit=str(attrs.get("unit", "")),
        source=", ".join(str(attrs.get("source", "")).split("\n")),
        covered=float(attrs.get("covered", np.nan)),
        nonzero=statistics.nonzero,
        mean=statistics.mean,
        maximum=statistics.maximum,
        profile=statistics.profile,
        flags=tuple(flags),
        intact=intact,
    )


def _depth_flag(track: TrackSummary, tracks: Sequence[TrackSummary]) -> str:
    """Return a warning when a track's mean is far from that of its peers: its mark's, or else its unit's."""
    others = [
        t
        for t in tracks
        if t is not track and t.region == track.region and t.unit == track.unit and t.mean > 0
    ]
    own = [t for t in others if t.mark == track.mark]
    peers = own or others
    if not peers or track.mean <= 0:
        return ""
    middle = float(np.median([t.mean for t in peers]))
    most = MARK_DEPTH_RATIO if own else DEPTH_RATIO
    if 1 / most < track.mean / middle < most:
        return ""
    if len(own) == 1 and track.mean < middle:
        return ""  # of two cells the deeper one is flagged: evening both would turn them round
    kind = "deeper" if track.mean > middle else "shallower"
    ratio = max(track.mean / middle, middle / track.mean)
    scale = f"`prepare --samples` with scale {middle / track.mean:.2g} evens it"
    remedy = f"; where that is the library's depth, {scale}" if own else ""
    return (
        f"{ratio:.{0 if ratio >= 10 else 1}f} times {kind} than its peers (mean {track.mean:.3g} against "
        f"{middle:.3g}){remedy}"
    )


def _with_flags(tracks: Sequence[TrackSummary], sketches: _Sketches) -> tuple[TrackSummary, ...]:
    flagged = []
    for track in tracks:
        more = []
        if track.region == TSS:  # what is wrong with a whole track is said once
            more = [_depth_flag(track, tracks), sketches.swapped(track.cell, track.mark)]
        flagged.append(replace(track, flags=(*track.flags, *(flag for flag in more if flag))))
    return tuple(flagged)


def _tracks(store: Store, verify: bool, reporter: Reporter) -> tuple[TrackSummary, ...]:
    """Every track in every region, region by region."""
    sketches = _Sketches()
    regions = {cell: store.regions(cell) for cell in store.cells()}
    names = [
        (cell, mark, region)
        for region in dict.fromkeys(name for held in regions.values() for name in held)
        for cell in regions
        for mark in store.marks(cell, region=region)
    ]
    tracks = []
    with reporter.task("reading tracks", len(names)) as task:
        for cell, mark, region in names:
            tracks.append(_track(store, cell, mark, region, sketches, verify))
            task.advance(1, f"{cell} {mark}")
    return _with_flags(tracks, sketches)


def _splits(store: Store) -> dict[str, dict[str, int]]:
    """Genes in the parts of every split."""
    splits = {}
    for name in store.splits():
        counts = Counter(store.split(name).tolist())
        splits[name] = {part: counts[number] for number, part in PART_NAMES.items() if counts[number]}
    return splits


def _expression(store: Store, cell: str, unit: str, verify: bool) -> ExpressionSummary:
    values = store.expression(cell, unit)
    known = values[np.isfinite(values)]
    held = store.replicates(cell, unit)
    replicates = 1 if held is None else held.shape[1]
    intact = _digest_agrees(values, store.expression_attrs(cell, unit)) if verify else None
    if not len(known):
        return ExpressionSummary(cell, unit, 0, np.nan, np.nan, np.nan, intact, replicates)
    return ExpressionSummary(
        cell,
        unit,
        len(known),
        float((known == 0).mean()),
        float(np.median(known)),
        float(known.max()),
        intact,
        replicates,
    )


def _labels(store: Store) -> tuple[LabelSummary, ...]:
    found = []
    for pair in store.labelled_pairs():
        held = store.labels(pair)
        if held is not None:
            known = int(np.isfinite(held.log2fc).sum())
            with_se = 0 if held.se is None else int(np.isfinite(held.se).sum())
            attrs = (held.attrs.get("dialect", ""), held.attrs.get("source", ""))
            found.append(LabelSummary(",".join(pair), known, with_se, *attrs))
    return tuple(found)


def _about(store: Store) -> dict[str, Any]:
    """Root attributes that people ask for, as plain values."""
    about: dict[str, Any] = {
        "format_version": int(store.attrs["format_version"]),
        "created_by": str(store.attrs.get("created_by", "")),
        "flank": store.window.flank,
        "bin_size": store.window.bin_size,
        "n_bins": store.window.n_bins,
        "orient": store.window.orient,
    }
    for name in ("gtf", "assembly", "deepdiff", "gene_selection", "min_coverage"):
        if name in store.attrs:
            value = store.attrs[name]
            about[name] = value.item() if isinstance(value, np.generic) else str(value)
    return about


def _notes(store: Store) -> tuple[str, ...]:
    try:
        return store.notes
    except StoreError as error:
        return (str(error),)


def summarise_store(store: Store, *, verify: bool = False, reporter: Reporter = SILENT) -> StoreSummary:
    """Read a store, one track at a time, and describe it.

    Parameters
    ----------
    verify : read every array and compare it with the checksum that was stored when it was written.

    Raises
    ------
    StoreError
        When what is read of the store cannot be read.
    """
    tracks = _tracks(store, verify, reporter)
    expression = tuple(
        _expression(store, cell, unit, verify)
        for cell in store.cells()
        for unit in store.expression_units(cell)
    )
    chroms = Counter(str(chrom) for chrom in store.genes.chrom)
    bad = [f"{t.mark} of {t.cell}" for t in tracks if t.intact is False]
    bad += [f"{e.unit} of {e.cell}" for e in expression if e.intact is False]
    if verify:
        bad += [name for name, intact in store.columns_intact().items() if intact is False]
    if bad:
        raise StoreError(
            f"{store.path}: {', '.join(bad)}: values differ from those written; prepare again with `replace`"
        )
    return StoreSummary(
        path=str(store.path),
        n_genes=store.n_genes,
        about=_about(store),
        chroms={chrom: chroms[chrom] for chrom in sorted(chroms, key=natural_order)},
        splits=_splits(store),
        tracks=tracks,
        expression=expression,
        notes=_notes(store),
        verified=True if verify else None,
        labels=_labels(store),
        pairs=_pairs(store),
        elsewhere={unit: len(cells_elsewhere(store, unit)) for unit in units_elsewhere(store)},
    )

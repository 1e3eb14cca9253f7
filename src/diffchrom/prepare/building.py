"""Building and extending stores: from annotation, tracks and expression to one HDF5 file.

Nothing of a store is written until all that was asked for has been read. Tracks are read in worker processes,
here or on a cluster, into parts beside the store, so a `prepare` that was killed goes on where it was; the
store itself appears, or changes, in one rename.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffchrom.annotation.chromosomes import read_chrom_sizes
from diffchrom.errors import StoreError, UsageError
from diffchrom.expression.differential import JoinedLabels
from diffchrom.expression.joining import JoinedExpression
from diffchrom.files.lock import locked
from diffchrom.genome.genes import Window
from diffchrom.genome.regions import REGION_NAMES, region_of
from diffchrom.pairs.choices import direction, resolve_cells
from diffchrom.prepare import tracks as prepare_tracks
from diffchrom.prepare.deepdiff_format import MARKS, SPLIT_NAME, UNIT, read_deepdiff
from diffchrom.prepare.deepdiff_format import WINDOW as DEEPDIFF_WINDOW
from diffchrom.prepare.direction import check_directions, expression_levels, mark_levels, stored_labels
from diffchrom.prepare.expression import (
    add_elsewhere,
    add_expression,
    new_elsewhere,
    new_expression,
    read_joined,
)
from diffchrom.prepare.finding import find_tracks
from diffchrom.prepare.genes import assayed_genes, tell_thin_regions, tell_unassayed
from diffchrom.prepare.labels import add_labels, new_labels, read_all_labels
from diffchrom.prepare.request import PrepareRequest, check_request
from diffchrom.prepare.rows import (
    annotated_genes,
    asked_regions,
    check_same_rows,
    masking,
    row_attrs,
    tell_unknown_ends,
    windows_to_read,
)
from diffchrom.prepare.splits import NamedSplit, added_splits, new_splits, split_genes
from diffchrom.prepare.summary import Summary
from diffchrom.prepare.tracks import Plan
from diffchrom.processes.cluster import dask_pool
from diffchrom.processes.machine import available_threads
from diffchrom.processes.pool import LocalPool, Pool
from diffchrom.progress import SILENT, Reporter
from diffchrom.store.store import Store
from diffchrom.store.writer import StoreEditor, creating

__all__ = ["PrepareRequest", "PrepareResult", "prepare"]


@dataclass(frozen=True)
class PrepareResult:
    """What became of a `prepare`.

    Attributes
    ----------
    store : the store, as it is now.
    added, unchanged : (cell, mark) of the tracks written, and of those that were there already.
    notes : all that was said.
    """

    store: Store
    added: tuple[tuple[str, str], ...]
    unchanged: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def prepare(request: PrepareRequest, reporter: Reporter = SILENT) -> PrepareResult:
    """Build the store that `request` describes, or extend it.

    Raises
    ------
    UsageError
        Options that contradict each other, or the store; no Dask scheduler at the address.
    InputError
        A file that is missing, broken or not understood.
    StoreError
        A store that is locked, broken, or holds other data under the same name.
    """
    check_request(request)
    summary = Summary(reporter)
    with locked(request.store):
        _remove_orphans(request.store)
        if request.deepdiff is not None:
            return _import_deepdiff(request, summary)
        if request.store.exists():
            return _extend(request, Store(request.store), summary)
        return _create(request, summary)


def _remove_orphans(store: Path) -> None:
    """Remove what a killed writer was staging; nobody else writes, since the lock is held."""
    for path in store.parent.iterdir():
        if path.name.startswith(f".{store.name}.") and path.name.endswith(".tmp"):
            path.unlink(missing_ok=True)


def _readers(
    request: PrepareRequest, plans: Sequence[Plan], summary: Summary
) -> AbstractContextManager[Pool]:
    """Where tracks are read; where there are none to read no cluster is asked, and no process started."""
    if request.dask is not None and plans:
        return dask_pool(request.dask, reporter=summary.reporter)
    return Pool() if request.threads == 1 else LocalPool(request.threads or available_threads())


def _create(request: PrepareRequest, summary: Summary) -> PrepareResult:
    if request.gtf is None:
        raise UsageError(f"{request.store} does not exist yet: a new store needs `gtf` (or `deepdiff`)")
    window = request.window
    tracks = find_tracks(request, summary)
    genes, header = annotated_genes(request, request.gtf, window, summary)
    genome = prepare_tracks.check_tracks_genome(
        tracks, genes, gtf=str(request.gtf), header=header, known=_given_sizes(request), force=request.force,
        summary=summary,
    )  # fmt: skip
    options = masking(request)
    regions = asked_regions(request, summary)
    tell_unknown_ends(genes, regions, window, summary)
    plans = prepare_tracks.plan_tracks(tracks, genome, window, regions, options, summary)
    # Read before the tracks, which may take long: what is wrong should show at once.
    cells = tuple(dict.fromkeys(plan.cell for plan in plans))
    joined, elsewhere = read_joined(
        request.expression, genes, cells, request.expression_options, request.gtf, summary
    )
    known = tuple(dict.fromkeys([*cells, *(one.cell for one in joined)]))
    changes = read_all_labels(request.labels, genes, known, summary)
    unchecked = check_directions(changes, expression_levels(joined), force=request.force, summary=summary)
    folder = prepare_tracks.parts_folder(request.store)
    windows = windows_to_read(request, genes, window, regions, summary)
    with _readers(request, plans, summary) as pool:
        parts = prepare_tracks.read_parts(folder, plans, windows, options, pool, summary, draft=True)
        kept = assayed_genes(parts, genes, request.min_coverage, summary)
        genes = genes.take(kept)
        parts = prepare_tracks.take_rows(folder, parts, kept, pool, summary)
    prepare_tracks.tell_found(parts, summary)
    tell_thin_regions(parts, request.min_coverage, summary)
    joined, elsewhere = (tuple(one.take(kept) for one in some) for some in (joined, elsewhere))
    changes = [one.take(kept) for one in changes]
    unchecked = [one.take(kept) for one in unchecked]
    _check_by_marks(request, unchecked, parts, window, summary)
    splits = new_splits(request.splits, genes, request.seed, summary)
    attrs = {**row_attrs(request), "assembly": genome.assembly}
    with creating(request.store, genes, window, chrom_sizes=genome.sizes, attrs=attrs) as editor:
        _fill(editor, request, parts, joined, elsewhere, changes, splits, summary.lines)
    prepare_tracks.remove_parts(folder)
    return _result(request, [(part.plan.cell, part.plan.mark) for part in parts], [], summary)


def _check_by_marks(
    request: PrepareRequest,
    changes: Sequence[JoinedLabels],
    parts: Sequence[prepare_tracks.Part],
    window: Window,
    summary: Summary,
    store: Store | None = None,
) -> None:
    """Hold the changes of pairs without expression against the marks of active genes."""
    levels = mark_levels(parts, window, store)
    check_directions(changes, levels, force=request.force, summary=summary)


def _given_sizes(request: PrepareRequest) -> dict[str, dict[str, int]]:
    """Chromosome lengths that the user gave, by their file."""
    return {str(request.chrom_sizes): read_chrom_sizes(request.chrom_sizes)} if request.chrom_sizes else {}


def _fill(
    editor: StoreEditor,
    request: PrepareRequest,
    parts: Sequence[prepare_tracks.Part],
    joined: Sequence[JoinedExpression],
    elsewhere: Sequence[JoinedExpression],
    changes: Sequence[JoinedLabels],
    splits: Sequence[NamedSplit],
    notes: Sequence[str],
) -> None:
    """Put everything that was read into the store that is being made or extended."""
    for part in parts:
        for region in part.plan.regions:
            editor.add_part(
                part.plan.cell, part.plan.mark, part.path, region=region.name, replace=request.replace
            )
    add_expression(editor, joined)
    add_elsewhere(editor, elsewhere)
    add_labels(editor, changes)
    for split in splits:
        editor.add_split(split.name, split.values, split.attrs, replace=request.replace)
    editor.set_attrs({"notes": json.dumps(list(notes))})


def _result(
    request: PrepareRequest, added: list[tuple[str, str]], unchanged: list[tuple[str, str]], summary: Summary
) -> PrepareResult:
    store = Store(request.store)
    cells = ", ".join(store.cells()) or "none"
    regions = ", ".join(dict.fromkeys(name for cell in store.cells() for name in store.regions(cell)))
    summary.reporter.note(
        f"{store.path}: {store.n_genes} genes x {store.window.n_bins} bins, cells {cells}, regions "
        f"{regions or 'none'}"
    )
    lacking = _lacking(store)
    if lacking:
        summary.reporter.note(f"to train, add {' and '.join(lacking)} with another `diffchrom prepare`")
    elif len(store.cells()) == 2:
        summary.reporter.note(f"{direction(resolve_cells(store, None))}, unless `pair` says otherwise")
    return PrepareResult(store, tuple(added), tuple(unchanged), tuple(summary.lines))


def _lacking(store: Store) -> list[str]:
    """What a store needs before a model can be trained on it."""
    cells = store.cells()
    labelled = store.labelled_pairs() or sum(bool(store.expression_units(cell)) for cell in cells) > 1
    return [
        *(["a second cell"] if len(cells) < 2 else []),
        *([] if any(store.marks(cell) for cell in cells) else ["tracks"]),
        *([] if labelled else ["expression (`expression`, or `labels`)"]),
    ]


def _plan_more_tracks(
    request: PrepareRequest, store: Store, options: prepare_tracks.TrackOptions, summary: Summary
) -> tuple[list[Plan], dict[str, int]]:
    """Plan the tracks that a store shall have, too; also the chromosome lengths that are known by then."""
    tracks = find_tracks(request, summary)
    if not (tracks or request.chrom_sizes):
        return [], store.chrom_sizes
    if not store.genes.located.all():
        raise StoreError(
            f"{store.path}: its genes have no coordinates (`deepdiff`): neither tracks nor chromosome "
            "lengths can be added"
        )
    genome = prepare_tracks.check_tracks_genome(
        tracks,
        store.genes,
        gtf=str(request.gtf or store.attrs.get("gtf", store.path)),
        header=str(store.attrs.get("assembly", "")),
        known={str(store.path): store.chrom_sizes, **_given_sizes(request)},
        force=request.force,
        summary=summary,
    )
    regions = asked_regions(request, summary, store)
    plans = prepare_tracks.plan_tracks(tracks, genome, store.window, regions, options, summary)
    return plans, genome.sizes | store.chrom_sizes


def _more_expression(
    request: PrepareRequest, store: Store, cells: Sequence[str], summary: Summary
) -> tuple[tuple[JoinedExpression, ...], list[JoinedExpression]]:
    """Read expression for a store: of cells with tracks, and of other cells what the store does not have."""
    joined, elsewhere = read_joined(
        request.expression,
        store.genes,
        cells,
        request.expression_options,
        request.gtf,
        summary,
        labelled=any(store.expression_units(cell) for cell in store.cells()),
    )
    return joined, new_elsewhere(store, elsewhere, replace=request.replace)


def _extend(request: PrepareRequest, store: Store, summary: Summary) -> PrepareResult:
    check_same_rows(request, store)
    genes = store.genes
    options = masking(request)
    plans, sizes = _plan_more_tracks(request, store, options, summary)
    new, unchanged = _sort_out(request, store, plans)
    if unchanged:
        summary.note(
            f"{len(unchanged)} tracks are in {store.path} already, from the same files: not read again"
        )
    cells = tuple(dict.fromkeys([*store.cells(), *(plan.cell for plan in plans)]))
    joined, elsewhere = _more_expression(request, store, cells, summary)
    known = tuple(dict.fromkeys([*cells, *(one.cell for one in joined)]))
    expression = new_expression(store, joined, replace=request.replace)
    changes = new_labels(
        store, read_all_labels(request.labels, genes, known, summary), replace=request.replace
    )
    levels = expression_levels(expression, store)
    unchecked = check_directions(changes, levels, force=request.force, summary=summary)
    renewed = [one.pair for one in changes]
    stored = stored_labels(store, [one.cell for one in expression], renewed)
    check_directions(stored, levels, force=request.force, summary=summary)
    splits = added_splits(store, request.splits, request.seed, summary, replace=request.replace)
    folder = prepare_tracks.parts_folder(request.store)
    wanted = dict.fromkeys(region.name for plan in new for region in plan.regions)
    windows = windows_to_read(request, genes, store.window, wanted, summary)
    with _readers(request, new, summary) as pool:
        parts = prepare_tracks.read_parts(folder, new, windows, options, pool, summary)
    prepare_tracks.tell_found(parts, summary)
    tell_thin_regions(parts, request.min_coverage, summary)
    tell_unassayed(parts, request.min_coverage, summary)
    _check_by_marks(request, unchecked, parts, store.window, summary, store)
    if parts or expression or elsewhere or changes or splits or sizes != store.chrom_sizes:
        notes = [*_earlier_notes(store, summary), *summary.lines]
        with store.edit() as editor:
            if sizes != store.chrom_sizes:
                editor.set_chrom_sizes(sizes)
            _fill(editor, request, parts, expression, elsewhere, changes, splits, notes)
    prepare_tracks.remove_parts(folder)
    added = [(part.plan.cell, part.plan.mark) for part in parts]
    return _result(request, added, [(plan.cell, plan.mark) for plan in unchanged], summary)


def _earlier_notes(store: Store, summary: Summary) -> tuple[str, ...]:
    """What was said of the store before; damaged notes are told and given up."""
    try:
        return store.notes
    except StoreError as error:
        summary.warn(str(error))
        return ()


def _sort_out(request: PrepareRequest, store: Store, plans: list[Plan]) -> tuple[list[Plan], list[Plan]]:
    """Split plans into those to read, in the regions to read, and those that the store has as they are.

    All regions of a track must come from the same files with the same settings.
    """
    new: list[Plan] = []
    unchanged: list[Plan] = []
    cells = {cell: {r: store.marks(cell, region=r) for r in store.regions(cell)} for cell in store.cells()}
    for plan in plans:
        held = [region for region, marks in cells.get(plan.cell, {}).items() if plan.mark in marks]
        stale = []
        for region in held:
            attrs = store.signal_attrs(plan.cell, plan.mark, region=region)
            if attrs.get("settings_sha256") != plan.settings_sha256.get(region):
                stale.append(region)
                if not request.replace:
                    raise StoreError(
                        f"{store.path}: has {plan.mark} of {plan.cell} already, from "
                        f"{attrs.get('source', '?')} as it was then or with other settings; use `replace` to "
                        "renew it"
                    )
        asked = [region.name for region in plan.regions if region.name not in held]
        wanted = [region_of(name, store.window) for name in REGION_NAMES if name in (*asked, *stale)]
        (new if wanted else unchanged).append(replace(plan, regions=tuple(wanted)))
    return new, unchanged


def _import_deepdiff(request: PrepareRequest, summary: Summary) -> PrepareResult:
    assert request.deepdiff is not None
    if request.store.exists():
        raise StoreError(
            f"{request.store}: exists already, and `deepdiff` brings genes of its own; give another `store`"
        )
    data = read_deepdiff(request.deepdiff)
    summary.note(f"{request.deepdiff}: {len(data.genes)} genes, cells {', '.join(data.cells)}")
    for note in data.notes:
        summary.note(note)
    splits = [
        NamedSplit(SPLIT_NAME, data.split, {"source": str(request.deepdiff)}),
        *(
            split_genes(name, data.genes, request.seed, summary)
            for name in request.splits
            if name != SPLIT_NAME
        ),
    ]
    attrs: dict[str, Any] = {"deepdiff": str(request.deepdiff)}
    with creating(request.store, data.genes, DEEPDIFF_WINDOW, attrs=attrs) as editor:
        for cell in data.cells:
            for j, mark in enumerate(MARKS):
                source = {"source": f"{request.deepdiff}/{cell}.*.csv", "unit": "counts", "scale": 1.0}
                editor.add_signal(cell, mark, data.signal[cell][:, j], source)
            editor.add_expression(cell, UNIT, data.expression[cell], {"source": f"{cell}.expr.csv"})
        for split in splits:
            editor.add_split(split.name, split.values, split.attrs)
        editor.set_attrs({"notes": json.dumps(summary.lines)})
    added = [(cell, mark) for cell in data.cells for mark in MARKS]
    return _result(request, added, [], summary)

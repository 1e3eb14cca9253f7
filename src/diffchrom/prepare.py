"""Building and extending stores: from annotation, tracks and expression to one HDF5 file.

Nothing of a store is written until all that was asked for has been read. Tracks are read in worker processes
into parts beside the store, so a `prepare` that was killed goes on where it was; the store itself appears, or
changes, in one rename.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffchrom import prepare_tracks
from diffchrom.annotation import read_annotation, read_gene_list
from diffchrom.config import PREPARE, available_threads
from diffchrom.deepdiff_format import MARKS, SPLIT_NAME, UNIT, read_deepdiff
from diffchrom.deepdiff_format import WINDOW as DEEPDIFF_WINDOW
from diffchrom.errors import StoreError, UsageError
from diffchrom.expression_join import JoinedExpression
from diffchrom.files import require_file
from diffchrom.genes import ORIENTATIONS, Window
from diffchrom.prepare_expression import ExpressionOptions, add_expression, new_expression, read_joined
from diffchrom.prepare_genes import assayed_genes
from diffchrom.prepare_splits import NamedSplit, added_splits, new_splits, split_genes
from diffchrom.prepare_tracks import Plan, TrackOptions
from diffchrom.reporting import SILENT, Reporter
from diffchrom.splits import SPLITS
from diffchrom.store import Store, StoreEditor, creating
from diffchrom.store_lock import locked
from diffchrom.summary import Summary
from diffchrom.track_reading import Windows
from diffchrom.workers import WorkerPool


@dataclass(frozen=True)
class PrepareRequest:
    """Everything `prepare` is asked; None means the default, or what an existing store has.

    Attributes
    ----------
    store : path of the store to make or extend.
    gtf : gene annotation; needed for a new store.
    bigwigs, reads : tracks whose cell and mark are understood from their paths.
    samples : a sample sheet.
    expression : ``FILE`` or ``CELL=FILE``.
    deepdiff : a folder in the published DeepDiff format; instead of all of the above.
    splits : names of splits to store.
    replace : renew what the store has already.
    force : go on where the inputs seem to contradict each other.
    """

    store: Path
    gtf: Path | None = None
    bigwigs: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()
    samples: Path | None = None
    expression: tuple[str, ...] = ()
    deepdiff: Path | None = None
    flank: int | None = None
    bin_size: int | None = None
    orient: str | None = None
    biotype: str | None = None
    around: str = PREPARE.around
    genes: Path | None = None
    exclude_chroms: tuple[str, ...] = ()
    min_coverage: float = PREPARE.min_coverage
    splits: tuple[str, ...] = ()
    seed: int = 0
    replace: bool = False
    force: bool = False
    threads: int | None = None
    track_options: TrackOptions = field(default_factory=TrackOptions)
    expression_options: ExpressionOptions = field(default_factory=ExpressionOptions)


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
        Options that contradict each other, or the store.
    InputError
        A file that is missing, broken or not understood.
    StoreError
        A store that is locked, broken, or holds other data under the same name.
    """
    _check(request)
    summary = Summary(reporter)
    with locked(request.store):
        if request.deepdiff is not None:
            return _import_deepdiff(request, summary)
        if request.store.exists():
            return _extend(request, Store(request.store), summary)
        return _create(request, summary)


def _check(request: PrepareRequest) -> None:
    tracks = request.bigwigs or request.reads or request.samples
    if request.deepdiff is not None and (tracks or request.gtf or request.expression):
        raise UsageError("--deepdiff brings genes, tracks and expression of its own; give it alone")
    if request.deepdiff is None and not (tracks or request.expression or request.splits):
        raise UsageError("nothing to prepare; give --bigwigs, --reads, --samples, --expression or --deepdiff")
    window = Window(request.flank or PREPARE.flank, request.bin_size or PREPARE.bin_size)
    if window.flank < 1 or window.bin_size < 1 or 2 * window.flank % window.bin_size:
        raise UsageError(
            f"--flank {window.flank} --bin-size {window.bin_size}: two flanks must be a whole number of bins"
        )
    for name in request.splits:
        if name not in SPLITS:
            raise UsageError(f"--split {name}: unknown; choose one of {', '.join(SPLITS)}")
    if request.orient not in (None, *ORIENTATIONS):
        raise UsageError(f"--orient {request.orient}: choose {' or '.join(ORIENTATIONS)}")
    if not 0 <= request.min_coverage <= 1:
        raise UsageError(f"--min-coverage {request.min_coverage}: give a share between 0 and 1")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pool(request: PrepareRequest) -> WorkerPool:
    return WorkerPool(request.threads or available_threads())


def _create(request: PrepareRequest, summary: Summary) -> PrepareResult:
    if request.gtf is None:
        raise UsageError(f"{request.store} does not exist yet: a new store needs --gtf (or --deepdiff)")
    window = Window(
        request.flank or PREPARE.flank, request.bin_size or PREPARE.bin_size, request.orient or PREPARE.orient
    )
    files = prepare_tracks.find_tracks(request.bigwigs, request.reads, request.samples, summary)
    biotype = request.biotype or PREPARE.biotype
    annotation = read_annotation(
        require_file(request.gtf, "gene annotation"),
        biotype=biotype,
        genes=read_gene_list(request.genes) if request.genes else None,
        exclude_chroms=request.exclude_chroms,
    )
    genes = annotation.genes
    summary.note(f"{request.gtf.name}: {annotation.format}, {len(genes)} genes ({biotype})")
    for reason, count in annotation.dropped.items():
        summary.note(f"{request.gtf.name}: {count} genes left out: {reason}")
    for note in annotation.notes:
        summary.note(note)
    plans, sizes = prepare_tracks.plan_tracks(
        files, genes, window, request.around, request.track_options, summary
    )
    folder = prepare_tracks.parts_folder(request.store)
    windows = Windows.around(genes, window, request.around)
    # Read before the tracks, which may take long: what is wrong should show at once.
    cells = tuple(dict.fromkeys(plan.cell for plan in plans))
    joined = read_joined(request.expression, genes, cells, request.expression_options, request.gtf, summary)
    with _pool(request) as pool:
        parts = prepare_tracks.read_parts(
            folder, plans, windows, request.track_options, pool, summary, draft=True
        )
        kept = assayed_genes(parts, genes, request.min_coverage, summary)
        genes = genes.take(kept)
        parts = prepare_tracks.take_rows(folder, parts, kept, pool, summary)
    attrs = {
        "gtf": request.gtf.name,
        "gtf_sha256": _sha256(request.gtf),
        "gene_selection": _gene_selection(request, biotype),
        "min_coverage": request.min_coverage,
    }
    joined = tuple(replace(one, values=one.values[kept]) for one in joined)
    splits = new_splits(request.splits, genes, request.seed, summary)
    with creating(request.store, genes, window, chrom_sizes=sizes, attrs=attrs) as editor:
        _fill(editor, request, parts, joined, splits, summary)
    prepare_tracks.remove_parts(folder)
    return _result(request, [(part.plan.cell, part.plan.mark) for part in parts], [], summary)


def _gene_selection(request: PrepareRequest, biotype: str) -> str:
    listed = _sha256(request.genes) if request.genes else ""
    return json.dumps({"biotype": biotype, "genes": listed, "exclude_chroms": list(request.exclude_chroms)})


def _fill(
    editor: StoreEditor,
    request: PrepareRequest,
    parts: Sequence[prepare_tracks.Part],
    joined: Sequence[JoinedExpression],
    splits: Sequence[NamedSplit],
    summary: Summary,
) -> None:
    """Put everything that was read into the store that is being made or extended."""
    for part in parts:
        editor.add_part(
            part.plan.cell, part.plan.mark, part.path, around=request.around, replace=request.replace
        )
    add_expression(editor, joined, replace=request.replace)
    for split in splits:
        editor.add_split(split.name, split.values, split.attrs, replace=request.replace)
    editor.set_attrs({"notes": json.dumps(summary.lines)})


def _result(
    request: PrepareRequest, added: list[tuple[str, str]], unchanged: list[tuple[str, str]], summary: Summary
) -> PrepareResult:
    store = Store(request.store)
    cells = ", ".join(store.cells()) or "none"
    summary.reporter.note(f"{store.path}: {store.n_genes} genes x {store.window.n_bins} bins, cells {cells}")
    return PrepareResult(store, tuple(added), tuple(unchanged), tuple(summary.lines))


def _extend(request: PrepareRequest, store: Store, summary: Summary) -> PrepareResult:
    _check_same(request, store)
    genes = store.genes
    files = prepare_tracks.find_tracks(request.bigwigs, request.reads, request.samples, summary)
    plans, _ = prepare_tracks.plan_tracks(
        files, genes, store.window, request.around, request.track_options, summary
    )
    new, unchanged = _sort_out(request, store, plans)
    if unchanged:
        summary.note(
            f"{len(unchanged)} tracks are in {store.path} already, from the same files: not read again"
        )
    folder = prepare_tracks.parts_folder(request.store)
    windows = Windows.around(genes, store.window, request.around)
    cells = tuple(dict.fromkeys([*store.cells(), *(plan.cell for plan in plans)]))
    joined = read_joined(request.expression, genes, cells, request.expression_options, request.gtf, summary)
    labels = new_expression(store, joined, replace=request.replace)
    splits = added_splits(store, request.splits, request.seed, summary, replace=request.replace)
    with _pool(request) as pool:
        parts = prepare_tracks.read_parts(folder, new, windows, request.track_options, pool, summary)
    if parts or labels or splits:
        with store.edit() as editor:
            _fill(editor, request, parts, labels, splits, summary)
    prepare_tracks.remove_parts(folder)
    return _result(
        request,
        [(part.plan.cell, part.plan.mark) for part in parts],
        [(plan.cell, plan.mark) for plan in unchanged],
        summary,
    )


def _sort_out(request: PrepareRequest, store: Store, plans: list[Plan]) -> tuple[list[Plan], list[Plan]]:
    """Split plans into those to read and those that the store has from the same files and settings."""
    new: list[Plan] = []
    unchanged: list[Plan] = []
    cells = store.cells()
    for plan in plans:
        if plan.cell in cells and plan.mark in store.marks(plan.cell, around=request.around):
            attrs = store.signal_attrs(plan.cell, plan.mark, around=request.around)
            if attrs.get("settings_sha256") == plan.settings_sha256:
                unchanged.append(plan)
                continue
            if not request.replace:
                raise StoreError(
                    f"{store.path}: has {plan.mark} of {plan.cell} already, from "
                    f"{attrs.get('source', '?')} as it was then or with other settings; use --replace to "
                    "renew it"
                )
        new.append(plan)
    return new, unchanged


def _check_same(request: PrepareRequest, store: Store) -> None:
    """Refuse options that contradict how the store's rows were made."""
    window = store.window
    for option, asked, held in (
        ("--flank", request.flank, window.flank),
        ("--bin-size", request.bin_size, window.bin_size),
        ("--orient", request.orient, window.orient),
    ):
        if asked is not None and asked != held:
            raise UsageError(
                f"{option} {asked}: {store.path} was made with {held}; make another store with --store"
            )
    if request.gtf is not None:
        held_sha = store.attrs.get("gtf_sha256")
        if held_sha and held_sha != _sha256(require_file(request.gtf, "gene annotation")):
            raise UsageError(
                f"--gtf {request.gtf}: {store.path} was made with another file ({store.attrs.get('gtf')}), "
                "which fixed its genes; make another store with --store"
            )


def _import_deepdiff(request: PrepareRequest, summary: Summary) -> PrepareResult:
    assert request.deepdiff is not None
    if request.store.exists():
        raise StoreError(
            f"{request.store}: exists already, and --deepdiff brings genes of its own; give another --store"
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

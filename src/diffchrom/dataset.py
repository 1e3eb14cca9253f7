"""A pair of cells as arrays: what models and baselines learn from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.config import DEFAULT_SPLIT
from diffchrom.errors import OutputError, StoreError, UsageError
from diffchrom.genes import Genes
from diffchrom.label_noise import log2fc_se
from diffchrom.splits import fewer_training_genes, fold_split, is_fold_name, whole_split_name
from diffchrom.store import Store
from diffchrom.transform import PIECE

#: Numbers under which a store keeps the parts of a split, and the names users give them.
SPLIT_PARTS = {"train": 0, "valid": 1, "test": 2}
PART_NAMES = {number: name for name, number in SPLIT_PARTS.items()} | {-1: "unused"}


@dataclass(frozen=True)
class PairData:
    """Signal and labels of one pair of cells.

    Attributes
    ----------
    pair : (A, B)
    marks : names, in the order of axis 1 of the signal.
    genes : the rows.
    signal_a, signal_b : float32 [n_genes, n_marks, n_bins]
        Binned signal as it stands in the store, neither transformed nor scaled.
    log2fc : float64 [n_genes]
        log2((B + 1) / (A + 1)); NaN where either expression is unknown.
    expr_a, expr_b : float64 [n_genes]
        log2(expression + 1); NaN where unknown.
    split : int8 [n_genes]
        0 train, 1 valid, 2 test, -1 unused.
    unit : str
        Unit of the expression, empty without labels.
    se : float64 [n_genes] or None
        Standard error of log2fc, from replicates or from the table of changes; None where there is neither.
    labels : dict
        Where log2fc comes from: ``source`` (``expression``, or a path) and ``dialect`` of a table of changes.
    """

    pair: tuple[str, str]
    marks: tuple[str, ...]
    genes: Genes
    signal_a: npt.NDArray[np.float32]
    signal_b: npt.NDArray[np.float32]
    log2fc: npt.NDArray[np.float64]
    expr_a: npt.NDArray[np.float64]
    expr_b: npt.NDArray[np.float64]
    split: npt.NDArray[np.int8]
    unit: str = ""
    se: npt.NDArray[np.float64] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.genes)

    def rows(self, part: str) -> npt.NDArray[np.intp]:
        """Rows of ``train``, ``valid`` or ``test`` whose label is known."""
        return np.flatnonzero((self.split == SPLIT_PARTS[part]) & np.isfinite(self.log2fc))

    def take(self, index: npt.NDArray[Any]) -> PairData:
        """Return the genes at `index` (positions or a mask), in that order."""
        arrays = ("signal_a", "signal_b", "log2fc", "expr_a", "expr_b", "split")
        taken = {name: getattr(self, name)[index] for name in arrays}
        se = None if self.se is None else self.se[index]
        return replace(self, genes=self.genes.take(index), se=se, **taken)


def resolve_pair(store: Store, pair: str | None) -> tuple[str, str]:
    """Turn ``A,B`` into two cells of the store; None is the store's two cells, where it has exactly two."""
    cells = store.cells()
    if pair is None:
        if len(cells) != 2:
            known = ", ".join(cells) or "none"
            raise UsageError(f"--pair A,B is needed: {store.path} has {len(cells)} cells ({known})")
        return cells[0], cells[1]
    names = [name.strip() for name in pair.split(",")]
    if len(names) != 2 or not all(names):
        raise UsageError(f"--pair {pair}: give two cells with a comma between them, as in --pair A,B")
    unknown = [name for name in names if name not in cells]
    if unknown:
        raise StoreError(f"{store.path}: no cell named {', '.join(unknown)}; it has {', '.join(cells)}")
    if names[0] == names[1]:
        raise UsageError(f"--pair {pair}: the two cells are the same")
    return names[0], names[1]


def resolve_split(store: Store, name: str | None) -> str:
    """Name of the split to use: the one asked for, the only one, or `config.DEFAULT_SPLIT`."""
    known = store.splits()
    chosen = name or (known[0] if len(known) == 1 else DEFAULT_SPLIT)
    if not has_split(store, chosen):
        raise StoreError(
            f"{store.path}: no split named {chosen}; it has {', '.join(known) or 'none'}; "
            "add one with `diffchrom prepare --split`"
        )
    return chosen


def has_split(store: Store, name: str) -> bool:
    """Tell whether `read_split` finds a split of this name."""
    whole, _ = whole_split_name(name)
    return name in store.splits() or whole in store.splits() or is_fold_name(whole)


def read_split(store: Store, name: str) -> npt.NDArray[np.int8]:
    """Read a split; folds (`splits.Folds.names`) and splits with fewer training genes need not be stored.

    Returns
    -------
    int8 array [n_genes]
        0 train, 1 valid, 2 test, -1 unused.
    """
    if name in store.splits():
        return store.split(name)
    whole, n = whole_split_name(name)
    stored = whole in store.splits() or not is_fold_name(whole)
    split = store.split(whole) if stored else fold_split(store.genes, whole, 2 * store.window.flank)
    return split if n is None else fewer_training_genes(split, store.genes, n)


def resolve_marks(store: Store, pair: tuple[str, str], marks: Sequence[str] | None = None) -> tuple[str, ...]:
    """Marks to use: those asked for (StoreError when a cell lacks one), or all of the pair's.

    A mark that only one cell of the pair has is an error too: a model trained on fewer marks than the store
    holds should be somebody's decision.
    """
    held = {cell: store.marks(cell) for cell in pair}
    wanted = tuple(marks) if marks else tuple(dict.fromkeys(mark for cell in pair for mark in held[cell]))
    lacking = {cell: [mark for mark in wanted if mark not in held[cell]] for cell in pair}
    for cell, missing in lacking.items():
        if missing:
            common = ",".join(store.common_marks(pair))
            advice = f"use --marks {common}" if common and not marks else "choose other marks"
            raise StoreError(
                f"{store.path}: cell {cell} lacks {', '.join(missing)}; add it with `diffchrom prepare`, "
                f"or {advice}"
            )
    if not wanted:
        raise StoreError(f"{store.path}: cells {' and '.join(pair)} have no tracks")
    return wanted


def resolve_unit(store: Store, pair: tuple[str, str], unit: str | None = None) -> str | None:
    """Unit of expression that both cells have: the one asked for, else the preferred; None where none is."""
    first, second = (store.expression_units(cell) for cell in pair)
    common = [name for name in first if name in second]
    if unit is not None and unit not in common:
        raise StoreError(
            f"{store.path}: cells {' and '.join(pair)} have no common expression in {unit}; "
            f"they share {', '.join(common) or 'none'}"
        )
    return unit or (common[0] if common else None)


def check_units(store: Store, pair: tuple[str, str], marks: Sequence[str]) -> None:
    """Refuse a pair in which one mark's two tracks have different units of signal."""
    for mark in marks:
        units = [str(store.signal_attrs(cell, mark).get("unit", "")) for cell in pair]
        if all(units) and units[0] != units[1]:
            raise StoreError(
                f"{store.path}: {mark} is {units[0]} in {pair[0]} and {units[1]} in {pair[1]}; "
                "prepare both from tracks of one unit"
            )


def log2_fold_change(
    expr_a: npt.NDArray[np.float64], expr_b: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """log2((B + 1) / (A + 1)) from log2(A + 1) and log2(B + 1)."""
    return expr_b - expr_a


def load_pair(
    store: Store,
    pair: tuple[str, str],
    *,
    marks: Sequence[str] | None = None,
    split: str | None = None,
    unit: str | None = None,
    labels: str = "required",
    signal: bool = True,
    spill: Path | None = None,
) -> PairData:
    """Read a pair of cells from a store.

    Parameters
    ----------
    store : where from.
    pair : cells A and B.
    marks : marks in the order wanted; None is all that the two cells have.
    split : name of a stored split; None is the only one, or the default one.
    unit : unit of expression; None is the preferred one that both cells have.
    labels : ``required`` raises StoreError where expression is missing, ``optional`` gives NaN.
    signal : False leaves the signal out ([n_genes, n_marks, 0]), for callers that read it piece by piece.
    spill : folder on a disk with room for the signal, for stores larger than memory; None reads the signal
        into memory.

    Raises
    ------
    StoreError
        Missing cells, marks, splits, labels, or tracks of different units.
    """
    required = labels == "required"
    chosen_marks = resolve_marks(store, pair, marks)
    check_units(store, pair, chosen_marks)
    learnt = _read_labels(store, pair, resolve_unit(store, pair, unit), required)
    parts = _read_parts(store, split, required)
    nothing = np.empty((store.n_genes, len(chosen_marks), 0), dtype=np.float32)
    return PairData(
        pair=pair,
        marks=chosen_marks,
        genes=store.genes,
        signal_a=_read_signal(store, pair[0], chosen_marks, spill) if signal else nothing,
        signal_b=_read_signal(store, pair[1], chosen_marks, spill) if signal else nothing,
        split=parts,
        **vars(learnt),
    )


@dataclass(frozen=True)
class _Labels:
    """What `PairData` says of changes and expression, by the same names."""

    log2fc: npt.NDArray[np.float64]
    expr_a: npt.NDArray[np.float64]
    expr_b: npt.NDArray[np.float64]
    unit: str
    se: npt.NDArray[np.float64] | None
    labels: Mapping[str, str]


def _read_labels(store: Store, pair: tuple[str, str], unit: str | None, required: bool) -> _Labels:
    """Read expression in `unit`, and changes: those given for the pair, or else those of expression."""
    given = store.labels(pair)
    if unit is None and given is None and required:
        raise StoreError(
            f"{store.path}: no expression for {' and '.join(pair)}; add it with "
            "`diffchrom prepare --expression`, or changes with --labels"
        )
    unknown = np.full(store.n_genes, np.nan)
    expr_a, expr_b = (np.log2(store.expression(cell, unit) + 1) if unit else unknown for cell in pair)
    if given is not None:
        return _Labels(given.log2fc, expr_a, expr_b, unit or "", given.se, given.attrs)
    log2fc, se = log2_fold_change(expr_a, expr_b), _replicates_se(store, pair, unit)
    return _Labels(log2fc, expr_a, expr_b, unit or "", se, {"source": "expression"})


def _read_parts(store: Store, split: str | None, required: bool) -> npt.NDArray[np.int8]:
    """Read the split to use; without one, where that is allowed, no gene is of any part."""
    if split is None and not store.splits() and not required:
        return np.full(store.n_genes, -1, dtype=np.int8)
    return read_split(store, resolve_split(store, split))


def _replicates_se(store: Store, pair: tuple[str, str], unit: str | None) -> npt.NDArray[np.float64] | None:
    """Standard errors of log2fc where at least one cell has replicates."""
    if unit is None:
        return None
    first, second = (store.replicates(cell, unit) for cell in pair)
    return log2fc_se(first, second)


def _read_signal(
    store: Store, cell: str, marks: Sequence[str], spill: Path | None
) -> npt.NDArray[np.float32]:
    if spill is None:
        return store.signal(cell, marks)
    values = disk_array(spill, (store.n_genes, len(marks), store.window.n_bins))
    for first in range(0, store.n_genes, PIECE):
        rows = slice(first, min(first + PIECE, store.n_genes))
        values[rows] = store.signal(cell, marks, rows)
    return values


def disk_array(folder: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Make a float32 array that lies on disk and is paged in where it is used.

    Its file has no name any more when this returns, so nothing is left of it when the process ends, however
    it ends. The space is taken at once: a full disk is an OutputError here, not a crash later.
    """
    n_bytes = 4 * int(np.prod(shape))
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, max(n_bytes, 1))
            else:
                os.truncate(file.fileno(), n_bytes)
        except OSError as error:
            raise OutputError(
                f"{folder}: no room for {n_bytes / 1e9:.1f} GB of signal ({error.strerror}); "
                "set TMPDIR to a larger disk, or give --memory"
            ) from error
        return np.memmap(file, dtype=np.float32, mode="r+", shape=shape)


def signal_bytes(store: Store, n_marks: int, n_genes: int | None = None) -> int:
    """Bytes of a pair's signal in memory."""
    return 2 * 4 * n_marks * store.window.n_bins * (store.n_genes if n_genes is None else n_genes)

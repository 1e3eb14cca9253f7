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

from diffchrom.errors import OutputError, StoreError
from diffchrom.genome.genes import Genes
from diffchrom.pairs.choices import (
    SPLIT_PARTS,
    check_units,
    read_split,
    resolve_marks,
    resolve_split,
    resolve_unit,
)
from diffchrom.pairs.label_noise import log2fc_error_variance, log2fc_se
from diffchrom.pairs.transform import PIECE
from diffchrom.store.store import Store


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
        Standard error of log2fc, for weights: from replicates, with a prior learnt from the training genes,
        or from the table of changes; None where there is neither.
    error_variance : float64 [n_genes] or None
        Variance of log2fc's error, right on average over genes (`label_noise.log2fc_error_variance`).
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
    error_variance: npt.NDArray[np.float64] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.genes)

    def rows(self, part: str) -> npt.NDArray[np.intp]:
        """Rows of ``train``, ``valid`` or ``test`` whose label is known."""
        return np.flatnonzero((self.split == SPLIT_PARTS[part]) & np.isfinite(self.log2fc))

    def take(self, index: npt.NDArray[Any]) -> PairData:
        """Return the genes at `index` (positions or a mask), in that order."""
        arrays = ("signal_a", "signal_b", "log2fc", "expr_a", "expr_b", "split", "se", "error_variance")
        taken = {name: values[index] for name in arrays if (values := getattr(self, name)) is not None}
        return replace(self, genes=self.genes.take(index), **taken)


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
    parts = _read_parts(store, split, required)
    learnt = _read_labels(store, pair, resolve_unit(store, pair, unit), required, parts)
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
    error_variance: npt.NDArray[np.float64] | None
    labels: Mapping[str, str]


def _read_labels(
    store: Store, pair: tuple[str, str], unit: str | None, required: bool, parts: npt.NDArray[np.int8]
) -> _Labels:
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
        variance = None if given.se is None else given.se**2
        return _Labels(given.log2fc, expr_a, expr_b, unit or "", given.se, variance, given.attrs)
    first, second = (store.replicates(cell, unit) if unit else None for cell in pair)
    training = parts == SPLIT_PARTS["train"]
    return _Labels(
        log2_fold_change(expr_a, expr_b),
        expr_a,
        expr_b,
        unit or "",
        log2fc_se(first, second, training if training.any() else None),
        log2fc_error_variance(first, second),
        {"source": "expression"},
    )


def _read_parts(store: Store, split: str | None, required: bool) -> npt.NDArray[np.int8]:
    """Read the split to use; without one, where that is allowed, no gene is of any part."""
    if split is None and not store.splits() and not required:
        return np.full(store.n_genes, -1, dtype=np.int8)
    return read_split(store, resolve_split(store, split))


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

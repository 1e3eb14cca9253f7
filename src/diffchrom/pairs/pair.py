"""A pair of cells: which of a store's tracks and labels it means, and those as arrays when wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import StoreError
from diffchrom.files.disk_array import disk_array
from diffchrom.genome.genes import Genes, Rows, Signal, Window
from diffchrom.genome.layout import Layout
from diffchrom.genome.regions import TSS, Region
from diffchrom.pairs.choices import (
    SPLIT_PARTS,
    check_units,
    read_split,
    resolve_cells,
    resolve_marks,
    resolve_regions,
    resolve_split,
    resolve_unit,
)
from diffchrom.pairs.covariates import covariates_of, describe_same, has_prior, same_expression
from diffchrom.pairs.label_noise import log2fc_error_variance, log2fc_se
from diffchrom.pairs.signal_seen import Quantiles, Reference, quantiles
from diffchrom.pairs.transform import PIECE
from diffchrom.store.format import CHUNK_GENES
from diffchrom.store.store import Store

#: Signal of chosen genes is read at once up to this size, and batch by batch beyond it.
SIGNAL_BUDGET = 256 * 1024 * 1024
#: Genes at most this far apart are read in one go: opening all regions again takes as long as some chunks.
_NEIGHBOURS = 4 * CHUNK_GENES


@dataclass(frozen=True)
class Labels:
    """What is known of the genes' expression.

    Attributes
    ----------
    log2fc : float64 [n_genes]
        log2((B + 1) / (A + 1)); NaN where either expression is unknown.
    expr_a, expr_b : float64 [n_genes]
        log2(expression + 1); NaN where unknown.
    unit : str
        Unit of the expression, empty without any.
    se : float64 [n_genes] or None
        Standard error of log2fc, for weights: from replicates, with a prior learnt from the training genes,
        or from the table of changes; None where there is neither.
    error_variance : float64 [n_genes] or None
        Variance of log2fc's error, right on average over genes (`label_noise.log2fc_error_variance`).
    labels : dict
        Where log2fc comes from: ``source`` (``expression``, or a path) and ``dialect`` of a table of changes.
    """

    log2fc: npt.NDArray[np.float64]
    expr_a: npt.NDArray[np.float64]
    expr_b: npt.NDArray[np.float64]
    unit: str = ""
    se: npt.NDArray[np.float64] | None = None
    error_variance: npt.NDArray[np.float64] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """Two cells of a store with nothing left open; `Pair.of` decides what a caller leaves out.

    Arrays are read when they are asked for; genes and labels are kept, signal is not.

    Attributes
    ----------
    store : where everything is.
    cells : (A, B).
    marks : names, in the order of axis 1 of the signal.
    split : name; empty where no split is meant, and no gene is of any part.
    unit : of the expression; None where the cells have none in common.
    regions : whose windows make up axis 2 of the signal, the bins around the TSS first.
    covariate_names : numbers of the genes that are read beside the signal.
    prior_without : cells that are no part of a gene prior, beside A and B.
    unknown : cells that a model of several pairs doesn't know, though it may know cells of that name.
    reference : what signal is normalised to as it is read; None leaves it as it stands in the store.
    """

    store: Store
    cells: tuple[str, str]
    marks: tuple[str, ...]
    split: str
    unit: str | None
    regions: tuple[Region, ...]
    covariate_names: tuple[str, ...] = ()
    prior_without: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    reference: Reference | None = None

    @classmethod
    def of(
        cls,
        store: Store,
        cells: Sequence[str] | None = None,
        *,
        marks: Sequence[str] | None = None,
        split: str | None = None,
        unit: str | None = None,
        regions: Sequence[str] | None = None,
        labelled: bool = True,
    ) -> Pair:
        """Find in a store what is asked for.

        Parameters
        ----------
        store : where to look.
        cells : A and B; None is the store's two cells, where it has exactly two.
        marks : in the order wanted; None is all that the two cells have.
        split : name; None is the only one, or the default one; "" is none.
        unit : of the expression; None is the preferred one that both cells have.
        regions : names of those to read beside the bins around the TSS; None is all that both cells have.
        labelled : refuse a pair without labels, or a store without splits; False lets both be missing.

        Raises
        ------
        StoreError
            Missing cells, marks, regions, splits, labels, or tracks of different units.
        """
        pair = resolve_cells(store, cells)
        chosen_marks = resolve_marks(store, pair, marks)
        check_units(store, pair, chosen_marks)
        chosen_unit = resolve_unit(store, pair, unit)
        if labelled and chosen_unit is None and store.labels(pair) is None:
            raise StoreError(
                f"{store.path}: no expression for {' and '.join(pair)}; add it with "
                "`prepare_store(expression=...)`, or changes with `labels`"
            )
        splitless = split == "" or (split is None and not labelled and not store.splits())
        chosen_split = "" if splitless else resolve_split(store, split)
        chosen_regions = resolve_regions(store, pair, chosen_marks, regions)
        return cls(store, pair, chosen_marks, chosen_split, chosen_unit, chosen_regions)

    def around_tss(self) -> Pair:
        """The same pair with nothing but the bins around the TSS."""
        return replace(self, regions=tuple(region for region in self.regions if region.name == TSS))

    def __len__(self) -> int:
        return self.store.n_genes

    @property
    def genes(self) -> Genes:
        """All genes of the store, row by row."""
        return self.store.genes

    @property
    def window(self) -> Window:
        """How the store's windows around the TSS are cut into bins."""
        return self.store.window

    @cached_property
    def layout(self) -> Layout:
        """What the last axis of the signal is made of."""
        return Layout(self.regions, self.window.orient)

    @property
    def n_windows(self) -> int:
        """Bins around the TSS and windows of all further regions together."""
        return self.layout.n_windows

    @cached_property
    def parts(self) -> npt.NDArray[np.int8]:
        """Part of the split of every gene [n_genes]: 0 train, 1 valid, 2 test, -1 unused."""
        if not self.split:
            return np.full(self.store.n_genes, -1, dtype=np.int8)
        return read_split(self.store, self.split)

    @cached_property
    def labels(self) -> Labels:
        """Changes, those given for the pair or else those of expression, and expression, of every gene."""
        given = self.store.labels(self.cells)
        unknown = np.full(self.store.n_genes, np.nan)
        expr_a, expr_b = (
            np.log2(self.store.expression(cell, self.unit) + 1) if self.unit else unknown
            for cell in self.cells
        )
        if given is not None:
            variance = None if given.se is None else given.se**2
            return Labels(given.log2fc, expr_a, expr_b, self.unit or "", given.se, variance, given.attrs)
        first, second = (self.store.replicates(cell, self.unit) if self.unit else None for cell in self.cells)
        training = self.parts == SPLIT_PARTS["train"]
        return Labels(
            expr_b - expr_a,  # log2((B + 1) / (A + 1)), since both are log2(expression + 1) already
            expr_a,
            expr_b,
            self.unit or "",
            log2fc_se(first, second, training if training.any() else None),
            log2fc_error_variance(first, second),
            {"source": "expression"},
        )

    @cached_property
    def covariates(self) -> npt.NDArray[np.float32]:
        """Covariates of every gene [n_genes, n_covariates], not scaled; NaN where unknown."""
        without = (*self.cells, *self.prior_without, *self.doubles)
        unknown = (*self.prior_without, *self.unknown)
        return covariates_of(self.genes, self.covariate_names, self.store, without, unknown)

    @cached_property
    def doubles(self) -> dict[str, str]:
        """Cells that are A, B or one of `prior_without` under another name, and no part of a gene prior."""
        units = {name.partition(":")[2] for name in self.covariate_names if has_prior((name,))}
        without = (*self.cells, *self.prior_without)
        return {k: v for unit in units for k, v in same_expression(self.store, without, unit).items()}

    @property
    def prior_note(self) -> str:
        """Say which cells are no part of its gene prior because they are its own; empty where none is."""
        return describe_same(self.doubles)

    @property
    def signal_digest(self) -> str:
        """Sha256 of what models read of the two cells, whichever is A; labels are no part of it."""
        return self.store.signal_digest(self.cells, self.marks, self.layout.names)

    def rows(self, part: str) -> Rows:
        """Rows of ``train``, ``valid`` or ``test`` whose label is known."""
        return _rows_of(part, self.parts, self.labels.log2fc)

    def signal_of(self, cell: str, rows: Rows, marks: Sequence[str] | None = None) -> Signal:
        """Signal of one cell [len(rows), n_marks, n_windows], in any order; neighbours are read together."""
        marks = self.marks if marks is None else marks
        values = np.empty((len(rows), len(marks), self.n_windows), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        gaps = np.flatnonzero(np.diff(rows[order]) > _NEIGHBOURS) + 1
        for places in np.split(order, gaps):
            if len(places):
                first, last = int(rows[places[0]]), int(rows[places[-1]])
                values[places] = self._signal(cell, marks, slice(first, last + 1))[rows[places] - first]
        return values

    def _signal(self, cell: str, marks: Sequence[str], rows: slice | None = None) -> Signal:
        """Signal of one cell in all regions, side by side."""
        parts = [self.store.region_signal(cell, name, marks, rows) for name in self.layout.names]
        if self.reference is not None:
            own = self.reference.own(cell, lambda: self.quantiles_of(cell))
            names = zip(parts, self.layout.names, strict=True)
            parts = [self.reference.apply(part, own, marks, name) for part, name in names]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def quantiles_of(self, cell: str) -> Quantiles:
        """Quantiles of a cell's signal as it stands in the store [n_marks, n_regions, n_levels].

        Over the training genes of the split, or all genes without one; whether labels are known is no matter.
        """
        reference = self.reference
        marks, regions = (
            (self.marks, self.layout.names) if reference is None else (reference.marks, reference.regions)
        )
        rows = np.flatnonzero(self.parts == SPLIT_PARTS["train"])
        genes = rows if len(rows) else slice(None)
        return np.stack(
            [
                [quantiles(self.store.region_signal(cell, name, (mark,))[genes, 0]) for name in regions]
                for mark in marks
            ]
        )

    def signal(self, rows: Rows) -> tuple[Signal, Signal]:
        """Signal of A and of B as it stands in the store, each [len(rows), n_marks, n_windows]."""
        a, b = (self.signal_of(cell, rows) for cell in self.cells)
        return a, b

    def signal_batches(self, rows: Rows, batch_size: int) -> Iterator[tuple[Rows, Signal, Signal]]:
        """Yield the genes `rows` in their order, a batch at a time, with their signal of A and of B.

        What is read at once is bounded by `SIGNAL_BUDGET`, however many genes are asked for.
        """
        gene_bytes = 8 * len(self.marks) * self.n_windows
        at_once = max(1, SIGNAL_BUDGET // (gene_bytes * batch_size)) * batch_size
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]
            a, b = self.signal(some)
            for start in range(0, len(some), batch_size):
                batch = slice(start, start + batch_size)
                yield some[batch], a[batch], b[batch]

    def load(self, spill: Path | None = None, signals: dict[str, Signal] | None = None) -> PairData:
        """Read everything of every gene.

        Parameters
        ----------
        spill : folder on a disk with room for the signal, for stores larger than memory; None reads the
            signal into memory.
        signals : signal of cells that was read before, to which that of these is added.
        """
        signals = {} if signals is None else signals
        for cell in self.cells:
            if cell not in signals:
                signals[cell] = self._whole_signal(cell, spill)
        return PairData(
            cells=self.cells,
            marks=self.marks,
            layout=self.layout,
            genes=self.genes,
            signal_a=signals[self.cells[0]],
            signal_b=signals[self.cells[1]],
            parts=self.parts,
            covariates=self.covariates,
            **vars(self.labels),
        )

    def _whole_signal(self, cell: str, spill: Path | None) -> Signal:
        if spill is None:
            return self._signal(cell, self.marks)
        values = disk_array(spill, (self.store.n_genes, len(self.marks), self.n_windows))
        for first in range(0, self.store.n_genes, PIECE):
            rows = slice(first, min(first + PIECE, self.store.n_genes))
            values[rows] = self._signal(cell, self.marks, rows)
        return values


@dataclass(frozen=True, kw_only=True)
class PairData(Labels):
    """Signal and labels of one pair of cells, in memory (or mapped into it).

    Attributes
    ----------
    cells, marks, layout, genes, parts : as of `Pair`; rows may be fewer than the store's.
    signal_a, signal_b : float32 [n_genes, n_marks, n_windows]
        Signal as it stands in the store, neither transformed nor scaled.
    covariates : float32 [n_genes, n_covariates]
        As of `Pair`; None where none are read.
    """

    cells: tuple[str, str]
    marks: tuple[str, ...]
    layout: Layout
    genes: Genes
    signal_a: Signal
    signal_b: Signal
    parts: npt.NDArray[np.int8]
    covariates: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.genes)

    def rows(self, part: str) -> Rows:
        """Rows of ``train``, ``valid`` or ``test`` whose label is known."""
        return _rows_of(part, self.parts, self.log2fc)

    def exchanged(self) -> PairData:
        """The same genes with A and B exchanged."""
        return replace(
            self,
            cells=(self.cells[1], self.cells[0]),
            signal_a=self.signal_b,
            signal_b=self.signal_a,
            log2fc=-self.log2fc,
            expr_a=self.expr_b,
            expr_b=self.expr_a,
        )

    def take(self, index: npt.NDArray[Any]) -> PairData:
        """Return the genes at `index` (positions or a mask), in that order."""
        arrays = ["signal_a", "signal_b", "log2fc", "expr_a", "expr_b", "parts", "se", "error_variance"]
        arrays.append("covariates")
        taken = {name: values[index] for name in arrays if (values := getattr(self, name)) is not None}
        return replace(self, genes=self.genes.take(index), **taken)


def _rows_of(part: str, parts: npt.NDArray[np.int8], log2fc: npt.NDArray[np.float64]) -> Rows:
    return np.flatnonzero((parts == SPLIT_PARTS[part]) & np.isfinite(log2fc))


def signal_bytes(pair: Pair) -> int:
    """Bytes of a pair's signal in memory."""
    return 2 * 4 * len(pair.marks) * pair.n_windows * pair.store.n_genes

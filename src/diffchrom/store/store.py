"""The store: one HDF5 file with genes, binned signal, expression and splits (docs/store.md, version 2).

A `Store` keeps a path and opens the file for each operation, so it can be handed to other processes. All
writing goes through `create` or `Store.edit`: a copy is changed beside the store and renamed over it, so a
reader sees the old store or the new one, whatever kills the writer.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from diffchrom.errors import StoreError, did_you_mean
from diffchrom.files.whole import staged
from diffchrom.genome.genes import ORIENTATIONS, Genes, Signal, Window
from diffchrom.genome.regions import BIN_REGIONS, RULE_ATTRS, TSS, Region, region_of
from diffchrom.genome.windows import Windows
from diffchrom.store import fingerprints
from diffchrom.store.format import (
    ELSEWHERE,
    EXPRESSION_UNITS,
    FORMAT,
    FORMAT_VERSION,
    LABEL_COLUMNS,
    LABELS,
    MAX_BINS,
    MAX_GENES,
    REGION_GROUP,
    REPLICATES,
    check_size,
    datasets_in,
    digest,
    groups_in,
    read_column,
    reading,
    signal_group,
)
from diffchrom.store.soundness import read_attrs
from diffchrom.store.writer import StoreEditor, creating


def create(
    path: str | Path,
    genes: Genes,
    window: Window,
    *,
    chrom_sizes: Mapping[str, int] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> Store:
    """Make a store without tracks, replacing nothing; parameters as in `writer.creating`."""
    with creating(path, genes, window, chrom_sizes=chrom_sizes, attrs=attrs):
        pass
    return Store(path)


@dataclass(frozen=True)
class PairLabels:
    """Changes of a pair of cells that were given as a table, B over A.

    Attributes
    ----------
    log2fc : float64 [n_genes]
        NaN where unknown.
    se, padj : float64 [n_genes] or None
        Standard error of log2fc and adjusted p-value, where the table had them.
    attrs : ``source`` and ``dialect``.
    """

    log2fc: npt.NDArray[np.float64]
    se: npt.NDArray[np.float64] | None
    padj: npt.NDArray[np.float64] | None
    attrs: Mapping[str, str]


class Store:
    """A store on disk.

    Parameters
    ----------
    path : the HDF5 file.

    Raises
    ------
    StoreError
        When the file is missing, is no store, is broken, or is of a newer format version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with reading(self.path) as file:
            self.attrs: dict[str, Any] = read_attrs(file)
            if self.attrs.get("format") != FORMAT:
                raise StoreError(f"{self.path}: an HDF5 file, but not a diffchrom store")
            version = int(self.attrs["format_version"])
            if version > FORMAT_VERSION:
                raise StoreError(
                    f"{self.path}: store format {version} is newer than this diffchrom reads "
                    f"({FORMAT_VERSION}); upgrade diffchrom"
                )
            self.window = Window(
                int(self.attrs["flank"]), int(self.attrs["bin_size"]), str(self.attrs["orient"])
            )
            self.n_genes = int(file["genes/id"].shape[0])
            if not 0 < self.n_genes <= MAX_GENES or not 0 < self.window.n_bins <= MAX_BINS:
                raise ValueError("impossible number of genes or bins")
            if self.window.orient not in ORIENTATIONS:
                raise ValueError(f"orient is {self.window.orient!r}")

    @cached_property
    def genes(self) -> Genes:
        """The genes, row by row."""
        with reading(self.path) as file:
            group = file["genes"]
            return Genes(
                **{field.name: read_column(group, field.name, self.n_genes) for field in fields(Genes)}
            )

    @cached_property
    def chrom_sizes(self) -> dict[str, int]:
        """Chromosome lengths in bases, as far as known."""
        with reading(self.path) as file:
            group = file["chrom_sizes"]
            if "name" not in group:
                return {}
            names, lengths = read_column(group, "name"), read_column(group, "length")
            return {str(name): int(length) for name, length in zip(names, lengths, strict=True)}

    @property
    def notes(self) -> tuple[str, ...]:
        """What `prepare` said when it made and extended the store; StoreError where that is damaged."""
        try:
            notes = json.loads(str(self.attrs.get("notes", "[]")))
            if not isinstance(notes, list):
                raise TypeError("no list")
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreError(f"{self.path}: its notes are damaged ({error}); all else can be used") from error
        return tuple(map(str, notes))

    def cells(self) -> tuple[str, ...]:
        """Names of the cells, in the order in which they were added."""
        with reading(self.path) as file:
            return groups_in(file, "cells")

    def marks(self, cell: str, *, region: str = TSS) -> tuple[str, ...]:
        """Marks of one cell in a region, in the order in which they were added; empty where it has none."""
        with reading(self.path) as file:
            return datasets_in(self._cell(file, cell), signal_group(region))

    def common_marks(self, cells: Sequence[str]) -> tuple[str, ...]:
        """Marks that every one of `cells` has, in the order of the first cell."""
        first, *others = [self.marks(cell) for cell in cells]
        return tuple(mark for mark in first if all(mark in other for other in others))

    def regions(self, cell: str) -> tuple[str, ...]:
        """Regions of which a cell has tracks: the bins first, then in the order in which they were added."""
        with reading(self.path) as file:
            group = self._cell(file, cell)
            names = (*BIN_REGIONS, *groups_in(group, REGION_GROUP))
            return tuple(name for name in names if datasets_in(group, signal_group(name)))

    def region(self, cell: str, name: str, marks: Sequence[str] | None = None) -> Region:
        """Return the rule of one of a cell's regions.

        Parameters
        ----------
        marks : those that must have it; None is all that the cell has in the region.

        Raises
        ------
        StoreError
            When a mark is missing, or the marks have it by different rules.
        """
        with reading(self.path) as file:
            return self._rule(file, cell, name, marks)

    def _rule(self, file: h5py.File, cell: str, name: str, marks: Sequence[str] | None) -> Region:
        group = self._cell(file, cell)
        held = datasets_in(group, signal_group(name))
        wanted = held if marks is None else marks
        missing = [mark for mark in wanted if mark not in held]
        if missing or not (held or name in BIN_REGIONS):
            raise StoreError(
                f"{self.path}: cell {cell} has no {name} signal of {', '.join(missing) or 'any mark'}; it "
                f"has {', '.join(held) or 'none'}; add it with `prepare_store(regions={name})`"
            )
        if name in BIN_REGIONS:
            return region_of(name, self.window)
        tracks = group[signal_group(name)]
        rules = {Region.from_attrs(name, read_attrs(tracks[mark], RULE_ATTRS)) for mark in wanted or held}
        if len(rules) > 1:
            raise StoreError(
                f"{self.path}: tracks of {cell} have different windows in region {name}; prepare them again "
                f"with `regions={name}` `replace`"
            )
        return rules.pop()

    def common_regions(self, cells: Sequence[str], marks: Sequence[str]) -> tuple[Region, ...]:
        """Regions in which every one of `cells` has all `marks`, by the same rule, in the first's order."""
        shared: list[Region] = []
        for name in self.regions(cells[0]):
            if all(set(marks) <= set(self.marks(cell, region=name)) for cell in cells):
                rules = {self.region(cell, name, marks) for cell in cells}
                shared += rules if len(rules) == 1 else ()
        return tuple(shared)

    def windows(self, region: Region) -> Windows:
        """Where the genes' windows of a region lie."""
        return Windows.of(self.genes, region, self.window.orient)

    def signal(self, cell: str, marks: Sequence[str], rows: slice | None = None) -> Signal:
        """Binned signal of one cell around the TSS; see `region_signal`."""
        return self.region_signal(cell, TSS, marks, rows)

    def region_signal(
        self, cell: str, region: str, marks: Sequence[str], rows: slice | None = None
    ) -> Signal:
        """Signal of one cell in the windows of a region.

        Returns
        -------
        float32 array [n_genes (or rows), n_marks, n_windows]
            Marks in the order asked for; windows in transcription order, or in ascending coordinates where
            the store is oriented so.

        Raises
        ------
        StoreError
            As of `region`.
        """
        rows = rows or slice(0, self.n_genes)
        with reading(self.path) as file:
            n_windows = len(self._rule(file, cell, region, marks).windows)
            group = self._cell(file, cell).get(signal_group(region), {})
            for mark in marks:
                dataset = group[mark]
                if dataset.shape != (self.n_genes, n_windows) or dataset.dtype != np.float32:
                    raise ValueError(f"{dataset.name} is {dataset.dtype}{dataset.shape}")
                check_size(dataset)
            n_rows = len(range(*rows.indices(self.n_genes)))
            values = np.empty((n_rows, len(marks), n_windows), dtype=np.float32)
            for j, mark in enumerate(marks):
                values[:, j] = group[mark][rows]
            return values

    def signal_attrs(self, cell: str, mark: str, *, region: str = TSS) -> dict[str, Any]:
        """Attributes of a track: source, unit, scale, checksum, ..."""
        with reading(self.path) as file:
            return read_attrs(self._cell(file, cell)[signal_group(region)][mark])

    def expression_units(self, cell: str) -> tuple[str, ...]:
        """Units in which a cell's expression is known, the preferred first."""
        with reading(self.path) as file:
            units = datasets_in(self._cell(file, cell), "expression")
        rank = {unit: i for i, unit in enumerate(EXPRESSION_UNITS)}
        return tuple(sorted(units, key=lambda unit: (rank.get(unit, len(rank)), unit)))

    def expression(self, cell: str, unit: str) -> npt.NDArray[np.float64]:
        """Expression of a cell; float64 [n_genes], NaN where unknown."""
        with reading(self.path) as file:
            group = self._cell(file, cell).get("expression", {})
            if unit not in group:
                known = datasets_in(self._cell(file, cell), "expression")
                raise StoreError(
                    f"{self.path}: cell {cell} has no expression in {unit}; it has "
                    f"{', '.join(known) or 'none'}; add it with `prepare_store(expression=...)`"
                )
            return np.asarray(read_column(group, unit, self.n_genes), dtype=np.float64)

    def expression_attrs(self, cell: str, unit: str) -> dict[str, Any]:
        """Attributes of a cell's expression: source, checksum, ..."""
        with reading(self.path) as file:
            return read_attrs(self._cell(file, cell)["expression"][unit])

    def replicates(self, cell: str, unit: str) -> npt.NDArray[np.float64] | None:
        """Expression of a cell's replicates; float64 [n_genes, n_replicates], None where there are none."""
        with reading(self.path) as file:
            group = self._cell(file, cell).get(REPLICATES, {})
            if unit not in group:
                return None
            dataset = group[unit]
            if dataset.ndim != 2 or dataset.shape[0] != self.n_genes or dataset.dtype.kind != "f":
                raise ValueError(f"{dataset.name} is {dataset.dtype}{dataset.shape}")
            check_size(dataset)
            return np.asarray(dataset[:], dtype=np.float64)

    def labelled_pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs (A, B) whose changes were given as a table, in the order in which they were added."""
        with reading(self.path) as file:
            named = [name.split(",") for name in groups_in(file, LABELS)]
            return tuple((names[0], names[1]) for names in named if len(names) == 2)

    def labels(self, pair: Sequence[str]) -> PairLabels | None:
        """Changes that were given for a pair, B over A, whichever cell came first; None where none were."""
        with reading(self.path) as file:
            group = file.get(LABELS, {})
            for sign, (first, second) in ((1.0, tuple(pair)), (-1.0, tuple(pair)[::-1])):
                name = f"{first},{second}"
                if name not in group:
                    continue
                held = {
                    column: np.asarray(read_column(group[name], column, self.n_genes), dtype=np.float64)
                    for column in LABEL_COLUMNS
                    if column in group[name]
                }
                attrs = {key: str(value) for key, value in read_attrs(group[name]).items()}
                return PairLabels(sign * held["log2fc"], held.get("se"), held.get("padj"), attrs)
        return None

    def splits(self) -> tuple[str, ...]:
        """Names of the stored splits, in the order in which they were added."""
        with reading(self.path) as file:
            return datasets_in(file, "splits")

    def split(self, name: str) -> npt.NDArray[np.int8]:
        """A split; int8 [n_genes]: 0 train, 1 valid, 2 test, -1 unused."""
        with reading(self.path) as file:
            known = datasets_in(file, "splits")
            if name not in known:
                raise StoreError(
                    f"{self.path}: no split named {name}; it has {', '.join(known) or 'none'}"
                    + did_you_mean(name, known)
                )
            values = np.asarray(read_column(file["splits"], name, self.n_genes), dtype=np.int8)
            if not np.isin(values, (-1, 0, 1, 2)).all():
                raise ValueError(f"split {name} has values other than -1, 0, 1, 2")
            return values

    def columns_intact(self) -> dict[str, bool | None]:
        """Read all but signal and expression, which HDF5 checks chunk by chunk.

        Returns
        -------
        dict
            Path in the file to whether the values are those written; None where no digest was stored.
        """
        with reading(self.path) as file:
            columns = {"genes": tuple(field.name for field in fields(Genes))}
            columns["chrom_sizes"] = tuple(name for name in ("name", "length") if name in file["chrom_sizes"])
            columns["splits"] = datasets_in(file, "splits")
            for pair in groups_in(file, LABELS):
                held = file[LABELS][pair]
                columns[f"{LABELS}/{pair}"] = tuple(name for name in LABEL_COLUMNS if name in held)
            for unit in groups_in(file, ELSEWHERE):
                columns[f"{ELSEWHERE}/{unit}"] = datasets_in(file, f"{ELSEWHERE}/{unit}")
            for cell in groups_in(file, "cells"):
                columns[f"cells/{cell}/{REPLICATES}"] = datasets_in(file["cells"][cell], REPLICATES)
            found = {}
            for group, names in columns.items():
                for name in names:
                    column = file[group][name]
                    check_size(column) if column.ndim > 1 else read_column(file[group], name)
                    written = read_attrs(column).get("values_sha256")
                    found[f"{group}/{name}"] = None if written is None else written == digest(column[:])
            return found

    def fingerprint(self, cells: Sequence[str]) -> str:
        """Sha256 of everything about `cells` that a model can see: genes, window, signal and expression."""
        with self._reading_cells(cells) as file:
            return fingerprints.fingerprint(file, self.genes.id, cells)

    def signal_digest(
        self, cells: Sequence[str], marks: Sequence[str], regions: Sequence[str] = (TSS,)
    ) -> str:
        """Sha256 of what a model predicts `cells` from: genes, window and signal of `marks` in `regions`."""
        with self._reading_cells(cells) as file:
            return fingerprints.signal_digest(file, self.genes.id, cells, marks, regions)

    @contextlib.contextmanager
    def _reading_cells(self, cells: Sequence[str]) -> Iterator[h5py.File]:
        with reading(self.path) as file:
            for cell in cells:
                self._cell(file, cell)
            yield file

    def _cell(self, file: h5py.File, cell: str) -> h5py.Group:
        if file["cells"].get(cell, getclass=True) is not h5py.Group:
            known = ", ".join(groups_in(file, "cells")) or "none"
            raise StoreError(f"{self.path}: no cell named {cell}; it has {known}")
        return file["cells"][cell]

    @contextlib.contextmanager
    def edit(self) -> Iterator[StoreEditor]:
        """Change a copy of the store and put it in the store's place when the block ends well."""
        with staged(self.path) as temporary:
            shutil.copyfile(self.path, temporary)
            with h5py.File(temporary, "r+", libver=("v110", "v110")) as file:
                yield StoreEditor(file, self.path, self.n_genes, self.window)
        for name in ("genes", "chrom_sizes"):
            self.__dict__.pop(name, None)
        self.attrs = Store(self.path).attrs

"""Writing stores: everything goes into a copy or a new file that is renamed into place when it is whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from diffchrom._version import __version__
from diffchrom.errors import StoreError
from diffchrom.files.whole import staged
from diffchrom.genome.genes import Genes, Signal, Window
from diffchrom.genome.regions import BIN_REGIONS, TSS, Region, region_of
from diffchrom.store.format import (
    COMPRESSION,
    ELSEWHERE,
    FORMAT,
    FORMAT_VERSION,
    LABELS,
    REPLICATES,
    SIGNAL_GROUPS,
    digest,
    reading,
    signal_chunks,
    signal_group,
)
from diffchrom.store.soundness import write_attrs
from diffchrom.store.statistics import Statistics


def _check_name(kind: str, name: str) -> str:
    if not name or "/" in name or name in {".", ".."} or not name.isprintable():
        raise StoreError(f"{name!r} cannot be a {kind} name in a store: it is empty or has '/' in it")
    return name


def _write_strings(group: h5py.Group, name: str, values: npt.NDArray[Any]) -> None:
    encoded = [str(value).encode() for value in values]
    length = max((len(value) for value in encoded), default=0) or 1
    # Fixed length, unlike variable-length strings, passes the checksum and compression filters.
    data = np.array(encoded, dtype=h5py.string_dtype("utf-8", length))
    _write_column(group, name, data)


def _write_column(group: h5py.Group, name: str, values: npt.NDArray[Any]) -> None:
    column = group.create_dataset(name, data=values, chunks=(max(1, len(values)),), **COMPRESSION)
    write_attrs(column, {"values_sha256": digest(values)})


@contextlib.contextmanager
def creating(
    path: str | Path,
    genes: Genes,
    window: Window,
    *,
    chrom_sizes: Mapping[str, int] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> Iterator[StoreEditor]:
    """Make a store, replacing nothing; it appears with all that is added when the block ends well.

    Parameters
    ----------
    path : path of the new file; StoreError when it exists.
    genes : rows of the store; ids must be unique.
    window : how windows are cut into bins.
    chrom_sizes : chromosome name to length, in bases, as far as known.
    attrs : further root attributes (``gtf``, ``gtf_sha256``, ...).
    """
    path = Path(path)
    if path.exists():
        raise StoreError(f"{path}: exists already; add to it, or remove it first")
    if not len(genes):
        raise StoreError(f"{path}: a store needs at least one gene")
    if len(set(genes.id)) != len(genes):
        raise StoreError(f"{path}: gene ids must be unique")
    with staged(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        write_attrs(
            file,
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "created_by": f"diffchrom {__version__}",
                "flank": window.flank,
                "bin_size": window.bin_size,
                "orient": window.orient,
                **(attrs or {}),
            },
        )
        group = file.create_group("genes")
        for field in fields(Genes):
            values = getattr(genes, field.name)
            write = _write_strings if values.dtype == object else _write_column
            write(group, field.name, values)
        file.create_group("chrom_sizes")
        editor = StoreEditor(file, path, len(genes), window)
        editor.set_chrom_sizes(chrom_sizes or {})
        file.create_group("cells", track_order=True)
        file.create_group("splits", track_order=True)
        yield editor


class StoreEditor:
    """What can be added to a store inside `Store.edit`; every method refuses to overwrite unless told to."""

    def __init__(self, file: h5py.File, path: Path, n_genes: int, window: Window) -> None:
        self._file = file
        self.path = path
        self.n_genes = n_genes
        self.window = window

    def _make_room(self, group: h5py.Group, name: str, replace: bool) -> None:
        if name in group:
            if not replace:
                raise StoreError(f"{self.path}: {group.name}/{name} exists; use `replace` to renew it")
            del group[name]

    def _put(
        self,
        group: h5py.Group,
        name: str,
        values: npt.NDArray[Any],
        chunks: tuple[int, ...],
        attrs: Mapping[str, Any] | None,
        replace: bool,
    ) -> None:
        self._make_room(group, name, replace)
        dataset = group.create_dataset(name, data=values, chunks=chunks, **COMPRESSION)
        write_attrs(dataset, attrs or {})
        write_attrs(dataset, {"values_sha256": digest(values)})

    def _group(self, *names: str) -> h5py.Group:
        group = self._file
        for name in names:
            group = group[name] if name in group else group.create_group(name, track_order=True)
        return group

    def _signal_group(self, cell: str, mark: str, region: str) -> h5py.Group:
        _check_name("mark", mark)
        if region not in SIGNAL_GROUPS and int(self._file.attrs["format_version"]) < FORMAT_VERSION:
            write_attrs(self._file, {"format_version": FORMAT_VERSION})
        path = signal_group(_check_name("region", region)).split("/")
        self._bring_expression(_check_name("cell", cell))
        return self._group("cells", _check_name("cell", cell), *path)

    def add_signal(
        self,
        cell: str,
        mark: str,
        values: Signal,
        attrs: Mapping[str, Any] | None = None,
        *,
        region: Region | str = TSS,
        replace: bool = False,
    ) -> None:
        """Add one track; `values` is float32 [n_genes, n_windows], finite, in the order of the store.

        Parameters
        ----------
        region : a rule, or the name of one that diffchrom knows.
        """
        rule = region if isinstance(region, Region) else region_of(region, self.window)
        shape = (self.n_genes, len(rule.windows))
        if values.shape != shape:
            raise ValueError(f"signal of {cell} {mark} is {values.shape}, not {shape}")
        if not np.isfinite(values).all():
            raise StoreError(f"signal of {cell} {mark} has values that are not finite numbers")
        group = self._signal_group(cell, mark, rule.name)
        values = np.asarray(values, np.float32)
        told = {**({} if rule.bins else rule.attrs()), **(attrs or {}), **Statistics.of(values).attrs()}
        self._put(group, mark, values, signal_chunks(*shape), told, replace)

    def add_part(self, cell: str, mark: str, part: Path, *, region: str = TSS, replace: bool = False) -> None:
        """Add a track in one region from a file that `write_part` made, without compressing it again."""
        group = self._signal_group(cell, mark, region)
        self._make_room(group, mark, replace)
        with reading(part) as source:
            values = source[region]["values"]
            n_windows = self.window.n_bins if region in BIN_REGIONS else len(values.attrs["windows"])
            if values.shape != (self.n_genes, n_windows):
                raise ValueError(f"{part} is {values.shape}")
            source.copy(values, group, name=mark)

    def add_expression(
        self,
        cell: str,
        unit: str,
        values: npt.NDArray[np.float64],
        attrs: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Add a cell's expression; `values` is float64 [n_genes], not negative, NaN where unknown.

        Replicates of the expression that it replaces go with it.
        """
        self._check_expression(cell, unit, values)
        group = self._group("cells", _check_name("cell", cell), "expression")
        chunks = (self.n_genes,)
        self._put(group, _check_name("unit", unit), np.asarray(values, np.float64), chunks, attrs, replace)
        if unit in self._file["cells"][cell].get(REPLICATES, {}):
            del self._file["cells"][cell][REPLICATES][unit]

    def _check_expression(self, cell: str, unit: str, values: npt.NDArray[np.float64]) -> None:
        if values.shape != (self.n_genes,):
            raise ValueError(f"expression of {cell} is {values.shape}")
        if np.isinf(values).any() or (values < 0).any():
            raise StoreError(f"expression of {cell} ({unit}) has negative or infinite values")

    def add_expression_elsewhere(
        self,
        cell: str,
        unit: str,
        values: npt.NDArray[np.float64],
        attrs: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Add expression of a cell without tracks, as `add_expression`; its first track makes it its own."""
        self._check_expression(cell, unit, values)
        group = self._group(ELSEWHERE, _check_name("unit", unit))
        chunks = (self.n_genes,)
        self._put(group, _check_name("cell", cell), np.asarray(values, np.float64), chunks, attrs, replace)

    def _bring_expression(self, cell: str) -> None:
        """Give a cell that gets its first track the expression that was kept of it."""
        for unit, group in self._file.get(ELSEWHERE, {}).items():
            if cell in group:
                own = self._group("cells", cell, "expression")
                if unit in own:
                    del group[cell]
                else:
                    self._file.move(f"{ELSEWHERE}/{unit}/{cell}", f"{own.name}/{unit}")

    def add_replicates(
        self, cell: str, unit: str, values: npt.NDArray[np.float64], *, replace: bool = False
    ) -> None:
        """Add a cell's replicates; float64 [n_genes, n_replicates], as named with its expression."""
        if values.ndim != 2 or len(values) != self.n_genes:
            raise ValueError(f"replicates of {cell} are {values.shape}")
        group = self._group("cells", _check_name("cell", cell), REPLICATES)
        chunks = (min(self.n_genes, 4096), values.shape[1])
        self._put(group, _check_name("unit", unit), np.asarray(values, np.float64), chunks, None, replace)

    def add_labels(
        self,
        pair: tuple[str, str],
        columns: Mapping[str, npt.NDArray[np.float64]],
        attrs: Mapping[str, str],
        *,
        replace: bool = False,
    ) -> None:
        """Add changes of a pair, B over A: ``log2fc`` and, as known, ``se`` and ``padj``, each [n_genes]."""
        group = self._group(LABELS)
        name = _check_name("pair", ",".join(pair))
        for old in (name, ",".join(pair[::-1])):  # a pair has one table, whichever cell comes first
            self._make_room(group, old, replace)
        for column, values in columns.items():
            if values.shape != (self.n_genes,) or np.isinf(values).any():
                raise ValueError(f"{column} of {name} is {values.shape} or infinite")
            self._put(self._group(LABELS, name), column, values, (self.n_genes,), None, replace)
        write_attrs(self._group(LABELS, name), attrs)

    def add_split(
        self,
        name: str,
        values: npt.NDArray[np.int8],
        attrs: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Add a split; `values` is int8 [n_genes]: 0 train, 1 valid, 2 test, -1 unused."""
        if values.shape != (self.n_genes,) or not np.isin(values, (-1, 0, 1, 2)).all():
            raise ValueError(f"split {name} must be {self.n_genes} values of -1, 0, 1, 2")
        group = self._group("splits")
        chunks = (self.n_genes,)
        self._put(group, _check_name("split", name), np.asarray(values, np.int8), chunks, attrs, replace)

    def set_chrom_sizes(self, sizes: Mapping[str, int]) -> None:
        """Set the lengths of all chromosomes that are known, in bases."""
        group = self._file["chrom_sizes"]
        group.clear()
        if sizes:
            _write_strings(group, "name", np.array(list(sizes), dtype=object))
            _write_column(group, "length", np.array(list(sizes.values()), dtype=np.int64))

    def set_attrs(self, attrs: Mapping[str, Any]) -> None:
        """Set root attributes (what a `prepare` understood, dropped or guessed)."""
        write_attrs(self._file, attrs)

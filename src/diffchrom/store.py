"""The store: one HDF5 file with genes, binned signal, expression and splits (docs/store.md, version 1).

A `Store` keeps a path and opens the file for each operation, so it can be handed to other processes. All
writing goes through `create` or `Store.edit`: a copy is changed beside the store and renamed over it, so a
reader sees the old store or the new one, whatever kills the writer.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from diffchrom._version import __version__
from diffchrom.errors import DiffchromError, StoreError
from diffchrom.files import staged
from diffchrom.genes import ORIENTATIONS, Genes, Window

FORMAT = "diffchrom-store"
FORMAT_VERSION = 1

#: Names of the signal groups, by what the window is laid around.
SIGNAL_GROUPS = {"tss": "signal", "tes": "signal_tes"}
#: Units of expression, the preferred first where a store holds several.
EXPRESSION_UNITS = ("tpm", "rpkm", "fpkm", "counts")

CHUNK_GENES = 32
MAX_GENES = 50_000_000
MAX_BINS = 1_000_000
_COMPRESSION = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
# deflate cannot shrink data more than about 1030 times; a dataset that claims more is no honest one.
_MAX_DEFLATE_RATIO = 1100

Signal = npt.NDArray[np.float32]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    """Open for reading; whatever a broken or hostile file makes h5py raise becomes a StoreError."""
    if not path.exists():
        raise StoreError(f"{path}: no such store; make one with `diffchrom prepare` or give --store")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except DiffchromError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, UnicodeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StoreError(f"{path}: not a readable diffchrom store ({reason}); prepare it again") from error


def _check_name(kind: str, name: str) -> str:
    if not name or "/" in name or name in {".", ".."} or not name.isprintable():
        raise StoreError(f"{name!r} cannot be a {kind} name in a store: it is empty or has '/' in it")
    return name


def _digest(values: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _write_strings(group: h5py.Group, name: str, values: npt.NDArray[Any]) -> None:
    encoded = [str(value).encode() for value in values]
    length = max((len(value) for value in encoded), default=0) or 1
    # Fixed length, unlike variable-length strings, passes the checksum and compression filters.
    data = np.array(encoded, dtype=h5py.string_dtype("utf-8", length))
    group.create_dataset(name, data=data, chunks=(max(1, len(data)),), **_COMPRESSION)


def _read_column(group: h5py.Group, name: str, n_genes: int | None = None) -> npt.NDArray[Any]:
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1:
        raise ValueError(f"{group.name}/{name} is no column")
    if n_genes is not None and dataset.shape[0] != n_genes:
        raise ValueError(f"{group.name}/{name} has {dataset.shape[0]} rows, not {n_genes}")
    _check_size(dataset)
    values = dataset[:]
    if dataset.dtype.kind == "S":
        return np.array([value.decode() for value in values], dtype=object)
    return np.asarray(values)


def signal_chunks(n_genes: int, n_bins: int) -> tuple[int, int]:
    """Chunk shape of a track: few genes, so that reading random genes inflates little."""
    return min(CHUNK_GENES, n_genes), n_bins


def write_part(
    path: Path,
    values: Signal,
    attrs: Mapping[str, Any],
    extra: Mapping[str, npt.NDArray[Any]],
    *,
    draft: bool = False,
) -> None:
    """Write one track as it will stand in a store, for `StoreEditor.add_part`; whole or not at all.

    Parameters
    ----------
    path : the part's file.
    values : float32 [n_genes, n_bins].
    attrs : of the track.
    extra : further arrays that stay in the part (coverage).
    draft : write the values plainly, since the part's rows are still to be chosen.
    """
    layout = {} if draft else {"chunks": signal_chunks(*values.shape), **_COMPRESSION}
    with staged(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        dataset = file.create_dataset("values", data=values, **layout)
        dataset.attrs.update(dict(attrs))
        if not draft:
            dataset.attrs["values_sha256"] = _digest(values)
        for name, array in extra.items():
            file[name] = array


def is_part(path: Path) -> bool:
    """Tell whether a part is there and whole; parts are renamed into place, so opening it is enough."""
    try:
        with _reading(path) as file:
            return "values" in file
    except StoreError:
        return False


def read_part(path: Path, name: str = "values") -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read an array of a part and the track's attributes; StoreError when the part is broken."""
    with _reading(path) as file:
        return file[name][:], dict(file["values"].attrs)


def _check_size(dataset: h5py.Dataset) -> None:
    claimed = int(np.prod(dataset.shape, dtype=np.float64)) * dataset.dtype.itemsize
    if claimed > _MAX_DEFLATE_RATIO * (dataset.id.get_storage_size() + 64):
        raise ValueError(f"{dataset.name} claims {claimed} bytes that the file does not hold")


def create(
    path: str | Path,
    genes: Genes,
    window: Window,
    *,
    chrom_sizes: Mapping[str, int] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> Store:
    """Make a store without tracks, replacing nothing; see `creating`."""
    with creating(path, genes, window, chrom_sizes=chrom_sizes, attrs=attrs):
        pass
    return Store(path)


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
        file.attrs.update(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "created_by": f"diffchrom {__version__}",
                "flank": window.flank,
                "bin_size": window.bin_size,
                "orient": window.orient,
            }
        )
        file.attrs.update(dict(attrs or {}))
        group = file.create_group("genes")
        for field in fields(Genes):
            values = getattr(genes, field.name)
            if values.dtype == object:
                _write_strings(group, field.name, values)
            else:
                group.create_dataset(field.name, data=values, chunks=(len(genes),), **_COMPRESSION)
        sizes = file.create_group("chrom_sizes")
        names = np.array(list(chrom_sizes or {}), dtype=object)
        lengths = np.array(list((chrom_sizes or {}).values()), dtype=np.int64)
        if len(names):
            _write_strings(sizes, "name", names)
            sizes.create_dataset("length", data=lengths, chunks=(len(lengths),), **_COMPRESSION)
        file.create_group("cells", track_order=True)
        file.create_group("splits", track_order=True)
        yield StoreEditor(file, path, len(genes), window)


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
        with _reading(self.path) as file:
            if file.attrs.get("format") != FORMAT:
                raise StoreError(f"{self.path}: an HDF5 file, but not a diffchrom store")
            version = int(file.attrs["format_version"])
            if version > FORMAT_VERSION:
                raise StoreError(
                    f"{self.path}: store format {version} is newer than this diffchrom reads "
                    f"({FORMAT_VERSION}); upgrade diffchrom"
                )
            self.attrs: dict[str, Any] = dict(file.attrs)
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
        with _reading(self.path) as file:
            group = file["genes"]
            return Genes(
                **{field.name: _read_column(group, field.name, self.n_genes) for field in fields(Genes)}
            )

    @cached_property
    def chrom_sizes(self) -> dict[str, int]:
        """Chromosome lengths in bases, as far as known when the store was made."""
        with _reading(self.path) as file:
            group = file["chrom_sizes"]
            if "name" not in group:
                return {}
            names, lengths = _read_column(group, "name"), _read_column(group, "length")
            return {str(name): int(length) for name, length in zip(names, lengths, strict=True)}

    def cells(self) -> tuple[str, ...]:
        """Names of the cells, in the order in which they were added."""
        with _reading(self.path) as file:
            return tuple(file["cells"])

    def marks(self, cell: str, *, around: str = "tss") -> tuple[str, ...]:
        """Marks of one cell, in the order in which they were added; empty where it has none."""
        with _reading(self.path) as file:
            return tuple(self._cell(file, cell).get(SIGNAL_GROUPS[around], ()))

    def common_marks(self, cells: Sequence[str]) -> tuple[str, ...]:
        """Marks that every one of `cells` has, in the order of the first cell."""
        first, *others = [self.marks(cell) for cell in cells]
        return tuple(mark for mark in first if all(mark in other for other in others))

    def signal(
        self,
        cell: str,
        marks: Sequence[str],
        rows: slice | None = None,
        *,
        around: str = "tss",
    ) -> Signal:
        """Binned signal of one cell.

        Returns
        -------
        float32 array [n_genes (or rows), n_marks, n_bins]
            Marks in the order asked for.
        """
        rows = rows or slice(0, self.n_genes)
        with _reading(self.path) as file:
            group = self._cell(file, cell).get(SIGNAL_GROUPS[around], {})
            missing = [mark for mark in marks if mark not in group]
            if missing:
                raise StoreError(
                    f"{self.path}: cell {cell} has no {around.upper()} signal of {', '.join(missing)}; "
                    f"it has {', '.join(group) or 'none'}; add it with `diffchrom prepare`"
                )
            n_rows = len(range(*rows.indices(self.n_genes)))
            for mark in marks:
                dataset = group[mark]
                if dataset.shape != (self.n_genes, self.window.n_bins) or dataset.dtype != np.float32:
                    raise ValueError(f"{dataset.name} is {dataset.dtype}{dataset.shape}")
                _check_size(dataset)
            values = np.empty((n_rows, len(marks), self.window.n_bins), dtype=np.float32)
            for j, mark in enumerate(marks):
                values[:, j] = group[mark][rows]
            return values

    def signal_attrs(self, cell: str, mark: str, *, around: str = "tss") -> dict[str, Any]:
        """Attributes of a track: source, unit, scale, checksum, ..."""
        with _reading(self.path) as file:
            return dict(self._cell(file, cell)[SIGNAL_GROUPS[around]][mark].attrs)

    def expression_units(self, cell: str) -> tuple[str, ...]:
        """Units in which a cell's expression is known, the preferred first."""
        with _reading(self.path) as file:
            units = tuple(self._cell(file, cell).get("expression", ()))
        rank = {unit: i for i, unit in enumerate(EXPRESSION_UNITS)}
        return tuple(sorted(units, key=lambda unit: (rank.get(unit, len(rank)), unit)))

    def expression(self, cell: str, unit: str) -> npt.NDArray[np.float64]:
        """Expression of a cell; float64 [n_genes], NaN where unknown."""
        with _reading(self.path) as file:
            group = self._cell(file, cell).get("expression", {})
            if unit not in group:
                raise StoreError(
                    f"{self.path}: cell {cell} has no expression in {unit}; it has "
                    f"{', '.join(group) or 'none'}; add it with `diffchrom prepare --expression`"
                )
            return np.asarray(_read_column(group, unit, self.n_genes), dtype=np.float64)

    def expression_attrs(self, cell: str, unit: str) -> dict[str, Any]:
        """Attributes of a cell's expression: source, checksum, ..."""
        with _reading(self.path) as file:
            return dict(self._cell(file, cell)["expression"][unit].attrs)

    def splits(self) -> tuple[str, ...]:
        """Names of the stored splits, in the order in which they were added."""
        with _reading(self.path) as file:
            return tuple(file["splits"])

    def split(self, name: str) -> npt.NDArray[np.int8]:
        """A split; int8 [n_genes]: 0 train, 1 valid, 2 test, -1 unused."""
        with _reading(self.path) as file:
            group = file["splits"]
            if name not in group:
                known = ", ".join(group) or "none"
                raise StoreError(f"{self.path}: no split named {name}; it has {known}")
            values = np.asarray(_read_column(group, name, self.n_genes), dtype=np.int8)
            if not np.isin(values, (-1, 0, 1, 2)).all():
                raise ValueError(f"split {name} has values other than -1, 0, 1, 2")
            return values

    def fingerprint(self, cells: Sequence[str]) -> str:
        """Sha256 of everything about `cells` that a model can see: genes, window, signal and expression."""
        digest = hashlib.sha256()
        with _reading(self.path) as file:
            for key in ("flank", "bin_size", "orient", "genes_sha256"):
                digest.update(f"{key}={file.attrs.get(key, '')};".encode())
            digest.update("\n".join(self.genes.id).encode())
            for cell in cells:
                for group_name in (*SIGNAL_GROUPS.values(), "expression"):
                    group = self._cell(file, cell).get(group_name, {})
                    for name in sorted(group):
                        checksum = group[name].attrs["values_sha256"]
                        digest.update(f"{cell}/{group_name}/{name}={checksum};".encode())
        return digest.hexdigest()

    def _cell(self, file: h5py.File, cell: str) -> h5py.Group:
        if cell not in file["cells"]:
            known = ", ".join(file["cells"]) or "none"
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
                raise StoreError(f"{self.path}: {group.name}/{name} exists; use --replace to renew it")
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
        dataset = group.create_dataset(name, data=values, chunks=chunks, **_COMPRESSION)
        dataset.attrs.update(dict(attrs or {}))
        dataset.attrs["values_sha256"] = _digest(values)

    def _group(self, *names: str) -> h5py.Group:
        group = self._file
        for name in names:
            group = group[name] if name in group else group.create_group(name, track_order=True)
        return group

    def add_signal(
        self,
        cell: str,
        mark: str,
        values: Signal,
        attrs: Mapping[str, Any] | None = None,
        *,
        around: str = "tss",
        replace: bool = False,
    ) -> None:
        """Add one track; `values` is float32 [n_genes, n_bins], finite."""
        shape = (self.n_genes, self.window.n_bins)
        if values.shape != shape:
            raise ValueError(f"signal of {cell} {mark} is {values.shape}, not {shape}")
        if not np.isfinite(values).all():
            raise StoreError(f"signal of {cell} {mark} has values that are not finite numbers")
        group = self._group("cells", _check_name("cell", cell), SIGNAL_GROUPS[around])
        values = np.asarray(values, np.float32)
        self._put(group, _check_name("mark", mark), values, signal_chunks(*shape), attrs, replace)

    def add_part(
        self,
        cell: str,
        mark: str,
        part: Path,
        *,
        around: str = "tss",
        replace: bool = False,
    ) -> None:
        """Add a track from a file that `write_part` made, without compressing it again."""
        group = self._group("cells", _check_name("cell", cell), SIGNAL_GROUPS[around])
        self._make_room(group, _check_name("mark", mark), replace)
        with _reading(part) as source:
            if source["values"].shape != (self.n_genes, self.window.n_bins):
                raise ValueError(f"{part} is {source['values'].shape}")
            source.copy("values", group, name=mark)

    def add_expression(
        self,
        cell: str,
        unit: str,
        values: npt.NDArray[np.float64],
        attrs: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Add a cell's expression; `values` is float64 [n_genes], not negative, NaN where unknown."""
        if values.shape != (self.n_genes,):
            raise ValueError(f"expression of {cell} is {values.shape}")
        if np.isinf(values).any() or (values < 0).any():
            raise StoreError(f"expression of {cell} ({unit}) has negative or infinite values")
        group = self._group("cells", _check_name("cell", cell), "expression")
        chunks = (self.n_genes,)
        self._put(group, _check_name("unit", unit), np.asarray(values, np.float64), chunks, attrs, replace)

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

    def set_attrs(self, attrs: Mapping[str, Any]) -> None:
        """Set root attributes (what a `prepare` understood, dropped or guessed)."""
        self._file.attrs.update(dict(attrs))

"""What stores are made of (docs/store.md): names, limits, filters, and reading that trusts nothing."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from diffchrom.errors import DiffchromError, StoreError
from diffchrom.store.soundness import require_sound, unreadable

FORMAT = "diffchrom-store"
FORMAT_VERSION = 2

#: Groups of a cell that hold a region's signal: those of version 1 by region, and the group of all others.
SIGNAL_GROUPS = {"tss": "signal", "tes_bins": "signal_tes"}
REGION_GROUP = "regions"
#: Group of a cell with the expression of its replicates, and group of changes that were given by pair.
REPLICATES, LABELS = "replicates", "labels"
#: Group of the expression of cells without tracks: a group a unit, a column a cell.
ELSEWHERE = "expression_elsewhere"
#: What the groups hold, as dimensions and kinds of values; a reader ignores whatever else stands there.
MEMBERS = {
    "signal": (2, "iuf"),
    "signal_tes": (2, "iuf"),
    REGION_GROUP: (2, "iuf"),
    "expression": (1, "iuf"),
    ELSEWHERE: (1, "iuf"),
    REPLICATES: (2, "iuf"),
    "splits": (1, "iu"),
}
#: Columns of a pair's given changes.
LABEL_COLUMNS = ("log2fc", "se", "padj")
#: Units of expression, the preferred first where a store holds several.
EXPRESSION_UNITS = ("tpm", "rpkm", "fpkm", "counts")

#: Genes and values of a chunk of signal: few, so that reading random genes inflates little.
CHUNK_GENES, CHUNK_VALUES = 32, 6400
MAX_GENES = 50_000_000
MAX_BINS = 1_000_000
COMPRESSION = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
# deflate cannot shrink data more than about 1030 times; a dataset that claims more is no honest one.
_MAX_DEFLATE_RATIO = 1100


@contextlib.contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """Open for reading; whatever a broken or hostile file makes h5py raise becomes a StoreError."""
    if not path.exists():
        raise StoreError(f"{path}: no such store; make one with `diffchrom prepare` or give `store`")
    try:
        require_sound(path)
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except DiffchromError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, UnicodeError) as error:
        raise unreadable(path, error) from error


def read_column(group: h5py.Group, name: str, n_genes: int | None = None) -> npt.NDArray[Any]:
    """Read a one-dimensional dataset, strings as objects; ValueError where it is none or has other rows."""
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1:
        raise ValueError(f"{group.name}/{name} is no column")
    if dataset.dtype.kind not in "iufS":
        raise ValueError(f"{group.name}/{name} holds neither numbers nor text of fixed length")
    if n_genes is not None and dataset.shape[0] != n_genes:
        raise ValueError(f"{group.name}/{name} has {dataset.shape[0]} rows, not {n_genes}")
    check_size(dataset)
    values = dataset[:]
    if dataset.dtype.kind == "S":
        return np.array([value.decode() for value in values], dtype=object)
    return np.asarray(values)


def datasets_in(parent: h5py.Group, name: str) -> tuple[str, ...]:
    """Names of what a group of `parent` holds of ours (`MEMBERS`); empty where there is no such group."""
    ndim, kinds = MEMBERS[name.partition("/")[0]]
    group = parent.get(name, {})
    held = ((member, group.get(member)) for member in group)
    return tuple(
        member
        for member, item in held
        if isinstance(item, h5py.Dataset) and item.ndim == ndim and item.dtype.kind in kinds
    )


def groups_in(parent: h5py.Group, name: str) -> tuple[str, ...]:
    """Names of the groups in a group of `parent`; empty where there is no such group."""
    group = parent.get(name, {})
    return tuple(member for member in group if group.get(member, getclass=True) is h5py.Group)


def signal_group(region: str) -> str:
    """Return the path, below a cell, of the group that holds a region's signal."""
    return SIGNAL_GROUPS.get(region, f"{REGION_GROUP}/{region}")


def signal_chunks(n_genes: int, n_windows: int) -> tuple[int, int]:
    """Chunk shape of a track in one region."""
    return min(max(CHUNK_GENES, CHUNK_VALUES // n_windows), n_genes), n_windows


def check_size(dataset: h5py.Dataset) -> None:
    """Refuse (ValueError) a dataset that claims more data than its bytes in the file can hold."""
    claimed = int(np.prod(dataset.shape, dtype=np.float64)) * dataset.dtype.itemsize
    if claimed > _MAX_DEFLATE_RATIO * (dataset.id.get_storage_size() + 64):
        raise ValueError(f"{dataset.name} claims {claimed} bytes that the file does not hold")


def digest(values: npt.NDArray[Any]) -> str:
    """Return ``values_sha256``: of the values as they lie in memory, in C order."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()

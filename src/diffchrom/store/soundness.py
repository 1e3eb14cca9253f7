"""Opening HDF5 files that may be damaged: what HDF5 does not check itself is tried in another process first.

HDF5's own checksums refuse damage in the metadata that `writer` writes (superblock 3, version 2 object
headers, fixed-length attributes). Older metadata and the heap of variable-length strings have none: a damaged
byte there sends HDF5 round an endless loop or past the end of a buffer, which no exception handler sees.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from diffchrom.errors import DiffchromError, StoreError
from diffchrom.processes.pool import Call, LocalPool

#: Seconds that walking through a file without checksums may take.
WALK_SECONDS = 30.0
#: An attribute that claims more bytes than this is no attribute of a store.
_MAX_ATTRIBUTE_BYTES = 1 << 26

# HDF5 file format specification, version 3.0: III.A, superblock versions 2 and 3, and IV.A.1.b.
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ROOT_ADDRESS = struct.Struct("<8x B 3x 24x Q")
_CHECKSUMMED_SUPERBLOCK = 3
_CHECKSUMMED_HEADER = b"OHDR"

#: Files that were walked through without trouble, by what changes when a file is replaced.
_walked: set[tuple[int, ...]] = set()


def unreadable(path: Path, error: object) -> StoreError:
    """Return the one line about a file that HDF5, or what we ask of it, refuses."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return StoreError(f"{path}: not a readable diffchrom store ({reason}); prepare it again")


def require_sound(path: Path) -> None:
    """Return when HDF5 can be let loose on a file: its metadata has checksums, or was walked through.

    Raises
    ------
    StoreError
        When it is no HDF5 file, or the walk failed, crashed or took longer than `WALK_SECONDS`.
    OSError
        When the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_ROOT_ADDRESS.size)
        if not head.startswith(_SIGNATURE):
            raise unreadable(path, "no HDF5 file")
        if len(head) == _ROOT_ADDRESS.size:
            superblock, root = _ROOT_ADDRESS.unpack(head)
            if superblock >= _CHECKSUMMED_SUPERBLOCK and root < os.fstat(file.fileno()).st_size:
                file.seek(root)
                if file.read(len(_CHECKSUMMED_HEADER)) == _CHECKSUMMED_HEADER:
                    return
    require_walked(path)


def require_walked(path: Path) -> None:
    """Walk through a file in another process, once for each state of it; StoreError where that fails."""
    status = path.stat()
    state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if state in _walked:
        return
    with LocalPool(1) as pool:
        (reply,) = pool.run([Call(str(path), walk, {"path": str(path)})], time_limit=WALK_SECONDS)
    if reply.error is not None:
        raise unreadable(path, str(reply.error).removeprefix(f"{path}: ")) from reply.error
    _walked.add(state)


def walk(path: str) -> None:
    """Touch whatever HDF5 parses in a file: groups, attributes, and each dataset's index and first values."""

    def visit(_: str, item: Any) -> None:
        for name in item.attrs:
            item.attrs.get(name)
        if isinstance(item, h5py.Dataset) and item.shape and item.size and item.dtype.kind in "iufS":
            if item.chunks:
                item.id.get_num_chunks()
            item[(slice(0, 1),) * item.ndim]

    try:
        with h5py.File(path, "r", locking=False) as file:
            visit("/", file)
            file.visititems(visit)
    except DiffchromError:
        raise
    except Exception as error:
        raise StoreError(f"{path}: {' '.join(str(error).split()) or type(error).__name__}") from error


def write_attrs(item: h5py.HLObject, attrs: Mapping[str, Any]) -> None:
    """Set attributes; text is UTF-8 of fixed length, which lies in the checksummed header."""
    for name, value in attrs.items():
        if isinstance(value, str) or (
            isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
        ):
            # A path need not be UTF-8; its odd bytes are spelled out.
            text = np.char.encode(np.asarray(value, dtype=str), "utf-8", "backslashreplace")
            kind = h5py.string_dtype("utf-8", max(1, text.dtype.itemsize))
            item.attrs.create(name, text.astype(kind))
        else:
            item.attrs[name] = value


def read_attrs(item: h5py.HLObject, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return an object's numbers and text; what else may stand there is not ours (docs/store.md).

    Parameters
    ----------
    names : those wanted, which must be there; None is all.

    Raises
    ------
    ValueError
        When an attribute claims an impossible size.
    StoreError
        When text lies outside the header and the file fails `require_walked`.
    """
    attrs: dict[str, Any] = {}
    for name in item.attrs if names is None else names:
        held = h5py.h5a.open(item.id, name.encode("utf-8", "surrogateescape"))
        kind = held.get_type()
        if kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING, h5py.h5t.ENUM):
            continue
        if math.prod(held.shape) * kind.get_size() > _MAX_ATTRIBUTE_BYTES:
            raise ValueError(f"attribute {name} claims an impossible size")
        if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
            require_walked(Path(item.file.filename))
        attrs[name] = _text(item.attrs[name])
    return attrs


def read_checksum(dataset: h5py.Dataset) -> str:
    """What was written of a dataset's values; no other attribute is read."""
    return str(read_attrs(dataset, ("values_sha256",))["values_sha256"])


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        return np.array([one.decode() for one in value.ravel()], dtype=object).reshape(value.shape)
    return value

"""Dataclasses of arrays and plain values as one safetensors file: no pickle, only what their types say.

An array is a tensor named by its path in the tree of fields (``bins.3.known``); all else is one JSON text in
the file's metadata, in which every dataclass stands as its name and its fields. Reading follows the type
hints of the dataclass that is asked for, so a file can bring values and choose among the types that the
reader allows, and can't call anything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from diffchrom.files.whole import staged

RECORD = "diffchrom-record"
RECORD_VERSION = 1
#: Larger files and texts are refused before anything is read of them.
MAX_BYTES, MAX_TEXT = 8 * 2**30, 16 * 2**20
#: Metadata of a field that is not written; when read it has its default.
NOT_KEPT: Mapping[str, Any] = {"kept": False}

#: What a description can lead to that does not fit its types.
_DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)

#: From the name of a type to the type, where a hint is a protocol; ValueError for names it does not know.
Kinds = Callable[[str], type]


def write_record(path: str | Path, value: Any) -> None:
    """Write a dataclass, whole or not at all; the same value gives the same bytes."""
    from safetensors.numpy import save_file

    arrays, metadata = as_record(value)
    with staged(path) as temporary:
        save_file(arrays, temporary, metadata)


def as_record(value: Any, at: tuple[str, ...] = ()) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """Tensors and metadata of a dataclass; `at` a path, others have room beside it in a safetensors file."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    text = json.dumps({"version": RECORD_VERSION, "value": _plain(value, at, arrays)}, allow_nan=False)
    return arrays, {RECORD: text}


def _plain(value: Any, path: tuple[str, ...], arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """Turn a value into what JSON can say, and put its arrays aside."""
    if isinstance(value, np.ndarray):
        arrays[".".join(path)] = np.ascontiguousarray(value)
        return None
    if isinstance(value, tuple | list):
        return [_plain(item, (*path, str(number)), arrays) for number, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {key: _plain(item, (*path, key), arrays) for key, item in value.items()}
    if is_dataclass(value):
        kept = {item.name: getattr(value, item.name) for item in fields(value) if item.metadata != NOT_KEPT}
        return {"type": type(value).__name__, "fields": _plain(kept, path, arrays)}
    return value


def no_kinds(name: str) -> type:
    """Know no type by name."""
    raise ValueError(f"{name} is nothing that may stand here")


def holds_record(path: str | Path) -> bool:
    """Whether a file is there that says it holds a record."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return RECORD in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def read_record(path: str | Path, kind: Any, kinds: Kinds = no_kinds, at: tuple[str, ...] = ()) -> Any:
    """Read what `write_record` wrote.

    Parameters
    ----------
    path : the file, which may be hostile.
    kind : the dataclass that is expected, or a protocol of which `kinds` knows the implementations.
    kinds : gives the type of a name, wherever a hint is a protocol.
    at : where its tensors are, in a file that holds others (`as_record`).

    Raises
    ------
    OSError
        When the file can't be read.
    ValueError
        When it holds anything but such a record; the text is one line, without the path.
    """
    from safetensors import SafetensorError, safe_open

    if Path(path).stat().st_size > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 2**30} GiB")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {})[RECORD]
            if len(text) > MAX_TEXT:
                raise ValueError("its description is impossibly long")
            described = json.loads(text)
            if described["version"] > RECORD_VERSION:
                raise ValueError(
                    f"version {described['version']} is newer than this diffchrom reads ({RECORD_VERSION})"
                )
            return _Reader(file, kinds).read(described["value"], kind, at)
    except _DAMAGE as error:
        raise ValueError(" ".join(f"{type(error).__name__}: {error}".split())[:300]) from error
    except SafetensorError as error:
        raise ValueError(f"damaged safetensors file: {error}"[:300]) from error


class _Reader:
    """Builds values of the types wanted from JSON and tensors; what does not fit raises."""

    def __init__(self, file: Any, kinds: Kinds) -> None:
        self.file = file
        self.kinds = kinds

    def read(self, node: Any, hint: Any, path: tuple[str, ...]) -> Any:
        """Read the node at `path` as the type that `hint` says."""
        return _READ.get(get_origin(hint) or hint, _Reader.read_dataclass)(self, node, hint, path)

    def read_dataclass(self, node: Any, hint: Any, path: tuple[str, ...]) -> Any:
        """Read a dataclass, or one of those that implement a protocol."""
        kind: Any = hint if is_dataclass(hint) else self.kinds(node["type"])
        if node["type"] != kind.__name__:
            raise ValueError(f"{node['type']} where {kind.__name__} belongs")
        hints = get_type_hints(kind)
        return kind(
            **{name: self.read(item, hints[name], (*path, name)) for name, item in node["fields"].items()}
        )

    def read_array(self, node: Any, hint: Any, path: tuple[str, ...]) -> Any:
        """Read a tensor as an array of its own, of the type of the hint; NaN belongs in none."""
        name = ".".join(path)
        (wanted,) = get_args(get_args(hint)[1])
        array = np.array(self.file.get_tensor(name))
        if array.dtype != wanted or (array.dtype.kind == "f" and np.isnan(array).any()):
            raise ValueError(f"{name} is not made of {wanted.__name__} numbers")
        return array

    def read_tuple(self, node: Any, hint: Any, path: tuple[str, ...]) -> Any:
        """Read a tuple of one type or of as many as it has members."""
        if not isinstance(node, list):
            raise ValueError(f"{'.'.join(path)} is no list")
        hints = get_args(hint)
        if hints[-1] is ...:
            hints = hints[:1] * len(node)
        return tuple(
            self.read(item, of_item, (*path, str(number)))
            for number, (item, of_item) in enumerate(zip(node, hints, strict=True))
        )

    def read_mapping(self, node: Any, hint: Any, path: tuple[str, ...]) -> Any:
        """Read a mapping from names."""
        of_items = get_args(hint)[1]
        return {name: self.read(item, of_items, (*path, name)) for name, item in node.items()}

    def read_number(self, node: Any, hint: Any, path: tuple[str, ...]) -> Any:
        """Read a finite number of a size that arrays can hold."""
        if isinstance(node, bool) or not isinstance(node, int | hint) or not math.isfinite(node):
            raise ValueError(f"{'.'.join(path)} is no {hint.__name__}")
        if isinstance(node, int) and abs(node) >= 2**63:
            raise ValueError(f"{'.'.join(path)} is too large")
        return hint(node)

    def read_optional(self, node: Any, hint: Any, path: tuple[str, ...]) -> Any:
        """Read a plain value that may be missing (``float | None``)."""
        (kind,) = (option for option in get_args(hint) if option is not NoneType)
        return None if node is None else self.read(node, kind, path)

    def read_exact(self, node: Any, hint: Any, path: tuple[str, ...]) -> Any:
        """Read what JSON and Python share."""
        if not isinstance(node, hint):
            raise ValueError(f"{'.'.join(path)} is no {hint.__name__}")
        return node


_READ: dict[Any, Callable[[_Reader, Any, Any, tuple[str, ...]], Any]] = {
    np.ndarray: _Reader.read_array,
    UnionType: _Reader.read_optional,
    tuple: _Reader.read_tuple,
    Mapping: _Reader.read_mapping,
    float: _Reader.read_number,
    int: _Reader.read_number,
    bool: _Reader.read_exact,
    str: _Reader.read_exact,
    Any: lambda reader, node, hint, path: node,
}

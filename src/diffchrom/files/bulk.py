"""Text from whole arrays at a time, for tables of tens of millions of rows.

A field is an array of fixed-width bytes, filled up with NUL; fields are laid side by side in one structured
array, and the NULs are deleted from its memory in one go. `tables.py` writes everything smaller.
"""

from __future__ import annotations

import contextlib
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from diffchrom.files.whole import STDOUT, staged

Field = npt.NDArray[np.void]

#: Digits after the point of a weight: 200 rounded weights still add up to 1 within 1e-6.
DECIMALS = 8
_LEVEL = 3  # zlib's; on these tables 4 and up take three times as long for a tenth less

_DIGITS = np.array([f"{number:04d}" for number in range(10_000)], dtype="S4")
_LEADING = np.array([f"{number or '':\0>4}" for number in range(10_000)], dtype="S4")
# First the digits of numbers with nothing in front of them, then those of numbers inside a longer one.
_GROUPS = np.concatenate([_LEADING, _DIGITS]).view("V4")
_LAST_GROUPS = _GROUPS.copy()
_LAST_GROUPS[0] = np.array([b"\0\0\0" + b"0"], dtype="S4").view("V4")[0]
_FRACTION_GROUPS = _DIGITS.view("V4")
_NOT_A_NUMBER = b"NA"


def text_field(values: Sequence[Any] | npt.NDArray[Any]) -> Field:
    """Field of any values' text; empty text is NA."""
    encoded = np.array([str(value).encode() or _NOT_A_NUMBER for value in values], dtype=bytes)
    return encoded.view(f"V{encoded.dtype.itemsize}").reshape(np.shape(values))


def integer_field(values: npt.NDArray[np.integer[Any]]) -> Field:
    """Field of integers below 10^12; negative ones, which no coordinate is, are written as NA."""
    missing = values < 0
    rest, last = np.divmod(np.where(missing, 0, values).astype(np.int64), 10_000)
    first, middle = np.divmod(rest, 10_000)
    field = np.empty(values.shape, dtype=[("first", "V4"), ("middle", "V4"), ("last", "V4")])
    field["first"] = _GROUPS[first]
    field["middle"] = _GROUPS[middle + 10_000 * (first > 0)]
    field["last"] = _LAST_GROUPS[last + 10_000 * (rest > 0)]
    result = field.view("V12")
    if missing.any():
        result[missing] = np.array([_NOT_A_NUMBER], dtype="S12").view("V12")[0]
    return result


def weight_field(values: npt.NDArray[np.floating[Any]]) -> Field:
    """Field of numbers from 0 to 1 with `DECIMALS` digits after the point."""
    number = np.rint(np.asarray(values, dtype=np.float64) * 10**DECIMALS).astype(np.int32)
    high, low = np.divmod(number, 10_000)
    field = np.empty(number.shape, dtype=[("point", "V2"), ("high", "V4"), ("low", "V4")])
    points = np.array([b"0.", b"1."], dtype="S2").view("V2")
    whole = high >= 10_000
    field["point"] = points[whole.astype(np.intp)] if whole.any() else points[0]
    field["high"] = _FRACTION_GROUPS[high % 10_000 if whole.any() else high]
    field["low"] = _FRACTION_GROUPS[low]
    return field.view("V10")


def join_fields(shape: tuple[int, ...], fields: Sequence[Field | bytes]) -> bytes:
    """Text of an array of rows; each field is broadcast to `shape`, fixed text stands as it is.

    The result has the rows in C order; separators and line ends are among the fixed text.
    """
    arrays = [
        np.array(field, dtype=f"V{len(field)}") if isinstance(field, bytes) else field for field in fields
    ]
    rows = np.empty(shape, dtype=[(f"f{i}", array.dtype) for i, array in enumerate(arrays)])
    for i, array in enumerate(arrays):
        rows[f"f{i}"] = array
    return rows.tobytes().translate(None, b"\0")


class ByteWriter(Protocol):
    """Anything with a ``write`` for bytes."""

    def write(self, data: bytes, /) -> object:
        """Write all of `data`."""


class _Gzip:
    """Gzip without name and time, by ISA-L where it is installed (five times as fast as zlib)."""

    def __init__(self, raw: ByteWriter) -> None:
        self._raw = raw
        self._compressor: Any
        try:
            from isal import isal_zlib

            self._compressor = isal_zlib.compressobj(2, zlib.DEFLATED, 31)
        except ImportError:
            self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)

    def write(self, data: bytes) -> None:
        self._raw.write(self._compressor.compress(data))

    def close(self) -> None:
        self._raw.write(self._compressor.flush())


class _Decoded:
    """Bytes of whole lines, for a stream of text."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        self._stream.write(data.decode())


@contextlib.contextmanager
def output_bytes(path: str | Path) -> Iterator[ByteWriter]:
    """Open a result for bytes: as `files.whole.output_text`, for what is formatted in bulk."""
    if str(path) == STDOUT:
        sys.stdout.flush()
        # A notebook's stdout takes text alone.
        yield sys.stdout.buffer if hasattr(sys.stdout, "buffer") else _Decoded(sys.stdout)
        sys.stdout.flush()
        return
    path = Path(path)
    with staged(path) as temporary, temporary.open("wb") as raw:
        if path.suffix == ".gz":
            compressed = _Gzip(raw)
            yield compressed
            compressed.close()
        else:
            yield raw

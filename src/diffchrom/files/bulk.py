"""Tables of tens of millions of rows as text, by polars; `tables.py` writes everything smaller."""

from __future__ import annotations

import contextlib
import io
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from diffchrom.files.whole import STDOUT, staged

if TYPE_CHECKING:
    import polars

#: Digits after the point: 200 rounded weights still add up to 1 within 1e-6.
DECIMALS = 8
_LEVEL = 3  # zlib's; on these tables 4 and up take three times as long for a tenth less


@dataclass(frozen=True)
class Names:
    """A column of few different texts: in each row the one of its index; empty text is NA."""

    values: Sequence[str] | npt.NDArray[np.object_]
    index: npt.NDArray[np.intp]


def bulk_lines(shape: tuple[int, ...], columns: Sequence[Names | npt.NDArray[Any]]) -> bytes:
    """Tab-separated lines of an array of rows, in C order, without a header.

    Parameters
    ----------
    shape : of the rows.
    columns : names, integers (negative ones, which no coordinate is, are NA) or other numbers, which get
        `DECIMALS` digits after the point; each is broadcast to `shape`.
    """
    import polars

    frame = polars.DataFrame({str(i): _series(column, shape) for i, column in enumerate(columns)})
    text = io.BytesIO()
    frame.write_csv(
        text,
        include_header=False,
        separator="\t",
        quote_style="never",
        null_value="NA",
        float_precision=DECIMALS,
    )
    return text.getvalue()


def _series(column: Names | npt.NDArray[Any], shape: tuple[int, ...]) -> polars.Series:
    import polars

    if isinstance(column, Names):
        names = polars.Series([str(name) or None for name in column.values], dtype=polars.String)
        return names.gather(np.broadcast_to(column.index, shape).ravel())
    values = polars.Series(np.broadcast_to(column, shape).ravel())
    return values.set(values < 0, None) if column.dtype.kind == "i" else values


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

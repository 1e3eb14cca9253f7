"""Reading text by magic bytes, and writing files whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from diffchrom.errors import InputError, OutputError

GZIP_MAGIC = b"\x1f\x8b"


def require_file(path: str | Path, what: str = "file") -> Path:
    """Return `path` as a Path, or raise InputError when it is no readable regular file (or pipe)."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such {what}; check the path")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a {what}")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: cannot be read; check its permissions")
    return path


@contextlib.contextmanager
def open_text(path: str | Path, what: str = "file") -> Iterator[IO[str]]:
    """Open a text file, gunzipping it when its first two bytes are gzip's, whatever its name says.

    Broken gzip data and bytes that are not UTF-8 are raised as InputError wherever in the block they show.
    """
    path = require_file(path, what)
    try:
        with path.open("rb") as raw:
            compressed = raw.peek(2)[:2] == GZIP_MAGIC  # peek, not seek: pipes and <(...) work too
            stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if compressed else raw  # type: ignore[assignment]
            with io.TextIOWrapper(stream, encoding="utf-8-sig", newline=None) as text:
                yield text
    except (EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: truncated or damaged gzip data ({error}); fetch the file again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        # zlib.error is no OSError; anything else is the caller's own and passes unchanged.
        if type(error).__module__ == "zlib":
            raise InputError(f"{path}: damaged gzip data ({error}); fetch the file again") from error
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def staged(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`.

    On any failure the temporary file is removed and `path` stays as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    temporary = Path(name)
    try:
        # mkstemp makes files private; give the result the permissions any new file has.
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(descriptor, 0o666 & ~mask)
        os.close(descriptor)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with staged(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


#: What stands for stdout where a result's path is asked for.
STDOUT = "-"


@contextlib.contextmanager
def output_text(path: str | Path) -> Iterator[IO[str]]:
    """Open a result for writing: ``-`` is stdout, ``*.gz`` is gzipped, a file is whole or absent."""
    if str(path) == STDOUT:
        yield sys.stdout
        sys.stdout.flush()
        return
    path = Path(path)
    with staged(path) as temporary, temporary.open("wb") as raw:
        if path.suffix == ".gz":
            # mtime 0 and no name: the same table gives the same bytes.
            binary: IO[bytes] = gzip.GzipFile("", "wb", 6, raw, mtime=0)  # type: ignore[assignment]
        else:
            binary = raw
        with io.TextIOWrapper(binary, encoding="utf-8", newline="\n", write_through=False) as text:
            yield text


def remove_folder(path: Path) -> None:
    """Remove a folder made for staging, however far it got."""
    shutil.rmtree(path, ignore_errors=True)

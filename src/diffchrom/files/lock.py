"""One writer a store: a lock file beside it, which works on file systems without HDF5's or POSIX locks."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffchrom.errors import OutputError, StoreError

#: A lock file without readable content is taken for one that is just being written, for this many seconds.
GRACE = 10.0


def lock_path(store: Path) -> Path:
    """Return the lock file of a store."""
    return store.with_name(f".{store.name}.lock")


def _process_start(pid: int) -> str:
    """When a process began, as Linux tells it, since numbers are used again; empty elsewhere."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _alive(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not started or _process_start(pid) in ("", started)


def _holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock; an empty dictionary where it does not say, None where there is no lock."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    with contextlib.suppress(ValueError):
        told = json.loads(text)
        if isinstance(told, dict) and isinstance(told.get("pid"), int):
            return told
    return {}


def _stale(path: Path, holder: dict[str, Any]) -> bool:
    if not holder:
        with contextlib.suppress(FileNotFoundError):
            return time.time() - path.stat().st_mtime > GRACE
        return True
    return holder.get("host") == socket.gethostname() and not _alive(
        holder["pid"], str(holder.get("started", ""))
    )


def _refusal(store: Path, path: Path, holder: dict[str, Any]) -> StoreError:
    who = f"process {holder['pid']} on {holder.get('host', '?')}" if holder else "another process"
    return StoreError(
        f"{store}: {who} is writing to it; wait until it has finished, or remove {path} if it runs no more"
    )


@contextlib.contextmanager
def locked(store: str | Path) -> Iterator[None]:
    """Hold a store's lock while the block runs.

    Raises
    ------
    StoreError
        When another process holds it. The lock of a process of this machine that is gone is taken over.
    """
    store = Path(store)
    path = lock_path(store)
    me = {"pid": os.getpid(), "host": socket.gethostname(), "started": _process_start(os.getpid())}
    for _ in range(20):
        try:
            store.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            holder = _holder(path)
            if holder is None:
                continue
            if not _stale(path, holder):
                raise _refusal(store, path, holder) from None
            _take_away(path, holder)
            continue
        except OSError as error:
            raise OutputError(f"{store}: cannot be written ({error.strerror or error})") from error
        break
    else:
        raise _refusal(store, path, {})
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(me))
        yield
    finally:
        if _holder(path) in (me, {}):
            path.unlink(missing_ok=True)


def _take_away(path: Path, holder: dict[str, Any]) -> None:
    """Remove a stale lock, unless somebody else has replaced it meanwhile: a rename has only one winner."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if _holder(aside) != holder:
        with contextlib.suppress(OSError):
            os.link(aside, path)
    aside.unlink(missing_ok=True)

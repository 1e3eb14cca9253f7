"""One writer a store: a lock that the kernel takes back when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from diffchrom.errors import OutputError, StoreError


def lock_path(store: Path) -> Path:
    """Return the lock file of a store."""
    return store.with_name(f".{store.name}.lock")


@contextlib.contextmanager
def locked(store: str | Path) -> Iterator[None]:
    """Hold a store's lock while the block runs.

    Raises
    ------
    StoreError
        When another process holds it; there is no waiting.
    OutputError
        When there can be no lock file.
    """
    from filelock import FileLock, Timeout

    store = Path(store)
    path = lock_path(store)
    # Not SoftFileLock, whose file outlives a kill, and is not taken over on NFS or from another node.
    lock = FileLock(path, blocking=False)
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"{store}: {_holder(path)} is writing to it; wait until it has finished, or remove {path} if it "
            "runs no more"
        ) from None
    except OSError as error:
        raise OutputError(f"{store}: cannot be written ({error.strerror or error})") from error
    try:
        with contextlib.suppress(OSError):  # a full disk is told by what is written next
            path.write_text(f"{os.getpid()}\n{socket.gethostname()}\n")
        yield
    finally:
        lock.release()  # the file stays: removed, it could be another one for whoever is about to lock it


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        pid, host = path.read_text().split()[:2]
        return f"process {pid} on {host}"
    return "another process"

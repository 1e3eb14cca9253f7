"""Arrays that are larger than memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.errors import OutputError


def disk_array(folder: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Make a float32 array that lies on disk and is paged in where it is used.

    Its file has no name any more when this returns, so nothing is left of it when the process ends, however
    it ends. The space is taken at once: a full disk is an OutputError here, not a crash later.
    """
    n_bytes = 4 * int(np.prod(shape))
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, max(n_bytes, 1))
            else:
                os.truncate(file.fileno(), n_bytes)
        except OSError as error:
            raise OutputError(
                f"{folder}: no room for {n_bytes / 1e9:.1f} GB of signal ({error.strerror}); "
                "set TMPDIR to a larger disk, or give `memory`"
            ) from error
        return np.memmap(file, dtype=np.float32, mode="r+", shape=shape)

"""Writing bigWig files, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyBigWig

from diffchrom.errors import OutputError
from diffchrom.files import staged


def write_bigwig(
    path: str | Path,
    chrom_sizes: Mapping[str, int],
    signal: Iterable[tuple[str, npt.NDArray[np.float32]]],
    *,
    step: int,
) -> None:
    """Write evenly spaced values, one array a chromosome, as fixedStep sections.

    Parameters
    ----------
    path : the bigWig file.
    chrom_sizes : length of every chromosome in bases.
    signal : chromosome and float32 values [n_steps] from its first base on, in the order of `chrom_sizes`.
    step : bases a value covers.
    """
    with staged(path) as temporary:
        file = pyBigWig.open(str(temporary), "w")
        if file is None:
            raise OutputError(f"{path}: cannot be written")
        try:
            file.addHeader(list(chrom_sizes.items()))
            for chrom, values in signal:
                if len(values):
                    file.addEntries(chrom, 0, values=np.asarray(values, np.float64), span=step, step=step)
        finally:
            file.close()

"""Which way a gene's bins run, and where they lie on the chromosome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import Genes, Rows, Window


def genome_order(genes: Genes, window: Window, rows: Rows) -> Rows:
    """`rows` sorted by chromosome (byte order, as ``sort -k1,1``) and start of the window."""
    starts = genes.window_starts(window.flank)[rows]
    chroms = np.array([str(chrom).encode() for chrom in genes.chrom[rows]], dtype=bytes)
    return np.asarray(rows[np.lexsort((rows, starts, chroms))], dtype=np.intp)


def reversed_windows(genes: Genes, window: Window, rows: Rows) -> npt.NDArray[np.bool_]:
    """True for the genes whose bins run against the genome's coordinates."""
    return genes.minus[rows] & (window.orient == "transcription")


def to_genome_order(values: npt.NDArray[Any], genes: Genes, window: Window, rows: Rows) -> npt.NDArray[Any]:
    """Copy of `values` [len(rows), ..., n_bins] with the bins of every gene in ascending coordinates."""
    result = values.copy()
    backwards = reversed_windows(genes, window, rows)
    result[backwards] = values[backwards][..., ::-1]
    return result


def from_upstream(values: npt.NDArray[Any], genes: Genes, window: Window, rows: Rows) -> npt.NDArray[Any]:
    """Copy of `values` [len(rows), ..., n_bins] with the bins of every gene from upstream to downstream."""
    result = values.copy()
    if window.orient == "genome":
        minus = genes.minus[rows]
        result[minus] = values[minus][..., ::-1]
    return result


def chromosome_ends(genes: Genes, chrom_sizes: Mapping[str, int], rows: Rows) -> npt.NDArray[np.int64]:
    """Length of each gene's chromosome; the largest int64 where it is not known."""
    unknown = np.iinfo(np.int64).max
    return np.array([chrom_sizes.get(chrom, unknown) for chrom in genes.chrom[rows]], dtype=np.int64)

"""Write a whole-genome bigWig of lognormal values with peaks, and clustered genes, for `bench_prepare.py`.

Run as ``python tests/benchmarks/make_bigwig.py FILE [INTERVALS]``; 60 million intervals give about 400 MB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyBigWig

from diffchrom.genome.genes import Genes

CHROM_SIZES = {f"chr{i + 1}": int(248e6 * (1 - 0.036 * i)) for i in range(22)}


def intervals(rng: np.random.Generator, length: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contiguous intervals over a chromosome: geometric lengths, lognormal values, a peak a 50 kb."""
    edges = np.unique(rng.integers(1, length, size=count - 1))
    start = np.concatenate([[0], edges])
    end = np.concatenate([edges, [length]])
    value = rng.lognormal(-0.5, 0.7, size=len(start))
    peak = rng.integers(0, length, size=length // 50_000)
    first = np.searchsorted(start, peak)
    for offset in range(20):
        value[np.minimum(first + offset, len(value) - 1)] *= 10
    return start, end, np.round(value, 3).astype(np.float32)


def write(path: Path, count: int, seed: int = 0, zooms: int = 0) -> None:
    """Write the bigWig, with as many zoom levels; the same seed gives the same intervals."""
    rng = np.random.default_rng(seed)
    total = sum(CHROM_SIZES.values())
    with pyBigWig.open(str(path), "w") as bigwig:
        bigwig.addHeader(list(CHROM_SIZES.items()), maxZooms=zooms)
        for chrom, length in CHROM_SIZES.items():
            start, end, value = intervals(rng, length, int(count * length / total))
            for first in range(0, len(start), 1_000_000):
                part = slice(first, first + 1_000_000)
                names = np.full(len(start[part]), chrom)
                bigwig.addEntries(names, start[part], ends=end[part], values=value[part])


def clustered_genes(count: int, seed: int = 1) -> Genes:
    """Genes that stand in clusters, as genes do, of lengths like those of GENCODE's."""
    rng = np.random.default_rng(seed)
    names, sizes = np.array(list(CHROM_SIZES)), np.array(list(CHROM_SIZES.values()))
    clusters = count // 5
    which = rng.choice(len(names), size=clusters, p=sizes / sizes.sum())
    centre = (rng.random(clusters) * sizes[which]).astype(np.int64)
    member = rng.integers(0, clusters, size=count)
    position = centre[member] + rng.normal(0, 40_000, size=count).astype(np.int64)
    last = sizes[which[member]] - 1
    tss = np.clip(position, 0, last)
    length = rng.lognormal(np.log(25_000), 1.5, size=count).astype(np.int64) + 1
    minus = rng.random(count) < 0.5
    tes = np.clip(np.where(minus, tss - length, tss + length), 0, last)
    ids = np.array([f"G{i}" for i in range(count)], dtype=object)
    strand = np.where(minus, "-", "+").astype(object)
    chrom = names[which[member]].astype(object)
    return Genes(ids, ids, chrom, strand, np.minimum(tss, tes), np.maximum(tss, tes) + 1, tss, tes)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(float(sys.argv[2])) if len(sys.argv) > 2 else 60_000_000)

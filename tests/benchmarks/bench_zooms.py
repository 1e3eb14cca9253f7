"""Time wide windows from a bigWig's zoom levels, and compare them with the exact signal.

Run as ``python tests/benchmarks/bench_zooms.py [INTERVALS]``: a bigWig of 60 million intervals with ten zoom
levels is generated in a temporary folder (or named by ``DIFFCHROM_BENCH_ZOOMS``). For each region of 20,000
genes pyBigWig's ``stats``, which takes zoom levels unless told otherwise, is asked for every window's mean;
all bases have data. ``bin_track`` reads all regions at once. Errors are relative to the exact mean of the
same window, of windows within their chromosome.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyBigWig
from make_bigwig import CHROM_SIZES, clustered_genes, write

from diffchrom.genome.regions import REGIONS
from diffchrom.genome.windows import Windows
from diffchrom.signal.bins import bin_track


def from_zooms(path: Path, windows: Windows) -> np.ndarray:
    """Mean of every window by pyBigWig's zoom levels, in ascending coordinates."""
    start, end = (windows.ascending(edge) for edge in windows.intervals(chrom_sizes=CHROM_SIZES))
    means = np.zeros(start.shape)
    with pyBigWig.open(str(path)) as track:
        for row, chrom in enumerate(windows.chrom):
            for i, (first, last) in enumerate(zip(start[row].tolist(), end[row].tolist(), strict=True)):
                if first < last:
                    # Its "sum" is wrong at zoom levels: 3.5 for 4,021 over 5,000 bases of this file.
                    means[row, i] = track.stats(chrom, first, last, type="mean")[0] or 0
    return means


def run(path: Path) -> None:
    genes = clustered_genes(20_000)
    regions = [Windows.of(genes, region, "genome") for region in REGIONS.values()]
    began = time.process_time()
    exact = bin_track(path, regions)
    print("region", "windows", "cpu_s", "median_error", "p99_error", "max_error", sep="\t")
    print("all, exact", sum(s.values.size for s in exact), f"{time.process_time() - began:.1f}", sep="\t")
    for windows, signal in zip(regions, exact, strict=True):
        began = time.process_time()
        means = from_zooms(path, windows)
        seconds = time.process_time() - began
        lower, upper = (bound / windows.region.parts for bound in windows.bounds())
        sizes = np.array([CHROM_SIZES[chrom] for chrom in windows.chrom])[:, None]
        whole = (lower >= 0) & (upper <= sizes) & (signal.values > 0)
        error = np.abs(means[whole] / signal.values[whole] - 1)
        median, most = np.quantile(error, [0.5, 0.99])
        told = (f"{value:.2g}" for value in (median, most, error.max()))
        print(windows.region.name, means.size, f"{seconds:.1f}", *told, sep="\t")


if __name__ == "__main__":
    made = os.environ.get("DIFFCHROM_BENCH_ZOOMS")
    if made:
        run(Path(made))
    else:
        with tempfile.TemporaryDirectory(prefix="diffchrom-bench-") as folder:
            path = Path(folder) / "genome.bw"
            write(path, int(float(sys.argv[1])) if len(sys.argv) > 1 else 60_000_000, zooms=10)
            run(path)

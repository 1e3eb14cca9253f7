"""Time the reading of windows from a whole-genome bigWig: ours, pyBigWig's ways, and the least there is.

Run as ``python tests/benchmarks/bench_prepare.py [INTERVALS]``. A bigWig of 60 million intervals (about 400
MB) is generated in a temporary folder; methods are timed in turn, several rounds, on one core, and medians of
their CPU seconds and ratios are printed as TSV. ``DIFFCHROM_BENCH_BIGWIG`` names a bigWig made earlier,
``DIFFCHROM_COMPUTEMATRIX`` deepTools' computeMatrix (4.0.0 needs Python 3.12), which is then timed once.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyBigWig
from make_bigwig import clustered_windows, write

from diffchrom.signal import bigwig
from diffchrom.signal.bins import bin_track, merge_regions

ROUNDS = int(os.environ.get("DIFFCHROM_BENCH_ROUNDS", "5"))
N_BINS, BIN_SIZE = 200, 100
WIDTH = N_BINS * BIN_SIZE


def regions(path: Path, chrom: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    header = bigwig.read_header(path)
    number = np.array([header.chrom_ids[name] for name in chrom])
    length = np.array([header.chrom_sizes[name] for name in chrom])
    order = np.lexsort((start, number))
    low, high = np.clip(start, 0, length), np.clip(start + WIDTH, 0, length)
    return merge_regions(number[order], low[order], high[order])


def ours(path: Path, chrom: np.ndarray, start: np.ndarray) -> None:
    bin_track(path, chrom, start, n_bins=N_BINS, bin_size=BIN_SIZE)


def with_zlib(path: Path, chrom: np.ndarray, start: np.ndarray) -> None:
    """Ours where the package deflate is not installed."""
    held, bigwig.libdeflate = bigwig.libdeflate, None
    try:
        ours(path, chrom, start)
    finally:
        bigwig.libdeflate = held


def naive(path: Path, chrom: np.ndarray, start: np.ndarray) -> None:
    """PyBigWig's values, window by window."""
    with pyBigWig.open(str(path)) as track:
        sizes = track.chroms()
        for name, first in zip(chrom, start.tolist(), strict=True):
            values = track.values(name, max(first, 0), min(first + WIDTH, sizes[name]), numpy=True)
            if len(values) == WIDTH:
                np.nan_to_num(values).reshape(N_BINS, BIN_SIZE).mean(axis=1)


def merged(path: Path, chrom: np.ndarray, start: np.ndarray) -> None:
    """PyBigWig's values over merged regions, each read once; the binning itself is left out."""
    names = list(bigwig.read_header(path).chrom_ids)
    with pyBigWig.open(str(path)) as track:
        for number, low, high in zip(
            *(column.tolist() for column in regions(path, chrom, start)), strict=True
        ):
            np.add.reduce(track.values(names[number], low, high, numpy=True))


def inflate(path: Path, chrom: np.ndarray, start: np.ndarray) -> None:
    """Read and inflate the touched blocks, and nothing else: the least that any reader must do."""
    header = bigwig.read_header(path)
    with path.open("rb") as file:
        for offset, size in zip(
            *bigwig.touched_blocks(file, header, *regions(path, chrom, start)), strict=True
        ):
            zlib.decompress(os.pread(file.fileno(), int(size), int(offset)))


METHODS: dict[str, Callable[[Path, np.ndarray, np.ndarray], None]] = {
    f"diffchrom{' (libdeflate)' if bigwig.libdeflate else ''}": ours,
    "diffchrom (zlib)": with_zlib,
    "inflate the touched blocks": inflate,
    "pyBigWig, merged regions": merged,
    "pyBigWig, window by window": naive,
}


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    work()
    return clock() - began


def compute_matrix(program: str, path: Path, chrom: np.ndarray, start: np.ndarray) -> float:
    """CPU seconds of deepTools for the same windows, with its own start-up."""
    with tempfile.TemporaryDirectory(prefix="diffchrom-bench-") as folder:
        bed = Path(folder) / "windows.bed"
        tss = (start + WIDTH // 2).tolist()
        lines = [f"{c}\t{p}\t{p + 1}\tg{i}\t0\t+\n" for i, (c, p) in enumerate(zip(chrom, tss, strict=True))]
        bed.write_text("".join(lines))
        words = [
            program,
            "reference-point",
            "-R",
            str(bed),
            "-S",
            str(path),
            "-o",
            f"{folder}/m.gz",
            "-p",
            "1",
        ]
        words += ["-b", "10000", "-a", "10000", "-bs", "100", "--missingDataAsZero"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def two_tracks(path: Path) -> float:
    """Time two processes that read a track each, at once, over one that reads one."""
    code = (
        f"import sys; sys.path = {sys.path!r}; import bench_prepare as b; "
        f"b.ours(b.Path({str(path)!r}), *b.windows())"
    )
    command = [sys.executable, "-c", code]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command)

    def both() -> None:
        for process in [start(), start()]:
            process.wait()

    ratios = []
    for _ in range(ROUNDS):
        one = seconds(lambda: start().wait())
        ratios.append(seconds(both) / one)
    return statistics.median(ratios)


def windows() -> tuple[np.ndarray, np.ndarray]:
    chrom, tss = clustered_windows(20_000)
    return chrom, tss - WIDTH // 2


def run(path: Path) -> None:
    chrom, start = windows()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(ROUNDS):
        for name, method in METHODS.items():
            times[name].append(seconds(lambda method=method: method(path, chrom, start), time.process_time))
    program = os.environ.get("DIFFCHROM_COMPUTEMATRIX")
    if program:
        times["deepTools computeMatrix"] = [compute_matrix(program, path, chrom, start)] * ROUNDS
    os.sched_setaffinity(0, cores)
    print("method", "median_cpu_s", "min_cpu_s", "over_inflate", sep="\t")
    for name, found in times.items():
        ratio = statistics.median(
            a / b for a, b in zip(found, times["inflate the touched blocks"], strict=True)
        )
        print(name, f"{statistics.median(found):.2f}", f"{min(found):.2f}", f"{ratio:.2f}", sep="\t")
    if len(cores) > 1:
        print("two tracks on two cores over one", f"{two_tracks(path):.2f}", "", "", sep="\t")


if __name__ == "__main__":
    made = os.environ.get("DIFFCHROM_BENCH_BIGWIG")
    if made:
        run(Path(made))
    else:
        with tempfile.TemporaryDirectory(prefix="diffchrom-bench-") as folder:
            path = Path(folder) / "genome.bw"
            write(path, int(float(sys.argv[1])) if len(sys.argv) > 1 else 60_000_000)
            run(path)

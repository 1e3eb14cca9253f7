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
from make_bigwig import clustered_genes, write

from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.regions import DEFAULT_REGIONS, region_of
from diffchrom.genome.windows import Windows, on_chromosome
from diffchrom.signal import bigwig
from diffchrom.signal.bins import bin_track, merge_regions

Method = Callable[[Path, Genes], None]
ROUNDS = int(os.environ.get("DIFFCHROM_BENCH_ROUNDS", "5"))
WINDOW = Window()
WIDTH = WINDOW.width


def regions_of(genes: Genes) -> list[Windows]:
    """The bins around the TSS, then body, TES and distal windows."""
    return [Windows.of(genes, region_of(name, WINDOW), WINDOW.orient) for name in DEFAULT_REGIONS]


def blocks(path: Path, regions: list[Windows]) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and sizes of the blocks that the windows touch."""
    header = bigwig.read_header(path)
    with path.open("rb") as file:
        return bigwig.touched_blocks(file, header, *wanted(header, regions))


def wanted(header: bigwig.Header, regions: list[Windows]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the windows cover, merged: chromosome number, start and end."""
    number = np.array([header.chrom_ids[name] for name in regions[0].chrom])
    length = np.array([header.chrom_sizes[name] for name in regions[0].chrom])
    spans = [on_chromosome(windows.start, windows.end, length)[:2] for windows in regions]
    low, high = (np.concatenate(column) for column in zip(*spans, strict=True))
    numbers = np.tile(number, len(regions))
    order = np.lexsort((low, numbers))
    return merge_regions(numbers[order], low[order], high[order])


def ours(path: Path, genes: Genes) -> None:
    bin_track(path, regions_of(genes)[:1])


def ours_everywhere(path: Path, genes: Genes) -> None:
    bin_track(path, regions_of(genes))


def with_zlib(method: Method) -> Method:
    """Ours where the package deflate is not installed."""

    def run_with_zlib(path: Path, genes: Genes) -> None:
        held, bigwig.libdeflate = bigwig.libdeflate, None
        try:
            method(path, genes)
        finally:
            bigwig.libdeflate = held

    return run_with_zlib


def naive(path: Path, genes: Genes) -> None:
    """PyBigWig's values, window by window."""
    with pyBigWig.open(str(path)) as track:
        sizes = track.chroms()
        for name, first in zip(genes.chrom, Windows.around(genes, WINDOW).start.tolist(), strict=True):
            values = track.values(name, max(first, 0), min(first + WIDTH, sizes[name]), numpy=True)
            if len(values) == WIDTH:
                np.nan_to_num(values).reshape(WINDOW.n_bins, WINDOW.bin_size).mean(axis=1)


def merged(path: Path, genes: Genes) -> None:
    """PyBigWig's values over merged regions, each read once; the binning itself is left out."""
    header = bigwig.read_header(path)
    names = list(header.chrom_ids)
    with pyBigWig.open(str(path)) as track:
        for number, low, high in zip(
            *(column.tolist() for column in wanted(header, regions_of(genes)[:1])), strict=True
        ):
            np.add.reduce(track.values(names[number], low, high, numpy=True))


def inflate(path: Path, genes: Genes, n_regions: int = 1) -> None:
    """Read and inflate the touched blocks, and nothing else: the least that any reader must do."""
    places = zip(*(column.tolist() for column in blocks(path, regions_of(genes)[:n_regions])), strict=True)
    with path.open("rb") as file:
        for offset, size in places:
            zlib.decompress(os.pread(file.fileno(), size, offset))


def inflate_everywhere(path: Path, genes: Genes) -> None:
    inflate(path, genes, len(DEFAULT_REGIONS))


#: Methods, and the one that each is compared with.
METHODS: dict[str, tuple[Method, Method]] = {
    f"diffchrom{' (libdeflate)' if bigwig.libdeflate else ''}": (ours, inflate),
    "diffchrom (zlib)": (with_zlib(ours), inflate),
    "inflate the touched blocks": (inflate, inflate),
    "pyBigWig, merged regions": (merged, inflate),
    "pyBigWig, window by window": (naive, inflate),
    "all regions: diffchrom": (ours_everywhere, inflate_everywhere),
    "all regions: diffchrom (zlib)": (with_zlib(ours_everywhere), inflate_everywhere),
    "all regions: inflate the touched blocks": (inflate_everywhere, inflate_everywhere),
}


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    work()
    return clock() - began


def compute_matrix(program: str, path: Path, genes: Genes) -> float:
    """CPU seconds of deepTools for the same windows, with its own start-up."""
    with tempfile.TemporaryDirectory(prefix="diffchrom-bench-") as folder:
        bed = Path(folder) / "windows.bed"
        places = zip(genes.chrom, (Windows.around(genes, WINDOW).start + WINDOW.flank).tolist(), strict=True)
        lines = [f"{c}\t{p}\t{p + 1}\tg{i}\t0\t+\n" for i, (c, p) in enumerate(places)]
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
        f"b.ours(b.Path({str(path)!r}), b.clustered_genes(20_000))"
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


def run(path: Path) -> None:
    genes = clustered_genes(20_000)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(ROUNDS):
        for name, (method, _) in METHODS.items():
            times[name].append(seconds(lambda method=method: method(path, genes), time.process_time))
    least = {method: times[name] for name, (method, _) in METHODS.items()}
    program = os.environ.get("DIFFCHROM_COMPUTEMATRIX")
    over = {name: least[least_method] for name, (_, least_method) in METHODS.items()}
    if program:
        times["deepTools computeMatrix"] = [compute_matrix(program, path, genes)] * ROUNDS
        over["deepTools computeMatrix"] = least[inflate]
    os.sched_setaffinity(0, cores)
    print("method", "median_cpu_s", "min_cpu_s", "over_inflate", sep="\t")
    for name, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(found, over[name], strict=True))
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

"""How CPU seconds and memory grow with genes, marks, cells and regions, command by command.

For every point a store is prepared from simulated tracks (those of `diffchrom demo`; cells and marks beyond
its own are links to the same files), and a pair of its cells is trained on, predicted and attended to, each
in a process of its own whose CPU seconds and peak memory the kernel tells. A training is run for one epoch
and for some more, the more the fewer genes there are: their difference, divided, is what an epoch takes, and
the rest of the shorter one is what training takes beside its epochs (reading, trees, predicting). Slopes are
those of log seconds, less what the least store takes, over log size: 1 is in proportion, 0 is no matter.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_scaling.py [--axes genes marks cells regions] [--small]
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

REGIONS = ("tss", "body", "tes", "distal")
#: What takes less than this many times as long at most as at least does not grow, or noise hides it.
FLAT = 1.5


@dataclass(frozen=True)
class Size:
    """Of a store."""

    genes: int = 2000
    marks: int = 5
    cells: int = 2
    regions: int = 4


#: One axis at a time; the others as in `Size`.
AXES = {
    "genes": (1000, 4000, 16_000, 60_000),
    "marks": (5, 10, 20, 40),
    "cells": (2, 10, 50),
    "regions": (1, 2, 3, 4),
}
#: The least store: what commands take there is their start.
LEAST = Size(genes=120, marks=1, regions=1)
#: Trains for so many epochs: a variant and preset with one model and no least number of steps.
TRAIN = """
import sys
from dataclasses import replace
from pathlib import Path
from diffchrom.config import hyperparameters
from diffchrom.deepdiff.training import Training
from diffchrom.pairs.pair import Pair
from diffchrom.runs.making import make
from diffchrom.store.store import Store
variant, preset, epochs, store, out = sys.argv[1:]
settings = replace(hyperparameters(preset, variant), epochs=int(epochs), min_steps=0, ensemble=1, patience=99)
make(Training(variant, preset, settings), Pair.of(Store(Path(store)), ("K562", "H1")), out)
"""
#: Genes that the longer training is shown more often than the shorter one, by variant and preset.
SHOWN = {("additive", "default"): 60_000, ("raw:d", "published"): 6000}


@dataclass(frozen=True)
class Used:
    """CPU seconds, and MB of the largest process."""

    seconds: float
    memory: float


def used(words: list[object]) -> Used:
    """What a process, and those that it starts, use; this one is small, as theirs counts it too."""
    process = subprocess.Popen(
        [sys.executable, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, words))[:200]} failed: {said}")
    return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def simulated(folder: Path, n_genes: int) -> Path:
    """Annotation, bigWigs and counts of two cells; made by another process, which may grow."""
    made = folder / str(n_genes)
    if not made.exists():
        made.mkdir()
        code = "import sys; from pathlib import Path; from diffchrom.demo.simulate import simulate; "
        used(["-c", code + "simulate(Path(sys.argv[1]), int(sys.argv[2]))", made, n_genes])
    return made


def write_sheet(data: Path, size: Size, folder: Path) -> Path:
    """A sheet of tracks, of which those beyond the simulated ones are links to these."""
    files = [sorted(data.glob(f"{cell}-*.bw")) for cell in ("K562", "H1")]
    names = ["K562", "H1", *(f"C{number}" for number in range(3, size.cells + 1))]
    lines = ["cell\tmark\tpath"]
    for i, cell in enumerate(names):
        for j in range(size.marks):
            link = folder / f"{cell}.{j}.bw"
            link.hardlink_to(files[i % 2][j % len(files[0])])
            lines.append(f"{cell}\tM{j + 1}\t{link}")
    sheet = folder / "sheet.tsv"
    sheet.write_text("\n".join(lines) + "\n")
    return sheet


@contextmanager
def prepared(data: Path, size: Size) -> Iterator[tuple[Path, Used]]:
    with tempfile.TemporaryDirectory(dir=data.parent) as name:
        folder = Path(name)
        sheet, store = write_sheet(data, size, folder), folder / "s.h5"
        words = [
            "-m", "diffchrom", "prepare", "--store", store, "--gtf", data / "genes.gtf", "--samples", sheet,
            "--expression", data / "counts.tsv", "--regions", ",".join(REGIONS[: size.regions]),
        ]  # fmt: skip
        yield store, used(words)


def trained(store: Path, size: Size, variant: str, preset: str) -> tuple[Used, Used]:
    """An epoch of a training, and all else of it; memory of the whole."""
    more = math.ceil(SHOWN[variant, preset] / size.genes)
    short, long = (
        used(["-c", TRAIN, variant, preset, epochs, store, store.parent / f"{variant}.{epochs}"])
        for epochs in (1, 1 + more)
    )
    epoch = max(long.seconds - short.seconds, 1e-3) / more
    return Used(epoch, long.memory), Used(short.seconds - epoch, long.memory)


def measure(data: Path, size: Size) -> dict[str, Used]:
    """What every command uses on a store of a size; of trainings in parts."""
    with prepared(data, size) as (store, prepare):
        times = {"prepare": prepare}
        for variant, preset in SHOWN:
            epoch, rest = trained(store, size, variant, preset)
            times |= {f"{variant}: an epoch": epoch, f"{variant}: all else": rest}
        opened = [store.parent / "additive.1", "--store", store, "-o", store.parent / "table.tsv"]
        times["predict"] = used(["-m", "diffchrom", "predict", *opened])
        times["attend"] = used(["-m", "diffchrom", "attend", *opened, "--level", "mark"])
    return times


def slope(sizes: tuple[int, ...], seconds: list[float], start: float) -> str:
    """Of a line through the logarithms; of what hardly grows, less a start, it would be noise."""
    if max(seconds) < FLAT * min(seconds):
        return "flat"
    grown = [max(one - start, 0.01) for one in seconds]
    return f"{np.polyfit(np.log(sizes), np.log(grown), 1)[0]:.2f}"


def print_axis(
    axis: str, sizes: tuple[int, ...], points: list[dict[str, Used]], start: dict[str, Used]
) -> None:
    print(f"\n{axis}\t" + "\t".join(map(str, sizes)) + "\tslope")
    for name, least in start.items():
        cells = [f"{point[name].seconds:.2f} s, {point[name].memory:.0f} MB" for point in points]
        base = 0.0 if name.endswith("an epoch") else least.seconds
        grows = slope(sizes, [point[name].seconds for point in points], base)
        print(name, *cells, grows, sep="\t", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--small", action="store_true", help="two points an axis, to see that it runs")
    options = parser.parse_args()
    base = Size(genes=300) if options.small else Size()
    with tempfile.TemporaryDirectory() as name:
        folder, known = Path(name), dict[Size, dict[str, Used]]()

        def of(size: Size) -> dict[str, Used]:
            if size not in known:
                known[size] = measure(simulated(folder, size.genes), size)
            return known[size]

        start = of(LEAST)
        print("least store: " + ", ".join(f"{name} {one.seconds:.2f} s" for name, one in start.items()))
        for axis in options.axes:
            sizes = (300, 600) if options.small and axis == "genes" else AXES[axis]
            sizes = sizes[:2] if options.small else sizes
            print_axis(axis, sizes, [of(replace(base, **{axis: size})) for size in sizes], start)
    total = sum(os.times()[:4])
    print(f"\nall of it took {math.ceil(total / 60)} CPU minutes")


if __name__ == "__main__":
    main()

"""Time and memory of `diffchrom attend` on a store of genome size: every format, from model to file.

A store of 19,000 genes x 5 marks x 200 bins in two cells is simulated, with genes as dense as human ones, so
that many windows overlap, and a `raw` model (15 sequences) attends to all of it in a process of its own. The
peak is of that process. Linux. Usage: bench_attend.py [N_GENES] [FORMAT...]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from conftest import train, training
from diffchrom.genome.genes import Genes, Window
from diffchrom.store.store import Store, create

MARKS = ("H3K4me1", "H3K4me3", "H3K9me3", "H3K27me3", "H3K36me3")
CHROMS = {f"chr{i}": size for i, size in enumerate(np.linspace(249_000_000, 47_000_000, 22).astype(int), 1)}
OUTPUTS = {
    "tsv": (["--format", "tsv"], "x.tsv"),
    "tsv.gz": (["--format", "tsv"], "x.tsv.gz"),
    "wide.tsv.gz": (["--wide"], "x.tsv.gz"),
    "bed": (["--format", "bed"], "x.bed"),
    "narrowpeak": (["--format", "narrowpeak"], "x.narrowPeak"),
    "bedgraph": (["--format", "bedgraph"], "tracks"),
    "bigwig": (["--format", "bigwig"], "tracks"),
    "mark": (["--level", "mark"], "x.tsv"),
}


def make_store(path: Path, n_genes: int) -> Store:
    """Genes at random places, as in a genome, in no order; gamma noise with a rise at the TSS."""
    random = np.random.default_rng(0)
    sizes = np.array(list(CHROMS.values()))
    chrom = random.choice(len(sizes), n_genes, p=sizes / sizes.sum())
    tss = (random.random(n_genes) * sizes[chrom]).astype(np.int64)
    strand = random.choice(np.array(["+", "-"], dtype=object), n_genes)
    start, end = np.maximum(tss - 2000 * (strand == "-"), 0), tss + 2000 * (strand == "+") + 1
    genes = Genes(
        np.array([f"ENSG{i:011d}" for i in range(n_genes)], dtype=object),
        np.array([f"GENE{i}" for i in range(n_genes)], dtype=object),
        np.array(list(CHROMS), dtype=object)[chrom], strand, start, end, tss,
        np.where(strand == "+", end - 1, start),
    )  # fmt: skip
    store = create(path, genes, Window(), chrom_sizes={name: int(size) for name, size in CHROMS.items()})
    with store.edit() as editor:
        for cell in ("A", "B"):
            for mark in MARKS:
                signal = random.gamma(2.0, 1.0, (n_genes, 200)).astype(np.float32)
                signal[:, 95:110] *= random.gamma(1.0, 4.0, (n_genes, 1)).astype(np.float32)
                editor.add_signal(cell, mark, signal)
            editor.add_expression(cell, "counts", random.integers(0, 5000, n_genes).astype(float))
        editor.add_split("chromosome", np.where(chrom % 3 == 0, 2, chrom % 3 - 1).astype(np.int8))
    return store


def peak_megabytes() -> int:
    """Peak resident memory of this process; ru_maxrss would include its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def measure(store: str, run: str, words: list[str], output: str) -> None:
    """Run one `attend` in this process and print seconds and peak memory as JSON."""
    from diffchrom.cli import main

    started, cpu = time.perf_counter(), time.process_time()
    try:
        main(["attend", run, "--store", store, "--threads", "1", "-q", "-o", output, *words])
    except SystemExit as end:
        if end.code:
            raise
    files = [Path(output)] if Path(output).is_file() else sorted(Path(output).iterdir())
    figures = {
        "wall_s": round(time.perf_counter() - started, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_MB": peak_megabytes(),
        "written_MB": sum(file.stat().st_size for file in files) // 10**6,
    }
    print(json.dumps(figures))


def bench(n_genes: int, names: list[str]) -> None:
    """Make the store and a run, and measure each format in a process of its own."""
    from diffchrom.config import hyperparameters

    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        small = make_store(Path(folder) / "small.h5", 60)
        settings = hyperparameters("default", epochs=1)
        run = train(training(small.path, "raw", settings=settings, split="chromosome"), Path(folder) / "run")
        store = make_store(Path(folder) / "store.h5", n_genes)
        print("format\tgenes\twall_s\tcpu_s\tpeak_MB\twritten_MB")
        for name in names:
            words, output = OUTPUTS[name]
            target = Path(folder) / name / output
            command = [
                sys.executable,
                __file__,
                "--measure",
                str(store.path),
                str(run.path),
                str(target),
                *words,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            print("\t".join(map(str, (name, n_genes, *figures.values()))), flush=True)
            subprocess.run(["rm", "-r", str(target.parent)], check=True)


if __name__ == "__main__":
    if "--measure" in sys.argv:
        _, _, store_path, run_path, target_path, *rest = sys.argv
        measure(store_path, run_path, rest, target_path)
    else:
        size = int(sys.argv[1]) if len(sys.argv) > 1 else 19_000
        bench(size, sys.argv[2:] or list(OUTPUTS))

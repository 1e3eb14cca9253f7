"""How long the paper's sweep takes: its pairs and variants at the published preset, from measured steps.

A step of each variant (batches of 10 genes, one thread, as a sweep's worker has) is timed and multiplied
out as `sweep --dry-run` does it; jobs are dealt out to the cores, the longest first. With `--validate` one
pair is swept over all variants at few epochs, and its CPU seconds are held against the estimate of the same.
Times are CPU seconds; cores of one machine share caches and memory, which makes the night longer than the
table says by what `bench_sweep.py` measures.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_paper_sweep.py [--validate]
"""

from __future__ import annotations

import argparse
import heapq
import math
import resource
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

N_MARKS, REPEATS = 5, 7


def paper_variants() -> tuple[str, ...]:
    from diffchrom.variants import VARIANTS

    return tuple(name for name, variant in VARIANTS.items() if not variant.antisymmetric)


def measured_step(variant: str) -> float:
    """CPU seconds of one step of a variant's published preset."""
    from diffchrom.config import hyperparameters
    from diffchrom.deepdiff.timing import step_seconds
    from diffchrom.genome.genes import Window
    from diffchrom.genome.layout import Layout
    from diffchrom.genome.regions import TSS, region_of

    window = Window()
    settings = hyperparameters("published", variant)
    layout = Layout((region_of(TSS, window),), window.orient)
    steps = []
    for _ in range(REPEATS):
        step_seconds.cache_clear()
        steps.append(step_seconds(variant, settings, N_MARKS, layout, settings.batch_size))
    return statistics.median(steps)


def job_seconds(step: float, genes: int, epochs: int, batch: int = 10) -> float:
    """As `sweeps.estimate` has it: a start, and a tenth more for what is predicted."""
    return 3 + epochs * math.ceil(genes / batch) * step * 1.1


def hours(jobs: list[float], cores: int) -> float:
    """When the last of the jobs ends, the longest started first."""
    ends = [0.0] * cores
    for seconds in sorted(jobs, reverse=True):
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends) / 3600


def swept_seconds(genes: int, epochs: int) -> float:
    """CPU seconds of a sweep of one pair over all variants, with one worker of one thread."""
    from conftest import make_store
    from diffchrom.genome.genes import Window
    from diffchrom.processes.pool import LocalPool
    from diffchrom.sweeps.jobs import jobs_of
    from diffchrom.sweeps.plan import Plan
    from diffchrom.sweeps.running import SWEEPING, run_sweep

    marks = ("H3K4me3", "H3K27me3", "H3K36me3", "H3K4me1", "H3K9me3")
    with tempfile.TemporaryDirectory() as name:
        n_genes = math.ceil(genes / 0.6)  # make_store gives three of five to training
        store = make_store(Path(name) / "s.h5", n_genes=n_genes, marks=marks, window=Window())
        plan = Plan(
            store.path,
            Path(name) / "sweep",
            pairs=("A1,B2",),
            variants=paper_variants(),
            presets=("published",),
            settings={"epochs": epochs, "patience": epochs},
        )
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with LocalPool(1, purpose=SWEEPING) as pool:
            outcomes = run_sweep(jobs_of(plan), plan.out, pool)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert all(not outcome.reason for outcome in outcomes), outcomes
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    import torch

    parser = argparse.ArgumentParser()
    for name, default in (("genes", 10_000), ("epochs", 90), ("pairs", 10), ("cores", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--validate", type=int, nargs="?", const=2, metavar="EPOCHS", help="sweep a pair on 2,000 genes"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("variant\tgenes/s\tCPU h a run")
    steps = {variant: measured_step(variant) for variant in paper_variants()}
    runs = [job_seconds(step, options.genes, options.epochs) for step in steps.values()]
    for (variant, step), seconds in zip(steps.items(), runs, strict=True):
        print(f"{variant}\t{10 / step:.0f}\t{seconds / 3600:.2f}")
    total, night = options.pairs * sum(runs) / 3600, hours(runs * options.pairs, options.cores)
    print(
        f"{options.pairs} pairs x {len(steps)} variants x {options.epochs} epochs on {options.genes} genes: "
        f"{total:.1f} CPU h, {night:.1f} h on {options.cores} cores"
    )
    if epochs := options.validate:
        estimate = sum(job_seconds(step, 2000, epochs) for step in steps.values())
        swept = swept_seconds(2000, epochs)
        ratio = f"{swept:.0f} CPU s, estimated {estimate:.0f}: {swept / estimate:.2f}"
        print(f"one pair, {epochs} epochs, 2000 genes: {ratio}")


if __name__ == "__main__":
    main()

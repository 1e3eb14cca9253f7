"""Two workers against one on the same sweep, beside two processes against one that only burn time.

Rounds are interleaved: burn with one process, burn with two, sweep with one worker, sweep with two. The burn
says whether two cores are really there; the sweep should come near it, and take at most 0.6 of one worker's
time where the burn takes 0.5. On a machine that is busy with other work the wall times say little; the CPU
seconds of the workers still say what two workers cost more than one (their start): half of that ratio is what
the wall ratio would be on two free cores.

    python tests/benchmarks/bench_sweep.py [--rounds 3] [--jobs 8] [--epochs 10]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

BURN = 30_000_000


def burn(n: int) -> int:
    total = 0
    for i in range(n):
        total += i & 3
    return total


def burn_seconds(processes: int) -> float:
    started = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(burn, [BURN // processes] * processes, chunksize=1)
    return time.perf_counter() - started


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sweep_seconds(store: Path, workers: int, jobs: int, epochs: int) -> tuple[float, float]:
    """Wall seconds of a sweep, and CPU seconds of its workers."""
    from diffchrom.executors import Cores, local_place
    from diffchrom.sweeps.plan import Plan, jobs_of
    from diffchrom.sweeps.running import run_sweep

    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            store,
            Path(folder) / "sweep",
            pairs=("A1,B2",),
            variants=("raw",),
            seeds=tuple(range(jobs)),
            settings={"epochs": epochs, "patience": epochs},
        )
        cpu = children_cpu()
        started = time.perf_counter()
        with local_place(Cores(workers, 1)) as place:
            outcomes = run_sweep(jobs_of(plan), plan.out, place)
        seconds = time.perf_counter() - started
    assert all(not outcome.reason for outcome in outcomes), outcomes
    return seconds, children_cpu() - cpu


def main() -> None:
    from conftest import make_store
    from diffchrom.genes import Window

    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "s.h5", n_genes=400, window=Window(10_000, 100)).path
        ratios: dict[str, list[float]] = {"burn": [], "sweep": [], "sweep, CPU": []}
        for _ in range(options.rounds):
            one, two = burn_seconds(1), burn_seconds(2)
            ratios["burn"].append(two / one)
            first, second = (sweep_seconds(store, n, options.jobs, options.epochs) for n in (1, 2))
            ratios["sweep"].append(second[0] / first[0])
            ratios["sweep, CPU"].append(second[1] / first[1])
            print(
                f"burn {one:.2f} s, {two:.2f} s; sweep {first[0]:.1f} s, {second[0]:.1f} s; "
                f"its workers' CPU {first[1]:.1f} s, {second[1]:.1f} s",
                flush=True,
            )
    for name, values in ratios.items():
        print(f"{name}: two take {statistics.median(values):.2f} of one's time (median of {values})")


if __name__ == "__main__":
    main()

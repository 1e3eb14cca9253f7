"""Two workers against one on the same sweep, beside one process and two that only burn time.

Rounds are interleaved: each burn with one process and with two, the sweep with one worker and with two.
The burns say what two cores are worth on this machine: one counts in Python, the other multiplies matrices,
as a job mostly does, so that cores which share vector units or clock with others show it. The sweep should
come near the second burn, and take at most 0.6 of one worker's time where that takes 0.5. On a machine
that is busy with other work the wall times say little; the CPU seconds of the workers still say what two cost
more.

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
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def count(n: int) -> int:
    total = 0
    for i in range(n * 3_000_000):
        total += i & 3
    return total


def multiply(n: int) -> None:
    import torch

    torch.set_num_threads(1)
    left, right = torch.randn(2, 512, 512)
    for _ in range(n * 100):
        right = (left @ right) / 16  # keeps its size


BURNS = {"burn, Python": count, "burn, matrices": multiply}
PARTS = 10  # of a burn, shared out over the processes


def burn_seconds(burn: Callable[[int], object], processes: int) -> float:
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(burn, [0] * processes, chunksize=1)  # starts and imports
        started = time.perf_counter()
        pool.map(burn, [PARTS // processes] * processes, chunksize=1)
        return time.perf_counter() - started


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sweep_seconds(store: Path, workers: int, jobs: int, epochs: int) -> tuple[float, float]:
    """Wall seconds of a sweep, and CPU seconds of its workers."""
    from diffchrom.processes.pool import LocalPool
    from diffchrom.sweeps.jobs import jobs_of
    from diffchrom.sweeps.plan import Plan
    from diffchrom.sweeps.running import SWEEPING, run_sweep

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
        with LocalPool(workers, purpose=SWEEPING) as pool:
            outcomes = run_sweep(jobs_of(plan), plan.out, pool)
        seconds = time.perf_counter() - started
    assert all(not outcome.reason for outcome in outcomes), outcomes
    return seconds, children_cpu() - cpu


def main() -> None:
    from conftest import make_store
    from diffchrom.genome.genes import Window

    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "s.h5", n_genes=400, window=Window(10_000, 100)).path
        ratios: dict[str, list[float]] = {name: [] for name in (*BURNS, "sweep", "sweep, CPU")}
        for number in range(options.rounds):
            for name, burn in BURNS.items():
                ratios[name].append(burn_seconds(burn, 2) / burn_seconds(burn, 1))
            first, second = (sweep_seconds(store, n, options.jobs, options.epochs) for n in (1, 2))
            ratios["sweep"].append(second[0] / first[0])
            ratios["sweep, CPU"].append(second[1] / first[1])
            print(*(f"{name} {values[number]:.2f}" for name, values in ratios.items()), sep=", ", flush=True)
    for name, values in ratios.items():
        print(f"{name}: two take {statistics.median(values):.2f} of what one takes")


if __name__ == "__main__":
    main()

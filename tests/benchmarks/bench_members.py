"""The default's models trained side by side against one after the other, to the same bytes.

`--epochs 3` shows each model 8,400 genes, the default here 28,000: what a process must be worth.

Rounds are interleaved; seconds are those of `train` as a whole, reading and predicting included.

    python tests/benchmarks/bench_members.py [--rounds 3] [--genes 4000] [--models 5] [--epochs 10]
        [--threads N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from conftest import train, training


def train_seconds(store: Path, folder: Path, models: int, epochs: int, side_by_side: bool) -> float:
    """Wall seconds of a training."""
    from diffchrom.config import hyperparameters

    job = training(store, settings=hyperparameters("default", ensemble=models, epochs=epochs), device="cpu")
    started = time.perf_counter()
    train(job, folder, side_by_side=side_by_side)
    return time.perf_counter() - started


def main() -> None:
    from diffchrom.processes.machine import available_threads

    parser = argparse.ArgumentParser()
    for name, default in (("rounds", 3), ("genes", 4000), ("models", 5), ("epochs", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=available_threads())
    options = parser.parse_args()

    import torch

    from conftest import make_store
    from diffchrom.deepdiff import members
    from diffchrom.genome.genes import Window

    members.WORTH_A_PROCESS = 0  # also where it does not pay, which is to be seen
    torch.set_num_threads(options.threads)
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        marks = ("H3K4me3", "H3K27me3", "H3K36me3", "H3K4me1", "H3K9me3")
        store = make_store(
            folder / "s.h5", n_genes=options.genes, marks=marks, window=Window(10_000, 100)
        ).path
        for number in range(options.rounds):
            runs = [folder / f"{number}.{how}" for how in ("turn", "beside")]
            turn, beside = (
                train_seconds(store, run, options.models, options.epochs, how)
                for run, how in zip(runs, (False, True), strict=True)
            )
            models = [(run / "model.safetensors").read_bytes() for run in runs]
            assert models[0] == models[1]
            ratios.append(beside / turn)
            print(f"one after the other {turn:6.1f} s, side by side {beside:6.1f} s: {ratios[-1]:.2f}")
    print(f"median {statistics.median(ratios):.2f} with {options.threads} threads")


if __name__ == "__main__":
    main()

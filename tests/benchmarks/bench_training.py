"""Genes a second of every variant, in training and inference: the fused kernel and torch's LSTM in turns.

One process, batches of 10 and 64 genes, 5 marks, 200 bins, hidden 32. Training is the step of
`diffchrom train` (forward, losses, backward, clipping, Adam). ``outside`` is the share of the step that is
not spent in the kernel; ``kernel/sgemm`` compares the kernel's rate of arithmetic (its matrix products
alone) with that of torch's own product of two 512 x 512 matrices on one core, timed in between. Times are
the process's CPU seconds at one thread, so that other work on the machine disturbs little, and wall seconds
at more; medians of interleaved repeats, each after an untimed one, since steps follow one another.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from diffchrom.config import PRESETS
from diffchrom.deepdiff import _kernel
from diffchrom.deepdiff.building import build_model
from diffchrom.deepdiff.examples import GeneTensors
from diffchrom.deepdiff.fitting import training_step
from diffchrom.deepdiff.loss import Targets
from diffchrom.deepdiff.lstm import kernel_unavailable_reason, threads_for_lstm, use_backend
from diffchrom.deepdiff.model import CELL_A, CELL_B
from diffchrom.deepdiff.optimiser import Adam
from diffchrom.variants import VARIANTS

N_MARKS, N_BINS, PRODUCT = 5, 200, 512
COLUMNS = (
    "variant", "batch", "threads", "pass", "fused_genes_per_s", "torch_genes_per_s", "fused/torch", "outside",
    "kernel_gflops", "sgemm_gflops", "kernel/sgemm",
)  # fmt: skip


@dataclass
class Inside:
    """Seconds spent in the kernel and its floating-point operations, since the last `reset`."""

    clock: Callable[[], float]
    seconds: float = 0.0
    operations: float = 0.0

    def watch(self) -> None:
        """Count every call of the kernel from now on."""
        for name, products in (("forward", 1), ("backward", 2)):
            setattr(_kernel.Library, name, self._counted(getattr(_kernel.Library, name), products))

    def _counted(self, run: Callable[..., None], products: int) -> Callable[..., None]:
        def counted(library: _kernel.Library, job: _kernel.KernelJob) -> None:
            start = self.clock()
            run(library, job)
            self.seconds += self.clock() - start
            steps = job.n_sequences * job.batch * job.steps * 2
            self.operations += products * steps * 8 * job.hidden * (job.hidden + job.input)

        return counted

    def reset(self) -> None:
        """Start again from nothing."""
        self.seconds = self.operations = 0.0


def passes_of(variant: str, batch: int) -> dict[str, Callable[[], object]]:
    """A training step and a prediction of one batch of simulated read counts."""
    settings = PRESETS["published"]
    signal = torch.poisson(torch.full((2, batch, N_MARKS, N_BINS), 3.0))
    a, b = signal[0], signal[1]
    expression = {CELL_A: torch.rand(batch) * 5, CELL_B: torch.rand(batch) * 5}
    genes = GeneTensors(a, b, Targets(torch.randn(batch), expression), torch.device("cpu"))
    model = build_model(VARIANTS[variant], N_MARKS, settings)
    optimiser = Adam(model.parameters(), settings.lr)

    def infer() -> None:
        with torch.inference_mode():
            model(a, b)

    return {"train": lambda: training_step(model, optimiser, genes, settings), "infer": infer}


def measure(
    variant: str, batch: int, what: str, job: Callable[[], object], inside: Inside, repeats: int, threads: int
) -> None:
    """Print one row."""
    left, right = torch.randn(2, PRODUCT, PRODUCT)
    jobs = {"fused": job, "torch": job, "sgemm": lambda: left @ right}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    outside, rates = [], []
    for _ in range(repeats):
        for name, run in jobs.items():
            with use_backend("torch" if name == "torch" else None), threads_for_lstm():
                run()  # type: ignore[no-untyped-call]
                inside.reset()
                start = inside.clock()
                run()  # type: ignore[no-untyped-call]
                taken = inside.clock() - start
            seconds[name].append(taken)
            if name == "fused":
                outside.append(1 - inside.seconds / taken)
                rates.append(1e-9 * inside.operations / inside.seconds)
    # One thread's product is the limit of one core; the kernel's rate is of all threads together.
    products = [2e-9 * PRODUCT**3 / taken for taken in seconds["sgemm"]]
    fused, torchs = (statistics.median(seconds[name]) for name in ("fused", "torch"))
    ratio = statistics.median(rate / product for rate, product in zip(rates, products, strict=True))
    numbers = (f"{batch / fused:.0f}", f"{batch / torchs:.0f}", f"{torchs / fused:.2f}")
    figures = (statistics.median(outside), statistics.median(rates), statistics.median(products), ratio)
    print(variant, batch, threads, what, *numbers, *(f"{v:.2f}" for v in figures), sep="\t", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[10, 64])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    options = parser.parse_args()
    if reason := kernel_unavailable_reason():
        raise SystemExit(reason)
    print(f"# load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(*COLUMNS, sep="\t")
    for threads in options.threads:
        torch.set_num_threads(threads)
        inside = Inside(time.process_time if threads == 1 else time.perf_counter)
        before = _kernel.Library.forward, _kernel.Library.backward
        inside.watch()
        for variant in options.variants:
            for batch in options.batches:
                torch.manual_seed(0)
                for what, job in passes_of(variant, batch).items():
                    measure(variant, batch, what, job, inside, options.repeats, threads)
        _kernel.Library.forward, _kernel.Library.backward = before  # type: ignore[method-assign]
    print(f"# load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

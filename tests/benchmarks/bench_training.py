"""Genes a second of every variant in training and inference, with and without autograd.

One process, batches of 10 and 64 genes, 5 marks, 200 bins, hidden 32. Training is the step of `diffchrom
train` (forward, losses, backward, clipping, Adam): in one call of the kernel where it serves the variant,
with autograd around the kernel's LSTMs, and with autograd around torch's. ``outside`` is the share of the
first that is not LSTMs, whose time is the second's; ``kernel/sgemm`` compares the kernel's rate of
arithmetic (its matrix products alone) with that of torch's own product of two 512 x 512 matrices on one
core, timed in between. Times are the process's CPU seconds at one thread, so that other work on the machine
disturbs little, and wall seconds at more; medians of interleaved repeats, each after an untimed one, since
steps follow one another.
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
from diffchrom.deepdiff.fitting import stepper, training_step
from diffchrom.deepdiff.loss import Targets
from diffchrom.deepdiff.lstm import kernel_unavailable_reason, threads_for_lstm, use_backend
from diffchrom.deepdiff.model import CELL_A, CELL_B
from diffchrom.deepdiff.optimiser import Adam
from diffchrom.variants import VARIANTS

N_MARKS, N_BINS, PRODUCT = 5, 200, 512
COLUMNS = (
    "variant", "batch", "threads", "pass", "step_genes_per_s", "step/autograd", "step/torch", "outside",
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


def passes_of(variant: str, batch: int) -> dict[str, dict[str, Callable[[], object]]]:
    """A training step and a prediction of one batch of simulated read counts, each in every way there is."""
    settings = PRESETS["published"]
    signal = torch.poisson(torch.full((2, batch, N_MARKS, N_BINS), 3.0))
    a, b = signal[0], signal[1]
    expression = {CELL_A: torch.rand(batch) * 5, CELL_B: torch.rand(batch) * 5}
    genes = GeneTensors(a, b, Targets(torch.randn(batch), expression), torch.device("cpu"))
    model = build_model(VARIANTS[variant], N_MARKS, settings)
    optimiser = Adam(model.parameters(), settings.lr)
    step = stepper(model, optimiser, settings)

    def with_autograd() -> None:
        training_step(model, optimiser, genes, settings)

    def infer() -> None:
        with torch.inference_mode():
            model(a, b)

    train = {"step": lambda: step(genes), "autograd": with_autograd, "torch": with_autograd}
    return {"train": train, "infer": {"step": infer, "autograd": infer, "torch": infer}}


def measure(
    names: tuple[object, ...],
    batch: int,
    passes: dict[str, Callable[[], object]],
    inside: Inside,
    repeats: int,
) -> None:
    """Print one row, which `names` begin."""
    left, right = torch.randn(2, PRODUCT, PRODUCT)
    jobs = {**passes, "sgemm": lambda: left @ right}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    kernel, rates = [], []
    for _ in range(repeats):
        for name, run in jobs.items():
            with use_backend("torch" if name == "torch" else None), threads_for_lstm():
                run()
                inside.reset()
                start = inside.clock()
                run()
                seconds[name].append(inside.clock() - start)
            if name == "autograd":
                kernel.append(inside.seconds)
                rates.append(1e-9 * inside.operations / inside.seconds)
    # One thread's product is the limit of one core; the kernel's rate is of all threads together.
    products = [2e-9 * PRODUCT**3 / taken for taken in seconds["sgemm"]]
    step = statistics.median(seconds["step"])
    ratio = statistics.median(rate / product for rate, product in zip(rates, products, strict=True))
    figures = (
        *(statistics.median(seconds[name]) / step for name in ("autograd", "torch")),
        1 - statistics.median(kernel) / step,
        statistics.median(rates),
        statistics.median(products),
        ratio,
    )
    print(*names, f"{batch / step:.0f}", *(f"{value:.2f}" for value in figures), sep="\t", flush=True)


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
                for what, passes in passes_of(variant, batch).items():
                    measure((variant, batch, threads, what), batch, passes, inside, options.repeats)
        _kernel.Library.forward, _kernel.Library.backward = before  # type: ignore[method-assign]
    print(f"# load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

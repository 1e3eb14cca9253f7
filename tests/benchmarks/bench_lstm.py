"""Fused kernel, torch's LSTM and the machine's own matrix product, interleaved, as one TSV.

Times are the process's CPU seconds at one thread, so that other work on the machine disturbs little, and wall
seconds at more. GFLOP/s counts the matrix products of the definition only (gates forward; their transposed
product and the weights' outer product backward), so that it compares with sgemm's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from diffchrom.deepdiff.lstm import LSTMBank, kernel_unavailable_reason, use_backend

# name: sequences, batch, steps, input, hidden
SHAPES = {
    "one mark": (1, 10, 200, 1, 32),
    "Level I": (5, 10, 200, 1, 32),
    "Level I of raw+aux": (25, 10, 200, 1, 32),
    "Level I, batch 64": (5, 64, 200, 1, 32),
    "Level II": (1, 10, 5, 64, 16),
}
COLUMNS = (
    "shape", "sequences", "batch", "threads", "pass", "fused_ms", "torch_ms", "torch/fused", "fused_gflops",
    "torch_gflops", "sgemm_gflops", "fused/sgemm",
)  # fmt: skip
PRODUCT = 512


def median_seconds(jobs: dict[str, Callable[[], object]], repeats: int, threads: int) -> dict[str, float]:
    """Median time of each job; all of them take turns."""
    clock = time.process_time if threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(repeats):
        for name, job in jobs.items():
            start = clock()
            job()
            seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def jobs_of(shape: tuple[int, int, int, int, int]) -> dict[str, Callable[[], object]]:
    """Training (forward and backward, with attention) and inference, for both back ends."""
    sequences, batch, steps, inputs, hidden = shape
    bank = LSTMBank(sequences, inputs, hidden)
    context = torch.randn(sequences, 2 * hidden, requires_grad=True)
    x = torch.randn(sequences, batch, steps, inputs, requires_grad=inputs > 1)
    grad = torch.randn(sequences, batch, 2 * hidden)

    def train(backend: str) -> None:
        with use_backend(backend):
            bank.attend(x, context)[0].backward(grad)

    def infer(backend: str) -> None:
        with use_backend(backend), torch.no_grad():
            bank.attend(x, context)

    return {
        f"{name} {backend}": (lambda job=job, backend=backend: job(backend))
        for name, job in (("train", train), ("infer", infer))
        for backend in ("fused", "torch")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    if reason := kernel_unavailable_reason():
        raise SystemExit(reason)
    torch.manual_seed(0)
    left, right = torch.randn(2, PRODUCT, PRODUCT)
    print(*COLUMNS, sep="\t")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name, shape in SHAPES.items():
            sequences, batch, steps, inputs, hidden = shape
            seconds = median_seconds(
                {**jobs_of(shape), "sgemm": lambda: left @ right}, options.repeats, threads
            )
            sgemm = 2e-9 * PRODUCT**3 / seconds["sgemm"]
            forward = 2e-9 * sequences * batch * steps * 2 * 4 * hidden * (hidden + inputs)
            for what, work in (("train", 3 * forward), ("infer", forward)):
                fused, torchs = seconds[f"{what} fused"], seconds[f"{what} torch"]
                row = (torchs / fused, work / fused, work / torchs, sgemm, work / fused / sgemm)
                times = (f"{1e3 * fused:.3f}", f"{1e3 * torchs:.3f}")
                print(name, sequences, batch, threads, what, *times, *(f"{v:.2f}" for v in row), sep="\t")


if __name__ == "__main__":
    main()

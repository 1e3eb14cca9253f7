"""Genes a second on the CPU and on a card, of every variant, beside the authors' code on the same device.

    git clone https://github.com/QData/DeepDiffChrome authors
    python tests/benchmarks/bench_cuda.py --devices cpu cuda --authors authors

One process, 5 marks, 200 bins, hidden 32. Training is the step of `diffchrom train` (forward, losses,
backward, clipping, Adam), theirs the step of their `train.py`; genes are on the device already. ``calls`` has
torch's LSTMs mark by mark instead of in one call. Medians of repeats, after untimed ones; the card is waited
for before the clock is read. ``peak_mb`` is what torch has had on the card.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch.nn import functional as F

from diffchrom.config import PRECISIONS, PRESETS
from diffchrom.deepdiff.building import build_model
from diffchrom.deepdiff.cuda import computing, resolve_device
from diffchrom.deepdiff.examples import GeneTensors
from diffchrom.deepdiff.fitting import training_step
from diffchrom.deepdiff.loss import Targets
from diffchrom.deepdiff.lstm import backend_name, use_backend
from diffchrom.deepdiff.model import CELL_A, CELL_B
from diffchrom.deepdiff.optimiser import Adam
from diffchrom.variants import VARIANTS

N_MARKS, N_BINS, WARM_UP = 5, 200, 3
COLUMNS = ("device", "code", "precision", "variant", "batch", "pass", "genes_per_s", "peak_mb")

Passes = dict[str, Callable[[], Any]]


def genes_on(device: torch.device, batch: int) -> GeneTensors:
    """Simulated read counts and labels."""
    torch.manual_seed(0)
    a, b = torch.poisson(torch.full((2, batch, N_MARKS, N_BINS), 3.0)).to(device)
    labels = torch.randn(3, batch).to(device)
    return GeneTensors(a, b, Targets(labels[0], {CELL_A: labels[1], CELL_B: labels[2]}), device)


def ours(variant: str, genes: GeneTensors, precision: str) -> Passes:
    """A training step and a prediction of one batch."""
    settings = replace(PRESETS["published"], precision=precision)
    model = build_model(VARIANTS[variant], N_MARKS, settings).to(genes.device)
    optimiser = Adam(model.parameters(), settings.lr, scaled=precision == "float16")
    return {
        "train": lambda: training_step(model, optimiser, genes, settings),
        "infer": lambda: model(genes.a, genes.b),
    }


class Unused(ModuleType):
    """Stands for what the authors' modules import and these passes don't use."""

    def __getattr__(self, name: str) -> object:
        return None


def authors_modules(folder: Path) -> tuple[ModuleType, ModuleType]:
    """The authors' models and contrastive loss, unchanged."""
    sys.path.insert(0, str(folder))
    for name in ("torchvision", "evaluate", "data"):
        sys.modules[name] = Unused(name)
    return importlib.import_module("models"), importlib.import_module("SiameseLoss")


def theirs(variant: str, genes: GeneTensors, modules: tuple[ModuleType, ModuleType]) -> Passes:
    """The same with the authors' model, losses, clipping and optimiser."""
    models, losses = modules
    arguments = SimpleNamespace(
        n_hms=N_MARKS, n_bins=N_BINS, bin_rnn_size=32, num_layers=1, bidirectional=True, dropout=0.5
    )
    model = getattr(models, variant.replace(":", "_").replace("+", "_"))(arguments).to(genes.device)
    contrast = losses.ContrastiveLoss().to(genes.device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    a, b = (signal.transpose(1, 2).contiguous() for signal in (genes.a, genes.b))
    labels = genes.targets

    def train() -> None:
        optimiser.zero_grad()
        output = model(a, b)
        loss = F.mse_loss(output[0], labels.log2fc[:, None])
        if VARIANTS[variant].auxiliary:
            for cell, predicted in zip((CELL_A, CELL_B), output[-2:], strict=True):
                loss = loss + F.mse_loss(predicted, labels.expression[cell][:, None])
        if VARIANTS[variant].siamese:
            changed = (labels.log2fc.abs() >= 2).float()
            loss = loss + 4.0 * contrast(output[3], output[4], changed)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    return {"train": train, "infer": lambda: model(a, b)}


def seconds(device: torch.device, what: str, job: Callable[[], Any], repeats: int) -> float:
    """Median time of a pass."""

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    times = []
    with torch.set_grad_enabled(what == "train"):
        for number in range(WARM_UP + repeats):
            started = clock()
            job()
            if number >= WARM_UP:
                times.append(clock() - started)
    return statistics.median(times)


def candidates(
    device: torch.device, variant: str, genes: GeneTensors, options: argparse.Namespace
) -> Iterator[tuple[str, str, str, Passes]]:
    """Code, its precision and back end, and its passes."""
    backend = backend_name(device)
    precisions = options.precisions if device.type == "cuda" else ["float32"]
    for precision in precisions:
        yield "ours", precision, backend, ours(variant, genes, precision)
    yield "calls", "float32", "torch", ours(variant, genes, "float32")
    if options.modules and not VARIANTS[variant].antisymmetric:
        yield "authors", "float32", backend, theirs(variant, genes, options.modules)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--devices", nargs="+", default=["auto"], help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--authors", type=Path, help="a clone of QData/DeepDiffChrome")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--batches", type=int, nargs="+", default=[10, 64, 256])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS))
    options = parser.parse_args()
    options.modules = authors_modules(options.authors) if options.authors else None
    print(f"# torch {torch.__version__}, CUDA {torch.version.cuda}, {torch.get_num_threads()} threads")
    print(*COLUMNS, sep="\t")
    for device in map(resolve_device, options.devices):
        card = device.type == "cuda"
        name = torch.cuda.get_device_name(device) if card else "cpu"
        for variant in options.variants:
            for batch in options.batches:
                genes = genes_on(device, batch)
                for code, precision, backend, passes in candidates(device, variant, genes, options):
                    for what, job in passes.items():
                        if card:
                            torch.cuda.reset_peak_memory_stats(device)
                        with computing(device), use_backend(backend):
                            rate = batch / seconds(device, what, job, options.repeats)
                        peak = f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f}" if card else "NA"
                        row = (name, code, precision, variant, batch, what, f"{rate:.0f}", peak)
                        print(*row, sep="\t", flush=True)


if __name__ == "__main__":
    main()

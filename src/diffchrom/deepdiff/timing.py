"""How long a training step takes on this machine."""

from __future__ import annotations

import time
from functools import cache

import torch

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.building import build_model, seeded
from diffchrom.deepdiff.cuda import computing, resolve_device
from diffchrom.deepdiff.examples import GeneTensors
from diffchrom.deepdiff.fitting import stepper
from diffchrom.deepdiff.loss import Targets
from diffchrom.deepdiff.model import CELL_A, CELL_B
from diffchrom.deepdiff.optimiser import Adam
from diffchrom.genome.layout import Layout
from diffchrom.variants import get_variant

_CALIBRATION_STEPS = 3


@cache
def step_seconds(
    variant: str,
    settings: Hyperparameters,
    n_marks: int,
    layout: Layout,
    batch_size: int,
    device: str = "cpu",
) -> float:
    """Seconds for a training step of a variant on made-up signal: of one core, or of a card."""
    where = resolve_device(device)
    generator = torch.Generator().manual_seed(0)
    signal = torch.rand(2, batch_size, n_marks, layout.n_windows, generator=generator).to(where)
    labels = torch.randn(3, batch_size, generator=generator).to(where)
    expression = {CELL_A: labels[1], CELL_B: labels[2]}
    if settings.aux_task == "classification":
        expression = {cell: (values > 0).long() for cell, values in expression.items()}
    targets = Targets(labels[0], expression)
    batch = GeneTensors(signal[0], signal[1], targets, where)
    times = []
    with seeded(0, where), computing(where):
        model = build_model(get_variant(variant), n_marks, settings, layout).to(where)
        optimiser = Adam(model.parameters(), settings.lr, scaled=settings.precision == "float16")
        step = stepper(model, optimiser, settings)
        for _ in range(_CALIBRATION_STEPS):
            started = _clock(where)
            step(batch)
            times.append(_clock(where) - started)
    return min(times[1:])


def _clock(device: torch.device) -> float:
    if device.type != "cuda":
        return time.process_time()  # what else the machine does is no matter
    torch.cuda.synchronize(device)
    return time.perf_counter()

"""What a training takes of the memory, and what is done where that is too much."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.building import INFERENCE_BATCH
from diffchrom.genome.layout import Layout
from diffchrom.genome.regions import TSS
from diffchrom.pairs.pair import signal_bytes
from diffchrom.pairs.pair_set import PairSet, signal_bytes_of
from diffchrom.processes.machine import available_memory
from diffchrom.variants import Variant

#: Bytes that a process takes before it does anything.
PROCESS_BYTES = 400_000_000


@dataclass(frozen=True)
class MemoryPlan:
    """Where a training's data go, and how many models there is room for.

    Attributes
    ----------
    signal, transformed, step : bytes of all signal, of that a model is shown, and of what a step keeps.
    limit : bytes that may be used.
    card : bytes that are free on the card that computes; None without one.
    """

    signal: int
    transformed: int
    step: int
    limit: int
    card: int | None = None

    @property
    def on_card(self) -> bool:
        """Whether the genes to learn from have room on the card beside a step; else batches go there."""
        return self.card is not None and not self.spill and self.transformed + self.step <= self.card

    @property
    def spill(self) -> Path | None:
        """Folder for the signal where it is too large for the memory."""
        step = self.step if self.card is None else 0
        return Path(tempfile.gettempdir()) if self.signal + step > self.limit else None

    @property
    def processes(self) -> int:
        """Models that may train at a time, each in a process of its own beside this one."""
        shared = self.transformed  # once more
        return max(1, (self.limit - PROCESS_BYTES - self.signal - shared) // (PROCESS_BYTES + self.step))

    def described(self) -> str:
        """In one line."""
        step, signal = self.step / 1e9, self.signal / 1e9
        where = f"on disk in {self.spill}" if self.spill else "in memory"
        said = f"memory: about {step:.2f} GB for a step, {signal:.2f} GB of signal {where}"
        if self.card is None:
            return said
        there = "all genes to learn from" if self.on_card else "a batch at a time"
        return f"{said}; on the card, of which {self.card / 1e9:.2f} GB are free, {there}"


def plan_memory(
    pairs: PairSet,
    variant: Variant,
    settings: Hyperparameters,
    limit: int | None = None,
    card: int | None = None,
) -> MemoryPlan:
    """Estimate what a training on pairs of cells takes.

    Parameters
    ----------
    pairs : the data.
    variant, settings : the model.
    limit : bytes that may be used; None is what is free.
    card : bytes that are free on the card that computes.
    """
    # The signal of every cell, and transformed that of every pair's training and validation genes.
    orders = 1 if pairs.single or variant.antisymmetric else 2
    transformed = orders * len(pairs.pairs) * signal_bytes(pairs.first)
    step = step_bytes(variant, settings, len(pairs.first.marks), pairs.first.layout)
    limit = available_memory() if limit is None else limit
    return MemoryPlan(signal_bytes_of(pairs) + transformed, transformed, step, limit, card)


def step_bytes(variant: Variant, settings: Hyperparameters, n_marks: int, layout: Layout) -> int:
    """Bytes that a training step, or a batch of predictions, keeps."""
    batch = max(settings.batch_size, INFERENCE_BATCH)
    if variant.additive:  # of both orders: what patterns see and give, and a dozen values a window
        bins: int = layout.spans[TSS].stop * (variant.pattern_width * n_marks + 3 * variant.patterns)
        return 4 * 2 * batch * (bins + 12 * n_marks * layout.n_windows)
    sequences = n_marks * (len(variant.main) + (2 if variant.auxiliary else 0))
    if variant.antisymmetric:  # one sequence a mark, in both orders of the cells
        sequences = 2 * n_marks
    n_steps = -(-layout.n_windows // variant.merge)
    # Each bin of each sequence and direction keeps about four gates, a cell and a hidden state.
    return 4 * batch * sequences * n_steps * 2 * 6 * settings.hidden

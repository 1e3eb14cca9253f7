"""What a trained model looked at: bin attention alpha and mark attention beta, gene by gene, labelled.

Every sequence of every block is there, each named by block and mark. The blocks of Level I are ``main:A``,
``main:B`` and ``main:A-B`` (the main task's encoder reading A, B and A - B) and ``aux:A`` and ``aux:B`` (the
auxiliary encoders; one and the same in siamese variants, still reading A and B). Level II has one attention
a task: ``main``, and ``A`` and ``B`` for the auxiliary tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.building import resolve_device
from diffchrom.deepdiff.inference import load_model, load_run_data
from diffchrom.deepdiff.model import MAIN, DeepDiff
from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.windows import Windows
from diffchrom.pairs.choices import SPLIT_PARTS
from diffchrom.pairs.pair import PairData
from diffchrom.pairs.transform import Transform
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import Run
from diffchrom.store.format import CHUNK_GENES
from diffchrom.store.store import Store

#: Genes computed together; bounds memory, together with the number of sequences and bins.
ATTENTION_BATCH = 64
#: Signal of the selected genes is kept in memory up to this size and read piece by piece beyond it.
SIGNAL_BUDGET = 256 * 1024 * 1024

Rows = npt.NDArray[np.intp]
Signal = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sequence:
    """One sequence of Level I.

    Attributes
    ----------
    block : str
        ``main:A``, ``main:B``, ``main:A-B``, ``aux:A`` or ``aux:B``.
    mark : str
    """

    block: str
    mark: str

    @property
    def source(self) -> str:
        """What the sequence is made of: ``A``, ``B`` or ``A-B``."""
        return self.block.partition(":")[2]


def level1_sequences(model: DeepDiff, marks: tuple[str, ...]) -> dict[str, tuple[Sequence, ...]]:
    """Sequences of each Level I block of the model (main, A, B), in the order of its alpha."""
    return {
        block: tuple(
            Sequence(f"{MAIN}:{source}" if block == MAIN else f"aux:{source}", mark)
            for source in sources
            for mark in marks
        )
        for block, sources in model.sequences().items()
    }


def level2_sequences(model: DeepDiff, marks: tuple[str, ...]) -> dict[str, tuple[Sequence, ...]]:
    """Sequences that each Level II block (the tasks main, A, B) attends to, in the order of its beta.

    The main task's Level II reads its own block and, where there are any, the auxiliary blocks after it.
    """
    blocks = level1_sequences(model, marks)
    everything = tuple(sequence for block in blocks.values() for sequence in block)
    return {task: everything if task == MAIN else sequences for task, sequences in blocks.items()}


@dataclass(frozen=True)
class AttentionBatch:
    """Attention of some genes.

    Attributes
    ----------
    rows : intp [n]
        The genes, as rows of the store.
    alpha : float32 [n, n_sequences, n_bins]
        Bin attention, sequences in the order of `AttentionSource.sequences`; every row sums to 1.
    beta : dict of task (main, A, B) to float32 [n, J]
        Mark attention, sequences in the order of `AttentionSource.tasks`; every row sums to 1.
    log2fc_pred : float32 [n]
    """

    rows: Rows
    alpha: npt.NDArray[np.float32]
    beta: dict[str, npt.NDArray[np.float32]]
    log2fc_pred: npt.NDArray[np.float32]


@dataclass(frozen=True)
class AttentionSource:
    """A run's model and the genes of a store, whose signal is read as it is needed.

    Attributes
    ----------
    model : in evaluation mode.
    marks : in the model's order.
    transform : from the store's signal to the model's input.
    data : the genes and their labels; its signal is empty.
    store : where the signal is.
    settings : hyper-parameters of the run.
    """

    model: DeepDiff
    marks: tuple[str, ...]
    transform: Transform
    data: PairData
    store: Store
    settings: Hyperparameters

    @property
    def genes(self) -> Genes:
        """All genes of the store."""
        return self.data.genes

    @property
    def window(self) -> Window:
        """How the store's windows are cut, which is the run's way."""
        return self.store.window

    @cached_property
    def windows(self) -> Windows:
        """Where the genes' bins lie."""
        return Windows.around(self.genes, self.window)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @cached_property
    def blocks(self) -> dict[str, tuple[Sequence, ...]]:
        """Sequences of each Level I block, in the model's order."""
        return level1_sequences(self.model, self.marks)

    @cached_property
    def sequences(self) -> tuple[Sequence, ...]:
        """All Level I sequences, in the order of `AttentionBatch.alpha`."""
        return tuple(sequence for block in self.blocks.values() for sequence in block)

    @cached_property
    def tasks(self) -> dict[str, tuple[Sequence, ...]]:
        """Sequences that each task's Level II attends to, in the order of `AttentionBatch.beta`."""
        return level2_sequences(self.model, self.marks)

    def signal(self, rows: Rows) -> tuple[Signal, Signal]:
        """Raw signal of A and of B, each float32 [len(rows), n_marks, n_bins]."""
        a, b = (signal_of_rows(self.store, cell, self.marks, rows) for cell in self.data.pair)
        return a, b

    def signal_batches(
        self, rows: Rows, batch_size: int = ATTENTION_BATCH
    ) -> Iterator[tuple[Rows, Signal, Signal]]:
        """Yield the genes `rows` in their order, a batch at a time, with their raw signal of A and B."""
        small = 8 * len(rows) * len(self.marks) * self.window.n_bins <= SIGNAL_BUDGET
        kept = self.signal(rows) if small else None
        for first in range(0, len(rows), batch_size):
            batch = rows[first : first + batch_size]
            if kept is not None:
                yield batch, kept[0][first : first + batch_size], kept[1][first : first + batch_size]
            else:
                yield batch, *self.signal(batch)

    @cached_property
    def average_signal(self) -> Signal:
        """Raw signal of the average training gene, over both cells; float32 [n_marks, n_bins].

        Of the average gene of the store where none of its genes were trained on.
        """
        rows = np.flatnonzero(self.data.split == SPLIT_PARTS["train"])
        rows = rows if len(rows) else np.arange(len(self.genes))
        total = np.zeros((len(self.marks), self.window.n_bins))
        for _, a, b in self.signal_batches(rows):
            total += a.sum(axis=0, dtype=np.float64) + b.sum(axis=0, dtype=np.float64)
        return np.asarray(total / (2 * len(rows)), dtype=np.float32)

    def inputs(self, a: Signal, b: Signal) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn raw signal of A and of B into the model's inputs."""
        x, y = (torch.from_numpy(self.transform.apply(signal)).to(self.device) for signal in (a, b))
        return x, y

    def attend(self, rows: Rows, a: Signal, b: Signal) -> AttentionBatch:
        """Compute the attention of genes whose raw signal is `a` and `b`."""
        return attention_of(self.model, rows, *self.inputs(a, b))

    def batches(self, rows: Rows, reporter: Reporter = SILENT) -> Iterator[AttentionBatch]:
        """Yield the attention of the genes `rows`, in that order, never holding more than a batch."""
        with reporter.task("attention", len(rows)) as task:
            for batch, a, b in self.signal_batches(rows):
                yield self.attend(batch, a, b)
                task.advance(len(batch))


def attention_of(model: DeepDiff, rows: Rows, a: torch.Tensor, b: torch.Tensor) -> AttentionBatch:
    """Attention of a model on its inputs `a` and `b`, each [n, n_marks, n_bins]."""
    with torch.inference_mode():
        output = model(a, b)
    return AttentionBatch(
        rows=rows,
        alpha=np.concatenate(
            [output.alpha[block].float().cpu().numpy() for block in model.sequences()], axis=1
        ),
        beta={task: output.beta[task].float().cpu().numpy() for task in model.sequences()},
        log2fc_pred=output.log2fc.float().cpu().numpy(),
    )


def open_attention(
    run: Run, store: Store, *, pair: str | None = None, device: str = "auto"
) -> AttentionSource:
    """Open a run on a store, for its own pair unless another is named.

    Raises
    ------
    RunError, StoreError
        The run is a baseline, its windows are not the store's, or the store lacks a cell or mark.
    """
    data = load_run_data(run, store, pair, signal=False)
    model = load_model(run, resolve_device(device), data.pair)
    transform = Transform.from_dict(dict(run.config.transform))
    settings = Hyperparameters(**run.config.hyperparameters)
    return AttentionSource(model, data.marks, transform, data, store, settings)


def signal_of_rows(store: Store, cell: str, marks: tuple[str, ...], rows: Rows) -> Signal:
    """Signal [len(rows), n_marks, n_bins] of any rows of a store, reading neighbouring rows together."""
    values = np.empty((len(rows), len(marks), store.window.n_bins), dtype=np.float32)
    order = np.argsort(rows, kind="stable")
    gaps = np.flatnonzero(np.diff(rows[order]) > CHUNK_GENES) + 1
    for places in np.split(order, gaps):
        if len(places):
            first, last = int(rows[places[0]]), int(rows[places[-1]])
            values[places] = store.signal(cell, marks, slice(first, last + 1))[rows[places] - first]
    return values

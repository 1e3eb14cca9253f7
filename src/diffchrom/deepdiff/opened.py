"""A trained run opened on a pair of cells: the model, what it reads and what it says of each gene.

Every sequence of Level I is named by block and mark. The blocks are ``main:A``, ``main:B`` and ``main:A-B``
(the main task's encoder reading A, B and A - B) and ``aux:A`` and ``aux:B`` (the auxiliary encoders; one and
the same in siamese variants, still reading A and B). Level II has one attention a task: ``main``, and ``A``
and ``B`` for the auxiliary tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.building import INFERENCE_BATCH, untrained_like
from diffchrom.deepdiff.cuda import computing, resolve_device
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.inference import Predictions, predict_tensors
from diffchrom.deepdiff.loading import calibration_of, load_model, order_of, transform_of
from diffchrom.deepdiff.model import MAIN, PairModel
from diffchrom.deepdiff.uncertainty import COLUMNS as UNCERTAINTY_COLUMNS
from diffchrom.deepdiff.uncertainty import Calibration, calibration_for
from diffchrom.genome.genes import Genes, Rows, Signal, Window
from diffchrom.genome.layout import GeneWindows
from diffchrom.pairs.choices import SPLIT_PARTS
from diffchrom.pairs.coverage import larger_expression
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.transform import Transform
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import UNSEEN, Run
from diffchrom.runs.opening import pair_of_run
from diffchrom.runs.tables import prediction_columns
from diffchrom.store.store import Store

#: Genes whose attention is computed together; bounds memory, with the number of sequences and windows.
ATTENTION_BATCH = 64
#: Genes whose signal is read together for predictions, a whole number of batches.
READ_BATCH = 16 * INFERENCE_BATCH


@dataclass(frozen=True)
class LevelOneSequence:
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


@dataclass(frozen=True)
class AttentionBatch:
    """Attention of some genes.

    Attributes
    ----------
    rows : intp [n]
        The genes, as rows of the store.
    alpha : float32 [n, n_sequences, n_windows]
        Attention to windows, sequences in the order of `OpenedModel.sequences`; every row sums to 1.
    beta : dict of task (main, A, B) to float32 [n, J]
        Mark attention, sequences in the order of `OpenedModel.tasks`; every row sums to 1.
    log2fc_pred : float32 [n]
    contribution : float32 [n, n_marks, n_windows] that add up to log2fc_pred less the shift, or None
    """

    rows: Rows
    alpha: npt.NDArray[np.float32]
    beta: dict[str, npt.NDArray[np.float32]]
    log2fc_pred: npt.NDArray[np.float32]
    contribution: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class GenePredictions:
    """What a model says of some genes of a pair.

    Attributes
    ----------
    pair, rows : the genes, as rows of the pair's store.
    log2fc, expression, spread : as of `Predictions`.
    low, high : float64 [n]
        Ends of the prediction intervals; NaN where there is no calibration.
    """

    pair: Pair
    rows: Rows
    log2fc: npt.NDArray[np.float32]
    expression: dict[str, npt.NDArray[np.float32]]
    spread: npt.NDArray[np.float32]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, pair: Pair, rows: Rows, predicted: Predictions, calibration: Calibration | None
    ) -> GenePredictions:
        """Give predictions their intervals."""
        unknown = np.full(len(rows), np.nan)
        low, high = unknown, unknown
        if calibration:
            larger = larger_expression(predicted.expression)
            low, high = calibration.interval(predicted.log2fc, larger, predicted.spread)
        return cls(pair, rows, **vars(predicted), low=low, high=high)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of a predictions table, with the spread of the members and the interval at the end."""
        columns = prediction_columns(
            self.pair.genes.take(self.rows),
            self.pair.parts[self.rows],
            self.log2fc,
            self.pair.labels.log2fc[self.rows],
            self.expression,
        )
        return columns | dict(zip(UNCERTAINTY_COLUMNS, (self.spread, self.low, self.high), strict=True))


@dataclass(frozen=True)
class OpenedModel:
    """A model and the pair of cells that it reads, a batch of genes at a time.

    Attributes
    ----------
    model : in evaluation mode.
    pair : the genes and their labels; its signal is read as it is needed.
    transform : from the store's signal to the model's input.
    settings : hyper-parameters of the run.
    calibration : of its intervals; None where there is none.
    has_expression : whether the auxiliary heads have learnt anything.
    shifted : whether it learnt the shift of a pair, which a model of several pairs has none of.
    """

    model: PairModel
    pair: Pair
    transform: Transform
    settings: Hyperparameters
    calibration: Calibration | None = None
    has_expression: bool = True
    shifted: bool = True

    @property
    def marks(self) -> tuple[str, ...]:
        """In the model's order."""
        return self.pair.marks

    @property
    def genes(self) -> Genes:
        """All genes of the store."""
        return self.pair.genes

    @property
    def window(self) -> Window:
        """How the store's windows are cut, which is the run's way."""
        return self.pair.window

    @cached_property
    def windows(self) -> GeneWindows:
        """Where the genes' windows lie, in all regions that are read."""
        return self.pair.layout.windows(self.genes)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def without_shift(self) -> str:
        """Say that the shift of the run's own pair is left out, where it is; else empty."""
        if not (self.shifted and self.model.variant.antisymmetric) or self.model.order:
            return ""
        return (
            f"{','.join(self.pair.cells)} of {self.pair.store.path} is not what the run was trained on: "
            "predicted without the shift of its own pair (docs/methods.md)"
        )

    @cached_property
    def blocks(self) -> dict[str, tuple[LevelOneSequence, ...]]:
        """Sequences of each Level I block (main, A, B), in the order of the model's alpha."""
        return {
            block: tuple(
                LevelOneSequence(f"{MAIN}:{source}" if block == MAIN else f"aux:{source}", mark)
                for source in sources
                for mark in self.marks
            )
            for block, sources in self.model.sequences().items()
        }

    @cached_property
    def sequences(self) -> tuple[LevelOneSequence, ...]:
        """All Level I sequences, in the order of `AttentionBatch.alpha`."""
        return tuple(sequence for block in self.blocks.values() for sequence in block)

    @cached_property
    def tasks(self) -> dict[str, tuple[LevelOneSequence, ...]]:
        """Sequences that each task's Level II (main, A, B) attends to, in the order of `AttentionBatch.beta`.

        The main task's Level II reads its own block and, where there are any, the auxiliary blocks after it.
        """
        return {
            task: self.sequences if task == MAIN else sequences for task, sequences in self.blocks.items()
        }

    @cached_property
    def average_signal(self) -> Signal:
        """Raw signal of the average training gene, over both cells; float32 [n_marks, n_windows].

        Of the average gene of the store where none of its genes were trained on.
        """
        rows = np.flatnonzero(self.pair.parts == SPLIT_PARTS["train"])
        rows = rows if len(rows) else np.arange(len(self.genes))
        total = np.zeros((len(self.marks), self.pair.n_windows))
        for _, a, b in self.pair.signal_batches(rows, ATTENTION_BATCH):
            total += a.sum(axis=0, dtype=np.float64) + b.sum(axis=0, dtype=np.float64)
        return np.asarray(total / (2 * len(rows)), dtype=np.float32)

    def calibrated(self, run: Run) -> tuple[OpenedModel, str]:
        """The same with intervals that hold for its cells, and what is to be said of them.

        Those of cells that `run` was not trained on are calibrated on their own validation genes, or missing.
        """
        own_cells = set(self.pair.cells) in map(set, run.config.learnt)
        own_split = self.pair.split == run.config.split  # else validation genes may have been trained on
        rows = self.pair.rows("valid") if own_split and not own_cells else np.empty(0, dtype=np.intp)
        predicted = replace(self, calibration=None).predict(rows) if len(rows) else None
        none = np.empty(0)
        calibration, note = calibration_for(
            self.calibration,
            own_cells,
            self.pair.labels.log2fc[rows],
            none if predicted is None else predicted.log2fc,
            larger_expression(predicted.expression) if predicted else None,
        )
        if calibration is None and (unseen := calibration_of(run, UNSEEN)):
            calibration = unseen
            note = (
                f"{unseen.level:.0%} intervals are calibrated on {unseen.n} validation genes of pairs with "
                "cells that were left out in turn"
            )
        return replace(self, calibration=calibration), note

    def untrained(self, seed: int) -> OpenedModel:
        """The same with random weights instead of the trained ones; see `building.untrained_like`."""
        names = self.pair.covariate_names
        model = untrained_like(self.model, self.settings, self.pair.layout, names, seed)
        return replace(self, model=model.to(self.device).eval())

    def inputs(self, rows: Rows, a: Signal, b: Signal) -> tuple[torch.Tensor, ...]:
        """Turn raw signal of A and of B of the genes `rows` into the model's inputs."""
        arrays = [self.transform.apply(signal) for signal in (a, b)]
        if self.pair.covariate_names:
            arrays.append(self.pair.covariates[rows])
        return tuple(torch.from_numpy(values).to(self.device) for values in arrays)

    def predict_signal(self, rows: Rows, a: Signal, b: Signal) -> Predictions:
        """Predict the genes `rows` from raw signal of A and of B, each [n, n_marks, n_windows]."""
        predicted = predict_tensors(self.model, *self.inputs(rows, a, b))
        return predicted if self.has_expression else replace(predicted, expression={})

    def predict_members(
        self, rows: Rows, a: Signal, b: Signal
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Predict log2fc [n] of `rows` from raw signal, and that of every member [n_members, n]."""
        inputs = self.inputs(rows, a, b)
        members = self.model.members if isinstance(self.model, Ensemble) else [self.model]
        log2fc = np.stack([predict_tensors(member, *inputs).log2fc for member in members])  # type: ignore[arg-type]
        return np.asarray(torch.from_numpy(log2fc).mean(dim=0).numpy()), log2fc

    def predict_batches(self, rows: Rows, reporter: Reporter = SILENT) -> Iterator[GenePredictions]:
        """Yield predictions of the genes `rows`, in that order, never holding more than some thousands."""
        with reporter.task("predicting", len(rows)) as task:
            for batch, a, b in self.pair.signal_batches(rows, READ_BATCH):
                yield GenePredictions.of(self.pair, batch, self.predict_signal(batch, a, b), self.calibration)
                task.advance(len(batch))

    def predict(self, rows: Rows, reporter: Reporter = SILENT) -> GenePredictions:
        """Predict the genes `rows` of the store."""
        pieces = [
            Predictions(piece.log2fc, piece.expression, piece.spread)
            for piece in self.predict_batches(rows, reporter)
        ]
        return GenePredictions.of(self.pair, rows, Predictions.concatenate(pieces), self.calibration)

    def attend_signal(self, rows: Rows, a: Signal, b: Signal) -> AttentionBatch:
        """Compute the attention of genes whose raw signal is `a` and `b`."""
        with torch.inference_mode(), computing(self.device):
            output = self.model(*self.inputs(rows, a, b))
        blocks = self.model.sequences()
        return AttentionBatch(
            rows=rows,
            alpha=np.concatenate([output.alpha[block].float().cpu().numpy() for block in blocks], axis=1),
            beta={task: output.beta[task].float().cpu().numpy() for task in blocks},
            log2fc_pred=output.log2fc.float().cpu().numpy(),
            contribution=None if output.contribution is None else output.contribution.float().cpu().numpy(),
        )

    def attend_batches(self, rows: Rows, reporter: Reporter = SILENT) -> Iterator[AttentionBatch]:
        """Yield the attention of the genes `rows`, in that order, never holding more than a batch."""
        with reporter.task("attention", len(rows)) as task:
            for batch, a, b in self.pair.signal_batches(rows, ATTENTION_BATCH):
                yield self.attend_signal(batch, a, b)
                task.advance(len(batch))

    def attention_of(self, rows: Rows, reporter: Reporter = SILENT) -> AttentionBatch:
        """Attention of the genes `rows` of the store."""
        batches = list(self.attend_batches(rows, reporter))
        parts = [batch.contribution for batch in batches if batch.contribution is not None]
        return AttentionBatch(
            rows,
            np.concatenate([batch.alpha for batch in batches]),
            {task: np.concatenate([batch.beta[task] for batch in batches]) for task in self.tasks},
            np.concatenate([batch.log2fc_pred for batch in batches]),
            np.concatenate(parts) if parts else None,
        )


def open_model(
    run: Run,
    store: Store,
    cells: Sequence[str] | None = None,
    *,
    module: nn.Module | None = None,
    device: str = "auto",
) -> OpenedModel:
    """Open a run on a store, for its own pair of cells unless others are named.

    A run of somebody's own module needs that `module`, whose weights are overwritten with the trained ones.

    Raises
    ------
    RunError, StoreError
        The run is a baseline or a cross-validation, its windows are not the store's, its model is damaged, or
        the store lacks a cell or mark.
    """
    pair = pair_of_run(run, store, cells)
    model = load_model(run, resolve_device(device), order_of(run, pair), module, pair.layout)
    return OpenedModel(
        model,
        pair,
        transform_of(run),
        Hyperparameters(**run.config.hyperparameters),
        calibration_of(run),
        has_expression=bool(run.config.unit),
        shifted=not run.config.pairs,
    )

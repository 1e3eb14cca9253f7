"""The training loop of one model, to its best validation epoch."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.building import INFERENCE_BATCH, build_model, seeded
from diffchrom.deepdiff.checkpoint import TrainingState, load_training, resume_path, save_training
from diffchrom.deepdiff.custom import Custom
from diffchrom.deepdiff.examples import GeneTensors
from diffchrom.deepdiff.fused_step import fused_step
from diffchrom.deepdiff.inference import predict_tensors
from diffchrom.deepdiff.loss import total_loss
from diffchrom.deepdiff.model import CELL_A, CELL_B, PairModel, initialise
from diffchrom.deepdiff.optimiser import Adam
from diffchrom.errors import RunError
from diffchrom.genome.layout import Layout
from diffchrom.metrics import mse, pearson
from diffchrom.progress import Task
from diffchrom.runs.tables import HISTORY_COLUMNS
from diffchrom.variants import Variant

#: A checkpoint is written when at least this many times its own cost has passed since the last one.
CHECKPOINT_EVERY = 60
#: What products of matrices are computed in, where not in float32.
MIXED = {"bfloat16": torch.bfloat16, "float16": torch.float16}
#: Share of the steps over which the one-cycle schedule warms up.
WARM_UP = 0.1
#: Seeds of members and epochs lie so far apart, so that no two of a run are the same.
_MEMBER_SEED, _EPOCH_SEED = 104_729, 7919


@dataclass(frozen=True)
class Member:
    """One model of a run, to be trained on its own: a run has one, or as many as its ensemble is to have.

    Attributes
    ----------
    folder : of the run; the checkpoint goes there.
    variant, settings : what is trained, and how.
    seed : of the run.
    layout : of the signal's last axis.
    number : of the model, from 0.
    module : somebody's own, with the weights to begin with; None is the variant's model.
    order : `PairModel.order` while it trains: 0 where there is no one pair whose shift it could learn.
    n_cells : whose codes are among the covariates, in a model of several pairs.
    """

    folder: Path
    variant: Variant
    settings: Hyperparameters
    seed: int
    layout: Layout
    number: int = 0
    module: nn.Module | None = None
    order: float = 1.0
    n_cells: int = 0

    @property
    def checkpoint(self) -> Path:
        """Where its checkpoint lies."""
        return resume_path(self.folder, self.number)

    @property
    def first_seed(self) -> int:
        """Of the initial weights; those of the epochs follow from it."""
        return self.seed + _MEMBER_SEED * self.number

    def build(self, examples: GeneTensors) -> PairModel:
        """The model of such genes before its training; weights of a variant are drawn at random."""
        n_marks = examples.a.shape[1]
        n_covariates = 0 if examples.covariates is None else examples.covariates.shape[1]
        model: PairModel = (
            build_model(
                self.variant, n_marks, self.settings, self.layout, n_covariates - self.n_cells, self.n_cells
            )
            if self.module is None
            else Custom(copy.deepcopy(self.module), n_marks)
        )
        model.set_order(self.order)
        return model

    def is_done(self, state: TrainingState, n_genes: int) -> bool:
        """Whether patience or epochs, with so many training genes, have run out."""
        waited = state.epoch - state.best_epoch
        return state.epoch >= self.settings.epochs_of(n_genes) or waited >= self.settings.patience


def batches_per_epoch(settings: Hyperparameters, n_genes: int) -> int:
    """Batches of an epoch over so many training genes."""
    return math.ceil(n_genes / settings.batch_of(n_genes))


def fit_member(member: Member, train_set: GeneTensors, valid_set: GeneTensors, task: Task) -> TrainingState:
    """Train one model until patience or epochs run out, from its checkpoint where it has one.

    Parameters
    ----------
    member : what to train.
    train_set, valid_set : genes to learn from, and to choose the epoch by.
    task : where its batches are counted, from now on.

    Returns
    -------
    TrainingState
        With the best epoch's weights; the checkpoint, too, is of the end.
    """
    saved = load_training(member.checkpoint, train_set.device)
    state = saved.state if saved else TrainingState()
    if member.is_done(state, len(train_set)):
        return state
    model = _new_model(member, train_set)
    optimiser = Adam(model.parameters(), member.settings.lr, scaled=member.settings.precision == "float16")
    if saved:
        saved.restore(model, optimiser)
    step = stepper(model, optimiser, member.settings)
    saved_at, cost = time.monotonic(), 0.0
    while not member.is_done(state, len(train_set)):
        # An epoch's random numbers depend on seed and epoch alone: going on needs no generator's state.
        with seeded(member.first_seed + _EPOCH_SEED * state.epoch, train_set.device):
            loss = _epoch(member.settings, model, optimiser, step, train_set, state.epoch, task)
        predicted = predict_tensors(model, *valid_set.inputs).log2fc
        _record(member, state, model, loss, predicted, valid_set)
        score = state.history["valid_pearson"][-1]
        status = f"model {member.number + 1}, epoch {state.epoch}, loss {loss:.3f}, valid r {score:.3f}"
        task.advance(0, status)
        due = time.monotonic() - saved_at >= CHECKPOINT_EVERY * cost
        if due or member.is_done(state, len(train_set)):
            started = time.monotonic()
            save_training(member.checkpoint, state, model, optimiser)
            saved_at = time.monotonic()
            cost = saved_at - started
    return state


def _new_model(member: Member, examples: GeneTensors) -> PairModel:
    """A model with random weights, its scaling and the level of expression fitted on the training genes."""
    settings = member.settings
    with seeded(member.first_seed):
        model = member.build(examples)
        if settings.init_range is not None and member.module is None:
            initialise(model, settings.init_range)

    def batches() -> Iterator[tuple[Tensor, ...]]:
        for batch in examples.batches(torch.arange(len(examples)), INFERENCE_BATCH):
            yield tuple(values.cpu() for values in batch.inputs)

    def cells() -> Iterator[tuple[Tensor, ...]]:
        for where, block in examples.pairs:
            if block.first_a or block.first_b:
                for batch in examples.batches(torch.arange(where.start, where.stop), INFERENCE_BATCH):
                    signals = (batch.a, block.first_a), (batch.b, block.first_b)
                    yield tuple(signal.cpu() for signal, counts in signals if counts)

    log2fc = examples.targets.log2fc.cpu()
    model.fit_scaling(cells)
    if examples.covariates is not None:
        model.fit_covariates(examples.covariates.cpu())
    with seeded(member.first_seed):
        model.fit_start(batches, log2fc)
    model.fit_labels(log2fc, _level(examples, settings))
    return model.to(examples.device)


def _level(examples: GeneTensors, settings: Hyperparameters) -> float | None:
    """Mean log2(expression + 1) of both cells; None where it is not to be predicted, or not known."""
    if settings.aux_task != "regression" or not examples.targets.expression:
        return None
    levels = [examples.targets.expression[cell].nanmean().cpu() for cell in (CELL_A, CELL_B)]
    level = float(torch.stack(levels).nanmean())
    return level if math.isfinite(level) else None  # of genes labelled by a table, none may be known


def learning_rate(settings: Hyperparameters, done: float) -> float:
    """Learning rate when the share `done` of all steps has been taken."""
    if settings.schedule == "constant":
        return settings.lr
    if done < WARM_UP:
        return settings.lr * max(done / WARM_UP, 0.01)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def training_step(model: PairModel, optimiser: Adam, batch: GeneTensors, settings: Hyperparameters) -> Tensor:
    """Take one step of the optimiser on the genes of `batch`; returns their loss."""
    optimiser.zero_grad()
    mixed = settings.precision in MIXED
    with torch.autocast(batch.device.type, MIXED[settings.precision]) if mixed else nullcontext():
        loss = total_loss(model(*batch.inputs), batch.targets, settings)
    optimiser.scale(loss).backward()  # type: ignore[no-untyped-call]
    optimiser.step(settings.clip_norm)
    return loss.detach()


def stepper(model: PairModel, optimiser: Adam, settings: Hyperparameters) -> Callable[[GeneTensors], Tensor]:
    """What takes the steps of a training on batches: `training_step`, or the kernel in its place."""
    fused = fused_step(model, optimiser, settings)
    return fused or (lambda batch: training_step(model, optimiser, batch, settings))


def _epoch(
    settings: Hyperparameters,
    model: PairModel,
    optimiser: Adam,
    step: Callable[[GeneTensors], Tensor],
    examples: GeneTensors,
    epoch: int,
    task: Task,
) -> float:
    """One pass over the training genes; returns the mean loss."""
    model.train()
    order = torch.randperm(len(examples))
    losses = []
    n_batches, n_epochs = batches_per_epoch(settings, len(examples)), settings.epochs_of(len(examples))
    shown = max(1, n_batches // 20)
    for number, batch in enumerate(examples.batches(order, settings.batch_of(len(examples))), 1):
        optimiser.lr = learning_rate(settings, epoch / n_epochs + (number - 1) / n_batches / n_epochs)
        losses.append(step(batch))
        if number % shown == 0:
            task.advance(shown)
    task.advance(n_batches % shown)
    return float(torch.stack(losses).mean())


def _record(
    member: Member,
    state: TrainingState,
    model: PairModel,
    loss: float,
    predicted: np.ndarray[Any, Any],
    valid_set: GeneTensors,
) -> None:
    """Note an epoch's figures and keep its weights when its validation r, a mean over pairs, is the best."""
    state.epoch += 1
    if not math.isfinite(loss):
        raise RunError(f"{member.folder}: training diverged in epoch {state.epoch} (loss {loss}); lower `lr`")
    truth = valid_set.targets.log2fc.cpu().numpy()
    score = float(np.mean([pearson(truth[pair], predicted[pair]) for pair, _ in valid_set.pairs]))
    row = (state.epoch, loss, score, mse(truth, predicted), member.number + 1)
    for name, value in zip(HISTORY_COLUMNS, row, strict=True):
        state.history.setdefault(name, []).append(value)
    # A constant prediction has no r; it is kept only until there is anything better.
    score = score if math.isfinite(score) else -math.inf
    if score >= state.best_score or not state.best:
        improved = score > state.best_score or not state.best
        state.best_score = score
        state.best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        state.best_epoch = state.epoch if improved else state.best_epoch

"""The training loop: members of an ensemble one after the other, each to its best validation epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.antisymmetric import Antisymmetric
from diffchrom.deepdiff.checkpoint import RESUME, TrainingState, load_training, save_training
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.examples import Examples
from diffchrom.deepdiff.inference import INFERENCE_BATCH, build_model, ensemble_size, predict_tensors
from diffchrom.deepdiff.loss import total_loss
from diffchrom.deepdiff.lstm import threads_for_lstm
from diffchrom.deepdiff.model import CELL_A, CELL_B, DeepDiff, initialise
from diffchrom.deepdiff.optimiser import Adam
from diffchrom.errors import RunError
from diffchrom.metrics import mse, pearson
from diffchrom.reporting import Reporter, Task
from diffchrom.runs import Run

#: A checkpoint is written when at least this many times its own cost has passed since the last one.
CHECKPOINT_EVERY = 60
#: Share of the steps over which the one-cycle schedule warms up.
WARM_UP = 0.1
#: Seeds of members and epochs lie so far apart, so that no two of a run are the same.
_MEMBER_SEED, _EPOCH_SEED = 104_729, 7919


def fit(
    run: Run,
    train_set: Examples,
    valid_set: Examples,
    variant: str,
    settings: Hyperparameters,
    seed: int,
    reporter: Reporter,
) -> tuple[DeepDiff, TrainingState]:
    """Train every member until patience or epochs run out, from the run's checkpoint where it has one.

    Returns
    -------
    model : with the best epoch's weights; an `Ensemble` where there is more than one member.
    state : of the last member, with the history of all.
    """
    size = ensemble_size(variant, settings)
    checkpoint = run.path / RESUME
    state = TrainingState()
    n_epochs = settings.epochs_of(len(train_set))
    n_batches = math.ceil(len(train_set) / settings.batch_of(len(train_set)))
    models: list[DeepDiff] = []
    with reporter.task("training", size * n_epochs * n_batches) as task:
        while len(models) < size:
            member = len(models)
            model = _new_model(variant, train_set, settings, seed + _MEMBER_SEED * member)
            optimiser = Adam(model.parameters(), settings.lr)
            if member == 0 and checkpoint.exists():
                state = load_training(checkpoint, model, optimiser, train_set.device)
                for weights in state.members:
                    models.append(_new_model(variant, train_set, settings, seed))
                    models[-1].load_state_dict(weights)
                done = len(models)
                task.advance((done * n_epochs + state.epoch) * n_batches)
                reporter.note(f"{run.path}: going on after epoch {state.epoch} of model {done + 1} of {size}")
                member = done
            with threads_for_lstm(train_set.device):
                _fit_member(
                    run, state, model, optimiser, train_set, valid_set, settings, seed, member, task, reporter
                )
            model.load_state_dict(state.best)
            models.append(model)
            if len(models) < size:
                state = state.next_member(state.best)
    return (models[0] if size == 1 else Ensemble(models)), state


def _new_model(variant: str, examples: Examples, settings: Hyperparameters, seed: int) -> DeepDiff:
    """A model with random weights, its scaling and the level of expression fitted on the training genes."""
    torch.manual_seed(seed)
    model = build_model(variant, examples.a.shape[1], settings)
    if settings.init_range is not None:
        initialise(model, settings.init_range)
    if isinstance(model, Antisymmetric):

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            for batch in examples.batches(torch.arange(len(examples)), INFERENCE_BATCH):
                yield batch.a.cpu(), batch.b.cpu()

        model.fit_scaling(batches)
        if settings.aux_task == "regression" and examples.targets.expression:
            levels = [examples.targets.expression[cell].nanmean().cpu() for cell in (CELL_A, CELL_B)]
            level = float(torch.stack(levels).nanmean())
            if math.isfinite(level):  # of genes that are labelled by a table, none may be known
                model.set_expression_level(level)
    return model.to(examples.device)


def _fit_member(
    run: Run,
    state: TrainingState,
    model: DeepDiff,
    optimiser: Adam,
    train_set: Examples,
    valid_set: Examples,
    settings: Hyperparameters,
    seed: int,
    member: int,
    task: Task,
    reporter: Reporter,
) -> None:
    """Train one member on from `state`, which holds its best weights in the end."""
    n_epochs = settings.epochs_of(len(train_set))
    truth = valid_set.targets.log2fc.cpu().numpy()
    saved_at, cost = time.monotonic(), 0.0
    while state.epoch < n_epochs and state.epoch - state.best_epoch < settings.patience:
        epoch_seed = seed + _MEMBER_SEED * member + _EPOCH_SEED * state.epoch
        loss = _epoch(model, optimiser, train_set, settings, epoch_seed, state.epoch / n_epochs, task)
        predicted = predict_tensors(model, valid_set.a, valid_set.b).log2fc
        _record(run, state, model, loss, predicted, truth, member)
        score = state.history["valid_pearson"][-1]
        task.advance(0, f"model {member + 1}, epoch {state.epoch}, loss {loss:.3f}, valid r {score:.3f}")
        if time.monotonic() - saved_at >= CHECKPOINT_EVERY * cost:
            started = time.monotonic()
            save_training(run.path / RESUME, state, model, optimiser)
            saved_at = time.monotonic()
            cost = saved_at - started


def learning_rate(settings: Hyperparameters, done: float) -> float:
    """Learning rate when the share `done` of all steps has been taken."""
    if settings.schedule == "constant":
        return settings.lr
    if done < WARM_UP:
        return settings.lr * max(done / WARM_UP, 0.01)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def training_step(model: DeepDiff, optimiser: Adam, batch: Examples, settings: Hyperparameters) -> Tensor:
    """Take one step of the optimiser on the genes of `batch`; returns their loss."""
    optimiser.zero_grad()
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        loss = total_loss(model(batch.a, batch.b), batch.targets, settings)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step(settings.clip_norm)
    return loss.detach()


def _epoch(
    model: DeepDiff,
    optimiser: Adam,
    examples: Examples,
    settings: Hyperparameters,
    seed: int,
    done: float,
    task: Task,
) -> float:
    """One pass over the training genes; returns the mean loss.

    The random numbers of an epoch depend on the seed and the epoch alone, so that going on after a
    checkpoint needs no generator's state.
    """
    model.train()
    torch.manual_seed(seed)
    order = torch.randperm(len(examples))
    losses = []
    batch_size = settings.batch_of(len(examples))
    n_batches = math.ceil(len(examples) / batch_size)
    n_epochs = settings.epochs_of(len(examples))
    shown = max(1, n_batches // 20)
    for number, batch in enumerate(examples.batches(order, batch_size), 1):
        optimiser.lr = learning_rate(settings, done + (number - 1) / n_batches / n_epochs)
        losses.append(training_step(model, optimiser, batch, settings))
        if number % shown == 0:
            task.advance(shown)
    task.advance(n_batches % shown)
    return float(torch.stack(losses).mean())


def _record(
    run: Run,
    state: TrainingState,
    model: DeepDiff,
    loss: float,
    predicted: np.ndarray[Any, Any],
    truth: np.ndarray[Any, Any],
    member: int,
) -> None:
    """Note an epoch's figures and keep its weights when its validation r is the best so far."""
    state.epoch += 1
    if not math.isfinite(loss):
        raise RunError(f"{run.path}: training diverged in epoch {state.epoch} (loss {loss}); lower --lr")
    score = pearson(truth, predicted)
    row = {
        "epoch": state.epoch,
        "train_loss": loss,
        "valid_pearson": score,
        "valid_mse": mse(truth, predicted),
        "member": member + 1,
    }
    for name, value in row.items():
        state.history.setdefault(name, []).append(value)
    # A constant prediction has no r; it is kept only until there is anything better.
    score = score if math.isfinite(score) else -math.inf
    if score >= state.best_score or not state.best:
        improved = score > state.best_score or not state.best
        state.best_score = score
        state.best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        state.best_epoch = state.epoch if improved else state.best_epoch

"""Training one run: from a store and a job description to a run folder."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffchrom.checkpoint import RESUME, TrainingState, load_training, save_training, save_weights
from diffchrom.config import DEFAULT_VARIANT, PRESETS, Hyperparameters, available_memory
from diffchrom.dataset import (
    PairData,
    load_pair,
    resolve_marks,
    resolve_pair,
    resolve_split,
    signal_bytes,
)
from diffchrom.errors import RunError, StoreError
from diffchrom.examples import Examples, examples_of
from diffchrom.files import output_text, remove_folder
from diffchrom.inference import INFERENCE_BATCH, build_model, predict_pair, predict_tensors, resolve_device
from diffchrom.loss import total_loss
from diffchrom.metrics import mse, pearson
from diffchrom.model import CELL_A, CELL_B, DeepDiff, initialise
from diffchrom.reporting import SILENT, Reporter, Task
from diffchrom.runs import (
    FINISHED,
    HISTORY,
    MODEL,
    Run,
    RunConfig,
    describe_store,
    library_versions,
    open_run_folder,
    part_metrics,
    prediction_columns,
)
from diffchrom.store import Store
from diffchrom.tables import write_table
from diffchrom.transform import Transform
from diffchrom.variants import get_variant

#: A checkpoint is written when at least this many times its own cost has passed since the last one.
CHECKPOINT_EVERY = 60
#: Fewest genes with labels that make a training or validation set.
MIN_GENES = 2


@dataclass(frozen=True)
class TrainingJob:
    """What to train on what; together with the store's content it decides the result.

    Attributes
    ----------
    store : path of the store.
    variant, preset : names in `variants.VARIANTS` and `config.PRESETS`.
    settings : hyper-parameters (the preset's, with the user's changes).
    pair : ``A,B``; None where the store has just two cells.
    marks : in the model's order; None is all marks of the pair.
    split, unit : names in the store; None is the default one.
    seed : of initial weights, shuffling and dropout.
    device : ``auto``, ``cpu`` or ``cuda``.
    """

    store: Path
    variant: str = DEFAULT_VARIANT
    preset: str = "default"
    settings: Hyperparameters = PRESETS["default"]
    pair: str | None = None
    marks: tuple[str, ...] | None = None
    split: str | None = None
    unit: str | None = None
    seed: int = 0
    device: str = "auto"


def train(
    job: TrainingJob,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    memory: int | None = None,
    reporter: Reporter = SILENT,
) -> Run:
    """Train one model and write its run folder.

    Parameters
    ----------
    job : what to train.
    out : the run folder; None is ``runs/`` and a name made of the job.
    resume : go on from the last checkpoint in `out` (or start, where there is none); a finished run is
        returned as it is.
    force : replace a run that is already in `out`.
    memory : bytes that may be used; where the signal needs more, it is kept in the folder for temporary files
        and paged in, which changes no result. None is what is free.
    reporter : where progress goes.

    Returns
    -------
    Run
        With metrics of train, valid and test genes in its configuration.
    """
    variant = get_variant(job.variant)
    store = Store(job.store)
    pair = resolve_pair(store, job.pair)
    split = resolve_split(store, job.split)
    device = resolve_device(job.device)
    marks = resolve_marks(store, pair, job.marks)
    spill = _spill_folder(store, len(marks), job, memory, reporter)
    data = load_pair(store, pair, marks=marks, split=split, unit=job.unit, spill=spill)
    for part in ("train", "valid"):
        if len(data.rows(part)) < MIN_GENES:
            raise StoreError(
                f"{store.path}: split {split} has {len(data.rows(part))} {part} genes with known expression "
                f"in {pair[0]} and {pair[1]}; choose another split with --split"
            )
    rows = data.rows("train")
    transform = Transform.fit(
        job.settings.transform, job.settings.standardise, rows, data.signal_a, data.signal_b
    )
    medians = {CELL_A: float(np.median(data.expr_a[rows])), CELL_B: float(np.median(data.expr_b[rows]))}
    config = RunConfig(
        kind="deepdiff",
        variant=variant.name,
        preset=job.preset,
        pair=pair,
        marks=data.marks,
        window=store.window,
        split=split,
        unit=data.unit,
        seed=job.seed,
        hyperparameters=job.settings.to_dict(),
        store=describe_store(store, pair),
        transform=transform.to_dict(),
        details={"device": device.type, "class_medians": medians},
        versions=library_versions("torch", "safetensors"),
    )
    name = f"{pair[0]}-{pair[1]}.{variant.name}.{job.preset}.seed{job.seed}"
    run = open_run_folder(config, out, name, resume=resume, force=force)
    if run.config.status == FINISHED:
        return run
    train_set, valid_set = (
        examples_of(data, part, transform, job.settings, medians, device, spill)
        for part in ("train", "valid")
    )
    try:
        model, state = _fit(run, train_set, valid_set, job, device, reporter)
    except BaseException:
        if not (run.path / RESUME).exists():
            remove_folder(run.path)
        raise
    return _finish(run, model, state, data, transform, reporter)


def _spill_folder(
    store: Store, n_marks: int, job: TrainingJob, memory: int | None, reporter: Reporter
) -> Path | None:
    """Say how much memory the training takes, and where the signal goes if that is too much."""
    # The signal of the store's genes, and transformed that of training and validation genes.
    signal = 2 * signal_bytes(store, n_marks)
    variant = get_variant(job.variant)
    sequences = n_marks * (len(variant.main) + (2 if variant.auxiliary else 0))
    batch = max(job.settings.batch_size, INFERENCE_BATCH)
    # Each bin of each sequence and direction keeps about four gates, a cell and a hidden state.
    step = 4 * batch * sequences * store.window.n_bins * 2 * 6 * job.settings.hidden
    limit = available_memory() if memory is None else memory
    spill = Path(tempfile.gettempdir()) if signal + step > limit else None
    where = f"on disk in {spill}" if spill else "in memory"
    reporter.note(f"memory: about {step / 1e9:.2f} GB for a step, {signal / 1e9:.2f} GB of signal {where}")
    return spill


def _fit(
    run: Run,
    train_set: Examples,
    valid_set: Examples,
    job: TrainingJob,
    device: torch.device,
    reporter: Reporter,
) -> tuple[DeepDiff, TrainingState]:
    """Train until patience or epochs run out; returns the model with the best epoch's weights."""
    settings = job.settings
    torch.manual_seed(job.seed)
    model = build_model(job.variant, train_set.a.shape[1], settings)
    if settings.init_range is not None:
        initialise(model, settings.init_range)
    model.to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.lr, fused=True)
    checkpoint = run.path / RESUME
    state = TrainingState()
    if checkpoint.exists():
        state = load_training(checkpoint, model, optimiser, device)
        reporter.note(f"{run.path}: going on after epoch {state.epoch}")
    n_batches = math.ceil(len(train_set) / settings.batch_size)
    saved_at, cost = time.monotonic(), 0.0
    with reporter.task("training", settings.epochs * n_batches) as task:
        task.advance(state.epoch * n_batches)
        while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
            loss = _epoch(model, optimiser, train_set, settings, job.seed + 7919 * state.epoch, task)
            predicted = predict_tensors(model, valid_set.a, valid_set.b).log2fc
            _record(run, state, model, loss, predicted, valid_set.targets.log2fc.cpu().numpy())
            task.advance(
                0, f"epoch {state.epoch}, loss {loss:.3f}, valid r {state.history['valid_pearson'][-1]:.3f}"
            )
            if time.monotonic() - saved_at >= CHECKPOINT_EVERY * cost:
                started = time.monotonic()
                save_training(checkpoint, state, model, optimiser)
                saved_at = time.monotonic()
                cost = saved_at - started
    model.load_state_dict(state.best)
    return model, state


def _epoch(
    model: DeepDiff,
    optimiser: torch.optim.Optimizer,
    examples: Examples,
    settings: Hyperparameters,
    seed: int,
    task: Task,
) -> float:
    """One pass over the training genes; returns the mean loss.

    The random numbers of an epoch depend on the seed and the epoch alone, so that going on after a
    checkpoint needs no generator's state.
    """
    model.train()
    torch.manual_seed(seed)
    device = examples.device
    order = torch.randperm(len(examples))
    losses = []
    n_batches = math.ceil(len(examples) / settings.batch_size)
    shown = max(1, n_batches // 20)
    for number, batch in enumerate(examples.batches(order, settings.batch_size), 1):
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            loss = total_loss(model(batch.a, batch.b), batch.targets, settings)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm, foreach=True)
        optimiser.step()
        losses.append(loss.detach())
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


def _finish(
    run: Run,
    model: DeepDiff,
    state: TrainingState,
    data: PairData,
    transform: Transform,
    reporter: Reporter,
) -> Run:
    """Write the trained model, its history and predictions, and mark the run as finished."""
    predicted = predict_pair(model, data, transform, reporter)
    metrics, intervals = part_metrics(data, predicted.log2fc)
    save_weights(run.path / MODEL, model.state_dict())
    with output_text(run.path / HISTORY) as stream:
        columns = {name: np.asarray(values) for name, values in state.history.items()}
        write_table(stream, columns | {"epoch": columns["epoch"].astype(np.int64)})
    run.save_predictions(prediction_columns(data, predicted.log2fc, predicted.expression))
    details = dict(run.config.details) | {
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "test_intervals": intervals,
    }
    finished = Run(run.path, replace(run.config, status=FINISHED, metrics=metrics, details=details))
    finished.save_config()
    (run.path / RESUME).unlink(missing_ok=True)
    return finished

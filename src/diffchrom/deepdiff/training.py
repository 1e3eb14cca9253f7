"""Training one run: from a store and a job description to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diffchrom.config import DEFAULT_VARIANT, PRESETS, Hyperparameters
from diffchrom.deepdiff.building import fit_transform, resolve_device
from diffchrom.deepdiff.checkpoint import TrainingState, has_checkpoint, remove_checkpoints, save_weights
from diffchrom.deepdiff.examples import examples_of
from diffchrom.deepdiff.inference import columns_of, mean_asymmetry, predict_pair
from diffchrom.deepdiff.lstm import kernel_unavailable_reason
from diffchrom.deepdiff.members import fit_members, members_of
from diffchrom.deepdiff.memory import plan_memory
from diffchrom.deepdiff.model import CELL_A, CELL_B, DeepDiff
from diffchrom.deepdiff.uncertainty import Calibration, coverage
from diffchrom.errors import StoreError
from diffchrom.files.tables import write_table
from diffchrom.files.whole import output_text, remove_folder
from diffchrom.pairs.pair import PairData
from diffchrom.pairs.transform import Transform
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import FINISHED, HISTORY, MODEL, Run, RunConfig, library_versions, open_run_folder
from diffchrom.runs.input import RunInput
from diffchrom.runs.tables import HISTORY_COLUMNS, describe_labels, label_details, part_metrics
from diffchrom.variants import get_variant

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
    side_by_side: bool = True,
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
    side_by_side : train an ensemble's members in processes of their own where that is faster, which changes
        no result; for callers whose own processes fill the cores, False.
    reporter : where progress goes.

    Returns
    -------
    Run
        With metrics of train, valid and test genes in its configuration.
    """
    variant = get_variant(job.variant)
    source = RunInput.of(job)
    device = resolve_device(job.device)
    if device.type == "cpu" and (reason := kernel_unavailable_reason()):
        reporter.note(f"{reason}; torch.nn.LSTM serves, slower")
    plan = plan_memory(source.store, len(source.marks), variant, job.settings, memory)
    reporter.note(plan.described())
    data = source.load(reporter, plan.spill)
    _require_labels(source, data, job.settings)
    rows = data.rows("train")
    transform = fit_transform(variant.name, job.settings, rows, data.signal_a, data.signal_b)
    medians = {CELL_A: _median(data.expr_a[rows]), CELL_B: _median(data.expr_b[rows])}
    config = RunConfig(
        kind="deepdiff",
        variant=variant.name,
        preset=job.preset,
        seed=job.seed,
        hyperparameters=job.settings.to_dict(),
        transform=transform.to_dict(),
        details={"device": device.type, "class_medians": medians},
        versions=library_versions("torch", "safetensors"),
        **source.described(data),
    )
    run = open_run_folder(config, out, resume=resume, force=force)
    if run.config.status == FINISHED:
        remove_checkpoints(run.path)  # it may have been killed just before it did so itself
        return run
    train_set, valid_set = (
        examples_of(data, part, transform, job.settings, medians, device, plan.spill)
        for part in ("train", "valid")
    )
    members = members_of(run.path, variant.name, job.settings, job.seed)
    processes = plan.processes if side_by_side else 1
    try:
        model, states = fit_members(members, train_set, valid_set, processes, reporter)
    except BaseException:
        if not has_checkpoint(run.path):
            remove_folder(run.path)
        raise
    return _finish(run, model, states, data, transform, reporter)


def _require_labels(source: RunInput, data: PairData, settings: Hyperparameters) -> None:
    """Refuse a split without genes to learn from or to stop by, and weights without standard errors."""
    for part in ("train", "valid"):
        if (n := len(data.rows(part))) < MIN_GENES:
            raise StoreError(
                f"{source.store.path}: split {source.split} has {n} {part} genes with known expression "
                f"in {data.pair[0]} and {data.pair[1]}; choose another split with --split"
            )
    if settings.weight_by_se and (data.se is None or not np.isfinite(data.se[data.rows("train")]).any()):
        raise StoreError(
            f"{source.store.path}: no standard errors of log2fc for {','.join(data.pair)}; --weight-by-se "
            "needs replicates (`diffchrom prepare --expression`) or DESeq2's or limma's table (--labels)"
        )


def _median(values: np.ndarray[Any, Any]) -> float:
    """Median of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _finish(
    run: Run,
    model: DeepDiff,
    states: Sequence[TrainingState],
    data: PairData,
    transform: Transform,
    reporter: Reporter,
) -> Run:
    """Write the trained model, its history and predictions, and mark the run as finished."""
    predicted = predict_pair(model, data, transform, reporter)
    if not data.unit:  # no expression to learn from, so the auxiliary heads have learnt nothing
        predicted = replace(predicted, expression={})
    metrics, intervals = part_metrics(data, predicted.log2fc)
    if not model.variant.antisymmetric:
        asymmetry = mean_asymmetry(model, data, data.rows("test"), predicted.log2fc, transform)
        metrics["test"]["asymmetry"] = asymmetry
        reporter.note(
            f"{run.path}: exchanging the cells does not quite negate the prediction; mean asymmetry "
            f"|f(A, B) + f(B, A)| / 2 of the test genes {asymmetry:.3f}"
        )
    valid = data.rows("valid")
    calibration = Calibration.fit(data.log2fc[valid], predicted.log2fc[valid], predicted.sd[valid])
    test = data.rows("test")
    low, high = calibration.interval(predicted.log2fc[test], predicted.sd[test])
    covered = coverage(data.log2fc[test], low, high)
    save_weights(run.path / MODEL, model.state_dict())
    with output_text(run.path / HISTORY) as stream:
        columns = {
            name: np.concatenate([state.history[name] for state in states]) for name in HISTORY_COLUMNS
        }
        counts = {name: columns[name].astype(np.int64) for name in ("epoch", "member")}
        write_table(stream, columns | counts)
    run.save_predictions(columns_of(data, predicted, calibration))
    details = dict(run.config.details) | {
        "epochs": states[-1].epoch,
        "best_epoch": states[-1].best_epoch,
        "test_intervals": intervals,
        "calibration": calibration.to_dict(),
        "test_coverage": covered,
        **label_details(data),
    }
    finished = Run(run.path, replace(run.config, status=FINISHED, metrics=metrics, details=details))
    finished.save_config()
    remove_checkpoints(run.path)
    if np.isfinite(covered):
        reporter.note(
            f"{run.path}: {calibration.level:.0%} intervals, calibrated on {calibration.n} validation genes, "
            f"cover {covered:.1%} of {len(test)} test genes"
        )
    else:
        reporter.note(f"{run.path}: too few validation or test genes for prediction intervals")
    if said := describe_labels(details):
        reporter.note(f"{run.path}: {said}")
    return finished

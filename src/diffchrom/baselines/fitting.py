"""Fitting one baseline: from a store and a job description to a run folder, as `training` does for models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diffchrom.baselines.method import Context, Examples, Grid, Method, Prediction, Vector
from diffchrom.baselines.methods import get_method
from diffchrom.config import DEFAULT_PRESET
from diffchrom.errors import StoreError
from diffchrom.files.whole import remove_folder
from diffchrom.pairs.pair import PairData
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import FINISHED, Run, RunConfig, library_versions, open_run_folder
from diffchrom.runs.input import RunInput
from diffchrom.runs.tables import describe_labels, label_details, part_metrics, prediction_columns
from diffchrom.store.store import Store

#: Folder inside an unfinished run with the pieces that are done, so that a killed fit goes on.
PIECES = "pieces"


@dataclass(frozen=True)
class BaselineJob:
    """Which baseline to fit on what; together with the store's content it decides the result.

    Attributes
    ----------
    store : path of the store.
    method : name in `methods.METHODS`.
    preset : of the method's `grids`.
    epochs : most epochs, for methods that have any; None is the preset's.
    pair : ``A,B``; None where the store has just two cells.
    marks : names; None is all marks of the pair.
    split, unit : names in the store; None is the default one.
    seed : of folds, bootstraps, initial weights and shuffling.
    """

    store: Path
    method: str
    pair: str | None = None
    marks: tuple[str, ...] | None = None
    split: str | None = None
    unit: str | None = None
    seed: int = 0
    preset: str = DEFAULT_PRESET
    epochs: int | None = None

    @property
    def shown_preset(self) -> str:
        """The preset in names and tables: a baseline's default one is none."""
        return "" if self.preset == DEFAULT_PRESET else self.preset


def fit_baseline(
    job: BaselineJob,
    out: str | Path | None = None,
    *,
    threads: int = 1,
    resume: bool = False,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> Run:
    """Fit one baseline and write its run folder.

    Parameters
    ----------
    job : what to fit.
    out : the run folder; None is ``runs/`` and a name made of the job.
    threads : cores to use; the result doesn't depend on it.
    resume : go on from the pieces that a killed fit left in `out`; a finished run is returned as it is.
    force : replace a run that is already in `out`.
    reporter : where progress and notes go.

    Returns
    -------
    Run
        With metrics of train, valid and test genes in its configuration.

    Raises
    ------
    StoreError
        When the store lacks what the method needs.
    """
    method = get_method(job.method)
    source = RunInput.of(job)
    data = source.load(reporter)
    examples = _examples(source.store, data, method, reporter)
    config = RunConfig(
        kind="baseline",
        variant=method.name,
        preset=job.shown_preset,
        seed=job.seed,
        hyperparameters=method.hyperparameters(job.preset, job.epochs),
        versions=library_versions("scikit-learn"),
        **source.described(data),
    )
    run = open_run_folder(config, out, resume=resume, force=force)
    if run.config.status == FINISHED:
        return run
    pieces = run.path / PIECES
    try:
        prediction, chosen = fit_and_predict(
            method,
            examples,
            data,
            Context(job.seed, threads, reporter, pieces),
            method.grid(job.preset, job.epochs),
        )
    except BaseException:
        if not pieces.is_dir():
            remove_folder(run.path)
        raise
    return _finish(run, data, prediction, chosen, reporter)


def fit_and_predict(
    method: Method, examples: Examples, data: PairData, context: Context, grid: Grid | None = None
) -> tuple[Prediction, dict[str, Any]]:
    """Fit on the training genes (and validation genes, where the method selects on them); predict all genes.

    The method is handed nothing else, so test labels can't reach it; what it predicts from has no labels.
    Hyper-parameters are chosen among those of `grid`, or of the method's default preset.
    """
    for part in ("train", "valid", "test"):
        if part != "test" and not len(data.rows(part)):
            raise StoreError(
                f"{method.name}: the split has no {part} genes with known expression in {data.pair[0]} and "
                f"{data.pair[1]}; choose another one with --split"
            )
    train = examples.take(data.rows("train"))
    valid = examples.take(data.rows("valid") if method.selection == "validation" else slice(0, 0))
    _report_features(train, data, context.reporter)
    predictor = method.fit(train, valid, method.grid() if grid is None else grid, context)
    return predictor.predict(examples.without_labels()), dict(predictor.chosen)


def _report_features(train: Examples, data: PairData, reporter: Reporter) -> None:
    for cell, signal in zip(data.pair, (train.signal_a, train.signal_b), strict=True):
        for j, mark in enumerate(data.marks):
            if np.ptp(signal[:, j]) == 0:
                reporter.warn(f"{mark} of {cell} is {signal[0, j, 0]:g} everywhere; it can't contribute")


def _examples(store: Store, data: PairData, method: Method, reporter: Reporter) -> Examples:
    """Everything a method may look at, for all genes of the store."""
    tes_a = tes_b = None
    if "tes" in method.needs:
        lacking = [
            f"{mark} of {cell}"
            for cell in data.pair
            for mark in data.marks
            if mark not in store.marks(cell, around="tes")
        ]
        if lacking:
            reporter.note(
                f"{method.name}: {store.path} has no window around the transcript's end for "
                f"{', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}; bins around the TSS serve "
                "(`diffchrom prepare --around tes` adds it)"
            )
        else:
            tes_a, tes_b = (store.signal(cell, data.marks, around="tes") for cell in data.pair)
    elsewhere = _change_elsewhere(store, data) if "other cells" in method.needs else None
    return Examples(
        data.marks,
        data.signal_a,
        data.signal_b,
        data.log2fc,
        data.expr_a,
        data.expr_b,
        tes_a,
        tes_b,
        elsewhere,
    )


def _change_elsewhere(store: Store, data: PairData) -> Vector | None:
    """Mean over the store's cells C other than A and B of log2fc(A, C); None where there is no such cell."""
    others = [
        np.log2(store.expression(cell, data.unit) + 1)
        for cell in store.cells()
        if cell not in data.pair and data.unit in store.expression_units(cell)
    ]
    if not others:
        return None
    changes = np.stack(others) - data.expr_a
    known = np.isfinite(changes)
    total = np.where(known, changes, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _finish(
    run: Run, data: PairData, prediction: Prediction, chosen: dict[str, Any], reporter: Reporter
) -> Run:
    """Write predictions and metrics, and mark the run as finished."""
    run.save_predictions(prediction_columns(data, prediction.log2fc, prediction.expression))
    metrics, intervals = part_metrics(data, prediction.log2fc)
    finished = Run(
        run.path,
        replace(
            run.config,
            status=FINISHED,
            metrics=metrics,
            details={"chosen": chosen, "test_intervals": intervals, **label_details(data)},
        ),
    )
    finished.save_config()
    remove_folder(run.path / PIECES)
    if said := describe_labels(finished.config.details):
        reporter.note(f"{run.path}: {said}")
    return finished

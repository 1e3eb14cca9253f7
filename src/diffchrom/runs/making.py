"""Making a run, whatever fits it: input, folder, going on, metrics and clean-up in one place.

A *recipe* (a DeepDiff model, a baseline) says how predictions come about; `make` does everything else, so
that every run has the same files, the same metrics of the same genes, and leaves nothing half-made behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from diffchrom.config import NORMALISE
from diffchrom.errors import RunError
from diffchrom.files.records import write_record
from diffchrom.files.whole import remove_folder
from diffchrom.genome.regions import DEFAULT_REGIONS
from diffchrom.pairs.covariates import cell_names, describe_same, prior_names
from diffchrom.pairs.leakage import find_leakage
from diffchrom.pairs.pair import Pair, PairData
from diffchrom.pairs.pair_set import PairSet
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.differences import differing
from diffchrom.runs.folder import (
    CONFIG,
    FINISHED,
    SIGNAL,
    Run,
    RunConfig,
    library_versions,
    new_run_folder,
    run_name,
)
from diffchrom.runs.pair_results import PairPrediction, save_results
from diffchrom.runs.tables import describe_labels, label_details, part_metrics


@dataclass(frozen=True)
class Fitted:
    """What a fit came to.

    Attributes
    ----------
    log2fc : float [n_genes]
        Predicted, of every gene of the store.
    columns : of ``predictions.tsv`` (`runs.tables.prediction_columns`).
    details : for ``config.json``.
    test_metrics : further metrics of the test genes.
    notes : what a user should be told, a line each.
    judged : of `PairSet.judged`.
    """

    log2fc: npt.NDArray[Any]
    columns: Mapping[str, npt.NDArray[Any]]
    details: Mapping[str, Any] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    judged: tuple[PairPrediction, ...] = ()


class Learner(Protocol):
    """A recipe that has met its genes."""

    @property
    def data(self) -> PairData:
        """The genes of the run's own pair."""

    @property
    def configuration(self) -> Mapping[str, Any]:
        """Fields of `RunConfig` that only the fit knows: ``transform``, ``details``."""

    def fit(self, folder: Path, reporter: Reporter) -> Fitted:
        """Fit, and write the model's own files into the run's folder; goes on with what is there."""

    def can_go_on(self, folder: Path) -> bool:
        """Whether an unfinished folder has anything to go on from."""

    def clean(self, folder: Path) -> None:
        """Remove what only an unfinished run needs."""


class Recipe(Protocol):
    """One way to fit a run; together with a pair it decides the result."""

    @property
    def kind(self) -> str:
        """As in ``config.json``."""

    @property
    def name(self) -> str:
        """Variant or method, as in tables."""

    @property
    def preset(self) -> str:
        """Name; empty where there are none."""

    @property
    def seed(self) -> int:
        """Of everything random."""

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """For ``config.json``."""

    @property
    def whole_gene(self) -> bool:
        """Whether it reads every region that the pair has, or the bins around the TSS alone."""

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the numbers of genes that it reads beside the signal (`pairs.covariates`)."""

    @property
    def cell_shifts(self) -> bool:
        """Whether it learns what is a cell's own, where there are several pairs."""

    @property
    def gene_prior(self) -> bool:
        """Whether it reads what the genes do in other cells, too."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions that compute, whose versions are recorded."""

    def meet(self, pairs: PairSet, reporter: Reporter) -> Learner:
        """Read the genes; StoreError where they do not do."""


def make(
    recipe: Recipe,
    pair: Pair | PairSet,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> Run:
    """Fit a recipe on a pair of cells, or on several, and write its run folder.

    Parameters
    ----------
    recipe : what to fit.
    pair : what to fit it on.
    out : the run folder; None is ``runs/`` and a name made of the above.
    resume : go on from what a killed fit left in `out` (or start, where there is nothing); a finished run is
        returned as it is.
    force : replace a run that is already in `out`.
    reporter : where progress and notes go.

    Returns
    -------
    Run
        With metrics of train, valid and test genes of the (first) pair in its configuration, and of every
        pair where there are several (`runs.pair_results`).

    Raises
    ------
    StoreError
        When the store lacks what the recipe needs.
    RunError, OutputError
        See `open_run_folder`.
    """
    pairs = pair if isinstance(pair, PairSet) else PairSet((pair,))
    seen_by(recipe, pairs.first, reporter, without=pairs.held_out)
    codes = cell_names(pairs.cells) if recipe.cell_shifts and not pairs.single else ()
    as_stored = pairs.each(lambda pair: seen_by(recipe, pair, without=pairs.held_out, codes=codes))
    pairs = as_stored.normalised()
    pair = pairs.first
    if warning := describe_same({k: v for one in pairs.pairs for k, v in one.doubles.items()}):
        reporter.note(warning)
    leakage = find_leakage(pair.genes, pair.parts, pair.window, pair.split, pair.layout.beyond)
    if warning := leakage.warning():
        reporter.note(warning)
    learner = recipe.meet(pairs, reporter)
    run = open_run_folder(_configuration(recipe, pairs, learner), out, resume=resume, force=force)
    if run.config.status == FINISHED:
        learner.clean(run.path)  # it may have been killed just before it did so itself
        return run
    return _fit(run, learner, as_stored, reporter)


def _configuration(recipe: Recipe, pairs: PairSet, learner: Learner) -> RunConfig:
    pair = pairs.first
    return RunConfig(
        kind=recipe.kind,
        variant=recipe.name,
        preset=recipe.preset,
        seed=recipe.seed,
        pair=pair.cells,
        marks=pair.marks,
        window=pair.window,
        regions={region.name: region.digest for region in pair.regions},
        covariates=pair.covariate_names,
        split=pair.split,
        unit=learner.data.unit,
        hyperparameters=recipe.hyperparameters,
        store=describe_store(pairs),
        pairs=() if pairs.single else tuple(pair.cells for pair in pairs.pairs),
        held_out=pairs.held_out,
        normalise=pairs.normalise,
        versions=library_versions(*recipe.libraries),
        **learner.configuration,
    )


def _fit(run: Run, learner: Learner, as_stored: PairSet, reporter: Reporter) -> Run:
    """Fit into the run's folder; of one that failed nothing stays that cannot be gone on with."""
    try:
        if as_stored.judged or as_stored.normalise != NORMALISE[0]:
            write_record(run.path / SIGNAL, as_stored.signal_seen)
        fitted = learner.fit(run.path, reporter)
    except BaseException:
        if not learner.can_go_on(run.path):
            remove_folder(run.path)
        raise
    finished = _finish(run, learner.data, fitted)
    learner.clean(run.path)
    for note in (*fitted.notes, describe_labels(finished.config.details)):
        if note:
            reporter.note(f"{run.path}: {note}")
    return finished


def seen_by(
    recipe: Recipe,
    pair: Pair,
    reporter: Reporter = SILENT,
    *,
    without: tuple[str, ...] = (),
    codes: tuple[str, ...] = (),
) -> Pair:
    """What a recipe reads of a pair, and not of cells `without`; who could read more is told.

    Parameters
    ----------
    codes : covariates that code for the cells of several pairs.
    """
    prior = prior_names(pair.store, (*pair.cells, *without), pair.unit) if recipe.gene_prior else ()
    pair = replace(pair, covariate_names=(*recipe.covariates, *prior, *codes), prior_without=without)
    if not recipe.whole_gene:
        return pair.around_tss()
    lacking = [name for name in DEFAULT_REGIONS if name not in pair.layout.names]
    if lacking and len(pair.regions) == 1 and pair.genes.located.all():
        reporter.note(
            f"{recipe.name} reads the bins around the TSS alone; `prepare_store(regions="
            f"{','.join(lacking)})` adds what lies beyond, which predicts better"
        )
    return pair


def _finish(run: Run, data: PairData, fitted: Fitted) -> Run:
    """Write predictions and metrics, and mark the run as finished."""
    run.save_predictions(fitted.columns)
    metrics, intervals = part_metrics(data, fitted.log2fc)
    metrics["test"] |= fitted.test_metrics
    details = {
        **run.config.details,
        **fitted.details,
        "test_intervals": intervals,
        **label_details(data, data.genes, data.rows("test")),
    }
    if fitted.judged:
        results = [prediction.result() for prediction in fitted.judged]
        save_results(run.path, results)
        details["pairs"] = [asdict(result) for result in results]
    finished = Run(run.path, replace(run.config, status=FINISHED, metrics=metrics, details=details))
    finished.save_config()
    return finished


def describe_store(pairs: PairSet) -> dict[str, Any]:
    """The part of ``config.json`` that says which store a run came from."""
    store, marks, regions = pairs.first.store, pairs.first.marks, pairs.first.layout.names
    several = () if pairs.single else pairs.cells
    return {
        "path": str(store.path.resolve()),
        "fingerprint": store.fingerprint(pairs.cells),
        "signals": store.signal_digest(pairs.cells, marks, regions),
        "cells": {cell: store.signal_digest((cell,), marks, regions) for cell in several},
        "n_genes": store.n_genes,
    }


def open_run_folder(
    config: RunConfig, out: str | Path | None, *, resume: bool = False, force: bool = False
) -> Run:
    """Make the folder of a new run, or find the one to go on with.

    Parameters
    ----------
    config : of the run that is to be made.
    out : the folder; None is ``runs/`` and `run_name`.
    resume : take an existing run of the same configuration as it is, finished or not.
    force : replace a run that is already in `out`.

    Raises
    ------
    RunError
        When the run to resume was made with other options or another store.
    OutputError
        When `out` is taken.
    """
    cells = dict.fromkeys(cell for pair in config.learnt for cell in pair)
    name = run_name(tuple(cells), config.variant, config.preset, config.seed)
    path = Path(out) if out else Path("runs") / name.replace(":", "-")
    if resume and (path / CONFIG).exists():
        run = Run.open(path, unfinished=True)
        if other := differing(run.config, config):
            raise RunError(
                f"{path}: was made with other {', '.join(other)}; give the same options to go on, "
                "or choose another `out`"
            )
        return run
    if not (resume and path.is_dir()):
        path = new_run_folder(out, name, force=force)
    run = Run(path, config)
    run.save_config()
    return run

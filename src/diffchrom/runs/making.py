"""Making a run, whatever fits it: input, folder, going on, metrics and clean-up in one place.

A *recipe* (a DeepDiff model, a baseline) says how predictions come about; `make` does everything else, so
that every run has the same files, the same metrics of the same genes, and leaves nothing half-made behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from diffchrom.errors import RunError
from diffchrom.files.whole import remove_folder
from diffchrom.genome.regions import DEFAULT_REGIONS
from diffchrom.pairs.covariates import prior_names
from diffchrom.pairs.leakage import find_leakage
from diffchrom.pairs.pair import Pair, PairData
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.differences import differing
from diffchrom.runs.folder import CONFIG, FINISHED, Run, RunConfig, library_versions, new_run_folder, run_name
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
    """

    log2fc: npt.NDArray[Any]
    columns: Mapping[str, npt.NDArray[Any]]
    details: Mapping[str, Any] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Learner(Protocol):
    """A recipe that has met its genes."""

    @property
    def data(self) -> PairData:
        """The genes."""

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
    def gene_prior(self) -> bool:
        """Whether it reads what the genes do in other cells, too."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions that compute, whose versions are recorded."""

    def meet(self, pair: Pair, reporter: Reporter) -> Learner:
        """Read the genes; StoreError where they do not do."""


def make(
    recipe: Recipe,
    pair: Pair,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> Run:
    """Fit a recipe on a pair of cells and write its run folder.

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
        With metrics of train, valid and test genes in its configuration.

    Raises
    ------
    StoreError
        When the store lacks what the recipe needs.
    RunError, OutputError
        See `open_run_folder`.
    """
    pair = seen_by(recipe, pair, reporter)
    leakage = find_leakage(pair.genes, pair.parts, pair.window, pair.split, pair.layout.beyond)
    if warning := leakage.warning():
        reporter.note(warning)
    learner = recipe.meet(pair, reporter)
    config = RunConfig(
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
        store=describe_store(pair),
        versions=library_versions(*recipe.libraries),
        **learner.configuration,
    )
    run = open_run_folder(config, out, resume=resume, force=force)
    if run.config.status == FINISHED:
        learner.clean(run.path)  # it may have been killed just before it did so itself
        return run
    try:
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


def seen_by(recipe: Recipe, pair: Pair, reporter: Reporter = SILENT) -> Pair:
    """What a recipe reads of a pair; whoever could read more than the store has is told."""
    prior = prior_names(pair.store, pair.cells, pair.unit) if recipe.gene_prior else ()
    pair = replace(pair, covariate_names=(*recipe.covariates, *prior))
    if not recipe.whole_gene:
        return pair.around_tss()
    lacking = [name for name in DEFAULT_REGIONS if name not in pair.layout.names]
    if lacking and len(pair.regions) == 1 and pair.genes.located.all():
        reporter.note(
            f"{recipe.name} reads the bins around the TSS alone; `diffchrom prepare --regions "
            f"{','.join(lacking)}` adds what lies beyond, which predicts better"
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
    finished = Run(run.path, replace(run.config, status=FINISHED, metrics=metrics, details=details))
    finished.save_config()
    return finished


def describe_store(pair: Pair) -> dict[str, Any]:
    """The part of ``config.json`` that says which store a run came from."""
    return {
        "path": str(pair.store.path.resolve()),
        "fingerprint": pair.store.fingerprint(pair.cells),
        "signals": pair.signal_digest,
        "n_genes": pair.store.n_genes,
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
    name = run_name(config.pair, config.variant, config.preset, config.seed)
    path = Path(out) if out else Path("runs") / name.replace(":", "-")
    if resume and (path / CONFIG).exists():
        run = Run.open(path, unfinished=True)
        if other := differing(run.config, config):
            raise RunError(
                f"{path}: was made with other {', '.join(other)}; give the same options to go on, "
                "or choose another --out"
            )
        return run
    if not (resume and path.is_dir()):
        path = new_run_folder(out, name, force=force)
    run = Run(path, config)
    run.save_config()
    return run

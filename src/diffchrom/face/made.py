"""Making stores and runs, and finished runs."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffchrom.baselines.fitting import Fitting
from diffchrom.baselines.opened import OpenedBaseline, open_predictor
from diffchrom.config import DEFAULT_VARIANT, hyperparameters
from diffchrom.deepdiff.training import Training
from diffchrom.face.opened import Baseline, Model, OpenedStore
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.pair_set import PairSet
from diffchrom.prepare.building import PrepareRequest, prepare
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.cross_validation import cross_validate
from diffchrom.runs.folder import HISTORY, PREDICTIONS, Run, RunConfig
from diffchrom.runs.making import Recipe, make
from diffchrom.runs.pair_results import PAIRS
from diffchrom.runs.signal import describe_distances, signal_distances
from diffchrom.store.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn


class MadeRun:
    """A finished run.

    Attributes
    ----------
    path : its folder; of a run made without one it is temporary, and goes with this object.
    """

    def __init__(self, run: Run, temporary: tempfile.TemporaryDirectory[str] | None = None) -> None:
        self._run = run
        if temporary is not None:
            weakref.finalize(self, temporary.cleanup)

    def __repr__(self) -> str:
        config = self.config
        r = self.metrics.get("pearson")
        return (
            f"<{config.variant} on {','.join(config.pair)}: r = {'undefined' if r is None else f'{r:.3f}'}>"
        )

    @property
    def path(self) -> Path:
        """The folder."""
        return self._run.path

    @property
    def config(self) -> RunConfig:
        """Everything that ``config.json`` says."""
        return self._run.config

    @property
    def metrics(self) -> dict[str, float | None]:
        """Metrics of the test genes."""
        return dict(self.config.metrics.get("test", {}))

    def predictions(self) -> DataFrame:
        """Every gene's prediction, label, part of the split and, of models, interval."""
        return self._table(PREDICTIONS)

    def history(self) -> DataFrame:
        """Training, a row an epoch; models only."""
        return self._table(HISTORY)

    def pairs(self) -> DataFrame:
        """Accuracy of every pair, where it learnt from several or was kept from cells."""
        return self._table(PAIRS)

    def _table(self, name: str) -> DataFrame:
        import pandas as pd

        return pd.read_csv(self.path / name, sep="\t", na_values=["NA"], keep_default_na=False)

    def open(
        self,
        store: Store,
        cells: Sequence[str] | None = None,
        *,
        module: nn.Module | None = None,
        device: str = "auto",
        reporter: Reporter = SILENT,
    ) -> Model | Baseline:
        """Open the model or baseline on a store, for its own pair of cells unless others are named.

        Parameters
        ----------
        module : needed where the run is of a module of your own.
        reporter : is told what intervals hold for other cells, whether the shift is left out, and how far the
            signal is from what a run of several pairs saw.
        """
        opened, said = open_predictor(self._run, store, cells, module=module, device=device)
        distance = describe_distances(signal_distances(self._run, opened.pair))
        for note in filter(None, (said, opened.without_shift, distance)):
            reporter.note(note)
        kind = Baseline if isinstance(opened, OpenedBaseline) else Model
        return kind(**vars(opened))


def open_store(path: str | Path = "diffchrom.h5") -> OpenedStore:
    """Open a store; the file is opened for each operation, so nothing needs to be closed."""
    return OpenedStore(path)


def open_run(path: str | Path) -> MadeRun:
    """Open a finished run's folder."""
    return MadeRun(Run.open(path))


def prepare_store(store: str | Path, *, reporter: Reporter = SILENT, **options: Any) -> OpenedStore:
    """Make or extend a store from an annotation, tracks and expression.

    Parameters
    ----------
    options : of `prepare.request.PrepareRequest`: ``gtf``, ``bigwigs``, ``expression``, ...
    """
    paths = {"gtf", "samples", "chrom_sizes", "deepdiff", "genes", "blacklist"}
    several = {"bigwigs": Path, "reads": Path, "expression": str, "labels": str, "splits": str}
    several |= {"regions": str, "exclude_chroms": str}
    for name, value in options.items():
        if value is None:
            continue
        if name in paths:
            options[name] = Path(value)
        elif name in several:
            values = [value] if isinstance(value, str | Path) else value
            options[name] = tuple(several[name](item) for item in values)
    prepare(PrepareRequest(store=Path(store), **options), reporter)
    return OpenedStore(store)


def train(
    pair: Pair | PairSet,
    variant: str = DEFAULT_VARIANT,
    *,
    model: nn.Module | None = None,
    preset: str = "default",
    out: str | Path | None = None,
    folds: int = 0,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    force: bool = False,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> MadeRun:
    """Train a model on a pair of cells, as ``diffchrom train`` does.

    Parameters
    ----------
    pair : from `OpenedStore.pair`, or several from `OpenedStore.pairs`.
    variant : a DeepDiff variant.
    model : a torch module of your own instead: ``model(a, b)`` takes the input of both cells, each
        [batch, n_marks, n_bins], and gives log2fc [batch]. It is copied, and trained by the same loop.
    preset : of the hyper-parameters; `settings` changes single ones (``epochs=5``, ``lr=1e-3``, ...).
    out : the run folder; None makes a temporary one that goes with the result.
    folds : cross-validate over so many folds of whole chromosomes instead.
    seed : of everything random.
    """
    if model is not None:
        settings.setdefault("ensemble", 1)
    name = variant if model is None else type(model).__name__
    chosen = hyperparameters(preset, name, **settings)
    recipe = Training(name, preset, chosen, seed, device, module=model)
    return _made(recipe, pair, out, folds, resume=resume, force=force, reporter=reporter)


def fit_baseline(
    pair: Pair | PairSet,
    method: str = "ridge",
    *,
    out: str | Path | None = None,
    folds: int = 0,
    seed: int = 0,
    seeds: int = 1,
    threads: int = 1,
    resume: bool = False,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> MadeRun:
    """Fit a baseline on a pair of cells, as ``diffchrom baseline`` does.

    Parameters are those of `train`, and of trees `seeds`: the number of fits that are averaged.
    """
    recipe = Fitting(method, seed, threads, seeds=seeds)
    return _made(recipe, pair, out, folds, resume=resume, force=force, reporter=reporter)


def _made(
    recipe: Recipe, pair: Pair | PairSet, out: str | Path | None, folds: int, **options: Any
) -> MadeRun:
    temporary = None
    if out is None:
        temporary = tempfile.TemporaryDirectory(prefix="diffchrom-run-")
        out = Path(temporary.name) / "run"
    try:
        if folds:
            options.pop("resume")  # finished folds are kept in any case
            return MadeRun(cross_validate(recipe, pair, folds, out, **options), temporary)
        return MadeRun(make(recipe, pair, out, **options), temporary)
    except BaseException:
        if temporary is not None:
            temporary.cleanup()
        raise

"""A fitted baseline opened on a pair of cells, as `deepdiff.opened` opens a model; and either of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.coefficients import Columns, coefficients
from diffchrom.baselines.fitting import examples_of
from diffchrom.baselines.method import Method, Predictor, Vector
from diffchrom.baselines.methods import get_method
from diffchrom.baselines.saved import load_fitted
from diffchrom.errors import RunError
from diffchrom.genome.genes import Genes, Rows
from diffchrom.pairs.pair import Pair
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import FITTED, Run
from diffchrom.runs.opening import pair_of_run, require_single
from diffchrom.runs.tables import prediction_columns
from diffchrom.store.store import Store

if TYPE_CHECKING:
    from torch import nn

    from diffchrom.deepdiff.opened import OpenedModel


@dataclass(frozen=True)
class BaselinePredictions:
    """What a baseline says of the genes `rows` of a pair: log2fc and expression as of `Prediction`."""

    pair: Pair
    rows: Rows
    log2fc: Vector
    expression: Mapping[str, Vector]

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of a predictions table; a baseline has no intervals."""
        genes, parts = self.pair.genes.take(self.rows), self.pair.parts[self.rows]
        labels = self.pair.labels.log2fc[self.rows]
        return prediction_columns(genes, parts, self.log2fc, labels, self.expression)


@dataclass(frozen=True)
class OpenedBaseline:
    """A fitted baseline and the pair of cells that it reads; it knows nothing of those held out."""

    without_shift: ClassVar[str] = ""  # there is none to leave out

    predictor: Predictor
    method: Method
    pair: Pair
    seed: int
    held_out: tuple[str, ...] = ()

    @property
    def genes(self) -> Genes:
        """All genes of the store."""
        return self.pair.genes

    def predict(self, rows: Rows, reporter: Reporter = SILENT) -> BaselinePredictions:
        """Predict the genes `rows` of the store."""
        examples = examples_of(
            self.pair, self.pair.load(), self.method, self.seed, reporter, without=self.held_out
        )
        predicted = self.predictor.predict(examples.without_labels())
        expression = {cell: values[rows] for cell, values in predicted.expression.items()}
        return BaselinePredictions(self.pair, rows, predicted.log2fc[rows], expression)

    def predict_batches(self, rows: Rows, reporter: Reporter = SILENT) -> Iterator[BaselinePredictions]:
        """Yield predictions of the genes `rows`, in that order, in one piece."""
        yield self.predict(rows, reporter)


def open_baseline(
    run: Run, store: Store, cells: Sequence[str] | None = None, *, threads: int = 1
) -> OpenedBaseline:
    """Open a baseline's run on a store, for its own pair of cells unless others are named.

    Raises
    ------
    RunError, StoreError
        The run is a cross-validation, its windows are not the store's, its file is missing or damaged, or the
        store lacks a cell or mark.
    """
    require_single(run)
    pair = pair_of_run(run, store, cells)
    config = run.config
    predictor = load_fitted(run.path / FITTED, threads)
    return OpenedBaseline(predictor, get_method(config.variant), pair, config.seed, config.held_out)


def open_predictor(
    run: Run,
    store: Store,
    cells: Sequence[str] | None = None,
    *,
    module: nn.Module | None = None,
    device: str = "auto",
    threads: int = 1,
) -> tuple[OpenedModel | OpenedBaseline, str]:
    """Open a run by `open_model` or `open_baseline`, and say what is to be said of its intervals.

    Each kind needs libraries that the other doesn't.
    """
    if run.config.kind == "baseline":
        return open_baseline(run, store, cells, threads=threads), ""
    from diffchrom.deepdiff.opened import open_model

    return open_model(run, store, cells, module=module, device=device).calibrated(run)


def largest_coefficients(run: Run, n: int) -> Columns:
    """The `n` largest weights of a baseline's run (`coefficients`); empty where the method has none."""
    if run.config.folds or not (run.path / FITTED).is_file():
        return {}
    try:
        config = run.config
        predictor = load_fitted(run.path / FITTED)
        columns = coefficients(predictor, config.marks, config.layout, config.covariates)
    except RunError:
        return {}
    size = np.abs(columns["per_sd" if "per_sd" in columns else "importance"])
    order = np.argsort(-size, kind="stable")[:n]
    return {name: values[order] for name, values in columns.items()}

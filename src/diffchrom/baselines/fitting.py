"""Fitting as a recipe: from a pair of cells to a baseline's predictions, as `training` does for models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.method import Context, Examples, Grid, Method, Prediction, Predictor, Vector
from diffchrom.baselines.methods import check_seeds, get_method
from diffchrom.baselines.saved import save_fitted
from diffchrom.baselines.seeds import fit_seeds
from diffchrom.config import DEFAULT_PRESET
from diffchrom.errors import StoreError
from diffchrom.files.whole import remove_folder
from diffchrom.pairs.covariates import OF_GENES, describe_same, same_expression
from diffchrom.pairs.pair import Pair, PairData, signal_bytes
from diffchrom.pairs.pair_set import PairSet, signal_bytes_of
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import FITTED
from diffchrom.runs.making import Fitted, seen_by
from diffchrom.runs.pair_results import PairPrediction
from diffchrom.runs.tables import metrics_of, prediction_columns
from diffchrom.store.store import Store

#: Folder inside an unfinished run with the pieces that are done, so that a killed fit goes on.
PIECES = "pieces"
#: The baseline that stands beside every model, and the largest signal that it is fitted on unasked.
BESIDE, MOST_BYTES = "ridge", 1_000_000_000


@dataclass(frozen=True)
class Fitting:
    """Recipe of a baseline; together with a pair's content it decides the result.

    Attributes
    ----------
    name : in `methods.METHODS`.
    seed : of folds, bootstraps, initial weights and shuffling.
    threads : cores to use; the result doesn't depend on it.
    preset_name : of the method's `grids`.
    epochs : most epochs, for methods that have any; None is the preset's.
    seeds : fits that are averaged, where the method is `Method.seeded`.
    device : where networks are trained.
    gene_prior : read what the genes do in other cells, too, by methods that take it.
    """

    kind: ClassVar[str] = "baseline"
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    name: str
    seed: int = 0
    threads: int = 1
    preset_name: str = DEFAULT_PRESET
    epochs: int | None = None
    seeds: int = 1
    device: str = "auto"
    gene_prior: bool = False

    @property
    def preset(self) -> str:
        """As in names and tables: a baseline's default one is none."""
        return "" if self.preset_name == DEFAULT_PRESET else self.preset_name

    @property
    def whole_gene(self) -> bool:
        """Whether the method reads what lies beyond the TSS."""
        return get_method(self.name).whole_gene

    @property
    def cell_shifts(self) -> bool:
        """None does."""
        return False

    @property
    def covariates(self) -> tuple[str, ...]:
        """Numbers of the genes that the method reads beside the signal."""
        return tuple(OF_GENES) if get_method(self.name).reads_covariates else ()

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """For ``config.json``."""
        values = get_method(self.name).hyperparameters(self.preset_name, self.epochs)
        return values | ({"seeds": self.seeds} if self.seeds > 1 else {})

    def meet(self, pairs: PairSet, reporter: Reporter) -> FittingLearner:
        """Read the genes, and what else of the store the method looks at."""
        method = get_method(self.name)
        check_seeds((method,), self.seeds)
        if not pairs.single:
            signal, copies = signal_bytes_of(pairs) / 1e9, 2 * len(pairs.pairs)
            shown = copies * signal_bytes(pairs.first) / 1e9
            reporter.note(
                f"memory: {signal:.2f} GB of signal of {len(pairs.cells)} cells, at most {shown:.2f} GB "
                f"of it as examples: {len(pairs.pairs)} pairs in both orders"
            )
        data = pairs.load()
        learnt = pairs.examples(data, antisymmetric=False)
        examples = tuple(
            examples_of(pairs.first, of_pair, method, self.seed, reporter, without=pairs.held_out)
            for of_pair in learnt
        )
        return FittingLearner(self, method, pairs, learnt, examples)


@dataclass(frozen=True)
class FittingLearner:
    """A recipe that has met its genes.

    Attributes
    ----------
    recipe, method : what is fitted.
    pairs : on what.
    learnt, examples : all genes of every pair that is learnt from, and as the method sees them.
    """

    configuration: ClassVar[Mapping[str, Any]] = {}

    recipe: Fitting
    method: Method
    pairs: PairSet
    learnt: tuple[PairData, ...]
    examples: tuple[Examples, ...]

    @property
    def data(self) -> PairData:
        """The genes of the run's own pair."""
        return self.learnt[0]

    def can_go_on(self, folder: Path) -> bool:
        """Whether any piece is done."""
        return (folder / PIECES).is_dir()

    def clean(self, folder: Path) -> None:
        """Remove the pieces."""
        remove_folder(folder / PIECES)

    def fit(self, folder: Path, reporter: Reporter) -> Fitted:
        """Fit the method and predict every gene."""
        recipe = self.recipe
        context = Context(recipe.seed, recipe.threads, reporter, folder / PIECES, device=recipe.device)
        grid = self.method.grid(recipe.preset_name, recipe.epochs)
        predictor = fit_pairs(self.method, self.examples, self.learnt, context, grid, recipe.seeds)
        prediction = predictor.predict(self.examples[0].without_labels())
        save_fitted(folder / FITTED, predictor)
        genes = (self.data.genes, self.data.parts)
        columns = prediction_columns(*genes, prediction.log2fc, self.data.log2fc, prediction.expression)
        details = {"chosen": dict(predictor.chosen)}
        return Fitted(prediction.log2fc, columns, details, judged=self.judge(predictor, reporter))

    def judge(self, predictor: Predictor, reporter: Reporter) -> tuple[PairPrediction, ...]:
        """Predict the test genes of every pair of `PairSet.judged`."""
        judged = []
        for pair in self.pairs.judged:
            rows = pair.rows("test")
            examples = examples_of(
                pair, pair.load(), self.method, self.recipe.seed, reporter, without=self.pairs.held_out
            )
            predicted = predictor.predict(examples.without_labels())
            judged.append(PairPrediction(pair, self.pairs.kind(pair), rows, predicted.log2fc[rows]))
        return tuple(judged)


def ridge_beside(pair: Pair, gene_prior: bool = False) -> str:
    """Say what r the `BESIDE` baseline has on a pair's test genes, for whoever trained a model on it.

    Nothing is written. Empty where the pair's signal is too large to be read once more for a remark, or the
    baseline cannot be fitted.
    """
    if signal_bytes(pair) > MOST_BYTES:
        return ""
    try:
        beside = Fitting(BESIDE, gene_prior=gene_prior)
        learner = beside.meet(PairSet((seen_by(beside, pair),)), SILENT)
        prediction, _ = fit_and_predict(learner.method, learner.examples[0], learner.data, Context())
    except StoreError:
        return ""
    test = learner.data.rows("test")
    r = metrics_of(learner.data, test, prediction.log2fc)["pearson"]
    prior = " with the gene prior" if gene_prior else ""
    value = "undefined" if r is None else f"= {r:.3f}"
    return f"{BESIDE}, a linear baseline{prior}, has r {value} on the same genes"


def fit_and_predict(
    method: Method,
    examples: Examples,
    data: PairData,
    context: Context,
    grid: Grid | None = None,
    seeds: int = 1,
) -> tuple[Prediction, Predictor]:
    """Fit by `fit_pairs` on one pair, and predict all its genes; what it predicts from has no labels."""
    predictor = fit_pairs(method, (examples,), (data,), context, grid, seeds)
    return predictor.predict(examples.without_labels()), predictor


def fit_pairs(
    method: Method,
    examples: Sequence[Examples],
    learnt: Sequence[PairData],
    context: Context,
    grid: Grid | None = None,
    seeds: int = 1,
) -> Predictor:
    """Fit on the training genes of pairs, and validation genes where the method selects on them.

    The method is handed nothing else, so test labels can't reach it. Hyper-parameters are chosen among those
    of `grid`, or of the method's default preset; fits of several `seeds` are averaged.
    """
    train, valid = [], []
    for of_pair, data in zip(examples, learnt, strict=True):
        for part in ("train", "valid"):
            if not len(data.rows(part)):
                raise StoreError(
                    f"{method.name}: the split has no {part} genes with known expression in {data.cells[0]} "
                    f"and {data.cells[1]}; choose another one with `split`"
                )
        train.append(of_pair.take(data.rows("train")))
        valid.append(of_pair.take(data.rows("valid") if method.selection == "validation" else slice(0, 0)))
        _report_features(train[-1], data, context.reporter)
    return fit_seeds(
        method,
        Examples.concatenate(train),
        Examples.concatenate(valid),
        method.grid() if grid is None else grid,
        context,
        seeds,
    )


def _report_features(train: Examples, data: PairData, reporter: Reporter) -> None:
    for cell, signal in zip(data.cells, (train.signal_a, train.signal_b), strict=True):
        for j, mark in enumerate(data.marks):
            if np.ptp(signal[:, j]) == 0:
                reporter.warn(f"{mark} of {cell} is {signal[0, j, 0]:g} everywhere; it can't contribute")


def examples_of(
    pair: Pair,
    data: PairData,
    method: Method,
    seed: int,
    reporter: Reporter,
    *,
    without: Sequence[str] = (),
) -> Examples:
    """Everything a method may look at, for all genes of the store; no expression of cells `without`."""
    store = pair.store
    tes_a = tes_b = None
    if method.uses_tes:
        lacking = [
            f"{mark} of {cell}"
            for cell in data.cells
            for mark in data.marks
            if mark not in store.marks(cell, region="tes_bins")
        ]
        if lacking:
            reporter.note(
                f"{method.name}: {store.path} has no window around the transcript's end for "
                f"{', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}; bins around the TSS serve "
                "(`prepare_store(regions=tes_bins)` adds it)"
            )
        else:
            tes_a, tes_b = (store.region_signal(cell, "tes_bins", data.marks) for cell in data.cells)
    elsewhere = to_others = None
    if method.needs_other_cells:
        genes = np.arange(store.n_genes)
        doubles = same_expression(store, (*data.cells, *without), data.unit)
        if said := describe_same(doubles):
            reporter.note(f"{method.name}: {said}")
        without = (*without, *doubles)
        elsewhere = _change_elsewhere(store, data, genes, without)
        shuffled = np.random.default_rng(seed).permutation(genes)
        to_others = _change_elsewhere(store, data, shuffled, without)
    return Examples(
        data.marks,
        data.layout.n_bins,
        data.signal_a,
        data.signal_b,
        data.log2fc,
        data.expr_a,
        data.expr_b,
        tes_a,
        tes_b,
        elsewhere,
        to_others,
        _imputed(data.covariates) if method.reads_covariates else None,
    )


def _imputed(covariates: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
    """Covariates [n_genes, n_covariates], the median over genes where unknown; None where there are none.

    One that no gene has, as in a store without coordinates, is 0.
    """
    if covariates is None or not covariates.shape[1]:
        return None
    known = np.isfinite(covariates)
    return np.where(known, covariates, np.nanmedian(np.where(known.any(axis=0), covariates, 0), axis=0))


def _change_elsewhere(
    store: Store, data: PairData, genes: npt.NDArray[np.intp], without: Sequence[str]
) -> Vector | None:
    """Mean over the store's cells C but A, B and those `without` of log2fc(A, C); None without such a cell.

    C's values are those of `genes`, one for each gene of the store.
    """
    others = [
        np.log2(store.expression(cell, data.unit)[genes] + 1)
        for cell in store.cells()
        if cell not in (*data.cells, *without) and data.unit in store.expression_units(cell)
    ]
    if not others:
        return None
    changes = np.stack(others) - data.expr_a
    known = np.isfinite(changes)
    total = np.where(known, changes, 0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)

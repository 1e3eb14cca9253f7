"""Support vector regression a bin, and a second layer on top (Cheng and Gerstein 2012)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.features import Scaler
from diffchrom.baselines.kernel_svr import SOLVER, Kernel, rbf_kernel, solve_path
from diffchrom.baselines.method import (
    Context,
    Examples,
    Grid,
    Matrix,
    Prediction,
    Predictor,
    Vector,
    require_genes,
    selection_score,
)
from diffchrom.errors import RunError
from diffchrom.files.records import NOT_KEPT, read_record, write_record
from diffchrom.genome.genes import Signal

FOLDS = 5
#: Bins on each side of the TSS and of the transcript's end; without the latter, twice as many at the TSS.
FLANK_BINS = 40
#: Seconds between two writings of finished bins: a file costs more than a bin of few genes.
KEPT_EVERY = 5.0
#: Kernel matrices held at a time, in bytes.
KERNEL_BYTES = 6 * 1024**3
_PREDICTED_AT_A_TIME = 4096


def has_tes(genes: Examples) -> bool:
    """Whether there is signal around the transcript's end, half of the bins then."""
    return genes.tes_a is not None and genes.tes_b is not None


def flanking_bins(genes: Examples, with_tes: bool) -> Signal:
    """B - A of the bins around TSS and, `with_tes`, transcript's end; float32 [n_genes, n_marks, n_bins]."""
    a, b = flanking_signal(genes, with_tes)
    return b - a


def flanking_signal(genes: Examples, with_tes: bool) -> tuple[Signal, Signal]:
    """Signal of A and of B in those bins."""
    if not with_tes:
        return _central(genes.signal_a, 2 * FLANK_BINS), _central(genes.signal_b, 2 * FLANK_BINS)
    if genes.tes_a is None or genes.tes_b is None:
        raise RunError(
            "was fitted on bins around the transcript's end too, which the store lacks; "
            "add them with `prepare_store(regions=tes_bins)`"
        )

    def both_ends(tss: Signal, tes: Signal) -> Signal:
        return np.concatenate([_central(tss, FLANK_BINS), _central(tes, FLANK_BINS)], axis=2)

    return both_ends(genes.signal_a, genes.tes_a), both_ends(genes.signal_b, genes.tes_b)


def _central(signal: Signal, flank: int) -> Signal:
    middle = signal.shape[2] // 2
    return signal[:, :, max(0, middle - flank) : middle + flank]


def fold_numbers(n: int, seed: int) -> npt.NDArray[np.int64]:
    """Fold 0 .. FOLDS - 1 of each gene, at random, of equal sizes."""
    return np.random.default_rng(seed).permutation(n) % FOLDS


@dataclass(frozen=True)
class CrossValidated:
    """A support vector regression whose C was chosen by cross-validation.

    Attributes
    ----------
    penalty : C.
    score : `selection_score` of the out-of-fold predictions.
    out_of_fold : float64 [n_genes], each gene predicted by the fit that did not see it.
    beta, bias : of the fit on all genes.
    converged : whether every fit reached its tolerance.
    """

    penalty: float
    score: float
    out_of_fold: Vector
    beta: Vector
    bias: float
    converged: bool


def choose_penalty(
    kernel: Kernel, labels: Vector, folds: npt.NDArray[np.int64], penalties: tuple[float, ...]
) -> CrossValidated:
    """Choose C by the out-of-fold r, then fit all genes with it."""
    held_out = np.zeros((len(penalties), len(labels)))
    converged = True
    for fold in range(FOLDS):
        outside = folds != fold
        for row, solution in zip(held_out, solve_path(kernel, labels, outside, penalties), strict=True):
            row[~outside] = solution.fitted[~outside]
            converged &= solution.converged
    scores = [selection_score(labels, row) for row in held_out]
    best = int(np.argmax(scores))
    final = solve_path(kernel, labels, np.ones(len(labels), dtype=bool), penalties[best : best + 1])[0]
    return CrossValidated(
        penalties[best],
        scores[best],
        held_out[best],
        final.beta,
        final.bias,
        converged and final.converged,
    )


@dataclass(frozen=True)
class Bin:
    """The first layer's regression of one bin."""

    features: Scaler
    fit: CrossValidated


@dataclass(frozen=True)
class SupportVectors:
    """A fitted regression: f(x) = sum_i weights_i k(known_i, scaled x) + bias.

    Attributes
    ----------
    scaler : of the features.
    known : float32 [n_support, n_features], scaled features of the training genes that count.
    weights : float32 [n_support]
    bias : float
    precise : whether its kernel is computed in float64 (`rbf_kernel`).
    """

    scaler: Scaler
    known: Signal
    weights: Signal
    bias: float
    precise: bool = False

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit each other, with ValueError."""
        if self.known.shape != (*self.weights.shape, *self.scaler.mean.shape) or self.known.ndim != 2:
            raise ValueError("support vectors and their weights or scales differ in number")

    @classmethod
    def of(
        cls, scaler: Scaler, scaled: Matrix, fit: CrossValidated, *, precise: bool = False
    ) -> SupportVectors:
        """Keep what predicting needs of a fit to scaled features [n_genes, n_features]."""
        support = fit.beta != 0
        weights = fit.beta[support].astype(np.float32)
        return cls(scaler, scaled[support].astype(np.float32), weights, fit.bias, precise)

    def predict(self, features: Matrix | Signal) -> Vector:
        """Predict from features [n_genes, n_features] that are not scaled yet."""
        new = self.scaler.apply(features)
        result = np.empty(len(new))
        for first in range(0, len(new), _PREDICTED_AT_A_TIME):
            rows = slice(first, first + _PREDICTED_AT_A_TIME)
            kernel = rbf_kernel(new[rows], self.known, 1 / new.shape[1], _kind(not self.precise))
            result[rows] = kernel @ self.weights
        return result + self.bias


@dataclass(frozen=True)
class FirstLayer:
    """Regressions of all bins on the training genes.

    Attributes
    ----------
    train : float32 [n_genes, n_marks, n_bins]
    with_tes : whether half of the bins flank the transcript's end.
    centre, spread : of the training labels; 0 and 1 where nothing is standardised.
    bins : one regression each.
    standardised : whether labels and features are.
    """

    train: Signal
    with_tes: bool
    centre: float
    spread: float
    bins: tuple[Bin, ...]
    standardised: bool

    def support(self, number: int) -> SupportVectors:
        """What predicting by one bin needs."""
        fitted = self.bins[number]
        features = fitted.features.apply(self.train[:, :, number])
        return SupportVectors.of(fitted.features, features, fitted.fit, precise=not self.standardised)


def _kind(standardised: bool) -> type[np.floating[Any]]:
    """Precision of the first layer's kernels."""
    return np.float32 if standardised else np.float64


def fit_bins(train: Examples, grid: Grid, context: Context) -> FirstLayer:
    """Fit every bin, several at a time; finished bins are kept in the context's folder."""
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    require_genes(train, 2 * FOLDS, f"support vector regression with {FOLDS} folds")
    with_tes = has_tes(train)
    signal = flanking_bins(train, with_tes)
    n_genes, _, n_bins = signal.shape
    (standardise,) = grid["standardise"]
    spread = (float(train.log2fc.std()) or 1.0) if standardise else 1.0
    centre = float(train.log2fc.mean()) if standardise else 0.0
    labels = (train.log2fc - centre) / spread
    folds = fold_numbers(n_genes, context.seed)

    def fit_bin(number: int) -> tuple[int, Bin]:
        scaler = _scaler(signal[:, :, number], grid)
        features = scaler.apply(signal[:, :, number])
        kernel = rbf_kernel(features, features, 1 / features.shape[1], _kind(standardise))
        return number, Bin(scaler, choose_penalty(kernel, labels, folds, grid["C"]))

    bins = _kept_bins(context, n_bins, n_genes)
    missing = [number for number in range(n_bins) if number not in bins]
    if SOLVER.missing:
        context.reporter.note(f"{SOLVER.missing}; scikit-learn's takes its place, far slower")
    # Threads, not processes: the solvers release the GIL and the kernels stay in one memory.
    workers = max(1, min(context.threads, KERNEL_BYTES // (4 * n_genes * n_genes + 1)))
    with context.reporter.task("SVR a bin", n_bins) as task, threadpool_limits(limits=1):
        task.advance(len(bins))
        parallel = Parallel(n_jobs=workers, backend="threading", return_as="generator_unordered")
        unwritten, written = [], time.monotonic()
        for number, fitted in parallel(delayed(fit_bin)(number) for number in missing):
            bins[number] = fitted
            unwritten.append(number)
            if context.folder is not None and time.monotonic() - written > KEPT_EVERY:
                for finished in unwritten:
                    write_record(context.folder / _piece(finished), bins[finished])
                unwritten, written = [], time.monotonic()
            task.advance(1, f"bin {number + 1}: r {fitted.fit.score:.3f}")
    unconverged = sum(not fitted.fit.converged for fitted in bins.values())
    if unconverged:
        context.reporter.warn(f"{unconverged} of {n_bins} bins stopped before the solver's tolerance")
    bins_in_order = tuple(bins[number] for number in range(n_bins))
    return FirstLayer(signal, with_tes, centre, spread, bins_in_order, standardise)


def _scaler(features: Matrix | Signal, grid: Grid) -> Scaler:
    return Scaler.fit(features) if grid["standardise"][0] else Scaler.unit(features.shape[1])


def _piece(number: int) -> str:
    return f"bin-{number + 1}.safetensors"


def _kept_bins(context: Context, n_bins: int, n_genes: int) -> dict[int, Bin]:
    if context.folder is None:
        return {}
    kept = {}
    for number in range(n_bins):
        # A piece that is missing, damaged or of other genes is fitted again.
        with contextlib.suppress(OSError, ValueError):
            fitted = read_record(context.folder / _piece(number), Bin)
            if len(fitted.fit.beta) == n_genes:
                kept[number] = fitted
    if kept:
        context.reporter.note(f"going on after {len(kept)} of {n_bins} bins")
    return kept


@dataclass(frozen=True)
class BestBin:
    """The one bin with the best out-of-fold r: its number from 0, and what was chosen with it."""

    number: int
    support: SupportVectors
    with_tes: bool
    centre: float
    spread: float
    chosen: Mapping[str, Any]

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        predicted = self.support.predict(flanking_bins(genes, self.with_tes)[:, :, self.number])
        return Prediction(predicted * self.spread + self.centre)


def best_bin(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit one regression a bin and keep the best by out-of-fold r."""
    layer = fit_bins(train, grid, context)
    number = int(np.argmax([one.fit.score for one in layer.bins]))
    fit = layer.bins[number].fit
    chosen = {"bin": number + 1, "C": fit.penalty, "out_of_fold_r": fit.score}
    return BestBin(number, layer.support(number), layer.with_tes, layer.centre, layer.spread, chosen)


@dataclass(frozen=True)
class TwoLayer:
    """A regression on the predictions of all bins.

    Attributes
    ----------
    bins : the first layer.
    second : on the predictions of all bins.
    with_tes, centre, spread : as of `FirstLayer`.
    chosen : C of the second layer and of each bin, and their out-of-fold r.
    threads : cores to predict with; of no consequence for the result.
    """

    bins: tuple[SupportVectors, ...]
    second: SupportVectors
    with_tes: bool
    centre: float
    spread: float
    chosen: Mapping[str, Any]
    threads: int = field(default=1, metadata=NOT_KEPT)

    def __post_init__(self) -> None:
        """Refuse layers that do not fit each other, with ValueError."""
        if len(self.bins) != len(self.second.scaler.mean):
            raise ValueError("the two layers differ in their bins")

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        features = np.stack(list(self._first(flanking_bins(genes, self.with_tes))), axis=1)
        return Prediction(self.second.predict(features) * self.spread + self.centre)

    def _first(self, signal: Signal) -> Iterator[Vector]:
        from joblib import Parallel, delayed
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            parallel = Parallel(n_jobs=self.threads, backend="threading", return_as="generator")
            yield from parallel(
                delayed(support.predict)(signal[:, :, number]) for number, support in enumerate(self.bins)
            )


def two_layer(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit one regression a bin, and a second one on their out-of-fold predictions."""
    layer = fit_bins(train, grid, context)
    out_of_fold = np.stack([one.fit.out_of_fold for one in layer.bins], axis=1)
    scaler = _scaler(out_of_fold, grid)
    scaled = scaler.apply(out_of_fold)
    labels = (train.log2fc - layer.centre) / layer.spread
    # Other folds than the first layer's: a gene's features come from genes outside its own first fold.
    folds = fold_numbers(len(train), context.seed + 1)
    with context.reporter.task("SVR, second layer") as task:
        kernel = rbf_kernel(scaled, scaled, 1 / scaled.shape[1])
        fit = choose_penalty(kernel, labels, folds, grid["C"])
        task.advance(1, f"r {fit.score:.3f}")
    chosen = {
        "C": fit.penalty,
        "out_of_fold_r": fit.score,
        "bin_C": [one.fit.penalty for one in layer.bins],
        "bin_out_of_fold_r": [one.fit.score for one in layer.bins],
    }
    bins = tuple(layer.support(number) for number in range(len(layer.bins)))
    second = SupportVectors.of(scaler, scaled, fit)
    return TwoLayer(bins, second, layer.with_tes, layer.centre, layer.spread, chosen, context.threads)

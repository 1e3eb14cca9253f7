"""Support vector regression a bin, and a second layer on top (Cheng and Gerstein 2012)."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.features import Scaler
from diffchrom.baselines.kernel_svr import Kernel, compiled, rbf_kernel, solve_path
from diffchrom.baselines.method import (
    Context,
    Examples,
    Grid,
    Matrix,
    Prediction,
    Predictor,
    Signal,
    Vector,
    require_genes,
)
from diffchrom.files.whole import write_bytes
from diffchrom.metrics import pearson

FOLDS = 5
#: Bins on each side of the TSS and of the transcript's end; without the latter, twice as many at the TSS.
FLANK_BINS = 40
#: Seconds between two writings of finished bins: a file costs more than a bin of few genes.
KEPT_EVERY = 5.0
#: Kernel matrices held at a time, in bytes.
KERNEL_BYTES = 6 * 1024**3
_PREDICTED_AT_A_TIME = 4096


def flanking_bins(genes: Examples) -> Signal:
    """B - A of the bins around TSS and transcript's end; float32 [n_genes, n_marks, n_bins]."""
    if genes.tes_a is None or genes.tes_b is None:
        return _central(genes.signal_b - genes.signal_a, 2 * FLANK_BINS)
    around_tss = _central(genes.signal_b - genes.signal_a, FLANK_BINS)
    return np.concatenate([around_tss, _central(genes.tes_b - genes.tes_a, FLANK_BINS)], axis=2)


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
    score : Pearson r of the out-of-fold predictions; -1 where it is undefined.
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


def cross_validate(
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
    scores = [_defined(pearson(labels, row)) for row in held_out]
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


def _defined(score: float) -> float:
    return score if np.isfinite(score) else -1.0


@dataclass(frozen=True)
class Bin:
    """The first layer's regression of one bin."""

    features: Scaler
    fit: CrossValidated

    def to_bytes(self) -> bytes:
        """Content of a piece's file."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            mean=self.features.mean,
            scale=self.features.scale,
            numbers=np.array([self.fit.penalty, self.fit.score, self.fit.bias, self.fit.converged]),
            out_of_fold=self.fit.out_of_fold,
            beta=self.fit.beta,
        )
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path, n_genes: int) -> Bin | None:
        """Read a piece; None where there is none, or none of this many genes."""
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                mean, scale, numbers = stored["mean"], stored["scale"], stored["numbers"]
                out_of_fold, beta = stored["out_of_fold"], stored["beta"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        if beta.shape != (n_genes,) or out_of_fold.shape != (n_genes,) or numbers.shape != (4,):
            return None
        penalty, score, bias, converged = numbers.tolist()
        fit = CrossValidated(penalty, score, out_of_fold, beta, bias, bool(converged))
        return cls(Scaler(mean, scale), fit)


@dataclass(frozen=True)
class FirstLayer:
    """Regressions of all bins, and the training genes that their kernels need.

    Attributes
    ----------
    train : float32 [n_genes, n_marks, n_bins]
    centre, spread : of the training labels; 0 and 1 where nothing is standardised.
    bins : one regression each.
    standardised : whether labels and features are.
    """

    train: Signal
    centre: float
    spread: float
    bins: tuple[Bin, ...]
    standardised: bool

    def predict(self, signal: Signal, number: int) -> Vector:
        """log2fc less `centre` over `spread` by one bin, for `signal` [n_genes, n_marks, n_bins]."""
        one = self.bins[number]
        support = one.fit.beta != 0
        known = one.features.apply(self.train[support, :, number])
        new = one.features.apply(signal[:, :, number])
        weights = one.fit.beta[support].astype(np.float32)
        result = np.empty(len(signal))
        for first in range(0, len(signal), _PREDICTED_AT_A_TIME):
            rows = slice(first, first + _PREDICTED_AT_A_TIME)
            kernel = rbf_kernel(new[rows], known, 1 / new.shape[1], _kind(self.standardised))
            result[rows] = kernel @ weights
        return result + one.fit.bias


def _kind(standardised: bool) -> type[np.floating[Any]]:
    """Precision of the first layer's kernels."""
    return np.float32 if standardised else np.float64


def fit_bins(train: Examples, grid: Grid, context: Context) -> FirstLayer:
    """Fit every bin, several at a time; finished bins are kept in the context's folder."""
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    require_genes(train, 2 * FOLDS, f"support vector regression with {FOLDS} folds")
    signal = flanking_bins(train)
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
        return number, Bin(scaler, cross_validate(kernel, labels, folds, grid["C"]))

    bins = _kept_bins(context, n_bins, n_genes)
    missing = [number for number in range(n_bins) if number not in bins]
    if not compiled():
        context.reporter.note("the compiled solver was not built; scikit-learn's takes its place, far slower")
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
                    write_bytes(context.folder / _piece(finished), bins[finished].to_bytes())
                unwritten, written = [], time.monotonic()
            task.advance(1, f"bin {number + 1}: r {fitted.fit.score:.3f}")
    unconverged = sum(not fitted.fit.converged for fitted in bins.values())
    if unconverged:
        context.reporter.warn(f"{unconverged} of {n_bins} bins stopped before the solver's tolerance")
    return FirstLayer(signal, centre, spread, tuple(bins[number] for number in range(n_bins)), standardise)


def _scaler(features: Matrix | Signal, grid: Grid) -> Scaler:
    return Scaler.fit(features) if grid["standardise"][0] else Scaler.unit(features.shape[1])


def _piece(number: int) -> str:
    return f"bin-{number + 1}.npz"


def _kept_bins(context: Context, n_bins: int, n_genes: int) -> dict[int, Bin]:
    if context.folder is None:
        return {}
    read = {number: Bin.read(context.folder / _piece(number), n_genes) for number in range(n_bins)}
    kept = {number: fitted for number, fitted in read.items() if fitted is not None}
    if kept:
        context.reporter.note(f"going on after {len(kept)} of {n_bins} bins")
    return kept


@dataclass(frozen=True)
class BestBin:
    """The one bin with the best out-of-fold r."""

    layer: FirstLayer
    number: int

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The bin (1-based), its C and its r."""
        fit = self.layer.bins[self.number].fit
        return {"bin": self.number + 1, "C": fit.penalty, "out_of_fold_r": fit.score}

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        predicted = self.layer.predict(flanking_bins(genes), self.number)
        return Prediction(predicted * self.layer.spread + self.layer.centre)


def best_bin(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit one regression a bin and keep the best by out-of-fold r."""
    layer = fit_bins(train, grid, context)
    scores = [one.fit.score for one in layer.bins]
    return BestBin(layer, int(np.argmax(scores)))


@dataclass(frozen=True)
class TwoLayer:
    """A regression on the predictions of all bins."""

    layer: FirstLayer
    scaler: Scaler
    known: Matrix
    fit: CrossValidated
    threads: int

    @property
    def chosen(self) -> Mapping[str, Any]:
        """C of the second layer and of each bin, and their out-of-fold r."""
        return {
            "C": self.fit.penalty,
            "out_of_fold_r": self.fit.score,
            "bin_C": [one.fit.penalty for one in self.layer.bins],
            "bin_out_of_fold_r": [one.fit.score for one in self.layer.bins],
        }

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        features = self.scaler.apply(np.stack(list(self._first(flanking_bins(genes))), axis=1))
        support = self.fit.beta != 0
        known, weights = self.known[support], self.fit.beta[support].astype(np.float32)
        result = np.empty(len(features))
        for first in range(0, len(features), _PREDICTED_AT_A_TIME):
            rows = slice(first, first + _PREDICTED_AT_A_TIME)
            result[rows] = rbf_kernel(features[rows], known, 1 / features.shape[1]) @ weights
        return Prediction((result + self.fit.bias) * self.layer.spread + self.layer.centre)

    def _first(self, signal: Signal) -> Iterator[Vector]:
        from joblib import Parallel, delayed
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            parallel = Parallel(n_jobs=self.threads, backend="threading", return_as="generator")
            numbers = range(len(self.layer.bins))
            yield from parallel(delayed(self.layer.predict)(signal, number) for number in numbers)


def two_layer(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit one regression a bin, and a second one on their out-of-fold predictions."""
    layer = fit_bins(train, grid, context)
    out_of_fold = np.stack([one.fit.out_of_fold for one in layer.bins], axis=1)
    scaler = _scaler(out_of_fold, grid)
    known = scaler.apply(out_of_fold)
    labels = (train.log2fc - layer.centre) / layer.spread
    # Other folds than the first layer's: a gene's features come from genes outside its own first fold.
    folds = fold_numbers(len(train), context.seed + 1)
    with context.reporter.task("SVR, second layer") as task:
        kernel = rbf_kernel(known, known, 1 / known.shape[1])
        fit = cross_validate(kernel, labels, folds, grid["C"])
        task.advance(1, f"r {fit.score:.3f}")
    return TwoLayer(layer, scaler, known, fit, context.threads)

"""From binned signal to the feature matrices of methods that know no sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffchrom.baselines.method import Examples, Matrix, Vector
from diffchrom.genome.genes import IntArray, Signal


def feature_edges(n_bins: int, n_windows: int, merge: int) -> IntArray:
    """Where features begin on the last axis of a signal, and where the last one ends; [n_features + 1].

    A feature is `merge` neighbouring bins around the TSS, the last one fewer where `merge` does not divide
    the bins; or a window of a further region, which is wide enough as it is.
    """
    return np.concatenate([np.arange(0, n_bins, merge), np.arange(n_bins, n_windows + 1)])


def log2_merged(signal: Signal, merge: int, n_bins: int | None = None) -> Signal:
    """Average `merge` neighbouring bins, then log2(x + 1); float32 [n_genes, n_marks * features a mark].

    The first `n_bins` windows are the bins (`feature_edges`), or all. Negative signal (a log ratio) keeps
    its sign.
    """
    n_windows = signal.shape[2]
    edges = feature_edges(n_windows if n_bins is None else n_bins, n_windows, merge)
    merged = np.add.reduceat(signal, edges[:-1], axis=2) if merge > 1 else signal
    merged = merged / np.diff(edges).astype(np.float32)
    result = np.copysign(np.log2(np.abs(merged) + 1), merged)
    return np.asarray(result.reshape(len(signal), -1), dtype=np.float32)


def log2_difference(genes: Examples, merge: int) -> Signal:
    """`log2_merged` of B less that of A."""
    return log2_merged(genes.signal_b, merge) - log2_merged(genes.signal_a, merge)


def both_and_difference(genes: Examples, merge: int) -> Signal:
    """log2 merged signal of A, of B, and B - A; float32 [n_genes, 3 * n_marks * features a mark].

    Covariates, where there are any, follow.
    """
    a, b = (log2_merged(signal, merge, genes.n_bins) for signal in (genes.signal_a, genes.signal_b))
    return np.concatenate([a, b, b - a, *([] if genes.covariates is None else [genes.covariates])], axis=1)


def merges(n_bins: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Those of the wanted numbers of neighbouring bins that a window of `n_bins` allows; at least one."""
    return tuple(merge for merge in wanted if merge <= n_bins) or (1,)


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of every feature over the training genes; constant features become 0."""

    mean: Vector
    scale: Vector

    def __post_init__(self) -> None:
        """Refuse arrays of different lengths with ValueError."""
        if self.mean.ndim != 1 or self.mean.shape != self.scale.shape:
            raise ValueError("means and scales differ in number")

    @classmethod
    def fit(cls, features: Matrix | Signal) -> Scaler:
        """Fit on the training genes' features [n_genes, n_features]."""
        mean = features.mean(axis=0, dtype=np.float64)
        deviation = features.std(axis=0, dtype=np.float64)
        constant = deviation <= 1e-7 * np.maximum(np.abs(mean), 1e-30)
        return cls(mean, np.where(constant, np.inf, deviation))

    @classmethod
    def unit(cls, n_features: int) -> Scaler:
        """Leave features as they are."""
        return cls(np.zeros(n_features), np.ones(n_features))

    def apply(self, features: Matrix | Signal) -> Matrix:
        """Return the scaled features, float64."""
        return np.asarray((features - self.mean) / self.scale, dtype=np.float64)

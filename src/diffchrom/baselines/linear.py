"""Ridge regression on log2 signal of both cells and their difference.

The three blocks a, b, b - a span only two dimensions a bin. With M = P P' for the standardised blocks
written as (a, b) P, ridge on (a, b) L with L L' = M (Cholesky, 2 x 2 a bin) has the same kernel, hence the
same predictions, at two thirds of the features: 0.3 of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.features import Scaler, log2_merged, merges
from diffchrom.baselines.method import (
    Context,
    Examples,
    Grid,
    Matrix,
    Prediction,
    Predictor,
    Vector,
    require_genes,
)
from diffchrom.errors import StoreError


@dataclass(frozen=True)
class RidgeFit:
    """Ridge regression with the penalty that leave-one-out prefers.

    Attributes
    ----------
    coefficients : float64 [n_features]
    intercept : float
    alpha : float
    error : float
        Leave-one-out mean squared error.
    """

    coefficients: Vector
    intercept: float
    alpha: float
    error: float


def fit_ridge(features: Matrix, labels: Vector, alphas: tuple[float, ...]) -> RidgeFit:
    """Minimise |y - X w - w0|^2 + alpha |w|^2 for the alpha of least exact leave-one-out error.

    One eigendecomposition, of X'X or XX' (the smaller), serves all alphas: the residual of gene i when it
    is left out is r_i / (1 - h_i), h_i the diagonal of the hat matrix.
    """
    centre = features.mean(axis=0)
    x = features - centre
    y = labels - labels.mean()
    n, p = x.shape
    penalties = np.asarray(alphas)
    if p <= n:
        eigenvalues, vectors = np.linalg.eigh(x.T @ x)
        scores = x @ vectors  # [n, p], squared column norms are the eigenvalues
        shrunk = 1 / (np.maximum(eigenvalues, 0)[:, None] + penalties)
        fitted = scores @ (shrunk * (scores.T @ y)[:, None])
        leverage = np.square(scores) @ shrunk
        weights = vectors @ (shrunk * (scores.T @ y)[:, None])
    else:
        eigenvalues, vectors = np.linalg.eigh(x @ x.T)
        eigenvalues = np.maximum(eigenvalues, 0)
        shrunk = 1 / (eigenvalues[:, None] + penalties)
        projected = (vectors.T @ y)[:, None]
        fitted = vectors @ (eigenvalues[:, None] * shrunk * projected)
        leverage = np.square(vectors) @ (eigenvalues[:, None] * shrunk)
        weights = x.T @ (vectors @ (shrunk * projected))
    left_out = (y[:, None] - fitted) / np.maximum(1 - leverage - 1 / n, 1e-9)
    errors = np.square(left_out).mean(axis=0)
    best = int(np.argmin(errors))
    coefficients = np.ascontiguousarray(weights[:, best])
    intercept = float(labels.mean() - centre @ coefficients)
    return RidgeFit(coefficients, intercept, float(penalties[best]), float(errors[best]))


@dataclass(frozen=True)
class PairFeatures:
    """Features whose inner product is that of the standardised log2 signal of A, of B and of B - A."""

    merge: int
    a: Scaler
    b: Scaler
    factors: npt.NDArray[np.float64]  # [3, n_features]: L00, L10, L11

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit each other, with ValueError."""
        if self.merge < 1 or not self.a.mean.shape == self.b.mean.shape == self.factors.shape[1:]:
            raise ValueError("the features of the two cells differ in number")

    @classmethod
    def fit(cls, genes: Examples, merge: int) -> PairFeatures:
        """Fit the scales on the training genes."""
        a, b = (log2_merged(signal, merge, genes.n_bins) for signal in (genes.signal_a, genes.signal_b))
        scale_a, scale_b, scale_d = Scaler.fit(a), Scaler.fit(b), Scaler.fit(b - a)
        # The standardised difference is (s_b v - s_a u) / s_d of the standardised u and v.
        finite_a, finite_b = (np.where(np.isinf(s.scale), 0, s.scale) for s in (scale_a, scale_b))
        on_a, on_b = -finite_a / scale_d.scale, finite_b / scale_d.scale
        l00 = np.sqrt(1 + on_a * on_a)
        l10 = on_a * on_b / l00
        l11 = np.sqrt(1 + on_b * on_b - l10 * l10)
        return cls(merge, scale_a, scale_b, np.stack([l00, l10, l11]))

    def apply(self, genes: Examples) -> Matrix:
        """Features [n_genes, 2 * n_marks * features a mark]."""
        u = self.a.apply(log2_merged(genes.signal_a, self.merge, genes.n_bins))
        v = self.b.apply(log2_merged(genes.signal_b, self.merge, genes.n_bins))
        l00, l10, l11 = self.factors
        return np.concatenate([u * l00 + v * l10, v * l11], axis=1)


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge regression."""

    features: PairFeatures
    fit: RidgeFit

    @property
    def chosen(self) -> Mapping[str, Any]:
        """Bins merged, penalty, and the error by which they were chosen."""
        return {
            "merge": self.features.merge,
            "alpha": self.fit.alpha,
            "leave_one_out_mse": self.fit.error,
        }

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        return Prediction(self.features.apply(genes) @ self.fit.coefficients + self.fit.intercept)


@dataclass(frozen=True)
class RidgeWithCovariates:
    """A fitted ridge regression that reads covariates, standardised, behind the features of the signal."""

    features: PairFeatures
    covariates: Scaler
    fit: RidgeFit

    @property
    def chosen(self) -> Mapping[str, Any]:
        """As of `Ridge`."""
        return Ridge(self.features, self.fit).chosen

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        if genes.covariates is None:
            raise StoreError("this ridge was fitted with covariates, and the genes have none")
        features = [self.features.apply(genes), self.covariates.apply(genes.covariates)]
        return Prediction(np.concatenate(features, axis=1) @ self.fit.coefficients + self.fit.intercept)


def _fit_one(train: Examples, merge: int, alphas: tuple[float, ...]) -> Ridge | RidgeWithCovariates:
    features = PairFeatures.fit(train, merge)
    if train.covariates is None:
        return Ridge(features, fit_ridge(features.apply(train), train.log2fc, alphas))
    scaler = Scaler.fit(train.covariates)
    both = np.concatenate([features.apply(train), scaler.apply(train.covariates)], axis=1)
    return RidgeWithCovariates(features, scaler, fit_ridge(both, train.log2fc, alphas))


def ridge(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit ridge for every number of bins merged around the TSS and keep the least leave-one-out error."""
    require_genes(train, 3, "ridge")
    candidates = []
    sizes = merges(train.n_bins, grid["merge"])
    with context.reporter.task("ridge", len(sizes)) as task:
        for merge in sizes:
            candidates.append(_fit_one(train, merge, grid["alpha"]))
            error = candidates[-1].fit.error
            task.advance(1, f"{merge} bins merged, leave-one-out MSE {error:.4g}")
    return min(candidates, key=lambda candidate: candidate.fit.error)

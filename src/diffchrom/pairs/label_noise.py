"""How uncertain measured changes are: standard errors from replicates, and the r that they leave possible.

With y = log2(x + 1) of each replicate, gene g of a cell with n replicates has the sample variance s2 of y, of
n - 1 degrees of freedom; those of the two cells are pooled, weighted by degrees of freedom (d in all). Two or
three replicates say little about one gene, so s2 is shrunk towards what genes of its expression have, as in
limma-trend: s2' = (d0 s0^2 + d s2) / (d0 + d), with d0 and s0^2 from the moments of log s2 (Smyth 2004,
Statistical Applications in Genetics and Molecular Biology 3:3, section 6.2; Law et al. 2014, Genome Biology
15:R29 for the trend). The standard error of log2fc is sqrt(s2' (1 / n_A + 1 / n_B)): to first order (delta
method) log2(mean + 1), from which log2fc is made, and the mean of log2(x + 1) have the same variance.

A moderated variance is the better guess for one gene, and so weighs genes. Averaged over genes it is too
small where genes differ in their variance, since the prior is fitted on logarithms; the ceiling takes
s_A^2 / n_A + s_B^2 / n_B, unbiased gene by gene.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Genes of a stretch of the trend, and stretches at most.
_GENES_A_STRETCH, _STRETCHES = 100, 20
#: Degrees of freedom of the prior from which it is as good as certain.
_CERTAIN = 1e6


def log2fc_se(
    replicates_a: Array | None, replicates_b: Array | None, fitted_on: Mask | None = None
) -> Array | None:
    """Standard error of log2((B + 1) / (A + 1)) from replicates, moderated.

    Parameters
    ----------
    replicates_a, replicates_b : float64 [n_genes, n_replicates]
        Expression on the natural scale, NaN where unknown; None for a cell without replicates, which is then
        taken to vary as the other one does.
    fitted_on : bool [n_genes]
        Genes from which the prior is learnt (the training genes, where others are to be predicted); None is
        all.

    Returns
    -------
    float64 [n_genes] or None
        NaN where a cell's expression is unknown; None where no gene has two known replicates of a cell.
    """
    spread = _log_spreads(replicates_a, replicates_b)
    freedom = np.sum([cell.freedom for cell in spread], axis=0)
    if not (freedom > 0).any():
        return None
    squares = np.sum([cell.squares for cell in spread], axis=0)
    replicated = [
        cell.mean
        for cell, values in zip(spread, (replicates_a, replicates_b), strict=True)
        if values is not None
    ]
    variance = shrunken_variance(squares, freedom, np.mean(replicated, axis=0), fitted_on)
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt(variance * np.sum([1 / cell.n for cell in spread], axis=0))
    return np.where(np.isfinite(se) & (se > 0), se, np.nan)


def log2fc_error_variance(replicates_a: Array | None, replicates_b: Array | None) -> Array | None:
    """Variance of the error of log2((B + 1) / (A + 1)), unbiased for each gene and far from sure of any.

    Parameters
    ----------
    replicates_a, replicates_b : as of `log2fc_se`.

    Returns
    -------
    float64 [n_genes] or None
        A cell of fewer than two known replicates is taken to vary as the other one does; NaN where neither
        has two, or a cell's expression is unknown. None where that is so of all genes.
    """
    spread = _log_spreads(replicates_a, replicates_b)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_a, of_b = (cell.squares / cell.freedom for cell in spread)
        first, second = (np.where(np.isnan(own), other, own) for own, other in ((of_a, of_b), (of_b, of_a)))
        variance = first / spread[0].n + second / spread[1].n
    variance = np.where(np.isfinite(variance), variance, np.nan)
    return None if np.isnan(variance).all() else np.asarray(variance)


@dataclass(frozen=True)
class _Spread:
    """Replicates of one cell on the log scale: number known, mean, squared deviations, degrees of freedom."""

    n: Array
    mean: Array
    squares: Array
    freedom: Array


def _log_spreads(replicates_a: Array | None, replicates_b: Array | None) -> list[_Spread]:
    """Spread of both cells; one without replicates has a single measurement of every gene."""
    n_genes = next((len(values) for values in (replicates_a, replicates_b) if values is not None), 0)
    ones, zeros = np.ones(n_genes), np.zeros(n_genes)
    single = _Spread(ones, np.full(n_genes, np.nan), zeros, zeros)
    return [single if values is None else _log_spread(values) for values in (replicates_a, replicates_b)]


def _log_spread(values: Array) -> _Spread:
    y = np.log2(values + 1)
    known = np.isfinite(y)
    n = known.sum(axis=1).astype(np.float64)
    mean = np.full(len(y), np.nan)
    np.divide(np.where(known, y, 0).sum(axis=1), n, out=mean, where=n > 0)
    squares = np.where(known, (y - mean[:, None]) ** 2, 0).sum(axis=1)
    return _Spread(n, mean, squares, np.maximum(n - 1, 0))


def shrunken_variance(squares: Array, freedom: Array, level: Array, fitted_on: Mask | None = None) -> Array:
    """Moderated variances (Smyth 2004) with a prior that follows `level` (limma-trend).

    Parameters
    ----------
    squares : float64 [n_genes]; sums of squared deviations.
    freedom : their degrees of freedom; genes with 0 get the prior.
    level : mean log expression, along which the prior varies.
    fitted_on : bool [n_genes]; genes from which the prior is learnt, None is all.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = squares / freedom
    # All-zero genes have no variance to learn from.
    used = (freedom > 0) & (variance > 0) & np.isfinite(level)
    if fitted_on is not None:
        used &= fitted_on
    if not used.any():
        return np.zeros(len(squares))
    from scipy.special import digamma, polygamma

    d = freedom[used]
    e = np.log(variance[used]) - digamma(d / 2) + np.log(d / 2)
    trend = _trend(level[used], e)
    fitted = np.interp(np.where(np.isfinite(level), level, level[used].mean()), *trend)
    n = len(d)
    excess = float(np.mean((e - np.interp(level[used], *trend)) ** 2) * n / max(n - len(trend[0]), 1))
    excess -= float(np.mean(polygamma(1, d / 2)))
    d0 = 2 * _inverse_trigamma(excess) if excess > 0 else _CERTAIN
    d0 = min(d0, _CERTAIN)
    prior = np.exp(fitted + digamma(d0 / 2) - np.log(d0 / 2))
    return np.asarray((d0 * prior + squares) / (d0 + freedom))


def _trend(level: Array, values: Array) -> tuple[Array, Array]:
    """Means of `values` in stretches of equal numbers of genes along `level`."""
    order = np.argsort(level, kind="stable")
    n = max(1, min(_STRETCHES, len(level) // _GENES_A_STRETCH))
    parts = np.array_split(order, n)
    return np.array([level[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def _inverse_trigamma(value: float) -> float:
    """Solve trigamma(y) = value by Newton's method, as in Smyth 2004, appendix."""
    from scipy.special import polygamma

    if value > 1e7:
        return float(1 / np.sqrt(value))
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, y))
        y += step
        if -step / y < 1e-8:
            break
    return y


@dataclass(frozen=True)
class NoiseCeiling:
    """How well measured changes can be predicted at all.

    Attributes
    ----------
    n : int
        Genes with a known change and variance of its error; everything else here is of these alone.
    mean_squared_se : float
        Variance of the measurement's error, averaged over these genes.
    reliability : float
        Share of the variance of the measured changes that is not error: 1 - mean_squared_se / variance.
    pearson : float
        sqrt(reliability), the r that a perfect prediction of the true changes would have (Spearman 1904,
        American Journal of Psychology 15:72).
    """

    n: int
    mean_squared_se: float
    reliability: float
    pearson: float

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return asdict(self)


def noise_ceiling(log2fc: Array, error_variance: Array | None) -> NoiseCeiling | None:
    """Estimate the ceiling of r over the genes of known error variance; None with fewer than three.

    Parameters
    ----------
    log2fc : float64 [n_genes]; measured changes.
    error_variance : float64 [n_genes]; of each change, right on average (`log2fc_error_variance`).
    """
    if error_variance is None:
        return None
    known = np.isfinite(log2fc) & np.isfinite(error_variance)
    if known.sum() < 3:
        return None
    variance = float(np.var(log2fc[known], ddof=1))
    if variance <= 0:
        return None
    error = float(np.mean(error_variance[known]))
    reliability = float(np.clip(1 - error / variance, 0, 1))
    return NoiseCeiling(int(known.sum()), error, reliability, float(np.sqrt(reliability)))


def inverse_variance_weights(log2fc: Array, se: Array) -> Array:
    """Weights 1 / (se^2 + tau^2) of genes, with mean 1.

    tau^2 is the variance of the true changes, var(log2fc) - mean(se^2) (at least a twentieth of the former):
    what a prediction of the mean would leave even without noise, so that a precise gene cannot outweigh many.
    A gene of unknown standard error has the mean one.
    """
    known = np.isfinite(se)
    noise = float(np.mean(se[known] ** 2)) if known.any() else 0.0
    variance = float(np.var(log2fc))
    tau2 = max(variance - noise, 0.05 * variance, 1e-12)
    weights = 1 / (np.where(known, se**2, noise) + tau2)
    return np.asarray(weights / weights.mean())

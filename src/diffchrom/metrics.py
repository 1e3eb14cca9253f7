"""How good a prediction of log2fc is, and how sure that is: one set of metrics for all commands.

Every metric is written once, for genes with weights, so that a bootstrap (genes drawn with replacement,
that is: integer weights) is the same few matrix operations for all resamples at once.

Genes whose truth or prediction is not finite are left out everywhere. What is undefined (fewer than two
genes, a constant prediction under Pearson, no changed gene under AUPRC) is NaN, without a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: |log2fc| from which a gene counts as changed (the paper's threshold).
CHANGE_THRESHOLD = 2.0

#: Resamples x genes held at a time: 1 MB of weights, which stays in the cache.
_CHUNK = 128_000


@dataclass(frozen=True)
class Metric:
    """A metric; call it with the truth and the prediction.

    Attributes
    ----------
    name : str
        As in tables and configs.
    summary : str
        What it is, in one line.
    higher_is_better : bool
        Whether a better prediction has a higher value.
    weighted : callable
        ``(truth [n], prediction [n], weights [n_resamples, n]) -> [n_resamples]``, all float64 and finite.
    """

    name: str
    summary: str
    higher_is_better: bool
    weighted: Callable[[Array, Array, Array], Array]

    def __call__(self, truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
        """Return the metric of the genes with finite truth and prediction, or NaN where it is undefined."""
        truth, prediction = finite(truth, prediction)
        return float(self.of(truth, prediction, np.ones((1, len(truth))))[0])

    def of(self, truth: Array, prediction: Array, weights: Array) -> Array:
        """Return the metric under each row of `weights` [n_resamples, n]."""
        if len(truth) < 1:
            return np.full(len(weights), np.nan)
        with np.errstate(all="ignore"):  # undefined values are NaN by contract
            return self.weighted(truth, prediction, weights)


def finite(truth: npt.ArrayLike, *predictions: npt.ArrayLike) -> tuple[Array, ...]:
    """Return the arrays as float64 with only the genes that are finite in all of them.

    Raises
    ------
    ValueError
        When the arrays are not one-dimensional or differ in length.
    """
    arrays = tuple(np.asarray(array, dtype=np.float64) for array in (truth, *predictions))
    if any(array.ndim != 1 or len(array) != len(arrays[0]) for array in arrays):
        raise ValueError(f"one value a gene is needed; got shapes {[array.shape for array in arrays]}")
    kept = np.logical_and.reduce([np.isfinite(array) for array in arrays])
    return tuple(array[kept] for array in arrays)


def _correlation(xx: Array, yy: Array, xy: Array, x_scale: Array, y_scale: Array) -> Array:
    """Correlation from (co)variances; NaN where a variance is nothing but rounding at the given scale."""
    defined = (xx > 1e-13 * x_scale) & (yy > 1e-13 * y_scale)
    return np.where(defined, np.clip(xy / np.sqrt(xx * yy), -1, 1), np.nan)


def _pearson(truth: Array, prediction: Array, weights: Array) -> Array:
    if np.ptp(truth) == 0 or np.ptp(prediction) == 0:
        return np.full(len(weights), np.nan)
    # Scaled first, so that neither the mean nor a square overflows; centred, so that nothing cancels.
    x, y = (values / np.abs(values).max() for values in (truth, prediction))
    x, y = ((values - values.mean()) / np.abs(values - values.mean()).max() for values in (x, y))
    columns = np.stack([x, y, x * x, y * y, x * y], axis=1)
    mx, my, xx, yy, xy = (weights @ columns / weights.sum(axis=1, keepdims=True)).T
    return _correlation(xx - mx * mx, yy - my * my, xy - mx * my, xx, yy)


def pearson_of_many(truth: Array, predictions: Array, weights: Array) -> Array:
    """Pearson's r of several predictions at once, for bootstraps over many runs.

    Parameters
    ----------
    truth : float64 [n], finite.
    predictions : float64 [n_predictions, n], finite.
    weights : float64 [n_resamples, n], as from `resample_weights`.

    Returns
    -------
    float64 array [n_resamples, n_predictions]
        NaN where undefined.
    """
    columns = np.vstack([truth, predictions])
    columns = columns - columns.mean(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        columns = columns / np.abs(columns).max(axis=1, keepdims=True)
        sums = weights @ np.vstack([columns, columns**2, columns[0] * columns[1:]]).T
        sums /= weights.sum(axis=1, keepdims=True)
        k = len(columns)
        mean, square, product = sums[:, :k], sums[:, k : 2 * k], sums[:, 2 * k :]
        variance = square - mean**2
        covariance = product - mean[:, :1] * mean[:, 1:]
        return _correlation(variance[:, :1], variance[:, 1:], covariance, square[:, :1], square[:, 1:])


def _tie_groups(values: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Sort order, first position of each group of equal values in it, and every gene's group."""
    order = np.argsort(values, kind="stable")
    new = np.concatenate([[True], np.diff(values[order]) != 0])
    group = np.empty(len(values), dtype=np.intp)
    group[order] = np.cumsum(new) - 1
    return order, np.flatnonzero(new), group


def _group_sums(weights: Array, order: npt.NDArray[np.intp], starts: npt.NDArray[np.intp]) -> Array:
    """Sum the columns of `weights`, taken in `order`, over groups of ties [n_resamples, n_groups]."""
    ordered = np.take(weights, order, axis=1)
    if len(starts) == len(order):
        return np.asarray(ordered)
    return np.asarray(np.add.reduceat(ordered, starts, axis=1))


def _centred_ranks(values: Array, weights: Array) -> Array:
    """Midranks [n_resamples, n] less their mean, where a gene of weight w stands for w equal genes."""
    order, starts, group = _tie_groups(values)
    groups = _group_sums(weights, order, starts)
    ranks = np.cumsum(groups, axis=1)
    groups /= 2
    ranks -= groups
    ranks -= weights.sum(axis=1, keepdims=True) / 2
    return np.asarray(np.take(ranks, group, axis=1))


def _spearman(truth: Array, prediction: Array, weights: Array) -> Array:
    x, y = _centred_ranks(truth, weights), _centred_ranks(prediction, weights)
    wx, wy = weights * x, weights * y
    xx = np.einsum("rn,rn->r", wx, x)
    xy = np.einsum("rn,rn->r", wx, y)
    yy = np.einsum("rn,rn->r", wy, y)
    scale = weights.sum(axis=1)
    return _correlation(xx, yy, xy, scale, scale)


def _mse(truth: Array, prediction: Array, weights: Array) -> Array:
    return np.asarray(weights @ np.square(truth - prediction) / weights.sum(axis=1))


def _r2(truth: Array, prediction: Array, weights: Array) -> Array:
    if np.ptp(truth) == 0:
        return np.full(len(weights), np.nan)
    y = truth - truth.mean()
    columns = np.stack([y, y * y, np.square(truth - prediction)], axis=1)
    mean, square, residual = (weights @ columns / weights.sum(axis=1, keepdims=True)).T
    total = square - mean * mean
    return np.where(total > 1e-13 * square, 1 - residual / total, np.nan)


def _sign_accuracy(truth: Array, prediction: Array, weights: Array) -> Array:
    signed = truth != 0
    right = signed & (np.sign(truth) == np.sign(prediction))
    total = weights @ signed.astype(np.float64)
    return np.where(total > 0, weights @ right.astype(np.float64) / total, np.nan)


def _auprc(truth: Array, prediction: Array, weights: Array) -> Array:
    order, starts, _ = _tie_groups(-np.abs(prediction))
    changed = (np.abs(truth) >= CHANGE_THRESHOLD).astype(np.float64)
    hits = _group_sums(weights * changed, order, starts)
    called = np.cumsum(_group_sums(weights, order, starts), axis=1)
    precision = np.cumsum(hits, axis=1)
    precision /= np.maximum(called, 1)  # no gene called, no hit: 0 / 1
    total = hits.sum(axis=1)
    return np.where(total > 0, np.einsum("rg,rg->r", hits, precision) / total, np.nan)


#: All metrics, in the order of tables; ``METRICS[name](truth, prediction)`` is a float.
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("pearson", "Pearson's r (the paper's metric)", True, _pearson),
        Metric("spearman", "Spearman's rank correlation, midranks for ties", True, _spearman),
        Metric("mse", "mean squared error of log2fc", False, _mse),
        Metric("r2", "1 - residual / total sum of squares (not the square of r)", True, _r2),
        Metric("sign_accuracy", "share of genes with log2fc != 0 whose sign is right", True, _sign_accuracy),
        Metric("auprc", "average precision of |prediction| for |log2fc| >= 2", True, _auprc),
    )
}

pearson = METRICS["pearson"]
spearman = METRICS["spearman"]
mse = METRICS["mse"]
r2 = METRICS["r2"]
sign_accuracy = METRICS["sign_accuracy"]
auprc = METRICS["auprc"]


def evaluate(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, names: Iterable[str] = tuple(METRICS)
) -> dict[str, float]:
    """Return every metric in `names`, by name."""
    return {name: METRICS[name](truth, prediction) for name in names}


@dataclass(frozen=True)
class Interval:
    """A metric with its gene-bootstrap confidence interval.

    Attributes
    ----------
    value : float
        The metric of all genes.
    low, high : float
        Percentile interval over the resamples in which the metric is defined.
    level : float
        Nominal coverage, 0.95 for 95%.
    n : int
        Genes with finite truth and prediction.
    """

    value: float
    low: float
    high: float
    level: float
    n: int


@dataclass(frozen=True)
class Difference:
    """A metric of a first prediction less that of a second one, on the same genes.

    Attributes
    ----------
    value : float
        First less second, all genes.
    low, high : float
        Percentile interval of the paired bootstrap: both predictions see the same drawn genes.
    p_value : float
        Two-sided bootstrap p-value of no difference, at least ``2 / (resamples + 1)``.
    level : float
        Nominal coverage.
    n : int
        Genes with finite truth and both predictions.
    """

    value: float
    low: float
    high: float
    p_value: float
    level: float
    n: int


def resample_weights(n: int, resamples: int, seed: int) -> Iterator[Array]:
    """Yield blocks [<= n_resamples, n] of how often each gene is drawn, n genes with replacement."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // max(n, 1))
    for first in range(0, resamples, rows):
        count = min(rows, resamples - first)
        drawn = rng.integers(0, n, size=(count, n)) + np.arange(count)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)


def _percentiles(values: Array, level: float) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(
    truth: Array, predictions: tuple[Array, ...], names: Iterable[str], resamples: int, seed: int
) -> dict[str, Array]:
    """Metrics [n_resamples, n_predictions] by name; all of them see the same resamples."""
    values: dict[str, list[Array]] = {name: [] for name in names}
    if len(truth):
        for weights in resample_weights(len(truth), resamples, seed):
            for name, blocks in values.items():
                rows = [METRICS[name].of(truth, prediction, weights) for prediction in predictions]
                blocks.append(np.stack(rows, axis=1))
    empty = np.empty((0, len(predictions)))
    return {name: np.concatenate(blocks) if blocks else empty for name, blocks in values.items()}


def bootstrap(
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    names: Iterable[str] = tuple(METRICS),
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return metrics with gene-bootstrap confidence intervals (Efron's percentile method), by name.

    Genes are the unit that is drawn, so the interval says how much the value depends on which genes were
    tested, not how much it depends on the training run.
    """
    names = tuple(names)
    truth, prediction = finite(truth, prediction)
    resampled = _resampled(truth, (prediction,), names, resamples, seed)
    return {
        name: Interval(
            METRICS[name](truth, prediction), *_percentiles(resampled[name][:, 0], level), level, len(truth)
        )
        for name in names
    }


def paired_bootstrap(
    truth: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    names: Iterable[str] = tuple(METRICS),
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Difference]:
    """Return, by metric, how much `first` exceeds `second` on the same genes, with intervals.

    The genes are drawn once for both, so what they share cancels; 0 outside the interval is a difference.
    """
    names = tuple(names)
    truth, first, second = finite(truth, first, second)
    resampled = _resampled(truth, (first, second), names, resamples, seed)
    differences = {}
    for name in names:
        value = METRICS[name](truth, first) - METRICS[name](truth, second)
        drawn = resampled[name][:, 0] - resampled[name][:, 1]
        drawn = drawn[~np.isnan(drawn)]
        tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
        p_value = min(1.0, 2 * (tail + 1) / (len(drawn) + 1)) if len(drawn) else float("nan")
        differences[name] = Difference(value, *_percentiles(drawn, level), float(p_value), level, len(truth))
    return differences

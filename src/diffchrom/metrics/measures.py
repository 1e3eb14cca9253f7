"""The metrics themselves, as one table.

Every metric is written once, for genes with weights, so that a bootstrap is the same few matrix operations
for all resamples at once: metrics that are made of sums over genes add up whole blocks, those of ranks weigh
the genes.

Genes whose truth or prediction is not finite are left out everywhere. What is undefined (fewer than two
genes, a constant prediction under Pearson, no changed gene under AUPRC) is NaN, without a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from diffchrom.metrics.resampling import Array, Index, Resamples

Mask = npt.NDArray[np.bool_]

#: |log2fc| from which a gene counts as changed (the paper's threshold).
CHANGE_THRESHOLD = 2.0
#: log2fc from which a gene counts as up- (or its negative: down-) regulated: expression twice as high.
DIRECTION_THRESHOLD = 1.0
#: Genes at either end of the ranking that somebody would follow up.
TOP = 100
#: Expression from which a gene counts as expressed, by unit: 0.5 RPKM, FPKM or TPM is where EBI's Expression
#: Atlas begins to call a gene expressed (below it, a third of the genes of the segmentation data in both
#: cells); 10 reads are what edgeR's filterByExpr asks for (Chen, Lun and Smyth, F1000Research 5:1438, 2016),
#: and 0.5 reads a million are those of 20 million reads.
EXPRESSED_FROM: Mapping[str, float] = {"rpkm": 0.5, "fpkm": 0.5, "tpm": 0.5, "cpm": 0.5, "counts": 10.0}


def cells_expressing(expr_a: Array, expr_b: Array, unit: str) -> npt.NDArray[np.int8] | None:
    """Count the cells of a pair that express each gene.

    Parameters
    ----------
    expr_a, expr_b : log2(expression + 1) [n]; NaN where unknown, which counts as not expressed.
    unit : of the expression.

    Returns
    -------
    int8 array [n] of 0, 1 and 2, or None where the unit is none of `EXPRESSED_FROM`.
    """
    if unit not in EXPRESSED_FROM:
        return None
    least = np.log2(EXPRESSED_FROM[unit] + 1)
    return np.asarray(np.add(expr_a >= least, expr_b >= least, dtype=np.int8))


def expressed_in_both(expr_a: Array, expr_b: Array, unit: str) -> Mask | None:
    """Tell which genes both cells express; parameters and None as of `cells_expressing`."""
    cells = cells_expressing(expr_a, expr_b, unit)
    return None if cells is None else cells == 2


@dataclass(frozen=True)
class Metric:
    """A metric; call it with the truth and the prediction.

    Attributes
    ----------
    name : str
        As in tables and configs.
    title : str
        As in narrow tables for people, which leave out the metrics that have none.
    summary : str
        What it is, in one line.
    higher_is_better : bool
        Whether a better prediction has a higher value.
    measure : callable
        ``(truth [n], prediction [n], resamples of n genes) -> [n_resamples]``, all float64 and finite.
    among : callable or None
        ``(truth [n], expressed [n] or None) -> bool [n]``: the genes that count; None is all.
    needs : str
        ``expression`` where it is undefined unless it is known which genes both cells express.
    """

    name: str
    title: str
    summary: str
    higher_is_better: bool
    measure: Callable[[Array, Array, Resamples], Array]
    among: Callable[[Array, Mask | None], Mask | None] | None = None
    needs: str = ""

    def __call__(
        self, truth: npt.ArrayLike, prediction: npt.ArrayLike, expressed: Mask | None = None
    ) -> float:
        """Return the metric of the genes with finite truth and prediction, or NaN where it is undefined."""
        (truth, prediction), kept = finite(truth, prediction)
        known = None if expressed is None else expressed[kept]
        return float(self.of(truth, prediction, Resamples.once(len(truth)), known)[0])

    def of(
        self, truth: Array, prediction: Array, resamples: Resamples, expressed: Mask | None = None
    ) -> Array:
        """Return the metric under each of the resamples [n_resamples]."""
        if self.among is not None:
            inside = self.among(truth, expressed)
            if inside is None:
                return np.full(len(resamples), np.nan)
            truth, prediction, resamples = truth[inside], prediction[inside], resamples.take(inside)
        if len(truth) < 1:
            return np.full(len(resamples), np.nan)
        with np.errstate(all="ignore"):  # undefined values are NaN by contract
            return self.measure(truth, prediction, resamples)


def finite(truth: npt.ArrayLike, *predictions: npt.ArrayLike) -> tuple[tuple[Array, ...], Mask]:
    """Return the arrays as float64 with only the genes that are finite in all of them, and which these are.

    Raises
    ------
    ValueError
        When the arrays are not one-dimensional or differ in length.
    """
    arrays = tuple(np.asarray(array, dtype=np.float64) for array in (truth, *predictions))
    if any(array.ndim != 1 or len(array) != len(arrays[0]) for array in arrays):
        raise ValueError(f"one value a gene is needed; got shapes {[array.shape for array in arrays]}")
    kept = np.logical_and.reduce([np.isfinite(array) for array in arrays])
    return tuple(array[kept] for array in arrays), kept


# ---- metrics of sums


def _correlation(xx: Array, yy: Array, xy: Array, x_scale: Array, y_scale: Array) -> Array:
    """Correlation from (co)variances; NaN where a variance is nothing but rounding at the given scale."""
    defined = (xx > 1e-13 * x_scale) & (yy > 1e-13 * y_scale)
    return np.where(defined, np.clip(xy / np.sqrt(xx * yy), -1, 1), np.nan)


def _pearson(truth: Array, prediction: Array, resamples: Resamples) -> Array:
    return pearson_of_many(truth, prediction[None], resamples)[:, 0]


def pearson_of_many(truth: Array, predictions: Array, resamples: Resamples) -> Array:
    """Pearson's r of several predictions at once, for bootstraps over many runs.

    Parameters
    ----------
    truth : float64 [n], finite.
    predictions : float64 [n_predictions, n], finite.
    resamples : of the n genes.

    Returns
    -------
    float64 array [n_resamples, n_predictions]
        NaN where undefined.
    """
    columns = np.vstack([truth, predictions])
    constant = np.ptp(columns, axis=1) == 0
    with np.errstate(all="ignore"):
        # Scaled first, so that neither the mean nor a square overflows; centred, so that nothing cancels.
        columns = columns / np.abs(columns).max(axis=1, keepdims=True)
        columns -= columns.mean(axis=1, keepdims=True)
        columns /= np.abs(columns).max(axis=1, keepdims=True)
        columns[constant] = 0
        k = len(columns)
        table = np.vstack([np.ones(len(truth)), columns, columns**2, columns[0] * columns[1:]])
        sums = resamples.sums(table.T)
        sums = sums[:, 1:] / sums[:, :1]
        mean, square, product = sums[:, :k], sums[:, k : 2 * k], sums[:, 2 * k :]
        variance = square - mean**2
        covariance = product - mean[:, :1] * mean[:, 1:]
        return _correlation(variance[:, :1], variance[:, 1:], covariance, square[:, :1], square[:, 1:])


def _mse(truth: Array, prediction: Array, resamples: Resamples) -> Array:
    n, squares = resamples.sums(np.stack([np.ones(len(truth)), np.square(truth - prediction)], axis=1)).T
    return np.asarray(squares / n)


def _r2(truth: Array, prediction: Array, resamples: Resamples) -> Array:
    if np.ptp(truth) == 0:
        return np.full(len(resamples), np.nan)
    y = truth - truth.mean()
    columns = [np.ones(len(y)), y, y * y, np.square(truth - prediction)]
    n, total, squares, residual = resamples.sums(np.stack(columns, axis=1)).T
    spread = squares - total * total / n
    return np.where(spread > 1e-13 * squares, 1 - residual / spread, np.nan)


def _sign_accuracy(truth: Array, prediction: Array, resamples: Resamples) -> Array:
    signed = truth != 0
    right = signed & (np.sign(truth) == np.sign(prediction))
    total, hits = resamples.sums(np.stack([signed, right], axis=1).astype(np.float64)).T
    return np.where(total > 0, hits / total, np.nan)


# ---- metrics of ranks


def _tie_groups(values: Array) -> tuple[Index, Index, Index]:
    """Sort order, first position of each group of equal values in it, and every gene's group."""
    order = np.argsort(values, kind="stable")
    new = np.concatenate([[True], np.diff(values[order]) != 0])
    group = np.empty(len(values), dtype=np.intp)
    group[order] = np.cumsum(new) - 1
    return order, np.flatnonzero(new), group


def _group_sums(weights: Array, order: Index, starts: Index) -> Array:
    """Sum the columns of `weights`, taken in `order`, over groups of ties [n_resamples, n_groups]."""
    ordered = np.take(weights, order, axis=1)
    if len(starts) == len(order):
        return np.asarray(ordered)
    return np.asarray(np.add.reduceat(ordered, starts, axis=1))


def _centred_ranks(ties: tuple[Index, Index, Index], weights: Array) -> Array:
    """Midranks [n_resamples, n] less their mean, where a gene of weight w stands for w equal genes."""
    order, starts, group = ties
    groups = _group_sums(weights, order, starts)
    ranks = np.cumsum(groups, axis=1)
    groups /= 2
    ranks -= groups
    ranks -= weights.sum(axis=1, keepdims=True) / 2
    return np.asarray(np.take(ranks, group, axis=1))


def _spearman(truth: Array, prediction: Array, resamples: Resamples) -> Array:
    ties = [_tie_groups(values) for values in (truth, prediction)]
    found = []
    for weights in resamples.weights():
        x, y = (_centred_ranks(of_values, weights) for of_values in ties)
        xx, xy, yy = (np.einsum("rn,rn,rn->r", weights, *two) for two in ((x, x), (x, y), (y, y)))
        scale = weights.sum(axis=1)
        found.append(_correlation(xx, yy, xy, scale, scale))
    return np.concatenate(found)


@dataclass(frozen=True)
class _Sought:
    """Which genes a ranking should have first, and the ranking: ``(truth, prediction) -> (hits, score)``."""

    pick: Callable[[Array, Array], tuple[Mask, Array]]

    def ranked(self, truth: Array, prediction: Array, resamples: Resamples) -> Iterable[tuple[Array, Array]]:
        """Yield, best score first, the weights [r, n_groups] of sought genes and of all, ties in a group."""
        hits, score = self.pick(truth, prediction)
        order, starts, _ = _tie_groups(-score)
        for weights in resamples.weights():
            called = _group_sums(weights, order, starts)
            weights *= hits
            yield _group_sums(weights, order, starts), called


_CHANGED = _Sought(lambda truth, prediction: (np.abs(truth) >= CHANGE_THRESHOLD, np.abs(prediction)))
_UP = _Sought(lambda truth, prediction: (truth >= DIRECTION_THRESHOLD, prediction))
_DOWN = _Sought(lambda truth, prediction: (truth <= -DIRECTION_THRESHOLD, -prediction))


def _average_precision(sought: _Sought, truth: Array, prediction: Array, resamples: Resamples) -> Array:
    found = []
    for hits, called in sought.ranked(truth, prediction, resamples):
        precision = np.cumsum(hits, axis=1)
        precision /= np.maximum(np.cumsum(called, axis=1), 1)  # no gene called, no hit: 0 / 1
        total = hits.sum(axis=1)
        found.append(np.where(total > 0, np.einsum("rg,rg->r", hits, precision) / total, np.nan))
    return np.concatenate(found)


def _auroc(truth: Array, prediction: Array, resamples: Resamples) -> Array:
    """Share of (up, down) pairs of genes that are in the right order; equals count half."""
    up, down = truth > 0, truth < 0
    order, starts, _ = _tie_groups(prediction)
    found = []
    for weights in resamples.weights():
        ups, downs = (_group_sums(weights * sign, order, starts) for sign in (up, down))
        below = np.cumsum(downs, axis=1) - downs / 2
        n_pairs = ups.sum(axis=1) * downs.sum(axis=1)
        found.append(np.where(n_pairs > 0, np.einsum("rg,rg->r", ups, below) / n_pairs, np.nan))
    return np.concatenate(found)


def _top_precision(sought: _Sought, truth: Array, prediction: Array, resamples: Resamples) -> Array:
    """Share of sought genes among the first `TOP`; of a group of ties that is cut, the part that fits."""
    found = []
    for hits, called in sought.ranked(truth, prediction, resamples):
        before = np.cumsum(called, axis=1)
        total = before[:, -1]
        before -= called
        part = np.clip((TOP - before) / np.maximum(called, 1), 0, 1)
        found.append(np.where(total > TOP, np.einsum("rg,rg->r", hits, part) / TOP, np.nan))
    return np.concatenate(found)


# ---- genes that count


def _both_express(truth: Array, expressed: Mask | None) -> Mask | None:
    return expressed


def _direction_is_clear(truth: Array, expressed: Mask | None) -> Mask:
    return np.asarray(np.abs(truth) >= DIRECTION_THRESHOLD)


#: All metrics, in the order of tables; ``METRICS[name](truth, prediction)`` is a float.
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("pearson", "r", "Pearson's r (the paper's metric)", True, _pearson),
        Metric("spearman", "rho", "Spearman's rank correlation, midranks for ties", True, _spearman),
        Metric("mse", "MSE", "mean squared error of log2fc", False, _mse),
        Metric("r2", "", "1 - residual / total sum of squares (not the square of r)", True, _r2),
        Metric(
            "sign_accuracy", "", "share of genes with log2fc != 0 whose sign is right", True,
            _sign_accuracy,
        ),
        Metric(
            "auprc",
            "",
            "average precision of |prediction| for |log2fc| >= 2",
            True,
            partial(_average_precision, _CHANGED),
        ),
        Metric(
            "pearson_expressed", "r both", "Pearson's r of the genes that both cells express", True, _pearson,
            _both_express, "expression",
        ),
        Metric(
            "pearson_changed", "r changed", "Pearson's r of the genes of |log2fc| >= 1", True, _pearson,
            _direction_is_clear,
        ),
        Metric(
            "auroc", "", "area under the ROC curve, log2fc >= 1 against <= -1 (chance: 0.5)", True,
            _auroc, _direction_is_clear,
        ),
        Metric(
            "auprc_up", "AP up", "average precision for log2fc >= 1 (chance: their share)", True,
            partial(_average_precision, _UP),
        ),
        Metric(
            "auprc_down", "AP down", "average precision for log2fc <= -1 (chance: their share)", True,
            partial(_average_precision, _DOWN),
        ),
        Metric(
            "top100_up", "top up", "share of log2fc >= 1 among the 100 genes of the highest prediction", True,
            partial(_top_precision, _UP),
        ),
        Metric(
            "top100_down", "top down", "share of log2fc <= -1 among the 100 of the lowest prediction", True,
            partial(_top_precision, _DOWN),
        ),
        Metric(
            "sign_accuracy_changed", "sign changed", "share of genes of |log2fc| >= 1 whose sign is right",
            True, _sign_accuracy, _direction_is_clear,
        ),
    )
}  # fmt: skip

pearson = METRICS["pearson"]
spearman = METRICS["spearman"]
mse = METRICS["mse"]
r2 = METRICS["r2"]
sign_accuracy = METRICS["sign_accuracy"]
auprc = METRICS["auprc"]


def evaluate(
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    names: Iterable[str] = tuple(METRICS),
    *,
    expressed: Mask | None = None,
) -> dict[str, float]:
    """Return every metric in `names`, by name.

    Parameters
    ----------
    expressed : bool [n]
        Genes that both cells express (`expressed_in_both`); None where that is not known.
    """
    return {name: METRICS[name](truth, prediction, expressed) for name in names}

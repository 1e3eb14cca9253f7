"""What many runs say together: the paper's Table 1, wins, and which differences are more than chance.

All figures come from one gene bootstrap of Pearson's r, drawn once for all runs of a test set. Where pairs
share their test genes, the same genes are drawn for all pairs, so that what pairs have in common is not
counted as evidence ten times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import RunError
from diffchrom.metrics import pearson_of_many, resample_weights
from diffchrom.progress import SILENT, Reporter
from diffchrom.sweeps.results import Result

Array = npt.NDArray[np.float64]
Pair = tuple[str, str]

#: Methods against which the paper's Table 1 gives every other one.
REFERENCES = ("svr-two-layer", "attentivechrome")
LEVEL = 0.95
MIN_RESAMPLES = 1000
MAX_RESAMPLES = 20_000


@dataclass(frozen=True)
class Comparison:
    """Pearson's r of methods on pairs, averaged over seeds and folds.

    Attributes
    ----------
    labels : the methods (with preset), the best mean r first.
    methods : (method, preset) of each label.
    pairs : the pairs of cells.
    r : float64 [n_methods, n_pairs]
        NaN where a method was not run or r is undefined.
    resampled : float64 [n_resamples, n_methods, n_pairs]
        The same under each gene resample.
    """

    labels: tuple[str, ...]
    methods: tuple[tuple[str, str], ...]
    pairs: tuple[Pair, ...]
    r: Array
    resampled: Array

    def interval(self, method: int, pair: int) -> tuple[float, float]:
        """Percentile interval of one r."""
        return _percentiles(self.resampled[:, method, pair])

    def intervals_on(self, pair: int) -> Array:
        """Percentile intervals of every method's r on a pair, [n_methods, 2]."""
        return np.array([self.interval(method, pair) for method in range(len(self.labels))])

    def relative(self, reference: str) -> Array:
        """Share r / r of the method `reference` [n_methods, n_pairs]; NaN where it has no positive r.

        Where the method was fitted at several presets it is its default one.
        """
        rows = [i for i, (method, _) in enumerate(self.methods) if method == reference]
        row = (
            rows[0] if len(rows) == 1 else self.labels.index(reference) if reference in self.labels else None
        )
        if row is None:
            return np.full(self.r.shape, np.nan)
        base = self.r[row]
        return self.r / np.where(base > 0, base, np.nan)

    def wins(self) -> npt.NDArray[np.int64]:
        """Number of pairs on which each method has the highest r."""
        known = np.where(np.isnan(self.r), -np.inf, self.r)
        best = known.max(axis=0)
        return np.asarray(((known == best) & np.isfinite(known)).sum(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Contrast:
    """Mean difference in r of a first method less a second one, over the pairs that both have.

    Attributes
    ----------
    first, second : labels.
    n_pairs : pairs that count.
    value, low, high : difference and its percentile interval.
    p_value : two-sided, paired over genes.
    p_adjusted : after Holm's correction for all contrasts.
    """

    first: str
    second: str
    n_pairs: int
    value: float
    low: float
    high: float
    p_value: float
    p_adjusted: float


def compare(
    results: Sequence[Result], *, resamples: int | None = None, seed: int = 0, reporter: Reporter = SILENT
) -> Comparison:
    """Compute r of every method and pair, with a joint gene bootstrap.

    Parameters
    ----------
    results : from `compare.load_results`.
    resamples : how often genes are drawn; None is as often as Holm's correction needs to be able to find
        anything (a bootstrap p-value is at least 2 / (resamples + 1)).
    seed : of the draws.
    """
    methods = sorted(
        {(result.label, result.run.config.variant, result.run.config.preset) for result in results}
    )
    pairs = tuple(dict.fromkeys(result.pair for result in results))
    n_contrasts = len(methods) * (len(methods) - 1) // 2
    draws = resamples or min(MAX_RESAMPLES, max(MIN_RESAMPLES, 40 * n_contrasts))
    splits = sorted({result.run.config.split for result in results})
    row = {label: i for i, (label, _, _) in enumerate(methods)}
    column = {pair: j for j, pair in enumerate(pairs)}
    shape = (len(methods), len(pairs))
    total, drawn, count = np.zeros(shape), np.zeros((draws, *shape)), np.zeros(shape)
    groups: dict[tuple[Pair, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.pair, result.run.config.split), []).append(result)
    with reporter.task("bootstrap", len(groups)) as task:
        for (pair, split), members in groups.items():
            truth, predictions = _aligned(members)
            value, sample = _resample(truth, predictions, draws, seed + splits.index(split))
            for k, result in enumerate(members):
                at = row[result.label], column[pair]
                total[at] += value[k]
                drawn[:, at[0], at[1]] += sample[:, k]
                count[at] += 1
            task.advance(1, ",".join(pair))
    with np.errstate(invalid="ignore"):
        r, resampled = total / count, drawn / count
    means = _mean(r, axis=1)
    order = sorted(range(len(methods)), key=lambda i: (-np.nan_to_num(means[i], nan=-np.inf), methods[i][0]))
    return Comparison(
        tuple(methods[i][0] for i in order),
        tuple((methods[i][1], methods[i][2]) for i in order),
        pairs,
        r[order],
        resampled[:, order],
    )


def _aligned(results: Sequence[Result]) -> tuple[Array, Array]:
    """Measured log2fc [n] and predictions [n_results, n] of the test genes that all runs have."""
    first = results[0].test
    common = set(first.gene_id[np.isfinite(first.truth)])
    for result in results:
        common &= set(result.test.gene_id[np.isfinite(result.test.prediction)])
    if not common:
        raise RunError(f"{results[0].run.path} and {results[-1].run.path} have no test gene in common")
    ids = sorted(common)
    rows = []
    for result in results:
        position = {gene: i for i, gene in enumerate(result.test.gene_id)}
        rows.append([position[gene] for gene in ids])
    predictions = np.stack([result.test.prediction[at] for result, at in zip(results, rows, strict=True)])
    return first.truth[rows[0]], predictions


def _resample(truth: Array, predictions: Array, draws: int, seed: int) -> tuple[Array, Array]:
    whole = pearson_of_many(truth, predictions, np.ones((1, len(truth))))[0]
    blocks = [
        pearson_of_many(truth, predictions, weights) for weights in resample_weights(len(truth), draws, seed)
    ]
    return whole, np.concatenate(blocks)


def _mean(values: Array, axis: int) -> Array:
    """Mean of what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=axis) / known.sum(axis=axis))


def _percentiles(values: Array) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Scandinavian Journal of Statistics 6, 1979); NaN is not counted."""
    p = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(len(p), np.nan)
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in adjusted]


def contrasts(comparison: Comparison) -> list[Contrast]:
    """Compare every two methods over the pairs that both have, with p-values corrected for all of them."""
    found = []
    for i, j in combinations(range(len(comparison.labels)), 2):
        both = np.isfinite(comparison.r[i]) & np.isfinite(comparison.r[j])
        n_pairs = int(both.sum())
        value, low, high, p_value = (float("nan"),) * 4
        if n_pairs:
            value = float((comparison.r[i] - comparison.r[j])[both].mean())
            drawn = (comparison.resampled[:, i, both] - comparison.resampled[:, j, both]).mean(axis=1)
            drawn = drawn[np.isfinite(drawn)]
            low, high = _percentiles(drawn)
            if len(drawn):
                tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
                p_value = float(min(1.0, 2 * (tail + 1) / (len(drawn) + 1)))
        found.append((comparison.labels[i], comparison.labels[j], n_pairs, value, low, high, p_value))
    adjusted = holm([row[-1] for row in found])
    return [Contrast(*row, p_adjusted=p) for row, p in zip(found, adjusted, strict=True)]


def summary_table(
    comparison: Comparison, *, percent: bool = False
) -> tuple[tuple[str, ...], list[list[Any]]]:
    """Header and rows of ``compare --summary``: a method a row, the best mean r first.

    After the paper's Table 1 (shares of a reference's r, or `percent` of it) and the wins come, for every
    method M, ``minus:M`` (mean difference in r, this row less M) and ``p:M`` (its p-value after Holm's
    correction).
    """
    unit, name = (100.0, "percent_of") if percent else (1.0, "vs")
    relative = {reference: unit * comparison.relative(reference) for reference in REFERENCES}
    header = ["method", "preset", "n_pairs", "mean_pearson", "median_pearson"]
    for reference in REFERENCES:
        header += [f"mean_{name}_{reference}", f"median_{name}_{reference}"]
    header.append("wins")
    for label in comparison.labels:
        header += [f"minus:{label}", f"p:{label}"]
    by_labels = {(c.first, c.second): c for c in contrasts(comparison)}
    wins = comparison.wins()
    rows = []
    for i, label in enumerate(comparison.labels):
        row: list[Any] = [*comparison.methods[i], int(np.isfinite(comparison.r[i]).sum())]
        row += [_known(np.mean, comparison.r[i]), _known(np.median, comparison.r[i])]
        for reference in REFERENCES:
            row += [_known(np.mean, relative[reference][i]), _known(np.median, relative[reference][i])]
        row.append(int(wins[i]))
        for other in comparison.labels:
            row += _cells(by_labels, label, other)
        rows.append(row)
    return tuple(header), rows


def _known(function: Any, values: Array) -> float | None:
    values = values[np.isfinite(values)]
    return float(function(values)) if len(values) else None


def _cells(by_labels: dict[tuple[str, str], Contrast], label: str, other: str) -> list[float | None]:
    if (label, other) in by_labels:
        contrast = by_labels[label, other]
        return [contrast.value, contrast.p_adjusted]
    if (other, label) in by_labels:
        contrast = by_labels[other, label]
        return [-contrast.value, contrast.p_adjusted]
    return [None, None]

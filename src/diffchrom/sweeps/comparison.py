"""What many runs say together: the paper's Table 1, wins, and which differences are more than chance.

All figures come from one bootstrap of Pearson's r over blocks of neighbouring genes, drawn once for all runs
of a split. Where pairs share their test genes, the same genes are drawn for all pairs, so that what pairs
have in common is not counted as evidence ten times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from diffchrom.config import RESAMPLES
from diffchrom.errors import RunError
from diffchrom.metrics import (
    Resamples,
    block_numbers,
    holm,
    pearson_of_many,
    percentile_interval,
    student_interval,
)
from diffchrom.progress import SILENT, Reporter
from diffchrom.sweeps.results import Result

Array = npt.NDArray[np.float64]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """Pearson's r of methods on pairs, averaged over seeds and folds, of one group of runs.

    Attributes
    ----------
    labels : the methods, the best mean r first.
    results : the runs of each method.
    pairs : the pairs of cells.
    r : float64 [n_methods, n_pairs]
        NaN where a method was not run or r is undefined.
    resampled : float64 [n_resamples, n_methods, n_pairs]
        The same under each resample.
    n_blocks : blocks of genes that were drawn, split by split.
    group : name of the group; empty where all runs are of one.
    """

    labels: tuple[str, ...]
    results: tuple[tuple[Result, ...], ...]
    pairs: tuple[Pair, ...]
    r: Array
    resampled: Array
    n_blocks: tuple[int, ...]
    group: str = ""

    def interval(self, method: int, pair: int) -> tuple[float, float]:
        """95% interval of one r."""
        return percentile_interval(self.resampled[:, method, pair], self.n_blocks)

    def mean(self, method: int) -> tuple[float, float, float]:
        """Mean r of a method over the pairs it was run on, with its 95% interval."""
        known = np.isfinite(self.r[method])
        if not known.any():
            return (float("nan"),) * 3
        drawn = self.resampled[:, method, known].mean(axis=1)
        return float(self.r[method, known].mean()), *percentile_interval(drawn, self.n_blocks)

    def relative(self, reference: str) -> Array:
        """Share r / r of the method `reference` [n_methods, n_pairs].

        NaN where the reference was not run, in several ways, or has no positive r.
        """
        rows = [i for i, its in enumerate(self.results) if its and its[0].run.config.variant == reference]
        if len(rows) != 1:
            return np.full(self.r.shape, np.nan)
        base = self.r[rows[0]]
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
    value, low, high, p_value : difference, 95% interval and two-sided p-value (`metrics.student_interval`).
    p_adjusted : after Holm's correction for all contrasts.
    """

    first: str
    second: str
    n_pairs: int
    value: float
    low: float
    high: float
    p_value: float
    p_adjusted: float = float("nan")


def compare_groups(
    results: Sequence[Result], *, resamples: int = RESAMPLES, seed: int = 0, reporter: Reporter = SILENT
) -> list[Comparison]:
    """Compare the runs of each group, see `compare`."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.group, []).append(result)
    with reporter.task("bootstrap", len(groups)) as task:
        compared = []
        for group, members in groups.items():
            compared.append(compare(members, resamples=resamples, seed=seed))
            task.advance(1, group)
    return compared


def compare(results: Sequence[Result], *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compute r of every method and pair, with a joint bootstrap.

    Parameters
    ----------
    results : of one group, from `results.load_results`.
    resamples : how often the genes are drawn.
    seed : of the draws.
    """
    labels = sorted({result.label for result in results})
    pairs = tuple(dict.fromkeys(result.pair for result in results))
    row = {label: i for i, label in enumerate(labels)}
    column = {pair: j for j, pair in enumerate(pairs)}
    shape = (len(labels), len(pairs))
    total, drawn, count = np.zeros(shape), np.zeros((resamples, *shape)), np.zeros(shape)
    n_blocks = []
    for number, split in enumerate(sorted({result.run.config.split for result in results})):
        of_split = [result for result in results if result.run.config.split == split]
        tested = {pair: _aligned(its) for pair in pairs if (its := [r for r in of_split if r.pair == pair])}
        draws, n, position = _draw(list(tested.values()), resamples, seed + number)
        n_blocks.append(n)
        for pair, genes in tested.items():
            of_pair = replace(draws, block=draws.block[[position[gene] for gene in genes.ids]])
            value = pearson_of_many(genes.truth, genes.predictions, Resamples.once(len(genes.ids)))[0]
            sample = pearson_of_many(genes.truth, genes.predictions, of_pair)
            for k, result in enumerate(result for result in of_split if result.pair == pair):
                at = row[result.label], column[pair]
                total[at] += value[k]
                drawn[:, at[0], at[1]] += sample[:, k]
                count[at] += 1
    with np.errstate(invalid="ignore"):
        r, resampled = total / count, drawn / count
    means = [known.mean() if len(known := of_method[np.isfinite(of_method)]) else -np.inf for of_method in r]
    order = sorted(range(len(labels)), key=lambda i: (-means[i], labels[i]))
    return Comparison(
        tuple(labels[i] for i in order),
        tuple(tuple(result for result in results if result.label == labels[i]) for i in order),
        pairs,
        r[order],
        resampled[:, order],
        tuple(n_blocks),
        results[0].group,
    )


@dataclass(frozen=True)
class _Tested:
    """Test genes that all runs of a pair and split have: ids, blocks, truth [n], predictions [n_runs, n]."""

    ids: list[str]
    blocks: npt.NDArray[np.object_]
    truth: Array
    predictions: Array


def _aligned(results: Sequence[Result]) -> _Tested:
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
    return _Tested(ids, first.block[rows[0]], first.truth[rows[0]], predictions)


def _draw(tested: Sequence[_Tested], resamples: int, seed: int) -> tuple[Resamples, int, dict[str, int]]:
    """Draw all genes of a split, in whichever pair they are known; also how many blocks, and positions."""
    blocks = {gene: block for genes in tested for gene, block in zip(genes.ids, genes.blocks, strict=True)}
    ids = sorted(blocks)
    block, n_blocks = block_numbers([blocks[gene] for gene in ids], len(ids))
    return Resamples.draw(block, n_blocks, resamples, seed), n_blocks, {gene: i for i, gene in enumerate(ids)}


def contrasts(comparison: Comparison, against: str | None = None) -> list[Contrast]:
    """Compare every two methods, or all others with `against`, with p-values corrected for all of these."""
    labels = comparison.labels
    if against is None:
        two = list(combinations(range(len(labels)), 2))
    else:
        two = [(i, labels.index(against)) for i in range(len(labels)) if labels[i] != against]
    found = [_contrast(comparison, i, j) for i, j in two]
    adjusted = holm([contrast.p_value for contrast in found])
    return [replace(contrast, p_adjusted=p) for contrast, p in zip(found, adjusted, strict=True)]


def _contrast(comparison: Comparison, i: int, j: int) -> Contrast:
    both = np.isfinite(comparison.r[i]) & np.isfinite(comparison.r[j])
    names = comparison.labels[i], comparison.labels[j]
    if not both.any():
        return Contrast(*names, 0, *(float("nan"),) * 4)
    value = float((comparison.r[i] - comparison.r[j])[both].mean())
    drawn = (comparison.resampled[:, i, both] - comparison.resampled[:, j, both]).mean(axis=1)
    return Contrast(*names, int(both.sum()), value, *student_interval(value, drawn, comparison.n_blocks))

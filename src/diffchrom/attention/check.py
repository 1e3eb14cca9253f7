"""How far a run's attention can be trusted: against chance, the input's own orders, other runs and gradients.

Attention is compared with what it should differ from (uniform weights, the attention of untrained models,
orders that the input gives without a model) and with what it should agree with (runs with other seeds or of
other folds, gradient x input, integrated gradients). `deletion` asks whether what it ranks highest is what
the prediction hangs on; `verdicts` says what that comes to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.attention.deletion import (
    DELETION,
    RANDOM_ORDERS,
    Curves,
    Map,
    attention_map,
    curves_of,
)
from diffchrom.attention.rivals import NEARNESS, UNTRAINED, input_maps
from diffchrom.attention.verdicts import (
    ANOTHER,
    ATTENTION,
    MINUS,
    OTHER_FOLDS,
    OTHER_SEEDS,
    REFERENCE,
    Finding,
    Judged,
    judge,
)
from diffchrom.deepdiff.attribution import METHODS, attribute, of_bins, of_marks, of_sequences
from diffchrom.deepdiff.opened import AttentionBatch, OpenedModel
from diffchrom.genome.blocks import genome_blocks
from diffchrom.genome.genes import Rows, Signal
from diffchrom.metrics import mean_interval
from diffchrom.progress import SILENT, Reporter

#: Genes that are checked, drawn from those asked for: gradients and deletion take hundreds of passes each.
SAMPLE = 200
#: Untrained models (ensembles, where the trained one is one) whose mean is compared.
UNTRAINED_DRAWS = 10

Array = npt.NDArray[np.float64]


@dataclass
class Check(Judged):
    """Result of `check`: the table, what is said of it, and the curves.

    Attributes
    ----------
    curves : level (bin, mark) to deletion and insertion to their curves.
    """

    curves: dict[str, dict[str, Curves]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sample:
    """Everything about the checked genes.

    Attributes
    ----------
    blocks : of neighbours [n], to be drawn together.
    another : place of another one of the genes for each [n].
    others : of runs with other seeds and of other folds, by name.
    contributions : [n, 2, n_marks, n_windows] by method.
    """

    opened: OpenedModel
    rows: Rows
    a: Signal
    b: Signal
    blocks: npt.NDArray[np.object_]
    another: npt.NDArray[np.intp]
    attention: AttentionBatch
    untrained: list[AttentionBatch]
    seeds: dict[str, AttentionBatch]
    folds: dict[str, AttentionBatch]
    contributions: dict[str, npt.NDArray[np.float32]]

    def mean(
        self,
        level: str,
        block: str | None,
        comparison: str,
        statistic: str,
        values: Array,
        *,
        mark: str | None = None,
        fraction: float | None = None,
    ) -> Finding:
        """Mean of `values` [n] over genes, with its interval over blocks of them."""
        of = mean_interval(values, self.blocks)
        p_value = of.p_value if statistic.endswith(MINUS) else None
        return Finding(
            level, block, mark, comparison, statistic, fraction, of.value, of.low, of.high, of.n, p_value
        )


def sample_genes(rows: Rows, size: int, seed: int) -> Rows:
    """`size` of `rows` at random (all where there are no more), in their order."""
    if len(rows) <= size:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))


def check(
    opened: OpenedModel,
    rows: Rows,
    others: Mapping[str, OpenedModel] | None = None,
    *,
    size: int = SAMPLE,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> Check:
    """Compare a run's attention with what it should differ from and with what it should agree with.

    Parameters
    ----------
    rows : genes, of which `size` are drawn.
    others : runs with other seeds, or of other folds of the same genes, by name.
    """
    sample = _sample(opened, sample_genes(rows, size, seed), others or {}, seed, reporter)
    result = Check()
    for level, block, of_batch, sizes in _parts(sample):
        result.findings += _comparisons(sample, level, block, of_batch, sizes)
    maps = _bin_maps(sample)
    of_marks_ = _mark_maps(sample, maps)
    result.findings += _shares(sample, of_marks_)
    work = {"bin": maps}
    if len(opened.marks) > 1:
        work["mark"] = of_marks_
    n_orders = sum(RANDOM_ORDERS + sum(map(len, orders.values())) for orders in work.values())
    with reporter.task("deletion and insertion", n_orders * len(sample.rows)) as task:
        for level, orders in work.items():
            result.curves[level] = curves_of(opened, sample.rows, sample.a, sample.b, orders, seed, task)
            for kind, curves in result.curves[level].items():
                result.findings += _curve_findings(sample, level, kind, curves)
    judge(result, UNTRAINED_DRAWS, len(sample.seeds), len(sample.folds))
    return result


def _sample(
    opened: OpenedModel, rows: Rows, others: Mapping[str, OpenedModel], seed: int, reporter: Reporter
) -> _Sample:
    genes = opened.genes.take(rows)
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    another = np.empty_like(shuffled)
    another[shuffled] = np.roll(shuffled, 1)
    seeds: dict[str, AttentionBatch] = {}
    folds: dict[str, AttentionBatch] = {}
    for name, other in others.items():
        same_split = other.pair.split == opened.pair.split
        (seeds if same_split else folds)[f"run {name}"] = other.attention_of(rows)
    untrained = [opened.untrained(seed + 1_000_003 + draw) for draw in range(UNTRAINED_DRAWS)]
    return _Sample(
        opened,
        rows,
        *opened.pair.signal(rows),
        genome_blocks(genes.id, genes.chrom, genes.tss),
        another,
        opened.attention_of(rows),
        [model.attention_of(rows) for model in untrained],
        seeds,
        folds,
        {method: attribute(opened, rows, method, reporter) for method in METHODS},
    )


def concentration(weights: npt.NDArray[Any]) -> Array:
    """1 - entropy / log(n) along the last axis: 0 for uniform attention, 1 for attention to one place."""
    from scipy.special import entr

    n = weights.shape[-1]
    entropy = entr(weights.astype(np.float64)).sum(axis=-1)
    return np.asarray(1 - entropy / np.log(n)) if n > 1 else np.full(weights.shape[:-1], np.nan)


def spearman(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Array:
    """Rank correlation along the last axis; NaN where either is constant."""
    from scipy.stats import rankdata

    ranks = [np.asarray(rankdata(values, axis=-1)) for values in (x, y)]
    x, y = (values - values.mean(axis=-1, keepdims=True) for values in ranks)
    scale = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(scale > 0, (x * y).sum(axis=-1) / scale, np.nan))


def _gene_means(values: Array) -> Array:
    """Mean over the other axes of what is defined, for each gene; NaN where nothing is."""
    flat = values.reshape(len(values), -1)
    known = np.isfinite(flat)
    total = np.where(known, flat, 0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def _parts(sample: _Sample) -> Iterator[tuple[str, str, Any, dict[str, Map]]]:
    """Level, block or task, what takes its weights from a batch, and sizes of contributions by method."""
    opened = sample.opened
    sizes = {name: of_sequences(opened, values) for name, values in sample.contributions.items()}
    for block in dict.fromkeys(sequence.block for sequence in opened.sequences):
        at = [index for index, sequence in enumerate(opened.sequences) if sequence.block == block]
        of_block = {name: values[:, at] for name, values in sizes.items()}
        yield "bin", block, lambda batch, at=at: batch.alpha[:, at], of_block
    position = {sequence: index for index, sequence in enumerate(opened.sequences)}
    for task, sequences in opened.tasks.items():
        at = [position[sequence] for sequence in sequences]
        of_task = {name: values.sum(axis=-1)[:, at] for name, values in sizes.items()}
        yield "mark", task, lambda batch, task=task: batch.beta[task], of_task


def _comparisons(
    sample: _Sample, level: str, block: str, of_batch: Any, sizes: Mapping[str, Map]
) -> Iterator[Finding]:
    weights = of_batch(sample.attention)
    yield sample.mean(level, block, "uniform", "concentration", _gene_means(concentration(weights)))
    batches = {UNTRAINED: sample.untrained} | {
        name: [batch] for name, batch in (sample.seeds | sample.folds).items()
    }
    batches |= {OTHER_SEEDS: list(sample.seeds.values())} if sample.seeds else {}
    batches |= {OTHER_FOLDS: list(sample.folds.values())} if sample.folds else {}
    against = {name: list(map(of_batch, several)) for name, several in batches.items()}
    against |= {name: [values] for name, values in sizes.items()}
    against |= {ANOTHER: [sizes[REFERENCE][sample.another]]}
    agreement: dict[str, Array] = {}
    for name, several in against.items():
        by_draw = np.stack([_gene_means(spearman(weights, values)) for values in several])
        agreement[name] = _gene_means(by_draw.T)
        yield sample.mean(level, block, name, "spearman", agreement[name])
        if len(several) > 1:
            yield _spread(level, block, name, "spearman", _gene_means(by_draw))
    beyond = agreement[REFERENCE] - agreement[ANOTHER]
    if weights.shape[-1] > 1:  # of one mark there is no order
        yield sample.mean(level, block, ANOTHER, f"spearman_{MINUS}", beyond)


def _spread(level: str, block: str | None, name: str, statistic: str, means: Array) -> Finding:
    """Standard deviation over draws, or over runs, of a statistic's mean over genes."""
    means = means[np.isfinite(means)]
    value = float(means.std(ddof=1)) if len(means) > 1 else np.nan
    return Finding(level, block, None, name, f"{statistic}_sd", None, value, np.nan, np.nan, len(means))


def mark_shares(importance: npt.NDArray[Any]) -> Array:
    """Share of each mark [n, n_marks] in each gene's importance [n, n_marks]."""
    total = importance.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(importance / np.maximum(total, 1e-300))


def _bin_maps(sample: _Sample) -> dict[str, Sequence[Map]]:
    """Importance [n, n_marks, n_windows] of each order of masking, of which both cells are masked."""
    maps: dict[str, Sequence[Map]] = {ATTENTION: [attention_map(sample.opened, sample.attention)]}
    maps |= {name: [of_bins(values)] for name, values in sample.contributions.items()}
    maps |= {UNTRAINED: [attention_map(sample.opened, batch) for batch in sample.untrained]}
    plain = input_maps(sample.opened, sample.rows, sample.a, sample.b)
    return maps | {name: [values] for name, values in plain.items()}


def _mark_maps(sample: _Sample, maps: Mapping[str, Sequence[Map]]) -> dict[str, Sequence[Map]]:
    """Importance [n, n_marks]: sums over windows, and what contributions come to; no mark is near a TSS."""
    return {
        name: [of_marks(sample.contributions[name])]
        if name in METHODS
        else [values.sum(axis=-1) for values in several]
        for name, several in maps.items()
        if name != NEARNESS
    }


def _shares(sample: _Sample, maps: Mapping[str, Sequence[Map]]) -> Iterator[Finding]:
    for name, several in maps.items():
        shares = np.mean([mark_shares(importance) for importance in several], axis=0)
        for mark, values in zip(sample.opened.marks, shares.T, strict=True):
            yield sample.mean("mark", None, name, "share", values, mark=mark)


def _curve_findings(sample: _Sample, level: str, kind: str, curves: Curves) -> Iterator[Finding]:
    area = curves.area
    for order, changes in curves.changes.items():
        for fraction, column in zip(curves.fractions, changes.T, strict=True):
            yield sample.mean(level, None, order, kind, column, fraction=fraction)
        yield sample.mean(level, None, order, f"{kind}_area", area[order])
        if len(curves.draws[order]) > 1:
            yield _spread(level, None, order, f"{kind}_area", curves.draws[order].mean(axis=(1, 2)))
    sign = 1 if kind == DELETION else -1  # of insertion, the smaller distance is the better one
    for order in curves.changes:
        if order != ATTENTION:
            better = sign * (area[ATTENTION] - area[order])
            yield sample.mean(level, None, order, f"{kind}_{MINUS}", better)

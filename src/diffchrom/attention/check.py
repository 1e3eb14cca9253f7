"""How far a run's attention can be trusted: against uniform, untrained, other seeds' and gradients.

Attention is compared with what it should differ from (uniform weights, the attention of the same
architecture with random weights) and with what it should agree with (runs with other seeds, gradient x input,
integrated gradients). `deletion` asks whether what it ranks highest is what the prediction hangs on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.attention.deletion import RANDOM, DeletionCurves, attention_map, delete_bins, delete_marks
from diffchrom.attention.groups import bootstrap_means
from diffchrom.deepdiff.attribution import METHODS, attribute, of_bins, of_marks, of_sequences
from diffchrom.deepdiff.opened import AttentionBatch, OpenedModel, open_model
from diffchrom.errors import DiffchromError, RunError
from diffchrom.genome.genes import Rows
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.differences import differing
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store

#: Genes that are checked, drawn from those asked for: gradients and deletion take hundreds of passes each.
SAMPLE = 200
MAX_OTHERS = 5
UNTRAINED = "random_weights"
REFERENCE = "integrated_gradients"
_RESAMPLES = 1000

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """One row of the table of `check`.

    Attributes
    ----------
    level : ``bin`` or ``mark``.
    block : Level I block, or task of Level II; None for what concerns the whole model.
    mark : None unless the row is about one mark.
    comparison : what attention is compared with, or whose order or share this is.
    statistic : str
        ``concentration`` (1 - entropy / log n: 0 is uniform), ``spearman`` (of the weights of one gene and
        sequence), ``share`` (of a mark in all importance), ``deletion`` (mean absolute change of the
        prediction), ``deletion_area`` (its mean over the fractions), ``attention_minus`` (attention's area
        less this order's).
    fraction : share of the input that is masked, for ``deletion``.
    value, low, high : mean over genes with its 95% bootstrap interval over genes.
    n_genes : genes where the statistic is defined.
    """

    level: str
    block: str | None
    mark: str | None
    comparison: str
    statistic: str
    fraction: float | None
    value: float
    low: float
    high: float
    n_genes: int


@dataclass
class Check:
    """Result of `check`.

    Attributes
    ----------
    findings : the table.
    curves : level (bin, mark) to the deletion curves.
    warnings : what attention fails at, one sentence each.
    notes : what it passes.
    """

    findings: list[Finding] = field(default_factory=list)
    curves: dict[str, DeletionCurves] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def say(self, passed: bool, sentence: str) -> None:
        """Keep a sentence as a note, or as a warning where attention failed."""
        (self.notes if passed else self.warnings).append(sentence)

    def find(self, level: str, comparison: str, statistic: str) -> list[Finding]:
        """Findings of one kind, in the order of the table."""
        return [
            one
            for one in self.findings
            if (one.level, one.comparison, one.statistic) == (level, comparison, statistic)
        ]


@dataclass(frozen=True)
class _Sample:
    """Everything about the checked genes: attention, and contributions [n, 2, n_marks, n_bins] by method."""

    opened: OpenedModel
    rows: Rows
    attention: AttentionBatch
    untrained: AttentionBatch
    others: dict[str, AttentionBatch]
    contributions: dict[str, npt.NDArray[np.float32]]


def sample_genes(rows: Rows, size: int, seed: int) -> Rows:
    """`size` of `rows` at random (all where there are no more), in their order."""
    if len(rows) <= size:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))


def sibling_runs(run: Run) -> list[Run]:
    """Runs beside `run` that differ from it in nothing but the seed, at most `MAX_OTHERS`."""
    found: list[Run] = []
    for folder in sorted(run.path.resolve().parent.iterdir()):
        if len(found) == MAX_OTHERS or not folder.is_dir():
            continue
        try:
            other = Run.open(folder)
        except DiffchromError:
            continue  # not every folder beside a run is one
        if differing(run.config, other.config) == ["seed"]:
            found.append(other)
    return found


def open_others(
    opened: OpenedModel, runs: Sequence[Run], store: Store, device: str = "auto"
) -> dict[str, OpenedModel]:
    """Open runs to compare with by folder; RunError where their variant or marks are others."""
    others = {}
    for run in runs:
        other = open_model(run, store, opened.pair.cells, device=device)
        if other.sequences != opened.sequences:
            raise RunError(
                f"{run.path}: has other sequences (variant {run.config.variant}, marks "
                f"{', '.join(run.config.marks)}); compare runs of one variant with the same marks"
            )
        others[str(run.path)] = other
    return others


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
    others : runs with other seeds, by name.
    """
    rows = sample_genes(rows, size, seed)
    sample = _Sample(
        opened,
        rows,
        opened.attention_of(rows),
        opened.untrained(seed + 1_000_003).attention_of(rows),
        {name: other.attention_of(rows) for name, other in (others or {}).items()},
        {method: attribute(opened, rows, method, reporter) for method in METHODS},
    )
    result = Check()
    random = np.random.default_rng(seed)
    result.findings += [
        *_bin_findings(sample, random),
        *_mark_findings(sample, random),
        *_shares(sample, random),
    ]
    _deletion(sample, result, seed, random, reporter)
    _judge(sample, result)
    return result


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


def _interval(values: Array, random: np.random.Generator) -> tuple[float, float, float, int]:
    """Mean over genes with its 95% bootstrap interval, and the number of genes where it is defined."""
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return float(values.sum()) if n else np.nan, np.nan, np.nan, n
    (low,), (high,) = bootstrap_means(values[:, None], random, _RESAMPLES)
    return float(values.mean()), float(low), float(high), n


def _gene_means(values: Array) -> Array:
    """Mean over the other axes of what is defined, for each gene; NaN where nothing is."""
    flat = values.reshape(len(values), -1)
    known = np.isfinite(flat)
    total = np.where(known, flat, 0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)


def _comparisons(
    level: str,
    block: str,
    weights: npt.NDArray[Any],
    against: Mapping[str, npt.NDArray[Any]],
    random: np.random.Generator,
) -> Iterator[Finding]:
    values = _interval(_gene_means(concentration(weights)), random)
    yield Finding(level, block, None, "uniform", "concentration", None, *values)
    for name, other in against.items():
        values = _interval(_gene_means(spearman(weights, other)), random)
        yield Finding(level, block, None, name, "spearman", None, *values)


def _bin_findings(sample: _Sample, random: np.random.Generator) -> Iterator[Finding]:
    opened = sample.opened
    sizes = {name: of_sequences(opened, values) for name, values in sample.contributions.items()}
    for block in dict.fromkeys(sequence.block for sequence in opened.sequences):
        of_block = [index for index, sequence in enumerate(opened.sequences) if sequence.block == block]
        against = {UNTRAINED: sample.untrained.alpha}
        against |= {f"run {name}": batch.alpha for name, batch in sample.others.items()} | sizes
        against = {name: values[:, of_block] for name, values in against.items()}
        yield from _comparisons("bin", block, sample.attention.alpha[:, of_block], against, random)


def _mark_findings(sample: _Sample, random: np.random.Generator) -> Iterator[Finding]:
    opened = sample.opened
    sizes = {name: of_sequences(opened, values).sum(axis=-1) for name, values in sample.contributions.items()}
    position = {sequence: index for index, sequence in enumerate(opened.sequences)}
    for task, sequences in opened.tasks.items():
        of_task = [position[sequence] for sequence in sequences]
        against = {UNTRAINED: sample.untrained.beta[task]}
        against |= {f"run {name}": batch.beta[task] for name, batch in sample.others.items()}
        against |= {name: values[:, of_task] for name, values in sizes.items()}
        yield from _comparisons("mark", task, sample.attention.beta[task], against, random)


def mark_shares(importance: npt.NDArray[Any]) -> Array:
    """Share of each mark [n, n_marks] in each gene's importance [n, n_marks]."""
    total = importance.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(importance / np.maximum(total, 1e-300))


def _bin_maps(sample: _Sample) -> dict[str, npt.NDArray[Any]]:
    """Importance [n, n_marks, n_bins] of each order of deletion, of which both cells are masked."""
    maps = {"attention": attention_map(sample.opened, sample.attention)}
    maps |= {name: of_bins(values) for name, values in sample.contributions.items()}
    return maps | {UNTRAINED: attention_map(sample.opened, sample.untrained)}


def _mark_maps(sample: _Sample) -> dict[str, npt.NDArray[Any]]:
    """Importance [n, n_marks]: attention's sum over bins, and what contributions come to."""
    return {
        name: of_marks(sample.contributions[name]) if name in METHODS else values.sum(axis=-1)
        for name, values in _bin_maps(sample).items()
    }


def _shares(sample: _Sample, random: np.random.Generator) -> Iterator[Finding]:
    for name, importance in _mark_maps(sample).items():
        for mark, shares in zip(sample.opened.marks, mark_shares(importance).T, strict=True):
            yield Finding("mark", None, mark, name, "share", None, *_interval(shares, random))


def _deletion(
    sample: _Sample, result: Check, seed: int, random: np.random.Generator, reporter: Reporter
) -> None:
    maps = _bin_maps(sample)
    work = {"bin": (delete_bins, maps)}
    if len(sample.opened.marks) > 1:
        work["mark"] = (delete_marks, _mark_maps(sample))
    a, b = sample.opened.pair.signal(sample.rows)
    with reporter.task("deletion curves", 2 * (len(maps) + 5) * len(sample.rows)) as task:
        for level, (delete, orders) in work.items():
            curves = delete(sample.opened, sample.rows, a, b, orders, seed, task)
            result.curves[level] = curves
            result.findings += _curve_findings(level, curves, random)


def _curve_findings(level: str, curves: DeletionCurves, random: np.random.Generator) -> Iterator[Finding]:
    area = curves.area
    for order, changes in curves.changes.items():
        for fraction, column in zip(curves.fractions, changes.T, strict=True):
            yield Finding(level, None, None, order, "deletion", fraction, *_interval(column, random))
        yield Finding(level, None, None, order, "deletion_area", None, *_interval(area[order], random))
    for order in curves.changes:
        if order != "attention":
            difference = _interval(area["attention"] - area[order], random)
            yield Finding(level, None, None, order, "attention_minus", None, *difference)


def _judge(sample: _Sample, result: Check) -> None:
    """Say in words what the findings say in numbers."""
    if len(sample.rows) < 2:
        result.notes.append("one gene: neither intervals nor verdicts")
        return
    for level in result.curves:
        for order, rival in ((RANDOM, "random"), (UNTRAINED, "an untrained model's")):
            (one,) = result.find(level, order, "attention_minus")
            passed = one.low > 0
            result.say(
                passed,
                f"{level}s: attention is {'better' if passed else 'no better'} than {rival}: masking by its "
                f"order moves log2fc_pred by {one.value:+.3g} ({one.low:+.3g} to {one.high:+.3g}) more than "
                f"masking by {rival} order",
            )
        for one in result.find(level, REFERENCE, "spearman"):
            where = f"{level} attention of {'block' if level == 'bin' else 'task'} {one.block}"
            result.say(
                one.low > 0,
                f"{where}: rank correlation with integrated gradients {one.value:.2f} "
                f"({one.low:.2f} to {one.high:.2f})"
                + ("" if one.low > 0 else ": it does not follow what drives the prediction"),
            )
    ranking = {
        name: [
            str(one.mark) for one in sorted(result.find("mark", name, "share"), key=lambda one: -one.value)
        ]
        for name in ("attention", REFERENCE)
    }
    upper = (len(sample.opened.marks) + 1) // 2
    by_attention, by_gradients = ranking.values()
    result.say(
        by_attention[0] == by_gradients[0] and set(by_attention[:upper]) == set(by_gradients[:upper]),
        f"attention ranks the marks {', '.join(by_attention)}; integrated gradients rank them "
        f"{', '.join(by_gradients)}",
    )
    if not sample.others:
        result.notes.append(
            "no run with another seed was compared; train one beside this run, or name it with --other"
        )

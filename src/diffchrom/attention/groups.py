"""Attention of up- and down-regulated genes side by side (Figure 5 of Sekhon, Singh and Qi 2018).

For every task, block and mark: mean beta (or another kind of weight) over the genes of each group, with a
bootstrap confidence interval over genes, and a permutation test of the difference between the groups. For
every block and mark: mean alpha over each group, window by window in the direction of transcription.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.attention.weights import Kind, Weights
from diffchrom.deepdiff.opened import LevelOneSequence
from diffchrom.errors import InputError, UsageError, check_choice
from diffchrom.genome.genes import Rows, Window
from diffchrom.genome.layout import Layout
from diffchrom.metrics import benjamini_hochberg
from diffchrom.progress import SILENT, Reporter

GROUPS = ("up", "down")
MEASURES = ("log2fc", "log2fc_pred")
RESAMPLES = 2000
PERMUTATIONS = 9999
CONFIDENCE = 0.95
_CHUNK = 2_000_000  # random numbers held at a time

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GroupRule:
    """Which genes are up- and which are down-regulated.

    Attributes
    ----------
    up, down : float or None
        ``log2fc >= up`` and ``log2fc <= down``; where one is missing it is the other with its sign changed.
    quantile : float or None
        Instead: the share of genes with the highest, and with the lowest, log2fc.
    by : ``log2fc`` (the label) or ``log2fc_pred``.
    """

    up: float | None = None
    down: float | None = None
    quantile: float | None = None
    by: str = MEASURES[0]

    def __post_init__(self) -> None:
        check_choice("group_by", self.by, MEASURES)
        if self.quantile is not None and (self.up is not None or self.down is not None):
            raise UsageError("`up_quantile`: not together with `up` or `down`")
        if self.quantile is None and self.up is None and self.down is None:
            raise UsageError("give `up` and `down`, or `up_quantile`")
        if self.quantile is not None and not 0 < self.quantile <= 0.5:
            raise UsageError(f"`up_quantile={self.quantile:g}`: a share above 0, at most 0.5")
        up, down = self.thresholds or (1.0, -1.0)
        if down >= up:
            raise UsageError(f"`down={down:g}`: must be below `up={up:g}`")

    @property
    def thresholds(self) -> tuple[float, float] | None:
        """The thresholds of up and of down; None where quantiles decide."""
        if self.quantile is not None:
            return None
        up = self.up if self.up is not None else -float(self.down or 0)
        return up, self.down if self.down is not None else -up

    def groups(self, values: Array) -> dict[str, npt.NDArray[np.bool_]]:
        """Membership of the groups `GROUPS`; `values` is the measure [n_genes], NaN where unknown.

        Raises
        ------
        InputError
            When a group has fewer than two genes, with the extremes there are.
        """
        known = values[np.isfinite(values)]
        if not len(known):
            raise InputError(
                f"none of the {len(values)} genes has a known {self.by}; "
                "use `group_by=log2fc_pred`, or add expression with `prepare_store(expression=...)`"
            )
        thresholds = self.thresholds
        if thresholds is None:
            low, high = np.quantile(known, [self.quantile or 0.0, 1 - (self.quantile or 0.0)])
            thresholds = (float(high), float(low))
        result = {"up": values >= thresholds[0], "down": values <= thresholds[1]}
        for group, threshold in zip(GROUPS, thresholds, strict=True):
            if result[group].sum() < 2:
                raise InputError(
                    f"`{group}={threshold:g}`: {result[group].sum()} of {len(known)} genes pass, and two are "
                    f"needed; their {self.by} goes from {known.min():.3g} to {known.max():.3g}; choose other "
                    "thresholds or `up_quantile`"
                )
        if (result["up"] & result["down"]).any():
            raise InputError(f"`up_quantile`: too many genes have equal {self.by}; give `up` and `down`")
        return result


@dataclass(frozen=True)
class GroupAttention:
    """Attention of up- and down-regulated genes.

    Attributes
    ----------
    beta : dict of group to float32 [n_genes of the group, n_rows]
        One column a task and sequence, in the order of `labels`.
    labels : (task, sequence) of the columns of `beta`.
    alpha : dict of group to float64 [n_sequences, n_windows]
        Mean over the group's genes, each region's windows from upstream to downstream.
    sequences : of `alpha`.
    kind : of weight.
    layout, window : what the windows are.
    """

    beta: dict[str, npt.NDArray[np.float32]]
    labels: tuple[tuple[str, LevelOneSequence], ...]
    alpha: dict[str, Array]
    sequences: tuple[LevelOneSequence, ...]
    kind: Kind
    layout: Layout
    window: Window


def collect(weights: Weights, rows: Rows, rule: GroupRule, reporter: Reporter = SILENT) -> GroupAttention:
    """Compute the weights of the genes among `rows` that belong to a group."""
    opened = weights.opened
    if rule.by == "log2fc":
        values = opened.pair.labels.log2fc[rows]
    else:
        values = np.concatenate([batch.log2fc_pred for batch in opened.attend_batches(rows, reporter)])
    members = rule.groups(np.asarray(values, dtype=np.float64))
    labels = tuple((task, one) for task, sequences in weights.tasks.items() for one in sequences)
    beta, alpha = {}, {}
    for group, chosen in members.items():
        total = np.zeros((len(weights.sequences), opened.pair.n_windows))
        parts = []
        for batch in weights.batches(rows[chosen], reporter):
            ordered = opened.windows.from_upstream(batch.alpha, batch.rows)
            total += ordered.sum(axis=0, dtype=np.float64)
            parts.append(np.concatenate([batch.beta[task] for task in weights.tasks], axis=1))
        beta[group] = np.concatenate(parts)
        alpha[group] = total / chosen.sum()
    return GroupAttention(
        beta, labels, alpha, weights.sequences, weights.kind, opened.pair.layout, opened.window
    )


def bootstrap_means(
    values: npt.NDArray[Any], random: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[Array, Array]:
    """Bounds of the bootstrap interval of the column means of `values` [n_genes, n_columns]."""
    n = len(values)
    step = max(1, _CHUNK // n)
    means = []
    for first in range(0, resamples, step):
        weights = random.multinomial(n, np.full(n, 1 / n), size=min(step, resamples - first))
        means.append(weights @ values.astype(np.float64) / n)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high


def permutation_p(up: npt.NDArray[Any], down: npt.NDArray[Any], random: np.random.Generator) -> Array:
    """Two-sided p of each column's difference in means, under random assignment of genes to the groups.

    (1 + permutations at least as extreme) / (1 + permutations), which is never 0.
    """
    together = np.concatenate([up, down]).astype(np.float64)
    together -= together.mean(axis=0)
    n, n_up = len(together), len(up)
    observed = np.abs(together[:n_up].mean(axis=0) - together[n_up:].mean(axis=0))
    extreme = np.zeros(together.shape[1])
    step = max(1, _CHUNK // n)
    for first in range(0, PERMUTATIONS, step):
        drawn = random.random((min(step, PERMUTATIONS - first), n))
        chosen = np.zeros(drawn.shape)
        np.put_along_axis(chosen, np.argpartition(drawn, n_up - 1, axis=1)[:, :n_up], 1.0, axis=1)
        sums = chosen @ together  # the columns are centred, so the other group's sum is its negative
        extreme += (np.abs(sums * (1 / n_up + 1 / (n - n_up))) >= observed * (1 - 1e-9)).sum(axis=0)
    return (1 + extreme) / (1 + PERMUTATIONS)


def group_table(groups: GroupAttention, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Table of Figure 5: one row a task, block and mark.

    Returns
    -------
    dict of column to array [n_rows]
        Sizes of the groups, mean beta of each with its bootstrap interval, their difference (up - down), the
        permutation test's p, and q, p adjusted for the number of rows (Benjamini-Hochberg).
    """
    random = np.random.default_rng(seed)
    name = groups.kind.of_marks
    up, down = (groups.beta[group] for group in GROUPS)
    columns: dict[str, npt.NDArray[Any]] = {
        "task": np.array([task for task, _ in groups.labels], dtype=object),
        "block": np.array([sequence.block for _, sequence in groups.labels], dtype=object),
        "mark": np.array([sequence.mark for _, sequence in groups.labels], dtype=object),
    }
    for group in GROUPS:
        values = groups.beta[group]
        low, high = bootstrap_means(values, random)
        columns[f"n_{group}"] = np.full(len(groups.labels), len(values), dtype=np.int64)
        columns[f"{name}_{group}"] = values.mean(axis=0, dtype=np.float64)
        columns[f"{name}_{group}_low"], columns[f"{name}_{group}_high"] = low, high
    p = permutation_p(up, down, random)
    return columns | {
        "difference": columns[f"{name}_up"] - columns[f"{name}_down"],
        "p": p,
        "q": benjamini_hochberg(p),
    }

"""Deletion curves: how fast a prediction changes when signal is masked in a given order.

What is masked is the signal of one mark in one bin (or of one mark in all bins): in both cells that of the
average training gene takes its place, since a model has never seen a gene without any signal. An order that
finds what the model uses changes the predictions early.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffchrom.deepdiff.opened import AttentionBatch, OpenedModel
from diffchrom.genome.genes import Rows, Signal
from diffchrom.progress import Task

#: Shares of the (mark, bin) pairs that are masked; most are small, since an early change is what counts.
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
#: Random orders that are averaged.
RANDOM_ORDERS = 5
RANDOM = "random"

Array = npt.NDArray[np.float64]
Map = npt.NDArray[np.floating]


@dataclass(frozen=True)
class DeletionCurves:
    """Change of the predictions under masking.

    Attributes
    ----------
    fractions : tuple of float
        Share that is masked.
    changes : dict of order to float64 [n_genes, n_fractions]
        |predicted log2fc after - before|; ``random`` is the mean over `RANDOM_ORDERS`.
    """

    fractions: tuple[float, ...]
    changes: dict[str, Array]

    @property
    def area(self) -> dict[str, Array]:
        """Each gene's change averaged over the fractions: the area under its curve, early ones first."""
        return {order: change.mean(axis=1) for order, change in self.changes.items()}


def attention_map(opened: OpenedModel, batch: AttentionBatch) -> npt.NDArray[np.float32]:
    """Attention that the prediction of log2fc pays to each mark and bin: beta alpha, summed over sequences.

    Over the main task's Level II; where there is none, over both auxiliary ones, which feed the head.

    Returns
    -------
    float32 [n, n_marks, n_windows]
    """
    position = {sequence: index for index, sequence in enumerate(opened.sequences)}
    mark = {name: index for index, name in enumerate(opened.marks)}
    result = np.zeros((len(batch.rows), len(opened.marks), opened.pair.n_windows), dtype=np.float32)
    tasks = {name: value for name, value in opened.tasks.items() if name == "main"} or opened.tasks
    for task, sequences in tasks.items():
        for index, sequence in enumerate(sequences):
            weight = batch.beta[task][:, index, None] * batch.alpha[:, position[sequence]]
            result[:, mark[sequence.mark]] += weight / len(tasks)
    return result


def delete_bins(
    opened: OpenedModel, rows: Rows, a: Signal, b: Signal, maps: Mapping[str, Map], seed: int, task: Task
) -> DeletionCurves:
    """Mask (mark, bin) pairs of genes `rows` with raw signal `a` and `b` in descending order of `maps`.

    Parameters
    ----------
    maps : order's name to importance [n, n_marks, n_windows]; a random order is added.
    """
    counts = [max(1, round(fraction * a[0].size)) for fraction in FRACTIONS]
    fractions = tuple(count / a[0].size for count in counts)
    return _curves(opened, rows, a, b, maps, counts, fractions, seed, task)


def delete_marks(
    opened: OpenedModel, rows: Rows, a: Signal, b: Signal, maps: Mapping[str, Map], seed: int, task: Task
) -> DeletionCurves:
    """Mask whole marks of genes in descending order of `maps`, importance [n, n_marks] by order's name."""
    counts = list(range(1, len(opened.marks)))
    fractions = tuple(count / len(opened.marks) for count in counts)
    return _curves(opened, rows, a, b, maps, counts, fractions, seed, task)


def _curves(
    opened: OpenedModel,
    rows: Rows,
    a: Signal,
    b: Signal,
    maps: Mapping[str, Map],
    counts: list[int],
    fractions: tuple[float, ...],
    seed: int,
    task: Task,
) -> DeletionCurves:
    before = opened.predict_signal(rows, a, b).log2fc.astype(np.float64)
    random = np.random.default_rng(seed)

    def curve(importance: Map) -> Array:
        order = np.argsort(-importance.reshape(len(a), -1), axis=1, kind="stable")
        changes = np.empty((len(a), len(counts)))
        for i, count in enumerate(counts):
            masked = np.zeros(order.shape, dtype=bool)
            np.put_along_axis(masked, order[:, :count], True, axis=1)
            masked = masked.reshape(importance.shape)
            masked = masked[..., None] if masked.ndim < a.ndim else masked
            without = [np.where(masked, opened.average_signal, signal) for signal in (a, b)]
            after = opened.predict_signal(rows, *without).log2fc
            changes[:, i] = np.abs(after - before)
        task.advance(len(a))
        return changes

    shape = next(iter(maps.values())).shape
    changes = {order: curve(importance) for order, importance in maps.items()}
    draws = [curve(random.random(shape)) for _ in range(RANDOM_ORDERS)]
    return DeletionCurves(fractions, changes | {RANDOM: np.mean(draws, axis=0)})

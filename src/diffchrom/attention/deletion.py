"""Deletion and insertion curves: how fast a prediction changes, or comes back, as signal goes or returns.

What is masked is the signal of one mark in one bin (or of one mark in all bins): in both cells that of the
average training gene takes its place, since a model has never seen a gene without any signal. Deletion starts
from the whole signal and masks what stands first: an order that finds what the model uses changes the
predictions early. Insertion starts from the average gene and puts the signal back: such an order comes near
the prediction of the whole signal early (Petsiuk, Das and Saenko, BMVC 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
DELETION, INSERTION = "deletion", "insertion"

Array = npt.NDArray[np.float64]
Map = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Curves:
    """How far predictions are from those of the whole signal.

    Attributes
    ----------
    fractions : tuple of float
        Share that is masked (deletion) or put back (insertion).
    draws : dict of order to float64 [n_draws, n_genes, n_fractions]
        |predicted log2fc - that of the whole signal|; several draws where an order is one of chance.
    """

    fractions: tuple[float, ...]
    draws: dict[str, Array]

    @property
    def changes(self) -> dict[str, Array]:
        """Mean over the draws [n_genes, n_fractions]."""
        return {order: values.mean(axis=0) for order, values in self.draws.items()}

    @property
    def area(self) -> dict[str, Array]:
        """Each gene's distance averaged over the fractions: the area under its curve, early ones first."""
        return {order: change.mean(axis=1) for order, change in self.changes.items()}

    def spread(self, order: str) -> float:
        """Standard deviation, over an order's draws, of the area's mean over genes; NaN of one draw."""
        means = self.draws[order].mean(axis=(1, 2))
        return float(means.std(ddof=1)) if len(means) > 1 else float("nan")


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


def curves_of(
    opened: OpenedModel,
    rows: Rows,
    a: Signal,
    b: Signal,
    maps: Mapping[str, Sequence[Map]],
    seed: int,
    task: Task,
) -> dict[str, Curves]:
    """Mask signal `a` and `b` of the genes `rows` in descending order of importance.

    Parameters
    ----------
    maps : order's name to importance, one or several to be averaged: [n, n_marks, n_windows], or [n, n_marks]
        to mask whole marks. A random order is added; ties are broken at random.

    Returns
    -------
    dict of deletion and insertion to Curves
    """
    even = np.zeros_like(next(iter(maps.values()))[0])
    size = even[0].size
    counts = [max(1, round(share * size)) for share in FRACTIONS] if even.ndim > 2 else range(1, size)
    whole = opened.predict_signal(rows, a, b).log2fc.astype(np.float64)
    random = np.random.default_rng(seed)

    def distances(importance: Map) -> Array:
        flat = importance.reshape(len(a), -1)
        order = np.lexsort((random.random(flat.shape), -flat), axis=1)
        result = np.empty((2, len(a), len(counts)))
        for i, count in enumerate(counts):
            first = np.zeros(order.shape, dtype=bool)
            np.put_along_axis(first, order[:, :count], True, axis=1)
            first = first.reshape(importance.shape)
            first = first[..., None] if first.ndim < a.ndim else first
            for kind, masked in enumerate((first, ~first)):
                left = [np.where(masked, opened.average_signal, signal) for signal in (a, b)]
                result[kind, :, i] = np.abs(opened.predict_signal(rows, *left).log2fc - whole)
        task.advance(len(a))
        return result

    orders = {**maps, RANDOM: [even] * RANDOM_ORDERS}
    drawn = {name: np.stack([distances(one) for one in several]) for name, several in orders.items()}
    fractions = tuple(count / size for count in counts)
    return {
        name: Curves(fractions, {order: values[:, kind] for order, values in drawn.items()})
        for kind, name in enumerate((DELETION, INSERTION))
    }

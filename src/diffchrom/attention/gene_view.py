"""Everything about single genes that one picture shows: signal, weights, prediction, perturbation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffchrom.attention.deletion import attention_map
from diffchrom.attention.weights import CONTRIBUTION, Kind, Weights
from diffchrom.deepdiff.opened import GenePredictions, OpenedModel
from diffchrom.genome.genes import Genes, Rows, Window
from diffchrom.genome.layout import Layout
from diffchrom.pairs.choices import SPLIT_PARTS

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GeneView:
    """One gene as a model sees it; windows of every region from upstream on.

    Attributes
    ----------
    gene : of one row.
    part : of the split; empty where the gene is in none.
    cells, marks, layout, window : what the axes are.
    signal : float64 [2, n_marks, n_windows]
        Of A and of B, as stored.
    weights : float64 [n_marks, n_windows]
        What each mark and window weighs, by `kind`.
    log2fc, low, high : predicted, with the ends of its interval; these are NaN where there is none.
    measured, se : log2fc and its standard error; NaN where unknown.
    change, spread : float64 [n_marks]
        Of the prediction when B gets A's signal of a mark; its standard deviation over members, or NaN.
    """

    gene: Genes
    part: str
    cells: tuple[str, str]
    marks: tuple[str, ...]
    layout: Layout
    window: Window
    signal: Array
    kind: Kind
    weights: Array
    log2fc: float
    low: float
    high: float
    measured: float
    se: float
    change: Array
    spread: Array

    @property
    def of_marks(self) -> Array:
        """What each mark weighs, over all windows; [n_marks]."""
        return np.asarray(self.weights.sum(axis=1))


def telling_kind(opened: OpenedModel) -> str:
    """Kind of weight that says most of this model: contributions where it has them, else gradients."""
    has = opened.attention_of(np.arange(1)).contribution is not None
    return CONTRIBUTION if has else "integrated-gradients"


def gene_views(opened: OpenedModel, rows: Rows, by: str | None = None) -> Iterator[GeneView]:
    """Yield the genes `rows`, one by one.

    Parameters
    ----------
    by : kind of weight (`weights.KINDS`); attention is that of the prediction to each mark and window. None
        is the most telling one that the model has.
    """
    weights = Weights.of(opened, by or telling_kind(opened))
    labels, parts = opened.pair.labels, {number: name for name, number in SPLIT_PARTS.items()}
    for row in rows.tolist():
        at = np.array([row])
        a, b = opened.pair.signal(at)
        (batch,) = weights.batches(at)
        of_windows = batch.alpha if weights.kind.signed else attention_map(opened, batch)
        predicted = GenePredictions.of(opened.pair, at, opened.predict_signal(at, a, b), opened.calibration)
        change, spread = _swapped(opened, row, a, b)
        turned = opened.windows.from_upstream
        yield GeneView(
            gene=opened.genes.take(at),
            part=parts.get(int(opened.pair.parts[row]), ""),
            cells=opened.pair.cells,
            marks=opened.marks,
            layout=opened.pair.layout,
            window=opened.window,
            signal=turned(np.stack([a, b], axis=1), at)[0].astype(np.float64),
            kind=weights.kind,
            weights=turned(of_windows, at)[0].astype(np.float64),
            log2fc=float(predicted.log2fc[0]),
            low=float(predicted.low[0]),
            high=float(predicted.high[0]),
            measured=float(labels.log2fc[row]),
            se=np.nan if labels.se is None else float(labels.se[row]),
            change=change,
            spread=spread,
        )


def _swapped(
    opened: OpenedModel, row: int, a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> tuple[Array, Array]:
    """Change of a gene's prediction when B gets A's signal of each mark, and its spread over members."""
    n_marks = len(opened.marks)
    swapped = np.repeat(b, n_marks + 1, axis=0)
    for mark in range(n_marks):
        swapped[mark, mark] = a[0, mark]
    rows = np.full(n_marks + 1, row)
    mean, members = opened.predict_members(rows, np.repeat(a, n_marks + 1, axis=0), swapped)
    changes = (members - members[:, -1:])[:, :-1].astype(np.float64)
    spread = changes.std(axis=0, ddof=1) if len(members) > 1 else np.full(n_marks, np.nan)
    return (mean - mean[-1])[:-1].astype(np.float64), spread

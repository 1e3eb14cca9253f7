"""A cost-sensitive Hopfield network that ranks genes (COSNet, after Frasca and Pavesi 2013).

Genes are neurons, connected by how alike their marks are. For a reference change, training genes above it are
in the state sin(angle), the others in -cos(angle), and a further gene is ranked by what it receives: the
angle and the threshold are those that best tell the training genes apart by what each receives from all
others. Frasca and Pavesi let genes without labels influence each other as well, until the network is at
rest; here they don't, so that a gene's prediction does not depend on which others are asked for with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.features import Scaler, log2_difference, merges
from diffchrom.baselines.kernel_svr import rbf_kernel
from diffchrom.baselines.method import (
    Context,
    Examples,
    Grid,
    Matrix,
    Prediction,
    Predictor,
    Vector,
    require_genes,
    selection_score,
)
from diffchrom.genome.genes import Signal

_AT_A_TIME = 2048  # genes whose connections are held


@dataclass(frozen=True)
class RankingNetwork:
    """What a gene receives from the training genes, averaged over references and brought to log2fc.

    Attributes
    ----------
    merge : bins averaged into one feature of the difference of the signals.
    scaler : of the features.
    known : float32 [n_train, n_features], scaled.
    width : of the kernel that connects genes.
    states : float64 [n_train, n_references], divided by the square root of each gene's connections.
    thresholds, spreads : float64 [n_references], of what training genes receive.
    slope, intercept : from their mean to log2fc, by least squares on the training genes.
    chosen : width, and the angle and F-score of each reference.
    """

    merge: int
    scaler: Scaler
    known: Signal
    width: float
    states: Matrix
    thresholds: Vector
    spreads: Vector
    slope: float
    intercept: float
    chosen: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit each other, with ValueError."""
        n_references = len(self.thresholds)
        if self.states.shape != (len(self.known), n_references) or self.spreads.shape != (n_references,):
            raise ValueError("states, genes and references differ in number")
        if self.known.ndim != 2 or self.known.shape[1] != len(self.scaler.mean):
            raise ValueError("genes and scales differ in features")

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        features = self.scaler.apply(log2_difference(genes, self.merge)).astype(np.float32)
        received = np.empty((len(features), len(self.thresholds)))
        for first in range(0, len(features), _AT_A_TIME):
            rows = slice(first, first + _AT_A_TIME)
            connections = rbf_kernel(features[rows], self.known, self.width)
            received[rows] = _received(connections, self.states)
        return Prediction(self.slope * _score(received, self.thresholds, self.spreads) + self.intercept)


def _received(connections: Signal, states: Matrix) -> Matrix:
    """What genes receive over their connections [n_genes, n_train], which share a gene out."""
    strength = np.sqrt(np.maximum(connections.sum(axis=1, dtype=np.float64), 1e-12))
    return np.asarray(connections @ states / strength[:, None])


def _score(received: Matrix, thresholds: Vector, spreads: Vector) -> Vector:
    return np.asarray(((received - thresholds) / spreads).mean(axis=1))


def best_cut(values: Vector, positive: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Threshold above which genes are called positive with the highest F-score, and that score."""
    order = np.argsort(-values, kind="stable")
    hits = np.cumsum(positive[order])
    f = 2 * hits / (np.arange(1, len(values) + 1) + positive.sum())
    last = np.append(np.diff(values[order]) != 0, True)  # equal genes are called together
    best = int(np.argmax(np.where(last, f, -1.0)))
    below = values[order[best + 1]] if best + 1 < len(values) else values[order[best]] - 1.0
    return float((values[order[best]] + below) / 2), float(f[best])


@dataclass(frozen=True)
class _Connections:
    """Connections of the training genes with each other, none of a gene with itself."""

    features: Signal
    width: float

    def sums(self, columns: Matrix) -> Matrix:
        """Sum of `columns` [n_train, n] over each gene's neighbours, weighed by its connections."""
        result = np.empty((len(self.features), columns.shape[1]))
        for first in range(0, len(self.features), _AT_A_TIME):
            rows = slice(first, first + _AT_A_TIME)
            connections = rbf_kernel(self.features[rows], self.features, self.width)
            connections[np.arange(len(connections)), np.arange(first, first + len(connections))] = 0
            result[rows] = connections @ columns
        return result


def _network(
    connections: _Connections, labels: Vector, references: tuple[float, ...], scaler: Scaler, merge: int
) -> RankingNetwork:
    """Learn angle and threshold of every reference from what the training genes receive from each other."""
    strength = np.sqrt(np.maximum(connections.sums(np.ones((len(labels), 1))), 1e-12))
    above = labels[:, None] > np.asarray(references)
    both = connections.sums(np.column_stack([above, ~above]) / strength) / strength
    from_above, from_below = both[:, : len(references)], both[:, len(references) :]
    states, received, thresholds, angles, scores = [], [], [], [], []
    for number in range(len(references)):
        # A line through the origin calls a gene positive where its own angle is the smaller one.
        own = np.arctan2(from_below[:, number], from_above[:, number])
        cut, _ = best_cut(-own, above[:, number])
        angle = float(np.clip(-cut, 0.0, np.pi / 2))
        value = np.sin(angle) * from_above[:, number] - np.cos(angle) * from_below[:, number]
        threshold, score = best_cut(value, above[:, number])
        states.append(np.where(above[:, number], np.sin(angle), -np.cos(angle)) / strength[:, 0])
        received.append(value)
        thresholds.append(threshold)
        angles.append(angle)
        scores.append(score)
    table = np.stack(received, axis=1)
    spreads = table.std(axis=0)
    spreads = np.where(spreads > 0, spreads, 1.0)
    mean = _score(table, np.array(thresholds), spreads)
    slope = float(np.cov(mean, labels)[0, 1] / mean.var(ddof=1)) if np.ptp(mean) > 0 else 0.0
    chosen = {
        "width": connections.width,
        "references": list(references),
        "angles": angles,
        "f_scores": scores,
        "left_out_r": selection_score(labels, mean),
    }
    return RankingNetwork(
        merge,
        scaler,
        connections.features,
        connections.width,
        np.stack(states, axis=1),
        np.array(thresholds),
        spreads,
        slope,
        float(labels.mean() - slope * mean.mean()),
        chosen,
    )


def ranking_network(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Connect genes by a kernel of each width; r of training genes that receive from all others chooses."""
    require_genes(train, 3, "ranking-network")
    (merge,) = merges(train.signal_a.shape[2], grid["merge"])
    features = log2_difference(train, merge)
    scaler = Scaler.fit(features)
    scaled = scaler.apply(features).astype(np.float32)
    networks = []
    with context.reporter.task("ranking network", len(grid["width"])) as task:
        for width in grid["width"]:
            connections = _Connections(scaled, width / scaled.shape[1])
            networks.append(_network(connections, train.log2fc, grid["reference"], scaler, merge))
            task.advance(1, f"r {networks[-1].chosen['left_out_r']:.3f}")
    return max(networks, key=lambda network: network.chosen["left_out_r"])

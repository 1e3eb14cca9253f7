"""How far a model of several pairs can be believed, pair by pair, and in cells that it has not seen.

Intervals that hold for unseen cells are calibrated on what unseen cells look like: every cell that is learnt
from is left out in turn, and one model is trained on the pairs without it. It misses the validation genes of
the pairs with that cell by as much as the run's model is to be expected to miss those of a new cell. It has
fewer pairs and no ensemble, so the intervals are rather too wide than too narrow; where both cells are new,
nothing makes up for the second one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from diffchrom.deepdiff.model import PairModel
from diffchrom.deepdiff.opened import GenePredictions, OpenedModel
from diffchrom.deepdiff.uncertainty import Calibration
from diffchrom.genome.genes import Rows
from diffchrom.metrics import pearson
from diffchrom.pairs.coverage import larger_expression
from diffchrom.pairs.pair import Pair, PairData
from diffchrom.pairs.pair_set import PairSet
from diffchrom.pairs.transform import pieces
from diffchrom.runs.pair_results import PairPrediction


@contextlib.contextmanager
def of_order(model: PairModel, order: float) -> Iterator[None]:
    """Let a model predict with another `PairModel.order` inside the block."""
    before = model.order
    model.set_order(order)
    try:
        yield
    finally:
        model.set_order(before)


def calibrate(predicted: Sequence[GenePredictions]) -> Calibration:
    """Calibrate intervals on genes that the model, or models, did not learn from."""
    truth = [genes.pair.labels.log2fc[genes.rows] for genes in predicted]
    larger = [larger_expression(genes.expression) for genes in predicted]
    levels = [values for values in larger if values is not None]
    return Calibration.fit(
        np.concatenate(truth),
        np.concatenate([genes.log2fc for genes in predicted]),
        np.concatenate(levels) if len(levels) == len(predicted) else None,
    )


def predict_part(opened: OpenedModel, pairs: Sequence[Pair], part: str) -> list[GenePredictions]:
    """Predict one part of the split of each pair, without intervals."""
    return [replace(opened, pair=pair, calibration=None).predict(pair.rows(part)) for pair in pairs]


def judge(
    opened: OpenedModel, pairs: PairSet, calibration: Calibration, unseen: Calibration | None
) -> tuple[PairPrediction, ...]:
    """Predict the test genes of every pair of `PairSet.judged`, with the intervals that hold for its kind.

    Parameters
    ----------
    opened : on any of the pairs.
    calibration, unseen : of pairs that were learnt from, and of those with a cell that was not.
    """
    judged = []
    for pair in pairs.judged:
        own = pair in pairs.pairs
        here = replace(opened, pair=pair, calibration=calibration if own else unseen)
        with of_order(opened.model, opened.model.order if own else 0.0):
            genes = here.predict(pair.rows("test"))
        judged.append(PairPrediction(pair, pairs.kind(pair), genes.rows, genes.log2fc, genes.low, genes.high))
    return tuple(judged)


def r_without_shift(opened: OpenedModel, data: PairData, rows: Rows) -> float:
    """Pearson's r of the genes `rows` where the shift is left out, as it is for any other pair."""
    with of_order(opened.model, 0.0):
        predicted = [
            opened.predict_signal(piece, data.signal_a[piece], data.signal_b[piece]).log2fc
            for piece in pieces(rows)
        ]
    return pearson(data.log2fc[rows], np.concatenate(predicted)) if len(rows) else float("nan")

"""Predictions of a model from its inputs, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diffchrom.deepdiff.building import INFERENCE_BATCH
from diffchrom.deepdiff.cuda import computing
from diffchrom.deepdiff.model import Output, PairModel


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for some genes.

    Attributes
    ----------
    log2fc : float32 [n_genes]
    expression : dict of cell (A, B) to float32 [n_genes]
        log2(expression + 1), or the probability of the upper class; empty without auxiliary tasks.
    spread : float32 [n_genes]
        Standard deviation of log2fc over the members of an ensemble; NaN for a single model.
    """

    log2fc: npt.NDArray[np.float32]
    expression: dict[str, npt.NDArray[np.float32]]
    spread: npt.NDArray[np.float32]

    def take(self, rows: npt.NDArray[np.intp]) -> Predictions:
        """Those of some of the genes."""
        expression = {cell: values[rows] for cell, values in self.expression.items()}
        return Predictions(self.log2fc[rows], expression, self.spread[rows])

    @classmethod
    def concatenate(cls, pieces: Sequence[Predictions]) -> Predictions:
        """Join predictions of several batches."""
        if not pieces:
            return cls(np.empty(0, np.float32), {}, np.empty(0, np.float32))
        return cls(
            np.concatenate([piece.log2fc for piece in pieces]),
            {
                cell: np.concatenate([piece.expression[cell] for piece in pieces])
                for cell in pieces[0].expression
            },
            np.concatenate([piece.spread for piece in pieces]),
        )


def forward_batches(model: PairModel, *inputs: Tensor, batch_size: int = INFERENCE_BATCH) -> Iterator[Output]:
    """Yield the model's outputs batch by batch, without gradients; the model's mode is left as it was."""
    training = model.training
    device = next(model.parameters()).device
    model.eval()
    try:
        for first in range(0, len(inputs[0]), batch_size):
            with torch.inference_mode(), computing(device):
                output = model(*(x[first : first + batch_size].to(device) for x in inputs))
            yield output
    finally:
        model.train(training)


def predict_tensors(model: PairModel, *inputs: Tensor, batch_size: int = INFERENCE_BATCH) -> Predictions:
    """Predict from a model's inputs, each [n_genes, ...], on any device."""
    return Predictions.concatenate(
        [_as_arrays(output) for output in forward_batches(model, *inputs, batch_size=batch_size)]
    )


def _as_arrays(output: Output) -> Predictions:
    unknown = torch.full_like(output.log2fc, torch.nan)
    predicted = {
        cell: values.softmax(1)[:, 1] if values.shape[1] == 2 else values[:, 0]
        for cell, values in output.expression.items()
    }
    return Predictions(
        _array(output.log2fc),
        {cell: _array(values) for cell, values in predicted.items()},
        _array(unknown if output.log2fc_spread is None else output.log2fc_spread),
    )


def _array(values: Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(values.float().cpu().numpy())

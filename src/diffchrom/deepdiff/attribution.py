"""How much each mark and bin of each cell contributes to a predicted log2fc, by the model's gradients.

Contributions are signed and relative to the average training gene x0, the same in both cells. *Gradient x
input* is the first-order contribution, dF/dx (x - x0); *integrated gradients* (Sundararajan, Taly and Yan
2017, by Captum) averages the gradient along the straight line from x0 to x, and its contributions add up to
F(x) - F(x0).

A gene without any signal would be no neutral x0: all genes have background, which the model was never
without. What it makes of the background's absence, for A and, with the other sign, for B, would be put down
to every bin and drown what differs between genes (docs/attend.md has the measurement).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diffchrom.deepdiff.cuda import computing
from diffchrom.deepdiff.model import Output, PairModel
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.genome.genes import Rows, Signal
from diffchrom.progress import SILENT, Reporter

#: Points on the line from the average gene's signal to the gene's own.
STEPS = 32
#: Genes whose gradients are computed together.
_GENES = 16

#: (model, (a, b), (a0, b0), further inputs) to contributions of a and of b, each [n, n_marks, n_windows].
Method = Callable[[PairModel, tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Tensor, ...]]


def _gradient_x_input(
    model: PairModel,
    inputs: tuple[Tensor, ...],
    baselines: tuple[Tensor, ...],
    further: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    gradients = torch.autograd.grad(model(*inputs, *further).log2fc.sum(), inputs)
    return tuple(gradient * (x - x0) for gradient, x, x0 in zip(gradients, inputs, baselines, strict=True))


def _integrated_gradients(
    model: PairModel,
    inputs: tuple[Tensor, ...],
    baselines: tuple[Tensor, ...],
    further: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    from captum.attr import IntegratedGradients

    def predicted(*tensors: Tensor) -> Tensor:
        output: Output = model(*tensors)
        return output.log2fc

    method = IntegratedGradients(predicted, multiply_by_inputs=True)
    size = len(inputs[0]) * STEPS
    contributions = method.attribute(
        inputs,
        baselines=baselines,
        additional_forward_args=further or None,
        n_steps=STEPS,
        internal_batch_size=size,
    )
    return tuple(contributions)


METHODS: dict[str, Method] = {
    "gradient_x_input": _gradient_x_input,
    "integrated_gradients": _integrated_gradients,
}


def attribute(
    opened: OpenedModel, rows: Rows, method: str = "integrated_gradients", reporter: Reporter = SILENT
) -> npt.NDArray[np.float32]:
    """Contributions of the signal of A and of B to the predicted log2fc.

    Parameters
    ----------
    opened : the model and the store.
    rows : genes, as rows of the store.
    method : a key of `METHODS`.

    Returns
    -------
    float32 [len(rows), 2, n_marks, n_windows]
        Axis 1 is the cell (A, B); bins in the order of the store.
    """
    pieces = [parts for _, _, parts in attribute_batches(opened, rows, method, reporter)]
    shape = (0, 2, len(opened.marks), opened.pair.n_windows)
    return np.concatenate([np.empty(shape, np.float32), *pieces])


def attribute_batches(
    opened: OpenedModel, rows: Rows, method: str, reporter: Reporter = SILENT
) -> Iterator[tuple[Rows, npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Yield genes, predicted log2fc [n] and contributions [n, 2, n_marks, n_windows], some at a time."""
    with reporter.task(method.replace("_", " "), len(rows)) as task:
        for batch, a, b in opened.pair.signal_batches(rows, _GENES):
            predicted = opened.predict_signal(batch, a, b).log2fc
            yield batch, predicted, attribute_signal(opened, batch, a, b, method)
            task.advance(len(batch))


def attribute_signal(
    opened: OpenedModel, rows: Rows, a: Signal, b: Signal, method: str = "integrated_gradients"
) -> npt.NDArray[np.float32]:
    """Contributions [n, 2, n_marks, n_windows] of raw signal of `rows`, all at once; see `attribute`."""
    a_input, b_input, *further = opened.inputs(rows, a, b)
    inputs = (a_input.requires_grad_(), b_input.requires_grad_())
    average = np.broadcast_to(opened.average_signal, a.shape)
    baselines = opened.inputs(rows, average, average)[:2]
    with torch.enable_grad(), computing(opened.device):
        parts = METHODS[method](opened.model, inputs, baselines, tuple(further))
    return np.stack([part.detach().float().cpu().numpy() for part in parts], axis=1)


def of_bins(contributions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Size of what a bin contributes [n, n_marks, n_windows], both cells together: log2fc is a difference."""
    return np.asarray(np.abs(contributions.sum(axis=1)))


def of_marks(contributions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Size [n, n_marks] of what a mark contributes, of both cells and all bins together.

    A mark that raises the prediction in one bin as much as it lowers it in another contributes nothing.
    """
    return np.asarray(np.abs(contributions.sum(axis=(1, 3))))


def of_sequences(opened: OpenedModel, contributions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Size of the contribution of what each sequence reads, comparable with its alpha.

    |A's| for a sequence of A, |B's| for one of B, and |A's + B's| for one of A - B, whose bins carry both.

    Returns
    -------
    float32 [n, n_sequences, n_windows], sequences in the order of `OpenedModel.sequences`.
    """
    by_source = {
        "A": np.abs(contributions[:, 0]),
        "B": np.abs(contributions[:, 1]),
        "A-B": np.abs(contributions.sum(axis=1)),
    }
    mark = {name: j for j, name in enumerate(opened.marks)}
    return np.stack([by_source[one.source][:, mark[one.mark]] for one in opened.sequences], axis=1)

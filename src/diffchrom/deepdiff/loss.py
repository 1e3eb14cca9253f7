"""The losses of DeepDiff (section 3.5 of the paper; the released code where the two differ)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.model import CELL_A, CELL_B, Output

#: Contrastive losses by name, of distance R, change S (1 where |log2fc| passes the threshold) and margin m.
CONTRASTIVE: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "paper": lambda r, s, m: (1 - s) * r / 2 + s * (m - r).clamp(min=0) ** 2 / 2,
    "squared": lambda r, s, m: (1 - s) * r**2 + s * (m - r).clamp(min=0) ** 2,
}


#: Class of a gene whose expression is unknown.
UNKNOWN_CLASS = -100


@dataclass(frozen=True)
class Targets:
    """Labels of a batch.

    Attributes
    ----------
    log2fc : Tensor [batch]
    expression : dict of block (A, B) to Tensor [batch]
        log2(expression + 1), or 0/1 class indices (int64) for classification; empty without expression.
    weight : Tensor [batch] or None
        Of the genes in the loss of log2fc, with mean 1 over the training genes.
    complete : bool
        Whether every gene's expression is known; else NaN, or class -100, is unknown.
    """

    log2fc: Tensor
    expression: dict[str, Tensor]
    weight: Tensor | None = None
    complete: bool = True

    def take(self, index: Tensor) -> Targets:
        """Return the labels of the genes at `index`."""
        expression = {block: values[index] for block, values in self.expression.items()}
        weight = None if self.weight is None else self.weight[index]
        return Targets(self.log2fc[index], expression, weight, self.complete)


def contrastive_loss(a: Tensor, b: Tensor, log2fc: Tensor, settings: Hyperparameters) -> Tensor:
    """Mean over the batch of the contrastive loss of embeddings a and b, each [batch, features].

    The distance R is Euclidean, with the 1e-6 that `torch.nn.functional.pairwise_distance` adds to each
    difference (so its gradient exists at zero, and as the released code computes it).
    """
    distance = F.pairwise_distance(a, b)
    changed = (log2fc.abs() >= settings.change_threshold).to(distance.dtype)
    return CONTRASTIVE[settings.contrastive](distance, changed, settings.margin).mean()


def expression_loss(predicted: Tensor, target: Tensor, aux_task: str, *, complete: bool = True) -> Tensor:
    """Loss of one cell's auxiliary head: predicted [batch, 1] or, for classification, [batch, 2] logits.

    Unless `complete`, genes of unknown expression (NaN, or class -100) count for nothing.
    """
    if aux_task == "classification":
        if complete:
            return F.cross_entropy(predicted, target)
        summed = F.cross_entropy(predicted, target, ignore_index=UNKNOWN_CLASS, reduction="sum")
        return summed / (target != UNKNOWN_CLASS).sum().clamp(min=1)
    if complete:
        return F.mse_loss(predicted.squeeze(1), target)
    known = torch.isfinite(target)
    error = torch.where(known, predicted.squeeze(1) - torch.nan_to_num(target), 0.0)
    return error.square().sum() / known.sum().clamp(min=1)


def change_loss(predicted: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Mean squared error of log2fc, of weighted genes where there are weights."""
    if weight is None:
        return F.mse_loss(predicted, target)
    return (weight * (predicted - target).square()).mean()


def total_loss(output: Output, targets: Targets, settings: Hyperparameters) -> Tensor:
    """Sum of the losses that the outputs call for: diff, cell (A and B), contrastive, and a penalty."""
    loss = change_loss(output.log2fc, targets.log2fc, targets.weight)
    for block, predicted in output.expression.items():
        if block not in targets.expression:  # a pair that is labelled by a table of changes alone
            continue
        cell = expression_loss(
            predicted, targets.expression[block], settings.aux_task, complete=targets.complete
        )
        loss = loss + settings.cell_weight * cell
    if output.embeddings:
        loss = loss + settings.contrastive_weight * contrastive_loss(
            output.embeddings[CELL_A], output.embeddings[CELL_B], targets.log2fc, settings
        )
    return loss if output.penalty is None else loss + output.penalty


def median_classes(expression: Tensor, median: float) -> Tensor:
    """Class of each gene's expression: 1 above the cell's median over the training genes, else 0.

    Where expression is unknown (NaN) it is `UNKNOWN_CLASS`.
    """
    return (expression > median).to(torch.int64).masked_fill(expression.isnan(), UNKNOWN_CLASS)

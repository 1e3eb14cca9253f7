"""What of a model is shown of each mark and window: its attention, gradients, or what it adds up.

Attention is never negative and belongs to a sequence of Level I. The others are signed (positive moves the
prediction towards B), belong to a mark, and are what the signal of both cells comes to together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from diffchrom.deepdiff.attribution import attribute_batches
from diffchrom.deepdiff.model import MAIN
from diffchrom.deepdiff.opened import AttentionBatch, LevelOneSequence, OpenedModel
from diffchrom.errors import UsageError, check_choice
from diffchrom.genome.genes import Rows
from diffchrom.progress import SILENT, Reporter

Batches = Callable[[OpenedModel, Rows, Reporter], Iterator[AttentionBatch]]


@dataclass(frozen=True)
class Kind:
    """One kind of weight.

    Attributes
    ----------
    name : as ``by`` takes it.
    batches : the model's, batch by batch; what is signed takes the place of alpha.
    of_windows, of_marks : what the numbers are called, as columns.
    """

    name: str
    batches: Batches
    of_windows: str
    of_marks: str

    @property
    def signed(self) -> bool:
        """Whether the numbers say towards which cell, and belong to a mark rather than to a sequence."""
        return self.of_windows != "alpha"


def _attention(opened: OpenedModel, rows: Rows, reporter: Reporter) -> Iterator[AttentionBatch]:
    return opened.attend_batches(rows, reporter)


def _attributed(method: str) -> Batches:
    def batches(opened: OpenedModel, rows: Rows, reporter: Reporter) -> Iterator[AttentionBatch]:
        for batch, log2fc, parts in attribute_batches(opened, rows, method, reporter):
            yield AttentionBatch(batch, parts.sum(axis=1), {}, log2fc)

    return batches


def _contributed(opened: OpenedModel, rows: Rows, reporter: Reporter) -> Iterator[AttentionBatch]:
    for batch in opened.attend_batches(rows, reporter):
        if batch.contribution is None:
            raise UsageError(
                f"`by={CONTRIBUTION}`: {opened.model.variant.name} does not add up its prediction from marks "
                f"and windows; choose one of {', '.join(name for name in KINDS if name != CONTRIBUTION)}"
            )
        yield AttentionBatch(batch.rows, batch.contribution, {}, batch.log2fc_pred)


ATTENTION, CONTRIBUTION = "attention", "contribution"
KINDS = {
    kind.name: kind
    for kind in (
        Kind(ATTENTION, _attention, "alpha", "beta"),
        Kind("gradient", _attributed("gradient_x_input"), *["gradient_x_input"] * 2),
        Kind("integrated-gradients", _attributed("integrated_gradients"), *["integrated_gradients"] * 2),
        Kind(CONTRIBUTION, _contributed, *[CONTRIBUTION] * 2),
    )
}


@dataclass(frozen=True)
class Weights:
    """What an opened model weighed, by one kind of weight.

    Attributes
    ----------
    sequences : rows of alpha; of signed kinds one a mark, whose block is called as the kind's column.
    tasks : columns of beta.
    """

    opened: OpenedModel
    kind: Kind
    sequences: tuple[LevelOneSequence, ...]
    tasks: dict[str, tuple[LevelOneSequence, ...]]

    @classmethod
    def of(cls, opened: OpenedModel, by: str = ATTENTION) -> Weights:
        """Choose the kind of weight `by`; UsageError where there is none, or not of this model."""
        check_choice("by", by, KINDS)
        kind = KINDS[by]
        if not kind.signed:
            return cls(opened, kind, opened.sequences, opened.tasks)
        sequences = tuple(LevelOneSequence(kind.of_windows, mark) for mark in opened.marks)
        weights = cls(opened, kind, sequences, {MAIN: sequences})
        if by == CONTRIBUTION:  # which model gives any is seen from what it gives
            next(weights.batches(np.arange(1)))
        return weights

    def batches(self, rows: Rows, reporter: Reporter = SILENT) -> Iterator[AttentionBatch]:
        """Yield the weights of the genes `rows`, in that order; beta of signed kinds is their sum."""
        for batch in self.kind.batches(self.opened, rows, reporter):
            if self.kind.signed:
                batch.beta[MAIN] = batch.alpha.sum(axis=-1)
            yield batch

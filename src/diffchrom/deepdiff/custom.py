"""Somebody's own torch module in the place of a variant: the same loop, metrics, intervals and checks."""

from __future__ import annotations

from torch import Tensor, nn

from diffchrom.deepdiff.model import Output, PairModel
from diffchrom.errors import UsageError
from diffchrom.variants import Variant

#: The row that stands for it; it says nothing of its inside.
CUSTOM = Variant("module", ("A", "B"), False, False, "a torch module of your own")


class Custom(PairModel):
    """A module that maps the input of cell A and of cell B to log2fc.

    Parameters
    ----------
    module : ``module(a, b)`` takes two tensors [batch, n_marks, n_bins] and gives [batch] or [batch, 1].
    n_marks : marks of one cell.
    """

    def __init__(self, module: nn.Module, n_marks: int) -> None:
        super().__init__()
        self.variant = CUSTOM
        self.n_marks = n_marks
        self.module = module

    def sequences(self) -> dict[str, tuple[str, ...]]:
        """None: nobody knows what it attends to."""
        return {}

    def forward(self, a: Tensor, b: Tensor) -> Output:
        """Predict; UsageError where the module gives another shape."""
        log2fc = self.module(a, b)
        if log2fc.shape not in ((len(a),), (len(a), 1)):
            raise UsageError(
                f"{type(self.module).__name__} gives {tuple(log2fc.shape)} for {len(a)} genes; "
                "it must give a tensor [batch] of log2 fold changes"
            )
        return Output(log2fc.reshape(len(a)), {}, {}, {}, {})

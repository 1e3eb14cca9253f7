"""Several models of one variant as one: predictions and attention are means over the members."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from diffchrom.deepdiff.model import MAIN, Output, PairModel, shares


class Ensemble(PairModel):
    """Members that differ in their seed only (Lakshminarayanan, Pritzel and Blundell 2017, without shuffles).

    Parameters
    ----------
    members : at least one model of one variant.
    """

    def __init__(self, members: Sequence[PairModel]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.variant = members[0].variant
        self.n_marks = members[0].n_marks

    def sequences(self) -> dict[str, tuple[str, ...]]:
        """As of each member."""
        return self.members[0].sequences()  # type: ignore[operator, no-any-return]

    def forward(self, a: Tensor, b: Tensor, *further: Tensor) -> Output:
        """Mean of the members' outputs, and the standard deviation of their log2fc."""
        outputs = [member(a, b, *further) for member in self.members]
        log2fc = torch.stack([output.log2fc for output in outputs])
        contributions = [output.contribution for output in outputs if output.contribution is not None]
        contribution = torch.stack(contributions).mean(dim=0) if contributions else None
        alpha = _means(outputs, lambda output: output.alpha)
        beta = _means(outputs, lambda output: output.beta)
        if contribution is not None:  # what members disagree about cancels, in attention too
            alpha[MAIN], beta[MAIN] = shares(contribution)
        return Output(
            log2fc=log2fc.mean(dim=0),
            expression=_means(outputs, lambda output: output.expression),
            embeddings=_means(outputs, lambda output: output.embeddings),
            alpha=alpha,
            beta=beta,
            log2fc_spread=log2fc.std(dim=0, correction=1) if len(outputs) > 1 else None,
            contribution=contribution,
        )


def _means(outputs: Sequence[Output], part: Callable[[Output], dict[str, Tensor]]) -> dict[str, Tensor]:
    parts = [part(output) for output in outputs]
    return {name: torch.stack([values[name] for values in parts]).mean(dim=0) for name in parts[0]}

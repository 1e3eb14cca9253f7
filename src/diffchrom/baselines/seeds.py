"""Fits that differ in their seed alone, and predict together: their mean is better than any one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diffchrom.baselines.method import Context, Examples, Grid, Method, Prediction, Predictor

#: Between the seeds of an average's members, so that runs of neighbouring seeds share none.
_MEMBER_SEED = 10_007


@dataclass(frozen=True)
class Averaged:
    """Several fits of one method, whose mean is predicted."""

    members: tuple[Predictor, ...]

    @property
    def chosen(self) -> Mapping[str, Any]:
        """What each member chose."""
        return {"members": [dict(member.chosen) for member in self.members]}

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        return Prediction(np.mean([member.predict(genes).log2fc for member in self.members], axis=0))


def fit_seeds(
    method: Method, train: Examples, valid: Examples, grid: Grid, context: Context, seeds: int = 1
) -> Predictor:
    """Fit a method with the context's seed, or with that and further ones, and average them.

    Parameters
    ----------
    method : what to fit.
    train, valid, grid, context : as for `Method.fit`.
    seeds : number of fits.
    """
    if seeds == 1:
        return method.fit(train, valid, grid, context)
    members = [replace(context, seed=context.seed + _MEMBER_SEED * number) for number in range(seeds)]
    return Averaged(tuple(method.fit(train, valid, grid, member) for member in members))

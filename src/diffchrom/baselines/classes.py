"""Telling up- from down-regulated genes, and what becomes of such an answer where log2fc is asked for.

Methods that classify learn from the genes of log2fc of at least 1 either way, and predict the log-odds of up
against down, or another decision value: it ranks genes as log2fc does, and has another unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diffchrom.baselines.method import Context, Examples, Grid, Prediction, Predictor
from diffchrom.baselines.relief import relieff, relieff_forest
from diffchrom.baselines.trees import random_forest
from diffchrom.errors import StoreError
from diffchrom.metrics import DIRECTION_THRESHOLD


def up_and_down(examples: Examples, least: int, what: str) -> Examples:
    """Genes that are up or down, with 1 and 0 in the place of log2fc.

    Raises
    ------
    StoreError
        When there are fewer than `least` of either.
    """
    up = examples.log2fc >= DIRECTION_THRESHOLD
    down = examples.log2fc <= -DIRECTION_THRESHOLD
    if min(up.sum(), down.sum()) < least:
        raise StoreError(
            f"{what} needs at least {least} genes with known expression that are up (log2fc of "
            f"{DIRECTION_THRESHOLD:g} or more) and {least} that are down, the split gives {up.sum()} and "
            f"{down.sum()}; choose another split with `split`"
        )
    changed = np.flatnonzero(up | down)
    return replace(examples.take(changed), log2fc=up[changed].astype(np.float64))


@dataclass(frozen=True)
class LogOdds:
    """The log-odds of up against down, of a forest that predicts the share of up.

    Attributes
    ----------
    share : predicts between 0 and 1.
    votes : trees behind a share; half a vote is added on either side, so that no odds are infinite.
    """

    share: Predictor
    votes: int

    @property
    def chosen(self) -> Mapping[str, Any]:
        """What was chosen for the forest."""
        return self.share.chosen

    def predict(self, genes: Examples) -> Prediction:
        """Predict log-odds."""
        up = self.votes * self.share.predict(genes).log2fc
        return Prediction(np.log((up + 0.5) / (self.votes - up + 0.5)))


# For two classes, variance is half of the Gini impurity and a mean of 0 and 1 is a share: regression forests
# on 0 and 1 are classification forests.


def random_forest_classes(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit a forest that tells up from down; the least out-of-bag error of its shares wins."""
    fitted = random_forest(up_and_down(train, 2, "random-forest-classes"), valid, grid, context)
    return LogOdds(fitted, int(fitted.chosen["n_estimators"]))


def relieff_forest_classes(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Rank features by ReliefF for two classes, then fit a forest that tells up from down.

    Validation chooses by the r of the forest's share with log2fc, as everywhere.
    """
    up_or_down = up_and_down(train, 2, "relieff-rf-classes")
    fitted = relieff_forest(up_or_down, valid, grid, context, rank=relieff)
    return LogOdds(fitted, int(fitted.chosen["n_estimators"]))

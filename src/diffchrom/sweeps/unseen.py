"""How much worse methods are in cells that they have not seen: runs with cells held out, by kind of pair.

A case is one pair that one run is judged on. Its ceiling is what the same method has on that pair when it
learns that pair alone. Kinds of pairs (`pair_set.KINDS`) are never averaged together, nor are runs from which
one cell was left out with runs from which two were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.config import NORMALISE
from diffchrom.errors import RunError
from diffchrom.pairs.pair_set import KINDS
from diffchrom.runs.differences import facts
from diffchrom.runs.folder import Run, RunConfig
from diffchrom.runs.pair_results import PairResult, read_results
from diffchrom.sweeps.labels import label_runs

Array = npt.NDArray[np.float64]

COLUMNS = (
    "left_out", "kind", "method", "cases", "pearson", "pearson_min", "pearson_max",
    "own_pair", "share_of_own", "coverage",
)  # fmt: skip
#: Facts in which a run of several pairs differs from the one of a pair itself.
_OF_PAIRS = ("pair", "pairs", "held_out")


@dataclass(frozen=True)
class UnseenCells:
    """What a method comes to on pairs of one kind.

    Attributes
    ----------
    left_out : number of cells of which nothing was learnt.
    kind : one of `pair_set.KINDS`.
    label : of the method.
    pearson : float64 [n_cases]
        r of each case's test genes; NaN where undefined.
    own : float64 [n_cases]
        r of the model of the pair itself; NaN where there is no such run.
    coverage : float64 [n_cases]
        Share of genes inside their intervals; NaN without intervals.
    """

    left_out: int
    kind: str
    label: str
    pearson: Array
    own: Array
    coverage: Array

    @property
    def shares(self) -> Array:
        """R as a share of the pair's own [n_cases]; NaN where that is not known, or not positive."""
        return self.pearson / np.where(self.own > 0, self.own, np.nan)

    @property
    def title(self) -> str:
        """Kind of pair, for people."""
        return f"{self.kind.replace('_', ' ')}, {self.left_out} left out"

    def row(self) -> tuple[Any, ...]:
        """Values of `COLUMNS`."""
        r = self.pearson[np.isfinite(self.pearson)]
        ends = (float(r.min()), float(r.max())) if len(r) else (None, None)
        means = map(mean_of_known, (self.own, self.shares, self.coverage))
        return (self.left_out, self.kind, self.label, len(self.pearson), mean_of_known(r), *ends, *means)


def mean_of_known(values: Array) -> float | None:
    """Mean of what is not NaN; None where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def unseen_cells(runs: Sequence[Run]) -> list[UnseenCells]:
    """Put together the runs with cells held out, and those of one pair alone for the ceiling.

    Returns
    -------
    list of UnseenCells
        Fewest cells left out first, kinds in the order of `KINDS`, the best mean r first; empty where no run
        has cells held out.
    """
    apart = [run for run in runs if run.config.held_out]
    labels, _ = label_runs(apart, alike=_OF_PAIRS)
    ceiling = _Ceiling(runs)
    cases: dict[tuple[int, str, str], list[tuple[PairResult, float]]] = {}
    for run, label in zip(apart, labels, strict=True):
        for result in read_results(run.config.details.get("pairs", ())):
            key = (len(run.config.held_out), result.kind, label)
            cases.setdefault(key, []).append((result, ceiling.of(run.config, result.pair)))
    rows = []
    for key, its in cases.items():
        values = [(result.pearson, own, result.coverage) for result, own in its]
        rows.append(UnseenCells(*key, *np.array(values, dtype=np.float64).T))
    return sorted(
        rows, key=lambda row: (row.left_out, KINDS.index(row.kind), -(mean_of_known(row.pearson) or -1))
    )


def require_unseen(runs: Sequence[Run]) -> list[UnseenCells]:
    """`unseen_cells`; RunError where there is none."""
    rows = unseen_cells(runs)
    if not rows:
        raise RunError(
            f"{runs[0].path}: no run has cells held out; `diffchrom sweep --leave-cells-out 1` makes some"
        )
    return rows


class _Ceiling:
    """r of models of one pair alone, found by what made them."""

    def __init__(self, runs: Sequence[Run]) -> None:
        alone = [run.config for run in runs if not (run.config.held_out or run.config.pairs)]
        self._r = {(*_made_by(config), ",".join(config.pair)): _r(config) for config in alone}

    def of(self, config: RunConfig, pair: str) -> float:
        """R on a pair of the method of a run; with signal normalised as in that run, or else as there is."""
        made, normalise = _made_by(config)
        found = (self._r.get((made, way, pair)) for way in (normalise, *NORMALISE))
        return next((r for r in found if r is not None), np.nan)


def _made_by(config: RunConfig) -> tuple[frozenset[tuple[str, Any]], str]:
    """All that decides what is computed, whatever the pairs; how signal is normalised stands apart."""
    apart = (*_OF_PAIRS, "cell_shifts", "store", "normalise")
    made = frozenset((name, value) for name, value in facts(config).items() if name not in apart)
    return made, config.normalise


def _r(config: RunConfig) -> float:
    """R of test genes; of a cross-validation the mean over folds, as its pairs have it."""
    values = config.details["fold_mean"] if config.folds else config.metrics.get("test", {})
    r = values.get("pearson")
    return np.nan if r is None else float(r)

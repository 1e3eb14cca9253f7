"""What Figure 4 of the paper shows, for whoever draws it: r of every method on every pair, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffchrom.sweeps.comparison import Comparison

Array = npt.NDArray[np.float64]

#: With so many pairs at most, methods stand below one another with their names beside them, pair by pair.
PANELS = 3
AXIS = "Pearson r, test genes"


@dataclass(frozen=True)
class Figure4:
    """One group of runs, ready to be drawn.

    Attributes
    ----------
    title : name of the group; empty where there is one.
    methods : labels, the best mean r first.
    pairs : names of the pairs.
    r : float64 [n_methods, n_pairs]; NaN where there is none.
    below, above : float64 [n_methods, n_pairs]
        Lengths of the whiskers, which reach to the ends of the 95% intervals; 0 where there is no r.
    best : label of the variant with the highest r on every pair, empty where there is none.
    """

    title: str
    methods: tuple[str, ...]
    pairs: tuple[str, ...]
    r: Array
    below: Array
    above: Array
    best: tuple[str, ...]

    @property
    def lines(self) -> bool:
        """Whether pairs are few enough for a line a method; else bars, grouped by pair, as in the paper."""
        return len(self.pairs) <= PANELS


def figure_4(comparison: Comparison) -> Figure4:
    """Prepare the figure of a group of runs."""
    r = comparison.r
    shape = (*r.shape, 2)
    ends = np.array([comparison.interval(i, j) for i, j in np.ndindex(r.shape)]).reshape(shape)
    below, above = (np.nan_to_num(np.maximum(reach, 0)) for reach in (r - ends[..., 0], ends[..., 1] - r))
    names = tuple(", ".join(pair) for pair in comparison.pairs)
    return Figure4(comparison.group, comparison.labels, names, r, below, above, _best(comparison))


def _best(comparison: Comparison) -> tuple[str, ...]:
    variants = [i for i, its in enumerate(comparison.results) if its and its[0].run.config.kind == "deepdiff"]
    r = np.where(np.isfinite(comparison.r), comparison.r, -np.inf)
    best = [max(variants, key=lambda i: of_pair[i], default=-1) for of_pair in r.T]
    return tuple(
        comparison.labels[i] if i >= 0 and np.isfinite(comparison.r[i, j]) else "" for j, i in enumerate(best)
    )

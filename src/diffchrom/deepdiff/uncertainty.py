"""Prediction intervals: split conformal prediction in groups of genes, calibrated on the validation genes.

How far off a prediction may be shows in two things that are known before the truth is: genes that are
predicted to be silent in both cells hardly change, and large predictions miss by more than small ones. So
genes are put into groups by the larger of their two predicted expressions (fifths of the validation genes,
where these are enough), and in each group the half width of an interval is sqrt(c0 + c2 prediction^2). The
coefficients, both >= 0, make its square the 0.9 quantile of the squared residuals (linear quantile
regression; Koenker and Bassett 1978, Econometrica 46:33). Then all widths of the group are multiplied by the
ceil((n + 1) 0.9)-th smallest of the n ratios of residual to half width, each to a width that was fitted on
four fifths of the group without that gene: the interval of another gene of the group covers the truth with
probability of about 0.9 or more if that gene is exchangeable with them (Vovk, Gammerman and Shafer 2005,
section 4.5, "Mondrian"; Lei et al. 2018, Theorem 2; for the fifths Barber et al. 2021, Annals of Statistics
49:486).

What keeps that from being exact here: the best epoch was chosen on the same genes, and neighbours are alike.
`train` reports the coverage of the test genes for that reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Nominal coverage of the intervals, and the names of their ends in tables.
LEVEL = 0.9
COLUMNS = ("log2fc_spread", "lo90", "hi90")

#: Groups by predicted expression, at most.
GROUPS = 5
#: Validation genes that a group needs, that widths need which grow with the prediction, and any interval.
GROUP_GENES, SCALE_GENES, LEAST_GENES = 200, 50, 9
#: Parts of a group that are left out in turn.
FIFTHS = 5

_NONE = "no intervals (lo90 and hi90 are NA)"


@dataclass(frozen=True)
class Calibration:
    """How wide a gene's interval is.

    Attributes
    ----------
    level : float
        Nominal coverage.
    n : int
        Validation genes it was calibrated on.
    edges : tuple of float
        Predicted expressions between the groups, ascending; empty where there is one group.
    groups : tuple of (c0, c1, c2)
        The square of a half width is c0 + c1 spread^2 + c2 prediction^2; c0 is infinite where there are too
        few validation genes. c1 is 0 but in runs of before, when the spread of an ensemble's members counted
        (it says nothing of the error that the others don't say).
    """

    level: float
    n: int
    edges: tuple[float, ...]
    groups: tuple[tuple[float, float, float], ...]

    @classmethod
    def fit(
        cls,
        truth: npt.NDArray[Any],
        prediction: npt.NDArray[Any],
        expression: npt.NDArray[Any] | None = None,
        level: float = LEVEL,
    ) -> Calibration:
        """Calibrate on genes that the model was not fitted on.

        Parameters
        ----------
        truth, prediction : float [n]
            log2fc and its prediction; genes of which one is unknown are left out.
        expression : float [n]
            The larger of the two predicted expressions (`larger_expression`); None where none is predicted.
        """
        known = np.isfinite(truth) & np.isfinite(prediction)
        prediction = prediction[known].astype(np.float64)
        squares = (truth[known].astype(np.float64) - prediction) ** 2
        expression = None if expression is None else expression[known]
        edges = _edges(expression)
        group = _groups_of(edges, expression, len(squares))
        groups = [
            _fit_group(squares[group == number], prediction[group == number], level)
            for number in range(len(edges) + 1)
        ]
        return cls(level, len(squares), edges, tuple(groups))

    @property
    def is_bounded(self) -> bool:
        """Whether there were enough validation genes for intervals."""
        return all(math.isfinite(group[0]) for group in self.groups)

    def interval(
        self,
        prediction: npt.NDArray[Any],
        expression: npt.NDArray[Any] | None = None,
        spread: npt.NDArray[Any] | None = None,
    ) -> tuple[Array, Array]:
        """Ends of the intervals, float64 [n]; NaN where there is no bound.

        Parameters
        ----------
        prediction : float [n]
        expression : float [n]
            As for `fit`; without it there is no bound where there are groups.
        spread : float [n]
            Of the members of an ensemble; NaN or None for a single model.
        """
        prediction = np.asarray(prediction, dtype=np.float64)
        spread = np.zeros(len(prediction)) if spread is None else np.nan_to_num(spread.astype(np.float64))
        group = _groups_of(self.edges, expression, len(prediction))
        unbounded = (math.inf, 0.0, 0.0)  # of group -1, the last row
        c0, c1, c2 = np.array([*self.groups, unbounded])[group].T
        half = np.sqrt(c0 + c1 * spread**2 + c2 * prediction**2)
        half = np.where(np.isfinite(half), half, np.nan)
        return prediction - half, prediction + half

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON; `Calibration.from_dict` reads it back."""
        groups = [[value if math.isfinite(value) else None for value in group] for group in self.groups]
        return {"level": self.level, "n": self.n, "edges": list(self.edges), "groups": groups}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Inverse of `to_dict`; KeyError, TypeError or ValueError where `values` is something else.

        It also reads what runs of before held: the ``quantile`` q and the ``scale`` of one group, whose
        squared half width is q^2 (c0 + c1 spread^2 + c2 prediction^2).
        """
        edges = tuple(float(edge) for edge in values.get("edges", ()))
        if "quantile" in values:
            quantile = values["quantile"]
            scale = [(quantile or 0) ** 2 * float(value) for value in values["scale"]]
            groups = [scale if quantile is not None else [None, 0, 0]]
        else:
            groups = values["groups"]
        read = [[math.inf if value is None else float(value) for value in group] for group in groups]
        if not all(value >= 0 for group in read for value in group):
            raise ValueError("a calibration has no negative numbers")
        if len(read) != len(edges) + 1 or not (np.diff(edges) > 0).all():
            raise ValueError("a calibration has one group more than edges, and these ascend")
        triples = tuple((c0, c1, c2) for c0, c1, c2 in read)
        return cls(float(values["level"]), int(values["n"]), edges, triples)


def calibration_for(
    calibration: Calibration | None,
    same_pair: bool,
    truth: npt.NDArray[Any],
    prediction: npt.NDArray[Any],
    expression: npt.NDArray[Any] | None = None,
) -> tuple[Calibration | None, str]:
    """What the intervals of a pair of cells are made with.

    A calibration holds for the cells it was made on, in either order: on others its 90% covered 69% to 94%.

    Parameters
    ----------
    calibration : the run's own; None for a run of before there was one.
    same_pair : whether the cells are those that the run was trained on.
    truth, prediction, expression : float [n]
        As for `Calibration.fit`, of the pair's genes that are validation genes of the run's own split; what
        the run was trained on must not be among them. Not looked at where `same_pair`.

    Returns
    -------
    calibration : None where there can be no interval.
    note : why, or how it was made; empty where it is the run's own.
    """
    if same_pair:
        return calibration, "" if calibration else f"{_NONE}: the run was made without; train it again"
    anew = Calibration.fit(truth, prediction, expression)
    if anew.is_bounded:
        return anew, f"{anew.level:.0%} intervals are calibrated on {anew.n} validation genes of these cells"
    return None, (
        f"{_NONE}: the run's hold for its own cells only, and of these cells {anew.n} validation genes "
        f"have a measured change, where {LEAST_GENES} are needed"
    )


def _edges(expression: npt.NDArray[Any] | None) -> tuple[float, ...]:
    """Predicted expressions that part the genes into groups of equal size."""
    if expression is None or len(expression) < 2 * GROUP_GENES:
        return ()
    n = min(GROUPS, len(expression) // GROUP_GENES)
    edges = np.unique(np.quantile(expression.astype(np.float64), np.arange(1, n) / n))
    # Ties can leave a group all but empty.
    sizes = np.bincount(np.searchsorted(edges, expression), minlength=len(edges) + 1)
    return tuple(edges.tolist()) if sizes.min() >= GROUP_GENES // 2 else ()


def _groups_of(edges: tuple[float, ...], expression: npt.NDArray[Any] | None, n: int) -> npt.NDArray[np.intp]:
    """Group of each of `n` genes; -1 where it cannot be told."""
    if not edges:
        return np.zeros(n, dtype=np.intp)
    if expression is None:
        return np.full(n, -1, dtype=np.intp)
    return np.where(np.isfinite(expression), np.searchsorted(edges, expression), -1)


def _fit_group(squares: Array, prediction: Array, level: float) -> tuple[float, float, float]:
    """c0, c1 and c2 of a group, from its squared residuals."""
    n = len(squares)
    rank = math.ceil((n + 1) * level)
    if rank > n:
        return math.inf, 0.0, 0.0
    if n < SCALE_GENES:
        return float(np.sort(squares)[rank - 1]), 0.0, 0.0
    x = prediction**2
    ratios = np.empty(n)
    for left_out in np.array_split(np.arange(n), FIFTHS):
        rest = np.delete(np.arange(n), left_out)
        c0, c2 = _quantile_regression(squares[rest], x[rest], level)
        ratios[left_out] = squares[left_out] / (c0 + c2 * x[left_out])
    factor = float(np.sort(ratios)[rank - 1])
    c0, c2 = _quantile_regression(squares, x, level)
    return factor * c0, 0.0, factor * c2


def _quantile_regression(values: Array, x: Array, level: float) -> tuple[float, float]:
    """c0 and c2 >= 0 for which c0 + c2 x is the `level` quantile of `values`, all >= 0.

    Solved as its dual, which has two constraints instead of one a gene: the multipliers of these are the
    coefficients.
    """
    from scipy.optimize import linprog

    # A width that can be all but zero would make the ratio to it meaningless.
    least = max(0.01 * float(np.quantile(values, level)), 1e-12)
    terms = np.stack([np.ones_like(x), x])
    solved = linprog(least - values, A_ub=terms, b_ub=np.zeros(2), bounds=(level - 1, level))
    first, second = np.maximum(-solved.ineqlin.marginals, 0)
    return least + float(first), float(second)

"""The table of ``compare --summary``: a method a row, with the paper's Table 1 and differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import UsageError
from diffchrom.metrics import METRICS
from diffchrom.sweeps.comparison import Comparison, Contrast, contrasts
from diffchrom.sweeps.results import averaged

#: Methods against which the paper's Table 1 gives every other one.
REFERENCES = ("svr-two-layer", "attentivechrome")
SUMMARY_COLUMNS = (
    "method", "preset", "label", "group", "n_pairs", "n_runs", "averaged",
    "mean_pearson", "mean_pearson_low", "mean_pearson_high", "median_pearson",
    *(f"{average}_vs_{reference}" for reference in REFERENCES for average in ("mean", "median")),
    "wins", "against", "difference", "difference_low", "difference_high", "p", "p_holm",
    *(f"mean_{name}" for name in METRICS if name != "pearson"),
)  # fmt: skip


def summary_rows(comparison: Comparison, against: str | None = None) -> list[dict[str, Any]]:
    """Rows of `SUMMARY_COLUMNS`: the methods of a group, the best mean r first.

    Parameters
    ----------
    against : label of the method that differences are taken from; None is the best. P-values are corrected
        for the comparisons with a method that was named, and for those of all methods with one another where
        the best one was picked from among them.
    """
    reference = comparison.labels[0] if against is None else against
    known = {(one.first, one.second): one for one in contrasts(comparison, against)}
    relative = {name: comparison.relative(name) for name in REFERENCES}
    wins = comparison.wins()
    rows = []
    for i, (label, results) in enumerate(zip(comparison.labels, comparison.results, strict=True)):
        config = results[0].run.config
        r = comparison.r[i]
        row = {
            "method": config.variant,
            "preset": config.preset,
            "label": label,
            "group": comparison.group,
            "n_pairs": int(np.isfinite(r).sum()),
            "n_runs": len(results),
            "averaged": averaged(results),
        }
        names = ("mean_pearson", "mean_pearson_low", "mean_pearson_high")
        row |= dict(zip(names, map(_or_none, comparison.mean(i)), strict=True))
        row["median_pearson"] = _of_known(np.median, r)
        for name, share in relative.items():
            row |= {f"mean_vs_{name}": _of_known(np.mean, share[i])}
            row |= {f"median_vs_{name}": _of_known(np.median, share[i])}
        row |= {"wins": int(wins[i]), "against": None if label == reference else reference}
        row |= _difference(known, label, reference)
        row |= {f"mean_{name}": _mean_of(name, comparison, i) for name in METRICS if name != "pearson"}
        rows.append(row)
    return rows


def summary_tables(
    comparisons: Sequence[Comparison], against: str | None = None
) -> list[list[dict[str, Any]]]:
    """`summary_rows` of every group; where a group lacks the method `against`, its best one serves.

    Raises
    ------
    UsageError
        When no group has it.
    """
    labels = dict.fromkeys(label for comparison in comparisons for label in comparison.labels)
    if against is not None and against not in labels:
        raise UsageError(f"`against={against}`: not among the methods: {', '.join(labels)}")
    return [summary_rows(one, against if against in one.labels else None) for one in comparisons]


def one_table(
    tables: Sequence[Sequence[Mapping[str, Any]]], *, percent: bool = False
) -> tuple[tuple[str, ...], list[Mapping[str, Any]]]:
    """Columns and rows of all groups; Table 1 in `percent` is ``mean_percent_of_M`` for ``mean_vs_M``."""
    rows = [row for rows in tables for row in rows]
    if not percent:
        return SUMMARY_COLUMNS, rows
    names = {name: name.replace("_vs_", "_percent_of_") for name in SUMMARY_COLUMNS}
    shares = [name for name, renamed in names.items() if name != renamed]
    scaled = [{**row, **{name: row[name] and 100 * row[name] for name in shares}} for row in rows]
    return tuple(names.values()), [{names[name]: value for name, value in row.items()} for row in scaled]


def _difference(
    known: Mapping[tuple[str, str], Contrast], label: str, reference: str
) -> dict[str, float | None]:
    """What a method has less the reference; nothing for the reference itself."""
    names = ("difference", "difference_low", "difference_high", "p", "p_holm")
    if one := known.get((label, reference)):
        values = (one.value, one.low, one.high, one.p_value, one.p_adjusted)
    elif one := known.get((reference, label)):
        values = (-one.value, -one.high, -one.low, one.p_value, one.p_adjusted)
    else:
        return dict.fromkeys(names)
    return dict(zip(names, map(_or_none, values), strict=True))


def _mean_of(name: str, comparison: Comparison, method: int) -> float | None:
    """Mean of a metric over pairs, each the mean over its runs; None where one of them does not know it."""
    of_pair: dict[tuple[str, str], list[float]] = {}
    for result in comparison.results[method]:
        value = result.measured[name][0]
        if value is None:
            return None
        of_pair.setdefault(result.pair, []).append(value)
    return float(np.mean([np.mean(values) for values in of_pair.values()])) if of_pair else None


def _of_known(
    function: Callable[[npt.NDArray[np.float64]], Any], values: Sequence[float] | npt.NDArray[np.float64]
) -> float | None:
    known = np.asarray(values)[np.isfinite(values)]
    return float(function(known)) if len(known) else None


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None

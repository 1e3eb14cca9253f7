"""The report's section on cells that were held out: a table and a chart by kind of pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffchrom.report.charts import Chart, Palette, Table, View, axis
from diffchrom.report.page import Part, Section
from diffchrom.sweeps.figure4 import AXIS
from diffchrom.sweeps.results import find_runs
from diffchrom.sweeps.unseen import UnseenCells, mean_of_known, unseen_cells

_HEADER = (
    "cells left out", "pairs", "method", "cases", "mean r", "lowest", "highest", "r of own models",
    "share of it", "interval coverage",
)  # fmt: skip
_TITLE = "Accuracy in unseen cells"
_CAPTION = (
    "A dot is a pair that a run with cells held out is judged on, a line their mean; a diamond that of "
    "the models of these pairs themselves, which have seen both. Kinds of pairs are never averaged together."
)


def unseen_section(paths: Sequence[str | Path], palette: Palette) -> Section | None:
    """The section; None where no run has cells held out."""
    rows = unseen_cells(find_runs(paths))
    if not rows:
        return None
    table = Table(_HEADER, [row.row() for row in rows])
    parts = [
        Part("chart", chart=_chart(rows, palette)),
        Part("table", _TITLE, table=table),
    ]
    return Section("unseen", "Unseen cells", parts)


def _chart(rows: Sequence[UnseenCells], palette: Palette) -> Chart:
    titles = list(dict.fromkeys(row.title for row in rows))
    views = [_view(title, [row for row in rows if row.title == title], palette) for title in titles]
    height = 160 + 40 * max(len(view.traces) for view in views)
    return Chart("unseen-cells", _TITLE, _CAPTION, views, height)


def _view(title: str, rows: Sequence[UnseenCells], palette: Palette) -> View:
    traces = [
        {
            "type": "scatter", "mode": "markers", "name": row.label, "x": row.pearson,
            "y": np.full(len(row.pearson), row.label, dtype=object),
            "marker": {"color": palette.colour(row.label), "size": 7, "opacity": 0.6},
        }
        for row in rows
    ]  # fmt: skip
    labels = [row.label for row in rows]
    means, own = [mean_of_known(row.pearson) for row in rows], [mean_of_known(row.own) for row in rows]
    for name, x, symbol in (("mean", means, "line-ns-open"), ("own models", own, "diamond-open")):
        marker = {"color": "#222", "size": 13, "symbol": symbol, "line": {"width": 2}}
        drawn = {"type": "scatter", "mode": "markers", "name": name, "x": x, "y": labels}
        traces.append({**drawn, "marker": marker})
    said = ", ".join(f"{label} {r:.3f}" for label, r in zip(labels, means, strict=True) if r is not None)
    alt = f"Pearson's r on test genes of pairs of the kind {title}. Means: {said}."
    y = {"type": "category", "automargin": True, "autorange": "reversed"}
    return View(title, alt, traces, {"xaxis": axis(AXIS), "yaxis": y, "showlegend": False})

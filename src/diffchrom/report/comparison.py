"""Charts and tables of methods against one another: Table 1, Figure 4, which of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.files.figures import COLOURS
from diffchrom.metrics import METRICS
from diffchrom.report.charts import Chart, Palette, Table, View, axis, count
from diffchrom.sweeps.comparison import Comparison, contrasts
from diffchrom.sweeps.figure4 import AXIS, Figure4, figure_4
from diffchrom.sweeps.summary import REFERENCES, summary_rows

Array = npt.NDArray[np.float64]

#: Columns of `summary.SUMMARY_COLUMNS` in Table 1, and what they are called there.
_TABLE_1 = {
    "label": "method",
    "averaged": "mean over",
    "n_pairs": "pairs",
    "mean_pearson": "mean r",
    "median_pearson": "median r",
    **{
        f"{average}_vs_{reference}": f"{average} r / {reference}"
        for reference in REFERENCES
        for average in ("mean", "median")
    },
    "wins": "pairs won",
    "difference": "less the best",
    "difference_low": "low",
    "difference_high": "high",
    "p_holm": "p (Holm)",
    **{f"mean_{name}": name.replace("_", " ") for name in METRICS if name != "pearson"},
}


def table_1(comparison: Comparison) -> Table:
    """The paper's Table 1, pairs won and the difference to the best; columns of NA alone are left out."""
    rows = summary_rows(comparison)
    kept = [name for name in _TABLE_1 if any(row[name] not in (None, "") for row in rows)]
    return Table(tuple(_TABLE_1[name] for name in kept), [[row[name] for name in kept] for row in rows])


def methods_chart(comparisons: Sequence[Comparison], palette: Palette) -> Chart:
    """Figure 4, a view a group: a line a method where pairs are few, else bars grouped by pair."""
    figures = [figure_4(comparison) for comparison in comparisons]
    views = []
    for figure in figures:
        n_methods, n_pairs = figure.r.shape
        means = [f"{name} {shown_mean(r)}" for name, r in zip(figure.methods, figure.r, strict=True)]
        alt = (
            f"Pearson's r of {count(n_methods, 'method')} on {count(n_pairs, 'pair')} of cells. "
            f"Means: {', '.join(means[:8])}."
        )
        draw = _lines_by_method(figure) if figure.lines else _bars_by_pair(figure, palette)
        views.append(View(figure.title or "all", alt, *draw))
    caption = (
        "Pearson's r of predicted and measured log2 fold change on the test genes (Figure 4 of the paper), "
        "mean over seeds and folds; whiskers are 95% bootstrap intervals."
    )
    few = all(figure.lines for figure in figures)
    height = 140 + 22 * max(len(figure.methods) for figure in figures) if few else 460
    width = 0 if few else 90 + 7 * max(figure.r.size for figure in figures)
    return Chart("figure4", "Methods" if few else "Methods by pair", caption, views, height, width)


def _whiskers(above: Array, below: Array, colour: str = "#222") -> dict[str, Any]:
    """Error bars of these lengths [n]."""
    return {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "thickness": 1,
        "width": 2,
        "color": colour,
    }


def _lines_by_method(figure: Figure4) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Traces, one a pair, and layout: methods below one another, the best on top."""
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": pair,
            "x": figure.r[:, j],
            "y": figure.methods,
            "marker": {"color": COLOURS[j], "size": 9, "symbol": Palette.SYMBOLS[j]},
            "error_x": _whiskers(figure.above[:, j], figure.below[:, j], COLOURS[j]),
            "hovertemplate": "%{y}<br>r = %{x:.3f}",
        }
        for j, pair in enumerate(figure.pairs)
    ]
    layout = {
        "xaxis": axis(AXIS),
        "yaxis": {"type": "category", "automargin": True, "autorange": "reversed"},
        "showlegend": len(traces) > 1,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    }
    return traces, layout


def _bars_by_pair(figure: Figure4, palette: Palette) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Traces, one a method, and layout: as in the paper."""
    traces = [
        {
            "type": "bar",
            "name": label,
            "x": figure.pairs,
            "y": figure.r[i],
            "marker": {"color": palette.colour(label), "line": {"color": "#222", "width": 0.5}},
            "error_y": _whiskers(figure.above[i], figure.below[i]),
            "hovertemplate": "%{x}<br>r = %{y:.3f}",
        }
        for i, label in enumerate(figure.methods)
    ]
    layout = {
        "barmode": "group",
        "xaxis": axis("pair (A, B)", type="category"),
        "yaxis": axis(AXIS),
        "legend": {"orientation": "h", "y": -0.25},
    }
    return traces, layout


def shown_mean(values: Array) -> str:
    """Mean of what is known, for a sentence."""
    known = values[np.isfinite(values)]
    return f"{known.mean():.3f}" if len(known) else "undefined"


def contrast_charts(comparisons: Sequence[Comparison]) -> list[Chart]:
    """`contrast_matrix` of every group that has several methods."""
    several = [comparison for comparison in comparisons if len(comparison.labels) > 1]
    return [contrast_matrix(one, f"contrasts{number or ''}") for number, one in enumerate(several)]


def contrast_matrix(comparison: Comparison, chart_id: str = "contrasts") -> Chart:
    """Heat map of mean differences in r, with Holm-corrected p-values on hovering."""
    labels = list(comparison.labels)
    size = len(labels)
    value, text = np.full((size, size), np.nan), [[""] * size for _ in range(size)]
    rows = []
    significant = 0
    for contrast in contrasts(comparison):
        i, j = labels.index(contrast.first), labels.index(contrast.second)
        value[i, j], value[j, i] = contrast.value, -contrast.value
        star = "*" if contrast.p_adjusted < 0.05 else ""
        significant += bool(star)
        text[i][j] = text[j][i] = star
        rows.append(
            [contrast.first, contrast.second, contrast.n_pairs, contrast.value, contrast.low, contrast.high,
             contrast.p_value, contrast.p_adjusted]
        )  # fmt: skip
    limit = float(np.nanmax(np.abs(value))) if np.isfinite(value).any() else 1.0
    trace = {
        "type": "heatmap",
        "x": labels,
        "y": labels,
        "z": value,
        "text": text,
        "texttemplate": "%{text}",
        "colorscale": [[0, "#b35806"], [0.5, "#f7f7f7"], [1, "#2166ac"]],
        "zmin": -limit,
        "zmax": limit,
        "colorbar": {"title": {"text": "r less r"}},
        "hovertemplate": "%{y} less %{x}: %{z:.3f} %{text}<extra></extra>",
    }
    alt = f"Matrix of differences in mean r; {significant} of {len(rows)} differ with corrected p below 0.05."
    layout = {"xaxis": axis("", type="category"), "yaxis": axis("", type="category", autorange="reversed")}
    header = ("first", "second", "pairs", "first less second", "low", "high", "p", "p (Holm)")
    caption = (
        "Row less column: mean difference in r over the pairs both have. * marks p < 0.05 in a bootstrap "
        "that draws the same genes for both, after Holm's correction for all comparisons."
    )
    title = f"Which methods differ{f' ({comparison.group})' if comparison.group else ''}"
    chart_height = 200 + 26 * size
    return Chart(
        chart_id, title, caption, [View(comparison.group or "all", alt, [trace], layout)], chart_height,
        260 + 22 * size, Table(header, rows),
    )  # fmt: skip

"""Charts and tables of methods against one another: Table 1, Figure 4, which of them differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.files.figures import COLOURS
from diffchrom.report.charts import Chart, Palette, Table, View, axis, count
from diffchrom.sweeps.comparison import REFERENCES, Comparison, contrasts, summary_table
from diffchrom.sweeps.plots import PANELS

Array = npt.NDArray[np.float64]


def table_1(comparison: Comparison) -> Table:
    """The paper's Table 1 and the number of pairs won, without the matrix of tests."""
    header, rows = summary_table(comparison)
    end = header.index("wins") + 1
    kept = [
        i
        for i, name in enumerate(header[:end])
        if "_vs_" not in name or any(row[i] is not None for row in rows)
    ]
    return Table(tuple(_spoken(header[i]) for i in kept), [[row[i] for i in kept] for row in rows])


def _spoken(column: str) -> str:
    names = {"n_pairs": "pairs", "mean_pearson": "mean r", "median_pearson": "median r", "wins": "pairs won"}
    for reference in REFERENCES:
        for average in ("mean", "median"):
            names[f"{average}_vs_{reference}"] = f"{average} r / {reference}"
    return names.get(column, column)


def figure_4(comparison: Comparison, palette: Palette) -> Chart:
    """Pearson's r by pair and method: a line a method where pairs are few, else bars grouped by pair."""
    n_methods, n_pairs = comparison.r.shape
    best = comparison.labels[0]
    alt = (
        f"Pearson's r of {count(n_methods, 'method')} on {count(n_pairs, 'pair')} of cells. "
        f"Highest on average: {best}, {shown_mean(comparison.r[0])}."
    )
    caption = (
        "Pearson's r of predicted and measured log2 fold change on the test genes (Figure 4 of the paper), "
        "mean over seeds and folds; whiskers are 95% gene-bootstrap intervals."
    )
    if few := n_pairs <= PANELS:
        height, width = 140 + 22 * n_methods, 0
        view = View("all", alt, *_lines_by_method(comparison))
    else:
        height, width = 460, 90 + 7 * comparison.r.size
        view = View("all", alt, *_bars_by_pair(comparison, palette))
    return Chart("figure4", "Methods" if few else "Methods by pair", caption, [view], height, width)


def _whiskers(r: Array, ends: Array, colour: str = "#222") -> dict[str, Any]:
    """Error bars of r [n] with intervals [n, 2]."""
    return {
        "type": "data",
        "symmetric": False,
        "array": ends[:, 1] - r,
        "arrayminus": r - ends[:, 0],
        "thickness": 1,
        "width": 2,
        "color": colour,
    }


def _lines_by_method(comparison: Comparison) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Traces, one a pair, and layout: methods below one another, the best on top."""
    traces = []
    for j, pair in enumerate(comparison.pairs):
        ends, r = comparison.intervals_on(j), comparison.r[:, j]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": ", ".join(pair),
                "x": r,
                "y": comparison.labels,
                "marker": {"color": COLOURS[j], "size": 9, "symbol": Palette.SYMBOLS[j]},
                "error_x": _whiskers(r, ends, COLOURS[j]),
                "hovertemplate": "%{y}<br>r = %{x:.3f}",
            }
        )
    layout = {
        "xaxis": axis("Pearson r, test genes"),
        "yaxis": {"type": "category", "automargin": True, "autorange": "reversed"},
        "showlegend": len(traces) > 1,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    }
    return traces, layout


def _bars_by_pair(comparison: Comparison, palette: Palette) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Traces, one a method, and layout: as in the paper."""
    names = [", ".join(pair) for pair in comparison.pairs]
    traces = []
    for i, label in enumerate(comparison.labels):
        ends = np.array([comparison.interval(i, j) for j in range(len(names))])
        r = comparison.r[i]
        traces.append(
            {
                "type": "bar",
                "name": label,
                "x": names,
                "y": r,
                "marker": {"color": palette.colour(label), "line": {"color": "#222", "width": 0.5}},
                "error_y": _whiskers(r, ends),
                "hovertemplate": "%{x}<br>r = %{y:.3f}",
            }
        )
    layout = {
        "barmode": "group",
        "xaxis": axis("pair (A, B)", type="category"),
        "yaxis": axis("Pearson r, test genes"),
        "legend": {"orientation": "h", "y": -0.25},
    }
    return traces, layout


def shown_mean(values: Array) -> str:
    """Mean of what is known, for a sentence."""
    known = values[np.isfinite(values)]
    return f"{known.mean():.3f}" if len(known) else "undefined"


def contrast_matrix(comparison: Comparison) -> Chart:
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
        "paired over genes, after Holm's correction for all comparisons."
    )
    chart_height = 200 + 26 * size
    return Chart(
        "contrasts", "Which methods differ", caption, [View("all", alt, [trace], layout)], chart_height,
        260 + 22 * size, Table(header, rows),
    )  # fmt: skip

"""Charts and tables of runs: metrics, training curves, predicted against measured, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.metrics import METRICS, pearson
from diffchrom.report.charts import Chart, Palette, Table, View, axis
from diffchrom.runs.folder import HISTORY
from diffchrom.runs.reading import WrittenTable
from diffchrom.runs.tables import HISTORY_COLUMNS
from diffchrom.sweeps.results import Result

#: Most views of one chart; a page of hundreds of runs shows these many, and says so.
MAX_VIEWS = 12
#: Most genes drawn in one scatter plot; the rest are left out evenly.
MAX_POINTS = 1200
#: Groups of genes, by prediction, of a calibration curve.
CALIBRATION_GROUPS = 10
_LEGEND = {"orientation": "h", "y": -0.25}


def runs_table(results: Sequence[Result]) -> Table:
    """A row a run, with every metric and its interval."""
    keys = ("pair", "label", "seed", "split", "n")
    rows = []
    for result in results:
        row = result.row()
        rows.append([row[key] for key in keys] + [with_interval(row, name) for name in METRICS])
    header = ("pair", "method", *keys[2:], *(name.replace("_", " ") for name in METRICS))
    return Table(header, rows)


def metrics_legend() -> str:
    """What the columns of `runs_table` are."""
    return "; ".join(f"{name.replace('_', ' ')}: {metric.summary}" for name, metric in METRICS.items()) + "."


def with_interval(row: dict[str, Any], name: str) -> str | None:
    """A metric of a row with the ends of its interval, as text; None where it is undefined."""
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if value is None:
        return None
    interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return f"{value:.3f}{interval}"


def read_history(result: Result) -> dict[str, npt.NDArray[np.float64]]:
    """Columns of a run's ``history.tsv``; empty where it has none (baselines).

    A row of NaN parts the models of an ensemble, so that a line along an ensemble's epochs has gaps. Without
    a column ``member`` there is one model.
    """
    path = result.run.path / HISTORY
    if not path.is_file():
        return {}
    needed = [name for name in HISTORY_COLUMNS if name != "member"]
    written = WrittenTable.read(path, "training history", needed, "make the run again")
    header = written.header
    table = np.stack([written.numbers(name) for name in header], axis=1)
    if "member" in header:
        first = np.flatnonzero(np.diff(table[:, header.index("member")])) + 1
        table = np.insert(table, first, np.nan, axis=0)
    return {name: table[:, i] for i, name in enumerate(header)}


def epochs_of(history: dict[str, npt.NDArray[np.float64]]) -> tuple[list[int], list[int]]:
    """Epochs of every model of a run, and of each the one with the highest validation r."""
    if not history:
        return [], []
    models = np.split(history["valid_pearson"], np.flatnonzero(np.isnan(history["epoch"])))
    scores = [np.nan_to_num(scores[i > 0 :], nan=-np.inf) for i, scores in enumerate(models)]
    return [len(one) for one in scores], [int(one.argmax()) + 1 if len(one) else 0 for one in scores]


def training_curves(results: Sequence[Result], palette: Palette) -> Chart | None:
    """Validation r and training loss by epoch."""
    histories = [(result, history) for result in results if (history := read_history(result))]
    if not histories:
        return None
    views = []
    for name, column in (("validation r", "valid_pearson"), ("training loss", "train_loss")):
        traces: list[dict[str, Any]] = []
        shown: set[str] = set()
        for result, history in histories:
            config = result.run.config
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": result.label,
                    "legendgroup": result.label,
                    "showlegend": result.label not in shown,
                    "x": history["epoch"],
                    "y": history[column],
                    "line": {
                        "color": palette.colour(result.label),
                        "dash": palette.dash(result.label),
                        "width": 1.5,
                    },
                    "hovertemplate": f"{run_name(result)}<br>epoch %{{x}}: %{{y:.3f}}<extra></extra>",
                }
            )
            shown.add(result.label)
        alt = f"Lines of {name} by epoch for {len(histories)} training runs."
        views.append(
            View(name, alt, traces, {"xaxis": axis("epoch"), "yaxis": axis(name), "legend": _LEGEND})
        )
    rows = []
    for result, history in histories:
        config = result.run.config
        rows.append(
            [", ".join(config.pair), result.label, config.seed,
             *(", ".join(map(str, numbers)) for numbers in epochs_of(history)),
             config.metrics.get("valid", {}).get("pearson")]
        )  # fmt: skip
    caption = (
        "Every line is a model, with gaps between those of an ensemble; its weights are those of the epoch "
        "with the highest validation r."
    )
    header = ("pair", "method", "seed", "epochs", "best epoch", "validation r")
    return Chart("training", "Training", caption, views, table=Table(header, rows))


def shown_results(results: Sequence[Result]) -> list[Result]:
    """One run a pair and method, the best by validation r; for each pair the best methods first."""

    def score(result: Result) -> float:
        value = result.run.config.metrics.get("valid", {}).get("pearson")
        return -math.inf if value is None else value

    best: dict[tuple[tuple[str, str], str, str], Result] = {}
    for result in results:
        key = (result.pair, result.label, result.group)
        if key not in best or score(result) > score(best[key]):
            best[key] = result
    by_pair: dict[tuple[str, str], list[Result]] = {}
    for result in sorted(best.values(), key=score, reverse=True):
        by_pair.setdefault(result.pair, []).append(result)
    # In turn from every pair, so that a limit on views leaves no pair out.
    turns = max(map(len, by_pair.values()))
    return [found[i] for i in range(turns) for found in by_pair.values() if i < len(found)]


def run_name(result: Result) -> str:
    """Name of a run for people."""
    group = f", {result.group}" if result.group else ""
    return f"{', '.join(result.pair)}: {result.label}, seed {result.run.config.seed}{group}"


def scatter(results: Sequence[Result], palette: Palette) -> Chart:
    """Predicted against measured log2 fold change of the test genes, run by run."""
    views = []
    for result in results[:MAX_VIEWS]:
        test = result.test
        step = max(1, math.ceil(len(test.truth) / MAX_POINTS))
        drawn = slice(None, None, step)
        r = pearson(test.truth, test.prediction)
        ends = [float(np.nanmin(test.truth)), float(np.nanmax(test.truth))] if len(test.truth) else [0, 1]
        traces: list[dict[str, Any]] = [
            {
                "type": "scatter",
                "mode": "markers",
                "name": "test gene",
                "x": test.truth[drawn],
                "y": test.prediction[drawn],
                "text": test.gene_id[drawn],
                "marker": {"color": palette.colour(result.label), "size": 6, "opacity": 0.55},
                "hovertemplate": "%{text}<br>measured %{x:.2f}, predicted %{y:.2f}<extra></extra>",
            },
            {
                "type": "scatter", "mode": "lines", "name": "predicted = measured", "x": ends, "y": ends,
                "line": {"color": "#444", "dash": "dash", "width": 1}, "hoverinfo": "skip",
            },
        ]  # fmt: skip
        part = (
            f"{len(test.truth[drawn])} of {len(test.truth)} test genes"
            if step > 1
            else f"{len(test.truth)} test genes"
        )
        alt = f"Predicted against measured log2 fold change of {part}; r = {r:.3f}."
        layout = {
            "xaxis": axis("measured log2 fold change (B over A)"),
            "yaxis": axis("predicted"),
            "legend": _LEGEND,
        }
        views.append(View(run_name(result), alt, traces, layout))
    caption = "Of each method on each pair, the run with the highest validation r."
    if len(results) > MAX_VIEWS:
        caption += f" The first {MAX_VIEWS} of {len(results)} are here."
    return Chart("scatter", "Predicted against measured", caption, views, 440)


def calibration(results: Sequence[Result], palette: Palette) -> Chart:
    """Mean measured log2 fold change of genes grouped by prediction, pair by pair."""
    by_pair: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        by_pair.setdefault(result.pair, []).append(result)
    views, rows = [], []
    for pair, members in list(by_pair.items())[:MAX_VIEWS]:
        traces: list[dict[str, Any]] = []
        ends = [0.0, 0.0]
        for result in members:
            predicted, measured, error = calibration_groups(result.test.truth, result.test.prediction)
            if not len(predicted):
                continue
            ends = [min(ends[0], predicted[0]), max(ends[1], predicted[-1])]
            slope = _slope(result.test.prediction, result.test.truth)
            rows.append([", ".join(pair), result.label, result.run.config.seed, slope])
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": result.label,
                    "x": predicted,
                    "y": measured,
                    "error_y": {"type": "data", "array": error, "thickness": 1, "width": 2},
                    "line": {
                        "color": palette.colour(result.label),
                        "dash": palette.dash(result.label),
                        "width": 1.5,
                    },
                    "marker": {"symbol": palette.symbol(result.label), "size": 7},
                    "hovertemplate": "predicted %{x:.2f}, measured %{y:.2f}",
                }
            )
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": "calibrated", "x": ends, "y": ends,
                "line": {"color": "#444", "dash": "dash", "width": 1}, "hoverinfo": "skip",
            }
        )  # fmt: skip
        alt = (
            f"Mean measured against mean predicted log2 fold change of genes in {CALIBRATION_GROUPS} groups, "
            f"{len(traces) - 1} methods on {', '.join(pair)}."
        )
        layout = {"xaxis": axis("mean predicted"), "yaxis": axis("mean measured"), "legend": _LEGEND}
        views.append(View(", ".join(pair), alt, traces, layout))
    caption = (
        f"Test genes in {CALIBRATION_GROUPS} equal groups by prediction. On the dashed line predictions mean "
        "what they say; a steeper line says that changes are larger than predicted. Whiskers are standard "
        "errors."
    )
    header = ("pair", "method", "seed", "slope of measured on predicted")
    return Chart("calibration", "Calibration", caption, views, 440, 0, Table(header, rows))


def calibration_groups(
    truth: npt.NDArray[np.float64], prediction: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], ...]:
    """Mean prediction, mean truth and its standard error of genes in equal groups by prediction."""
    known = np.isfinite(truth) & np.isfinite(prediction)
    truth, prediction = truth[known], prediction[known]
    order = np.argsort(prediction, kind="stable")
    groups = [group for group in np.array_split(order, CALIBRATION_GROUPS) if len(group) > 1]
    means = [np.array([values[group].mean() for group in groups]) for values in (prediction, truth)]
    error = np.array([truth[group].std(ddof=1) / math.sqrt(len(group)) for group in groups])
    return means[0], means[1], error


def _slope(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    spread = np.square(x - x.mean()).sum() if len(x) else 0.0
    return float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread > 0 else math.nan

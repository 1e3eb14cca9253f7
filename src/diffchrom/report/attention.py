"""Charts of attention: Figure 5, mean attention around the TSS, single genes with tracks and attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.attention.groups import GROUPS, GroupAttention, GroupRule, collect, group_table
from diffchrom.attention.places import place_names, widths
from diffchrom.attention.plots import GROUP_COLOURS, figure_panels
from diffchrom.attention.weights import Weights
from diffchrom.deepdiff.opened import OpenedModel, open_model
from diffchrom.errors import InputError, RunError
from diffchrom.files.figures import COLOURS
from diffchrom.genome.genes import Rows
from diffchrom.progress import SILENT, Reporter
from diffchrom.report.charts import Chart, Table, View, axis
from diffchrom.report.results import run_name
from diffchrom.report.verdicts import (
    BIN_RATIO,
    CHANGED,
    CLOSE,
    FAR,
    MARK_RATIO,
    NOTHING,
    gene_verdict,
    outstanding,
    predicts,
)
from diffchrom.runs.cross_validation import fold_folder
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store
from diffchrom.sweeps.jobs import DEEPDIFF
from diffchrom.sweeps.results import Result

#: Runs whose attention is drawn: the best of each pair by validation r, up to these many.
MAX_RUNS = 4
#: Share of the genes that count as up-regulated, and as down-regulated.
QUANTILE = 0.1
#: With fewer test genes than this, the groups are taken from all genes, and the caption says so.
MIN_TEST_GENES = 100
MAX_GENES = 4000
#: Genes drawn, of those predicted best and of those predicted worst.
N_GENES = 3
#: Greek letters that look like Latin ones are spelled out for those who read the code.
ALPHA = "\N{GREEK SMALL LETTER ALPHA}"
_LEGEND = {"orientation": "h", "y": -0.2}

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Attended:
    """A run opened on its store, and the attention of its up- and down-regulated genes.

    Attributes
    ----------
    fold : whose model it is, in a cross-validation; 0 for any other run.
    """

    result: Result
    opened: OpenedModel
    rows: Rows
    part: str
    groups: GroupAttention
    fold: int = 0

    @property
    def name(self) -> str:
        """Name of the run for people."""
        return run_name(self.result) + (f", model of fold {self.fold}" if self.fold else "")


def attended_runs(
    results: Sequence[Result],
    stores: dict[tuple[str, str], Store],
    reporter: Reporter = SILENT,
    device: str = "auto",
) -> list[Attended]:
    """Open the best DeepDiff run of each pair whose store is at hand.

    Parameters
    ----------
    results : best first (`results.shown_results`).
    stores : by pair.
    """
    found: dict[tuple[str, str], Attended] = {}
    for result in results:
        known = result.pair in stores and result.run.config.kind == DEEPDIFF
        if not known or result.pair in found or len(found) == MAX_RUNS:
            continue
        try:
            opened, fold = _open(result.run, stores[result.pair], reporter, device)
        except RunError as error:
            if not result.run.config.folds:
                raise
            reporter.warn(f"{result.run.path}: no attention in the report: {error}")
            continue
        rows, part = _rows(opened)
        try:
            groups = collect(Weights.of(opened), rows, GroupRule(quantile=QUANTILE), reporter)
        except InputError as error:
            reporter.warn(f"{result.run.path}: no attention in the report: {error}")
            continue
        found[result.pair] = Attended(result, opened, rows, part, groups, fold)
    return list(found.values())


def _open(run: Run, store: Store, reporter: Reporter, device: str) -> tuple[OpenedModel, int]:
    """Open a run's model; a cross-validation's is that of its first fold that is there, and that fold."""
    if not run.config.folds:
        return open_model(run, store, device=device), 0
    missing: list[str] = []
    for number in range(1, run.config.folds + 1):
        folder = fold_folder(run.path, number)
        try:
            opened = open_model(Run.open(folder), store, device=device)
        except RunError:
            missing.append(folder.name)
            continue
        if missing:
            reporter.warn(
                f"{run.path}: {', '.join(missing)} missing or broken; the attention in the report is of "
                f"{folder.name} (give the cross-validation's command again to make what is missing)"
            )
        return opened, number
    raise RunError("none of its folds can be opened; give the cross-validation's command again to make them")


def _rows(opened: OpenedModel) -> tuple[Rows, str]:
    rows, part = opened.pair.rows("test"), "test genes"
    if len(rows) < MIN_TEST_GENES:
        rows, part = np.flatnonzero(np.isfinite(opened.pair.labels.log2fc)), "genes of all parts of the split"
    return rows[:: -(-len(rows) // MAX_GENES)], part


def figure_5(attended: Sequence[Attended]) -> Chart:
    """Mean mark attention of up- and down-regulated genes."""
    views, rows = [], []
    for one in attended:
        table = group_table(one.groups)
        names = [
            f"{mark} ({block.partition(':')[2]})"
            for block, mark in zip(table["block"], table["mark"], strict=True)
        ]
        panel = next(iter(figure_panels(table, one.groups.kind).values()))
        traces = [
            {
                "type": "bar",
                "name": f"{group}-regulated",
                "x": [panel["block"].tolist(), panel["mark"].tolist()],
                "y": panel[f"beta_{group}"],
                "error_y": {
                    "type": "data", "symmetric": False,
                    "arrayminus": panel[f"whiskers_{group}"][0], "array": panel[f"whiskers_{group}"][1],
                    "thickness": 1, "width": 2,
                },
                "marker": {"color": GROUP_COLOURS[group], "pattern": {"shape": pattern}},
                "hovertemplate": "%{x}: %{y:.3f}",
            }
            for group, pattern in zip(GROUPS, ("", "/"), strict=True)
        ]  # fmt: skip
        alt = (
            f"Bars of mean attention to each mark in {int(table['n_up'][0])} up- and "
            f"{int(table['n_down'][0])} down-regulated genes; {_mark_verdict(one, panel, names)}."
        )
        layout = {"barmode": "group", "xaxis": axis(""), "yaxis": axis("mean attention β"), "legend": _LEGEND}
        views.append(View(one.name, alt, traces, layout))
        rows += [
            [one.name, table["task"][i], names[i], table["beta_up"][i], table["beta_down"][i],
             table["difference"][i], table["p"][i], table["q"][i]]
            for i in range(len(names))
        ]  # fmt: skip
    caption = (
        f"Mark attention of the main task, mean over the {QUANTILE:.0%} of genes with the highest and the "
        f"lowest measured log2 fold change ({attended[0].part}); Figure 5 of the paper. Whiskers are 95% "
        "bootstrap intervals. The table has the auxiliary tasks too, with permutation tests (q: "
        "Benjamini-Hochberg). "
        "Attention says what the model weighed, not what causes expression."
    )
    most = max(len(view.traces[0]["y"]) for view in views) * 3
    header = ("run", "task", "mark", "β up", "β down", "up less down", "p", "q")
    return Chart("figure5", "Attention to marks", caption, views, 460, 60 + 14 * most, Table(header, rows))


def _mark_verdict(one: Attended, panel: dict[str, npt.NDArray[Any]], names: Sequence[str]) -> str:
    """Say what up-regulated genes attend to, where the model predicts anything and a mark stands out."""
    if not predicts(one.result):
        return f"{NOTHING}: the run's r on the test genes cannot be told from 0"
    values, low = panel["beta_up"], panel["beta_up_low"]
    top = outstanding(values, low, 1 / len(values), MARK_RATIO)
    if top is None:
        return f"{NOTHING}: attention in up-regulated genes is {values.min():.3f} to {values.max():.3f}"
    return f"up-regulated genes attend most to {names[top]}"


def attention_around_tss(attended: Sequence[Attended]) -> Chart:
    """Mean bin attention by distance from the TSS, as a heat map a run, up beside down."""
    views = []
    for one, region in [(run, region) for run in attended for region in run.groups.layout.regions]:
        x: Any = one.opened.window.middles if region.bins else place_names(region)
        unit = " bp" if region.bins else ""
        where = f"distance from the {region.anchor.upper()} (bp)" if region.bins else region.name
        names = [f"{s.mark}, {s.block}" for s in one.groups.sequences]
        of_region = one.groups.layout.of_region
        alphas = {group: of_region(alpha, region.name) for group, alpha in one.groups.alpha.items()}
        top = max(float(alpha.max()) for alpha in one.groups.alpha.values())
        traces = [
            {
                "type": "heatmap",
                "x": x,
                "y": names,
                "z": alphas[group],
                "xaxis": f"x{number}",
                "yaxis": "y",
                "colorscale": "Cividis",
                "zmin": 0,
                "zmax": top,
                "showscale": number == 2,
                "colorbar": {"title": {"text": ALPHA}},
                "hovertemplate": f"{group}: %{{y}}<br>%{{x}}{unit}: %{{z:.4f}}<extra></extra>",
            }
            for number, group in ((1, "up"), (2, "down"))
        ]
        least = BIN_RATIO.value / one.opened.pair.n_windows
        peaks = [
            f"{name} at {x[alpha.argmax()]:{'.0f' if region.bins else ''}}{unit}"
            for name, alpha in zip(names, alphas["up"], strict=True)
            if predicts(one.result) and alpha.max() >= least
        ]
        seen = f"in up-regulated genes it peaks: {', '.join(peaks[:8])}" if peaks else NOTHING
        alt = f"Heat maps of mean attention by {where.removesuffix(' (bp)')}; {seen}."
        layout = {
            "xaxis": axis(f"up-regulated: {where}", domain=[0, 0.48]),
            "xaxis2": axis("down-regulated", domain=[0.52, 1]),
            "yaxis": {"automargin": True, "autorange": "reversed"},
        }
        name = one.name + (f": {region.name}" if one.groups.layout.beyond else "")
        views.append(View(name, alt, traces, layout))
    caption = (
        f"Mean bin attention {ALPHA} of the same genes, in the direction of transcription (upstream is "
        f"negative); uniform attention would be {1 / attended[0].opened.pair.n_windows:.4f} everywhere."
    )
    n_rows = max(len(one.groups.sequences) for one in attended)
    return Chart("tss", "Attention around the TSS", caption, views, 200 + 16 * n_rows, 640)


def choose_genes(truth: Array, predicted: Array) -> list[tuple[int, str]]:
    """Genes predicted best among those that change most, and those predicted worst: position and verdict."""
    error = np.abs(predicted - truth)
    known = np.flatnonzero(np.isfinite(error))
    if not len(known):
        return []
    changed = known[np.abs(truth[known]) >= np.quantile(np.abs(truth[known]), 0.75)]
    best = changed[np.argsort(error[changed], kind="stable")][: min(N_GENES, max(1, len(changed) // 2))]
    worst = [i for i in known[np.argsort(-error[known], kind="stable")] if i not in best][:N_GENES]
    return [(int(i), gene_verdict(float(truth[i]), float(predicted[i]))) for i in (*best, *worst)]


def genes(attended: Sequence[Attended]) -> Chart:
    """Tracks of both cells and attention of single genes."""
    views = []
    rows = []
    for one in attended:
        opened, pair = one.opened, one.result.pair
        test = opened.pair.rows("test")
        predicted = _predicted(one, test)
        truth = opened.pair.labels.log2fc[test]
        for position, verdict in choose_genes(truth, predicted):
            row = test[position]
            gene = str(opened.genes.name[row]) or str(opened.genes.id[row])
            verdict = verdict if predicts(one.result) else ""
            name = f"{', '.join(pair)}: {gene}" + (f" ({verdict})" if verdict else "")
            figures = f"measured {truth[position]:.2f}, predicted {predicted[position]:.2f}"
            alt = (
                f"Signal of {len(opened.marks)} marks in {pair[0]} and {pair[1]} around the TSS of {gene}, "
                f"and the model's attention; log2 fold change {figures}."
            )
            views.append(View(name, alt, *_gene_panels(one, int(row))))
            rows.append([", ".join(pair), gene, verdict, truth[position], predicted[position]])
    caption = (
        f"Lines are the signal as stored; the grey area is attention {ALPHA} of the run with the highest "
        "validation r, mean over its blocks, scaled to the panel. Of the test genes: those with the smallest "
        "error among the quarter that changes most, and those with the largest of all. Predicted well: "
        f"|log2fc| at least {CHANGED.value:g} ({CHANGED.reason}) and an error of at most "
        f"{CLOSE.value:g} of it; "
        f"badly: an error of at least {FAR.value:g} ({FAR.reason}). No verdict where the run's r cannot be "
        "told from 0."
    )
    n_marks = max(len(one.opened.marks) for one in attended)
    header = ("pair", "gene", "", "measured", "predicted")
    return Chart("genes", "Genes", caption, views, 160 + 110 * n_marks, 0, Table(header, rows))


def _predicted(one: Attended, rows: Rows) -> Array:
    """What the run wrote down for these of its test genes."""
    test = one.result.test
    written = dict(zip(test.gene_id.tolist(), test.prediction.tolist(), strict=True))
    return np.array([written.get(gene, np.nan) for gene in one.opened.genes.id[rows].tolist()])


def _gene_panels(one: Attended, row: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Traces and layout of one gene: a panel a mark, signal on the left axis, attention on the right."""
    opened, pair = one.opened, one.result.pair
    at = np.array([row])
    n_marks = len(opened.marks)
    places, layout = _region_axes(opened)
    from_upstream, both = opened.windows.from_upstream, opened.pair.signal(at)
    alpha = from_upstream(opened.attend_signal(at, *both).alpha, at)[0]
    signals = [from_upstream(signal, at)[0] for signal in both]
    traces: list[dict[str, Any]] = []
    for j, mark in enumerate(opened.marks):
        left, right = f"y{2 * j + 1}", f"y{2 * j + 2}"
        own = [k for k, sequence in enumerate(opened.sequences) if sequence.mark == mark]
        for key, span, x in places:
            shown = j == 0 and key == "x"
            traces.append(
                {
                    "type": "scatter", "mode": "lines", "name": f"attention {ALPHA}", "x": x,
                    "y": alpha[own].mean(axis=0)[span], "xaxis": key,
                    "yaxis": right, "fill": "tozeroy", "line": {"color": "#999", "width": 0.5},
                    "fillcolor": "rgba(120,120,120,0.3)", "showlegend": shown, "legendgroup": "alpha",
                    "hovertemplate": f"{mark} {ALPHA} %{{y:.4f}}<extra></extra>",
                }
            )  # fmt: skip
            for k, (cell, signal) in enumerate(zip(pair, signals, strict=True)):
                traces.append(
                    {
                        "type": "scatter", "mode": "lines", "name": cell, "x": x, "legendgroup": cell,
                        "y": signal[j, span], "xaxis": key, "yaxis": left,
                        "line": {"color": COLOURS[(0, 5)[k]], "dash": ("solid", "dot")[k], "width": 1.5},
                        "showlegend": shown, "hovertemplate": f"{mark} in {cell}: %{{y:.3g}}<extra></extra>",
                    }
                )  # fmt: skip
        layout[_axis_key(left)] = {
            "domain": [1 - (j + 1) / n_marks + 0.02, 1 - j / n_marks],
            "title": {"text": mark, "font": {"size": 11}},
            "automargin": True,
        }
        layout[_axis_key(right)] = {
            "overlaying": left, "side": "right", "showgrid": False, "showticklabels": False,
            "rangemode": "tozero",
        }  # fmt: skip
    return traces, layout


def _region_axes(opened: OpenedModel) -> tuple[list[tuple[str, slice, Any]], dict[str, Any]]:
    """Axis, windows and their places of every region, and the layout: they stand beside one another.

    Each has an x axis of its own and shares the y axes of the marks.
    """
    layout: dict[str, Any] = {"legend": {"orientation": "h", "y": -0.08}}
    regions = opened.pair.layout.regions
    share = np.cumsum([0, *widths(regions)]) / sum(widths(regions))
    places: list[tuple[str, slice, Any]] = []
    for number, (region, (first, last)) in enumerate(zip(regions, pairwise(share.tolist()), strict=True), 1):
        key = "x" if number == 1 else f"x{number}"
        title = "distance from the TSS (bp)" if region.bins else region.name
        domain = {"domain": [first, last - 0.01]} if len(regions) > 1 else {}
        anchor = f"y{2 * len(opened.marks) - 1}"
        layout[key.replace("x", "xaxis")] = axis(title, anchor=anchor, **domain)
        x = opened.window.middles if region.bins else place_names(region)
        places.append((key, opened.pair.layout.spans[region.name], x))
    return places, layout


def _axis_key(name: str) -> str:
    return "yaxis" if name == "y1" else f"yaxis{name[1:]}"

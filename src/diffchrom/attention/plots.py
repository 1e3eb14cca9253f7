"""Figures of attention: bars by group (Figure 5 of the paper), heat maps by distance, curves of masking.

Everything is told apart by lightness and by hatching, line style or marker, never by hue alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diffchrom.attention.deletion import DELETION, INSERTION, Curves
from diffchrom.attention.groups import GROUPS, GroupAttention
from diffchrom.attention.places import RegionAxis, widths
from diffchrom.attention.weights import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Dark blue and light orange of Okabe and Ito: apart in grey and for every kind of colour blindness.
GROUP_COLOURS = {"up": "#0072B2", "down": "#F5C266"}
_HATCHES = {"up": "", "down": "///"}
_CURVES = (
    ("#000000", "-", "o"), ("#0072B2", "--", "s"), ("#D55E00", "-.", "^"),
    ("#009E73", ":", "D"), ("#CC79A7", (0, (5, 1)), "v"), ("#56B4E9", (0, (1, 1)), "P"),
    ("#E69F00", (0, (3, 1, 1, 1)), "*"), ("#999999", (0, (5, 1, 1, 1, 1, 1)), "x"),
)  # fmt: skip


def heat_map_path(path: Path) -> Path:
    """Where the heat map goes when the bars go to `path`: ``NAME.bins.SUFFIX``."""
    return path.with_name(f"{path.stem}.bins{path.suffix}")


def _new_figure(
    width: float, height: float, n_rows: int, n_columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(n_rows, n_columns, squeeze=False, **options)


def figure_panels(
    table: Mapping[str, npt.NDArray[Any]], kind: Kind
) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Rows of a `group_table` by task, one panel each, with the lengths of the bars' whiskers.

    Returns
    -------
    dict of task to dict of column to array [n_rows]
        ``whiskers_up`` and ``whiskers_down`` are [2, n_rows]: below the bars and above them.
    """
    panels = {}
    for task in dict.fromkeys(table["task"].tolist()):
        panel = {name: column[table["task"] == task] for name, column in table.items()}
        for group in GROUPS:
            name = f"{kind.of_marks}_{group}"
            ends = np.stack([panel[f"{name}_low"], panel[f"{name}_high"]])
            panel[f"whiskers_{group}"] = np.abs(ends - panel[name])
        panels[task] = panel
    return panels


def plot_groups(table: Mapping[str, npt.NDArray[Any]], kind: Kind) -> Figure:
    """Bars of mean beta of up- and down-regulated genes, one panel a task; from `group_table`."""
    panels = figure_panels(table, kind)
    widest = max(len(panel["mark"]) for panel in panels.values())
    figure, axes = _new_figure(max(5.0, 0.5 * widest + 2), 3.2 * len(panels), len(panels))
    for axis, (task, panel) in zip(axes[:, 0], panels.items(), strict=True):
        _group_bars(axis, panel, kind)
        axis.set_title("main task" if task == "main" else f"auxiliary task of cell {task}", loc="left")
        axis.set_xlim(-0.6, widest - 0.4)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", frameon=False)
    dotted = "zero" if kind.signed else "uniform attention"
    figure.supxlabel(f"dotted: {dotted}; *: q < 0.05; lines: 95% bootstrap interval", fontsize=8)
    return figure


def _group_bars(axis: Axes, panel: Mapping[str, npt.NDArray[Any]], kind: Kind) -> None:
    place = np.arange(len(panel["mark"]))
    for side, group in enumerate(GROUPS):
        axis.bar(
            place + 0.4 * (side - 0.5),
            panel[f"{kind.of_marks}_{group}"],
            0.38,
            yerr=panel[f"whiskers_{group}"],
            capsize=2,
            label=f"{group}-regulated ({panel[f'n_{group}'][0]} genes)",
            color=GROUP_COLOURS[group],
            edgecolor="black",
            hatch=_HATCHES[group],
        )
    axis.axhline(0 if kind.signed else 1 / len(place), color="black", linewidth=0.8, linestyle=":")
    stars = np.where(panel["q"] < 0.05, "*", "")
    labels = [
        f"{mark}{star}\n{block}"
        for mark, block, star in zip(panel["mark"], panel["block"], stars, strict=True)
    ]
    axis.set_xticks(place, labels, rotation=90, fontsize=7)
    axis.set_ylabel(f"mean {kind.of_marks.replace('_', ' ')}")
    axis.spines[["top", "right"]].set_visible(False)


def plot_distance(groups: GroupAttention) -> Figure:
    """Heat map of mean alpha by place, one row of panels a block, up beside down, one panel a region.

    The lightness of signed weights rises from the lowest to the highest; zero is in the middle.
    """
    blocks = list(dict.fromkeys(sequence.block for sequence in groups.sequences))
    n_marks = len(groups.sequences) // len(blocks)
    regions = groups.layout.regions
    columns = [(group, region) for group in GROUPS for region in regions]
    options = {"width_ratios": widths(regions) * len(GROUPS)} if regions[1:] else {}
    figure, axes = _new_figure(
        9 + 3 * len(regions[1:]), len(blocks) * (0.3 * n_marks + 1.1), len(blocks), len(columns), **options
    )
    for row, block in enumerate(blocks):
        index = [i for i, sequence in enumerate(groups.sequences) if sequence.block == block]
        highest = max(float(np.abs(groups.alpha[group][index]).max()) for group in GROUPS)
        for column, (group, region) in enumerate(columns):
            axis = axes[row, column]
            place = RegionAxis.of(region, groups.window)
            image = axis.imshow(
                groups.alpha[group][index][:, groups.layout.spans[region.name]],
                aspect="auto",
                interpolation="nearest",
                cmap="cividis",  # rises evenly in lightness, the same for colour-blind eyes
                vmin=-highest if groups.kind.signed else 0,
                vmax=highest,
                extent=(*place.ends, n_marks - 0.5, -0.5),
            )
            if region.bins:
                axis.axvline(0, color="white", linewidth=0.8, linestyle=":")
            marks = [groups.sequences[i].mark for i in index] if column == 0 else [""] * n_marks
            axis.set_yticks(range(n_marks), marks, fontsize=8)
            if region is regions[0]:
                axis.set_title(
                    f"{block}, {group}-regulated ({len(groups.beta[group])} genes)", fontsize=9, loc="left"
                )
            if place.ticks:
                axis.set_xticks(list(place.ticks), list(place.ticks.values()), fontsize=7, rotation=90)
            if row == len(blocks) - 1:
                axis.set_xlabel(place.label)
        figure.colorbar(image, ax=list(axes[row]), label=f"mean {groups.kind.of_windows.replace('_', ' ')}")
    return figure


def plot_curves(curves: Mapping[str, Mapping[str, Curves]]) -> Figure:
    """Distance from the whole signal's prediction by share; a column a level, deletion over insertion."""
    levels = list(curves)
    kinds = {DELETION: "masked", INSERTION: "put back"}
    figure, axes = _new_figure(4.6 * len(levels), 3.4 * len(kinds), len(kinds), len(levels))
    orders = dict.fromkeys(order for level in levels for order in curves[level][DELETION].draws)
    styles = dict(zip(orders, _CURVES, strict=False))
    for column, level in enumerate(levels):
        for row, (kind, done) in enumerate(kinds.items()):
            axis = axes[row, column]
            _draw_curves(axis, curves[level][kind], styles)
            if level == "bin":
                axis.set_xscale("log")
            axis.set_xlabel(f"share of the {'(mark, bin) pairs' if level == 'bin' else 'marks'} {done}")
            axis.set_ylabel(
                "mean |change of predicted log2fc|" if row == 0 else "mean distance to log2fc_pred"
            )
            axis.set_title(kind, fontsize=9, loc="left")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _draw_curves(axis: Axes, curves: Curves, styles: Mapping[str, tuple[str, Any, str]]) -> None:
    for order, changes in curves.changes.items():
        colour, line, marker = styles[order]
        axis.plot(
            curves.fractions,
            changes.mean(axis=0),
            color=colour,
            linestyle=line,
            marker=marker,
            markersize=4,
            label=order.replace("_", " "),
        )
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)

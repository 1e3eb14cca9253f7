"""Figures of many runs with matplotlib, for files: Figure 4 of the paper, and accuracy in unseen cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffchrom.files.figures import COLOURS, check_figure_path, save_figure
from diffchrom.sweeps.comparison import Comparison
from diffchrom.sweeps.figure4 import AXIS, Figure4, figure_4
from diffchrom.sweeps.unseen import UnseenCells, mean_of_known

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

_HATCHES = ("", "///", "...", "xxx", "\\\\\\")  # tell the colours apart in grey, and where they come again


def plot_methods(comparisons: Sequence[Comparison], path: Path, *, name_best: bool = False) -> None:
    """Draw r of every method with its 95% interval, a group of runs below the other.

    The format goes by the name's ending.

    Parameters
    ----------
    name_best : write the best variant's name over every pair, as the paper does.

    Raises
    ------
    UsageError
        When the name ends in none of `figures.FIGURE_METADATA`.
    """
    check_figure_path(path)
    from matplotlib.figure import Figure

    figures = [figure_4(comparison) for comparison in comparisons]
    if not name_best:
        figures = [replace(figure, best=("",) * len(figure.pairs)) for figure in figures]
    sizes = [_size(figure) for figure in figures]
    width, height = max(size[0] for size in sizes), sum(size[1] for size in sizes)
    drawn = Figure(figsize=(width, height), layout="constrained")
    parts = drawn.subfigures(len(figures), 1, squeeze=False, height_ratios=[size[1] for size in sizes])[:, 0]
    for part, figure in zip(parts, figures, strict=True):
        part.suptitle(figure.title, fontsize="medium", parse_math=False)
        (_panels if figure.lines else _grouped_bars)(part, figure)
    save_figure(drawn, path)


def _size(figure: Figure4) -> tuple[float, float]:
    """Width and height in inches."""
    n_methods, n_pairs = figure.r.shape
    titled = 0.3 if figure.title else 0.0
    if figure.lines:
        return 2.6 + 3.2 * n_pairs, 1.0 + 0.21 * n_methods + titled
    return float(np.clip(1.5 + 0.16 * (n_methods + 1) * n_pairs, 6.0, 40.0)), 4.2 + titled


def _panels(part: SubFigure, figure: Figure4) -> None:
    """A panel a pair, a line a method, the best on top."""
    n_methods, n_pairs = figure.r.shape
    all_axes = part.subplots(1, n_pairs, sharey=True, squeeze=False)[0]
    lines = np.arange(n_methods)
    for j, (axes, pair) in enumerate(zip(all_axes, figure.pairs, strict=True)):
        known = np.isfinite(figure.r[:, j])
        axes.errorbar(
            figure.r[known, j],
            lines[known],
            xerr=np.stack([figure.below[known, j], figure.above[known, j]]),
            fmt="o",
            color=COLOURS[0],
            ecolor="#666666",
            markersize=5,
            elinewidth=1.2,
        )
        titles = filter(None, (figure.best[j], pair))
        axes.set_title("\n".join(titles), fontsize="medium", parse_math=False)
        axes.set_xlabel(AXIS)
        _ruled(axes)
    all_axes[0].set_yticks(lines, figure.methods)
    all_axes[0].set_ylim(n_methods - 0.5, -0.5)


def _ruled(axes: Axes) -> None:
    """Rule an axis of r, and nothing else."""
    axes.axvline(0, color="black", linewidth=0.6)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _grouped_bars(part: SubFigure, figure: Figure4) -> None:
    """Bars beside one another, a group a pair, as in the paper."""
    n_methods, n_pairs = figure.r.shape
    axes = part.add_subplot()
    bar = 0.85 / n_methods
    for i, label in enumerate(figure.methods):
        axes.bar(
            np.arange(n_pairs) + (i - (n_methods - 1) / 2) * bar,
            np.nan_to_num(figure.r[i]),
            bar,
            yerr=np.stack([figure.below[i], figure.above[i]]),
            label=label,
            color=COLOURS[i % len(COLOURS)],
            hatch=_HATCHES[i // len(COLOURS) % len(_HATCHES)],
            edgecolor="black",
            linewidth=0.3,
            error_kw={"elinewidth": 0.6, "capsize": 1.0},
        )
    tops = np.nan_to_num(figure.r + figure.above).max(axis=0, initial=0)
    for j, name in enumerate(figure.best):
        above = (0, 3)
        axes.annotate(
            name, (j, tops[j]), above, textcoords="offset points", ha="center", fontsize=8, parse_math=False
        )
    axes.set_xticks(np.arange(n_pairs), figure.pairs, parse_math=False)
    axes.tick_params(axis="x", rotation=45)
    axes.set_ylabel(AXIS)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    columns = max(1, int(_size(figure)[0] // 2.2))
    part.legend(loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def plot_unseen(rows: Sequence[UnseenCells], path: Path) -> None:
    """Draw r in unseen cells: a panel a kind of pairs, a line a method, a dot a case, and the ceiling.

    The format goes by the name's ending; errors as of `plot_methods`.
    """
    check_figure_path(path)
    from matplotlib.figure import Figure

    panels: dict[str, list[UnseenCells]] = {}
    for row in rows:
        panels.setdefault(row.title, []).append(row)
    methods = list(dict.fromkeys(row.label for row in rows))
    figure = Figure(figsize=(2.6 + 3.0 * len(panels), 1.3 + 0.3 * len(methods)), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, its) in zip(all_axes, panels.items(), strict=True):
        lines = [methods.index(row.label) for row in its]
        for at, row in zip(lines, its, strict=True):
            axes.plot(row.pearson, np.full(len(row.pearson), at), "o", color="#999999", markersize=3.5)
        means = [mean_of_known(row.pearson) for row in its]
        axes.plot(means, lines, "|", color=COLOURS[0], markersize=14, markeredgewidth=2.5, label="mean")
        own = [mean_of_known(row.own) for row in its]
        axes.plot(own, lines, "d", color=COLOURS[5], fillstyle="none", label="mean of the pairs' own models")
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel(AXIS)
        _ruled(axes)
    all_axes[0].set_yticks(range(len(methods)), methods, parse_math=False)
    all_axes[0].set_ylim(len(methods) - 0.5, -0.5)
    handles, names = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save_figure(figure, path)

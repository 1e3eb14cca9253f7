"""Figure 4 of the paper: Pearson's r of every method on every pair, with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from diffchrom.files.figures import COLOURS, check_figure_path, save_figure
from diffchrom.sweeps.comparison import Comparison
from diffchrom.variants import VARIANTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: With so many pairs at most, each has a panel of its own with the methods' names beside it.
PANELS = 3
_HATCHES = ("", "///", "...", "xxx", "\\\\\\")  # tell the colours apart in grey, and where they come again
_AXIS = "Pearson r, test genes"


def plot_methods(comparison: Comparison, path: Path, *, name_best: bool = False) -> None:
    """Draw r of every method with its 95% gene-bootstrap interval; the format goes by the name's ending.

    Parameters
    ----------
    name_best : write the best variant's name over every pair, as the paper does.

    Raises
    ------
    UsageError
        When the name ends in none of `figures.FIGURE_METADATA`.
    """
    check_figure_path(path)
    draw = _panels if len(comparison.pairs) <= PANELS else _grouped_bars
    names = best_variants(comparison) if name_best else ("",) * len(comparison.pairs)
    save_figure(draw(comparison, names), path)


def best_variants(comparison: Comparison) -> tuple[str, ...]:
    """Name of the variant with the highest r on every pair; where there is no variant, of the method."""
    variants = [i for i, (method, _) in enumerate(comparison.methods) if method in VARIANTS]
    rows = variants or list(range(len(comparison.methods)))
    known = np.where(np.isfinite(comparison.r[rows]), comparison.r[rows], -np.inf)
    return tuple(
        comparison.methods[rows[best]][0] if np.isfinite(known[best, j]) else ""
        for j, best in enumerate(known.argmax(axis=0))
    )


def _whiskers(comparison: Comparison, r: npt.NDArray[np.float64], pair: int) -> npt.NDArray[np.float64]:
    """Distances of the interval's ends from the r of every method, [2, n_methods]."""
    ends = comparison.intervals_on(pair)
    whiskers: npt.NDArray[np.float64] = np.nan_to_num(np.abs(np.stack([r - ends[:, 0], ends[:, 1] - r])))
    return whiskers


def _panels(comparison: Comparison, best: tuple[str, ...]) -> Figure:
    """A panel a pair, a line a method, the best on top."""
    from matplotlib.figure import Figure

    n_methods, n_pairs = comparison.r.shape
    figure = Figure(figsize=(2.6 + 3.2 * n_pairs, 1.0 + 0.21 * n_methods), layout="constrained")
    all_axes = figure.subplots(1, n_pairs, sharey=True, squeeze=False)[0]
    lines = np.arange(n_methods)
    for j, (axes, pair) in enumerate(zip(all_axes, comparison.pairs, strict=True)):
        r = comparison.r[:, j]
        known = np.isfinite(r)
        axes.errorbar(
            r[known],
            lines[known],
            xerr=_whiskers(comparison, r, j)[:, known],
            fmt="o",
            color=COLOURS[0],
            ecolor="#666666",
            markersize=5,
            elinewidth=1.2,
        )
        axes.set_title(
            "\n".join(filter(None, (best[j], f"{pair[0]}, {pair[1]}"))), fontsize="medium", parse_math=False
        )
        axes.set_xlabel(_AXIS)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    all_axes[0].set_yticks(lines, comparison.labels)
    all_axes[0].set_ylim(n_methods - 0.5, -0.5)
    return figure


def _grouped_bars(comparison: Comparison, best: tuple[str, ...]) -> Figure:
    """Bars beside one another, a group a pair, as in the paper."""
    from matplotlib.figure import Figure

    n_methods, n_pairs = comparison.r.shape
    width = float(np.clip(1.5 + 0.16 * (n_methods + 1) * n_pairs, 6.0, 40.0))
    figure = Figure(figsize=(width, 4.2), layout="constrained")
    axes = figure.add_subplot()
    bar = 0.85 / n_methods
    whiskers = [_whiskers(comparison, comparison.r[:, j], j) for j in range(n_pairs)]
    for i, label in enumerate(comparison.labels):
        axes.bar(
            np.arange(n_pairs) + (i - (n_methods - 1) / 2) * bar,
            np.nan_to_num(comparison.r[i]),
            bar,
            yerr=np.stack([ends[:, i] for ends in whiskers], axis=1),
            label=label,
            color=COLOURS[i % len(COLOURS)],
            hatch=_HATCHES[i // len(COLOURS) % len(_HATCHES)],
            edgecolor="black",
            linewidth=0.3,
            error_kw={"elinewidth": 0.6, "capsize": 1.0},
        )
    tops = np.nan_to_num(np.array([comparison.r[:, j] + whiskers[j][1] for j in range(n_pairs)])).max(axis=1)
    for j, name in enumerate(best):
        axes.annotate(
            name,
            (j, max(0.0, tops[j])),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            parse_math=False,
        )
    axes.set_xticks(np.arange(n_pairs), [f"{a}, {b}" for a, b in comparison.pairs], parse_math=False)
    axes.tick_params(axis="x", rotation=45)
    axes.set_ylabel(_AXIS)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=max(1, int(width // 2.2)), fontsize=8, frameon=False)
    return figure

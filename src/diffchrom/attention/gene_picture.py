"""One gene in one picture: tracks of both cells, what the model weighed, its prediction and what it hangs on.

Cell A is a filled area and cell B a line, signs go up and down (or right and left) and are hatched, so that
nothing is told by hue alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diffchrom.attention.gene_view import GeneView, gene_views
from diffchrom.attention.places import RegionAxis, widths
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.files.figures import save_figure, save_pages
from diffchrom.genome.genes import Rows
from diffchrom.genome.regions import Region

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A light and a dark colour of Okabe and Ito's: apart in grey, too.
_A, _B = "#9CCBEA", "#A03C00"
#: Of what moves the prediction towards A, and towards B.
_SIGNS = (("#56B4E9", "////"), ("#D55E00", ""))
_SMALL = 7
#: Inches: width, what stands above and below the tracks, and the height of one mark.
_WIDTH, _ABOVE, _BELOW, _MARK = 13.0, 1.2, 0.75, 1.1
#: Heights within a mark's row: of the track, of the zero of signed weights; of the gene's row above all.
_TRACK, _ZERO, _EXTENT = 0.62, 0.83, 0.55
#: Edges of windows from which on every other one is labelled.
_MANY_TICKS = 8
_QUANTILE = 1.96  # of a 95% interval


def write_pictures(opened: OpenedModel, rows: Rows, path: Path, by: str | None = None) -> None:
    """Draw the genes `rows`: one into any format, several as the pages of a PDF.

    Parameters
    ----------
    by : kind of weight, see `gene_views`.
    """
    figures = (draw_gene(view) for view in gene_views(opened, rows, by))
    if path.suffix.lower() == ".pdf":
        save_pages(figures, path)
    else:
        save_figure(next(figures), path)


def draw_gene(view: GeneView) -> Figure:
    """Draw one gene.

    Under every track the area of a bar is what the window weighs, on one scale for all marks and regions, so
    that a bin of 100 bases and a window of 100 kb compare.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    height = _ABOVE + _BELOW + _MARK * len(view.marks)
    # Names come from users' files: a dollar in one is no formula.
    with mpl.rc_context({"text.parse_math": False, "hatch.linewidth": 0.6, "font.size": 9}):
        figure = Figure(figsize=(_WIDTH, height))
        figure.suptitle(_title(view), x=0.02, y=1 - 0.12 / height, ha="left", va="top", fontsize=11)
        top, bottom = 1 - (_ABOVE - 0.45) / height, _BELOW / height
        _draw_tracks(figure, view, {"left": 0.1, "right": 0.74, "top": top, "bottom": bottom})
        _draw_summary(figure, view, {"left": 0.81, "right": 0.985, "top": top, "bottom": bottom})
    return figure


def _title(view: GeneView) -> str:
    gene = view.gene
    name, gene_id = str(gene.name[0]), str(gene.id[0])
    shown = f"{name} ({gene_id})" if name and name != gene_id else gene_id
    where = f"{gene.chrom[0]}:{gene.start[0] + 1:,}-{gene.end[0]:,} ({gene.strand[0]})"
    place = where if gene.located[0] else "no coordinates"
    part = f"; {view.part} gene" if view.part else ""
    return f"{shown}, {place}; {view.cells[0]} to {view.cells[1]}{part}"


def _draw_tracks(figure: Figure, view: GeneView, place: dict[str, float]) -> None:
    """Draw one panel a region, in which mark j lies between the heights -j and -j - 1, as browsers do it."""
    regions, n_marks = view.layout.regions, len(view.marks)
    grid = figure.add_gridspec(1, len(regions), width_ratios=widths(regions), wspace=0.08, **place)
    weights = _heights(view)
    for column, region in enumerate(regions):
        axis, span = figure.add_subplot(grid[column]), view.layout.spans[region.name]
        along = RegionAxis.of(region, view.window)
        edges = np.linspace(*along.ends, len(region.windows) + 1)
        _draw_extent(axis, region, float(view.gene.end[0] - view.gene.start[0]), along.ends)
        for j in range(n_marks):
            _draw_signal(axis, view, j, span, edges)
            _draw_weights(axis, weights[j, span], edges, -j - (_ZERO if view.kind.signed else 0.97))
        axis.set_xlim(*along.ends)
        axis.set_ylim(-n_marks, _EXTENT)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=_SMALL, length=2, labelleft=False, left=False)
        if along.ticks:
            ticks = list(along.ticks.items())
            axis.set_xticks(*zip(*ticks[:: 2 if len(ticks) > _MANY_TICKS else 1], strict=True), rotation=90)
        else:
            axis.locator_params(axis="x", nbins=5)  # labels stand at the panel's ends, too, beside the next's
        axis.set_xlabel(along.label.replace(" (", "\n(", 1), fontsize=_SMALL)
        if column == 0:
            axis.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=_SMALL + 1, ncols=2)
            _label_marks(axis, view, along.ends[0])


def _label_marks(axis: Axes, view: GeneView, left: float) -> None:
    what = view.kind.of_windows.replace("_", " ") if view.kind.signed else "attention"
    for j, mark in enumerate(view.marks):
        low, high = _range(view, j)
        for height, text, size in (
            (0.2, mark, _SMALL + 2), (0.42, f"{low:.3g} to {high:.3g}", _SMALL), (_ZERO, what, _SMALL),
        ):  # fmt: skip
            axis.annotate(
                text, (left, -j - height), (-6, 0), textcoords="offset points", ha="right", va="center",
                fontsize=size, annotation_clip=False,
            )  # fmt: skip


def _range(view: GeneView, mark: int) -> tuple[float, float]:
    """Lowest and highest signal that are drawn of a mark, the same in all regions."""
    low, high = min(float(view.signal[:, mark].min()), 0.0), float(view.signal[:, mark].max())
    return low, high if high > low else low + 1


def _draw_signal(axis: Axes, view: GeneView, mark: int, span: slice, edges: npt.NDArray[np.float64]) -> None:
    low, high = _range(view, mark)
    base = -mark - _TRACK
    a, b = base + (view.signal[:, mark, span] - low) / (high - low) * (_TRACK - 0.08)
    zero = base - low / (high - low) * (_TRACK - 0.08)
    first = mark == 0
    axis.stairs(a, edges, baseline=zero, fill=True, color=_A, label=view.cells[0] if first else None)
    axis.stairs(b, edges, baseline=None, color=_B, linewidth=1.1, label=view.cells[1] if first else None)
    axis.axhline(zero, color="black", linewidth=0.4)


def _heights(view: GeneView) -> npt.NDArray[np.float64]:
    """Height at which each weight is drawn [n_marks, n_windows], so that areas compare over all regions."""
    density = np.empty_like(view.weights)
    for region, width in zip(view.layout.regions, widths(view.layout.regions), strict=True):
        span = view.layout.spans[region.name]
        density[:, span] = view.weights[:, span] * len(region.windows) / width
    highest = float(np.abs(density).max()) or 1.0
    return np.asarray(density / highest * (0.14 if view.kind.signed else 0.28))


def _draw_weights(
    axis: Axes, heights: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], zero: float
) -> None:
    for (colour, hatch), part in zip(_SIGNS, (np.minimum(heights, 0), np.maximum(heights, 0)), strict=True):
        if part.any():
            axis.stairs(
                zero + part, edges, baseline=zero, fill=True, facecolor=colour, edgecolor="black",
                hatch=hatch, linewidth=0,
            )  # fmt: skip
    axis.axhline(zero, color="black", linewidth=0.4)


def _draw_extent(axis: Axes, region: Region, length: float, ends: tuple[float, float]) -> None:
    """Draw where a gene of so many bases lies in a region: a bar, and an arrow where transcription begins."""
    first, last = ends
    near_tss = (0.0, min(length / 1000, last)) if region.bins else (0.0, 0.0)
    begin, stop = {"gene": ends, "tes": (first, 0.0), "tss": near_tss}[region.anchor]
    axis.axhline(0.2, color="#777777", linewidth=0.8)
    axis.fill_between([begin, stop], 0.12, 0.28, color="#444444", linewidth=0)
    if region.anchor != "tes":
        reach = begin + 0.06 * (last - first)
        axis.plot([begin, begin, reach], [0.2, 0.42, 0.42], color="black", linewidth=0.9)
        axis.plot([reach], [0.42], marker=">", color="black", markersize=3)


def _draw_summary(figure: Figure, view: GeneView, place: dict[str, float]) -> None:
    n_marks = len(view.marks)
    grid = figure.add_gridspec(3, 1, height_ratios=[2, n_marks + 0.5, n_marks + 0.5], hspace=0.75, **place)
    top, middle, bottom = (figure.add_subplot(grid[i]) for i in range(3))
    _draw_log2fc(top, view)
    name = view.kind.of_windows.replace("_", " ") if view.kind.signed else "attention"
    _draw_by_mark(middle, view.marks, view.of_marks)
    middle.set_title(f"{name} by mark", fontsize=_SMALL + 1, loc="left")
    _draw_by_mark(bottom, view.marks, view.change, view.spread)
    a, b = view.cells
    bottom.set_title(f"change if {b} had {a}'s signal of a mark", fontsize=_SMALL + 1, loc="left")
    for axis in (middle, bottom) if view.kind.signed else (bottom,):
        axis.set_xlabel(f"log2 fold change (right: towards {b})", fontsize=_SMALL)


def _draw_log2fc(axis: Axes, view: GeneView) -> None:
    """Draw prediction and measurement, each with what is known of its uncertainty."""
    reach = _QUANTILE * view.se
    rows = (
        ("measured", view.measured, view.measured - reach, view.measured + reach, "D"),
        ("predicted", view.log2fc, view.low, view.high, "o"),
    )
    for y, (_, value, low, high, marker) in enumerate(rows):
        if np.isfinite(low) and np.isfinite(high):
            axis.plot([low, high], [y, y], color="black", linewidth=1.2)
        if np.isfinite(value):
            axis.plot([value], [y], marker=marker, color="black", markersize=5)
    names = [f"{name} {value:+.2f}" if np.isfinite(value) else f"{name} unknown" for name, value, *_ in rows]
    axis.axvline(0, color="black", linewidth=0.6, linestyle=":")
    axis.set_yticks(range(len(rows)), names, fontsize=_SMALL)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.tick_params(labelsize=_SMALL)
    axis.set_title(f"log2fc, {view.cells[1]} over {view.cells[0]}", fontsize=_SMALL + 1, loc="left")
    axis.spines[["top", "right"]].set_visible(False)


def _draw_by_mark(
    axis: Axes,
    marks: tuple[str, ...],
    values: npt.NDArray[np.float64],
    spread: npt.NDArray[np.float64] | None = None,
) -> None:
    lines: Any = None if spread is None or not np.isfinite(spread).all() else spread
    signs = [_SIGNS[int(value > 0)] for value in values]
    axis.barh(
        range(len(marks)), values, 0.7, xerr=lines, capsize=2, color=[colour for colour, _ in signs],
        hatch=[hatch for _, hatch in signs], edgecolor="black", linewidth=0.5,
    )  # fmt: skip
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_yticks(range(len(marks)), list(marks), fontsize=_SMALL)
    axis.set_ylim(len(marks) - 0.4, -0.6)
    axis.tick_params(labelsize=_SMALL)
    axis.spines[["top", "right"]].set_visible(False)

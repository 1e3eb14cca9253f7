"""Charts and tables of the data: tracks, coverage, quality, expression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffchrom.files.figures import COLOURS
from diffchrom.genome.genes import Window
from diffchrom.genome.regions import TSS
from diffchrom.inspection.summary import StoreSummary
from diffchrom.pairs.splits import split_family
from diffchrom.report.charts import Chart, Table, View, axis
from diffchrom.sweeps.results import Result


def tracks_table(summary: StoreSummary) -> Table:
    """A row a track: unit, depth, coverage, what looks wrong."""
    header = (
        "cell",
        "mark",
        "region",
        "unit",
        "bases with data",
        "bins not 0",
        "mean",
        "maximum",
        "looks wrong",
    )
    rows = [
        [
            track.cell, track.mark, track.region, track.unit or None, _share(track.covered),
            _share(track.nonzero), track.mean, track.maximum, "; ".join(track.flags) or "nothing",
        ]
        for track in summary.tracks
    ]  # fmt: skip
    return Table(header, rows)


def expression_table(summary: StoreSummary) -> Table:
    """A row a cell and unit of expression."""
    header = ("cell", "unit", "genes known", "share 0", "median", "maximum")
    rows = [[e.cell, e.unit, e.known, _share(e.zero), e.median, e.maximum] for e in summary.expression]
    return Table(header, rows)


def _share(value: float) -> str | None:
    return f"{value:.1%}" if np.isfinite(value) else None


def splits_table(summary: StoreSummary) -> Table:
    """A row a split with the number of genes in each part."""
    parts = ("train", "valid", "test", "unused")
    return Table(
        ("split", *parts),
        [[name, *(counts.get(p, 0) for p in parts)] for name, counts in summary.splits.items()],
    )


def profiles(summary: StoreSummary, window: Window, chart_id: str = "profiles") -> Chart:
    """Mean signal around the TSS, cell by cell."""
    cells = list(dict.fromkeys(track.cell for track in summary.tracks))
    marks = list(dict.fromkeys(track.mark for track in summary.tracks))
    views = []
    for cell in cells:
        tracks = [track for track in summary.tracks if track.cell == cell and track.region == TSS]
        traces = []
        for track in tracks:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": track.mark,
                    "x": window.middles,
                    "y": track.profile,
                    "line": {"color": COLOURS[marks.index(track.mark) % len(COLOURS)], "width": 1.5},
                    "hovertemplate": "%{x} bp: %{y:.3f}",
                }
            )
        peaks = ", ".join(f"{track.mark} {track.profile.max():.3g}" for track in tracks)
        alt = f"Mean signal of {len(tracks)} marks around the TSS in {cell}; highest values: {peaks}."
        layout = {
            "xaxis": axis("distance from the TSS (bp)"),
            "yaxis": axis("mean signal"),
            "legend": {"orientation": "h", "y": -0.25},
        }
        views.append(View(cell, alt, traces, layout))
    caption = "Mean over all genes, as stored; a mark that is off its neighbours' scale or shape shows here."
    return Chart(chart_id, "Signal around the TSS", caption, views)


def provenance_table(results: Sequence[Result]) -> Table:
    """A row a pair, or several where its runs differ: what the runs were made from."""
    rows: dict[tuple[object, ...], None] = {}
    for result in results:
        config = result.run.config
        window = config.window
        row = (
            ", ".join(config.pair), ", ".join(config.marks), split_family(config.split), config.unit,
            config.store.get("n_genes"),
            f"±{window.flank} bp, {window.n_bins} bins of {window.bin_size} bp, {window.orient}",
            str(config.store.get("fingerprint", ""))[:12],
        )  # fmt: skip
        rows[row] = None
    header = ("pair (A, B)", "marks", "split", "expression", "genes", "window", "store")
    return Table(header, list(rows))

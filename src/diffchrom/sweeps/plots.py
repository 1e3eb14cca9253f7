"""Figure 4 of the paper: Pearson's r of every method on every pair, as bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffchrom.errors import UsageError
from diffchrom.files import staged
from diffchrom.sweeps.comparison import Comparison

FORMATS = (".png", ".svg", ".pdf")
#: Okabe and Ito's colours, told apart with every common colour blindness; hatches tell them apart in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\")


def plot_bars(comparison: Comparison, path: Path) -> None:
    """Draw the bars with 95% gene-bootstrap intervals; the format goes by the name's ending.

    Raises
    ------
    UsageError
        When the name ends in none of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--plot {path}: give a name that ends in {', '.join(FORMATS)}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_methods, n_pairs = comparison.r.shape
    width = float(np.clip(1.5 + 0.16 * (n_methods + 1) * n_pairs, 6.0, 40.0))
    figure = Figure(figsize=(width, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bar = 0.85 / n_methods
    for i, label in enumerate(comparison.labels):
        r = comparison.r[i]
        ends = np.array([comparison.interval(i, j) for j in range(n_pairs)])
        errors = np.abs(np.stack([r - ends[:, 0], ends[:, 1] - r]))
        axes.bar(
            np.arange(n_pairs) + (i - (n_methods - 1) / 2) * bar,
            np.nan_to_num(r),
            bar,
            yerr=np.nan_to_num(errors),
            label=label,
            color=COLOURS[i % len(COLOURS)],
            hatch=_HATCHES[i // len(COLOURS) % len(_HATCHES)],
            edgecolor="black",
            linewidth=0.3,
            error_kw={"elinewidth": 0.6, "capsize": 1.0},
        )
    axes.set_xticks(np.arange(n_pairs), [f"{a}, {b}" for a, b in comparison.pairs])
    axes.tick_params(axis="x", rotation=45 if n_pairs > 4 else 0)
    axes.set_ylabel("Pearson r, test genes")
    axes.axhline(0, color="black", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=max(1, int(width // 2.2)), fontsize=8, frameon=False)
    with staged(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=200, metadata=_metadata(path))


def _metadata(path: Path) -> dict[str, None]:
    """Without the date, the same figure is the same file."""
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})

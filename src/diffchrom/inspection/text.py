"""A store's or a run's description as text, JSON or a plot."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import RunError, UsageError
from diffchrom.files.figures import check_figure_path, save_figure
from diffchrom.files.tables import aligned, format_value
from diffchrom.genome.genes import Window
from diffchrom.genome.regions import TSS, Region
from diffchrom.inspection.summary import StoreSummary
from diffchrom.pairs.choices import direction
from diffchrom.runs.folder import (
    CONFIG,
    FINISHED,
    FITTED,
    HISTORY,
    MODEL,
    PREDICTIONS,
    SIGNAL,
    Run,
    RunConfig,
)
from diffchrom.runs.pair_results import COLUMNS, PAIRS, read_results
from diffchrom.runs.tables import describe_labels

#: Pairs of cells that are listed.
_MOST_PAIRS = 20
#: What the windows of a region count, by its anchor.
_COUNTED = {"tss": "bases from the TSS", "gene": "% of the gene", "tes": "bases from the TES"}


def _aligned(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield the lines of a table in aligned columns; numbers have three significant digits."""

    def shown(value: Any) -> str:
        if isinstance(value, float) and math.isfinite(value):
            return f"{value:.3g}"
        return format_value(value)

    text = [list(header), *([shown(value) for value in row] for row in rows)]
    for line in aligned(text):
        yield f"  {line}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def store_text(summary: StoreSummary) -> str:
    """Return a store's description for people."""
    lines = [f"store {summary.path}: {summary.n_genes} genes"]
    lines += [f"  {name}: {value}" for name, value in summary.about.items()]
    lines += [f"genes by chromosome: {_counts(summary.chroms)}"]
    lines += [f"split {name}: {_counts(parts)}" for name, parts in summary.splits.items()]
    if summary.tracks:
        lines.append("tracks:")
        header = ("cell", "mark", "region", "unit", "covered", "nonzero", "mean", "max", "source")
        lines += _aligned(
            header,
            [
                (t.cell, t.mark, t.region, t.unit, t.covered, t.nonzero, t.mean, t.maximum, t.source)
                for t in summary.tracks
            ],
        )
    if summary.expression:
        lines.append("expression:")
        lines += _aligned(
            ("cell", "unit", "genes", "zero", "median", "max", "replicates"),
            [
                (e.cell, e.unit, e.known, e.zero, e.median, e.maximum, e.replicates)
                for e in summary.expression
            ],
        )
    for unit, n in summary.elsewhere.items():
        lines.append(f"expression of {n} cells without tracks, for `gene_prior`: {unit}")
    if summary.pairs:
        lines.append("pairs:")
        lines += _aligned(
            ("pair", "marks", "of one cell only", "labels"),
            [
                (one.pair, len(one.marks), ",".join(one.of_one) or None, one.labels or None)
                for one in summary.pairs[:_MOST_PAIRS]
            ],
        )
        if len(summary.pairs) > _MOST_PAIRS:
            lines.append(f"  and {len(summary.pairs) - _MOST_PAIRS} more (all with `json`)")
    if summary.labels:
        lines.append("changes given as labels (positive = higher in B, the second cell of the pair):")
        lines += _aligned(
            ("pair", "genes", "with se", "table", "source"),
            [(one.pair, one.known, one.with_se, one.dialect, one.source) for one in summary.labels],
        )
    flags = [f"  {t.mark} of {t.cell} ({t.region}): {flag}" for t in summary.tracks for flag in t.flags]
    if flags:
        lines += ["to look at:", *flags]
    if summary.notes:
        lines += ["said by prepare:", *(f"  {note}" for note in summary.notes)]
    if summary.verified:
        lines.append("verified: every checksum agrees")
    return "\n".join(lines) + "\n"


def run_dict(run: Run, *, verify: bool = False) -> dict[str, Any]:
    """Return a run's configuration, with its folder and files.

    Raises
    ------
    RunError
        When `verify`, and a file that a finished run has is missing, or its weights cannot be read.
    """
    config = json.loads(run.config.to_json())
    names = (CONFIG, MODEL, FITTED, HISTORY, PREDICTIONS, PAIRS, SIGNAL)
    found = [name for name in names if (run.path / name).is_file()]
    if verify:
        _verify_run(run, found)
    return {"path": str(run.path), **config, "files": found, "verified": True if verify else None}


def _verify_run(run: Run, found: Sequence[str]) -> None:
    if run.config.status != FINISHED:
        raise RunError(f"{run.path}: has not ended, so there is nothing to verify; go on with `resume`")
    has_model = run.config.kind == "deepdiff" and not run.config.folds
    needed = [PREDICTIONS] + ([MODEL, HISTORY] if has_model else [])
    missing = [name for name in needed if name not in found]
    if missing:
        raise RunError(f"{run.path}: lacks {', '.join(missing)}; train it again")
    if MODEL in found:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(run.path / MODEL, framework="numpy") as weights:
                broken = [name for name in weights.keys() if not np.isfinite(weights.get_tensor(name)).all()]  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise RunError(f"{run.path / MODEL}: cannot be read ({error}); train it again") from error
        if broken:
            raise RunError(f"{run.path / MODEL}: {broken[0]} has values that are no numbers; train it again")


def _brief(value: Any) -> str:
    """Return a value of a configuration on one line; long lists by their ends."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_brief(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        shown = [_brief(item) for item in value]
        if len(shown) > 6:
            return f"[{shown[0]} {shown[1]} ... {shown[-1]}: {len(shown)} values]"
        return f"[{' '.join(shown)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _folds(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the metrics of a cross-validation's folds, their mean and spread."""
    details = values["details"]
    folds = details.get("folds", ())
    yield f"folds: {values['folds']}" + ("" if folds else ", not all finished")
    if folds:
        names = [name for name in folds[0] if name != "fold"]
        rows: list[tuple[Any, ...]] = [(fold["fold"], *(fold.get(name) for name in names)) for fold in folds]
        for label, key in (("mean", "fold_mean"), ("sd", "fold_sd")):
            rows.append((label, *(details.get(key, {}).get(name) for name in names)))
        yield from _aligned(("fold", *names), rows)


def _scaling(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the model does to its input by itself, a line a path."""
    for path, steps in values["details"].get("scaling", {}).items():
        merged = steps["bins_merged"]
        bins = " + ".join(map(str, merged)) if isinstance(merged, list) else f"every {merged:g}"
        yield (
            f"  scaling ({path}): {steps['function']} of the mean of {bins} bins, "
            f"less mean ({_brief(steps['mean'])}), over scale ({_brief(steps['scale'])})"
        )


def run_text(values: Mapping[str, Any]) -> str:
    """Return a run's description (`run_dict`) for people."""
    plain = ("kind", "variant", "preset", "status", "split", "unit", "seed")
    lines = [f"run {values['path']}"]
    lines += [f"  {name}: {values[name]}" for name in plain if values.get(name) not in (None, "")]
    lines.append(f"  pair: {','.join(values['pair'])}; {direction(values['pair'])}")
    if values["pairs"]:
        lines.append(f"  pairs learnt: {'; '.join(map(','.join, values['pairs']))}")
    if values["held_out"]:
        lines.append(f"  cells held out: {', '.join(values['held_out'])}")
    lines.append(f"  marks: {', '.join(values['marks'])}")
    lines.append(f"  regions: {', '.join(values['regions'] or (TSS,))}")
    if values["covariates"]:
        lines.append(f"  covariates: {', '.join(values['covariates'])}")
    for name in ("window", "store", "hyperparameters", "versions"):
        if values[name]:
            lines.append(f"  {name}: {_brief(values[name])}")
    lines += _scaling(values)
    if values["metrics"]:
        names = list(dict.fromkeys(name for part in values["metrics"].values() for name in part))
        lines.append("metrics:")
        rows = [(part, *(held.get(name) for name in names)) for part, held in values["metrics"].items()]
        lines += _aligned(("part", *names), rows)
    if results := read_results(values["details"].get("pairs", ())):
        lines += ["pairs (test genes):", *_aligned(COLUMNS, [result.row() for result in results])]
    if said := describe_labels(values["details"]):
        lines.append(f"labels: {said}")
    if values["folds"]:
        lines += _folds(values)
    lines.append(f"files: {', '.join(values['files'])}")
    if values["verified"]:
        lines.append("verified: the files are there and can be read")
    return "\n".join(lines) + "\n"


def coefficients_text(columns: Mapping[str, npt.NDArray[Any]], config: RunConfig) -> str:
    """Return a baseline's coefficients for people, with their place in the gene; empty without any."""
    if not columns:
        return ""
    regions = {region.name: region for region in config.layout.regions}
    weights = {name: column.tolist() for name, column in columns.items()}
    of, first, last = (weights.pop(name) for name in ("region", "first_window", "last_window"))
    ends = {
        name: [
            _edge(regions[region], regions[region].windows[number - 1][end]) if region else ""
            for region, number in zip(of, numbers, strict=True)
        ]
        for end, (name, numbers) in enumerate({"from": first, "to": last}.items())
    }
    shown = {"cell": weights.pop("cell"), "mark": weights.pop("mark"), "region": of, **ends, **weights}
    counted = "; ".join(
        f"{', '.join(name for name in regions if regions[name].anchor == anchor)}: {words}"
        for anchor, words in _COUNTED.items()
        if any(region.anchor == anchor for region in regions.values())
    )
    lines = [
        f"largest weights (from, to along the window; {counted}):",
        *_aligned(list(shown), list(zip(*shown.values(), strict=True))),
    ]
    return "\n".join(lines) + "\n"


def _edge(region: Region, edge: int) -> str:
    """Where a window begins or ends, in what its region counts."""
    return f"{100 * edge / region.parts:g}%" if region.anchor == "gene" else str(edge)


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it: NaN is null, tuples are lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(values: Mapping[str, Any]) -> str:
    """Return `values` as JSON with a newline at its end."""
    return json.dumps(_plain(values), indent=2, allow_nan=False) + "\n"


def json_line(values: Mapping[str, Any]) -> str:
    """Return `values` as JSON on one line, without its end."""
    return json.dumps(_plain(values), allow_nan=False)


def plot_profiles(summary: StoreSummary, path: Path) -> None:
    """Draw the mean signal around the TSS, one panel a mark and one line a cell.

    Raises
    ------
    UsageError
        When the name ends in none of `figures.FIGURE_METADATA`, or the store has no tracks.
    """
    check_figure_path(path)
    tracks = [track for track in summary.tracks if track.region == TSS]
    if not tracks:
        raise UsageError(f"`plot`: {summary.path} has no tracks")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    marks = list(dict.fromkeys(track.mark for track in tracks))
    cells = list(dict.fromkeys(track.cell for track in tracks))
    columns = min(3, len(marks))
    figure = Figure(figsize=(4 * columns, 3 * -(-len(marks) // columns)), layout="constrained")
    middle = Window(summary.about["flank"], summary.about["bin_size"]).middles
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(cells)))
    for i, mark in enumerate(marks):
        axes = figure.add_subplot(-(-len(marks) // columns), columns, i + 1)
        for track in tracks:
            if track.mark == mark:
                axes.plot(
                    middle / 1000, track.profile, color=colours[cells.index(track.cell)], label=track.cell
                )
        axes.set(title=mark, xlabel="distance from the TSS (kb)", ylabel="mean signal")
        if i == 0 and len(cells) <= 10:
            axes.legend(fontsize="small")
    save_figure(figure, path)

"""What the signal was like that a run of several pairs, or of normalised signal, learnt from."""

from __future__ import annotations

from collections.abc import Sequence

from diffchrom.errors import RunError
from diffchrom.files.records import holds_record, read_record
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.signal_seen import Distance, SeenSignal
from diffchrom.runs.folder import SIGNAL, Run
from diffchrom.runs.handed_on import SIGNAL_AT


def has_signal(run: Run) -> bool:
    """Whether it was kept."""
    return holds_record(run.path if run.path.is_file() else run.path / SIGNAL)


def signal_seen(run: Run) -> SeenSignal:
    """Read it, from a run's folder or a model's file; RunError where it is not there, or not that run's."""
    handed_on = run.path.is_file()
    path = run.path if handed_on else run.path / SIGNAL
    try:
        seen: SeenSignal = read_record(path, SeenSignal, at=SIGNAL_AT if handed_on else ())
        if seen.marks != run.config.marks or set(seen.regions) != set(run.config.layout.names):
            raise ValueError("it is of other marks or regions")
    except (OSError, ValueError) as error:
        remedy = "export it again" if handed_on else "fit the run again"
        raise RunError(f"{path}: holds no signal that was learnt from ({error}); {remedy}") from error
    return seen


def signal_distances(run: Run, pair: Pair) -> list[Distance]:
    """Distance from what a run learnt from, of each mark of a pair's other cells; empty if not kept."""
    if not has_signal(run):
        return []
    seen = signal_seen(run)
    return [
        distance
        for cell in pair.cells
        if cell not in seen.cells
        for distance in seen.distances(cell, pair.quantiles_of(cell))
    ]


def describe_distances(distances: Sequence[Distance]) -> str:
    """Say in a line how far signal is from what was learnt, and where it is outside; empty without any."""
    if not distances:
        return ""
    outside = [distance for distance in distances if distance.outside]
    worst = max(distances, key=lambda distance: distance.distance / distance.limit)
    what = (
        "Kolmogorov-Smirnov distance, as it is in the store, to the nearest cell of the training, and "
        "between these"
    )
    if not outside:
        return (
            f"signal is like that of the training: at worst {worst.mark} of {worst.cell}, "
            f"{worst.distance:.2f} of at most {worst.limit:.2f} ({what})"
        )
    named = ", ".join(f"{d.mark} of {d.cell} {d.distance:.2f} ({d.limit:.2f})" for d in outside)
    return f"signal lies outside what the training saw, so that predictions may not hold: {named}; {what}"

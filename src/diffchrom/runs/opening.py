"""What opening a run of any kind needs to know of the store that it is opened on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from diffchrom.config import NORMALISE
from diffchrom.errors import RunError, StoreError
from diffchrom.files.records import read_record
from diffchrom.genome.regions import TSS
from diffchrom.pairs.choices import has_split
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.signal_seen import Distance, SeenSignal
from diffchrom.runs.folder import SIGNAL, Run
from diffchrom.store.store import Store


def pair_of_run(run: Run, store: Store, cells: Sequence[str] | None = None) -> Pair:
    """What `run` reads of `store`: its marks in its order, its split and unit where the store has them."""
    config = run.config
    if store.window != config.window:
        raise RunError(
            f"{run.path}: was trained on windows {config.window.described()}, "
            f"{store.path} has {store.window.described()}; prepare a store with the run's settings"
        )
    cells = cells or config.pair
    units = [store.expression_units(cell) for cell in cells if cell in store.cells()]
    shared = config.unit and all(config.unit in names for names in units)
    try:
        pair = Pair.of(
            store,
            cells,
            marks=config.marks,
            split=config.split if has_split(store, config.split) else None,
            unit=config.unit if shared else None,
            regions=tuple(config.regions) or (TSS,),
            labelled=False,
        )
    except StoreError as error:
        needs = f"run {run.path} needs marks {', '.join(config.marks)}{_retrained(run, store, cells)}"
        raise StoreError(f"{error} ({needs})") from error
    pair = replace(pair, covariate_names=config.covariates, prior_without=config.held_out)
    if config.normalise != NORMALISE[0]:
        pair = replace(pair, reference=signal_seen(run).reference)
    for region in pair.regions:
        if config.regions.get(region.name, region.digest) != region.digest:
            raise RunError(
                f"{run.path}: was trained on other windows in region {region.name} than {store.path} has; "
                f"prepare them again with `regions={region.name}` `replace`"
            )
    return pair


def signal_seen(run: Run) -> SeenSignal:
    """What the signal was like that a run of several pairs, or of normalised signal, learnt from."""
    path = run.path / SIGNAL
    try:
        seen: SeenSignal = read_record(path, SeenSignal)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: holds no signal that was learnt from ({error}); fit the run again"
        ) from error
    return seen


def signal_distances(run: Run, pair: Pair) -> list[Distance]:
    """Distance from what a run learnt from, of each mark of a pair's other cells; empty if not kept."""
    if not (run.path / SIGNAL).is_file():
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
    what = "Kolmogorov-Smirnov distance to the nearest cell of the training, and between these"
    if not outside:
        return (
            f"signal is like that of the training: at worst {worst.mark} of {worst.cell}, "
            f"{worst.distance:.2f} of at most {worst.limit:.2f} ({what})"
        )
    named = ", ".join(f"{d.mark} of {d.cell} {d.distance:.2f} ({d.limit:.2f})" for d in outside)
    return f"signal lies outside what the training saw, so that predictions may not hold: {named}; {what}"


def _retrained(run: Run, store: Store, cells: Sequence[str]) -> str:
    """The command that makes such a run on those of its marks that both cells have."""
    config = run.config
    if not set(cells) <= set(store.cells()):
        return ""
    common = [mark for mark in config.marks if all(mark in store.marks(cell) for cell in cells)]
    if not common or len(common) == len(config.marks):
        return ""
    method = (
        f"baseline --method {config.variant}"
        if config.kind == "baseline"
        else f"train --variant {config.variant}"
    )
    return f"; without them: diffchrom {method} --pair {','.join(config.pair)} --marks {','.join(common)}"


def require_single(run: Run) -> None:
    """Refuse a cross-validation, which has a model for each fold."""
    if run.config.folds:
        raise RunError(
            f"{run.path}: a cross-validation has {run.config.folds} models; give one of them, as "
            f"{run.path}/fold-1"
        )

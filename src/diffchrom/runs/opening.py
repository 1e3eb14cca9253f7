"""What opening a run of any kind needs to know of the store that it is opened on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffchrom.config import NORMALISE
from diffchrom.errors import RunError, StoreError
from diffchrom.genome.regions import TSS
from diffchrom.pairs.choices import has_split
from diffchrom.pairs.pair import Pair
from diffchrom.runs.folder import Run, RunConfig
from diffchrom.runs.signal import signal_seen
from diffchrom.store.store import Store


def store_for(run: Run, path: Path) -> Store:
    """Open the store at `path` for a run; where there is none, the error names the run's own."""
    own = Path(str(run.config.store.get("path", "")))
    if not path.exists() and own.is_file():
        raise StoreError(f"{path}: no such store; {run.path} was made from {own}, give `store={own}`")
    return Store(path)


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
    pair = replace(
        pair,
        covariate_names=config.covariates,
        prior_without=config.held_out,
        unknown=_changed(config, pair),
    )
    if config.normalise != NORMALISE[0]:
        pair = replace(pair, reference=signal_seen(run).reference)
    for region in pair.regions:
        if config.regions.get(region.name, region.digest) != region.digest:
            raise RunError(
                f"{run.path}: was trained on other windows in region {region.name} than {store.path} has; "
                f"prepare them again with `regions={region.name}` `replace`"
            )
    return pair


def _changed(config: RunConfig, pair: Pair) -> tuple[str, ...]:
    """Cells of a pair whose signal is not what a run of several pairs read of a cell of that name."""
    digests = config.store.get("cells", {})

    def differs(cell: str) -> bool:
        return pair.store.signal_digest((cell,), pair.marks, pair.layout.names) != str(digests[cell])

    return tuple(cell for cell in pair.cells if cell in digests and differs(cell))


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

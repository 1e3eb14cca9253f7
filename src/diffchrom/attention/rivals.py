"""What attention is compared with: orders that an input gives for nothing, untrained models, other runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffchrom.attention.deletion import Map
from diffchrom.deepdiff.opened import OpenedModel, open_model
from diffchrom.errors import DiffchromError, RunError
from diffchrom.genome.genes import Rows, Signal
from diffchrom.pairs.splits import split_family
from diffchrom.runs.differences import differing
from diffchrom.runs.folder import Run
from diffchrom.store.store import Store

MAX_OTHERS = 5
UNTRAINED = "random_weights"
DIFFERENCE, SIGNAL, NEARNESS = "absolute_difference", "signal", "nearness_to_tss"


def input_maps(opened: OpenedModel, rows: Rows, a: Signal, b: Signal) -> dict[str, Map]:
    """Importance [n, n_marks, n_windows] that nobody needs a model for, of genes with raw signal `a` and `b`.

    |A - B| of log1p of the signal, its mean over both cells, and how near a window's middle is to the TSS.
    """
    log_a, log_b = np.log1p(a), np.log1p(b)
    near = np.broadcast_to(-distance_from_tss(opened, rows)[:, None], a.shape)
    return {DIFFERENCE: np.abs(log_a - log_b), SIGNAL: (log_a + log_b) / 2, NEARNESS: near}


def distance_from_tss(opened: OpenedModel, rows: Rows) -> Map:
    """Bases from the TSS to the middle of every window [len(rows), n_windows], as float64.

    Infinite for windows of other regions that lie nowhere: beyond a chromosome's end, or of a gene without
    coordinates.
    """
    start, end = opened.windows.intervals(rows)
    middle = (start + end - 1) / 2
    distance = np.where(start < 0, np.inf, np.abs(middle - opened.genes.tss[rows, None]))
    bins = opened.pair.layout.n_bins
    distance[:, :bins] = np.abs(opened.window.middles)  # the same for all genes, whatever is known of them
    return np.asarray(distance, dtype=np.float64)


def sibling_runs(run: Run) -> list[Run]:
    """Runs beside `run` that differ from it in nothing but the seed, or the fold; at most `MAX_OTHERS`."""
    found: list[Run] = []
    family = split_family(run.config.split)
    for folder in sorted(run.path.resolve().parent.iterdir()):
        if len(found) == MAX_OTHERS or not folder.is_dir():
            continue
        try:
            other = Run.open(folder)
        except DiffchromError:
            continue  # not every folder beside a run is one
        if other.config.folds or split_family(other.config.split) != family:
            continue
        if differing(run.config, other.config) in (["seed"], ["split"]):
            found.append(other)
    return found


def open_others(
    opened: OpenedModel, runs: Sequence[Run], store: Store, device: str = "auto"
) -> dict[str, OpenedModel]:
    """Open runs to compare with by folder; RunError where their variant or marks are others."""
    others = {}
    for run in runs:
        other = open_model(run, store, opened.pair.cells, device=device)
        if other.sequences != opened.sequences:
            raise RunError(
                f"{run.path}: has other sequences (variant {run.config.variant}, marks "
                f"{', '.join(run.config.marks)}); compare runs of one variant with the same marks"
            )
        others[str(run.path)] = other
    return others

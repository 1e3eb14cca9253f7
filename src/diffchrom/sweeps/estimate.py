"""How long a job will take and how much memory it will need, before it is run.

Where jobs of the same method and preset have finished in the same sweep, their own times and peaks are the
estimate. Before that a DeepDiff job is estimated from a calibration of about a second (a few training steps
of the variant on made-up signal of the store's shape), a baseline from `BASELINE_SECONDS`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffchrom.baselines.methods import METHODS
from diffchrom.genome.layout import Layout
from diffchrom.pairs.choices import SPLIT_PARTS, read_split, resolve_marks, resolve_regions, resolve_unit
from diffchrom.pairs.pair_set import LEAST_CELLS
from diffchrom.store.store import Store
from diffchrom.sweeps.jobs import Job
from diffchrom.variants import get_variant

#: Seconds of a fit to 1,000 training genes x 5 marks x 200 bins on one core, and the power of the number of
#: genes with which they grow: CPU seconds on Roadmap's pilot tracks (250 training genes) and on the
#: genome-wide segmentation (13,386); those of a published preset, which stands behind the method's name, on
#: the pilot and the authors' sample alone. What is not listed is not estimated.
BASELINE_SECONDS: Mapping[str, tuple[float, float]] = {
    "mean": (0.01, 1.0),
    "cell-mean": (0.01, 1.0),
    "cell-mean-shuffled": (0.01, 1.0),
    "ridge": (0.7, 1.1),
    "random-forest": (11.0, 1.1),
    "random-forest-classes": (1.7, 0.9),
    "gradient-boosting": (40.0, 0.3),
    "svr-best-bin": (50.0, 1.25),
    "svr-two-layer": (40.0, 1.3),
    "svm-best-bin": (6.5, 1.2),
    "forest-best-bins": (1.6, 0.8),
    "forest-best-bins-classes": (1.1, 0.8),
    "relieff-rf": (30.0, 1.05),
    "relieff-rf-classes": (1.6, 1.0),
    "linear-cells": (0.3, 0.9),
    "ranking-network": (0.6, 1.1),
    "decision-list": (0.3, 0.9),
    "svr-best-bin published": (50.0, 1.25),
    "svr-two-layer published": (40.0, 1.3),
    "relieff-rf published": (60.0, 1.05),
    "attentivechrome": (72.0, 1.0),
    "attentivechrome-classes": (59.0, 1.0),
    "attentivechrome published": (180.0, 1.0),
    "attentivechrome-classes published": (180.0, 1.0),
    "deepchrome": (20.0, 0.9),
    "deepchrome-cells": (49.0, 0.9),
    "deepchrome-classes": (38.0, 0.9),
}
#: Resident memory of a process that has loaded torch, and one that has loaded scikit-learn.
_PROCESS_MB = {"deepdiff": 330.0, "baseline": 200.0}
#: Seconds until a DeepDiff job trains, and after: loading torch, intervals, calibration, writing.
_FIXED_SECONDS = 3.0


@dataclass(frozen=True)
class Estimate:
    """What a job is expected to need; NaN where nothing is known.

    Attributes
    ----------
    seconds : on one core that does nothing else.
    memory_mb : peak resident memory of its process.
    basis : ``finished``, ``calibration``, ``table`` or ``unknown``.
    """

    seconds: float
    memory_mb: float
    basis: str


@dataclass(frozen=True)
class _Shape:
    """Sizes of what one job reads.

    Attributes
    ----------
    n_genes, n_marks, layout : of the store.
    n_train : examples to train on, of all pairs and orders that are learnt.
    examples : pairs, in as many orders as are learnt.
    left_out : how often cells are left out for intervals of unseen ones, in models that learn it all.
    """

    n_genes: int
    n_train: int
    n_marks: int
    layout: Layout
    examples: int = 1
    left_out: float = 0.0


def sequences(variant: str, n_marks: int) -> float:
    """Sequences of all bins per gene that a variant runs through Level I: what its time grows with."""
    chosen = get_variant(variant)
    if chosen.additive:  # no recurrent network: a hundredth of one
        return n_marks / 100
    if chosen.antisymmetric:  # its sources are channels; both orders of the cells, over merged bins
        return n_marks * 2 / chosen.merge
    return n_marks * (len(chosen.main) + (2 if chosen.auxiliary else 0))


def relative_cost(jobs: Sequence[Job]) -> dict[str, float]:
    """Costs of jobs relative to each other, by name, from settings and sizes; for the order of starting."""
    costs = {}
    for job, shape in zip(jobs, _shapes(jobs), strict=True):
        if job.settings is None:
            costs[job.name] = BASELINE_SECONDS.get(_listed(job), (30.0, 1.0))[0] * shape.examples
        else:
            # A step has a fixed price of about that of 10 genes.
            per_gene = 1 + 10 / job.settings.batch_of(shape.n_train)
            passes = job.settings.epochs_of(shape.n_train) * _models(job, shape)
            costs[job.name] = sequences(job.method, 1) * passes * per_gene * shape.examples
    return costs


def _models(job: Job, shape: _Shape) -> float:
    """Models that are trained one after another."""
    assert job.settings is not None
    return get_variant(job.method).ensemble_size(job.settings.ensemble) + shape.left_out


def _listed(job: Job) -> str:
    """Name of a baseline's job in `BASELINE_SECONDS`."""
    return f"{job.method} {job.preset}".rstrip()


def estimate_jobs(jobs: Sequence[Job], past: Mapping[str, Mapping[str, Any]]) -> list[Estimate]:
    """Estimate every job.

    Parameters
    ----------
    jobs : of one sweep.
    past : rows of the sweep's ``jobs.tsv`` (`folder.read_jobs`).
    """
    return [
        _from_past(job, past) or _from_size(job, shape)
        for job, shape in zip(jobs, _shapes(jobs), strict=True)
    ]


def _shapes(jobs: Sequence[Job]) -> list[_Shape]:
    """Sizes of what each job reads, found once for what is alike."""
    known: dict[tuple[Any, ...], _Shape] = {}
    shapes = []
    for job in jobs:
        key = (job.learnt, job.split, job.whole_gene, _orders(job))
        if key not in known:
            known[key] = _shape(job)
        shapes.append(known[key])
    return shapes


def _orders(job: Job) -> int:
    """Orders of the cells in which a pair is learnt, see `PairSet.examples`."""
    odd = job.settings is not None and get_variant(job.method).antisymmetric
    return 2 if job.held_out and not odd else 1


def _shape(job: Job) -> _Shape:
    store = Store(job.store)
    known = resolve_unit(store, job.cells, job.unit) is not None
    n_train = store.n_genes * 7 // 10
    if known:
        n_train = int((read_split(store, job.split) == SPLIT_PARTS["train"]).sum())
    marks = resolve_marks(store, job.cells, job.marks)
    regions = resolve_regions(store, job.cells, marks, job.regions if job.whole_gene else ())
    examples, left_out = len(job.learnt) * _orders(job), 0.0
    if job.held_out and len(job.cells) >= LEAST_CELLS:
        left_out = sum(sum(cell not in pair for pair in job.learnt) for cell in job.cells) / len(job.learnt)
    layout = Layout(regions, store.window.orient)
    return _Shape(store.n_genes, n_train * examples, len(marks), layout, examples, left_out)


def _from_past(job: Job, past: Mapping[str, Mapping[str, Any]]) -> Estimate | None:
    """Median of finished jobs of the same method and preset, with as many cells left out."""
    wanted = (job.method, job.preset, len(job.held_out))
    alike = [row for row in past.values() if row["status"] == "finished" and _sort(row) == wanted]
    seconds = [float(row["seconds"]) for row in alike if row["seconds"]]
    memory = [float(row["memory_mb"]) for row in alike if row["memory_mb"]]
    if not seconds or not memory:
        return None
    return Estimate(statistics.median(seconds), statistics.median(memory), "finished")


def _sort(row: Mapping[str, Any]) -> tuple[str, str, int]:
    """Method and preset of a job of the past, and how many cells it left out."""
    held_out = row.get("held_out")
    return row["method"], row["preset"] or "", len(held_out.split(",")) if held_out else 0


def _from_size(job: Job, shape: _Shape) -> Estimate:
    signal_mb = 2 * shape.examples * shape.n_genes * shape.n_marks * shape.layout.n_windows * 4 / 2**20
    if job.settings is None:
        # Features in double precision, of both cells and their difference, and a copy while scaling.
        memory = _PROCESS_MB["baseline"] + 6 * signal_mb
        if _listed(job) not in BASELINE_SECONDS:
            return Estimate(math.nan, memory, "unknown")
        seconds, power = BASELINE_SECONDS[_listed(job)]
        # A window beyond the TSS is a feature, and so are as many bins as are merged.
        merge = min(METHODS[job.method].grid().get("merge", (1,)))
        n_bins = shape.layout.n_bins
        size = shape.n_marks * (n_bins + merge * (shape.layout.n_windows - n_bins)) / 1000
        return Estimate(seconds * (shape.n_train / 1000) ** power * size, memory, "table")
    from diffchrom.deepdiff.building import INFERENCE_BATCH
    from diffchrom.deepdiff.memory import step_bytes
    from diffchrom.deepdiff.timing import step_seconds

    settings = job.settings
    batch = settings.batch_of(shape.n_train)
    step = step_seconds(job.method, settings, shape.n_marks, shape.layout, batch, job.device)
    steps = settings.epochs_of(shape.n_train) * math.ceil(shape.n_train / batch)
    # Predicting the validation genes after every epoch and all genes at the end costs about a tenth more.
    # Patience may end it sooner; an estimate may not promise too little.
    seconds = _FIXED_SECONDS + _models(job, shape) * steps * step * 1.1
    # Raw signal, the transformed training and validation genes, one temporary; and activations: h of every
    # bin for two directions, about six times over in a training step, five while many genes are predicted.
    genes = max(6 * batch, 5 * min(INFERENCE_BATCH, shape.n_genes))
    n_sequences = sequences(job.method, shape.n_marks)
    activations = genes * n_sequences * shape.layout.n_windows * 2 * settings.hidden * 4
    if get_variant(job.method).additive:
        activations = step_bytes(get_variant(job.method), settings, shape.n_marks, shape.layout)
    return Estimate(seconds, _PROCESS_MB["deepdiff"] + 3 * signal_mb + activations / 2**20, "calibration")

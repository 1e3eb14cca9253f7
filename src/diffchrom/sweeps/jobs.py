"""The jobs that a plan comes to: each is one run, with everything a worker needs to make it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from diffchrom.baselines.methods import METHODS
from diffchrom.config import (
    DEFAULT_PRESET,
    DEFAULT_VARIANT,
    NORMALISE,
    PRESETS,
    Hyperparameters,
    check_device,
    hyperparameters,
    usual_normalise,
)
from diffchrom.errors import UsageError, did_you_mean
from diffchrom.genome.regions import DEFAULT_REGIONS, TSS
from diffchrom.pairs.choices import resolve_split
from diffchrom.pairs.naming import ALL, expressed, resolve_pairs
from diffchrom.pairs.pair_set import PairSet
from diffchrom.pairs.splits import make_folds
from diffchrom.store.store import Store
from diffchrom.sweeps.plan import Plan
from diffchrom.variants import VARIANTS

DEEPDIFF, BASELINE = "deepdiff", "baseline"
#: Baselines that stand beside models judged on cells left out, unless others are named.
BESIDE = ("ridge", "gradient-boosting", "cell-mean")
#: Fewest cells with expression of which a method that looks at other cells than the pair's finds one.
_LEAST_CELLS = 3
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]+")

Cells = tuple[str, str]


@dataclass(frozen=True)
class Job:
    """One run of a sweep; everything a worker needs to make it.

    Attributes
    ----------
    name : of the run's folder in the sweep.
    store : path of the store, the same for every worker.
    fingerprint : of the `cells` in that store, as the sweep saw them.
    kind : ``deepdiff`` or ``baseline``.
    method : variant or baseline.
    preset : empty for baselines at their default one.
    settings : hyper-parameters; None for baselines.
    pair, split, unit, marks, seed, device : as in `pairs.pair.Pair` and the recipes.
    epochs : most epochs of a baseline that has any; None is its preset's.
    regions : names in the order in which they are read; None is all of the store, as far as it is read.
    pairs, held_out : where cells are left out, those cells, and all pairs: to learn from and to be judged on.
    normalise : of `config.NORMALISE`.
    gene_prior : whether it reads what the genes do in other cells.
    """

    name: str
    store: Path
    fingerprint: str
    kind: str
    method: str
    preset: str
    settings: Hyperparameters | None
    pair: Cells
    split: str
    unit: str | None = None
    marks: tuple[str, ...] | None = None
    seed: int = 0
    device: str = "auto"
    epochs: int | None = None
    regions: tuple[str, ...] | None = None
    pairs: tuple[Cells, ...] = ()
    held_out: tuple[str, ...] = ()
    normalise: str = NORMALISE[0]
    gene_prior: bool = False

    @property
    def learnt(self) -> tuple[Cells, ...]:
        """Pairs that it learns from."""
        return _learnt(self.pairs, self.held_out) or (self.pair,)

    @property
    def cells(self) -> tuple[str, ...]:
        """Cells that it learns from, each once."""
        return _cells_of(self.learnt)

    @property
    def whole_gene(self) -> bool:
        """Whether it reads more than the bins around the TSS."""
        return (METHODS if self.settings is None else VARIANTS)[self.method].whole_gene

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What ``config.json`` of its run says of them."""
        if self.settings is not None:
            return self.settings.to_dict()
        return METHODS[self.method].hyperparameters(self.preset or DEFAULT_PRESET, self.epochs)


def _learnt(pairs: Sequence[Cells], held_out: Sequence[str]) -> tuple[Cells, ...]:
    return tuple(pair for pair in pairs if not set(pair) & set(held_out))


def _cells_of(pairs: Iterable[Cells]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell for pair in pairs for cell in pair))


def chosen(field: str, names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Names out of the `known` ones, each once; ``all`` is all of them."""
    wanted, known = tuple(names), tuple(known)
    if ALL in wanted:
        return known
    for name in wanted:
        if name not in known:
            choices = f"choose from {', '.join(known)}, or all"
            raise UsageError(f"`{field}={name}`: unknown; {choices}{did_you_mean(name, known)}")
    return tuple(dict.fromkeys(wanted))


@dataclass(frozen=True)
class _Task:
    """What is learnt from and judged on; see `Job`."""

    learnt: tuple[Cells, ...]
    pairs: tuple[Cells, ...] = ()
    held_out: tuple[str, ...] = ()


def jobs_of(plan: Plan) -> list[Job]:
    """Return the plan's jobs, baselines first.

    Where cells are left out, every method learns each pair by itself, too: what it loses to the r that it has
    there is what unseen cells cost.
    """
    regions = _checked(plan)
    store = Store(plan.store)
    splits = _splits_of(store, plan)
    methods = _methods_of(store, plan)
    tasks = _tasks_of(plan, resolve_pairs(store, plan.pairs))
    fingerprints = {cells: store.fingerprint(cells) for cells in {_cells_of(task.learnt) for task in tasks}}
    path = plan.store.resolve()
    jobs = []
    for kind, method, preset, changed in methods:
        prior = plan.gene_prior and (METHODS if kind == BASELINE else VARIANTS)[method].reads_covariates
        for task in tasks:
            normalise = plan.normalise or usual_normalise(several=bool(task.held_out))
            jobs += [
                Job(
                    "", path, fingerprints[_cells_of(task.learnt)], kind, method, preset, changed,
                    task.learnt[0], split, plan.unit, plan.marks, seed, plan.device,
                    plan.settings.get("epochs") if kind == BASELINE else None, regions,
                    task.pairs, task.held_out, normalise, prior,
                )
                for fold in range(len(splits[plan.seeds[0]]))
                for seed in plan.seeds
                for split in splits[seed][fold : fold + 1]
            ]  # fmt: skip
    if plan.gene_prior and not any(job.gene_prior for job in jobs):
        readers = [
            name for names in (VARIANTS, METHODS) for name, row in names.items() if row.reads_covariates
        ]
        raise UsageError(f"`gene_prior`: none of the methods reads it; {', '.join(readers)} do")
    return _named(jobs, folds=plan.folds)


def _checked(plan: Plan) -> tuple[str, ...] | None:
    """Refuse what no store can serve; the plan's regions in the order in which they are read."""
    if not (plan.variants or plan.baselines or plan.leave_cells_out):
        raise UsageError("nothing to run: give `variants`, `baselines`, or both")
    check_device(plan.device)
    if plan.normalise is not None:
        chosen("normalise", (plan.normalise,), NORMALISE)
    if plan.leave_cells_out not in (0, 1, 2):
        raise UsageError(
            f"`leave_cells_out={plan.leave_cells_out}`: one or two cells of a pair can be unseen"
        )
    if plan.folds and plan.split:
        raise UsageError("`folds` makes its own splits; leave out `split`")
    regions = plan.regions and chosen("regions", (TSS, *plan.regions), DEFAULT_REGIONS)
    return regions and tuple(name for name in DEFAULT_REGIONS if name in regions)


def _methods_of(store: Store, plan: Plan) -> list[tuple[str, str, str, Hyperparameters | None]]:
    """Kind, name, preset and settings of every method.

    Asked for by name, a method that cannot be fitted to the store fails and says why; what is taken unasked
    is all that can be fitted.
    """
    variants = chosen("variants", plan.variants, VARIANTS)
    baselines = chosen("baselines", plan.baselines, METHODS)
    presets = chosen("presets", plan.presets, PRESETS)
    if plan.leave_cells_out and not baselines:
        variants, baselines = variants or (DEFAULT_VARIANT,), BESIDE
    unasked = ALL in plan.baselines or not plan.baselines
    if unasked and len(expressed(store)) < _LEAST_CELLS + plan.leave_cells_out:
        baselines = tuple(name for name in baselines if not METHODS[name].needs_other_cells)
    return [
        (BASELINE, name, "" if preset == DEFAULT_PRESET else preset, None)
        for name in baselines
        for preset in _presets_of(name, presets)
    ] + [
        (DEEPDIFF, name, preset, hyperparameters(preset, name, **plan.settings_of(preset)))
        for preset in presets
        for name in variants
    ]


def _presets_of(baseline: str, presets: Sequence[str]) -> Sequence[str]:
    """Presets at which a baseline is fitted: those of the plan that it has, or else its default one."""
    return [preset for preset in presets if preset in METHODS[baseline].grids] or (DEFAULT_PRESET,)


def _tasks_of(plan: Plan, pairs: Sequence[Cells]) -> list[_Task]:
    """Each pair by itself, and all pairs with each choice of cells left out that leaves any."""
    tasks = [_Task((pair,)) for pair in pairs]
    if not plan.leave_cells_out:
        return tasks
    # What any choice would be refused for, all are at once.
    PairSet.of(Store(plan.store), pairs, marks=plan.marks, split="", unit=plan.unit, regions=plan.regions)
    choices = [
        _Task(learnt, tuple(pairs), cells)
        for cells in combinations(_cells_of(pairs), plan.leave_cells_out)
        if (learnt := _learnt(pairs, cells))
    ]
    if not choices:
        raise UsageError(
            f"`leave_cells_out={plan.leave_cells_out}`: leaves no pair to learn from; it takes pairs of "
            f"{plan.leave_cells_out + 2} cells or more"
        )
    return tasks + choices


def _splits_of(store: Store, plan: Plan) -> dict[int, list[str]]:
    """Names of the splits to run, by seed: only gene folds (`splits.make_folds`) differ between seeds."""
    if not plan.folds:
        split = resolve_split(store, plan.split)
        return {seed: [split] for seed in plan.seeds}
    reach = store.window.width
    return {seed: make_folds(store.genes, plan.folds, seed, reach).names for seed in plan.seeds}


def _named(jobs: list[Job], folds: int) -> list[Job]:
    """Give every job the name of its folder; cells whose names differ in odd characters stay apart."""
    taken: dict[str, int] = {}
    named = []
    for job in jobs:
        parts = ["-".join(("without", *job.held_out) if job.held_out else job.pair)]
        parts += [job.method.replace(":", "-"), job.preset, "gene-prior" if job.gene_prior else ""]
        usual = usual_normalise(several=bool(job.held_out))
        parts += ["" if job.normalise == usual else f"normalise-{job.normalise}", f"seed{job.seed}"]
        if folds:
            parts.append(job.split.removeprefix("chromosome-").partition(".")[0])
        name = _UNSAFE.sub("_", ".".join(part for part in parts if part))
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            name = f"{name}.{taken[name]}"
        named.append(replace(job, name=name))
    return named

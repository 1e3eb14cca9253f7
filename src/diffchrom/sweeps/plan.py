"""What a sweep is to run: a plan, from options or a TOML file, and the jobs it comes to."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from diffchrom.baselines.methods import METHODS
from diffchrom.config import (
    CHOICES,
    DEFAULT_PRESET,
    PRESETS,
    Hyperparameters,
    check_device,
    default_store,
    hyperparameters,
)
from diffchrom.errors import InputError, UsageError, did_you_mean
from diffchrom.files.whole import open_text
from diffchrom.genome.regions import DEFAULT_REGIONS, TSS
from diffchrom.pairs.choices import resolve_split
from diffchrom.pairs.naming import ALL, expressed, read_pairs, resolve_pairs
from diffchrom.pairs.splits import make_folds
from diffchrom.store.store import Store
from diffchrom.variants import VARIANTS

DEFAULT_OUT = "sweep"
DEEPDIFF, BASELINE = "deepdiff", "baseline"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True)
class Plan:
    """What a sweep was asked to run.

    Attributes
    ----------
    store : path of the store.
    out : folder of the sweep.
    pairs : ``A,B`` each, or ``all``: every two cells of the store that have expression.
    variants, baselines, presets : names, or ``all``.
    seeds : of each job.
    folds : number of chromosome folds; 0 uses one split.
    split, unit, marks, regions, device : as in `pairs.pair.Pair` and the recipes.
    settings : changes to every preset's hyper-parameters; of those, baselines take the number of epochs.
    preset_settings : further changes, by preset.
    """

    store: Path
    out: Path
    pairs: tuple[str, ...] = (ALL,)
    variants: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    presets: tuple[str, ...] = ("default",)
    seeds: tuple[int, ...] = (0,)
    folds: int = 0
    split: str | None = None
    unit: str | None = None
    marks: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    device: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    preset_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def settings_of(self, preset: str) -> dict[str, Any]:
        """Changes to a preset's hyper-parameters."""
        return {**self.settings, **self.preset_settings.get(preset, {})}


@dataclass(frozen=True)
class Job:
    """One run of a sweep; everything a worker needs to make it.

    Attributes
    ----------
    name : of the run's folder in the sweep.
    store : path of the store, the same for every worker.
    fingerprint : of the pair's cells in that store, as the sweep saw them.
    kind : ``deepdiff`` or ``baseline``.
    method : variant or baseline.
    preset : empty for baselines at their default one.
    settings : hyper-parameters; None for baselines.
    pair, split, unit, marks, seed, device : as in `pairs.pair.Pair` and the recipes.
    epochs : most epochs of a baseline that has any; None is its preset's.
    regions : names in the order in which they are read; None is all of the store, as far as it is read.
    """

    name: str
    store: Path
    fingerprint: str
    kind: str
    method: str
    preset: str
    settings: Hyperparameters | None
    pair: tuple[str, str]
    split: str
    unit: str | None = None
    marks: tuple[str, ...] | None = None
    seed: int = 0
    device: str = "auto"
    epochs: int | None = None
    regions: tuple[str, ...] | None = None

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


def seeds_of(value: int | Sequence[int]) -> tuple[int, ...]:
    """Seeds of a sweep: a number N is 0 to N - 1, a list is itself."""
    seeds = tuple(range(value)) if isinstance(value, int) else tuple(value)
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise UsageError(f"seeds {value}: give how many there are, at least 1, or a list of different ones")
    return seeds


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


_LISTS = ("pairs", "variants", "baselines", "presets", "marks", "regions")
_TEXTS = ("store", "out", "split", "unit", "device")
#: Keys of a plan file.
PLAN_KEYS = (*_TEXTS, *_LISTS, "seeds", "folds", "settings")


def read_plan(path: str | Path) -> dict[str, Any]:
    """Read a TOML plan into the values of `Plan`, as far as the file gives them.

    Paths are taken from the plan's own folder.

    Raises
    ------
    InputError
        No TOML, an unknown key, or a value of the wrong kind; the message names the key.
    """
    path = Path(path)
    with open_text(path, "plan") as stream:
        text = stream.read()
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not a TOML plan ({error}); see docs/sweep.md") from error
    _check_keys(path, "", values, PLAN_KEYS)
    plan: dict[str, Any] = {key: _typed(path, key, values[key], str) for key in _TEXTS if key in values}
    for key in [key for key in _LISTS if key in values]:
        listed = values[key] if isinstance(values[key], list) else [values[key]]
        plan[key] = tuple(_typed(path, key, item, str) for item in listed)
    plan |= {key: path.parent / plan[key] for key in ("store", "out") if key in plan}
    if "pairs" in plan:
        plan["pairs"] = read_pairs(plan["pairs"], path.parent)
    if "folds" in values:
        plan["folds"] = _typed(path, "folds", values["folds"], int)
    if "seeds" in values:
        seeds = values["seeds"]
        plan["seeds"] = seeds_of(
            [_typed(path, "seeds", seed, int) for seed in seeds]
            if isinstance(seeds, list)
            else _typed(path, "seeds", seeds, int)
        )
    if "settings" in values:
        plan |= _read_settings(path, _typed(path, "settings", values["settings"], dict))
    return plan


def make_plan(
    path: Path | None,
    given: Mapping[str, Any],
    *,
    pairs: Sequence[str] | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
) -> Plan:
    """Join a plan file and what was given beside it, which goes first.

    Parameters
    ----------
    path : of a TOML plan, or None.
    given : attributes of `Plan`; those that are None were not given.
    pairs : as ``pairs`` takes them.
    seeds : how many.
    epochs : most epochs, for every preset.
    """
    values: dict[str, Any] = {"store": Path(default_store()), "out": Path(DEFAULT_OUT)}
    values |= read_plan(path) if path is not None else {}
    values |= {name: value for name, value in given.items() if value is not None}
    if pairs:
        values["pairs"] = read_pairs(pairs)
    if seeds is not None:
        values["seeds"] = seeds_of(seeds)
    if epochs is not None:
        values["settings"] = {**values.get("settings", {}), "epochs": epochs}
        values["preset_settings"] = {
            preset: {name: value for name, value in changes.items() if name != "epochs"}
            for preset, changes in values.get("preset_settings", {}).items()
        }
    return Plan(**values)


def _check_keys(path: Path, where: str, values: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = [key for key in values if key not in known]
    if unknown:
        named = f"{where}.{unknown[0]}" if where else unknown[0]
        raise InputError(f"{path}: unknown key {named}; a plan may have {', '.join(known)}")


def _typed(path: Path, key: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {
            str: "text",
            int: "a whole number",
            dict: "a table",
            float: "a number",
            bool: "true or false",
        }
        raise InputError(f"{path}: {key} = {value!r} must be {names[kind]}")
    return value


def _read_settings(path: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Split ``[settings]`` into changes for all presets and ``[settings.PRESET]``."""
    by_preset = {name: values for name, values in table.items() if name in PRESETS}
    common = {name: value for name, value in table.items() if name not in PRESETS}
    for where, values in [("settings", common), *((f"settings.{n}", v) for n, v in by_preset.items())]:
        _check_settings(path, where, _typed(path, where, values, dict))
    return {"settings": common, "preset_settings": by_preset}


def _check_settings(path: Path, where: str, values: Mapping[str, Any]) -> None:
    _check_keys(path, where, values, [item.name for item in fields(Hyperparameters)])
    for name, value in values.items():
        default = getattr(PRESETS["published"], name)  # no hyper-parameter of it is None
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            continue
        _typed(path, f"{where}.{name}", value, type(default))
        if value not in CHOICES.get(name, (value,)):
            raise InputError(f"{path}: {where}.{name} = {value!r} must be one of {', '.join(CHOICES[name])}")


def _splits_of(store: Store, plan: Plan) -> dict[int, list[str]]:
    """Names of the splits to run, by seed: only gene folds (`splits.make_folds`) differ between seeds."""
    if not plan.folds:
        split = resolve_split(store, plan.split)
        return {seed: [split] for seed in plan.seeds}
    reach = store.window.width
    return {seed: make_folds(store.genes, plan.folds, seed, reach).names for seed in plan.seeds}


def jobs_of(plan: Plan) -> list[Job]:
    """Return the plan's jobs, baselines first."""
    variants = chosen("variants", plan.variants, VARIANTS)
    baselines = chosen("baselines", plan.baselines, METHODS)
    presets = chosen("presets", plan.presets, PRESETS)
    regions = plan.regions and chosen("regions", (TSS, *plan.regions), DEFAULT_REGIONS)
    if regions:
        regions = tuple(name for name in DEFAULT_REGIONS if name in regions)
    if not variants and not baselines:
        raise UsageError("nothing to run: give `variants`, `baselines`, or both")
    check_device(plan.device)
    if plan.folds and plan.split:
        raise UsageError("`folds` makes its own splits; leave out `split`")
    store = Store(plan.store)
    if ALL in plan.baselines and len(expressed(store)) < 3:
        # Asked for by name, such a method fails and says why; all means all that can be fitted.
        baselines = tuple(name for name in baselines if not METHODS[name].needs_other_cells)
    splits = _splits_of(store, plan)
    methods = [
        (BASELINE, name, "" if preset == DEFAULT_PRESET else preset, None)
        for name in baselines
        for preset in _presets_of(name, presets)
    ] + [
        (
            DEEPDIFF,
            name,
            preset,
            hyperparameters(preset, name, **plan.settings_of(preset)),
        )
        for preset in presets
        for name in variants
    ]
    path = plan.store.resolve()
    fingerprints = {pair: store.fingerprint(pair) for pair in resolve_pairs(store, plan.pairs)}
    jobs = []
    for kind, method, preset, changed in methods:
        for pair, fingerprint in fingerprints.items():
            jobs += [
                Job(
                    "", path, fingerprint, kind, method, preset, changed, pair, split,
                    plan.unit, plan.marks, seed, plan.device,
                    plan.settings.get("epochs") if kind == BASELINE else None, regions,
                )
                for fold in range(len(splits[plan.seeds[0]]))
                for seed in plan.seeds
                for split in splits[seed][fold : fold + 1]
            ]  # fmt: skip
    return _named(jobs, folds=plan.folds)


def _presets_of(baseline: str, presets: Sequence[str]) -> Sequence[str]:
    """Presets at which a baseline is fitted: those of the plan that it has, or else its default one."""
    return [preset for preset in presets if preset in METHODS[baseline].grids] or (DEFAULT_PRESET,)


def _named(jobs: list[Job], folds: int) -> list[Job]:
    """Give every job the name of its folder; cells whose names differ in odd characters stay apart."""
    taken: dict[str, int] = {}
    named = []
    for job in jobs:
        parts = ["-".join(job.pair), job.method.replace(":", "-"), job.preset, f"seed{job.seed}"]
        if folds:
            parts.append(job.split.removeprefix("chromosome-").partition(".")[0])
        name = _UNSAFE.sub("_", ".".join(part for part in parts if part))
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            name = f"{name}.{taken[name]}"
        named.append(replace(job, name=name))
    return named

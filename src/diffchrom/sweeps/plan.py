"""What a sweep is to run: a plan, from options or a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from diffchrom.config import (
    CHOICES,
    PRESETS,
    Hyperparameters,
    default_store,
)
from diffchrom.errors import InputError, UsageError
from diffchrom.files.whole import open_text
from diffchrom.pairs.naming import ALL, read_pairs

DEFAULT_OUT = "sweep"


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
    leave_cells_out : number of cells of the pairs that are left out at a time, in every choice; 0 for none.
    normalise : of `config.NORMALISE`; None is the usual one.
    gene_prior : read what genes do in other cells, by methods that can.
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
    leave_cells_out: int = 0
    normalise: str | None = None
    gene_prior: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    preset_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def settings_of(self, preset: str) -> dict[str, Any]:
        """Changes to a preset's hyper-parameters."""
        return {**self.settings, **self.preset_settings.get(preset, {})}


def seeds_of(value: int | Sequence[int]) -> tuple[int, ...]:
    """Seeds of a sweep: a number N is 0 to N - 1, a list is itself."""
    seeds = tuple(range(value)) if isinstance(value, int) else tuple(value)
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise UsageError(f"seeds {value}: give how many there are, at least 1, or a list of different ones")
    return seeds


_LISTS = ("pairs", "variants", "baselines", "presets", "marks", "regions")
_TEXTS = ("store", "out", "split", "unit", "device", "normalise")
_PLAIN = {"folds": int, "leave_cells_out": int, "gene_prior": bool}
#: Keys of a plan file.
PLAN_KEYS = (*_TEXTS, *_LISTS, "seeds", *_PLAIN, "settings")


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
    plan |= {key: _typed(path, key, values[key], kind) for key, kind in _PLAIN.items() if key in values}
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

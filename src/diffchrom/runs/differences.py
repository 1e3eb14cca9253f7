"""In what two runs differ: one comparison of configurations for whoever resumes, groups or labels runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from diffchrom.config import PRESETS, Hyperparameters
from diffchrom.genome.regions import TSS
from diffchrom.pairs.covariates import counts
from diffchrom.variants import VARIANTS

if TYPE_CHECKING:
    from diffchrom.runs.folder import RunConfig


def facts(config: RunConfig) -> dict[str, Any]:
    """Everything that decides what a run computes, by name; equal values are the same in two runs.

    Hyper-parameters stand beside the rest by their own names. Those that an older run does not name have the
    values of its preset; the number of models of an ensemble is the variant's own where none was asked for,
    and that of averaged fits is 1. The store is known by its content, which may have moved. Of which cells
    shifts were learnt follows from the pairs.
    """
    own = {name: getattr(config, name) for name in ("kind", "variant", "preset", "pair", "marks")}
    data = {name: getattr(config, name) for name in ("window", "split", "unit", "seed", "folds")}
    n_of_genes, n_cells = counts(config.covariates)
    values = own | {"regions": tuple(config.regions) or (TSS,), "covariates": config.covariates[:n_of_genes]}
    values |= data | {"cell_shifts": "learnt" if n_cells else None}
    values |= {"pairs": config.pairs, "held_out": config.held_out, "normalise": config.normalise}
    values["store"] = config.store.get("fingerprint", "")
    return {name: _plain(value) for name, value in (values | _hyperparameters(config)).items()}


def _hyperparameters(config: RunConfig) -> dict[str, Any]:
    variant = VARIANTS.get(config.variant)
    if variant is None:  # a baseline or a module
        return {"seeds": 1} | dict(config.hyperparameters)
    values = PRESETS.get(config.preset, Hyperparameters()).to_dict() | dict(config.hyperparameters)
    return values | {"ensemble": variant.ensemble_size(values["ensemble"])}


def _plain(value: Any) -> Any:
    """A value as it is after a trip through JSON, and hashable."""
    if hasattr(value, "__dataclass_fields__"):
        value = asdict(value)
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), _plain(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value


def differing(first: RunConfig, second: RunConfig) -> list[str]:
    """Names of the `facts` in which two runs differ; empty for the same run again."""
    mine, theirs = facts(first), facts(second)
    return [name for name in dict.fromkeys((*mine, *theirs)) if mine.get(name) != theirs.get(name)]

"""Models with random weights, and where they compute."""

from __future__ import annotations

import torch

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.antisymmetric import Antisymmetric
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.model import DeepDiff, PairModel
from diffchrom.errors import RunError, UsageError
from diffchrom.genome.genes import Rows, Signal
from diffchrom.pairs.transform import Transform
from diffchrom.runs.folder import Run
from diffchrom.variants import get_variant

INFERENCE_BATCH = 256


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device; auto takes CUDA where there is one."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("--device cuda: no CUDA device is usable here; use --device cpu or auto")
    return torch.device("cuda" if available and name in ("auto", "cuda") else "cpu")


def build_model(variant: str, n_marks: int, settings: Hyperparameters) -> PairModel:
    """Make the model of a variant with random weights."""
    outputs = 2 if settings.aux_task == "classification" else 1
    row = get_variant(variant)
    if row.antisymmetric:
        return Antisymmetric(
            row,
            n_marks,
            settings.hidden,
            settings.dropout,
            outputs,
            settings.transform,
            settings.standardise,
        )
    return DeepDiff(row, n_marks, settings.hidden, settings.dropout, outputs)


def ensemble_size(variant: str, settings: Hyperparameters) -> int:
    """Models that are averaged."""
    return get_variant(variant).ensemble_size(settings.ensemble)


def fit_transform(variant: str, settings: Hyperparameters, rows: Rows, *signals: Signal) -> Transform:
    """Fit the transform of a model's input on the training genes `rows`.

    The antisymmetric variant transforms merged signal by itself, so its input is the signal as it is.
    """
    if get_variant(variant).antisymmetric:
        return Transform.fit("raw", False, rows, *signals)
    return Transform.fit(settings.transform, settings.standardise, rows, *signals)


def build_run_model(run: Run) -> PairModel:
    """Make the model that a run's configuration describes, with random weights."""
    config = run.config
    try:
        settings = Hyperparameters(**config.hyperparameters)
        n_members = ensemble_size(config.variant, settings)
        members = [build_model(config.variant, len(config.marks), settings) for _ in range(n_members)]
        return members[0] if len(members) == 1 else Ensemble(members)
    except (TypeError, ValueError, RuntimeError, MemoryError, UsageError) as error:
        raise RunError(f"{run.path}: config.json describes no model of this version ({error})") from error

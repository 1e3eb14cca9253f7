"""Models with random weights, and where they compute."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.antisymmetric import Antisymmetric
from diffchrom.deepdiff.model import DeepDiff
from diffchrom.errors import UsageError
from diffchrom.pairs.transform import Rows, Signal, Transform
from diffchrom.variants import get_variant

INFERENCE_BATCH = 256
_CPU = torch.device("cpu")


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device; auto takes CUDA where there is one."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("--device cuda: no CUDA device is usable here; use --device cpu or auto")
    return torch.device("cuda" if available and name in ("auto", "cuda") else "cpu")


@contextlib.contextmanager
def seeded(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Draw torch's random numbers from `seed` inside the block, and leave the caller's as they were.

    Parameters
    ----------
    device : whose numbers are drawn besides the CPU's.
    """
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if cuda else []):
        # Not torch.manual_seed: it seeds every device there is, and only these are put back.
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        yield


def build_model(variant: str, n_marks: int, settings: Hyperparameters) -> DeepDiff:
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

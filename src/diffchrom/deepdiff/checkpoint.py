"""Weights and the state of a training in safetensors files: no pickle, nothing half-written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from diffchrom.deepdiff.optimiser import Adam
from diffchrom.errors import RunError
from diffchrom.files.whole import write_bytes
from diffchrom.runs.handed_on import SIGNAL_AT
from diffchrom.runs.tables import HISTORY_COLUMNS

_STATE = "state"

History = dict[str, list[float]]


def resume_path(folder: Path, member: int = 0) -> Path:
    """Where the checkpoint of a run's model, or of the member with that number of its ensemble, lies."""
    return folder / ("resume.safetensors" if member == 0 else f"resume-{member + 1}.safetensors")


def shared_path(folder: Path) -> Path:
    """Where processes that train members of one run find their genes."""
    return folder / "resume.genes.tmp"


def has_checkpoint(folder: Path) -> bool:
    """Whether a run has anything to go on from."""
    return any(folder.glob("resume*.safetensors"))


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed have left half-written, and what they shared."""
    for pattern in (".resume*.tmp", shared_path(folder).name):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def remove_checkpoints(folder: Path) -> None:
    """Remove all that only a training in progress needs."""
    remove_leftovers(folder)
    for path in folder.glob("resume*.safetensors"):
        path.unlink(missing_ok=True)


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write named tensors to a safetensors file; the same tensors give the same bytes."""
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}))


def load_weights(path: Path, model: nn.Module) -> None:
    """Fill `model` from a safetensors file; RunError unless names and shapes are exactly the model's.

    What a model that was handed on has beside its weights (`runs.handed_on`) is no part of them.
    """
    if not path.is_file():
        raise RunError(f"{path}: missing; the run is incomplete, train it again")
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.partition(".")[0] not in SIGNAL_AT]  # noqa: SIM118
            found = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        if found != expected:
            differing = sorted(set(found.items()) ^ set(expected.items()))[0][0]
            raise RunError(f"{path}: does not fit config.json ({differing}); train the run again")
        weights = {name: tensor for name, tensor in load_file(path).items() if name in expected}
    except (OSError, safetensors.SafetensorError, ValueError, KeyError) as error:
        raise RunError(f"{path}: damaged safetensors file ({error}); train the run again") from error
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise RunError(f"{path}: has weights that are not finite numbers; train the run again")
    try:
        model.load_state_dict(weights)
    except ValueError as error:
        raise RunError(f"{path}: {error}; train the run again") from error


@dataclass
class TrainingState:
    """How far the training of one model has come.

    Attributes
    ----------
    epoch : int
        Epochs done.
    best_epoch, best_score : the epoch with the best validation score so far (0 before the first).
    best : weights of that epoch.
    history : a list for each of `tables.HISTORY_COLUMNS`, of all epochs so far.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = float("-inf")
    best: dict[str, Tensor] = field(default_factory=dict)
    history: History = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A training's state with the weights and the optimiser's state to go on with, as read from `path`."""

    path: Path
    state: TrainingState
    weights: dict[str, Tensor]
    slots: dict[int, dict[str, Tensor]]

    def restore(self, model: nn.Module, optimiser: Adam) -> None:
        """Put `model` and `optimiser` back to where `save_training` found them."""
        with refusing(self.path):
            model.load_state_dict(self.weights)
            optimiser.load_state(self.slots)


def save_training(path: Path, state: TrainingState, model: nn.Module, optimiser: Adam) -> None:
    """Write a checkpoint as one file, so that no part of it can be newer than another."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best.items()}
    for index, values in optimiser.state().items():
        tensors |= {f"optimiser/{index}/{key}": tensor for key, tensor in values.items()}
    description = json.dumps(
        {
            "epoch": state.epoch,
            "best_epoch": state.best_epoch,
            "best_score": state.best_score,
            "history": state.history,
        }
    )
    data = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={_STATE: description},
    )
    write_bytes(path, data)


def load_training(path: Path, device: torch.device) -> Checkpoint | None:
    """Read what `save_training` wrote; None where there is no such file."""
    if not path.exists():
        return None
    with refusing(path):
        with safetensors.safe_open(path, framework="pt") as file:
            description: dict[str, Any] = json.loads((file.metadata() or {})[_STATE])
        groups: dict[str, dict[str, Tensor]] = {name: {} for name in ("model", "best", "optimiser")}
        for name, tensor in load_file(path).items():
            group, _, key = name.partition("/")
            groups[group][key] = tensor
        slots: dict[int, dict[str, Tensor]] = {}
        for key, tensor in groups["optimiser"].items():
            index, _, slot = key.partition("/")
            slots.setdefault(int(index), {})[slot] = tensor
        columns = HISTORY_COLUMNS if description["epoch"] else ()
        state = TrainingState(
            epoch=int(description["epoch"]),
            best_epoch=int(description["best_epoch"]),
            best_score=float(description["best_score"]),
            best={name: tensor.to(device) for name, tensor in groups["best"].items()},
            history={name: [float(value) for value in description["history"][name]] for name in columns},
        )
        if any(len(values) != state.epoch for values in state.history.values()):
            raise ValueError(f"no history of {state.epoch} epochs")
    return Checkpoint(path, state, groups["model"], slots)


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever a damaged or foreign checkpoint leads to into a RunError."""
    try:
        yield
    except (
        OSError, safetensors.SafetensorError, ArithmeticError, ValueError, KeyError, TypeError, RuntimeError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise RunError(
            f"{path}: cannot go on from this checkpoint ({reason}); start again with `force`"
        ) from error

"""A trained run's model, read from its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from diffchrom.deepdiff.building import build_run_model
from diffchrom.deepdiff.checkpoint import load_weights
from diffchrom.deepdiff.custom import Custom
from diffchrom.deepdiff.model import PairModel
from diffchrom.deepdiff.uncertainty import Calibration
from diffchrom.errors import RunError
from diffchrom.genome.layout import Layout
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.transform import Transform
from diffchrom.runs.folder import Run
from diffchrom.runs.opening import require_single


def order_of(run: Run, pair: Pair) -> float:
    """`PairModel.order` for a pair: not 0 where its store still holds the signal that the run read."""
    orders = {run.config.pair: 1.0, run.config.pair[::-1]: -1.0}
    if run.config.pairs or pair.cells not in orders:
        return 0.0
    trained_on = run.config.store
    if "signals" in trained_on:
        same = pair.signal_digest == trained_on["signals"]
    else:  # a run made before signals had a digest of their own
        same = pair.store.fingerprint(run.config.pair) == trained_on.get("fingerprint")
    return orders[pair.cells] if same else 0.0


def load_model(
    run: Run,
    device: torch.device | None = None,
    order: float = 1.0,
    module: nn.Module | None = None,
    layout: Layout | None = None,
) -> PairModel:
    """Read a run's model, in evaluation mode, for data of this `PairModel.order` and layout."""
    if run.config.kind == "module" and module is None:
        raise RunError(
            f"{run.path}: was trained with {run.config.variant}, a module that is not diffchrom's; "
            "open it in Python, with open(store, module=...)"
        )
    if run.config.kind == "baseline":
        raise RunError(f"{run.path}: a baseline ({run.config.variant}) has no model to load")
    require_single(run)
    n_marks = len(run.config.marks)
    model = build_run_model(run, layout) if module is None else Custom(module, n_marks)
    load_weights(run.weights, model)
    model.set_order(order)
    return model.to(device or torch.device("cpu")).eval()


def calibration_of(run: Run, name: str = "calibration") -> Calibration | None:
    """The run's calibration, or that for unseen cells (`UNSEEN`); None for a run that has none."""
    values = run.config.details.get(name)
    with _refusing(run, "calibration"):
        return None if values is None else Calibration.from_dict(values)


def transform_of(run: Run) -> Transform:
    """The transform of the run's input."""
    with _refusing(run, "transform"):
        return Transform.from_dict(dict(run.config.transform))


@contextlib.contextmanager
def _refusing(run: Run, part: str) -> Iterator[None]:
    """Turn whatever a damaged part of the configuration leads to into a RunError."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.path}: config.json has a broken {part} ({error}); train it again") from error

"""Predictions of a trained run, for its own pair or any other whose marks a store has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.building import INFERENCE_BATCH, build_model, ensemble_size, resolve_device, seeded
from diffchrom.deepdiff.checkpoint import load_weights
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.lstm import threads_for_lstm
from diffchrom.deepdiff.model import DeepDiff, Output
from diffchrom.deepdiff.uncertainty import COLUMNS as UNCERTAINTY_COLUMNS
from diffchrom.deepdiff.uncertainty import Calibration
from diffchrom.errors import RunError, StoreError, UsageError
from diffchrom.pairs.choices import has_split, resolve_pair
from diffchrom.pairs.pair import PairData, load_pair
from diffchrom.pairs.transform import Rows, Transform, pieces
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import MODEL, Run
from diffchrom.runs.tables import prediction_columns
from diffchrom.store.store import Store


def load_model(run: Run, device: torch.device | None = None, pair: tuple[str, str] | None = None) -> DeepDiff:
    """Read a run's model, in evaluation mode, for a pair of cells; None is the pair it was trained on."""
    if run.config.kind != "deepdiff":
        raise RunError(f"{run.path}: a baseline ({run.config.variant}) has no model to load")
    if run.config.folds:
        raise RunError(
            f"{run.path}: a cross-validation has {run.config.folds} models; give one of them, as "
            f"{run.path}/fold-1"
        )
    try:
        settings = Hyperparameters(**run.config.hyperparameters)
        with seeded(0):  # these weights are replaced; the caller's random numbers are not to be drawn
            members = [
                build_model(run.config.variant, len(run.config.marks), settings)
                for _ in range(ensemble_size(run.config.variant, settings))
            ]
        model = members[0] if len(members) == 1 else Ensemble(members)
    except (TypeError, ValueError, RuntimeError, MemoryError, UsageError) as error:
        raise RunError(f"{run.path}: config.json describes no model of this version ({error})") from error
    load_weights(run.path / MODEL, model)
    model.set_order(run.config.pair, pair or run.config.pair)
    return model.to(device or torch.device("cpu")).eval()


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for some genes.

    Attributes
    ----------
    log2fc : float32 [n_genes]
    expression : dict of cell (A, B) to float32 [n_genes]
        log2(expression + 1), or the probability of the upper class; empty without auxiliary tasks.
    sd : float32 [n_genes]
        Standard deviation of log2fc over the members of an ensemble; NaN for a single model.
    """

    log2fc: npt.NDArray[np.float32]
    expression: dict[str, npt.NDArray[np.float32]]
    sd: npt.NDArray[np.float32]


def forward_batches(
    model: DeepDiff, a: Tensor, b: Tensor, batch_size: int = INFERENCE_BATCH
) -> Iterator[Output]:
    """Yield the model's outputs batch by batch, without gradients; the model's mode is left as it was."""
    training = model.training
    device = next(model.parameters()).device
    model.eval()
    try:
        for first in range(0, len(a), batch_size):
            with torch.inference_mode(), threads_for_lstm(device):
                output = model(*(x[first : first + batch_size].to(device) for x in (a, b)))
            yield output
    finally:
        model.train(training)


def predict_tensors(model: DeepDiff, a: Tensor, b: Tensor, batch_size: int = INFERENCE_BATCH) -> Predictions:
    """Predict from transformed signal, each [n_genes, n_marks, n_bins], on any device."""
    log2fc: list[Tensor] = []
    spread: list[Tensor] = []
    expression: dict[str, list[Tensor]] = {}
    for output in forward_batches(model, a, b, batch_size):
        log2fc.append(output.log2fc)
        unknown = torch.full_like(output.log2fc, torch.nan)
        spread.append(unknown if output.log2fc_sd is None else output.log2fc_sd)
        for block, values in output.expression.items():
            predicted = values.softmax(1)[:, 1] if values.shape[1] == 2 else values[:, 0]
            expression.setdefault(block, []).append(predicted)
    return Predictions(
        _array(log2fc), {block: _array(parts) for block, parts in expression.items()}, _array(spread)
    )


def _array(parts: list[Tensor]) -> npt.NDArray[np.float32]:
    return np.asarray(torch.cat(parts).float().cpu().numpy()) if parts else np.empty(0, np.float32)


def predict_pair(
    model: DeepDiff, data: PairData, transform: Transform, reporter: Reporter = SILENT
) -> Predictions:
    """Predict every gene of `data`, transforming its signal a piece at a time."""
    device = next(model.parameters()).device
    pieces: list[Predictions] = []
    step = 16 * INFERENCE_BATCH
    with reporter.task("predicting", len(data)) as task:
        for first in range(0, len(data), step):
            a, b = (
                torch.from_numpy(transform.apply(signal[first : first + step])).to(device)
                for signal in (data.signal_a, data.signal_b)
            )
            pieces.append(predict_tensors(model, a, b))
            task.advance(len(a))
    blocks = pieces[0].expression if pieces else {}
    return Predictions(
        np.concatenate([piece.log2fc for piece in pieces]) if pieces else np.empty(0, np.float32),
        {block: np.concatenate([piece.expression[block] for piece in pieces]) for block in blocks},
        np.concatenate([piece.sd for piece in pieces]) if pieces else np.empty(0, np.float32),
    )


def mean_asymmetry(
    model: DeepDiff, data: PairData, rows: Rows, forward: npt.NDArray[np.float32], transform: Transform
) -> float:
    """Mean over genes of |f(A, B) + f(B, A)| / 2: 0 where exchanging the cells negates the prediction.

    Parameters
    ----------
    data, rows : the genes.
    forward : float32 [n_genes]
        f(A, B) of all genes of `data`.

    Returns
    -------
    float
        In units of log2fc; NaN without genes.
    """
    device = next(model.parameters()).device
    total = 0.0
    for piece in pieces(rows):
        a, b = (
            torch.from_numpy(transform.apply(signal[piece])).to(device)
            for signal in (data.signal_a, data.signal_b)
        )
        backward = predict_tensors(model, b, a).log2fc
        total += float(np.abs(forward[piece].astype(np.float64) + backward).sum()) / 2
    return total / len(rows) if len(rows) else float("nan")


def load_run_data(run: Run, store: Store, pair: str | None = None, *, signal: bool = True) -> PairData:
    """Read what `run` needs from `store`: its marks in its order, for its own pair unless another is named.

    Without `signal` only genes and labels are read (see `pair.load_pair`).

    Raises
    ------
    StoreError, RunError
        When the store's bins or orientation are not the run's, or cells or marks are missing.
    """
    config = run.config
    cells = resolve_pair(store, pair or ",".join(config.pair))
    if store.window != config.window:
        raise RunError(
            f"{run.path}: was trained on windows {_window_text(config.window)}, "
            f"{store.path} has {_window_text(store.window)}; prepare a store with the run's settings"
        )
    known = has_split(store, config.split)
    split = config.split if known else None
    try:
        return load_pair(
            store,
            cells,
            marks=config.marks,
            split=split,
            unit=_unit(store, cells, config.unit),
            labels="optional",
            signal=signal,
        )
    except StoreError as error:
        raise StoreError(f"{error} (run {run.path} needs marks {', '.join(config.marks)})") from error


def _unit(store: Store, cells: tuple[str, str], unit: str) -> str | None:
    held = [store.expression_units(cell) for cell in cells]
    return unit if unit and all(unit in units for units in held) else None


def _window_text(window: Any) -> str:
    return f"+/-{window.flank} bp in bins of {window.bin_size} bp, {window.orient} orientation"


def predict_run(
    run: Run, store: Store, *, pair: str | None = None, device: str = "auto", reporter: Reporter = SILENT
) -> tuple[PairData, dict[str, npt.NDArray[Any]]]:
    """Predict all genes of a store with a run.

    Returns
    -------
    data : the genes, with labels where the store has them.
    columns : the predictions table, one row a gene (`tables.prediction_columns`).
    """
    data = load_run_data(run, store, pair)
    model = load_model(run, resolve_device(device), data.pair)
    predicted = predict_pair(model, data, Transform.from_dict(dict(run.config.transform)), reporter)
    if not run.config.unit:  # trained without expression, so its auxiliary heads have learnt nothing
        predicted = replace(predicted, expression={})
    return data, columns_of(data, predicted, run_calibration(run))


def columns_of(
    data: PairData, predicted: Predictions, calibration: Calibration | None
) -> dict[str, npt.NDArray[Any]]:
    """Columns of a predictions table, with the spread of the members and the interval at the end."""
    unknown = np.full(len(data), np.nan)
    low, high = calibration.interval(predicted.log2fc, predicted.sd) if calibration else (unknown, unknown)
    columns = prediction_columns(data, predicted.log2fc, predicted.expression)
    return columns | dict(zip(UNCERTAINTY_COLUMNS, (predicted.sd, low, high), strict=True))


def run_calibration(run: Run) -> Calibration | None:
    """The run's calibration; None for a run that was made before there was one."""
    values = run.config.details.get("calibration")
    try:
        return None if values is None else Calibration.from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.path}: config.json has a broken calibration ({error}); train it again"
        ) from error

"""Fitted baselines in files, so that a run predicts genes and pairs that it was not asked about when made."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from diffchrom.baselines.method import Predictor
from diffchrom.errors import RunError
from diffchrom.files.records import read_record, write_record

#: Every predictor that a file may hold, and the module of this folder it is in, imported when it is met.
PREDICTORS = {
    "Mean": "memory",
    "CellMean": "memory",
    "Ridge": "linear",
    "RidgeWithCovariates": "linear",
    "TreeEnsemble": "trees",
    "SelectedForest": "relief",
    "BestBin": "svr",
    "TwoLayer": "svr",
    "LogOdds": "classes",
    "OnBestBins": "best_bins",
    "CellLines": "cell_lines",
    "RankingNetwork": "ranking",
    "DecisionList": "rules",
    "OneNetwork": "networks",
    "TwoCells": "networks",
    "Averaged": "seeds",
}


def save_fitted(path: str | Path, predictor: Predictor) -> None:
    """Write a fitted baseline to one safetensors file; the same fit gives the same bytes.

    Raises
    ------
    OutputError
        When the file can't be written; then there is none.
    """
    write_record(path, predictor)


def load_fitted(path: str | Path, threads: int = 1) -> Predictor:
    """Read a fitted baseline, which predicts the same numbers as before it was written, to the last bit.

    Parameters
    ----------
    path : what `save_fitted` wrote; it may be hostile.
    threads : cores to predict with.

    Raises
    ------
    RunError
        When there is no such file, or it holds anything else.
    """
    try:
        predictor: Any = read_record(path, Predictor, _predictor_type)
    except FileNotFoundError as error:
        raise RunError(f"{path}: missing; fit the baseline again") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: holds no fitted baseline that this diffchrom reads ({error}); "
            "fit it again, or upgrade diffchrom"
        ) from error
    loaded: Predictor = replace(predictor, threads=threads) if hasattr(predictor, "threads") else predictor
    return loaded


def _predictor_type(name: str) -> type:
    if name not in PREDICTORS:
        raise ValueError(f"{name} is no baseline")
    kind: type = getattr(import_module(f"diffchrom.baselines.{PREDICTORS[name]}"), name)
    return kind

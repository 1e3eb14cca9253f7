"""What every baseline is made of: the genes it sees, what it gives back, and the row that describes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from diffchrom.config import DEFAULT_PRESET
from diffchrom.errors import StoreError
from diffchrom.genome.genes import Signal
from diffchrom.metrics import pearson
from diffchrom.progress import SILENT, Reporter

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Examples:
    """Genes as a baseline sees them: those of one part of the split, or all of them without labels.

    Attributes
    ----------
    marks : names, in the order of axis 1 of the signal.
    n_bins : bins around the TSS, which come first on the last axis of the signal.
    signal_a, signal_b : float32 [n_genes, n_marks, n_windows]
        Signal of the bins around the TSS, and for methods of the whole gene of the windows of further
        regions behind them, neither transformed nor scaled.
    log2fc, expr_a, expr_b : float64 [n_genes]
        Labels as in `PairData`; NaN in what `predict` gets.
    tes_a, tes_b : float32 [n_genes, n_marks, n_bins] or None
        Binned signal around the transcript's end, for methods that ask for it and stores that have it.
    change_elsewhere : float64 [n_genes] or None
        Mean log2fc of the gene from A to the store's further cells, for methods that ask for it.
    change_to_others : float64 [n_genes] or None
        The same from the gene in A to other genes, drawn at random, in the further cells.
    covariates : float32 [n_genes, n_covariates] or None
        What else is known of the genes; what is unknown of a gene is the median over the others.
    """

    marks: tuple[str, ...]
    n_bins: int
    signal_a: Signal
    signal_b: Signal
    log2fc: Vector
    expr_a: Vector
    expr_b: Vector
    tes_a: Signal | None = None
    tes_b: Signal | None = None
    change_elsewhere: Vector | None = None
    change_to_others: Vector | None = None
    covariates: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.signal_a)

    def take(self, index: npt.NDArray[Any] | slice) -> Examples:
        """Return the genes at `index`."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        taken: dict[str, Any] = {
            name: value[index] for name, value in values.items() if isinstance(value, np.ndarray)
        }
        return replace(self, **taken)

    def expressed(self, cell: str) -> tuple[Signal, Vector]:
        """Signal and expression of cell ``a`` or ``b``, of the genes whose expression is known."""
        signal, labels = getattr(self, f"signal_{cell}"), getattr(self, f"expr_{cell}")
        known = np.isfinite(labels)
        if known.sum() < 2:
            raise StoreError(
                "a network a cell learns from expression of both cells; add it with "
                "`prepare_store(expression=...)`"
            )
        return (signal, labels) if known.all() else (signal[known], labels[known])

    @classmethod
    def concatenate(cls, parts: Sequence[Examples]) -> Examples:
        """Join genes of several pairs; of what is None in any of them nothing is left."""
        if len(parts) == 1:
            return parts[0]
        values = {item.name: [getattr(part, item.name) for part in parts] for item in fields(cls)}
        joined: dict[str, Any] = {
            name: None if any(value is None for value in column) else np.concatenate(column)
            for name, column in values.items()
            if not isinstance(column[0], tuple | int)
        }
        return replace(parts[0], **joined)

    def without_labels(self) -> Examples:
        """Return the same genes with every label NaN: predicting can't peek."""
        unknown = np.full(len(self), np.nan)
        return replace(self, log2fc=unknown, expr_a=unknown, expr_b=unknown)


@dataclass(frozen=True)
class Prediction:
    """Predicted log2fc [n_genes] and, by cell (A, B), what a single-cell model predicts for it [n_genes]."""

    log2fc: Vector
    expression: Mapping[str, Vector] = field(default_factory=dict)


class Predictor(Protocol):
    """A fitted baseline."""

    @property
    def chosen(self) -> Mapping[str, Any]:
        """Hyper-parameters that were selected, for ``config.json``."""

    def predict(self, genes: Examples) -> Prediction:
        """Predict genes whose labels are NaN."""


@dataclass(frozen=True)
class Context:
    """What surrounds a fit.

    Attributes
    ----------
    seed : of every random number.
    threads : cores to use.
    reporter : where progress and notes go.
    folder : where finished pieces are kept, so that a killed fit goes on; None keeps nothing.
    shared : what does not depend on the seed, for further fits to the same genes.
    device : where networks are trained: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    seed: int = 0
    threads: int = 1
    reporter: Reporter = SILENT
    folder: Path | None = None
    shared: dict[Any, Any] = field(default_factory=dict)
    device: str = "auto"


Grid = Mapping[str, tuple[Any, ...]]
Fit = Callable[[Examples, Examples, Grid, Context], Predictor]


@dataclass(frozen=True)
class Method:
    """One baseline.

    Attributes
    ----------
    name : as ``method`` takes it.
    summary : one line for ``--help`` and tables.
    reference : the paper, or why it is here.
    fit : ``(train, valid, grid, context) -> Predictor``.
    grids : hyper-parameters among which `fit` chooses, by preset: ours, and where DeepDiff's authors said or
        left to a library what they took, ``published``.
    selection : what the choice is made on: ``none``, ``training`` (cross-validation, leave-one-out, out of
        bag) or ``validation``. `fit` gets no validation genes where it isn't ``validation``.
    uses_tes : whether it looks at the signal around the transcript's end, where the store has it.
    needs_other_cells : whether it needs expression of cells beyond the pair.
    whole_gene : whether it reads every region that the store has, or the bins around the TSS alone.
    reads_covariates : whether it reads numbers of the genes (`pairs.covariates`), a gene prior among them
        where one is asked for.
    seeded : whether the mean over several seeds is a better baseline that may be asked for (`fit_seeds`).
    """

    name: str
    summary: str
    reference: str
    fit: Fit
    grids: Mapping[str, Grid] = field(default_factory=lambda: {DEFAULT_PRESET: {}})
    selection: Literal["none", "training", "validation"] = "none"
    uses_tes: bool = False
    needs_other_cells: bool = False
    whole_gene: bool = False
    reads_covariates: bool = False
    seeded: bool = False

    def grid(self, preset: str = DEFAULT_PRESET, epochs: int | None = None) -> Grid:
        """Return a preset's hyper-parameters; `epochs` takes the place of its own, where it has any."""
        grid = self.grids[preset]
        return grid if epochs is None or "epochs" not in grid else {**grid, "epochs": (epochs,)}

    def hyperparameters(self, preset: str = DEFAULT_PRESET, epochs: int | None = None) -> dict[str, Any]:
        """Return the same as it stands in ``config.json``."""
        return {"grid": {name: list(values) for name, values in self.grid(preset, epochs).items()}}


def selection_score(labels: Vector, predicted: npt.NDArray[Any]) -> float:
    """Pearson r of held-out genes, by which every method chooses that has any; -1 where it is undefined."""
    score = pearson(labels, predicted)
    return score if np.isfinite(score) else -1.0


def least_squares(labels: Vector, predicted: npt.NDArray[Any]) -> tuple[float, float]:
    """Slope and intercept of the line from predictions to labels; slope 0 where predictions are constant."""
    varies = np.ptp(predicted) > 0
    slope = float(np.cov(predicted, labels)[0, 1] / predicted.var(ddof=1)) if varies else 0.0
    return slope, float(labels.mean() - slope * predicted.mean())


def require_genes(examples: Examples, least: int, what: str) -> None:
    """Raise StoreError when there are fewer than `least` genes."""
    if len(examples) < least:
        raise StoreError(
            f"{what} needs at least {least} genes with known expression, the split gives {len(examples)}; "
            "choose another `split`, or add expression with `diffchrom prepare`"
        )

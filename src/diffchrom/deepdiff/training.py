"""Training as a recipe: from a pair of cells to a model, its history and its predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from diffchrom.config import DEFAULT_VARIANT, PRESETS, Hyperparameters
from diffchrom.deepdiff.building import fit_transform
from diffchrom.deepdiff.checkpoint import (
    TrainingState,
    has_checkpoint,
    remove_checkpoints,
    save_weights,
)
from diffchrom.deepdiff.cuda import free_bytes, resolve_device
from diffchrom.deepdiff.custom import CUSTOM
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.examples import GeneTensors, examples_of, joined
from diffchrom.deepdiff.fitting import Member, batches_per_epoch
from diffchrom.deepdiff.inference import Predictions
from diffchrom.deepdiff.lstm import kernel_unavailable_reason
from diffchrom.deepdiff.members import fit_members, members_of
from diffchrom.deepdiff.memory import MemoryPlan, plan_memory
from diffchrom.deepdiff.model import CELL_A, CELL_B, PairModel
from diffchrom.deepdiff.opened import READ_BATCH, GenePredictions, OpenedModel
from diffchrom.deepdiff.timing import step_seconds
from diffchrom.deepdiff.uncertainty import Calibration
from diffchrom.deepdiff.unseen import calibrate, judge, predict_part, r_without_shift
from diffchrom.errors import StoreError, UsageError
from diffchrom.files.tables import write_table
from diffchrom.files.whole import output_text, remove_folder
from diffchrom.genome.genes import Rows, Signal
from diffchrom.metrics import pearson
from diffchrom.pairs.covariates import OF_GENES, counts
from diffchrom.pairs.coverage import coverage_by_stratum, larger_expression
from diffchrom.pairs.pair import Pair, PairData
from diffchrom.pairs.pair_set import LEAST_CELLS, PairSet
from diffchrom.pairs.transform import Transform, pieces
from diffchrom.progress import Reporter
from diffchrom.runs.folder import HISTORY, MODEL, UNSEEN
from diffchrom.runs.making import Fitted
from diffchrom.runs.tables import HISTORY_COLUMNS
from diffchrom.variants import Variant, get_variant

#: Fewest genes with labels that make a training or validation set.
MIN_GENES = 2


@dataclass(frozen=True)
class Training:
    """Recipe of a DeepDiff model; together with a pair's content it decides the result.

    Attributes
    ----------
    name, preset : names in `variants.VARIANTS` and `config.PRESETS`.
    settings : hyper-parameters (the preset's, with the user's changes).
    seed : of initial weights, shuffling and dropout.
    device : ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    memory : bytes that may be used; where the signal needs more, it is kept in the folder for temporary files
        and paged in, which changes no result. None is what is free.
    side_by_side : train an ensemble's members in processes of their own where that is faster, which changes
        no result; for callers whose own processes fill the cores, False.
    gene_prior : read what the genes do in other cells, too (`pairs.covariates`).
    module : a torch module of the caller's own to be trained instead (`custom.Custom`); `name` then is what
        tables call it.
    """

    libraries: ClassVar[tuple[str, ...]] = ("torch", "safetensors")

    name: str = DEFAULT_VARIANT
    preset: str = "default"
    settings: Hyperparameters = field(default=PRESETS["default"])
    seed: int = 0
    device: str = "auto"
    memory: int | None = None
    side_by_side: bool = True
    gene_prior: bool = False
    module: nn.Module | None = None

    @property
    def kind(self) -> str:
        """As in ``config.json``; a caller's own module can be opened only by who has it."""
        return "deepdiff" if self.module is None else "module"

    @property
    def variant(self) -> Variant:
        """What is trained."""
        return get_variant(self.name) if self.module is None else CUSTOM

    @property
    def whole_gene(self) -> bool:
        """Whether the variant reads what lies beyond the TSS."""
        return self.variant.whole_gene

    @property
    def covariates(self) -> tuple[str, ...]:
        """Numbers of the genes that the variant reads beside the signal."""
        return tuple(OF_GENES) if self.variant.reads_covariates else ()

    @property
    def cell_shifts(self) -> bool:
        """Whether the variant learns a shift of every cell, where there are several pairs."""
        return self.variant.cell_shifts

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """For ``config.json``."""
        return self.settings.to_dict()

    def meet(self, pairs: PairSet, reporter: Reporter) -> TrainingLearner:
        """Read the genes, and fit the input's transform on those to train on."""
        device = resolve_device(self.device)
        if device.type == "cpu" and self.settings.precision == "float16":
            raise UsageError("`precision=float16` needs a CUDA device; use float32 here")
        if device.type == "cpu" and (reason := kernel_unavailable_reason()):
            reporter.note(f"{reason}; torch.nn.LSTM serves, slower")
        plan = plan_memory(pairs, self.variant, self.settings, self.memory, free_bytes(device))
        reporter.note(plan.described())
        data = pairs.load(plan.spill)
        for pair, of_pair in zip(pairs.pairs, data, strict=True):
            _require_labels(pair, of_pair, self.settings)
        return TrainingLearner.of(self, pairs, data, plan, device)


@dataclass(frozen=True)
class TrainingLearner:
    """A recipe that has met its genes.

    Attributes
    ----------
    recipe, pairs, datas : what is trained on what.
    plan : where it has room.
    transform : of the model's input, fitted on the training genes.
    device : where to compute.
    """

    recipe: Training
    pairs: PairSet
    datas: tuple[PairData, ...]
    plan: MemoryPlan
    transform: Transform
    device: torch.device

    @classmethod
    def of(
        cls,
        recipe: Training,
        pairs: PairSet,
        datas: tuple[PairData, ...],
        plan: MemoryPlan,
        device: torch.device,
    ) -> TrainingLearner:
        """Fit the transform on the training genes of every cell, each cell once."""
        signals: dict[str, Signal] = {}
        for data in datas:
            signals |= dict(zip(data.cells, (data.signal_a, data.signal_b), strict=True))
        rows = np.unique(np.concatenate([data.rows("train") for data in datas]))
        transform = fit_transform(recipe.variant, recipe.settings, rows, *signals.values())
        return cls(recipe, pairs, datas, plan, transform, device)

    @property
    def data(self) -> PairData:
        """The genes of the run's own pair."""
        return self.datas[0]

    @property
    def configuration(self) -> Mapping[str, Any]:
        """What ``config.json`` says of the above."""
        details = {"device": self.device.type, "class_medians": _medians(self.data)}
        return {"transform": self.transform.to_dict(), "details": details}

    def can_go_on(self, folder: Path) -> bool:
        """Whether there is a checkpoint."""
        return has_checkpoint(folder)

    def clean(self, folder: Path) -> None:
        """Remove all that only a training in progress needs."""
        remove_checkpoints(folder)
        for cell in self.pairs.cells:
            remove_folder(self._left_out_folder(folder, cell))

    def fit(self, folder: Path, reporter: Reporter) -> Fitted:
        """Train all members and predict every gene."""
        model, states = self._fit_members(folder, reporter)
        save_weights(folder / MODEL, model.state_dict())
        _save_history(folder, states)
        unseen = None if self.pairs.single else self._calibration_of_unseen(folder, reporter)
        return self._fitted(model, states, unseen, reporter)

    def _fit_members(self, folder: Path, reporter: Reporter) -> tuple[PairModel, list[TrainingState]]:
        recipe = self.recipe
        train_set, valid_set = (self._examples(part) for part in ("train", "valid"))
        order = 1.0 if self.pairs.single else 0.0  # the shift is one pair's
        layout, n_cells = self.pairs.first.layout, counts(self.pairs.first.covariate_names)[1]
        members = members_of(
            folder, recipe.variant, recipe.settings, recipe.seed, layout, recipe.module, order, n_cells
        )
        if not self.pairs.single:
            reporter.note(self._described(members, len(train_set)))
        processes = self.plan.processes if recipe.side_by_side else 1
        return fit_members(members, train_set, valid_set, processes, reporter)

    def _described(self, members: Sequence[Member], n: int) -> str:
        """Say what is trained on how many examples, and how long that may take."""
        settings, layout = self.recipe.settings, self.pairs.first.layout
        said = (
            f"{len(members)} of {len(self.pairs.pairs)} pairs of {len(self.pairs.cells)} cells, {n} examples"
        )
        if self.recipe.module is not None:
            return f"models to train: {said}"
        batch, marks = settings.batch_of(n), len(self.pairs.first.marks)
        seconds = step_seconds(self.recipe.name, settings, marks, layout, batch)
        steps = len(members) * settings.epochs_of(n) * batches_per_epoch(settings, n)
        minutes = steps * seconds / 60
        return f"models to train: {said}; at most {steps} steps, about {minutes:.1f} minutes of a core"

    def _calibration_of_unseen(self, folder: Path, reporter: Reporter) -> Calibration | None:
        """Calibrate intervals on pairs of cells that are left out in turn (`unseen`); None without any."""
        settings = replace(self.recipe.settings, ensemble=1)
        recipe, predicted = replace(self.recipe, settings=settings), []
        for cell in self.pairs.cells if len(self.pairs.cells) >= LEAST_CELLS else ():
            rest = self.pairs.without(cell)
            if rest is None:
                continue
            reporter.note(f"intervals of unseen cells: a model without {cell}")
            datas = tuple(data for data in self.datas if cell not in data.cells)
            learner = TrainingLearner.of(recipe, rest, datas, self.plan, self.device)
            inside = self._left_out_folder(folder, cell)
            inside.mkdir(exist_ok=True)
            model, _ = learner._fit_members(inside, reporter)
            predicted += predict_part(learner.opened(model), rest.unseen, "valid")
        if not predicted:
            reporter.note(
                f"no intervals of unseen cells: leaving one out needs {LEAST_CELLS} cells, in pairs"
            )
            return None
        calibration = calibrate(predicted)
        return calibration if calibration.is_bounded else None

    def _left_out_folder(self, folder: Path, cell: str) -> Path:
        """Where the checkpoint of the model without a cell is; names of cells may be no names of folders."""
        return folder / f"without-{self.pairs.cells.index(cell) + 1}"

    def _examples(self, part: str) -> GeneTensors:
        """One part of the split of all pairs."""
        antisymmetric = self.recipe.variant.antisymmetric
        examples = self.pairs.examples(self.datas, antisymmetric=antisymmetric)
        settings, device, spill = self.recipe.settings, self.device, self.plan.spill
        resident = device.type == "cpu" or self.plan.on_card
        parts = [
            examples_of(data, part, self.transform, settings, _medians(data), device, spill, resident)
            for data in examples
        ]
        return joined(parts, [data.cells for data in examples], spill)

    def opened(self, model: PairModel) -> OpenedModel:
        """A model of these pairs on the first of them."""
        # Without expression to learn from, the auxiliary heads have learnt nothing.
        has_expression = bool(self.data.unit)
        return OpenedModel(
            model, self.pairs.first, self.transform, self.recipe.settings, has_expression=has_expression
        )

    def _calibration(self, opened: OpenedModel, predicted: Predictions) -> Calibration:
        """Calibrate intervals on the validation genes of all pairs; `predicted` are genes of the first."""
        rows, first = self.data.rows("valid"), self.pairs.first
        of_first = GenePredictions.of(first, rows, predicted.take(rows), None)
        return calibrate([of_first, *predict_part(opened, self.pairs.pairs[1:], "valid")])

    def _fitted(
        self,
        model: PairModel,
        states: Sequence[TrainingState],
        unseen: Calibration | None,
        reporter: Reporter,
    ) -> Fitted:
        opened = self.opened(model)
        predicted = _predict(opened, self.data, reporter)
        larger, test = larger_expression(predicted.expression), self.data.rows("test")
        calibration = self._calibration(opened, predicted)
        genes = GenePredictions.of(self.pairs.first, np.arange(len(self.data)), predicted, calibration)
        strata = coverage_by_stratum(self.data, test, genes.log2fc, genes.low, genes.high, larger)
        notes, further = [], {}
        if model.variant.antisymmetric and self.pairs.single:
            without = r_without_shift(opened, self.data, test)
            further["pearson_without_shift"] = without
            with_it = pearson(self.data.log2fc[test], predicted.log2fc[test])
            notes.append(
                f"without the shift, which this pair's libraries decide, r of test genes is {without:.3f} "
                f"(with it {with_it:.3f})"
            )
        elif not model.variant.antisymmetric:
            further["asymmetry"] = _mean_asymmetry(opened, self.data, test, predicted.log2fc)
            notes.append(
                "exchanging the cells does not quite negate the prediction; mean asymmetry "
                f"|f(A, B) + f(B, A)| / 2 of the test genes {further['asymmetry']:.3f}"
            )
        if strata:
            notes.append(
                f"{calibration.level:.0%} intervals, calibrated on {calibration.n} validation genes, "
                f"cover {strata['all']['coverage']:.1%} of {strata['all']['n']} test genes"
            )
        else:
            notes.append("too few validation or test genes for prediction intervals")
        first = model.members[0] if isinstance(model, Ensemble) else model
        details = {
            "epochs": states[-1].epoch,
            "best_epoch": states[-1].best_epoch,
            "calibration": calibration.to_dict(),
            "coverage": strata,
            # Of the first member; all are fitted on the same genes.
            "scaling": first.scaling(self.pairs.first.marks, self.pairs.first.n_windows),  # type: ignore[operator]
        }
        if not self.pairs.single:
            details[UNSEEN] = unseen.to_dict() if unseen else None
        judged = judge(opened, self.pairs, calibration, unseen)
        return Fitted(predicted.log2fc, genes.columns(), details, further, tuple(notes), judged)


def _require_labels(pair: Pair, data: PairData, settings: Hyperparameters) -> None:
    """Refuse a split without genes to learn from or to stop by, and weights without standard errors."""
    for part in ("train", "valid"):
        if (n := len(data.rows(part))) < MIN_GENES:
            raise StoreError(
                f"{pair.store.path}: split {pair.split} has {n} {part} genes with known expression "
                f"in {pair.cells[0]} and {pair.cells[1]}; choose another split with `split`"
            )
    if settings.weight_by_se and (data.se is None or not np.isfinite(data.se[data.rows("train")]).any()):
        raise StoreError(
            f"{pair.store.path}: no standard errors of log2fc for {','.join(pair.cells)}; `weight_by_se` "
            "needs replicates (`prepare_store(expression=...)`) or DESeq2's or limma's table (`labels`)"
        )


def _medians(data: PairData) -> dict[str, float]:
    """Median of log2(expression + 1) of cells A and B over the training genes, for classification."""
    rows = data.rows("train")
    return {CELL_A: _median(data.expr_a[rows]), CELL_B: _median(data.expr_b[rows])}


def _median(values: npt.NDArray[np.float64]) -> float:
    """Median of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _save_history(folder: Path, states: Sequence[TrainingState]) -> None:
    columns = {name: np.concatenate([state.history[name] for state in states]) for name in HISTORY_COLUMNS}
    counts = {name: columns[name].astype(np.int64) for name in ("epoch", "member")}
    with output_text(folder / HISTORY) as stream:
        write_table(stream, columns | counts)


def _predict(opened: OpenedModel, data: PairData, reporter: Reporter) -> Predictions:
    """Predict every gene of `data`, a piece of its signal at a time."""
    parts = []
    with reporter.task("predicting", len(data)) as task:
        for rows in pieces(np.arange(len(data)), READ_BATCH):
            span = slice(rows[0], rows[-1] + 1)
            parts.append(opened.predict_signal(rows, data.signal_a[span], data.signal_b[span]))
            task.advance(len(rows))
    return Predictions.concatenate(parts)


def _mean_asymmetry(
    opened: OpenedModel, data: PairData, rows: Rows, forward: npt.NDArray[np.float32]
) -> float:
    """Mean over genes of |f(A, B) + f(B, A)| / 2: 0 where exchanging the cells negates the prediction.

    Parameters
    ----------
    rows : the genes.
    forward : float32 [n_genes]
        f(A, B) of all genes of `data`.

    Returns
    -------
    float
        In units of log2fc; NaN without genes.
    """
    total = 0.0
    for piece in pieces(rows):
        backward = opened.predict_signal(piece, data.signal_b[piece], data.signal_a[piece]).log2fc
        total += float(np.abs(forward[piece].astype(np.float64) + backward).sum()) / 2
    return total / len(rows) if len(rows) else float("nan")

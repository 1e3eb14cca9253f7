"""What `import diffchrom` offers: the commands' own words as functions, for notebooks and scripts.

Nothing here computes: every name leads to what the commands call.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffchrom.attention.check import SAMPLE, Check, check
from diffchrom.attention.gene_picture import draw_gene
from diffchrom.attention.gene_view import gene_views
from diffchrom.attention.perturbation import parse_perturbations, perturb
from diffchrom.baselines.coefficients import coefficients
from diffchrom.baselines.fitting import Fitting
from diffchrom.baselines.opened import BaselinePredictions, OpenedBaseline, open_predictor
from diffchrom.config import DEFAULT_VARIANT, hyperparameters
from diffchrom.deepdiff.attribution import attribute as attributions
from diffchrom.deepdiff.opened import GenePredictions, OpenedModel
from diffchrom.deepdiff.training import Training
from diffchrom.errors import UsageError, did_you_mean
from diffchrom.genome.genes import Rows
from diffchrom.pairs.labelled import LabelledArray
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.pair_set import PairSet
from diffchrom.pairs.selection import chosen_rows, match_genes
from diffchrom.prepare.building import PrepareRequest, prepare
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.cross_validation import cross_validate
from diffchrom.runs.folder import HISTORY, PREDICTIONS, Run, RunConfig
from diffchrom.runs.making import Recipe, make
from diffchrom.runs.pair_results import PAIRS
from diffchrom.runs.predicted import PredictedTable
from diffchrom.runs.signal import describe_distances, signal_distances
from diffchrom.store.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from torch import nn


class OpenedStore(Store):
    """A store, its tables as data frames, and its pairs of cells."""

    def pair(
        self,
        *cells: str,
        marks: Sequence[str] | None = None,
        split: str | None = None,
        unit: str | None = None,
        regions: Sequence[str] | None = None,
        labelled: bool = True,
    ) -> Pair:
        """Two cells, A and B (none where the store has just two); see `pairs.pair.Pair.of`.

        Positive log2 fold changes are higher in B.
        """
        return Pair.of(
            self, cells or None, marks=marks, split=split, unit=unit, regions=regions, labelled=labelled
        )

    def pairs(
        self,
        *pairs: tuple[str, str],
        held_out: Sequence[str] = (),
        marks: Sequence[str] | None = None,
        split: str | None = None,
        unit: str | None = None,
        regions: Sequence[str] | None = None,
        normalise: str | None = None,
    ) -> PairSet:
        """Several pairs of cells for one model, ``("A", "B"), ("A", "C")``; see `pairs.pair_set.PairSet.of`.

        Nothing is learnt of the cells `held_out`, whose pairs the model is judged on.
        """
        return PairSet.of(
            self,
            pairs,
            held_out=held_out,
            marks=marks,
            split=split,
            unit=unit,
            regions=regions,
            normalise=normalise,
        )

    def gene_table(self) -> DataFrame:
        """Genes, a row each: id, name, chrom, strand, start, end, tss, tes (0-based, half-open)."""
        import pandas as pd

        return pd.DataFrame(vars(self.genes))

    def expression_table(self, unit: str | None = None) -> DataFrame:
        """Expression, a row a gene id and a column a cell; None is each cell's preferred unit."""
        import pandas as pd

        units = {cell: self.expression_units(cell) for cell in self.cells()}
        columns = {
            cell: self.expression(cell, unit or known[0])
            for cell, known in units.items()
            if known and (unit is None or unit in known)
        }
        return pd.DataFrame(columns, index=pd.Index(self.genes.id, name="gene_id"))


@dataclass(frozen=True)
class Attention:
    """What a model attended to in some genes.

    Attributes
    ----------
    alpha : gene, sequence, window
        Attention to windows, whose labels are the numbers of the bins around the TSS from 1 on, or ``bin_1``,
        ``body_1`` and so on where the model reads more. Sums to 1 over windows.
    beta : dict of task to gene, sequence
        Mark attention; sums to 1 over sequences.
    log2fc : gene
        Predicted.
    """

    alpha: LabelledArray
    beta: dict[str, LabelledArray]
    log2fc: LabelledArray


class Model(OpenedModel):
    """A trained model opened on a pair of cells.

    `rows` everywhere are rows of the store: ``model.rows("test")``, ``model.rows(genes=["RUNX1"])``, or
    ``pair.rows("test")``, which leaves out genes without labels.
    """

    def rows(self, part: str = "all", genes: str | Path | Sequence[str] | None = None) -> Rows:
        """Rows of a part of the split (train, valid, test, all) and of genes: a file of them, or names."""
        return _rows(self.pair, part, genes)

    def predict(self, rows: Rows, reporter: Reporter = SILENT) -> GenePredictions:
        """Predicted log2fc (B over A), expression and intervals; ``.columns()`` is the table of `predict`."""
        return super().predict(np.asarray(rows, dtype=np.intp), reporter)

    def table(self, rows: Rows, reporter: Reporter = SILENT) -> DataFrame:
        """The table of ``diffchrom predict``, with what is known of the labels."""
        return _table(self.predict(rows, reporter))

    def attend(self, rows: Rows, reporter: Reporter = SILENT) -> Attention:
        """Bin and mark attention with the names of genes, sequences and windows."""
        batch = self.attention_of(rows, reporter)
        gene = self.genes.id[rows]

        def names(sequences: Sequence[Any]) -> Any:
            return np.array([f"{sequence.block} {sequence.mark}" for sequence in sequences], dtype=object)

        axes = {"gene": gene, "sequence": names(self.sequences), "window": self._windows}
        beta = {
            task: LabelledArray("beta", values, {"gene": gene, "sequence": names(self.tasks[task])})
            for task, values in batch.beta.items()
        }
        log2fc = LabelledArray("log2fc_pred", batch.log2fc_pred, {"gene": gene})
        return Attention(LabelledArray("alpha", batch.alpha, axes), beta, log2fc)

    @property
    def _windows(self) -> Any:
        layout = self.pair.layout
        return layout.labels if layout.beyond else layout.number

    def attribute(
        self, rows: Rows, method: str = "integrated_gradients", reporter: Reporter = SILENT
    ) -> LabelledArray:
        """Contribution of each mark and window of each cell to log2fc, relative to the average gene."""
        values = attributions(self, rows, method, reporter)
        axes = {"gene": self.genes.id[rows], "cell": np.array(self.pair.cells, dtype=object)}
        axes |= {"mark": np.array(self.marks, dtype=object), "window": self._windows}
        return LabelledArray("contribution", values, axes)

    def perturb(self, rows: Rows, reporter: Reporter = SILENT, **changes: int | str) -> LabelledArray:
        """Change of predicted log2fc when marks are changed together.

        Parameters
        ----------
        changes : mark to ``"mean"`` (signal of the average training gene), 0 (none) or to a cell whose
            signal it gets, as in ``H3K27ac="mean"``; ``**{"H3K27ac@body": "mean"}`` in one region only.
        """
        text = ",".join(f"{mark}={value}" for mark, value in changes.items())
        tables = list(perturb(self, rows, parse_perturbations(self, [text]), reporter))
        values = np.concatenate([table["change"] for table in tables])
        return LabelledArray("change", values, {"gene": self.genes.id[rows]})

    def picture(self, gene: str, by: str | None = None) -> Figure:
        """One gene as a matplotlib figure, as ``diffchrom gene`` draws it.

        Parameters
        ----------
        gene : name or id.
        by : kind of weight: contribution, integrated-gradients, gradient or attention; None is the first of
            these that the model has.
        """
        (view, *_) = gene_views(self, self.rows(genes=[gene])[:1], by)
        return draw_gene(view)

    def check(self, rows: Rows, *, size: int = SAMPLE, seed: int = 0, reporter: Reporter = SILENT) -> Check:
        """How far the attention can be trusted; `attend --check` says what is compared."""
        return check(self, rows, size=size, seed=seed, reporter=reporter)


class Baseline(OpenedBaseline):
    """A fitted baseline opened on a pair of cells; `rows` as of `Model`."""

    def rows(self, part: str = "all", genes: str | Path | Sequence[str] | None = None) -> Rows:
        """Rows of a part of the split (train, valid, test, all) and of genes: a file of them, or names."""
        return _rows(self.pair, part, genes)

    def table(self, rows: Rows, reporter: Reporter = SILENT) -> DataFrame:
        """The table of ``diffchrom predict``, with what is known of the labels."""
        return _table(self.predict(rows, reporter))

    def coefficients(self) -> DataFrame:
        """What it weighs, by cell, mark and window (`baselines.coefficients`); RunError where it does not."""
        import pandas as pd

        pair = self.pair
        return pd.DataFrame(coefficients(self.predictor, pair.marks, pair.layout, pair.covariate_names))


def _rows(pair: Pair, part: str, genes: str | Path | Sequence[str] | None) -> Rows:
    if genes is None or isinstance(genes, str | Path):
        path = None if genes is None else Path(genes)
        return chosen_rows(pair.genes, pair.parts, part=part, gene_list=path)
    rows, missing = match_genes(pair.genes, genes)
    if missing:
        near = did_you_mean(missing[:5], [*pair.genes.name, *pair.genes.id])
        raise UsageError(f"{pair.store.path}: no gene {', '.join(missing[:5])}{near}")
    return np.intersect1d(rows, chosen_rows(pair.genes, pair.parts, part=part))


def _table(predicted: GenePredictions | BaselinePredictions) -> DataFrame:
    import pandas as pd

    return pd.DataFrame(PredictedTable(predicted.pair).completed(predicted.columns(), predicted.rows))


class MadeRun:
    """A finished run.

    Attributes
    ----------
    path : its folder; of a run made without one it is temporary, and goes with this object.
    """

    def __init__(self, run: Run, temporary: tempfile.TemporaryDirectory[str] | None = None) -> None:
        self._run = run
        if temporary is not None:
            weakref.finalize(self, temporary.cleanup)

    def __repr__(self) -> str:
        config = self.config
        r = self.metrics.get("pearson")
        return (
            f"<{config.variant} on {','.join(config.pair)}: r = {'undefined' if r is None else f'{r:.3f}'}>"
        )

    @property
    def path(self) -> Path:
        """The folder."""
        return self._run.path

    @property
    def config(self) -> RunConfig:
        """Everything that ``config.json`` says."""
        return self._run.config

    @property
    def metrics(self) -> dict[str, float | None]:
        """Metrics of the test genes."""
        return dict(self.config.metrics.get("test", {}))

    def predictions(self) -> DataFrame:
        """Every gene's prediction, label, part of the split and, of models, interval."""
        return self._table(PREDICTIONS)

    def history(self) -> DataFrame:
        """Training, a row an epoch; models only."""
        return self._table(HISTORY)

    def pairs(self) -> DataFrame:
        """Accuracy of every pair, where it learnt from several or was kept from cells."""
        return self._table(PAIRS)

    def _table(self, name: str) -> DataFrame:
        import pandas as pd

        return pd.read_csv(self.path / name, sep="\t", na_values=["NA"], keep_default_na=False)

    def open(
        self,
        store: Store,
        cells: Sequence[str] | None = None,
        *,
        module: nn.Module | None = None,
        device: str = "auto",
        reporter: Reporter = SILENT,
    ) -> Model | Baseline:
        """Open the model or baseline on a store, for its own pair of cells unless others are named.

        Parameters
        ----------
        module : needed where the run is of a module of your own.
        reporter : is told what intervals hold for other cells, whether the shift is left out, and how far the
            signal is from what a run of several pairs saw.
        """
        opened, said = open_predictor(self._run, store, cells, module=module, device=device)
        distance = describe_distances(signal_distances(self._run, opened.pair))
        for note in filter(None, (said, opened.without_shift, distance)):
            reporter.note(note)
        kind = Baseline if isinstance(opened, OpenedBaseline) else Model
        return kind(**vars(opened))


def open_store(path: str | Path = "diffchrom.h5") -> OpenedStore:
    """Open a store; the file is opened for each operation, so nothing needs to be closed."""
    return OpenedStore(path)


def open_run(path: str | Path) -> MadeRun:
    """Open a finished run's folder."""
    return MadeRun(Run.open(path))


def prepare_store(store: str | Path, *, reporter: Reporter = SILENT, **options: Any) -> OpenedStore:
    """Make or extend a store from an annotation, tracks and expression.

    Parameters
    ----------
    options : of `prepare.request.PrepareRequest`: ``gtf``, ``bigwigs``, ``expression``, ...
    """
    paths = {"gtf", "samples", "chrom_sizes", "deepdiff", "genes", "blacklist"}
    several = {"bigwigs": Path, "reads": Path, "expression": str, "labels": str, "splits": str}
    for name, value in options.items():
        if name in paths and value is not None:
            options[name] = Path(value)
        elif name in several:
            values = [value] if isinstance(value, str | Path) else value
            options[name] = tuple(several[name](item) for item in values)
    prepare(PrepareRequest(store=Path(store), **options), reporter)
    return OpenedStore(store)


def train(
    pair: Pair | PairSet,
    variant: str = DEFAULT_VARIANT,
    *,
    model: nn.Module | None = None,
    preset: str = "default",
    out: str | Path | None = None,
    folds: int = 0,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    force: bool = False,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> MadeRun:
    """Train a model on a pair of cells, as ``diffchrom train`` does.

    Parameters
    ----------
    pair : from `OpenedStore.pair`, or several from `OpenedStore.pairs`.
    variant : a DeepDiff variant.
    model : a torch module of your own instead: ``model(a, b)`` takes the input of both cells, each
        [batch, n_marks, n_bins], and gives log2fc [batch]. It is copied, and trained by the same loop.
    preset : of the hyper-parameters; `settings` changes single ones (``epochs=5``, ``lr=1e-3``, ...).
    out : the run folder; None makes a temporary one that goes with the result.
    folds : cross-validate over so many folds of whole chromosomes instead.
    seed : of everything random.
    """
    if model is not None:
        settings.setdefault("ensemble", 1)
    name = variant if model is None else type(model).__name__
    chosen = hyperparameters(preset, name, **settings)
    recipe = Training(name, preset, chosen, seed, device, module=model)
    return _made(recipe, pair, out, folds, resume=resume, force=force, reporter=reporter)


def fit_baseline(
    pair: Pair | PairSet,
    method: str = "ridge",
    *,
    out: str | Path | None = None,
    folds: int = 0,
    seed: int = 0,
    seeds: int = 1,
    threads: int = 1,
    resume: bool = False,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> MadeRun:
    """Fit a baseline on a pair of cells, as ``diffchrom baseline`` does.

    Parameters are those of `train`, and of trees `seeds`: the number of fits that are averaged.
    """
    recipe = Fitting(method, seed, threads, seeds=seeds)
    return _made(recipe, pair, out, folds, resume=resume, force=force, reporter=reporter)


def _made(
    recipe: Recipe, pair: Pair | PairSet, out: str | Path | None, folds: int, **options: Any
) -> MadeRun:
    temporary = None
    if out is None:
        temporary = tempfile.TemporaryDirectory(prefix="diffchrom-run-")
        out = Path(temporary.name) / "run"
    try:
        if folds:
            options.pop("resume")  # finished folds are kept in any case
            return MadeRun(cross_validate(recipe, pair, folds, out, **options), temporary)
        return MadeRun(make(recipe, pair, out, **options), temporary)
    except BaseException:
        if temporary is not None:
            temporary.cleanup()
        raise

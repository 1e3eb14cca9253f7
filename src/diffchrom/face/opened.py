"""A store, and a model or baseline opened on a pair of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from diffchrom.attention.check import SAMPLE, Check, check
from diffchrom.attention.gene_picture import draw_gene
from diffchrom.attention.gene_view import gene_views
from diffchrom.attention.perturbation import parse_perturbations, perturb
from diffchrom.baselines.coefficients import coefficients
from diffchrom.baselines.opened import BaselinePredictions, OpenedBaseline
from diffchrom.deepdiff.attribution import attribute as attributions
from diffchrom.deepdiff.opened import GenePredictions, OpenedModel
from diffchrom.errors import UsageError, did_you_mean
from diffchrom.genome.genes import Rows
from diffchrom.pairs.labelled import LabelledArray
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.pair_set import PairSet
from diffchrom.pairs.selection import chosen_rows, match_genes
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.predicted import PredictedTable
from diffchrom.store.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


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


class _Opened(Protocol):
    @property
    def pair(self) -> Pair: ...

    def predict(self, rows: Rows, reporter: Reporter) -> GenePredictions | BaselinePredictions: ...


class _Genes:
    """What a model and a baseline, opened on a pair of cells, have in common."""

    def rows(self: _Opened, part: str = "all", genes: str | Path | Sequence[str] | None = None) -> Rows:
        """Rows of a part of the split (train, valid, test, all) and of genes: a file of them, or names."""
        pair = self.pair
        if genes is None or isinstance(genes, str | Path):
            path = None if genes is None else Path(genes)
            return chosen_rows(pair.genes, pair.parts, part=part, gene_list=path)
        rows, missing = match_genes(pair.genes, genes)
        if missing:
            near = did_you_mean(missing[:5], [*pair.genes.name, *pair.genes.id])
            raise UsageError(f"{pair.store.path}: no gene {', '.join(missing[:5])}{near}")
        return np.intersect1d(rows, chosen_rows(pair.genes, pair.parts, part=part))

    def table(self: _Opened, rows: Rows, reporter: Reporter = SILENT) -> DataFrame:
        """The table of ``diffchrom predict``, with what is known of the labels."""
        import pandas as pd

        columns = self.predict(rows, reporter).columns()
        return pd.DataFrame(PredictedTable(self.pair).completed(columns, rows))


class Model(_Genes, OpenedModel):
    """A trained model opened on a pair of cells.

    `rows` everywhere are rows of the store: ``model.rows("test")``, ``model.rows(genes=["RUNX1"])``, or
    ``pair.rows("test")``, which leaves out genes without labels.
    """

    def predict(self, rows: Rows, reporter: Reporter = SILENT) -> GenePredictions:
        """Predicted log2fc (B over A), expression and intervals; ``.columns()`` is the table of `predict`."""
        return super().predict(np.asarray(rows, dtype=np.intp), reporter)

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


class Baseline(_Genes, OpenedBaseline):
    """A fitted baseline opened on a pair of cells; `rows` as of `Model`."""

    def coefficients(self) -> DataFrame:
        """What it weighs, by cell, mark and window (`baselines.coefficients`); RunError where it does not."""
        import pandas as pd

        pair = self.pair
        return pd.DataFrame(coefficients(self.predictor, pair.marks, pair.layout, pair.covariate_names))

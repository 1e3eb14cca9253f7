"""The table of ``predict``: predictions beside what is known of the labels, and the largest of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import Rows
from diffchrom.pairs.pair import Pair
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.tables import gene_columns

Columns = dict[str, npt.NDArray[Any]]
#: Signs of log2fc that are asked for.
UP, DOWN = 1, -1


@dataclass
class PredictedTable:
    """Adds what is known of labels to predictions, and counts what the intervals say.

    Attributes
    ----------
    n_intervals, n_certain : genes with an interval, and those whose interval excludes 0.
    """

    pair: Pair
    n_intervals: int = 0
    n_certain: int = 0

    @cached_property
    def _padj(self) -> npt.NDArray[np.float64]:
        given = self.pair.store.labels(self.pair.cells)
        unknown = np.full(len(self.pair), np.nan)
        return unknown if given is None or given.padj is None else given.padj

    def completed(self, columns: Columns, rows: Rows) -> Columns:
        """Columns of the genes `rows`, with ``se`` and ``padj`` of the label and ``explained`` at the end.

        ``explained`` is ``yes`` where prediction and label have the same sign and the interval excludes 0,
        ``no`` where not, and NA where there is no label or no interval.
        """
        unknown = np.full(len(rows), np.nan)
        low, high = (np.asarray(columns.get(name, unknown), dtype=np.float64) for name in ("lo90", "hi90"))
        bounded = np.isfinite(low) & np.isfinite(high)
        certain = bounded & ((low > 0) | (high < 0))
        self.n_intervals += int(bounded.sum())
        self.n_certain += int(certain.sum())
        label, predicted = columns["log2fc"], columns["log2fc_pred"]
        agrees = np.where(certain & (np.sign(label) == np.sign(predicted)), "yes", "no").astype(object)
        se = self.pair.labels.se
        known = bounded & np.isfinite(label)
        return columns | {
            "se": unknown if se is None else se[rows],
            "padj": self._padj[rows],
            "explained": np.where(known, agrees, ""),
        }

    def note(self) -> str:
        """Say where no interval excludes 0, so that no predicted direction is certain."""
        if not self.n_intervals or self.n_certain:
            return ""
        return f"no interval of {self.n_intervals} genes excludes 0: no direction is certain"


class Opened(Protocol):
    """A run opened on a pair of cells."""

    @property
    def pair(self) -> Pair:
        """Which."""

    def predict_batches(self, rows: Rows, reporter: Reporter) -> Iterator[Any]:
        """Yield predictions of the genes `rows`, in that order."""


def changes_table(opened: Iterable[Opened], rows: Rows, reporter: Reporter = SILENT) -> Columns:
    """Predicted log2fc of several pairs of cells, side by side.

    Parameters
    ----------
    opened : a run on each of the pairs; one at a time is in memory where an iterator gives them.
    rows : the genes.

    Returns
    -------
    Columns of the genes, and one a pair, named ``A,B``: log2fc, positive where it is higher in B.
    """
    columns: Columns = {}
    for one in opened:
        if not columns:
            columns = gene_columns(one.pair.genes.take(rows))
        pieces = [piece.log2fc for piece in one.predict_batches(rows, reporter)]
        columns[",".join(one.pair.cells)] = np.concatenate([np.empty(0, np.float32), *pieces])
    return columns


def largest(tables: Iterable[Mapping[str, npt.NDArray[Any]]], n: int, sign: int = 0) -> Columns:
    """The `n` genes of the largest |log2fc_pred| of one sign (`UP`, `DOWN`; 0 is both), the largest first."""
    pieces = list(tables)
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    predicted = columns["log2fc_pred"]
    size = np.where(sign * predicted >= 0, np.abs(predicted), -np.inf)
    order = np.argsort(-size, kind="stable")
    order = order[np.isfinite(size[order])][:n]
    return {name: values[order] for name, values in columns.items()}

"""How a run does on each of its pairs, those of cells that it has not seen among them: ``pairs.tsv``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.files.tables import write_table
from diffchrom.files.whole import output_text
from diffchrom.genome.genes import Rows
from diffchrom.metrics import pearson
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.pair_set import KINDS
from diffchrom.runs.tables import intervals_of

PAIRS = "pairs.tsv"


@dataclass(frozen=True)
class PairPrediction:
    """What a run says of the test genes of one pair.

    Attributes
    ----------
    pair, kind : the cells, and one of `pair_set.KINDS`.
    rows : the genes, as rows of the store.
    log2fc : float [n]
    low, high : float [n] or None
        Ends of the prediction intervals.
    """

    pair: Pair
    kind: str
    rows: Rows
    log2fc: npt.NDArray[Any]
    low: npt.NDArray[Any] | None = None
    high: npt.NDArray[Any] | None = None

    @property
    def pearson(self) -> float | None:
        """Pearson's r; None where undefined."""
        return _known(pearson(self.pair.labels.log2fc[self.rows], self.log2fc))

    def result(self) -> PairResult:
        """Its accuracy."""
        labels = self.pair.labels
        truth = labels.log2fc[self.rows]
        everywhere = np.full(len(self.pair), np.nan)
        everywhere[self.rows] = self.log2fc
        low, high = intervals_of(labels, self.pair.genes, self.rows, everywhere)["pearson"]
        return PairResult(
            ",".join(self.pair.cells),
            self.kind,
            len(self.rows),
            self.pearson,
            _known(low),
            _known(high),
            _coverage(truth, self.low, self.high),
        )


@dataclass(frozen=True)
class PairResult:
    """A row of ``pairs.tsv``.

    Attributes
    ----------
    pair, kind : ``A,B`` and one of `pair_set.KINDS`.
    n : test genes with known change.
    pearson, pearson_low, pearson_high : r with its 95% interval; None where undefined.
    coverage : share of the test genes whose prediction interval holds; None without intervals.
    ridge_pearson : r of ridge fitted to the same pairs; None where it was not.
    """

    pair: str
    kind: str
    n: int
    pearson: float | None
    pearson_low: float | None
    pearson_high: float | None
    coverage: float | None = None
    ridge_pearson: float | None = None

    def row(self) -> tuple[Any, ...]:
        """Values of `COLUMNS`."""
        return tuple(asdict(self).values())


#: Of ``pairs.tsv`` and of what is printed of a run of several pairs.
COLUMNS = tuple(item.name for item in fields(PairResult))


def save_results(folder: Path, results: Sequence[PairResult]) -> None:
    """Write ``pairs.tsv``; NA is what is not known."""
    columns = zip(*(result.row() for result in results), strict=True)
    table = {
        name: np.array([np.nan if value is None else value for value in values])
        for name, values in zip(COLUMNS, columns, strict=True)
    }
    with output_text(folder / PAIRS) as stream:
        write_table(stream, table)


def read_results(details: Sequence[dict[str, Any]]) -> list[PairResult]:
    """Turn what ``config.json`` keeps of them into results."""
    return [PairResult(**row) for row in details]


def mean_over_folds(by_fold: Sequence[Sequence[PairResult]]) -> list[PairResult]:
    """What a cross-validation says of each pair: means over folds, of coverage over genes, and no interval.

    Predictions of the pairs but the first are not kept, so there is no r of all genes (docs/runs.md).
    """
    means = []
    for folds in zip(*by_fold, strict=True):
        r = [result.pearson for result in folds if result.pearson is not None]
        covered = [(result.coverage, result.n) for result in folds if result.coverage is not None]
        means.append(
            PairResult(
                folds[0].pair,
                folds[0].kind,
                sum(result.n for result in folds),
                float(np.mean(r)) if r else None,
                None,
                None,
                sum(share * n for share, n in covered) / sum(n for _, n in covered) if covered else None,
            )
        )
    return means


def describe_results(results: Sequence[PairResult]) -> list[str]:
    """Say the mean r of each kind of pairs, a line each; kinds are never mixed."""
    said = []
    for kind in KINDS:
        r = [result.pearson for result in results if result.kind == kind and result.pearson is not None]
        if r:
            many = "pair" if len(r) == 1 else "pairs"
            said.append(f"{kind.replace('_', ' ')}: r = {np.mean(r):.3f} over {len(r)} {many}")
    return said


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _coverage(
    truth: npt.NDArray[Any], low: npt.NDArray[Any] | None, high: npt.NDArray[Any] | None
) -> float | None:
    if low is None or high is None or not np.isfinite(low).any():
        return None
    bounded = np.isfinite(low)
    return float(np.mean((low[bounded] <= truth[bounded]) & (truth[bounded] <= high[bounded])))

"""Windows of large weight as BED or narrowPeak, in one pass over the genes.

BED is sorted by chromosome (byte order) and start: genes come in that order, and what a later gene could
still precede is held back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.attention.weights import Weights
from diffchrom.deepdiff.opened import AttentionBatch
from diffchrom.files.bulk import Names, bulk_lines
from diffchrom.genome.genes import Rows
from diffchrom.genome.windows import Windows

#: BED6 and, after it, what the name is made of, the sum over the windows and the one of the largest size;
#: ``region`` stands behind them, where more is read than the bins around the TSS.
BED_COLUMNS = (
    "chrom", "start", "end", "name", "score", "strand",
    "gene_id", "block", "mark", "weight", "peak",
)  # fmt: skip
DEFAULT_TOP = 10


@dataclass(frozen=True)
class BinChoice:
    """Windows of a gene's sequence that are written: the `top` highest, or those from `min_weight`.

    Of signed weights, the largest in size.
    """

    top: int | None = DEFAULT_TOP
    min_weight: float | None = None

    def mask(self, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """True for the chosen windows of weights [..., n_windows] in the store's order; ties go to the first.

        Both conditions hold where both are given.
        """
        size = np.abs(weights)
        chosen = np.ones(size.shape, dtype=bool)
        if self.top is not None and self.top < size.shape[-1]:
            best = np.argsort(-size, axis=-1, kind="stable")[..., : self.top]
            chosen[:] = False
            np.put_along_axis(chosen, best, True, axis=-1)
        if self.min_weight is not None:
            chosen &= size >= self.min_weight
        return chosen


@dataclass(frozen=True)
class Peaks:
    """Stretches of chosen windows of one batch, one array a column; `sequence` and `region` are indices.

    Attributes
    ----------
    weight, peak : the sum over the windows, and the one of the largest size.
    summit : the middle of that window.
    """

    row: Rows
    sequence: npt.NDArray[np.intp]
    region: npt.NDArray[np.intp]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    peak: npt.NDArray[np.float64]
    summit: npt.NDArray[np.int64]

    def take(self, index: npt.NDArray[Any]) -> Peaks:
        """Return those at `index`."""
        return Peaks(**{name: values[index] for name, values in vars(self).items()})

    @classmethod
    def concatenate(cls, parts: list[Peaks]) -> Peaks:
        """Join in the order given."""
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
        )


def peaks_of(weights: Weights, batch: AttentionBatch, choice: BinChoice) -> Peaks:
    """Chosen windows of a batch, adjacent ones of a region and sign merged, clipped to the chromosome."""
    opened = weights.opened
    chosen, sizes = choice.mask(batch.alpha), opened.pair.store.chrom_sizes
    parts = []
    for number, (windows, span) in enumerate(opened.windows.by_region()):
        part = _of_region(windows, batch.rows, batch.alpha[..., span], chosen[..., span], sizes)
        parts.append(replace(part, region=np.full(len(part.row), number, dtype=np.intp)))
    return Peaks.concatenate(parts)


def _of_region(
    windows: Windows,
    rows: Rows,
    weights: npt.NDArray[np.float32],
    chosen: npt.NDArray[np.bool_],
    chrom_sizes: dict[str, int],
) -> Peaks:
    """Stretches within one region: weights and which are chosen, each [n, n_sequences, n_windows]."""
    start, end = (windows.ascending(one, rows) for one in windows.intervals(rows, chrom_sizes))
    weights = windows.ascending(weights, rows)
    chosen = windows.ascending(chosen, rows) & (end >= 0)[:, None, :]
    # A stretch ends where a window is not chosen, where the next one lies apart, and where the sign turns.
    apart = (start[:, 1:] > end[:, :-1])[:, None, :] | (
        np.signbit(weights)[..., 1:] != np.signbit(weights)[..., :-1]
    )
    begins, stops = chosen.copy(), chosen.copy()
    begins[..., 1:] &= ~chosen[..., :-1] | apart
    stops[..., :-1] &= ~chosen[..., 1:] | apart
    gene, sequence, begin = np.nonzero(begins)
    stop = np.nonzero(stops)[2] + 1
    total = np.zeros((*weights.shape[:2], windows.n_windows + 1))
    np.cumsum(weights, axis=-1, dtype=np.float64, out=total[..., 1:])
    # Of a stretch's windows that of the largest size, the first of equals: chosen windows stand in the order
    # of their stretches.
    size = np.abs(weights[chosen])
    stretch = np.cumsum(begins[chosen]) - 1
    largest = np.lexsort((-size, stretch))[np.searchsorted(stretch, np.arange(len(begin)))]
    at = np.nonzero(chosen)[2][largest]
    return Peaks(
        row=rows[gene],
        sequence=sequence,
        region=gene,
        start=start[gene, begin],
        end=end[gene, stop - 1],
        weight=total[gene, sequence, stop] - total[gene, sequence, begin],
        peak=weights[gene, sequence, at].astype(np.float64),
        summit=(start[gene, at] + end[gene, at]) // 2,
    )


Columns = tuple[Names | npt.NDArray[Any], ...]


def _weight(weights: Weights, peaks: Peaks) -> npt.NDArray[np.float64]:
    return peaks.weight if weights.kind.signed else np.clip(peaks.weight, 0, 1)


def _labels(weights: Weights) -> list[tuple[str, str]]:
    return [(one.block, one.mark) for one in weights.sequences]


def _explained(weights: Weights, peaks: Peaks) -> Columns:
    """Columns of `BED_COLUMNS` from the seventh on, and the region where there are several."""
    opened = weights.opened
    layout = opened.pair.layout
    return (
        Names(opened.genes.id[peaks.row], np.arange(len(peaks.row))),
        *(Names(label, peaks.sequence) for label in zip(*_labels(weights), strict=True)),
        _weight(weights, peaks),
        peaks.peak,
        *([Names(layout.names, peaks.region)] if layout.beyond else []),
    )


def _narrow_peak(weights: Weights, peaks: Peaks) -> Columns:
    """signalValue, pValue, qValue and peak of narrowPeak: genome.ucsc.edu/FAQ/FAQformat.html#format12."""
    unknown = Names(["-1"], np.zeros(len(peaks.row), dtype=np.intp))
    return (_weight(weights, peaks), unknown, unknown, peaks.summit - peaks.start)


def _nothing(*_: object) -> Columns:
    return ()


#: What stands behind the six columns of BED, by format.
BEDS: Mapping[str, Callable[[Weights, Peaks], Columns]] = {
    "bed": _explained,
    "narrowpeak": _narrow_peak,
    "bed6": _nothing,
}


def bed_lines(weights: Weights, peaks: Peaks, format_: str = "bed") -> bytes:
    """Text of stretches in one of `BEDS`; the score is the weight's size in thousandths, at most 1000."""
    opened, row = weights.opened, peaks.row
    genes, layout = opened.genes, opened.pair.layout
    each = np.arange(len(row))
    labels = _labels(weights)
    # Where there are several regions, a name has to say which one: a window of 100 kb is no bin.
    last = [f"|{name}" if layout.beyond else "" for name in layout.names]
    names = [
        f"{'_'.join(str(genes.name[i] or genes.id[i]).split())}|{'|'.join(labels[k])}{last[region]}"
        for i, k, region in zip(row.tolist(), peaks.sequence.tolist(), peaks.region.tolist(), strict=True)
    ]
    columns = (
        Names(genes.chrom[row], each),
        peaks.start,
        peaks.end,
        Names(names, each),
        np.rint(np.minimum(np.abs(_weight(weights, peaks)), 1) * 1000).astype(np.int64),
        Names(genes.strand[row], each),
        *BEDS[format_](weights, peaks),
    )
    return bulk_lines((len(row),), columns)


def bed_table(
    weights: Weights,
    batches: Iterable[AttentionBatch],
    keep: npt.NDArray[np.intp],
    choice: BinChoice,
    format_: str = "bed",
) -> Iterator[bytes]:
    """Yield sorted BED of the sequences `keep`, from genes in genome order (`GeneWindows.genome_order`)."""
    sorter = BedSorter(weights, keep, choice, format_)
    for batch in batches:
        yield from sorter.feed(batch)
    yield sorter.rest()


class BedSorter:
    """Turns batches of genes in genome order into sorted BED; parameters as of `bed_table`, `bed_lines`."""

    def __init__(
        self, weights: Weights, keep: npt.NDArray[np.intp], choice: BinChoice, format_: str = "bed"
    ) -> None:
        self._weights, self._keep, self._choice, self._format = weights, keep, choice, format_
        self._held: Peaks | None = None
        self._chrom = ""

    def feed(self, batch: AttentionBatch) -> Iterator[bytes]:
        """Take a batch, and yield what no later gene can precede."""
        opened = self._weights.opened
        places = opened.genes.chrom[batch.rows]
        for name in dict.fromkeys(places.tolist()):
            part = np.flatnonzero(places == name)
            alpha = batch.alpha[part][:, self._keep]
            some = AttentionBatch(batch.rows[part], alpha, {}, batch.log2fc_pred[part])
            peaks = peaks_of(self._weights, some, self._choice)
            peaks = replace(peaks, sequence=self._keep[peaks.sequence])
            if self._held is not None and name == self._chrom:
                peaks = Peaks.concatenate([self._held, peaks])
            elif self._held is not None:
                yield self._lines(self._held)
            self._chrom = name
            peaks = _sorted(peaks)
            # No later gene of the chromosome has a window that starts before this part's last one.
            safe = peaks.start < opened.windows.start[some.rows[-1]]
            yield self._lines(peaks.take(safe))
            self._held = peaks.take(~safe)

    def rest(self) -> bytes:
        """Return what was held back."""
        return b"" if self._held is None else self._lines(self._held)

    def _lines(self, peaks: Peaks) -> bytes:
        return bed_lines(self._weights, peaks, self._format)


def _sorted(peaks: Peaks) -> Peaks:
    return peaks.take(np.lexsort((peaks.region, peaks.sequence, peaks.row, peaks.end, peaks.start)))

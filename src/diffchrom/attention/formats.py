"""Attention as tables and BED: one pass over the genes, a batch at a time.

TSV keeps the order of the genes it is given. BED is sorted by chromosome (byte order) and start: genes come
in that order, and what a later gene could still precede is held back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.deepdiff.opened import AttentionBatch, LevelOneSequence, OpenedModel
from diffchrom.errors import InputError
from diffchrom.files.bulk import Names, bulk_lines
from diffchrom.files.tables import joined_lines
from diffchrom.genome.genes import Genes, Rows
from diffchrom.runs.tables import split_gene_columns

BIN_COLUMNS = ("gene_id", "block", "mark", "bin", "chrom", "start", "end", "alpha")
WIDE_COLUMNS = ("gene_id", "block", "mark", "chrom", "start", "end", "strand")
#: BED6 and, after it, what the name is made of, the region's share of the sequence's attention, its peak.
BED_COLUMNS = (
    "chrom", "start", "end", "name", "score", "strand",
    "gene_id", "block", "mark", "weight", "peak",
)  # fmt: skip
DEFAULT_TOP = 10


def require_coordinates(genes: Genes, rows: Rows, what: str) -> None:
    """Raise InputError where a gene of `rows` has no coordinates."""
    lacking = rows[~genes.located[rows]]
    if len(lacking):
        raise InputError(
            f"{what}: {len(lacking)} of {len(rows)} genes have no genome coordinates "
            f"({genes.id[lacking[0]]}, ...), as in the published DeepDiff format; use --format tsv, "
            "or prepare a store from a GTF"
        )


def bin_table(
    opened: OpenedModel, batches: Iterable[AttentionBatch], keep: npt.NDArray[np.intp]
) -> Iterator[bytes]:
    """Yield the long table of alpha: one row a gene, block, mark and bin (`BIN_COLUMNS`).

    Parameters
    ----------
    keep : which of `OpenedModel.sequences`, by index.
    """
    yield "\t".join(BIN_COLUMNS).encode() + b"\n"
    genes = opened.genes
    labels = _labels(opened, keep, axes=2)
    numbers = np.arange(1, opened.window.n_bins + 1)
    for batch in batches:
        gene = np.arange(len(batch.rows))[:, None, None]
        start, end = opened.windows.intervals(batch.rows, opened.pair.store.chrom_sizes)
        columns = (
            Names(genes.id[batch.rows], gene),
            *labels,
            numbers,
            Names(genes.chrom[batch.rows], gene),
            start[:, None],
            end[:, None],
            batch.alpha[:, keep],
        )
        yield bulk_lines((len(batch.rows), len(keep), opened.window.n_bins), columns)


def _labels(opened: OpenedModel, keep: npt.NDArray[np.intp], axes: int = 1) -> tuple[Names, Names]:
    """Block and mark of the sequences `keep`, along the first of so many axes."""
    chosen = keep.reshape(-1, *[1] * (axes - 1))
    blocks, marks = zip(*((sequence.block, sequence.mark) for sequence in opened.sequences), strict=True)
    return Names(blocks, chosen), Names(marks, chosen)


def wide_table(
    opened: OpenedModel, batches: Iterable[AttentionBatch], keep: npt.NDArray[np.intp]
) -> Iterator[bytes]:
    """Yield the wide table of alpha: one row a gene, block and mark, one column a bin; see `bin_table`."""
    genes, n_bins = opened.genes, opened.window.n_bins
    bins = [f"bin_{number}" for number in range(1, n_bins + 1)]
    yield "\t".join((*WIDE_COLUMNS, *bins)).encode() + b"\n"
    labels = _labels(opened, keep)
    for batch in batches:
        start, end = opened.windows.intervals(batch.rows, opened.pair.store.chrom_sizes)
        inside = end >= 0
        first = np.where(inside, start, np.iinfo(np.int64).max).min(axis=1)
        gene = np.arange(len(batch.rows))[:, None]
        columns = (
            Names(genes.id[batch.rows], gene),
            *labels,
            Names(genes.chrom[batch.rows], gene),
            np.where(inside.any(axis=1), first, -1)[:, None],
            end.max(axis=1)[:, None],
            Names(genes.strand[batch.rows], gene),
            *np.moveaxis(batch.alpha[:, keep], -1, 0),
        )
        yield bulk_lines((len(batch.rows), len(keep)), columns)


def mark_columns(
    opened: OpenedModel, batch: AttentionBatch, wanted: Collection[LevelOneSequence]
) -> dict[str, npt.NDArray[Any]]:
    """Columns of the table of beta: one row a gene, task, block and mark, with prediction and label."""
    labels = [(task, sequence) for task, sequences in opened.tasks.items() for sequence in sequences]
    shown = [index for index, (_, sequence) in enumerate(labels) if sequence in wanted]
    labels = [labels[index] for index in shown]
    beta = np.concatenate([batch.beta[task] for task in opened.tasks], axis=1)[:, shown]
    each_gene = split_gene_columns(opened.genes.take(batch.rows), opened.pair.parts[batch.rows])

    def tiled(values: list[str]) -> npt.NDArray[Any]:
        return np.tile(np.array(values, dtype=object), len(batch.rows))

    return {
        **{name: np.repeat(column, len(labels)) for name, column in each_gene.items()},
        "task": tiled([task for task, _ in labels]),
        "block": tiled([sequence.block for _, sequence in labels]),
        "mark": tiled([sequence.mark for _, sequence in labels]),
        "beta": beta.ravel(),
        "log2fc_pred": np.repeat(batch.log2fc_pred, len(labels)),
        "log2fc": np.repeat(opened.pair.labels.log2fc[batch.rows], len(labels)),
    }


def mark_table(
    opened: OpenedModel, batches: Iterable[AttentionBatch], keep: npt.NDArray[np.intp]
) -> Iterator[bytes]:
    """Yield the table of beta; see `bin_table`."""
    wanted = {opened.sequences[index] for index in keep.tolist()}
    for piece in joined_lines(mark_columns(opened, batch, wanted) for batch in batches):
        yield piece.encode()


@dataclass(frozen=True)
class BinChoice:
    """Bins of a gene's sequence that become BED regions: the `top` highest, or those from `min_weight`."""

    top: int | None = DEFAULT_TOP
    min_weight: float | None = None

    def mask(self, alpha: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """True for the chosen bins of alpha [..., n_bins] in the store's order; ties go to the first.

        Both conditions hold where both are given.
        """
        chosen = np.ones(alpha.shape, dtype=bool)
        if self.top is not None and self.top < alpha.shape[-1]:
            best = np.argsort(-alpha, axis=-1, kind="stable")[..., : self.top]
            chosen[:] = False
            np.put_along_axis(chosen, best, True, axis=-1)
        if self.min_weight is not None:
            chosen &= alpha >= self.min_weight
        return chosen


@dataclass(frozen=True)
class Regions:
    """Regions of high attention of one batch, one array a column; `sequence` is an index."""

    row: Rows
    sequence: npt.NDArray[np.intp]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    peak: npt.NDArray[np.float64]

    def take(self, index: npt.NDArray[Any]) -> Regions:
        """Return the regions at `index`."""
        return Regions(**{name: values[index] for name, values in vars(self).items()})

    @classmethod
    def concatenate(cls, parts: list[Regions]) -> Regions:
        """Join regions in the order given."""
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
        )


def regions_of(opened: OpenedModel, batch: AttentionBatch, choice: BinChoice) -> Regions:
    """Chosen bins of a batch, adjacent ones merged, clipped to the chromosome.

    A region's weight is the sum of its bins' alpha, its peak the largest of them.
    """
    windows, rows = opened.windows, batch.rows
    bins = windows.intervals(rows, opened.pair.store.chrom_sizes)
    start, end = (windows.ascending(one, rows) for one in bins)
    alpha = windows.ascending(batch.alpha, rows)
    chosen = windows.ascending(choice.mask(batch.alpha), rows) & (end >= 0)[:, None, :]

    padded = np.zeros((*chosen.shape[:2], windows.n_windows + 2), dtype=np.int8)
    padded[..., 1:-1] = chosen
    steps = np.diff(padded, axis=-1)
    gene, sequence, begin = np.nonzero(steps == 1)
    stop = np.nonzero(steps == -1)[2]
    total = np.zeros((*alpha.shape[:2], windows.n_windows + 1))
    np.cumsum(alpha, axis=-1, dtype=np.float64, out=total[..., 1:])
    offset = (gene * alpha.shape[1] + sequence) * windows.n_windows
    edges = np.stack([offset + begin, offset + stop], axis=1).ravel()
    flat = np.append(alpha.ravel(), 0)  # reduceat must not be asked for a range that starts at the end
    peak = np.maximum.reduceat(flat, edges)[::2] if len(edges) else np.empty(0)
    return Regions(
        row=rows[gene],
        sequence=sequence,
        start=start[gene, begin],
        end=end[gene, stop - 1],
        weight=total[gene, sequence, stop] - total[gene, sequence, begin],
        peak=np.asarray(peak, dtype=np.float64),
    )


def bed_lines(opened: OpenedModel, regions: Regions) -> bytes:
    """Text of regions in `BED_COLUMNS`; the score is the weight in thousandths."""
    genes, row, order = opened.genes, regions.row, regions.sequence
    blocks, marks = _labels(opened, order)
    names = [
        f"{'_'.join(str(genes.name[i] or genes.id[i]).split())}|{blocks.values[k]}|{marks.values[k]}"
        for i, k in zip(row.tolist(), order.tolist(), strict=True)
    ]
    weight, each = np.clip(regions.weight, 0, 1), np.arange(len(row))
    columns = (
        Names(genes.chrom[row], each),
        regions.start,
        regions.end,
        Names(names, each),
        np.rint(weight * 1000).astype(np.int64),
        Names(genes.strand[row], each),
        Names(genes.id[row], each),
        blocks,
        marks,
        weight,
        regions.peak,
    )
    return bulk_lines((len(row),), columns)


def bed_table(
    opened: OpenedModel, batches: Iterable[AttentionBatch], keep: npt.NDArray[np.intp], choice: BinChoice
) -> Iterator[bytes]:
    """Yield sorted BED of the sequences `keep`, from genes in genome order (`Windows.genome_order`)."""
    held: Regions | None = None
    chrom = None
    for batch in batches:
        places = opened.genes.chrom[batch.rows]
        for name in dict.fromkeys(places.tolist()):
            part = np.flatnonzero(places == name)
            some = AttentionBatch(batch.rows[part], batch.alpha[part][:, keep], {}, batch.log2fc_pred[part])
            found = regions_of(opened, some, choice)
            found = replace(found, sequence=keep[found.sequence])
            if held is not None and name == chrom:
                found = Regions.concatenate([held, found])
            elif held is not None:
                yield bed_lines(opened, held)
            chrom = name
            found = _sorted(found)
            # No later gene of the chromosome has a window that starts before this part's last one.
            safe = found.start < opened.windows.start[some.rows[-1]]
            yield bed_lines(opened, found.take(safe))
            held = found.take(~safe)
    if held is not None:
        yield bed_lines(opened, held)


def _sorted(regions: Regions) -> Regions:
    return regions.take(np.lexsort((regions.sequence, regions.row, regions.end, regions.start)))

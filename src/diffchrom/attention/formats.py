"""Attention as tables: one pass over the genes, a batch at a time, in the order in which they are given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.attention.weights import Weights
from diffchrom.deepdiff.opened import AttentionBatch, LevelOneSequence
from diffchrom.errors import InputError
from diffchrom.files.bulk import Names, bulk_lines
from diffchrom.files.tables import joined_lines
from diffchrom.genome.genes import Genes, Rows
from diffchrom.runs.tables import split_gene_columns

#: Before the number itself; ``region`` stands behind it, where more is read than the bins around the TSS.
BIN_COLUMNS = ("gene_id", "block", "mark", "bin", "chrom", "start", "end")
WIDE_COLUMNS = ("gene_id", "block", "mark", "chrom", "start", "end", "strand")


def require_coordinates(genes: Genes, rows: Rows, what: str) -> None:
    """Raise InputError where a gene of `rows` has no coordinates."""
    lacking = rows[~genes.located[rows]]
    if len(lacking):
        raise InputError(
            f"{what}: {len(lacking)} of {len(rows)} genes have no genome coordinates "
            f"({genes.id[lacking[0]]}, ...), as in the published DeepDiff format; use `format=tsv`, "
            "or prepare a store from a GTF"
        )


def bin_table(
    weights: Weights, batches: Iterable[AttentionBatch], keep: npt.NDArray[np.intp]
) -> Iterator[bytes]:
    """Yield the long table of alpha: one row a gene, block, mark and window.

    Parameters
    ----------
    keep : which of `Weights.sequences`, by index.
    """
    opened = weights.opened
    genes, layout = opened.genes, opened.pair.layout
    region = (Names(layout.region, np.arange(layout.n_windows)),) if layout.beyond else ()
    header = (*BIN_COLUMNS, weights.kind.of_windows, *["region"] * len(region))
    yield "\t".join(header).encode() + b"\n"
    labels = _labels(weights, keep, axes=2)
    for batch in batches:
        gene = np.arange(len(batch.rows))[:, None, None]
        start, end = opened.windows.intervals(batch.rows, opened.pair.store.chrom_sizes)
        columns = (
            Names(genes.id[batch.rows], gene),
            *labels,
            layout.number,
            Names(genes.chrom[batch.rows], gene),
            start[:, None],
            end[:, None],
            batch.alpha[:, keep],
            *region,
        )
        yield bulk_lines((len(batch.rows), len(keep), layout.n_windows), columns)


def _labels(weights: Weights, keep: npt.NDArray[np.intp], axes: int = 1) -> tuple[Names, Names]:
    """Block and mark of the sequences `keep`, along the first of so many axes."""
    chosen = keep.reshape(-1, *[1] * (axes - 1))
    blocks, marks = zip(*((sequence.block, sequence.mark) for sequence in weights.sequences), strict=True)
    return Names(blocks, chosen), Names(marks, chosen)


def wide_table(
    weights: Weights, batches: Iterable[AttentionBatch], keep: npt.NDArray[np.intp]
) -> Iterator[bytes]:
    """Yield the wide table of alpha: one row a gene, block and mark, one column a window; see `bin_table`.

    Start and end are those of the bins around the TSS, whatever else is read.
    """
    opened = weights.opened
    genes, (bins, *_) = opened.genes, opened.windows.parts
    yield "\t".join((*WIDE_COLUMNS, *opened.pair.layout.labels)).encode() + b"\n"
    labels = _labels(weights, keep)
    for batch in batches:
        start, end = bins.intervals(batch.rows, opened.pair.store.chrom_sizes)
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
    weights: Weights, batch: AttentionBatch, wanted: Collection[LevelOneSequence]
) -> dict[str, npt.NDArray[Any]]:
    """Columns of the table of beta: one row a gene, task, block and mark, with prediction and label."""
    opened = weights.opened
    labels = [(task, sequence) for task, sequences in weights.tasks.items() for sequence in sequences]
    shown = [index for index, (_, sequence) in enumerate(labels) if sequence in wanted]
    labels = [labels[index] for index in shown]
    beta = np.concatenate([batch.beta[task] for task in weights.tasks], axis=1)[:, shown]
    each_gene = split_gene_columns(opened.genes.take(batch.rows), opened.pair.parts[batch.rows])

    def tiled(values: list[str]) -> npt.NDArray[Any]:
        return np.tile(np.array(values, dtype=object), len(batch.rows))

    return {
        **{name: np.repeat(column, len(labels)) for name, column in each_gene.items()},
        "task": tiled([task for task, _ in labels]),
        "block": tiled([sequence.block for _, sequence in labels]),
        "mark": tiled([sequence.mark for _, sequence in labels]),
        weights.kind.of_marks: beta.ravel(),
        "log2fc_pred": np.repeat(batch.log2fc_pred, len(labels)),
        "log2fc": np.repeat(opened.pair.labels.log2fc[batch.rows], len(labels)),
    }


def mark_table(
    weights: Weights, batches: Iterable[AttentionBatch], keep: npt.NDArray[np.intp]
) -> Iterator[bytes]:
    """Yield the table of beta; see `bin_table`."""
    wanted = {weights.sequences[index] for index in keep.tolist()}
    for piece in joined_lines(mark_columns(weights, batch, wanted) for batch in batches):
        yield piece.encode()

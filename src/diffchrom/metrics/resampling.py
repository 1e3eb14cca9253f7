"""Genes drawn with replacement, block by block, for bootstraps of any metric.

Neighbouring genes share domains of chromatin and of co-regulation, so their residuals correlate; drawing them
one by one takes them for independent and makes intervals too narrow. Whole blocks of neighbours are drawn
instead (Künsch, Annals of Statistics 17, 1989): a resample is how often each block was drawn, and a gene's
weight is that of its block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: With fewer blocks than this, genes are drawn one by one: of so few, blocks make intervals that are wrong by
#: more than what neighbours' correlation does to those of genes (simulated; docs/methods.md).
MIN_BLOCKS = 5
#: Resamples x genes held at a time: 1 MB of weights, which stays in the cache.
_CHUNK = 128_000


@dataclass(frozen=True)
class Resamples:
    """How often each block of genes was drawn.

    Attributes
    ----------
    counts : uint8 [n_resamples, n_blocks]
        No block is drawn 256 times: of fewer blocks, fewer are drawn; of more, that has no measurable chance.
    block : intp [n_genes]
        Block of each gene.
    """

    counts: npt.NDArray[np.uint8]
    block: Index

    @classmethod
    def draw(cls, block: Index, n_blocks: int, resamples: int, seed: int) -> Resamples:
        """Draw `n_blocks` blocks with replacement, `resamples` times; the same for the same seed."""
        rng = np.random.default_rng(seed)
        counts = np.empty((resamples, n_blocks), dtype=np.uint8)
        rows = max(1, _CHUNK // max(n_blocks, 1))
        for first in range(0, resamples, rows):
            part = counts[first : first + rows]
            drawn = rng.integers(0, n_blocks, size=part.shape) + np.arange(len(part))[:, None] * n_blocks
            part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
        return cls(counts, block)

    @classmethod
    def once(cls, n_genes: int) -> Resamples:
        """Every gene once: a metric of this one resample is its plain value."""
        return cls(np.ones((1, 1), dtype=np.uint8), np.zeros(n_genes, dtype=np.intp))

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, genes: npt.NDArray[np.bool_]) -> Resamples:
        """The same draws of the genes where `genes` is true."""
        return replace(self, block=self.block[genes])

    def sums(self, columns: Array) -> Array:
        """Weighted sums over genes of `columns` [n_genes, k], as [n_resamples, k]: those of whole blocks."""
        n_blocks = self.counts.shape[1]
        by_block = np.stack([np.bincount(self.block, column, n_blocks) for column in columns.T], axis=1)
        rows = max(1, _CHUNK // max(n_blocks, 1))
        parts = [self.counts[first : first + rows] @ by_block for first in range(0, len(self), rows)]
        return np.concatenate(parts) if parts else np.empty((0, columns.shape[1]))

    def weights(self) -> Iterator[Array]:
        """Yield genes' weights [<= n_resamples, n_genes], as many resamples at a time as fit the cache."""
        rows = max(1, _CHUNK // max(len(self.block), 1))
        for first in range(0, len(self), rows):
            yield np.take(self.counts[first : first + rows], self.block, axis=1).astype(np.float64)


def block_numbers(blocks: npt.ArrayLike | None, n_genes: int) -> tuple[Index, int]:
    """Number the blocks of genes from 0.

    Parameters
    ----------
    blocks : any labels [n_genes], as from `genome.blocks.genome_blocks`; None is a block a gene.
    n_genes : number of genes.

    Returns
    -------
    block : intp [n_genes]
    n_blocks : number of blocks; of fewer than `MIN_BLOCKS`, every gene is its own.

    Raises
    ------
    ValueError
        When there is not one label a gene.
    """
    if blocks is not None:
        labels = np.asarray(blocks)
        if labels.shape != (n_genes,):
            raise ValueError(f"one block a gene is needed; got shape {labels.shape} for {n_genes} genes")
        names, block = np.unique(labels.astype(str), return_inverse=True)
        if len(names) >= MIN_BLOCKS:
            return block.astype(np.intp), len(names)
    return np.arange(n_genes, dtype=np.intp), n_genes

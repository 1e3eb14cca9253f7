"""Stretches of the genome whose genes are not independent of one another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import UNKNOWN_CHROM, StringArray

#: Bases a block: longer than topological domains, in which neighbours are regulated together, and short
#: enough for about 600 of them in the human genome.
BLOCK_SIZE = 5_000_000


def genome_blocks(gene_id: Iterable[Any], chrom: Iterable[Any], tss: npt.ArrayLike) -> StringArray:
    """Block of each gene, for bootstraps by blocks of neighbours: its chromosome and floor(TSS / 5 Mb).

    Returns
    -------
    object array [n_genes]
        The same label in every table of the same genome. A gene without coordinates (chromosome ``NA``) is a
        block of its own.
    """
    numbers = (np.asarray(tss, dtype=np.int64) // BLOCK_SIZE).tolist()
    labels = [
        f"gene {gene}" if name == UNKNOWN_CHROM else f"{name}:{number}"
        for gene, name, number in zip(gene_id, chrom, numbers, strict=True)
    ]
    return np.array(labels, dtype=object)

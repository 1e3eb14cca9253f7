"""Whether attention is practically even, so that nothing can be read from its order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.attention.check import SAMPLE, concentration, sample_genes
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.genome.genes import Rows

#: Attention is even where its perplexity, the number of places it amounts to, is this share of all places:
#: the weights then differ from their mean by less than a third (perplexity is about n exp(-cv^2 / 2)).
EVEN_SHARE = 0.95


def perplexity_share(weights: npt.NDArray[Any]) -> float:
    """Mean share of the places along the last axis that attention amounts to; 1 where it is uniform."""
    return float(weights.shape[-1] ** -np.nanmean(concentration(weights)))


def even_attention(opened: OpenedModel, rows: Rows, seed: int = 0) -> str:
    """Say which attention of some of the genes `rows` is practically even; empty where none is."""
    if not len(rows):
        return ""
    batch = opened.attention_of(sample_genes(rows, SAMPLE, seed))
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for block in dict.fromkeys(sequence.block for sequence in opened.sequences):
        of_block = [index for index, sequence in enumerate(opened.sequences) if sequence.block == block]
        weights[f"over bins of {block}"] = batch.alpha[:, of_block]
    weights |= {f"over marks of task {task}": batch.beta[task] for task in opened.tasks}
    shares = {name: perplexity_share(values) for name, values in weights.items() if values.shape[-1] > 1}
    even = [f"{name} ({share:.0%} of uniform)" for name, share in shares.items() if share >= EVEN_SHARE]
    return f"attention is practically even {', '.join(even)}: its order says little" if even else ""

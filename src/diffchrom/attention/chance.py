"""Whether attention finds what a prediction hangs on any better than chance, seen from a few genes."""

from __future__ import annotations

import numpy as np

from diffchrom.attention.check import sample_genes
from diffchrom.attention.deletion import DELETION, RANDOM, Curves, Map, attention_map, curves_of
from diffchrom.attention.verdicts import REFERENCE, SIGNIFICANT
from diffchrom.deepdiff.attribution import attribute, of_bins
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.genome.blocks import genome_blocks
from diffchrom.genome.genes import Rows
from diffchrom.metrics import mean_interval
from diffchrom.pairs.choices import SPLIT_PARTS
from diffchrom.progress import SILENT

#: Validation genes that are looked at; a check of as many as `check.SAMPLE` takes minutes.
FEW = 40


def no_better_than_chance(opened: OpenedModel, seed: int = 0) -> str:
    """Say that attention is no better than random order, and what is; empty where it is better.

    Attention that is what contributes (`model.shares`) is not asked, nor a split without validation genes.
    """
    rows = np.flatnonzero(opened.pair.parts == SPLIT_PARTS["valid"])
    if not opened.sequences or len(rows) < 2:
        return ""
    rows = sample_genes(rows, FEW, seed)
    batch = opened.attention_of(rows)
    if batch.contribution is not None or _beats_random(opened, rows, attention_map(opened, batch), seed):
        return ""
    by_gradients = of_bins(attribute(opened, rows, REFERENCE))
    instead = "`by=integrated-gradients` is better"
    if not _beats_random(opened, rows, by_gradients, seed):
        instead = "`by=integrated-gradients` is none either"
    return (
        f"attention of {opened.model.variant.name} is no better than random at finding what moves the "
        f"prediction of {len(rows)} validation genes; {instead} (`check` says more)"
    )


def _beats_random(opened: OpenedModel, rows: Rows, importance: Map, seed: int) -> bool:
    genes = opened.genes.take(rows)
    with SILENT.task("deletion") as task:
        curves: Curves = curves_of(
            opened, rows, *opened.pair.signal(rows), {"own": [importance]}, seed, task
        )[DELETION]
    blocks = genome_blocks(genes.id, genes.chrom, genes.tss)
    difference = mean_interval(curves.area["own"] - curves.area[RANDOM], blocks)
    return difference.value > 0 and difference.p_value < SIGNIFICANT

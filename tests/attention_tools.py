"""What the attention tests share: runs with random weights, and stores whose coordinates are known."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from diffchrom.config import hyperparameters
from diffchrom.deepdiff.building import build_model
from diffchrom.deepdiff.model import MAIN, Output, PairModel
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.genome.genes import Genes, Window
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.transform import Transform
from diffchrom.store.store import Store, create
from diffchrom.variants import VARIANTS


def random_source(
    store: Store, variant: str = "raw+aux", seed: int = 0, regions: Sequence[str] | None = ()
) -> OpenedModel:
    """A model with random weights, large enough for its attention to be far from uniform."""
    cells = store.cells()
    pair = Pair.of(store, cells[:2], regions=regions, labelled=False)
    torch.manual_seed(seed)
    settings = hyperparameters("default", hidden=4)
    model = build_model(VARIANTS[variant], len(pair.marks), settings, pair.layout).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1.5, 1.5)
    n = len(pair.marks)
    transform = Transform("log1p", (0.0,) * n, (1.0,) * n)
    return OpenedModel(model, pair, transform, settings)


class Adding(PairModel):
    """Adds up B - A of marks and windows, each by a weight of its own, and a shift of its own pair."""

    SHIFT = 0.25

    def __init__(self, n_marks: int, n_windows: int, seed: int = 0) -> None:
        super().__init__()
        self.variant, self.n_marks = VARIANTS["raw:d"], n_marks
        random = torch.Generator().manual_seed(seed)
        self.weight = torch.nn.Parameter(torch.rand(n_marks, n_windows, generator=random) - 0.5)

    def sequences(self) -> dict[str, tuple[str, ...]]:
        return {MAIN: ("A-B",)}

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Output:
        parts = (b - a) * self.weight
        alpha = parts.abs().softmax(dim=2)
        log2fc = parts.sum(dim=(1, 2)) + self.SHIFT
        beta = {MAIN: parts.sum(dim=2).softmax(dim=1)}
        return Output(log2fc, {}, {}, {MAIN: alpha}, beta, contribution=parts)


def adding_source(store: Store, regions: Sequence[str] | None = None, seed: int = 0) -> OpenedModel:
    """A model whose contributions are known: `Adding` of the signal as it stands in the store."""
    source = random_source(store, "raw:d", regions=regions)
    n = len(source.marks)
    model = Adding(n, source.pair.n_windows, seed).eval()
    return replace(source, model=model, transform=Transform("raw", (0.0,) * n, (1.0,) * n))


def genes_at(places: Iterable[tuple[str, int, str]]) -> Genes:
    """Genes of 500 bases from (chrom, tss, strand)."""
    table = [
        (chrom, strand, tss if strand == "+" else tss - 499, tss + 500 if strand == "+" else tss + 1, tss)
        for chrom, tss, strand in places
    ]
    chrom, strand, start, end, tss = (list(column) for column in zip(*table, strict=True))
    ids = [f"G{i}" for i in range(len(table))]
    tes = [last - 1 if sign == "+" else first for sign, first, last in zip(strand, start, end, strict=True)]
    texts = (np.array(column, dtype=object) for column in (ids, ids, chrom, strand))
    return Genes(*texts, *(np.array(column, dtype=np.int64) for column in (start, end, tss, tes)))


def store_of(
    path: Path,
    genes: Genes,
    window: Window,
    sizes: dict[str, int],
    marks: tuple[str, ...] = ("H3K4me3", "H3K27me3"),
    seed: int = 0,
    signal: np.ndarray | None = None,
) -> Store:
    """A store of two cells, A and B, with random signal (or `signal` [2, n_marks, n_genes, n_bins])."""
    random = np.random.default_rng(seed)
    if signal is None:
        signal = random.gamma(1.0, 2.0, (2, len(marks), len(genes), window.n_bins))
    store = create(path, genes, window, chrom_sizes=sizes)
    with store.edit() as editor:
        for i, cell in enumerate("AB"):
            for j, mark in enumerate(marks):
                editor.add_signal(cell, mark, signal[i, j].astype(np.float32))
            editor.add_expression(cell, "counts", random.integers(0, 2000, len(genes)).astype(float))
        editor.add_split("chromosome", (np.arange(len(genes)) % 3).astype(np.int8))
    return store


def table_of(pieces: Iterable[bytes]) -> pd.DataFrame:
    """Read a TSV from the pieces of it."""
    return pd.read_csv(io.BytesIO(b"".join(pieces)), sep="\t", na_values=["NA"], keep_default_na=False)

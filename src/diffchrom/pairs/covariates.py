"""Covariates: numbers of a gene that are no signal, the same whichever of the two cells is A.

A recipe names those that it reads (`making.Recipe.covariates`), the run keeps their names, and whoever reads
them scales them on the training genes. The *gene prior*, asked for by ``gene_prior``, is what a gene does
in cells other than A and B: mean and standard deviation of its log2(expression + 1) over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from diffchrom.errors import StoreError
from diffchrom.genome.genes import Genes
from diffchrom.metrics import pearson
from diffchrom.store.elsewhere import cells_elsewhere, expression_elsewhere, units_elsewhere
from diffchrom.store.store import Store

#: Bases on either side of a TSS in which the TSS of other genes are counted.
NEIGHBOURHOOD = 1_000_000
#: Fewest genes that tell how dense genes are: those of a few regions tell the region, learnt by heart.
GENES_OF_A_GENOME = 5000
#: Fewest cells beyond the pair that make a gene prior.
MIN_PRIOR_CELLS = 2
#: Pearson's r of log2 expression above which two cells are one, and the fewest genes that can tell.
SAME, _LEAST_EXPRESSED = 0.999, 10
#: First part of the name of a covariate that says which cell B is (1) and which A is (-1).
CELL = "cell"
PRIOR_MEAN, PRIOR_SD = "prior_mean", "prior_sd"

Levels = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]


def log_length(genes: Genes) -> Levels:
    """Logarithm of the bases from the first to the last that is transcribed; NaN without coordinates."""
    return np.where(genes.located, np.log(np.abs(genes.tes - genes.tss) + 1.0), np.nan)


def log_gene_density(genes: Genes) -> Levels:
    """Logarithm of the genes with a TSS within `NEIGHBOURHOOD`, itself included; NaN without coordinates."""

    def within(tss: Positions) -> Levels:
        ordered = np.sort(tss)
        first = np.searchsorted(ordered, tss - NEIGHBOURHOOD, "left")
        count = np.searchsorted(ordered, tss + NEIGHBOURHOOD, "right") - first
        return np.log(count.astype(np.float64))

    return _by_chromosome(genes, within)


def log_end_distance(genes: Genes) -> Levels:
    """Logarithm of the bases to the nearer of a chromosome's first base and its last gene's TSS.

    NaN without coordinates.
    """
    return _by_chromosome(genes, lambda tss: np.log(np.minimum(tss, tss.max() - tss) + 1.0))


def _by_chromosome(genes: Genes, of: Callable[[Positions], Levels]) -> Levels:
    """A number of every gene, by the TSS of all genes of its chromosome; NaN without coordinates.

    NaN of all where they are fewer than `GENES_OF_A_GENOME`.
    """
    values = np.full(len(genes), np.nan)
    if np.count_nonzero(genes.located) < GENES_OF_A_GENOME:
        return values
    for chromosome in np.unique(genes.chrom[genes.located]):
        rows = np.flatnonzero(genes.chrom == chromosome)
        values[rows] = of(genes.tss[rows])
    return values


def _of_known(statistic: Callable[..., Levels], levels: Levels) -> Levels:
    """A statistic over cells [n_cells, n_genes] of what is known; NaN for a gene that no cell knows."""
    values = np.full(levels.shape[1], np.nan)
    known = np.isfinite(levels).any(axis=0)
    values[known] = statistic(levels[:, known], axis=0)
    return values


#: Covariates that follow from the genes alone, by name. Where genes are dense, as towards most chromosomes'
#: ends, DNA is rich in G and C: what that does to libraries differs between cells (Bernardi, Gene 2000).
OF_GENES: dict[str, Callable[[Genes], Levels]] = {
    "log_length": log_length,
    "log_gene_density": log_gene_density,
    "log_end_distance": log_end_distance,
}
#: Those of the gene prior, by the first part of their name (the second is the unit), of other cells' levels.
OF_OTHER_CELLS: dict[str, Callable[[Levels], Levels]] = {
    PRIOR_MEAN: lambda levels: _of_known(np.nanmean, levels),
    PRIOR_SD: lambda levels: _of_known(np.nanstd, levels),
}


def prior_names(store: Store, pair: Sequence[str], unit: str | None) -> tuple[str, ...]:
    """Names of the gene prior's covariates for a pair of cells, as ``prior_mean:UNIT``.

    Parameters
    ----------
    unit : of the pair's expression; None is the preferred one of cells without tracks.

    Raises
    ------
    StoreError
        When too few other cells have expression.
    """
    unit = unit or next(iter(units_elsewhere(store)), "")
    _require_cells(store, pair, unit)
    return tuple(f"{name}:{unit}" for name in OF_OTHER_CELLS)


def cell_names(cells: Sequence[str]) -> tuple[str, ...]:
    """Names of the covariates that code for cells, as ``cell:E116``."""
    return tuple(f"{CELL}:{cell}" for cell in cells)


def counts(names: Sequence[str]) -> tuple[int, int]:
    """How many covariates say something of the genes, and how many, behind those, code for cells."""
    cells = sum(name.startswith(f"{CELL}:") for name in names)
    return len(names) - cells, cells


def has_prior(names: Sequence[str]) -> bool:
    """Whether the gene prior is among covariates."""
    return any(name.partition(":")[0] in OF_OTHER_CELLS for name in names)


def prior_cells(store: Store, pair: Sequence[str], unit: str) -> tuple[str, ...]:
    """Cells whose expression the gene prior of a pair is made of: all that know `unit`, but A and B."""
    with_tracks = [cell for cell in store.cells() if unit in store.expression_units(cell)]
    cells = dict.fromkeys((*with_tracks, *cells_elsewhere(store, unit)))
    return tuple(cell for cell in cells if cell not in pair)


def same_expression(store: Store, pair: Sequence[str], unit: str) -> dict[str, str]:
    """Cells that have the expression of one of `pair` under another name, and of which one.

    Equal values, or r above `SAME` of log2(expression + 1) over genes that both express; replicates of a cell
    are below it.
    """
    own = [cell for cell in pair if cell in store.cells() and unit in store.expression_units(cell)]
    others = prior_cells(store, pair, unit)
    if not own or not others:
        return {}
    mine, theirs = _levels(store, own, unit), _levels(store, others, unit)
    return {
        other: cell
        for other, level in zip(others, theirs, strict=True)
        for cell, of_pair in zip(own, mine, strict=True)
        if _same(level, of_pair)
    }


def _same(first: Levels, second: Levels) -> bool:
    both = (first > 0) & (second > 0)
    if both.sum() < _LEAST_EXPRESSED:
        return bool((first > 0).any()) and np.array_equal(first, second, equal_nan=True)
    return pearson(first[both], second[both]) > SAME


def describe_same(doubles: Mapping[str, str]) -> str:
    """Say which cells are left out of what is read of other cells; empty where none is."""
    if not doubles:
        return ""
    named = ", ".join(f"{other} (of {cell})" for other, cell in doubles.items())
    return f"cells with the expression of one of the pair's are no other cells and are left out: {named}"


def _require_cells(store: Store, pair: Sequence[str], unit: str) -> tuple[str, ...]:
    cells = prior_cells(store, pair, unit) if unit else ()
    if len(cells) < MIN_PRIOR_CELLS:
        raise StoreError(
            f"{store.path}: a gene prior needs expression of {MIN_PRIOR_CELLS} or more cells other than "
            f"{', '.join(pair)}{f' in {unit}' if unit else ''}, it has {len(cells)}; add a table of many "
            "cells with `prepare_store(expression=...)`"
        )
    return cells


def covariates_of(
    genes: Genes,
    names: Sequence[str],
    store: Store | None = None,
    pair: Sequence[str] = (),
    unknown: Sequence[str] = (),
) -> npt.NDArray[np.float32]:
    """Covariates [n_genes, len(names)] as they are, not scaled; NaN where unknown.

    Parameters
    ----------
    store, pair : where a gene prior is made, and the cells that are no part of it: A, B, those held out.
    unknown : cells that are not those which a model was trained on, whatever their name.

    Raises
    ------
    StoreError
        When a gene prior is among them and too few other cells have expression in its unit.
    """
    values = np.empty((len(genes), len(names)), dtype=np.float32)
    elsewhere: dict[str, Levels] = {}
    for column, name in enumerate(names):
        kind, _, unit = name.partition(":")
        if kind in OF_GENES:
            values[:, column] = OF_GENES[kind](genes)
        elif kind == CELL:
            values[:, column] = 0.0 if unit in unknown else float(unit == pair[1]) - float(unit == pair[0])
        else:
            assert store is not None
            if unit not in elsewhere:
                elsewhere[unit] = _levels(store, _require_cells(store, pair, unit), unit)
            values[:, column] = OF_OTHER_CELLS[kind](elsewhere[unit])
    return values


def _levels(store: Store, cells: Sequence[str], unit: str) -> Levels:
    """log2(expression + 1) of cells [n_cells, n_genes]."""
    without_tracks = cells_elsewhere(store, unit)
    return np.stack(
        [
            np.log2(
                (
                    expression_elsewhere(store, unit, cell)
                    if cell in without_tracks
                    else store.expression(cell, unit)
                )
                + 1
            )
            for cell in cells
        ]
    )

"""Covariates: numbers of a gene that are no signal, the same whichever of the two cells is A.

A recipe names those that it reads (`making.Recipe.covariates`), the run keeps their names, and whoever reads
them scales them on the training genes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import Genes


def log_length(genes: Genes) -> npt.NDArray[np.float64]:
    """Logarithm of the bases from the first to the last that is transcribed; NaN without coordinates."""
    return np.where(genes.located, np.log(np.abs(genes.tes - genes.tss) + 1.0), np.nan)


#: Covariates that follow from the genes alone, by name.
OF_GENES: dict[str, Callable[[Genes], npt.NDArray[np.float64]]] = {"log_length": log_length}


def covariates_of(genes: Genes, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Covariates [n_genes, len(names)] as they are, not scaled; NaN where unknown."""
    values = np.empty((len(genes), len(names)), dtype=np.float32)
    for column, name in enumerate(names):
        values[:, column] = OF_GENES[name](genes)
    return values

"""Predictions of many runs as one AnnData, gene x run, for scanpy and whatever else reads ``.h5ad``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffchrom.errors import UsageError
from diffchrom.files.whole import staged
from diffchrom.pairs.choices import SPLIT_PARTS
from diffchrom.runs.folder import PREDICTIONS, Run
from diffchrom.runs.reading import WrittenTable

if TYPE_CHECKING:
    from anndata import AnnData

#: Columns of ``predictions.tsv`` that become ``obs``, ``X`` and layers.
GENES = ("gene_name", "chrom", "start", "end", "strand")
MATRIX = "log2fc_pred"
LAYERS = ("log2fc", "log2fc_spread", "lo90", "hi90", "expr_a_pred", "expr_b_pred")
PART = "part"


def to_anndata(runs: Sequence[Run]) -> AnnData:
    """Put the predictions of runs side by side.

    Returns
    -------
    AnnData [n_genes, n_runs]
        ``X`` is log2fc_pred; layers are log2fc, its spread and interval, the predicted expressions, and
        ``part`` (0 train, 1 valid, 2 test, -1 none). NaN where a run has no value. ``obs`` are genes, by id;
        ``var`` runs, by folder, with pair, method, preset, seed, split and unit.

    Raises
    ------
    UsageError
        Without the package anndata.
    RunError
        A run without readable predictions.
    """
    try:
        from anndata import AnnData
    except ImportError as error:
        raise UsageError("AnnData needs a package more: pip install 'diffchrom[anndata]'") from error
    import pandas as pd

    tables = [
        WrittenTable.read(
            run.path / PREDICTIONS, "table of predictions", ("gene_id", MATRIX), "make it again"
        )
        for run in runs
    ]
    rows: dict[str, int] = {}
    genes: list[list[str]] = []
    for table in tables:
        columns = [table.column(name) if name in table.header else None for name in GENES]
        for number, gene in enumerate(table.column("gene_id")):
            if rows.setdefault(gene, len(genes)) == len(genes):
                genes.append(["NA" if column is None else column[number] for column in columns])
    layers = {name: np.full((len(rows), len(runs)), np.nan) for name in (MATRIX, *LAYERS)}
    parts = np.full((len(rows), len(runs)), -1, dtype=np.int8)
    for j, table in enumerate(tables):
        at = [rows[gene] for gene in table.column("gene_id")]
        for name, layer in layers.items():
            if name in table.header:
                layer[at, j] = table.numbers(name)
        if "split" in table.header:
            parts[at, j] = [SPLIT_PARTS.get(part, -1) for part in table.column("split")]
    matrix = layers.pop(MATRIX)
    told = {name: layer for name, layer in layers.items() if np.isfinite(layer).any()}
    return AnnData(
        matrix,
        obs=pd.DataFrame(genes, index=list(rows), columns=list(GENES)),
        var=pd.DataFrame([_about(run) for run in runs], index=[str(run.path) for run in runs]),
        layers={**told, PART: parts},
    )


def _about(run: Run) -> dict[str, Any]:
    config = run.config
    return {
        "pair": ",".join(config.pair),
        "kind": config.kind,
        "method": config.variant,
        "preset": config.preset,
        "seed": config.seed,
        "split": config.split,
        "unit": config.unit or "",
    }


def write_anndata(path: Path, runs: Sequence[Run]) -> None:
    """Write `to_anndata` of runs as ``.h5ad``, whole or not at all.

    Raises
    ------
    UsageError
        When the name does not end in ``.h5ad``.
    """
    if path.suffix != ".h5ad":
        raise UsageError(f"`anndata={path}`: is a file of AnnData; name it FILE.h5ad")
    table = to_anndata(runs)
    with staged(path) as temporary:
        table.write_h5ad(temporary)

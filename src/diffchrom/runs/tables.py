"""The tables of a run: columns of genes, predictions and histories, metrics of a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.files.tables import NA
from diffchrom.genome.blocks import BLOCK_SIZE, genome_blocks
from diffchrom.genome.genes import Genes
from diffchrom.metrics import MIN_BLOCKS, block_numbers, bootstrap, evaluate, expressed_in_both
from diffchrom.pairs.choices import PART_NAMES, SPLIT_PARTS
from diffchrom.pairs.label_noise import noise_ceiling
from diffchrom.pairs.pair import PairData

#: Its columns, a row an epoch; members of an ensemble count from 1.
HISTORY_COLUMNS = ("epoch", "train_loss", "valid_pearson", "valid_mse", "member")


#: What to know of intervals for which genes were drawn one by one (`resampled`).
DRAWN_ALONE = (
    f"test genes without coordinates, or in fewer than {MIN_BLOCKS} blocks of {BLOCK_SIZE // 10**6} Mb, are "
    "drawn one by one: intervals may be too narrow by a quarter or more"
)

#: Columns of the line that `train` and `baseline` print for a run.
SUMMARY_COLUMNS = ("run", "variant", "pair", "split", "n", "pearson", "spearman", "mse")


def part_metrics(
    data: PairData, log2fc_pred: npt.NDArray[Any]
) -> tuple[dict[str, dict[str, float | None]], dict[str, list[float]]]:
    """Metrics of a prediction of all genes, for ``config.json``.

    Returns
    -------
    metrics : part of the split (train, valid, test) to metric (and ``n``) to value; None where undefined.
    test_intervals : metric to the ends of its 95% bootstrap interval on the test genes (`metrics.bootstrap`).
    """
    expressed = expressed_in_both(data.expr_a, data.expr_b, data.unit)
    metrics: dict[str, dict[str, float | None]] = {}
    for part in SPLIT_PARTS:
        rows = data.rows(part)
        both = None if expressed is None else expressed[rows]
        values = evaluate(data.log2fc[rows], log2fc_pred[rows], expressed=both)
        known = {name: value if np.isfinite(value) else None for name, value in values.items()}
        metrics[part] = {"n": len(rows), **known}
    test = data.rows("test")
    both = None if expressed is None else expressed[test]
    intervals = bootstrap(data.log2fc[test], log2fc_pred[test], _blocks(data, test), expressed=both)
    return metrics, {name: [interval.low, interval.high] for name, interval in intervals.items()}


def _blocks(data: PairData, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.object_]:
    genes = data.genes.take(rows)
    return genome_blocks(genes.id, genes.chrom, genes.tss)


def label_details(data: PairData) -> dict[str, Any]:
    """The part of ``details`` about the test genes: their labels, and how `part_metrics` draws them.

    Under ``resampled`` stand the numbers of ``blocks`` that are drawn as one and of ``genes`` drawn alone.
    """
    test = data.rows("test")
    ceiling = noise_ceiling(data.log2fc[test], None if data.se is None else data.se[test])
    return {
        "labels": dict(data.labels),
        "noise_ceiling": ceiling.to_dict() if ceiling else None,
        "resampled": resampled(_blocks(data, test), data.genes.located[test]),
    }


def resampled(blocks: npt.NDArray[np.object_], located: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Numbers of blocks of located genes, and of single genes, that a bootstrap with these `blocks` draws."""
    _, drawn = block_numbers(blocks, len(blocks))
    alone = int((~located).sum()) if drawn == len(set(blocks)) else len(blocks)
    return {"blocks": drawn - alone, "genes": alone}


def describe_labels(details: Mapping[str, Any]) -> str:
    """Say in a line what is worth knowing of a run's labels and intervals; empty where there is nothing."""
    said = []
    labels, ceiling = details.get("labels") or {}, details.get("noise_ceiling")
    if labels.get("dialect"):
        said.append(f"labels are {labels['dialect']} of {labels.get('source', '?')}")
    if ceiling:
        said.append(
            f"the noise of the labels leaves r at most {ceiling['pearson']:.3f} on the {ceiling['n']} test "
            f"genes of known standard error (reliability {ceiling['reliability']:.3f})"
        )
    if alone := (details.get("resampled") or {}).get("genes"):
        said.append(f"{alone} {DRAWN_ALONE}")
    return "; ".join(said)


def gene_columns(genes: Genes) -> dict[str, npt.NDArray[Any]]:
    """Columns that identify genes in every table; start is 0-based and end exclusive, as in BED.

    Where a gene's coordinates are unknown (`Genes.located`), they are NA.
    """
    known = genes.located

    def where_known(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return column if known.all() else np.where(known, column.astype(object), NA)

    return {
        "gene_id": genes.id,
        "gene_name": genes.name,
        "chrom": where_known(genes.chrom),
        "start": where_known(genes.start),
        "end": where_known(genes.end),
        "strand": where_known(genes.strand),
    }


def prediction_columns(
    data: PairData,
    log2fc_pred: npt.NDArray[Any],
    expression: Mapping[str, npt.NDArray[Any]] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Columns of a predictions table.

    Parameters
    ----------
    data : the genes, their split and labels.
    log2fc_pred : float [n_genes].
    expression : predictions of the auxiliary heads by cell (``A``, ``B``), each [n_genes]:
        log2(expression + 1) or, for classification, the probability of being above the cell's median.
    """
    parts = np.array([PART_NAMES[number] for number in data.split.tolist()], dtype=object)
    columns = gene_columns(data.genes) | {"split": parts, "log2fc_pred": log2fc_pred, "log2fc": data.log2fc}
    for block, values in (expression or {}).items():
        columns[f"expr_{block.lower()}_pred"] = values
    return columns

"""The tables of a run: columns of genes, predictions and histories, metrics of a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.files.tables import NA
from diffchrom.genome.genes import Genes
from diffchrom.metrics import bootstrap, evaluate
from diffchrom.pairs.choices import PART_NAMES, SPLIT_PARTS
from diffchrom.pairs.label_noise import noise_ceiling
from diffchrom.pairs.pair import Labels, PairData

#: Its columns, a row an epoch; members of an ensemble count from 1.
HISTORY_COLUMNS = ("epoch", "train_loss", "valid_pearson", "valid_mse", "member")


#: Columns of the line that `train` and `baseline` print for a run.
SUMMARY_COLUMNS = ("run", "variant", "pair", "split", "n", "pearson", "spearman", "mse")


def part_metrics(
    data: PairData, log2fc_pred: npt.NDArray[Any]
) -> tuple[dict[str, dict[str, float | None]], dict[str, list[float]]]:
    """Metrics of a prediction of all genes, for ``config.json``.

    Returns
    -------
    metrics : part of the split (train, valid, test) to metric (and ``n``) to value.
    test_intervals : metric to the ends of its 95% gene-bootstrap interval on the test genes.
    """
    metrics: dict[str, dict[str, float | None]] = {}
    for part in SPLIT_PARTS:
        rows = data.rows(part)
        metrics[part] = {"n": len(rows), **evaluate(data.log2fc[rows], log2fc_pred[rows])}
    test = data.rows("test")
    intervals = bootstrap(data.log2fc[test], log2fc_pred[test])
    return metrics, {name: [interval.low, interval.high] for name, interval in intervals.items()}


def label_details(labels: Labels | PairData, test: npt.NDArray[np.intp]) -> dict[str, Any]:
    """The part of ``details`` that says where labels come from and how good they are on the rows `test`."""
    variance = labels.error_variance
    ceiling = noise_ceiling(labels.log2fc[test], None if variance is None else variance[test])
    return {"labels": dict(labels.labels), "noise_ceiling": ceiling.to_dict() if ceiling else None}


def describe_labels(details: Mapping[str, Any]) -> str:
    """Say in a line what is worth knowing of a run's labels; empty where there is nothing."""
    said = []
    labels, ceiling = details.get("labels") or {}, details.get("noise_ceiling")
    if labels.get("dialect"):
        said.append(f"labels are {labels['dialect']} of {labels.get('source', '?')}")
    if ceiling:
        said.append(
            f"the noise of the labels leaves r at most {ceiling['pearson']:.3f} on the {ceiling['n']} test "
            f"genes of known standard error (reliability {ceiling['reliability']:.3f})"
        )
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


def split_gene_columns(genes: Genes, parts: npt.NDArray[np.int8]) -> dict[str, npt.NDArray[Any]]:
    """`gene_columns`, and the part of the split that each gene is of."""
    names = np.array([PART_NAMES[number] for number in parts.tolist()], dtype=object)
    return gene_columns(genes) | {"split": names}


def prediction_columns(
    genes: Genes,
    parts: npt.NDArray[np.int8],
    log2fc_pred: npt.NDArray[Any],
    log2fc: npt.NDArray[np.float64],
    expression: Mapping[str, npt.NDArray[Any]] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Columns of a predictions table.

    Parameters
    ----------
    genes, parts, log2fc : the genes, the part of the split that each is of, and their labels.
    log2fc_pred : float [n_genes].
    expression : predictions of the auxiliary heads by cell (``A``, ``B``), each [n_genes]:
        log2(expression + 1) or, for classification, the probability of being above the cell's median.
    """
    columns = split_gene_columns(genes, parts) | {"log2fc_pred": log2fc_pred, "log2fc": log2fc}
    for block, values in (expression or {}).items():
        columns[f"expr_{block.lower()}_pred"] = values
    return columns

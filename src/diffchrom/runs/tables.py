"""The tables of a run: columns of genes, predictions and histories, metrics of a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diffchrom.files.tables import NA
from diffchrom.genome.blocks import BLOCK_SIZE, genome_blocks
from diffchrom.genome.genes import Genes
from diffchrom.metrics import MIN_BLOCKS, block_numbers, bootstrap, evaluate, expressed_in_both
from diffchrom.pairs.choices import PART_NAMES, SPLIT_PARTS
from diffchrom.pairs.label_noise import noise_ceiling
from diffchrom.pairs.pair import Labels, PairData

if TYPE_CHECKING:
    from diffchrom.runs.folder import RunConfig

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
    rows = {part: data.rows(part) for part in SPLIT_PARTS}
    metrics = {part: metrics_of(data, of_part, log2fc_pred) for part, of_part in rows.items()}
    return metrics, intervals_of(data, data.genes, rows["test"], log2fc_pred)


def metrics_of(
    labels: Labels, rows: npt.NDArray[np.intp], log2fc_pred: npt.NDArray[Any]
) -> dict[str, float | None]:
    """Number of `rows` and every metric of a prediction of all genes on them; None where undefined."""
    values = evaluate(labels.log2fc[rows], log2fc_pred[rows], expressed=_expressed(labels, rows))
    known = {name: value if np.isfinite(value) else None for name, value in values.items()}
    return {"n": len(rows), **known}


def intervals_of(
    labels: Labels, genes: Genes, rows: npt.NDArray[np.intp], log2fc_pred: npt.NDArray[Any]
) -> dict[str, list[float]]:
    """Ends of the 95% interval of every metric on the genes `rows`, by blocks of neighbours."""
    intervals = bootstrap(
        labels.log2fc[rows], log2fc_pred[rows], _blocks(genes, rows), expressed=_expressed(labels, rows)
    )
    return {name: [interval.low, interval.high] for name, interval in intervals.items()}


def _expressed(labels: Labels, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_] | None:
    return expressed_in_both(labels.expr_a[rows], labels.expr_b[rows], labels.unit)


def _blocks(genes: Genes, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.object_]:
    some = genes.take(rows)
    return genome_blocks(some.id, some.chrom, some.tss)


def label_details(labels: Labels, genes: Genes, test: npt.NDArray[np.intp]) -> dict[str, Any]:
    """The part of ``details`` about the rows `test`: their labels, and how `intervals_of` draws them.

    Under ``resampled`` stand the numbers of ``blocks`` that are drawn as one and of ``genes`` drawn alone.
    """
    variance = labels.error_variance
    ceiling = noise_ceiling(labels.log2fc[test], None if variance is None else variance[test])
    return {
        "labels": dict(labels.labels),
        "noise_ceiling": ceiling.to_dict() if ceiling else None,
        "resampled": resampled(_blocks(genes, test), genes.located[test]),
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


def describe_accuracy(config: RunConfig) -> str:
    """Say in a line what r a run has on its test genes, and whether that can be told from 0."""
    metrics = config.metrics.get("test", {})
    r, n = metrics.get("pearson"), metrics.get("n")
    if r is None:
        return f"r of {n or 0:g} test genes is undefined"
    low, high = config.details.get("test_intervals", {}).get("pearson") or (None, None)
    said = f"r = {r:.3f}"
    if low is not None and high is not None:
        said += f" (95% interval {low:.3f} to {high:.3f})"
    doubt = ", not distinguishable from 0" if low is None or high is None or low <= 0 <= high else ""
    return f"{said} on {n:g} test genes{doubt}"


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

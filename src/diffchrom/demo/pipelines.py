"""The simulated experiment as pipelines would leave it: nf-core/chipseq, nf-core/rnaseq and DESeq2.

Names of files and columns are those of nf-core/chipseq 2.1 and nf-core/rnaseq 3; what is in them is that of
`simulate.simulate`.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.demo.simulate import CELLS, RESOLUTION, RULE, DemoFiles, simulate
from diffchrom.files.whole import output_text
from diffchrom.signal.bigwig import read_header
from diffchrom.signal.bigwig_writer import write_bigwig

BIGWIGS = Path("chip/bwa/merged_library/bigwig")
SHEET = Path("samplesheet.csv")
MERGED = Path("rna/star_salmon")
CHANGES = Path("deseq2.csv")
_REPLICATES = (1, 2, 3)
#: Relative standard deviation of a gene's counts between replicates of one cell, squared.
_DISPERSION = 0.05


def simulate_pipelines(folder: Path, n_genes: int = 720, seed: int = 0) -> DemoFiles:
    """Write the folders of results of nf-core/chipseq and nf-core/rnaseq, a sheet, and a table of DESeq2.

    The same `n_genes` and `seed` give the same files.
    """
    files = simulate(folder, n_genes, seed)
    random = np.random.default_rng(seed + 1)
    (folder / BIGWIGS).mkdir(parents=True)
    tracks = iter(files.bigwigs)
    lines = ["sample,fastq_1,fastq_2,replicate,antibody,control,control_replicate"]
    for cell in CELLS:
        for domain in RULE:
            sample = f"{cell}_{domain.mark.upper()}_IP"
            next(tracks).rename(folder / BIGWIGS / f"{sample}_REP1.mLb.clN.bigWig")
            lines.append(f"{sample},{sample}.fastq.gz,,1,{domain.mark.upper()},{cell}_INPUT,1")
        lines.append(f"{cell}_INPUT,{cell}_INPUT.fastq.gz,,1,,,")
        _write_input(folder, cell, random)
    with output_text(folder / SHEET) as stream:
        stream.write("\n".join(lines) + "\n")
    with files.expression.open() as stream:
        rows = [line.split() for line in stream.read().splitlines()[1:]]
    ids = [row[0] for row in rows]
    mean = np.array([row[1:] for row in rows], dtype=np.float64)
    files.expression.unlink()
    counts = _replicates(mean, random)
    _write_merged(folder, ids, counts)
    _write_changes(folder / CHANGES, ids, counts)
    return files


def _write_input(folder: Path, cell: str, random: np.random.Generator) -> None:
    """Write the control of a cell: noise about 0.3 everywhere."""
    name = f"{cell}_INPUT_REP1.mLb.clN.bigWig"
    like = next((folder / BIGWIGS).glob(f"{cell}_*_IP_REP1*"))
    sizes = read_header(like).chrom_sizes
    noise = ((chrom, random.gamma(9.0, 1 / 30, size // RESOLUTION)) for chrom, size in sizes.items())
    write_bigwig(
        folder / BIGWIGS / name, sizes, ((c, v.astype(np.float32)) for c, v in noise), step=RESOLUTION
    )


def _replicates(mean: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Counts [n_genes, 2 cells, n_replicates] of a negative binomial around the means."""
    wide = np.repeat(np.maximum(mean, 0.1)[:, :, None], len(_REPLICATES), axis=2)
    return random.poisson(random.gamma(1 / _DISPERSION, wide * _DISPERSION)).astype(np.float64)


def _write_merged(folder: Path, ids: list[str], counts: npt.NDArray[np.float64]) -> None:
    """Write nf-core/rnaseq's merged tables: counts, and TPM of genes of one length."""
    header = ["gene_id", "gene_name", *(f"{cell}_REP{n}" for cell in CELLS for n in _REPLICATES)]
    flat = counts.reshape(len(counts), -1)
    for name, values in (("counts", flat), ("tpm", flat / flat.sum(axis=0) * 1e6)):
        with output_text(folder / MERGED / f"salmon.merged.gene_{name}.tsv") as stream:
            stream.write("\t".join(header) + "\n")
            for gene, row in zip(ids, values.tolist(), strict=True):
                stream.write("\t".join([gene, gene, *(f"{value:.6g}" for value in row)]) + "\n")


def _write_changes(path: Path, ids: list[str], counts: npt.NDArray[np.float64]) -> None:
    """Write changes as DESeq2's ``results`` has them, second cell over first, tested by Welch's t."""
    from scipy.stats import false_discovery_control, ttest_ind

    log2 = np.log2(counts + 1)
    change = log2[:, 1].mean(axis=1) - log2[:, 0].mean(axis=1)
    # Variances of three replicates are shrunk towards those of all genes, as DESeq2 shrinks dispersions.
    variance = log2.var(axis=2, ddof=1)
    variance = 0.3 * variance + 0.7 * variance.mean()
    se = np.sqrt(variance.sum(axis=1) / counts.shape[2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of genes whose replicates are the same
        pvalue = ttest_ind(log2[:, 1], log2[:, 0], axis=1, equal_var=False).pvalue
    pvalue = np.nan_to_num(pvalue, nan=1.0)
    columns = (counts.mean(axis=(1, 2)), change, se, change / se, pvalue, false_discovery_control(pvalue))
    with output_text(path) as stream:
        stream.write(",baseMean,log2FoldChange,lfcSE,stat,pvalue,padj\n")
        for gene, *row in zip(ids, *(column.tolist() for column in columns), strict=True):
            stream.write(",".join([gene, *(f"{value:.6g}" for value in row)]) + "\n")

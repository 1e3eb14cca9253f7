"""Simulate genes, tracks and expression of two cells by a known rule.

Each gene has, in each cell, a strength of every mark's domain between 0 and 1. Expression follows from the
strengths of the marks that `RULE` gives an effect to; the others are decoys, drawn independently. Domains lie
at stated distances from the TSS in the direction of transcription, so that a reader that forgets the strand
looks in the wrong place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.files.whole import output_text
from diffchrom.genome.genes import Genes
from diffchrom.signal.bigwig_writer import write_bigwig

CELLS = ("K562", "H1")
RESOLUTION = 50


@dataclass(frozen=True)
class Domain:
    """Where a mark's signal rises at a gene, and what that does to expression.

    Attributes
    ----------
    mark : histone modification.
    first, last : int
        Extent in bases from the TSS, positive downstream.
    effect : float
        Change of log2(expression) from strength 0 to strength 1; 0 for a decoy.
    height : float
        Signal at strength 1, over a background of about 1.
    """

    mark: str
    first: int
    last: int
    effect: float
    height: float


@dataclass(frozen=True)
class Together:
    """Change of log2(expression) where two domains, by number, are at strength 1 both: the product counts."""

    first: int
    second: int
    effect: float


@dataclass(frozen=True)
class Rule:
    """A known answer: domains, a mark's one after the other, and which act only together."""

    domains: tuple[Domain, ...]
    together: tuple[Together, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """In the order of the tracks."""
        return tuple(dict.fromkeys(domain.mark for domain in self.domains))

    def changes(self, strengths: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Change of log2(expression) [cells, genes] by strengths [cells, domains, genes]."""
        effects = np.array([domain.effect for domain in self.domains])
        change: npt.NDArray[np.float64] = np.einsum("cmg,m->cg", strengths, effects)
        for pair in self.together:
            change = change + pair.effect * strengths[:, pair.first] * strengths[:, pair.second]
        return change

    def acting(self) -> tuple[Domain, ...]:
        """Domains that change expression, by themselves or together with another."""
        members = {number for pair in self.together for number in (pair.first, pair.second)}
        return tuple(
            domain for number, domain in enumerate(self.domains) if domain.effect or number in members
        )


#: The demo's answer: every mark acts by itself, in one place, or not at all.
RULE = (
    Domain("H3K27me3", -3000, 3000, -3.0, 6.0),
    Domain("H3K36me3", 3000, 8000, 2.0, 5.0),
    Domain("H3K4me1", -6000, -3000, 0.0, 6.0),
    Domain("H3K4me3", -500, 1500, 4.0, 20.0),
    Domain("H3K9me3", -8000, 8000, 0.0, 4.0),
)
#: Rules to simulate by, by name. In `conditional` two marks act only together, and one in one of two places.
RULES = {
    "separate": Rule(RULE),
    "conditional": Rule(
        (
            Domain("H3K27ac", -1500, 1500, 0.0, 10.0),
            Domain("H3K36me3", -8000, -4000, 0.0, 6.0),
            Domain("H3K36me3", 3000, 7000, 3.0, 6.0),
            Domain("H3K4me1", -6000, -3000, 0.0, 6.0),
            Domain("H3K4me3", -500, 1500, 0.0, 20.0),
            Domain("H3K9me3", -8000, 8000, 0.0, 4.0),
        ),
        (Together(0, 4, 5.0),),
    ),
}
DEFAULT_RULE = "separate"


@dataclass(frozen=True)
class DemoFiles:
    """What `simulate` wrote.

    Attributes
    ----------
    gtf, expression, rule : paths of the annotation, the counts (one column a cell) and the rule as a table.
    bigwigs : one path a cell and mark.
    ceiling : float
        Pearson r between log2fc and its noise-free part: no model can be expected to do better.
    """

    gtf: Path
    bigwigs: tuple[Path, ...]
    expression: Path
    rule: Path
    ceiling: float


_SPACING = 30_000  # windows of +/-10 kb never overlap
_GENES_PER_CHROMOSOME = 60
_NOISE = 0.7


def simulate(folder: Path, n_genes: int = 720, seed: int = 0, rule: str = DEFAULT_RULE) -> DemoFiles:
    """Write a GTF, one bigWig a cell and mark, a table of counts and the rule into `folder`.

    The same `n_genes`, `seed` and `rule` (of `RULES`) give the same files.
    """
    answer = RULES[rule]
    random = np.random.default_rng(seed)
    genes, sizes = _place_genes(n_genes, random)
    strengths = _draw_strengths(n_genes, random, len(answer.domains))
    base = random.normal(6.0, 1.5, n_genes)
    clean = base[None, :] + answer.changes(strengths)
    log2 = clean + random.normal(0.0, _NOISE, clean.shape)
    counts = random.poisson(np.exp2(np.clip(log2, 0, 16)))
    files = DemoFiles(
        gtf=folder / "genes.gtf",
        bigwigs=tuple(folder / f"{cell}-{mark}.bw" for cell in CELLS for mark in answer.marks),
        expression=folder / "counts.tsv",
        rule=folder / "rule.tsv",
        ceiling=_correlation(np.log2(counts[1] + 1) - np.log2(counts[0] + 1), clean[1] - clean[0]),
    )
    _write_gtf(files.gtf, genes)
    with output_text(files.expression) as stream:
        stream.write("gene_id\t" + "\t".join(CELLS) + "\n")
        for gene_id, a, b in zip(genes.id, *counts.tolist(), strict=True):
            stream.write(f"{gene_id}\t{a}\t{b}\n")
    with output_text(files.rule) as stream:
        stream.write("mark\tfirst\tlast\teffect\n")
        for domain in answer.domains:
            stream.write(f"{domain.mark}\t{domain.first}\t{domain.last}\t{domain.effect:g}\n")
        for pair in answer.together:
            marks = f"{answer.domains[pair.first].mark} x {answer.domains[pair.second].mark}"
            stream.write(f"{marks}\tNA\tNA\t{pair.effect:g}\n")
    paths = iter(files.bigwigs)
    for cell in range(len(CELLS)):
        for mark in answer.marks:
            parts = [
                (domain, strengths[cell, j]) for j, domain in enumerate(answer.domains) if domain.mark == mark
            ]
            tracks = _track(genes, sizes, parts, random)
            write_bigwig(next(paths), sizes, tracks, step=RESOLUTION)
    return files


def _correlation(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _place_genes(n_genes: int, random: np.random.Generator) -> tuple[Genes, dict[str, int]]:
    """Spread genes evenly over chromosomes, on random strands."""
    number = np.arange(n_genes)
    n_chroms = -(-n_genes // _GENES_PER_CHROMOSOME)
    sizes = {f"chr{i + 1}": (_GENES_PER_CHROMOSOME + 1) * _SPACING for i in range(n_chroms)}
    chrom = np.array([f"chr{i // _GENES_PER_CHROMOSOME + 1}" for i in number], dtype=object)
    strand = np.where(random.random(n_genes) < 0.5, "-", "+").astype(object)
    tss = (number % _GENES_PER_CHROMOSOME + 1) * _SPACING + random.integers(-2000, 2000, n_genes)
    length = random.integers(2_000, 9_000, n_genes)
    minus = strand == "-"
    start = np.where(minus, tss - length + 1, tss)
    end = np.where(minus, tss + 1, tss + length)
    names = np.array([f"DEMO{i + 1}" for i in number], dtype=object)
    ids = np.array([f"DCG{i + 1:08d}" for i in number], dtype=object)
    return Genes(ids, names, chrom, strand, start, end, tss, np.where(minus, start, end - 1)), sizes


def _draw_strengths(
    n_genes: int, random: np.random.Generator, n_domains: int = len(RULE)
) -> npt.NDArray[np.float64]:
    """Strengths [2 cells, n_domains, n_genes]: as in A for most genes, redrawn in B for a third."""
    strengths = random.beta(0.5, 0.5, (2, n_domains, n_genes))
    kept = random.random((n_domains, n_genes)) < 0.65
    strengths[1][kept] = strengths[0][kept]
    return strengths


def _track(
    genes: Genes,
    sizes: dict[str, int],
    domains: Sequence[tuple[Domain, npt.NDArray[np.float64]]],
    random: np.random.Generator,
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Signal of one track, chromosome by chromosome, of its domains with the genes' strengths of each."""
    for chrom, size in sizes.items():
        steps = size // RESOLUTION
        signal = np.zeros(steps)
        position = (np.arange(steps) + 0.5) * RESOLUTION
        for domain, strength in domains:
            half = (domain.last - domain.first) / 2
            centre = genes.tss + np.where(genes.minus, -1, 1) * (domain.first + half)
            left = centre - half
            for gene in np.flatnonzero(genes.chrom == chrom):
                near = slice(int(left[gene] // RESOLUTION), int((left[gene] + 2 * half) // RESOLUTION) + 1)
                distance = np.abs(position[near] - centre[gene]) / half
                signal[near] += strength[gene] * domain.height * np.clip(1.3 - distance, 0, 1)
        noisy = random.gamma(4.0, (signal + 1.0) / 4.0)
        yield chrom, noisy.astype(np.float32)


def _write_gtf(path: Path, genes: Genes) -> None:
    with output_text(path) as stream:
        stream.write("#!simulated by diffchrom demo\n")
        for row in range(len(genes)):
            attributes = (
                f'gene_id "{genes.id[row]}"; gene_name "{genes.name[row]}"; gene_type "protein_coding";'
            )
            fields = (
                genes.chrom[row], "diffchrom", "gene", genes.start[row] + 1, genes.end[row], ".",
                genes.strand[row], ".", attributes,
            )  # fmt: skip
            stream.write("\t".join(map(str, fields)) + "\n")

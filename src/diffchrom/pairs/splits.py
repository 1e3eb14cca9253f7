"""Genes dealt to training, validation and test, and to the folds of a cross-validation.

Windows of neighbouring genes overlap, so that genes dealt at random share much of their input across the
split. `chromosome_split` therefore moves whole chromosomes, and with them the alternative haplotypes and
unplaced contigs that repeat their sequence (``chr6_ssto_hap7`` goes where ``chr6`` goes).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffchrom.errors import UsageError, check_choice
from diffchrom.genome.genes import Genes
from diffchrom.genome.ids import unversioned
from diffchrom.genome.windows import runs_of_neighbours

Split = npt.NDArray[np.int8]

TRAIN, VALID, TEST, UNUSED = 0, 1, 2, -1
PARTS = ("train", "valid", "test")
#: Shares of the genes that train, valid and test get.
SHARES = (0.70, 0.15, 0.15)
#: The DeepDiff authors dealt 18,460 genes, sorted by Ensembl id: these many, in this order, and the rest.
PUBLISHED_SIZES = ((TEST, 6_100), (TRAIN, 10_000), (VALID, 2_360))

_CONTIG = re.compile(r"^(chr[^_]+)_.+$")


def _whole_chromosome(name: str) -> str:
    """Return the chromosome that an alternative or unlocalised contig of UCSC's naming belongs to."""
    match = _CONTIG.match(name)
    return match[1] if match and match[1] != "chrUn" else name


def _by_size(genes: Genes, purpose: str) -> tuple[npt.NDArray[np.int64], list[str], npt.NDArray[np.int64]]:
    """Chromosome of each gene (as a number), names, and gene counts; the largest chromosome first."""
    if not genes.located.all():
        raise UsageError(
            f"{purpose}: the chromosomes of {int((~genes.located).sum())} genes are not known (the published "
            "DeepDiff format does not give them); use its own split published, or `splits=random`"
        )
    names, codes = np.unique([_whole_chromosome(str(chrom)) for chrom in genes.chrom], return_inverse=True)
    counts = np.bincount(codes, minlength=len(names))
    # Equal counts are taken in the order of names, so that the result depends on the genes alone.
    order = np.lexsort((names, -counts))
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank[codes], [str(names[i]) for i in order], counts[order].astype(np.int64)


def _deal(counts: npt.NDArray[np.int64], shares: Sequence[float]) -> npt.NDArray[np.int8]:
    """Deal chromosomes, the largest first, each to the part that lacks most; no part stays empty."""
    lacking = np.array(shares) * counts.sum()
    empty = set(range(len(shares)))
    dealt = np.empty(len(counts), dtype=np.int8)
    for i, count in enumerate(counts):
        left = len(counts) - i
        open_parts = sorted(empty) if left <= len(empty) else range(len(shares))
        part = max(open_parts, key=lambda p: (lacking[p], -p))
        dealt[i] = part
        lacking[part] -= count
        empty.discard(part)
    return dealt


def chromosome_split(genes: Genes, seed: int = 0) -> Split:
    """Deal whole chromosomes to train, valid and test, near 70, 15 and 15% of the genes; `seed` is not used.

    Returns
    -------
    int8 array [n_genes]
        0 train, 1 valid, 2 test. The same genes give the same split, in whatever order they stand.

    Raises
    ------
    UsageError
        When the genes lie on fewer than three chromosomes, or chromosomes are unknown.
    """
    codes, names, counts = _by_size(genes, "`splits=chromosome`")
    if len(names) < len(PARTS):
        raise UsageError(
            f"`splits=chromosome`: the genes lie on {len(names)} chromosomes ({', '.join(names)}), train, "
            "valid and test need three; use `splits=random`"
        )
    return np.asarray(_deal(counts, SHARES)[codes], dtype=np.int8)


def published_split(genes: Genes, seed: int = 0) -> Split:
    """Deal genes as the DeepDiff authors did: sorted by Ensembl id, 6100 test, 10000 train, the rest valid.

    With fewer genes than the authors' 18,460, the three parts shrink in proportion. Validation and test genes
    differ systematically here (old ids belong to well-studied, highly expressed genes); `seed` is not used.

    Returns
    -------
    int8 array [n_genes]
        0 train, 1 valid, 2 test.
    """
    n_genes = len(genes)
    total = sum(size for _, size in PUBLISHED_SIZES)
    scale = min(1.0, n_genes / total)
    split = np.full(n_genes, PUBLISHED_SIZES[-1][0], dtype=np.int8)
    order = np.argsort(np.array([unversioned(str(gene)) for gene in genes.id]), kind="stable")
    first = 0
    for part, size in PUBLISHED_SIZES[:-1]:
        last = first + round(size * scale)
        split[order[first:last]] = part
        first = last
    return _require_parts(split, "published")


def random_split(genes: Genes, seed: int = 0) -> Split:
    """Deal genes at random, 70, 15 and 15%; windows of neighbours then overlap across the split.

    Returns
    -------
    int8 array [n_genes]
        0 train, 1 valid, 2 test. The same ids and seed give the same split, in whatever order they stand.
    """
    order = np.argsort(genes.id.astype(str), kind="stable")
    shuffled = order[np.random.default_rng(seed).permutation(len(genes))]
    n_valid, n_test = (round(share * len(genes)) for share in SHARES[1:])
    split = np.full(len(genes), TRAIN, dtype=np.int8)
    split[shuffled[:n_valid]] = VALID
    split[shuffled[n_valid : n_valid + n_test]] = TEST
    return _require_parts(split, "random")


def _require_parts(split: Split, name: str) -> Split:
    for part, number in zip(PARTS, (TRAIN, VALID, TEST), strict=True):
        if not (split == number).any():
            raise UsageError(f"`splits={name}`: {len(split)} genes are too few, {part} would be empty")
    return split


#: Splits that can be made for any genes, by the name under which a store keeps them.
SPLITS: dict[str, Callable[[Genes, int], Split]] = {
    "chromosome": chromosome_split,
    "published": published_split,
    "random": random_split,
}


def make_split(name: str, genes: Genes, seed: int = 0) -> Split:
    """Return the split called `name`; int8 [n_genes]: 0 train, 1 valid, 2 test.

    Raises
    ------
    UsageError
        When there is no such split, or the genes cannot be split so.
    """
    check_choice("splits", name, SPLITS)
    return SPLITS[name](genes, seed)


#: Fewest folds in which train, valid and test are different ones.
MIN_FOLDS = len(PARTS)
_FOLD_NAME = re.compile(
    r"(?P<kind>chromosome|gene)-fold(?P<number>[1-9]\d{0,2})of(?P<k>[1-9]\d{0,2})(?:\.seed(?P<seed>\d{1,99}))?"
)
_FEWER_NAME = re.compile(r"(?P<whole>.+)\.train(?P<n>[1-9]\d{0,8})")


@dataclass(frozen=True)
class Folds:
    """Genes dealt to the folds of a cross-validation.

    Attributes
    ----------
    fold : int8 [n_genes]
        Fold of each gene, 1 to k.
    k : int
    kind : str
        ``chromosome``: whole chromosomes; ``gene``: genes by seed, those with overlapping windows together.
    seed : int
        Of gene folds.
    reason : str
        Why these are gene folds; empty for chromosome folds.
    divided : bool
        Whether windows overlap across folds of genes, since fewer than k runs of genes are apart.
    """

    fold: Split
    k: int
    kind: str
    seed: int = 0
    reason: str = ""
    divided: bool = False

    @property
    def name(self) -> str:
        """Name of them all, as the split of a cross-validated run."""
        return _folds_name(self.kind, self.k)

    @property
    def names(self) -> list[str]:
        """Name of each fold's split, from the first; `fold_split` makes the split from it."""
        seed = f".seed{self.seed}" if self.kind == "gene" else ""
        return [f"{self.kind}-fold{number}of{self.k}{seed}" for number in range(1, self.k + 1)]

    def split(self, number: int) -> Split:
        """Return the split that tests on fold `number` (from 1), validates on the next, trains on others."""
        split = np.full(len(self.fold), TRAIN, dtype=np.int8)
        split[self.fold == number % self.k + 1] = VALID
        split[self.fold == number] = TEST
        return split


def make_folds(genes: Genes, k: int, seed: int = 0, reach: int = 0) -> Folds:
    """Deal whole chromosomes to `k` folds of about as many genes; genes by seed where that is not possible.

    Parameters
    ----------
    genes : the genes; the same genes give the same folds, in whatever order they stand.
    k : number of folds, at least three.
    seed : decides where a gene goes when chromosomes are unknown or fewer than `k`; not used otherwise.
    reach : bases a window has; of genes dealt by seed, those whose windows overlap go together.

    Raises
    ------
    UsageError
        With fewer than three folds, or fewer genes than folds.
    """
    largest = int(np.iinfo(np.int8).max)
    if not MIN_FOLDS <= k <= largest:
        raise UsageError(
            f"`folds={k}`: give a number from {MIN_FOLDS} to {largest}, so that train, valid and test differ"
        )
    if genes.located.all():
        codes, names, counts = _by_size(genes, f"`folds={k}`")
        if len(names) >= k:
            dealt = _deal(counts, [1 / k] * k)[codes] + 1
            return Folds(np.asarray(dealt, dtype=np.int8), k, "chromosome")
        reason = f"the genes lie on {len(names)} chromosomes, fewer than {k}"
    else:
        reason = f"the chromosomes of {int((~genes.located).sum())} genes are not known"
    if len(genes) < k:
        raise UsageError(f"`folds={k}`: there are only {len(genes)} genes")
    fold, divided = _gene_folds(genes, k, seed, reach)
    return Folds(fold, k, "gene", seed, reason, divided)


def _gene_folds(genes: Genes, k: int, seed: int, reach: int) -> tuple[Split, bool]:
    """Deal runs of genes with overlapping windows in random order, each to the fold that lacks most.

    Returns
    -------
    (fold, divided) : as of `Folds`.
    """
    order, block = runs_of_neighbours(genes, reach)
    divided = bool(block[-1] + 1 < k)
    if divided:  # too much overlaps: there are not enough runs that could be kept apart
        block = np.arange(len(genes))
    counts = np.bincount(block)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    dealt = np.empty(len(counts), dtype=np.int8)
    dealt[shuffled] = _deal(counts[shuffled], [1 / k] * k) + 1
    folds = np.empty(len(genes), dtype=np.int8)
    folds[order] = dealt[block]
    return folds, divided


def _folds_name(kind: str, k: int | str) -> str:
    return f"{kind}-{k}folds"


def is_fold_name(name: str) -> bool:
    """Tell whether a split's name is one of `Folds.names`, which need not be stored to be used."""
    return _FOLD_NAME.fullmatch(name) is not None


def fold_split(genes: Genes, name: str, reach: int = 0) -> Split:
    """Return the split of a fold by its name (`Folds.names`); parameters as of `make_folds`.

    Returns
    -------
    int8 array [n_genes]
        0 train, 1 valid, 2 test.

    Raises
    ------
    UsageError
        When there is no such fold, or these genes have no folds of that kind.
    """
    match = _FOLD_NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"`split={name}`: not the name of a fold, as chromosome-fold1of5 is")
    folds = make_folds(genes, int(match["k"]), int(match["seed"] or 0), reach)
    if name not in folds.names:
        raise UsageError(f"`split={name}`: these genes have {folds.names[0]} to {folds.names[-1]}")
    return folds.split(int(match["number"]))


def whole_split_name(name: str) -> tuple[str, int | None]:
    """Part ``chromosome.train1000`` into the whole split's name and 1000; None is all genes."""
    match = _FEWER_NAME.fullmatch(name)
    return (match["whole"], int(match["n"])) if match else (name, None)


def fewer_training_genes(split: Split, genes: Genes, n: int) -> Split:
    """Keep `n` training genes, validation genes in proportion, and all test genes: for learning curves.

    Which are kept depends on the genes' ids alone, and fewer are always among more.

    Raises
    ------
    UsageError
        When there are not as many training genes.
    """
    n_train, n_valid = (int((split == part).sum()) for part in (TRAIN, VALID))
    if n > n_train:
        raise UsageError(f"{n} training genes: the split has {n_train}")
    fewer = split.copy()
    by_id = np.argsort(genes.id.astype(str), kind="stable")
    drawn = by_id[np.random.default_rng(0).permutation(len(by_id))]
    for part, kept in ((TRAIN, n), (VALID, max(2, round(n_valid * n / n_train)))):
        fewer[drawn[split[drawn] == part][kept:]] = UNUSED
    return fewer


def split_family(split: str) -> str:
    """Name of a split without its fold's number and seed: what runs must share to be compared.

    A fold is of the family `Folds.name`, which is what a whole cross-validation calls its split.
    """
    whole, _ = whole_split_name(split)
    match = _FOLD_NAME.fullmatch(whole)
    return _folds_name(match["kind"], match["k"]) + split.removeprefix(whole) if match else split


def fold_number(split: str) -> int | None:
    """Number of the fold that a split tests, from 1; None where it is not one of `Folds.names`."""
    match = _FOLD_NAME.fullmatch(whole_split_name(split)[0])
    return int(match["number"]) if match else None


def describe_split(split: Split, genes: Genes) -> str:
    """Say in a line how many genes each part has, and, where they are its own, which chromosomes."""
    parts = []
    chroms = [set(genes.chrom[(split == number) & genes.located]) for number in (TRAIN, VALID, TEST)]
    whole = genes.located.all() and sum(map(len, chroms)) == len(set().union(*chroms))
    for part, number, held in zip(PARTS, (TRAIN, VALID, TEST), chroms, strict=True):
        count = int((split == number).sum())
        named = f" ({', '.join(sorted(held, key=natural_order))})" if whole and 0 < len(held) <= 8 else ""
        parts.append(f"{part} {count}{named}")
    return ", ".join(parts)


def natural_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts chr2 before chr10."""
    pieces = re.findall(r"\d+|\D+", str(name))
    return tuple((0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces)

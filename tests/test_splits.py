"""Splits: whole chromosomes stay together, parts have the right sizes, and nothing depends on order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffchrom.annotation.reading import read_annotation
from diffchrom.errors import UsageError
from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.windows import Windows
from diffchrom.pairs.splits import (
    SHARES,
    SPLITS,
    chromosome_split,
    describe_split,
    fewer_training_genes,
    fold_split,
    make_folds,
    make_split,
    published_split,
    random_split,
    split_family,
    whole_split_name,
)
from diffchrom.prepare.deepdiff_format import unlocated_genes


def genes_on(chroms: list[str]) -> Genes:
    n = len(chroms)
    position = np.arange(n, dtype=np.int64) * 1000
    return Genes(
        id=np.array([f"ENSG{i:011d}" for i in range(n)], dtype=object),
        name=np.array([f"N{i}" for i in range(n)], dtype=object),
        chrom=np.array(chroms, dtype=object),
        strand=np.full(n, "+", dtype=object),
        start=position,
        end=position + 500,
        tss=position,
        tes=position + 499,
    )


def test_real_genes_are_dealt_70_15_15_by_chromosome(shared_data: Path) -> None:
    genes = read_annotation(shared_data / "gtf" / "roadmap_genes_hg19.gtf.gz").genes
    split = chromosome_split(genes)
    shares = np.bincount(split, minlength=3) / len(genes)
    np.testing.assert_allclose(shares, SHARES, atol=0.01)
    for chrom in set(genes.chrom):
        assert len(set(split[genes.chrom == chrom])) == 1


counts = st.lists(st.integers(1, 30), min_size=3, max_size=12)


@settings(deadline=None)
@given(counts, st.randoms(use_true_random=False))
def test_a_chromosome_is_never_divided_and_order_does_not_matter(sizes: list[int], random: object) -> None:
    genes = genes_on([f"chr{i}" for i, size in enumerate(sizes) for _ in range(size)])
    shuffled = list(range(len(genes)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for split_of in (chromosome_split, lambda g: make_folds(g, 3).fold - 1):
        split = split_of(genes)
        assert set(split) == {0, 1, 2}
        for chrom in set(genes.chrom):
            assert len(set(split[genes.chrom == chrom])) == 1
        np.testing.assert_array_equal(split_of(genes.take(np.array(shuffled))), split[shuffled])


@settings(deadline=None)
@given(st.integers(10, 300), st.integers(0, 5), st.randoms(use_true_random=False))
def test_random_and_published_follow_the_ids_not_the_order(n: int, seed: int, random: object) -> None:
    genes = genes_on(["chr1"] * n)
    shuffled = list(range(n))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for name in ("random", "published"):
        split = make_split(name, genes, seed)
        again = make_split(name, genes.take(np.array(shuffled)), seed)
        np.testing.assert_array_equal(again, split[shuffled])


def test_haplotypes_go_where_their_chromosome_goes() -> None:
    chroms = ["chr1"] * 9 + ["chr6"] * 5 + ["chr6_ssto_hap7"] + ["chr6_GL000256v2_alt"] + ["chr2"] * 3
    genes = genes_on(chroms)
    split = chromosome_split(genes)
    assert len({int(s) for s, c in zip(split, chroms, strict=True) if c.startswith("chr6")}) == 1


def test_published_deals_6100_test_10000_train_and_the_rest_valid() -> None:
    genes = genes_on(["chr1"] * 19_000)
    split = published_split(genes)
    assert (split[:6100] == 2).all()
    assert (split[6100:16100] == 0).all()
    assert (split[16100:] == 1).all()
    # 1846 genes are a tenth of the authors' 18,460.
    assert np.bincount(published_split(genes_on(["chr1"] * 1846))).tolist() == [1000, 236, 610]


def test_random_splits_differ_by_seed_only() -> None:
    genes = genes_on(["chr1"] * 200)
    assert np.bincount(random_split(genes)).tolist() == [140, 30, 30]
    np.testing.assert_array_equal(random_split(genes, 1), random_split(genes, 1))
    assert (random_split(genes, 1) != random_split(genes, 2)).any()


def test_four_equal_chromosomes_leave_no_part_empty() -> None:
    split = chromosome_split(genes_on([f"chr{i % 4}" for i in range(40)]))
    assert np.bincount(split).tolist() == [20, 10, 10]


def test_every_gene_is_tested_once_over_the_folds() -> None:
    genes = genes_on([f"chr{i % 7}" for i in range(70)])
    names = make_folds(genes, 5).names
    assert names == [f"chromosome-fold{number}of5" for number in (1, 2, 3, 4, 5)]
    splits = [fold_split(genes, name) for name in names]
    assert (sum((split == 2).astype(int) for split in splits) == 1).all()
    assert (sum((split == 1).astype(int) for split in splits) == 1).all()
    for split, following in zip(splits, [*splits[1:], splits[0]], strict=True):
        np.testing.assert_array_equal(split == 1, following == 2)


@st.composite
def crowded_genes(draw: st.DrawFn) -> Genes:
    """Genes on a few chromosomes, some with overlapping windows, some without coordinates."""
    n = draw(st.integers(6, 60))
    tss = np.array(draw(st.lists(st.integers(0, 400_000), min_size=n, max_size=n)), dtype=np.int64)
    chroms = draw(st.lists(st.sampled_from(["chr1", "chr2", "chr3", "chr4", "chr5"]), min_size=n, max_size=n))
    genes = genes_on(chroms)
    strand = np.array(draw(st.lists(st.sampled_from("+-"), min_size=n, max_size=n)), dtype=object)
    return replace(genes, tss=tss, start=tss, end=tss + 1, tes=tss, strand=strand)


@settings(deadline=None)
@given(crowded_genes(), st.integers(3, 6), st.integers(0, 3), st.randoms(use_true_random=False))
def test_folds_partition_the_genes_and_share_no_window(
    genes: Genes, k: int, seed: int, random: object
) -> None:
    flank = 5000
    folds = make_folds(genes, k, seed, 2 * flank)
    assert set(folds.fold) == set(range(1, k + 1))
    for number, name in enumerate(folds.names, 1):
        split = folds.split(number)
        np.testing.assert_array_equal(split == 2, folds.fold == number)
        np.testing.assert_array_equal(fold_split(genes, name, 2 * flank), split)
    shuffled = list(range(len(genes)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = make_folds(genes.take(np.array(shuffled)), k, seed, 2 * flank)
    np.testing.assert_array_equal(again.fold, folds.fold[shuffled])
    assert (folds.kind == "chromosome") == (len(set(genes.chrom)) >= k)
    first = Windows.around(genes, Window(flank, flank)).start
    distance = np.abs(first[:, None] - first)
    overlap = (distance < 2 * flank) & (genes.chrom[:, None] == genes.chrom)
    if folds.kind == "chromosome":
        for chrom in set(genes.chrom):
            assert len(set(folds.fold[genes.chrom == chrom])) == 1
    if not folds.divided:
        assert (folds.fold[:, None] == folds.fold)[overlap].all()
    else:
        near = (distance <= 2 * flank + 1) & (genes.chrom[:, None] == genes.chrom)
        assert len({tuple(row) for row in _reachable(near)}) < k


def _reachable(linked: np.ndarray) -> np.ndarray:
    for _ in range(len(linked)):
        more = linked @ linked
        if (more == linked).all():
            break
        linked = more
    return linked


def test_chromosome_folds_of_real_genes_are_of_one_size(shared_data: Path) -> None:
    genes = read_annotation(shared_data / "gtf" / "roadmap_genes_hg19.gtf.gz").genes
    folds = make_folds(genes, 5)
    np.testing.assert_allclose(np.bincount(folds.fold)[1:] / len(genes), 0.2, atol=0.012)


def test_genes_without_chromosomes_are_dealt_by_seed_and_it_says_so() -> None:
    unknown = unlocated_genes([f"G{i}" for i in range(30)], ["x"] * 30)
    folds = make_folds(unknown, 5, 1)
    assert folds.kind == "gene"
    assert "not known" in folds.reason
    assert np.bincount(folds.fold).tolist() == [0, 6, 6, 6, 6, 6]
    assert folds.names[0] == "gene-fold1of5.seed1"
    assert (make_folds(unknown, 5, 2).fold != folds.fold).any()
    assert split_family("gene-fold1of5.seed1") == split_family("gene-fold3of5.seed0") == folds.name
    assert split_family("chromosome-fold1of5") != split_family("chromosome-fold1of4")
    assert split_family("chromosome-fold1of5.train9") == split_family("chromosome-fold2of5.train9")
    assert split_family("chromosome-fold1of5.train9") != split_family("chromosome-fold1of5.train8")
    assert whole_split_name(f"chromosome.train{'9' * 5000}")[1] is None
    with pytest.raises(UsageError, match=r"these genes have gene-fold1of5\.seed0"):
        fold_split(unknown, "chromosome-fold1of5")
    with pytest.raises(UsageError, match="only 2 genes"):
        make_folds(unknown.take(np.arange(2)), 3)
    with pytest.raises(UsageError, match="from 3 to 127"):
        make_folds(unknown, 2)


def test_what_cannot_be_split_is_refused_with_another_way() -> None:
    with pytest.raises(UsageError, match=r"2 chromosomes .* `splits=random`"):
        chromosome_split(genes_on(["chr1", "chr2", "chr2"]))
    unknown = unlocated_genes([f"G{i}" for i in range(30)], ["x"] * 30)
    with pytest.raises(UsageError, match=r"are not known .* `splits=random`"):
        chromosome_split(unknown)
    assert random_split(unknown).max() == 2
    with pytest.raises(UsageError, match="too few"):
        random_split(genes_on(["chr1"] * 2))
    with pytest.raises(UsageError, match=f"choose one of {', '.join(SPLITS)}"):
        make_split("chromosomes", unknown)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.randoms(use_true_random=False))
def test_fewer_training_genes_are_among_more_and_tests_stay_the_same(n: int, m: int, random: object) -> None:
    genes = genes_on(["chr1"] * 100)
    split = random_split(genes, 0)
    few, more = (fewer_training_genes(split, genes, size) for size in sorted((n, m)))
    assert [(part == 0).sum() for part in (few, more)] == sorted((n, m))
    assert set(np.flatnonzero(few == 0)) <= set(np.flatnonzero(more == 0)) <= set(np.flatnonzero(split == 0))
    assert set(np.flatnonzero(few == 1)) <= set(np.flatnonzero(more == 1)) <= set(np.flatnonzero(split == 1))
    np.testing.assert_array_equal(few == 2, split == 2)
    shuffled = list(range(len(genes)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = fewer_training_genes(split[shuffled], genes.take(np.array(shuffled)), min(n, m))
    np.testing.assert_array_equal(again, few[shuffled])


def test_validation_shrinks_with_training_and_what_is_not_there_is_refused() -> None:
    genes = genes_on(["chr1"] * 100)
    split = random_split(genes, 0)  # 70, 15, 15
    assert [int((fewer_training_genes(split, genes, 14) == part).sum()) for part in (0, 1, 2, -1)] == [
        14,
        3,
        15,
        68,
    ]
    with pytest.raises(UsageError, match="71 training genes: the split has 70"):
        fewer_training_genes(split, genes, 71)
    assert whole_split_name("chromosome.train200") == ("chromosome", 200)
    assert whole_split_name("chromosome-fold1of5") == ("chromosome-fold1of5", None)


def test_a_split_is_described_with_its_chromosomes() -> None:
    genes = genes_on(["chr10"] * 5 + ["chr2"] * 3 + ["chr1"] * 20)
    assert describe_split(chromosome_split(genes), genes) == "train 20 (chr1), valid 5 (chr10), test 3 (chr2)"
    assert describe_split(random_split(genes), genes) == "train 20, valid 4, test 4"

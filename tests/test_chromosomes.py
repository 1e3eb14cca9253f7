"""Chromosome names met, assemblies guessed, and different genomes refused with both sides shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffchrom.annotation.chromosomes import check_genome, guess_from_genes, match_names, read_chrom_sizes
from diffchrom.annotation.reading import read_annotation
from diffchrom.errors import InputError
from diffchrom.genome.assemblies import ASSEMBLIES, canonical, from_accessions, from_sizes, from_text
from diffchrom.genome.genes import Genes


def chrom_sizes(path: Path) -> dict[str, int]:
    return {name: int(size) for name, size in (line.split()[:2] for line in path.read_text().splitlines())}


def genes_at(*places: tuple[str, str, int]) -> Genes:
    """Genes on plus, given as (symbol, chromosome, TSS)."""
    tss = np.array([place[2] for place in places], dtype=np.int64)
    symbols = np.array([place[0] for place in places], dtype=object)
    return Genes(
        id=symbols,
        name=symbols,
        chrom=np.array([place[1] for place in places], dtype=object),
        strand=np.full(len(places), "+", dtype=object),
        start=tss,
        end=tss + 1000,
        tss=tss,
        tes=tss + 999,
    )


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("chr1", "1"),
        ("1", "1"),
        ("Chr1", "1"),
        ("NC_000001.10", "1"),
        ("NC_000023.11", "X"),
        ("NC_000085.6", "19"),
        ("NC_000086.7", "X"),
        ("NC_012920.1", "M"),
        ("chrx", "X"),
        ("MT", "M"),
        ("chrM", "M"),
        ("chr2L", "2L"),
        ("GL000191.1", "GL000191.1"),
        ("NC_002505.1", "NC_002505.1"),
    ],
)
def test_names_of_one_chromosome_mean_the_same(name: str, meaning: str) -> None:
    assert canonical(name) == meaning


def test_names_are_met_exactly_first_and_never_doubtfully() -> None:
    assert match_names(["1", "MT", "X", "GL1"], {"chr1": 9, "chrM": 9}) == {"1": "chr1", "MT": "chrM"}
    assert match_names(["chr1"], {"1": 9, "chr1": 9}) == {"chr1": "chr1"}
    assert match_names(["NC_000001.10"], {"1": 9, "chr1": 9}) == {}


def test_the_table_of_lengths_is_ucscs(shared_data: Path) -> None:
    for name in ("hg19", "hg38"):
        sizes = chrom_sizes(shared_data / "genome" / f"{name}.chrom.sizes")
        known = {canonical(chrom): length for chrom, length in sizes.items()}
        assert {chrom: known[chrom] for chrom in ASSEMBLIES[name].sizes} == ASSEMBLIES[name].sizes
        assert from_sizes(sizes) == name
    assert from_sizes({"chr1": 1000}) == ""
    assert from_sizes({"chr1": 249250621, "chr2": 5}) == ""


def test_no_two_assemblies_share_a_length_of_one_chromosome() -> None:
    for chrom in ASSEMBLIES["hg19"].sizes:
        lengths = [assembly.sizes[chrom] for assembly in ASSEMBLIES.values() if chrom in assembly.sizes]
        assert len(set(lengths)) == len(lengths)


def test_assemblies_are_told_by_header_accession_and_landmarks(shared_data: Path) -> None:
    assert from_text("##description: evidence-based annotation (GRCh37), version 19 (Ensembl 74)") == "hg19"
    assert from_text("(GRCh38), version 29 (Ensembl 94), mapped to GRCh37 with gencode-backmap") == "hg19"
    assert from_text("#!genome-build GRCh38.p14") == "hg38"
    assert from_text("lifted from hg19 to hg38") == ""
    assert from_accessions(["NC_000001.11", "NT_187361.1"]) == "hg38"
    assert from_accessions(["NC_000001.10", "NC_000002.12"]) == ""
    # Chromosome 2 has a version of its own in both assemblies of the mouse.
    assert from_accessions(["NC_000067.6", "NC_000068.7", "NC_000086.7"]) == "mm10"
    assert from_accessions(["NC_000067.7", "NC_000068.8", "NC_000087.8"]) == "mm39"
    annotation = read_annotation(shared_data / "gtf" / "roadmap_genes_hg19.gtf.gz")
    assert guess_from_genes(annotation.genes) == "hg19"
    assert annotation.assembly == "hg19"
    for name, wanted in (
        ("gencode_v19.gtf", "hg19"),
        ("gencode_human.gtf.gz", "hg38"),
        ("stringtie.gtf", ""),
    ):
        assert read_annotation(shared_data / "gtf" / name, biotype="any").assembly == wanted


def test_landmarks_tell_hg38_from_hg19_and_one_is_not_enough() -> None:
    # GENCODE v44 (hg38): TP53 7687490 on -, MYC 127735434, BRCA1 43170245 (a readthrough's end) on -.
    hg38 = genes_at(
        ("TP53", "chr17", 7_687_489), ("MYC", "chr8", 127_735_433), ("BRCA1", "chr17", 43_170_244)
    )
    assert guess_from_genes(hg38) == "hg38"
    assert guess_from_genes(hg38.take(np.array([0]))) == ""
    mouse = genes_at(("Trp53", "11", 69_580_358), ("Myc", "15", 61_985_340))
    assert guess_from_genes(mouse) == "mm10"
    newer = genes_at(("Trp53", "chr11", 69_471_184), ("Myc", "chr15", 61_857_189))
    assert guess_from_genes(newer) == "mm39"


def test_an_hg19_annotation_and_hg38_tracks_are_refused_with_both_sides(shared_data: Path) -> None:
    genes = read_annotation(shared_data / "gtf" / "roadmap_genes_hg19.gtf.gz").genes
    hg19 = chrom_sizes(shared_data / "genome" / "hg19.chrom.sizes")
    hg38 = chrom_sizes(shared_data / "genome" / "hg38.chrom.sizes")
    with pytest.raises(InputError, match=r"a.gtf is of hg19 .* a.bw is of hg38 .* `force`"):
        check_genome(genes, {"a.bw": hg38}, gtf="a.gtf")
    with pytest.raises(
        InputError, match=r"b.bw: chr1 has 248956422 bases \(hg38\), in a.bw .*249250621.*hg19"
    ):
        check_genome(genes, {"a.bw": hg19, "b.bw": hg38}, gtf="a.gtf")
    forced = check_genome(genes, {"a.bw": hg38}, gtf="a.gtf", force=True)
    assert any(note.startswith("`force`: a.gtf is of hg19") for note in forced.notes)
    agreed = check_genome(genes, {"a.bw": hg19}, gtf="a.gtf")
    assert agreed.assembly == "hg19"
    assert agreed.sizes["chr1"] == 249250621
    assert agreed.names["a.bw"]["chrX"] == "chrX"


def test_differing_names_are_matched_and_said() -> None:
    genes = genes_at(("a", "1", 100), ("b", "2", 100))
    genome = check_genome(genes, {"x.bw": {"chr1": 5000}, "y.bw": {"1": 5000}}, gtf="e.gtf")
    assert genome.names == {"x.bw": {"1": "chr1"}, "y.bw": {"1": "1"}}
    assert genome.sizes == {"1": 5000}
    assert any("1 of e.gtf is chr1 of the tracks" in note for note in genome.notes)
    assert any("1 genes lie on chromosomes that no track has: 2" in note for note in genome.notes)


def test_names_that_never_meet_and_genes_beyond_an_end_are_refused() -> None:
    genes = genes_at(("a", "chr1", 100), ("b", "chr1", 6000))
    with pytest.raises(InputError, match=r"x.bw: none of its chromosomes \(I, II\) is one of e.gtf \(chr1\)"):
        check_genome(genes, {"x.bw": {"I": 5000, "II": 4000}}, gtf="e.gtf")
    with pytest.raises(InputError, match=r"1 genes start beyond .* b at chr1:6001, where the track has 5000"):
        check_genome(genes, {"x.bw": {"chr1": 5000}}, gtf="e.gtf")


def test_tracks_that_tell_no_chromosomes_take_the_lengths_of_the_annotations_assembly() -> None:
    genes = genes_at(("a", "chr1", 100), ("b", "chrX", 100), ("c", "chrUn_1", 100))
    genome = check_genome(genes, {"x.tagAlign.gz": {}}, gtf="e.gtf", header="hg19")
    assert genome.sizes == {"chr1": 249250621, "chrX": 155270560}
    assert genome.assembly == "hg19"
    assert genome.notes == ("assembly: hg19 (by its header)", "chromosome lengths: those of hg19")
    with pytest.raises(InputError, match=r"1 genes start beyond the ends of their chromosomes in hg19"):
        check_genome(genes_at(("a", "chr21", 90_000_000)), {"x.bed": {}}, gtf="e.gtf", header="hg19")


def test_what_tells_no_chromosomes_is_not_said_to_lack_them() -> None:
    genes = genes_at(("a", "chr1", 100), ("b", "chr2", 100))
    for tracks in ({"x.bed": {}}, {}):
        genome = check_genome(genes, tracks, gtf="e.gtf")
        assert genome.sizes == {}
        assert not any("no track has" in note for note in genome.notes)
        assert any("`chrom_sizes=FILE`" in note for note in genome.notes) == bool(tracks)
    beside = check_genome(genes, {"x.bed": {}, "y.bw": {"chr1": 5000}}, gtf="e.gtf")
    assert beside.sizes == {"chr1": 5000}
    assert beside.notes == ()


def test_given_lengths_serve_tracks_that_tell_none_and_must_fit_the_genes() -> None:
    genes = genes_at(("a", "chr1", 100), ("b", "chr2", 100))
    lengths = {"g.chrom.sizes": {"1": 5000, "2": 4000, "M": 16}}
    genome = check_genome(genes, {"x.bed": {}}, gtf="e.gtf", known=lengths)
    assert genome.sizes == {"chr1": 5000, "chr2": 4000}
    assert genome.notes == ("chromosome lengths: those of g.chrom.sizes",)
    with pytest.raises(InputError, match=r"b at chr2:9001, where the track has 4000"):
        check_genome(genes_at(("b", "chr2", 9000)), {"x.bed": {}}, gtf="e.gtf", known=lengths)
    with pytest.raises(InputError, match=r"y.bw: chr2 has 9 bases, in g.chrom.sizes 2 has 4000"):
        check_genome(genes, {"y.bw": {"chr1": 5000, "chr2": 9}}, gtf="e.gtf", known=lengths)


def test_chromosome_lengths_are_read_from_chrom_sizes_and_fasta_indexes(shared_data: Path) -> None:
    path = shared_data / "genome" / "hg38.chrom.sizes"
    assert read_chrom_sizes(path) == chrom_sizes(path)


def test_a_fasta_index_has_lengths_in_its_second_column(tmp_path: Path) -> None:
    index = tmp_path / "g.fa.fai"
    index.write_text("chr1\t5000\t6\t60\t61\nchr2\t40\t5090\t60\t61\n")
    assert read_chrom_sizes(index) == {"chr1": 5000, "chr2": 40}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no chromosome"),
        ("chr1\t5\nchr2\n", r":2: 'chr2' is not a chromosome's name and its length"),
        ("chr1\t-5\n", r":1: .* is not a chromosome's name and its length"),
        ("chr1\t99999999999999\n", r":1: .* is not a chromosome's name and its length"),
        ("chr1\t5\nchr1\t6\n", r":2: chr1 stands there again"),
    ],
)
def test_a_wrong_table_of_lengths_is_told_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "g.chrom.sizes"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_chrom_sizes(path)

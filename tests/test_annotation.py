"""Which genes an annotation gives, where they start, and what was left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffchrom.annotation import read_annotation
from diffchrom.errors import InputError

# file, biotype -> (genes, dropped). Counted with awk, for example
#   awk -F'\t' '$3=="gene" && /gene_biotype "protein_coding"/' ensembl_grch37.gtf | wc -l
#   awk -F'\t' '$3=="transcript" && $7!="."' stringtie.gtf | grep -oP '\tgene_id "\K[^"]*' | sort -u | wc -l
REAL = [
    ("roadmap_genes_hg19.gtf.gz", "protein_coding", 19107, {"id seen before in the file": 7}),
    ("ensembl_grch37.gtf", "protein_coding", 11, {"biotype other than protein_coding": 58}),
    ("ensembl_grch37.gtf", "any", 69, {}),
    ("gencode_human.gtf.gz", "protein_coding", 37, {"biotype other than protein_coding": 82}),
    ("gencode_human.gtf.gz", "any", 119, {}),
    ("gencode_v19.gtf", "any", 1, {}),
    ("stringtie.gtf", "protein_coding", 69, {"no strand": 14}),
    ("flybase.gtf", "protein_coding", 3, {}),
]


@pytest.mark.parametrize(("name", "biotype", "n_genes", "dropped"), REAL)
def test_every_real_gtf_gives_the_genes_counted_in_it(
    shared_data: Path, name: str, biotype: str, n_genes: int, dropped: dict[str, int]
) -> None:
    annotation = read_annotation(shared_data / "gtf" / name, biotype=biotype)
    assert (len(annotation.genes), annotation.dropped) == (n_genes, dropped)
    assert annotation.format == "GTF"


def gtf(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def line(feature: str, start: int, end: int, strand: str, attributes: str, chrom: str = "chr1") -> str:
    return f"{chrom}\ttest\t{feature}\t{start}\t{end}\t.\t{strand}\t.\t{attributes}"


def test_tss_is_the_first_transcribed_base_on_both_strands(tmp_path: Path) -> None:
    # GTF is 1-based and closed: bases 101..200 are [100, 200).
    path = gtf(
        tmp_path / "a.gtf",
        line("gene", 101, 200, "+", 'gene_id "plus";'),
        line("gene", 101, 200, "-", 'gene_id "minus";'),
    )
    genes = read_annotation(path).genes
    assert genes.start.tolist() == [100, 100]
    assert genes.end.tolist() == [200, 200]
    assert genes.tss.tolist() == [100, 199]
    assert genes.tes.tolist() == [199, 100]


def test_without_gene_lines_the_most_upstream_transcript_counts(tmp_path: Path) -> None:
    path = gtf(
        tmp_path / "a.gtf",
        line("transcript", 151, 300, "+", 'gene_id "p"; transcript_id "p.1";'),
        line("transcript", 101, 200, "+", 'gene_id "p"; transcript_id "p.2";'),
        line("exon", 1, 20, "+", 'gene_id "p"; transcript_id "p.2";'),
        line("transcript", 101, 200, "-", 'gene_id "m"; transcript_id "m.1";'),
        line("transcript", 151, 300, "-", 'gene_id "m"; transcript_id "m.2";'),
    )
    annotation = read_annotation(path)
    assert dict(zip(annotation.genes.id, annotation.genes.tss, strict=True)) == {"p": 100, "m": 299}
    assert any("5'-most transcript" in note for note in annotation.notes)


def test_without_gene_and_transcript_lines_the_most_upstream_exon_counts(shared_data: Path) -> None:
    # flybase.gtf: exons of FBgn0031208 at 7529..9484 on +, of Fk_gene_1 at 10000..11000 on -.
    genes = read_annotation(shared_data / "gtf" / "flybase.gtf").genes
    assert genes.id.tolist() == ["FBgn0031208", "Fk_gene_1", "Fk_gene_2"]
    assert genes.tss.tolist() == [7528, 10999, 12499]


def test_a_semicolon_in_quotes_belongs_to_the_value(tmp_path: Path) -> None:
    text = 'note "a; gene_id \'x\'; b"; gene_id "right"; gene_name "N;1"; gene_type "protein_coding"'
    genes = read_annotation(gtf(tmp_path / "a.gtf", line("gene", 1, 9, "+", text))).genes
    assert (genes.id[0], genes.name[0]) == ("right", "N;1")


def test_y_copies_are_dropped_and_versions_kept(tmp_path: Path) -> None:
    path = gtf(
        tmp_path / "a.gtf",
        line("gene", 1, 9, "+", 'gene_id "ENSG00000182378.15"; gene_type "protein_coding"', "chrX"),
        line("gene", 1, 9, "+", 'gene_id "ENSG00000182378.15_PAR_Y"; gene_type "protein_coding"', "chrY"),
    )
    annotation = read_annotation(path)
    assert annotation.genes.id.tolist() == ["ENSG00000182378.15"]
    assert annotation.dropped == {"Y copy of a pseudo-autosomal gene (_PAR_Y)": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "a.gtf:1: neither GTF, GFF3 nor BED"),
        ("", "a.gtf: holds no genes"),
        (line("exon", 1, 9, "+", 'transcript_id "t";'), "holds no genes"),
        (line("gene", 9, 1, "+", 'gene_id "g";'), "a.gtf:1: start 9 and end 1 are no interval"),
        (line("gene", 0, 1, "+", 'gene_id "g";'), "a.gtf:1: start 0 and end 1"),
        (line("gene", 1, 9, "x", 'gene_id "g";'), "a.gtf:1: strand is 'x'"),
        (line("gene", 1, 9, "+", 'transcript_id "g";'), "a.gtf:1: the gene has no gene_id"),
        (line("gene", 1, 9, "+", 'gene_id "g";') + "\ntorn", "a.gtf:2: 1 tab-separated columns"),
        (line("gene", 1, 9, ".", 'gene_id "g";'), "no gene is left (no strand: 1)"),
        (line("gene", 1, 9, "+", 'gene_id "g"; gene_type "miRNA";'), "it has miRNA (1)"),
    ],
)
def test_a_wrong_annotation_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.gtf"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_annotation(path)
    assert message in str(caught.value)

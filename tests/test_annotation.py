"""Which genes an annotation gives, where they start, and what was left out."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffchrom.annotation.formats import read_transcripts
from diffchrom.annotation.reading import (
    blacklisted_bins,
    genes_from_records,
    read_annotation,
    read_blacklist,
)
from diffchrom.annotation.records import GeneRecord
from diffchrom.errors import InputError
from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.windows import Windows

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
        ("hello\n", "a.gtf:1: neither GTF, GFF3, genePred, refFlat nor BED"),
        ("", "a.gtf: holds no genes"),
        (line("exon", 1, 9, "+", 'transcript_id "t";'), "holds no genes"),
        (line("gene", 9, 1, "+", 'gene_id "g";'), "a.gtf:1: start 9 and end 1 are no interval"),
        (line("gene", 0, 1, "+", 'gene_id "g";'), "a.gtf:1: start 0 and end 1"),
        (line("gene", 1, 9, "x", 'gene_id "g";'), "a.gtf:1: strand is 'x'"),
        (line("gene", 1, 9, "+", 'transcript_id "g";'), "a.gtf:1: the gene has no gene_id"),
        (line("gene", 1, 9, "+", 'gene_id "g";') + "\nchr1\ttest\tex", "a.gtf:2: 3 tab-separated"),
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


GFF3 = """##gff-version 3
##sequence-region 1 1 249250621
1\tensembl\tgene\t101\t200\t.\t-\t.\tID=gene:ENSG1;Name=AB%3BC;biotype=protein_coding;gene_id=ENSG1;version=4
1\tensembl\tmRNA\t101\t200\t.\t-\t.\tID=transcript:ENST1;Parent=gene:ENSG1;biotype=protein_coding
1\tensembl\tncRNA_gene\t301\t400\t.\t+\t.\tID=gene:ENSG2;biotype=lncRNA;gene_id=ENSG2
1\tensembl\texon\t101\t200\t.\t-\t.\tID=exon1;Parent=transcript:ENST1
1\tFlyBase\tpseudogene\t301\t400\t.\t+\t.\tID=FBtr1;Parent=FBgn1
##FASTA
>1
ACGT
"""


def test_gff3_is_read_as_ensembl_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.gff3"
    path.write_text(GFF3)
    annotation = read_annotation(path, biotype="any")
    genes = annotation.genes
    assert annotation.format == "GFF3"
    assert genes.id.tolist() == ["ENSG1", "ENSG2"]
    assert genes.name.tolist() == ["AB;C", "ENSG2"]
    assert genes.tss.tolist() == [199, 300]
    assert read_transcripts(path) == {"ENST1": "ENSG1", "FBtr1": "FBgn1"}


def test_gff3_is_read_as_refseq_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.gff3"
    attributes = "ID=gene-TP53;Dbxref=GeneID:7157;Name=TP53;gbkey=Gene;gene=TP53;gene_biotype=protein_coding"
    path.write_text(f"##gff-version 3\n{line('gene', 1, 9, '-', attributes, 'NC_000017.11')}\n")
    annotation = read_annotation(path)
    assert (annotation.genes.id[0], annotation.genes.name[0]) == ("TP53", "TP53")


def test_a_bed_of_tsss_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tss.bed"
    path.write_text("track name=x\nchr1\t100\t101\tG1\t0\t+\nchr1\t500\t900\tG2\t0\t-\n")
    annotation = read_annotation(path)
    assert annotation.format == "BED"
    assert annotation.genes.tss.tolist() == [100, 899]
    path.write_text("chr1\t100\t101\n")
    with pytest.raises(InputError, match=r"tss.bed:1: 3 columns; a BED of TSSs needs six"):
        read_annotation(path)


def test_genes_of_excluded_chromosomes_are_left_out(tmp_path: Path) -> None:
    path = gtf(
        tmp_path / "a.gtf",
        line("gene", 1, 9, "+", 'gene_id "ENSG00000000003.4"; gene_name "TSPAN6";'),
        line("gene", 1, 9, "+", 'gene_id "ENSG00000000419.2"; gene_name "DPM1";', "chrY"),
    )
    annotation = read_annotation(path, exclude_chroms=("Y",))
    assert annotation.genes.name.tolist() == ["TSPAN6"]
    assert annotation.dropped == {"on an excluded chromosome": 1}


def test_an_annotation_is_read_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = line("gene", 1, 9, "+", 'gene_id "G";') + "\n"
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    assert read_annotation(pipe).genes.id.tolist() == ["G"]
    writer.join()


WINDOW = Window(flank=50, bin_size=10, orient="transcription")


def masked_bins(genes: Genes, window: Window, bed: Path) -> np.ndarray:
    return blacklisted_bins(Windows.around(genes, window), read_blacklist(bed, genes))


def test_blacklisted_bins_are_those_that_share_a_base(tmp_path: Path) -> None:
    # TSS 1000 on plus: window [950, 1050); on minus at 1999: window [1950, 2050), flipped.
    path = gtf(
        tmp_path / "a.gtf",
        line("gene", 1001, 1500, "+", 'gene_id "plus";'),
        line("gene", 1501, 2000, "-", 'gene_id "minus";'),
    )
    bed = tmp_path / "b.bed"
    bed.write_text("1\t959\t961\n1\t2040\t2060\n1\t1050\t1950\nY\t1\t9\n")
    genes = read_annotation(path).genes
    masked = masked_bins(genes, WINDOW, bed)
    assert np.flatnonzero(masked[0]).tolist() == [0, 1]
    assert np.flatnonzero(masked[1]).tolist() == [0]
    genome = masked_bins(genes, replace(WINDOW, orient="genome"), bed)
    assert np.flatnonzero(genome[1]).tolist() == [9]
    bed.write_text("chr9\t1\t2\n")
    with pytest.raises(InputError, match=r"none of its chromosomes \(chr9\) has genes \(chr1\)"):
        masked_bins(genes, WINDOW, bed)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), min_size=1, max_size=6), st.data())
def test_blacklisted_bins_agree_with_a_count_base_by_base(
    intervals: list[tuple[int, int]], data: st.DataObject
) -> None:
    tss = data.draw(st.lists(st.integers(0, 400), min_size=1, max_size=4))
    strands = data.draw(st.lists(st.sampled_from("+-"), min_size=len(tss), max_size=len(tss)))
    genes = genes_from_records(
        [
            GeneRecord(str(i), "", "chr1", s, t, t + 1, None)
            for i, (t, s) in enumerate(zip(tss, strands, strict=True))
        ]
    )
    covered = np.zeros(1000, dtype=bool)
    for start, width in intervals:
        covered[start : start + width] = True
    with tempfile.NamedTemporaryFile("w", suffix=".bed") as bed:
        bed.write("".join(f"chr1\t{start}\t{start + width}\n" for start, width in intervals))
        bed.flush()
        masked = masked_bins(genes, WINDOW, Path(bed.name))
    for row, starts, ends in zip(masked, *Windows.around(genes, WINDOW).intervals(), strict=True):
        wanted = [bool(covered[max(0, a) : max(0, b)].any()) for a, b in zip(starts, ends, strict=True)]
        assert row.tolist() == wanted


def test_the_real_blacklist_masks_few_bins(shared_data: Path) -> None:
    genes = read_annotation(shared_data / "gtf" / "roadmap_genes_hg19.gtf.gz").genes
    masked = masked_bins(genes, Window(), shared_data / "genome" / "hg19-blacklist.v2.bed.gz")
    assert masked.shape == (19107, 200)
    assert 0 < masked.mean() < 0.1


def test_gff3_without_gene_lines_is_read_as_gffread_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.gff3"
    first = "ID=T1;geneID=G1;gene_name=S1"
    second = "ID=T2;geneID=G1;gene_name=S1"
    lines = [line("transcript", 201, 300, "+", first), line("transcript", 101, 250, "+", second)]
    path.write_text(
        "##gff-version 3\n" + "\n".join([*lines, line("exon", 101, 150, "+", "Parent=T2")]) + "\n"
    )
    annotation = read_annotation(path)
    assert (annotation.genes.id.tolist(), annotation.genes.name.tolist()) == (["G1"], ["S1"])
    assert annotation.genes.tss.tolist() == [100]
    assert read_transcripts(path) == {"T1": "G1", "T2": "G1"}

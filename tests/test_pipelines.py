"""Folders of nf-core/chipseq, nf-core/cutandrun, nf-core/rnaseq and ENCODE as they are, no file renamed.

Names of files and headers of sheets are those of nf-core/chipseq 1.2.2, 2.0.0 and 2.1.0, nf-core/cutandrun
3.2.2, nf-core/rnaseq 3.x and ENCODE's batch download.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from conftest import called
from diffchrom.errors import InputError, OutputError, UsageError
from diffchrom.prepare.building import prepare
from diffchrom.prepare.finding import draft_samples, find_tracks
from diffchrom.prepare.request import PrepareRequest
from diffchrom.prepare.samples import Track
from diffchrom.prepare.summary import Summary
from diffchrom.progress import SilentReporter
from diffchrom.store.store import Store
from test_prepare import GENES, write_bigwig, write_gtf

ENCODE_HEADER = (
    "File accession\tFile format\tFile type\tFile format type\tOutput type\tFile assembly\t"
    "Experiment accession\tAssay\tBiosample term name\tExperiment target\tBiological replicate(s)\n"
)


@dataclass
class Told(SilentReporter):
    """Notes and warnings of a command."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def found(told: Told | None = None, **options: object) -> dict[tuple[str, str, str], Track]:
    """Tracks of a request by cell, mark and replicate."""
    request = PrepareRequest(store=Path("unused.h5"), **options)  # type: ignore[arg-type]
    tracks = find_tracks(request, Summary(told or Told()))
    return {(track.cell, track.mark, track.replicate): track for track in tracks}


def make(folder: Path, names: Sequence[str]) -> Path:
    for seed, name in enumerate(names):
        write_bigwig(folder / name, seed)
    return folder


def chipseq(folder: Path, place: str = "bwa/merged_library/bigwig") -> Path:
    """Results of nf-core/chipseq 2.1 on two marks in two conditions with inputs, and of a run with RNA."""
    samples = [f"{cell}_{mark}_IP" for cell in ("WT", "NAIVE") for mark in ("H3K4ME3", "H3K27AC")]
    names = [
        f"{name}_REP{n}.mLb.clN.bigWig" for name in [*samples, "WT_INPUT", "NAIVE_INPUT"] for n in (1, 2)
    ]
    make(folder, [f"{place}/{name}" for name in names])
    make(folder, ["star_salmon/bigwig/WT_REP1.forward.bigWig"])  # of nf-core/rnaseq, into the same folder
    return folder


def chipseq_sheet(path: Path) -> Path:
    lines = ["sample,fastq_1,fastq_2,replicate,antibody,control,control_replicate"]
    for cell in ("WT", "NAIVE"):
        for mark in ("H3K4ME3", "H3K27AC"):
            for n in (1, 2):  # two runs of each library
                runs = [f"BLA_{cell}_{mark}_{n}_L00{run}.fastq.gz" for run in (1, 2)]
                lines += [f"{cell}_{mark}_IP,{run},,{n},{mark},{cell}_INPUT,{3 - n}" for run in runs]
        lines += [f"{cell}_INPUT,BLA_{cell}_{n}.fastq.gz,,{n},,," for n in (1, 2)]
    path.write_text("\n".join(lines) + "\n")
    return path


EIGHT = {(c, m, n) for c in ("WT", "NAIVE") for m in ("H3K4me3", "H3K27ac") for n in ("1", "2")}


def test_chipseq_results_are_understood_from_their_folder(tmp_path: Path) -> None:
    told = Told()
    tracks = found(told, bigwigs=(chipseq(tmp_path / "results"),))
    assert set(tracks) == EIGHT
    assert all(track.control is None for track in tracks.values())
    assert any("4 files are left out as controls; `control=subtract`" in note for note in told.notes)


def test_controls_of_one_s_cell_and_replicate_are_used_where_asked(tmp_path: Path) -> None:
    tracks = found(bigwigs=(chipseq(tmp_path / "results"),), named_controls=True)
    control = tracks["NAIVE", "H3K27ac", "2"].control
    assert control is not None
    assert control.name == "NAIVE_INPUT_REP2.mLb.clN.bigWig"


def test_the_sheet_of_chipseq_says_mark_cell_and_control(tmp_path: Path) -> None:
    folder, sheet = chipseq(tmp_path / "results"), chipseq_sheet(tmp_path / "samplesheet.csv")
    told = Told()
    tracks = found(told, bigwigs=(folder,), samples=sheet, named_controls=True)
    assert set(tracks) == EIGHT
    control = tracks["WT", "H3K4me3", "1"].control
    assert control is not None
    assert control.name == "WT_INPUT_REP2.mLb.clN.bigWig"  # as control_replicate says, against the names
    assert any("a sheet of nf-core/chipseq 2.1, 8 tracks" in note for note in told.notes)
    assert {track.unit for track in tracks.values()} == {"coverage"}
    plain = found(told := Told(), bigwigs=(folder,), samples=sheet)
    assert all(track.control is None for track in plain.values())
    assert any("controls of 8 tracks are known and left out" in note for note in told.notes)


@pytest.mark.parametrize(
    ("header", "rows", "files", "place"),
    [
        (
            "sample,fastq_1,fastq_2,antibody,control",
            ["WT_H3K4ME3_REP1,a,,H3K4ME3,WT_INPUT_REP1", "WT_INPUT_REP1,b,,,"],
            ["WT_H3K4ME3_REP1.mLb.clN.bigWig", "WT_INPUT_REP1.mLb.clN.bigWig"],
            "bwa/mergedLibrary/bigwig",
        ),
        (
            "group,replicate,fastq_1,fastq_2,antibody,control",
            ["WT_H3K4ME3,1,a,,H3K4ME3,WT_INPUT", "WT_INPUT,1,b,,,"],
            ["WT_H3K4ME3_R1.bigWig", "WT_INPUT_R1.bigWig"],
            "bwa/mergedLibrary/bigwig",
        ),
        (
            "group,replicate,fastq_1,fastq_2,control",
            ["h3k4me3_WT,1,a,b,igg_ctrl", "igg_ctrl,1,a,b,"],
            ["h3k4me3_WT_R1.bigWig", "igg_ctrl_R1.bigWig"],
            "03_peak_calling/03_bed_to_bigwig",
        ),
    ],
    ids=["chipseq 2.0", "chipseq 1.2", "cutandrun"],
)
def test_sheets_of_other_pipelines_and_versions_are_known(
    tmp_path: Path, header: str, rows: list[str], files: list[str], place: str
) -> None:
    make(tmp_path / "results" / place, files)
    sheet = tmp_path / "samplesheet.csv"
    sheet.write_text("\n".join([header, *rows]) + "\n")
    tracks = found(bigwigs=(tmp_path / "results",), samples=sheet, named_controls=True)
    assert set(tracks) == {("WT", "H3K4me3", "1")}
    control = tracks["WT", "H3K4me3", "1"].control
    assert control is not None
    assert control.name == files[1]


def test_one_igg_serves_all_cells_of_cutandrun(tmp_path: Path) -> None:
    names = ["h3k4me3_wt_R1", "h3k4me3_wt_R2", "h3k4me3_ko_R1", "igg_ctrl_R1", "igg_ctrl_R2"]
    folder = make(tmp_path / "03_peak_calling/03_bed_to_bigwig", [f"{name}.bigWig" for name in names])
    tracks = found(bigwigs=(tmp_path,), named_controls=True)
    used = {key: track.control and track.control.relative_to(folder).name for key, track in tracks.items()}
    assert used == {
        ("wt", "H3K4me3", "1"): "igg_ctrl_R1.bigWig",
        ("wt", "H3K4me3", "2"): "igg_ctrl_R2.bigWig",
        ("ko", "H3K4me3", "1"): "igg_ctrl_R1.bigWig",
    }


def test_a_sheet_of_a_pipeline_needs_its_bigwigs(tmp_path: Path) -> None:
    sheet = chipseq_sheet(tmp_path / "samplesheet.csv")
    with pytest.raises(UsageError, match="a sheet of nf-core/chipseq 2.1, which names no bigWigs"):
        found(samples=sheet)
    folder = chipseq(tmp_path / "results")
    for number in (1, 2):
        next(folder.rglob(f"WT_H3K27AC_IP_REP{number}.mLb.clN.bigWig")).unlink()
    with pytest.raises(InputError) as caught:
        found(bigwigs=(folder,), samples=sheet)
    assert "no bigWig of WT_H3K27AC_IP_REP1" in str(caught.value)
    assert "no bigWig of WT_H3K27AC_IP_REP2" in str(caught.value)


def encode(folder: Path) -> Path:
    """Two histone experiments with replicates, their pool and two outputs; a control and RNA."""
    lines = []

    def row(accession: str, output: str, target: str, replicates: str, assay: str, experiment: str) -> None:
        write_bigwig(folder / f"{accession}.bigWig", len(lines))
        lines.append(
            f"{accession}\tbigWig\tbigWig\t\t{output}\tGRCh38\t{experiment}\t{assay}\t"
            f"CD14-positive monocyte\t{target}\t{replicates}\n"
        )

    histone = "Histone ChIP-seq"
    row("ENCFF000AAA", "signal p-value", "H3K4me3-human", "1, 2", histone, "ENCSR000AAA")
    row("ENCFF000AAB", "fold change over control", "H3K4me3-human", "1, 2", histone, "ENCSR000AAA")
    row("ENCFF000AAC", "fold change over control", "H3K4me3-human", "1", histone, "ENCSR000AAA")
    row("ENCFF000AAD", "fold change over control", "H3K27ac-human", "1", histone, "ENCSR000AAB")
    row("ENCFF000AAE", "fold change over control", "H3K27ac-human", "2", histone, "ENCSR000AAB")
    row("ENCFF000AAF", "plus strand signal of unique reads", "", "1", "polyA plus RNA-seq", "ENCSR000AAC")
    lines.append(
        "ENCFF000AAG\tbed narrowPeak\tbed\tnarrowPeak\tpeaks\tGRCh38\tENCSR000AAA\t\t\tH3K4me3-human\t\n"
    )
    lines.append("ENCFF000AAH\tbigWig\tbigWig\t\tsignal p-value\tGRCh38\tENCSR9\tx\tK562\tH3K4me3-human\t1\n")
    (folder / "metadata.tsv").write_text(ENCODE_HEADER + "".join(lines))
    return folder / "metadata.tsv"


def test_metadata_of_encode_says_what_its_accessions_are(tmp_path: Path) -> None:
    told = Told()
    tracks = found(told, samples=encode(tmp_path))
    cell = "CD14-positive_monocyte"
    names = {key: (track.path.stem, track.unit) for key, track in tracks.items()}
    assert names == {
        (cell, "H3K4me3", ""): ("ENCFF000AAB", "fold-change"),
        (cell, "H3K27ac", "1"): ("ENCFF000AAD", "fold-change"),
        (cell, "H3K27ac", "2"): ("ENCFF000AAE", "fold-change"),
    }
    assert any(note.startswith("1 of 7 bigWigs of metadata.tsv are not here") for note in told.notes)
    assert any("3 files of metadata.tsv are left out" in note for note in told.notes)


def test_files_of_encode_without_their_metadata_are_refused_with_the_remedy(tmp_path: Path) -> None:
    make(tmp_path, ["ENCFF000AAA.bigWig", "ENCFF000AAB.bigWig"])
    with pytest.raises(
        InputError, match=r"ENCFF000AAA.*metadata.tsv as `samples`.*ENCFF000AAB.*metadata.tsv"
    ):
        found(bigwigs=(tmp_path,))


def test_two_assemblies_in_one_metadata_are_refused(tmp_path: Path) -> None:
    sheet = encode(tmp_path)
    sheet.write_text(sheet.read_text().replace("GRCh38", "hg19", 1))
    with pytest.raises(InputError, match="its files here are of GRCh38 and hg19"):
        found(samples=sheet)


def test_all_tracks_that_are_not_understood_are_named_at_once(tmp_path: Path) -> None:
    folder = make(
        tmp_path / "bigwig",
        ["WT_H3K4me3.bw", "WT_BCATENIN_IP_R1.bw", "WT_RNA_R1.bw", "WT_WCE.bw", "H3K9me3_R1.bw"],
    )
    with pytest.raises(InputError) as caught:
        found(bigwigs=(folder,))
    message = str(caught.value)
    assert "WT_BCATENIN_IP_R1.bw: names no histone mark" in message
    assert "H3K9me3_R1.bw: names the mark H3K9me3 but no cell (1 is taken as a replicate's number)" in message
    assert "RNA" not in message
    assert "WCE" not in message
    assert "`write_samples`" in message


def test_rna_is_left_out_with_a_note(tmp_path: Path) -> None:
    told = Told()
    names = ["WT_H3K4me3.bw", "WT_RNA-seq_R1.bw", "WT_REP1.reverse.bigWig"]
    assert set(found(told, bigwigs=(make(tmp_path, names),))) == {("WT", "H3K4me3", "")}
    assert any("2 files are left out as RNA" in note and "WT_RNA-seq_R1.bw" in note for note in told.notes)


@pytest.mark.parametrize(
    "word", ["_R{}", "_rep{}", "_REP{}", "-{}", "_{}", ".rep{}", "_biorep{}", "_replicate_{}"]
)
def test_replicates_are_known_by_what_people_write(tmp_path: Path, word: str) -> None:
    folder = make(tmp_path, [f"H3K4me3_wt{word.format(n)}.bw" for n in (1, 2)])
    assert set(found(bigwigs=(folder,))) == {("wt", "H3K4me3", "1"), ("wt", "H3K4me3", "2")}


def test_numbers_that_count_something_else_stay_in_the_cell_with_a_warning(tmp_path: Path) -> None:
    told = Told()
    folder = make(tmp_path, ["H3K4me3_day_1.bw", "H3K4me3_day_2.bw", "H3K4me3_MCF_7.bw"])
    assert {cell for cell, _, _ in found(told, bigwigs=(folder,))} == {"day_1", "day_2", "MCF_7"}
    (warning,) = told.warnings
    assert warning.startswith("cells day_1 and day_2 differ only by what may be the number of a replicate")


def test_a_folder_without_bigwigs_is_refused_and_one_of_folders_is_opened(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="a folder without bigWigs"):
        found(bigwigs=(tmp_path / "empty",))
    make(tmp_path / "tracks", ["E116/H3K4me3.bw", "E123/H3K4me3.bw"])
    assert {cell for cell, _, _ in found(bigwigs=(tmp_path / "tracks",))} == {"E116", "E123"}


def test_a_draft_given_back_says_the_same_once_it_is_filled_in(tmp_path: Path) -> None:
    folder = make(
        tmp_path / "t", ["WT_H3K4me3_R1.bw", 'od"d H3K27ac.bw', "WT_thing.bw", "WT_INPUT.bw", "WT_RNA.bw"]
    )
    sheet = tmp_path / "sheet.tsv"
    request = PrepareRequest(store=tmp_path / "s.h5", bigwigs=(folder,))
    told = Told()
    draft_samples(request, sheet, told)
    assert "WT_thing.bw: names no histone mark" in told.warnings[0]
    assert "# control: t/WT_INPUT.bw" in sheet.read_text()
    assert "# RNA: t/WT_RNA.bw" in sheet.read_text()
    with pytest.raises(InputError, match="column mark is empty"):
        found(samples=sheet)
    sheet.write_text(sheet.read_text().replace("WT_thing\t\t", "WT\tH3K9me3\t"))
    assert set(found(samples=sheet)) == {
        ("WT", "H3K4me3", "1"),
        ('od"d', "H3K27ac", ""),
        ("WT", "H3K9me3", ""),
    }
    with pytest.raises(OutputError, match="exists already; give another name, or `replace`"):
        draft_samples(request, sheet)
    draft_samples(replace(request, replace=True, named_controls=True), sheet)
    assert "t/WT_INPUT.bw" in sheet.read_text().splitlines()[1]


def rnaseq(folder: Path) -> Path:
    """Merged tables of nf-core/rnaseq: two samples a condition."""
    rng = np.random.default_rng(0)
    (folder / "star_salmon").mkdir(parents=True)
    samples = [f"{cell}_REP{n}" for cell in ("WT", "NAIVE") for n in (1, 2)]
    for kind in ("counts", "tpm", "lengths"):
        lines = ["\t".join(["gene_id", "gene_name", *samples])]
        lines += [
            "\t".join([g[0], "N" + g[0][-1], *map("{:.3f}".format, rng.uniform(1, 900, 4))]) for g in GENES
        ]
        (folder / f"star_salmon/salmon.merged.gene_{kind}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_two_pipelines_folders_make_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = chipseq(tmp_path / "chip")
    gtf, store = write_gtf(tmp_path / "genes.gtf"), tmp_path / "s.h5"
    words = [
        "--gtf",
        gtf,
        "--bigwigs",
        results,
        "--expression",
        rnaseq(tmp_path / "rna"),
        "--control",
        "subtract",
    ]
    assert called(["prepare", "--store", str(store), *map(str, words), "--threads", "1"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert "2 replicates each of 4 tracks are averaged" in said
    assert [line for line in said if "are used by subtract: " in line] == [
        "controls of 8 files are used by subtract: NAIVE_INPUT_REP1.mLb.clN.bigWig, "
        "NAIVE_INPUT_REP2.mLb.clN.bigWig, WT_INPUT_REP1.mLb.clN.bigWig, ..."
    ]
    made = Store(store)
    assert set(made.cells()) == {"WT", "NAIVE"}
    assert set(made.expression_units("WT")) == {"counts", "tpm"}
    replicates = made.replicates("WT", "counts")
    assert replicates is not None
    assert replicates.shape == (len(GENES), 2)
    assert "INPUT_REP1" in made.signal_attrs("WT", "H3K4me3")["control"]


def test_lengths_and_two_quantifiers_are_no_expression(tmp_path: Path) -> None:
    folder = rnaseq(tmp_path / "rna")
    request = PrepareRequest(store=tmp_path / "s.h5", gtf=write_gtf(tmp_path / "genes.gtf"))
    lengths = str(folder / "star_salmon/salmon.merged.gene_lengths.tsv")
    with pytest.raises(
        InputError, match=r"holds lengths of genes by its name.*absent\.tsv: no such expression"
    ):
        prepare(replace(request, expression=(lengths, str(tmp_path / "absent.tsv"))))
    (folder / "salmon").mkdir()
    (folder / "salmon/salmon.merged.gene_counts.tsv").write_text("gene_id\tgene_name\tWT\nx\ty\t1\n")
    with pytest.raises(InputError, match="has tables of .*salmon and .*star_salmon"):
        prepare(replace(request, expression=(str(folder),)))


def test_merged_transcripts_of_rnaseq_are_summed_by_their_own_genes(tmp_path: Path) -> None:
    table = tmp_path / "salmon.merged.transcript_counts.tsv"
    lines = ["tx\tgene_id\tWT_REP1\tWT_REP2"]
    lines += [f"T{i}{j}\t{gene[0]}\t{i + j}.5\t1" for i, gene in enumerate(GENES) for j in (0, 1)]
    table.write_text("\n".join(lines) + "\n")
    request = PrepareRequest(store=tmp_path / "s.h5", gtf=write_gtf(tmp_path / "genes.gtf"))
    store = prepare(replace(request, expression=(str(table),))).store
    # Replicate 1 sums to i + 0.5 + i + 1.5, replicate 2 to 2.
    np.testing.assert_allclose(store.expression("WT", "counts"), [2.0, 3.0, 4.0, 5.0])


def test_the_command_drafts_a_sheet_and_makes_no_store(tmp_path: Path) -> None:
    folder, sheet = chipseq(tmp_path / "results"), tmp_path / "sheet.tsv"
    words = ["prepare", "--store", tmp_path / "s.h5", "--bigwigs", folder, "--write-samples", sheet, "-q"]
    assert called(list(map(str, words))) == 0
    assert len(sheet.read_text().splitlines()) == 1 + 8 + 4
    assert not (tmp_path / "s.h5").exists()
    assert called(list(map(str, words))) == 1


def test_the_demo_s_folders_are_what_the_pipelines_leave(tmp_path: Path) -> None:
    for name in ("one", "two"):
        words = [
            "demo",
            "--pipelines",
            "--genes",
            "120",
            "--threads",
            "1",
            "-q",
            "--out",
            str(tmp_path / name),
        ]
        assert called(words) == 0
    folder = tmp_path / "one"
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert all((folder / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)
    words = ["--gtf", folder / "genes.gtf", "--bigwigs", folder / "chip", "--expression", folder / "rna"]
    words += ["--samples", folder / "samplesheet.csv", "--control", "subtract", "--regions", "tss"]
    words += ["--labels", f"K562,H1={folder / 'deseq2.csv'}", "--threads", "1", "-q"]
    assert called(["prepare", "--store", str(tmp_path / "s.h5"), *map(str, words)]) == 0
    store = Store(tmp_path / "s.h5")
    assert store.labelled_pairs() == (("K562", "H1"),)
    assert len(store.marks("K562")) == 5
    assert "K562_INPUT" in store.signal_attrs("K562", "H3K4me3")["control"]
    replicates = store.replicates("H1", "counts")
    assert replicates is not None
    assert replicates.shape == (120, 3)

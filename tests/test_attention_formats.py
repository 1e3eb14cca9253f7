"""BED, bedGraph and bigWig of attention, read back by parsers that are not ours."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_tools import genes_at, random_source, store_of
from conftest import running, train, training
from diffchrom.attention.bed import BED_COLUMNS, BinChoice, bed_table
from diffchrom.attention.export import ExportOptions, export
from diffchrom.attention.tracks import combine, track_name
from diffchrom.attention.weights import Weights
from diffchrom.cli import main
from diffchrom.config import hyperparameters
from diffchrom.deepdiff import opened
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.errors import InputError, OutputError, StoreError, UsageError
from diffchrom.genome.genes import Genes, Window
from diffchrom.pairs.selection import chosen_rows
from diffchrom.signal.bigwig_writer import sections
from diffchrom.store.store import Store

SIZES = {"chr1": 6000, "chr10": 5000, "chr2": 2500}
PLACES = [
    ("chr2", 2450, "-"), ("chr1", 900, "+"), ("chr10", 60, "+"), ("chr1", 1130, "-"), ("chr1", 1275, "+"),
    ("chr1", 5950, "-"), ("chr10", 2000, "-"), ("chr1", 3333, "+"), ("chr1", 1130, "-"),
]  # fmt: skip


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    """Nine genes, some overlapping, some over a chromosome's end, in no order; windows of 10 bins of 50."""
    path = tmp_path_factory.mktemp("crowded") / "s.h5"
    return random_source(store_of(path, genes_at(PLACES), Window(250, 50), SIZES), "raw+aux", seed=3)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What spans batches must come out as if it did not."""
    monkeypatch.setattr(opened, "ATTENTION_BATCH", 2)


def alpha_over(source: OpenedModel, chrom: str) -> list[list[list[float]]]:
    """By brute force: for each sequence and base of a chromosome, the alpha of every bin over it."""
    size = SIZES[chrom]
    over: list[list[list[float]]] = [[[] for _ in range(size)] for _ in source.sequences]
    rows = np.flatnonzero(source.genes.chrom == chrom)
    for batch in source.attend_batches(rows):
        for row, weights in zip(batch.rows.tolist(), batch.alpha, strict=True):
            tss, minus = int(source.genes.tss[row]), source.genes.strand[row] == "-"
            for i, bins in enumerate(weights):
                for k, weight in enumerate(bins[::-1] if minus else bins):
                    first = tss + minus - 250 + 50 * k
                    for base in range(max(first, 0), min(first + 50, size)):
                        over[i][base].append(float(weight))
    return over


def read_bed(text: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(text), sep="\t", names=list(BED_COLUMNS))


@pytest.mark.parametrize("how", ["max", "mean"])
def test_bigwigs_hold_the_stated_combination_base_by_base(
    crowded: OpenedModel, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "tracks"
    export(crowded, np.arange(9), ExportOptions(format="bigwig", combine=how), folder)
    assert sorted(os.listdir(folder)) == sorted(f"{track_name(one)}.bw" for one in crowded.sequences)
    rule = {"max": max, "mean": lambda values: sum(values) / len(values)}[how]
    over = {chrom: alpha_over(crowded, chrom) for chrom in SIZES}
    for i, sequence in enumerate(crowded.sequences):
        with pyBigWig.open(str(folder / f"{track_name(sequence)}.bw")) as file:
            assert file.chroms() == SIZES
            for chrom, size in SIZES.items():
                found = file.values(chrom, 0, size, numpy=True)
                expected = [rule(values) if values else np.nan for values in over[chrom][i]]
                np.testing.assert_allclose(found, expected, atol=1e-6)


def test_bedgraphs_are_sorted_do_not_overlap_and_say_what_bigwigs_say(
    crowded: OpenedModel, tmp_path: Path
) -> None:
    export(crowded, np.arange(9), ExportOptions(format="bedgraph"), tmp_path / "bg")
    export(crowded, np.arange(9), ExportOptions(format="bigwig"), tmp_path / "bw")
    for sequence in crowded.sequences:
        name = track_name(sequence)
        table = pd.read_csv(
            tmp_path / "bg" / f"{name}.bedgraph", sep="\t", names=["chrom", "start", "end", "value"]
        )
        assert list(dict.fromkeys(table["chrom"])) == ["chr1", "chr10", "chr2"]
        with pyBigWig.open(str(tmp_path / "bw" / f"{name}.bw")) as file:
            for chrom, part in table.groupby("chrom"):
                assert (part["start"].to_numpy()[1:] >= part["end"].to_numpy()[:-1]).all()
                intervals = file.intervals(chrom)
                assert [row[:2] for row in intervals] == list(zip(part["start"], part["end"], strict=True))
                np.testing.assert_allclose([row[2] for row in intervals], part["value"], atol=1e-6)


def test_one_bedgraph_file_has_a_track_line_for_each_of_several_tracks(
    crowded: OpenedModel, tmp_path: Path
) -> None:
    marks = ExportOptions(format="bedgraph", blocks=("aux:A",))
    export(crowded, np.arange(9), marks, tmp_path / "two.bedgraph")
    lines = (tmp_path / "two.bedgraph").read_text().splitlines()
    heads = [line for line in lines if line.startswith("track")]
    names = ["aux_A.H3K4me3", "aux_A.H3K27me3"]
    assert heads == [f'track type=bedGraph name="{name}"' for name in names]
    one = ExportOptions(format="bedgraph", blocks=("aux:A",), marks=("H3K27me3",))
    export(crowded, np.arange(9), one, tmp_path / "one.bedgraph")
    assert (tmp_path / "one.bedgraph").read_text().splitlines() == lines[lines.index(heads[1]) + 1 :]


def test_a_single_bigwig_may_be_a_file(crowded: OpenedModel, tmp_path: Path) -> None:
    wanted = ExportOptions(format="bigwig", blocks=("main:A-B",), marks=("H3K4me3",))
    export(crowded, np.arange(9), wanted, tmp_path / "x.bw")
    with pyBigWig.open(str(tmp_path / "x.bw")) as file:
        assert file.header()["nBasesCovered"] > 0
    assert os.listdir(tmp_path) == ["x.bw"]


def test_bed_is_sorted_clipped_and_readable_by_pyranges(crowded: OpenedModel, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyranges 0.1 under pandas 3
        import pyranges

    path = tmp_path / "x.bed"
    export(crowded, np.arange(9), ExportOptions(format="bed", top=4), path)
    table = read_bed(path.read_bytes())
    order = table.sort_values(["chrom", "start"], kind="stable").index
    assert list(order) == list(range(len(table)))
    assert (table["start"] >= 0).all()
    assert (table["start"] < table["end"]).all()
    assert (table["end"] <= table["chrom"].map(SIZES)).all()
    assert table["score"].between(0, 1000).all()
    np.testing.assert_allclose(table["score"], table["weight"] * 1000, atol=0.51)
    strands = dict(zip(crowded.genes.id, crowded.genes.strand, strict=True))
    assert (table["strand"] == table["gene_id"].map(strands)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranges = pyranges.read_bed(str(path), as_df=True)
    assert list(ranges["Start"]) == list(table["start"])
    assert list(ranges["Strand"]) == list(table["strand"])


#: genome.ucsc.edu/FAQ/FAQformat.html#format12 and UCSC's narrowPeak.as: name, kind, least and most.
NARROW_PEAK = (
    ("chrom", str, None, None),
    ("chromStart", int, 0, None),
    ("chromEnd", int, 1, None),
    ("name", str, None, None),
    ("score", int, 0, 1000),
    ("strand", str, None, None),
    ("signalValue", float, None, None),
    ("pValue", float, -1, -1),
    ("qValue", float, -1, -1),
    ("peak", int, 0, None),
)


@pytest.mark.parametrize("by", ["attention", "gradient"])
def test_narrowpeak_is_what_ucsc_says_with_the_summit_in_the_highest_bin(
    crowded: OpenedModel, tmp_path: Path, by: str
) -> None:
    export(crowded, np.arange(9), ExportOptions(format="narrowpeak", by=by, top=4), tmp_path / "x.narrowPeak")
    export(crowded, np.arange(9), ExportOptions(format="bed", by=by, top=4), tmp_path / "x.bed")
    lines = [line.split("\t") for line in (tmp_path / "x.narrowPeak").read_text().splitlines()]
    bed = [line.split("\t") for line in (tmp_path / "x.bed").read_text().splitlines()]
    assert [fields[:6] for fields in lines] == [fields[:6] for fields in bed]
    assert [fields[6] for fields in lines] == [fields[9] for fields in bed]
    weights = Weights.of(crowded, by)
    batches = list(weights.batches(np.arange(9)))
    gene_bins = dict(zip(crowded.genes.id, np.concatenate([batch.alpha for batch in batches]), strict=True))
    sequences = {f"{one.block}|{one.mark}": index for index, one in enumerate(weights.sequences)}
    for fields, beside in zip(lines, bed, strict=True):
        values = {}
        for text, (name, kind, least, most) in zip(fields, NARROW_PEAK, strict=True):
            values[name] = kind(text)
            assert least is None or values[name] >= least, name
            assert most is None or values[name] <= most, name
        assert values["chromStart"] < values["chromEnd"] <= SIZES[values["chrom"]]
        assert values["strand"] in "+-."
        assert values["peak"] < values["chromEnd"] - values["chromStart"]
        bins = gene_bins[beside[6]][sequences["|".join(beside[7:9])]]
        (row,) = np.flatnonzero(crowded.genes.id == beside[6])
        minus = crowded.genes.strand[row] == "-"
        # Windows of five bins of 50 on each side of the TSS's 5' edge; upstream first.
        before = values["chromStart"] + values["peak"] - (int(crowded.genes.tss[row]) + minus - 250)
        number = 9 - before // 50 if minus else before // 50
        assert bins[number] == pytest.approx(float(beside[10]), abs=1e-6)


def bedtools(*words: object) -> list[list[str]]:
    """Rows that bedtools prints; it must have nothing to complain of."""
    done = subprocess.run(["bedtools", *map(str, words)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line.split("\t") for line in done.stdout.splitlines()]


needs_bedtools = pytest.mark.skipif(shutil.which("bedtools") is None, reason="bedtools is not installed")


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    """Chromosome sizes, in the order in which the files are sorted."""
    path = tmp_path / "chrom.sizes"
    path.write_text("".join(f"{chrom}\t{size}\n" for chrom, size in SIZES.items()))
    return path


@needs_bedtools
def test_bedtools_takes_bed_as_sorted_and_finds_each_bin_at_its_base(
    crowded: OpenedModel, tmp_path: Path, genome: Path
) -> None:
    path = tmp_path / "x.bed"
    export(crowded, np.arange(9), ExportOptions(format="bed", top=4), path)
    table = read_bed(path.read_bytes())
    promoters = tmp_path / "promoters.bed"
    promoters.write_text("chr1\t1000\t1100\nchr10\t0\t60\nchr2\t2300\t2500\n")
    command = ("intersect", "-a", path, "-b", promoters, "-sorted", "-g", genome)
    inside = (
        ((table["chrom"] == "chr1") & (table["start"] < 1100) & (table["end"] > 1000))
        | ((table["chrom"] == "chr10") & (table["start"] < 60))
        | ((table["chrom"] == "chr2") & (table["end"] > 2300))
    )
    for option, wanted in (("-u", inside), ("-v", ~inside)):
        found = [row[3] for row in bedtools(*command, option)]
        assert found == table["name"][wanted].tolist()
        assert found


@needs_bedtools
def test_bedtools_takes_bedgraphs_as_sorted_and_finds_no_overlap(
    crowded: OpenedModel, tmp_path: Path, genome: Path
) -> None:
    export(crowded, np.arange(9), ExportOptions(format="bedgraph"), tmp_path / "bg")
    for sequence in crowded.sequences:
        path = tmp_path / "bg" / f"{track_name(sequence)}.bedgraph"
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        # With each interval as its only partner, no two overlap; -sorted refuses what is not.
        pairs = bedtools("intersect", "-a", path, "-b", path, "-wa", "-wb", "-sorted", "-g", genome)
        assert pairs == [row * 2 for row in rows]
        largest = bedtools("map", "-a", path, "-b", path, "-c", "4", "-o", "max", "-g", genome)
        assert [float(row[-1]) for row in largest] == pytest.approx([float(row[3]) for row in rows])


def test_bed_holds_the_top_bins_of_every_gene_and_mark_merged(crowded: OpenedModel) -> None:
    """Gene G7 stands alone and whole, so each of its sequences gives exactly its 3 highest bins."""
    rows = np.array([7])
    keep = np.arange(len(crowded.sequences))
    table = read_bed(
        b"".join(bed_table(Weights.of(crowded), crowded.attend_batches(rows), keep, BinChoice(top=3)))
    )
    (batch,) = crowded.attend_batches(rows)
    for sequence, weights in zip(crowded.sequences, batch.alpha[0], strict=True):
        part = table[(table["block"] == sequence.block) & (table["mark"] == sequence.mark)]
        best = sorted(np.argsort(-weights, kind="stable")[:3].tolist())
        bins = [
            bin_
            for start, end in zip(part["start"], part["end"], strict=True)
            for bin_ in range((start - 3083) // 50, (end - 3083) // 50)
        ]
        assert bins == best
        assert (part["start"].to_numpy()[1:] > part["end"].to_numpy()[:-1]).all()  # adjacent ones are merged
        assert part["weight"].sum() == pytest.approx(weights[best].sum(), abs=1e-6)
        assert part["peak"].max() == pytest.approx(weights.max(), abs=1e-6)
        assert (part["name"] == f"G7|{sequence.block}|{sequence.mark}").all()


def test_bed_by_weight_holds_every_bin_from_it_on(crowded: OpenedModel) -> None:
    keep = np.array([0])
    table = read_bed(
        b"".join(
            bed_table(Weights.of(crowded), crowded.attend_batches(np.array([7])), keep, BinChoice(None, 0.1))
        )
    )
    (batch,) = crowded.attend_batches(np.array([7]))
    assert (table["end"] - table["start"]).sum() == 50 * (batch.alpha[0, 0] >= 0.1).sum()
    none = BinChoice(None, 1.0)
    assert b"".join(bed_table(Weights.of(crowded), crowded.attend_batches(np.arange(9)), keep, none)) == b""


@settings(max_examples=30, deadline=None)
@given(data=st.data(), how=st.sampled_from(["max", "mean"]))
def test_tracks_never_overlap_wherever_genes_lie(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, how: str
) -> None:
    places = data.draw(
        st.lists(
            st.tuples(st.sampled_from(["chr1", "chr2"]), st.integers(0, 1999), st.sampled_from("+-")),
            min_size=1,
            max_size=7,
        )
    )
    path = tmp_path_factory.mktemp("places") / "s.h5"
    sizes = {"chr1": 2000, "chr2": 2000}
    source = random_source(store_of(path, genes_at(places), Window(60, 20), sizes), "raw:d")
    rows = source.windows.genome_order(np.arange(len(places)))
    covered = {chrom: np.zeros(2000, dtype=int) for chrom in sizes}
    last: dict[str, int] = {}
    for stretch in combine(source, source.attend_batches(rows), np.array([0]), how):
        assert (stretch.end > stretch.start).all()
        assert stretch.start[0] >= last.get(stretch.chrom, 0)
        assert (stretch.start[1:] >= stretch.end[:-1]).all()
        last[stretch.chrom] = int(stretch.end[-1])
        for start, end in zip(stretch.start, stretch.end, strict=True):
            covered[stretch.chrom][start:end] += 1
    for chrom, bases in covered.items():
        expected = np.zeros(2000, dtype=int)
        for place, tss, strand in places:
            if place == chrom:
                first = tss + (strand == "-") - 60
                expected[max(first, 0) : first + 120] = 1
        np.testing.assert_array_equal(bases, expected)


def test_runs_of_even_bins_become_fixed_steps() -> None:
    start = np.concatenate([np.arange(100) * 50, [6000, 6010, 6100], 7000 + np.arange(64) * 20])
    end = np.concatenate([np.arange(100) * 50 + 50, [6010, 6030, 6120], 7020 + np.arange(64) * 20])
    assert sections(start, end) == [(0, 100, 50), (100, 103, 0), (103, 167, 20)]


def test_what_needs_coordinates_refuses_genes_without_them(tmp_path: Path) -> None:
    nowhere = np.array([-1])
    genes = Genes(**{**vars(genes_at([("NA", -1, ".")])), "start": nowhere, "end": nowhere, "tss": nowhere})
    source = random_source(store_of(tmp_path / "s.h5", genes, Window(300, 100), {}), "raw:d")
    for name in ("bed", "narrowpeak", "bedgraph", "bigwig"):
        with pytest.raises(InputError, match="1 of 1 genes have no genome coordinates.*`format=tsv`"):
            export(source, np.array([0]), ExportOptions(format=name), tmp_path / "out")
    assert os.listdir(tmp_path) == ["s.h5"]


def test_bigwig_needs_chromosome_lengths(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s.h5", genes_at([("chrUn", 500, "+")]), Window(300, 100), {"chr1": 1000})
    source = random_source(store, "raw:d")
    with pytest.raises(StoreError, match="length of chrUn is not known"):
        export(source, np.array([0]), ExportOptions(format="bigwig"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_that_contradict_each_other_are_refused() -> None:
    for wrong in (
        {"level": "mark", "format": "bed"},
        {"level": "gene"},
        {"format": "gff"},
        {"wide": True, "format": "bed"},
        {"top": 3},
        {"combine": "sum"},
    ):
        with pytest.raises(UsageError):
            ExportOptions(**wrong)  # type: ignore[arg-type]


def test_unknown_blocks_and_marks_are_named_with_those_there_are(crowded: OpenedModel) -> None:
    with pytest.raises(
        UsageError, match=r"`block=main`: this run has main:A, main:B, main:A-B, aux:A, aux:B"
    ):
        export(crowded, np.arange(9), ExportOptions(blocks=("main",)), Path("-"))
    with pytest.raises(UsageError, match="`marks=H3K9me3`: this run has H3K4me3, H3K27me3"):
        export(crowded, np.arange(9), ExportOptions(marks=("H3K9me3",)), Path("-"))


@pytest.fixture(scope="module")
def run(toy_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    job = training(toy_store.path, "raw:d", settings=hyperparameters("default", epochs=1, hidden=4))
    return train(job, tmp_path_factory.mktemp("runs") / "run").path


def attend(run: Path, store: Store, *words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["attend", str(run), "--store", str(store.path), "--threads", "1", *words])
    return int(end.value.code or 0)


def test_genes_that_are_not_there_are_listed_and_counted(
    run: Path, toy_store: Store, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    listed = tmp_path / "genes.txt"
    listed.write_text("GENE3\nnobody\nENSG00000000004\nnowhere\n")
    assert attend(run, toy_store, "--genes", str(listed), "--level", "mark") == 0
    captured = capsysbinary.readouterr()
    assert b"2 genes are not in the store: nobody, nowhere" in captured.err
    assert {line.split(b"\t")[1] for line in captured.out.splitlines()[1:]} == {b"GENE3", b"GENE4"}
    listed.write_text("nobody\n")
    assert attend(run, toy_store, "--genes", str(listed)) == 1
    assert b"none of its 1 genes (nobody) is in the store" in capsysbinary.readouterr().err
    listed.write_text("GENE0\n")
    assert attend(run, toy_store, "--genes", str(listed), "--split", "test") == 1
    assert b"none of its genes is among the test genes" in capsysbinary.readouterr().err


@pytest.mark.parametrize("format_", ["tsv", "bed", "narrowpeak", "bedgraph", "bigwig"])
def test_nothing_half_written_stays_where_output_cannot_be_written(
    run: Path, toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    (tmp_path / "file").write_text("kept")
    assert attend(run, toy_store, "--format", format_, "-o", str(tmp_path / "file" / "x")) == 1
    message = capsys.readouterr().err
    assert f"{tmp_path / 'file' / 'x'}: cannot be written" in message
    assert message.count("\n") == 1
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_of_tracks_is_whole_or_absent(
    crowded: OpenedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> object:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(opened.OpenedModel, "attend_signal", failing)
        for name in ("bedgraph", "bigwig"):
            with pytest.raises(OutputError, match="No space left"):
                export(crowded, np.arange(9), ExportOptions(format=name), tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_a_closed_pipe_ends_quietly_after_what_is_to_be_known(run: Path, toy_store: Store) -> None:
    command = [sys.executable, "-m", "diffchrom", "attend", str(run), "--store", str(toy_store.path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with running([*command, "--threads", "1"], **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"gene_id\tblock\tmark\tbin")
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert "log2fc: positive = higher in B2" in said
        assert "attention is practically even" in said
        assert len(said.splitlines()) == 2
        assert process.wait(60) in (0, 141)


def test_gzipped_tables_are_the_same_tables_every_time(crowded: OpenedModel, tmp_path: Path) -> None:
    export(crowded, np.arange(9), ExportOptions(), tmp_path / "x.tsv")
    for name in ("a.tsv.gz", "b.tsv.gz"):
        export(crowded, np.arange(9), ExportOptions(), tmp_path / name)
    assert (tmp_path / "a.tsv.gz").read_bytes() == (tmp_path / "b.tsv.gz").read_bytes()
    import gzip

    assert gzip.decompress((tmp_path / "a.tsv.gz").read_bytes()) == (tmp_path / "x.tsv").read_bytes()


def test_choosing_genes_keeps_the_order_of_the_store(crowded: OpenedModel) -> None:
    assert chosen_rows(crowded.genes, crowded.pair.parts).tolist() == list(range(9))
    assert chosen_rows(crowded.genes, crowded.pair.parts, part="test").tolist() == [2, 5, 8]

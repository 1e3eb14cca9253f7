"""Track hubs and IGV sessions of weights, read by parsers that are not ours."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyBigWig
import pytest

from attention_tools import adding_source, genes_at, store_of
from conftest import called, train, training
from diffchrom.attention.export import ExportOptions, export
from diffchrom.attention.hub import write_hub
from diffchrom.attention.tracks import track_name
from diffchrom.attention.weights import Weights
from diffchrom.config import hyperparameters
from diffchrom.deepdiff import opened
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.errors import InputError, OutputError, UsageError
from diffchrom.genome.genes import Genes, Window
from diffchrom.progress import SilentReporter
from diffchrom.signal.bigbed_writer import write_bigbed
from diffchrom.store.store import Store

SIZES = {"chr1": 6000, "chr10": 5000, "chr2": 2500}
PLACES = [
    ("chr2", 2450, "-"),
    ("chr1", 900, "+"),
    ("chr10", 60, "+"),
    ("chr1", 1130, "-"),
    ("chr1", 5950, "-"),
]
#: Two that come to the same file name, and one that would end an attribute.
MARKS = ("H3 K4", "H3?K4", "a<b>&\"c'")
BED = ExportOptions(format="bed", by="contribution")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    path = tmp_path_factory.mktemp("hub") / "s.h5"
    return adding_source(store_of(path, genes_at(PLACES), Window(250, 50), SIZES, marks=MARKS))


@pytest.fixture(scope="module")
def hub(source: OpenedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pybigtools", reason="the extra hub is not installed")
    folder = tmp_path_factory.mktemp("made") / "hub"
    write_hub(source, np.arange(5), BED, folder, "hg19")
    return folder


def stanzas(path: Path) -> list[dict[str, str]]:
    """Blocks of ``key value`` lines."""
    blocks = path.read_text().split("\n\n")
    return [dict(line.split(" ", 1) for line in block.strip().splitlines()) for block in blocks]


class Noting(SilentReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def trackhub() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports warn
        return pytest.importorskip("trackhub", reason="the test extra is not installed")


#: Settings that the package is given by other names.
_NAMED = {"track": "name", "type": "tracktype", "shortLabel": "short_label", "longLabel": "long_label"}


def test_the_trackhub_package_takes_every_setting_and_would_write_the_same(hub: Path, trackhub: Any) -> None:
    (named,), (genome,) = stanzas(hub / "hub.txt"), stanzas(hub / "genomes.txt")
    parent, *tracks, peaks = stanzas(hub / "trackDb.txt")

    def options(stanza: dict[str, str]) -> dict[str, str]:
        kept = {key: value for key, value in stanza.items() if key not in ("compositeTrack", "parent")}
        return {"url" if key == "bigDataUrl" else _NAMED.get(key, key): value for key, value in kept.items()}

    composite = trackhub.CompositeTrack(**options(parent))
    for track in tracks:
        composite.add_subtrack(trackhub.Track(source=str(hub / track["bigDataUrl"]), **options(track)))
    beside = trackhub.Track(source=str(hub / peaks["bigDataUrl"]), **options(peaks))
    db = trackhub.TrackDb()
    db.add_tracks([composite, beside])
    theirs = trackhub.Hub(named["hub"], named["shortLabel"], named["longLabel"], email=named["email"])
    assert genome == {"genome": "hg19", "trackDb": "trackDb.txt"}
    genomes = trackhub.GenomesFile()
    genomes.add_genome(made := trackhub.Genome(genome["genome"]))
    made.add_trackdb(db)
    theirs.add_genomes_file(genomes)
    db.validate()
    composite.validate()
    written = dict(line.split(" ", 1) for line in str(theirs).splitlines() if line)
    assert named.keys() == written.keys()
    shown = ("shortLabel", "longLabel", "email")
    assert [named[key] for key in shown] == [written[key] for key in shown]
    rendered = [
        dict(line.strip().split(" ", 1) for line in block.splitlines() if line.strip())
        for block in f"{composite}\n\n{beside}".split("\n\n")
        if block.strip()
    ]
    every = (parent, *tracks, peaks)
    assert [block["track"] for block in rendered] == [track["track"] for track in every]
    for block, stanza in zip(rendered, every, strict=True):
        assert {key: block[key] for key in stanza if key != "parent"} == {
            key: value for key, value in stanza.items() if key != "parent"
        }
        assert block.get("parent", "").split()[:1] == stanza.get("parent", "").split()[:1]
    assert all(len(stanza["shortLabel"]) <= 17 for stanza in every)


def test_tracks_are_the_bigwigs_of_the_format_under_names_fit_for_files(
    source: OpenedModel, hub: Path, tmp_path: Path
) -> None:
    _, *tracks, _ = stanzas(hub / "trackDb.txt")
    names = [track["bigDataUrl"] for track in tracks]
    assert names == ["contribution_H3_K4.bw", "contribution_H3_K4_2.bw", "contribution_a_b___c_.bw"]
    marks = [track["longLabel"] for track in tracks]
    assert marks == [f"contribution of {mark} in contribution, A to B" for mark in MARKS]
    for name, sequence in zip(names, Weights.of(source, "contribution").sequences, strict=True):
        wanted = ExportOptions(format="bigwig", by="contribution", marks=(sequence.mark,))
        export(source, np.arange(5), wanted, tmp_path / f"{track_name(sequence)}.bw")
        assert (hub / name).read_bytes() == (tmp_path / f"{track_name(sequence)}.bw").read_bytes()
        with pyBigWig.open(str(hub / name)) as file:
            assert file.header()["minVal"] < 0 < file.header()["maxVal"]


def test_a_session_names_what_lies_beside_it(hub: Path) -> None:
    session = ElementTree.parse(hub / "igv_session.xml").getroot()
    assert session.attrib == {"genome": "hg19", "locus": "chr1:651-1150", "version": "8"}
    paths = [resource.attrib["path"] for resource in session.iter("Resource")]
    texts = {"hub.txt", "genomes.txt", "trackDb.txt", "igv_session.xml"}
    assert sorted(paths) == sorted(set(os.listdir(hub)) - texts - {"peaks.bed"})
    tracks = list(session.iter("Track"))
    assert [track.attrib["id"] for track in tracks] == paths
    assert tracks[2].attrib["name"] == f"contribution of {MARKS[2]} in contribution, A to B"


def test_the_bigbed_of_the_peaks_is_their_bed(hub: Path) -> None:
    lines = [line.split("\t") for line in (hub / "peaks.bed").read_text().splitlines()]
    with pyBigWig.open(str(hub / "peaks.bb")) as file:
        assert file.isBigBed()
        assert file.chroms() == SIZES
        entries = [
            [chrom, str(start), str(end), *rest.split("\t")]
            for chrom, size in file.chroms().items()
            for start, end, rest in file.entries(chrom, 0, size)
        ]
        assert [line.split()[1].rstrip(";") for line in file.SQL().decode().splitlines()[3:-1]] == [
            "chrom", "chromStart", "chromEnd", "name", "score", "strand",
        ]  # fmt: skip
    assert sorted(entries) == sorted(lines)
    *_, stanza = stanzas(hub / "trackDb.txt")
    assert (stanza["bigDataUrl"], stanza["type"]) == ("peaks.bb", "bigBed 6")
    with (hub / "peaks.bb").open("rb") as file:
        file.seek(32)
        assert struct.unpack("<HH", file.read(4)) == (6, 6)  # fields, and those of BED: what browsers draw


def test_a_bigbed_that_was_not_written_whole_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pybigtools", reason="the extra hub is not installed")
    (tmp_path / "x.bed").write_text("chr1\t9\t20\ta\t1\t+\nchr1\t1\t2\tb\t1\t+\n")
    with pytest.raises(OutputError, match="x.bb: cannot be written as a bigBed"):
        write_bigbed(tmp_path / "x.bed", tmp_path / "x.bb", SIZES)
    assert "not sorted" in capfd.readouterr().out


def test_without_pybigtools_a_hub_has_its_peaks_as_bed_and_says_so(
    source: OpenedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffchrom.signal.bigbed_writer.find_spec", lambda _: None)
    reporter = Noting()
    write_hub(source, np.arange(5), BED, tmp_path / "hub", "hg19", reporter)
    assert (
        "which has no peaks.bed (`pip install diffchrom[hub]` to have it as a bigBed)" in reporter.notes[-1]
    )
    assert not (tmp_path / "hub" / "peaks.bb").exists()
    assert 'path="peaks.bed" type="bed"' in (tmp_path / "hub" / "igv_session.xml").read_text()
    assert "bigBed" not in (tmp_path / "hub" / "trackDb.txt").read_text()


def test_a_hub_without_peaks_has_no_bigbed(source: OpenedModel, tmp_path: Path) -> None:
    write_hub(
        source, np.arange(5), ExportOptions(format="bed", min_weight=1.0, top=None), tmp_path / "hub", "hg19"
    )
    assert (tmp_path / "hub" / "peaks.bed").read_bytes() == b""
    assert "peaks.bb" not in os.listdir(tmp_path / "hub")


def test_peaks_are_the_first_six_columns_of_bed(
    source: OpenedModel, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "ATTENTION_BATCH", 2)
    export(source, np.arange(5), BED, tmp_path / "x.bed")
    whole = (tmp_path / "x.bed").read_text().splitlines()
    assert (hub / "peaks.bed").read_text().splitlines() == ["\t".join(line.split("\t")[:6]) for line in whole]


def test_the_same_hub_is_the_same_files_and_replaces_itself(
    source: OpenedModel, hub: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        write_hub(source, np.arange(5), BED, tmp_path / "hub", "hg19")
    assert sorted(os.listdir(tmp_path / "hub")) == sorted(os.listdir(hub))
    for name in os.listdir(hub):
        assert (tmp_path / "hub" / name).read_bytes() == (hub / name).read_bytes()


def test_a_hub_is_whole_or_absent(
    source: OpenedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ElementTree, "tostring", lambda *_, **__: b"<x/>")
    monkeypatch.setattr("diffchrom.attention.hub.write_bigwigs", failing)
    with pytest.raises(OutputError, match="No space left"):
        write_hub(source, np.arange(5), BED, tmp_path / "hub", "hg19")
    assert os.listdir(tmp_path) == []


def test_genes_without_coordinates_and_assemblies_without_names_are_refused(
    source: OpenedModel, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="`hub`: the assembly of .* is not known; give `genome=hg38`"):
        write_hub(source, np.arange(5), BED, tmp_path / "hub")
    nowhere = np.array([-1])
    genes = Genes(**{**vars(genes_at([("NA", -1, ".")])), "start": nowhere, "end": nowhere, "tss": nowhere})
    lost = adding_source(store_of(tmp_path / "s.h5", genes, Window(250, 50), {}))
    with pytest.raises(InputError, match="`hub`: 1 of 1 genes have no genome coordinates"):
        write_hub(lost, np.array([0]), BED, tmp_path / "hub", "hg19")
    assert os.listdir(tmp_path) == ["s.h5"]


def test_the_command_writes_a_hub_and_says_where_to_open_it(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pybigtools", reason="the extra hub is not installed")
    job = training(toy_store.path, "raw:d", settings=hyperparameters("default", epochs=1, hidden=4))
    run = train(job, tmp_path / "run").path
    capsys.readouterr()
    words = [
        "attend",
        str(run),
        "--store",
        str(toy_store.path),
        "--threads",
        "1",
        "--hub",
        str(tmp_path / "hub"),
    ]
    assert called([*words, "--genome", "hg38", "--by", "gradient", "--marks", "H3K4me3", "--top", "2"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"IGV opens {tmp_path / 'hub' / 'igv_session.xml'}" in shown.err
    (genome,) = stanzas(tmp_path / "hub" / "genomes.txt")
    assert genome["genome"] == "hg38"
    assert [track["track"] for track in stanzas(tmp_path / "hub" / "trackDb.txt")] == [
        "diffchrom", "gradient_x_input_H3K4me3", "diffchrom_peaks",
    ]  # fmt: skip
    for wrong, message in (
        (["-o", "x"], "--output x: not with --hub"),
        (["--format", "bed"], "--hub: takes no --level, --format or --wide"),
        (["--check"], "--hub and --check: one at a time"),
    ):
        assert called([*words, "--genome", "hg38", *wrong]) == 2
        assert message in capsys.readouterr().err
    assert called([*words[:-2], "--genome", "hg38"]) == 2
    assert "--genome: needs --hub" in capsys.readouterr().err

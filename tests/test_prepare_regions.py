"""`prepare` stores the whole gene: every region of every track, as an independent reading gives it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyBigWig
import pysam
import pytest

from conftest import called
from diffchrom.errors import StoreError, UsageError
from diffchrom.genome.genes import Genes
from diffchrom.genome.regions import DEFAULT_REGIONS, REGIONS, Region
from diffchrom.genome.windows import Windows
from diffchrom.prepare.building import prepare
from diffchrom.prepare.request import PrepareRequest
from diffchrom.signal import bins
from diffchrom.store.store import Store
from test_prepare import GENES, SIZES, write_bigwig, write_gtf
from test_prepare_kill import assert_equal_stores

WIDE = tuple(REGIONS)
FAR = (10_000, 20_000, 50_000, 100_000, 200_000)
#: Windows of each region in bases downstream of the 5' edge of the TSS (TES), or parts of the length.
OFFSETS = {
    "tes": [(1000 * k, 1000 * k + 1000) for k in range(-6, 6)],
    "distal": [*((-b, -a) for a, b in list(pairwise(FAR))[::-1]), *pairwise(FAR)],
}


def spans(genes: Genes, row: int, region: str) -> list[tuple[float, float]]:
    """Edges of a gene's windows in transcription order, from the gene's ends alone."""
    start, end = float(genes.start[row]), float(genes.end[row])
    if genes.strand[row] == "+":
        anchor, sign = (end - 1 if region == "tes" else start), 1
    else:
        anchor, sign = (start + 1 if region == "tes" else end), -1
    part = (end - start) / 10
    offsets = OFFSETS.get(region) or [(part * i, part * (i + 1)) for i in range(10)]
    return [tuple(sorted((anchor + sign * a, anchor + sign * b))) for a, b in offsets]  # type: ignore[misc]


def means(track: Any, chrom: str, windows: Sequence[tuple[float, float]]) -> np.ndarray:
    """Mean of each window through pyBigWig, base by base; 0 beyond the chromosome's ends."""
    size = track.chroms(chrom)
    start = max(int(min(lower for lower, _ in windows)), 0)
    end = min(int(np.ceil(max(upper for _, upper in windows))), size)
    values = np.nan_to_num(track.values(chrom, start, end, numpy=True))
    found = []
    for lower, upper in windows:
        first, last = max(int(lower), 0), min(int(np.ceil(upper)), size)
        base = np.arange(first, max(first, last))
        share = np.minimum(base + 1, upper) - np.maximum(base, lower)
        found.append(float((values[base - start] * share).sum()) / (upper - lower))
    return np.array(found)


@pytest.fixture
def inputs(tmp_path: Path) -> PrepareRequest:
    """Two tracks of one cell, four genes near the ends of small chromosomes."""
    names = ("E1-H3K4me3", "E1-H3K27me3")
    tracks = tuple(write_bigwig(tmp_path / f"{name}.bw", seed) for seed, name in enumerate(names))
    return PrepareRequest(
        store=tmp_path / "s.h5",
        gtf=write_gtf(tmp_path / "genes.gtf"),
        bigwigs=tracks,
        flank=1000,
        threads=1,
    )


def reading(path: Path, genes: Genes, region: str) -> np.ndarray:
    """The signal of all genes in a region, read independently."""
    with pyBigWig.open(str(path)) as track:
        return np.array([means(track, genes.chrom[i], spans(genes, i, region)) for i in range(len(genes))])


def test_all_regions_are_stored_by_default(inputs: PrepareRequest) -> None:
    store = prepare(inputs).store
    assert store.regions("E1") == DEFAULT_REGIONS
    for path, mark in zip(inputs.bigwigs, ("H3K4me3", "H3K27me3"), strict=True):
        for region in WIDE:
            signal = store.region_signal("E1", region, [mark])[:, 0]
            np.testing.assert_allclose(signal, reading(path, store.genes, region), rtol=1e-6)
    assert [len(region.windows) for region in store.common_regions(["E1"], ["H3K4me3"])] == [20, 10, 12, 8]
    assert store.attrs["format_version"] == 2
    attrs = store.signal_attrs("E1", "H3K4me3", region="distal")
    assert attrs["anchor"] == "tss"
    assert attrs["windows"][0].tolist() == [-200_000, -100_000]
    assert attrs["clipped"] == 4


def test_genome_orientation_keeps_coordinates_ascending(inputs: PrepareRequest, tmp_path: Path) -> None:
    one = prepare(inputs).store
    other = prepare(replace(inputs, store=tmp_path / "g.h5", orient="genome")).store
    for region in WIDE:
        straight, ascending = (of.region_signal("E1", region, ["H3K4me3"])[:, 0] for of in (one, other))
        minus = one.genes.minus
        np.testing.assert_array_equal(ascending[~minus], straight[~minus])
        np.testing.assert_array_equal(ascending[minus], straight[minus][:, ::-1])


@pytest.mark.parametrize("mode", ["subtract", "log-ratio"])
def test_replicates_scales_and_controls_hold_in_every_region(
    inputs: PrepareRequest, tmp_path: Path, mode: str
) -> None:
    sheet = tmp_path / "sheet.tsv"
    one, two = (path.name for path in inputs.bigwigs)
    sheet.write_text(
        f"cell\tmark\tpath\treplicate\tscale\tcontrol\nA\tm\t{one}\t1\t2\t{two}\nA\tm\t{two}\t2\t0.5\tNA\n"
    )
    options = replace(inputs.track_options, settings=replace(inputs.track_options.settings, control=mode))
    store = prepare(replace(inputs, bigwigs=(), samples=sheet, track_options=options)).store
    for region in WIDE:
        a, b = (reading(path, store.genes, region) for path in inputs.bigwigs)
        first = np.maximum(2 * a - b, 0) if mode == "subtract" else np.log2((2 * a + 1) / (b + 1))
        signal = store.region_signal("A", region, ["m"])[:, 0]
        np.testing.assert_allclose(signal, (first + 0.5 * b) / 2, rtol=2e-5, atol=1e-5)


def test_a_blacklist_masks_bases_of_windows_and_whole_bins(inputs: PrepareRequest, tmp_path: Path) -> None:
    blacklist = tmp_path / "black.bed"
    blacklist.write_text("1\t10050\t10330\n1\t10300\t10430\n")  # overlapping, without chr
    result = prepare(replace(inputs, blacklist=blacklist))
    with pyBigWig.open(str(inputs.bigwigs[0])) as track:
        for region in WIDE:
            signal = result.store.region_signal("E1", region, ["H3K4me3"])[0, 0]
            whole = spans(result.store.genes, 0, region)
            inside = [(min(max(a, 10_050.0), 10_430.0), min(max(b, 10_050.0), 10_430.0)) for a, b in whole]
            lost = [
                means(track, "chr1", [(c, d)])[0] * (d - c) / (b - a) if d > c else 0.0
                for (a, b), (c, d) in zip(whole, inside, strict=True)
            ]
            np.testing.assert_allclose(signal, means(track, "chr1", whole) - lost, rtol=1e-6, atol=1e-6)
    tss = result.store.signal("E1", ["H3K4me3"])[0, 0]
    assert np.flatnonzero(tss == 0).tolist() == [10, 11, 12, 13, 14]
    assert "black.bed: the signal of its bases counts as 0 in body, tes, distal" in result.notes


def write_bam(path: Path, reads: list[tuple[str, int, int]]) -> Path:
    header = {"SQ": [{"SN": chrom, "LN": size} for chrom, size in SIZES.items()]}
    with pysam.AlignmentFile(str(path), "wb", header=header) as bam:
        for number, (chrom, start, length) in enumerate(reads):
            read = pysam.AlignedSegment(bam.header)
            read.query_name, read.reference_id = f"r{number}", list(SIZES).index(chrom)
            read.reference_start, read.cigarstring, read.mapping_quality = start, f"{length}M", 60
            read.query_sequence = "A" * length
            bam.write(read)
    return path


@pytest.mark.parametrize("kind", ["bam", "tagAlign"])
def test_reads_are_a_density_in_windows_beyond_the_bins(
    inputs: PrepareRequest, tmp_path: Path, kind: str
) -> None:
    random = np.random.default_rng(0)
    reads = [
        (chrom, int(start), int(random.integers(20, 90)))
        for chrom, size in SIZES.items()
        for start in random.integers(0, size - 90, 400)
    ]
    if kind == "bam":
        path = write_bam(tmp_path / "E1-H3K4me3.bam", reads)
    else:
        path = tmp_path / "E1-H3K4me3.tagAlign"
        path.write_text("".join(f"{c}\t{s}\t{s + n}\tN\t0\t+\n" for c, s, n in reads))
    blacklist = tmp_path / "black.bed"
    blacklist.write_text("chr1\t10050\t10130\n")
    request = replace(inputs, bigwigs=(), reads=(path,), blacklist=blacklist)
    store = prepare(request).store
    genes = store.genes
    off = [r for r in reads if not (r[0] == "chr1" and r[1] < 10_130 and r[1] + r[2] > 10_050)]
    for region in WIDE:
        signal = store.region_signal("E1", region, ["H3K4me3"])[:, 0]
        for row in range(len(genes)):
            for (lower, upper), got in zip(spans(genes, row, region), signal[row], strict=True):
                met = sum(c == genes.chrom[row] and s < upper and s + n > lower for c, s, n in off)
                assert got == pytest.approx(met * 100 / (upper - lower), rel=1e-6)


def test_regions_are_added_later_without_reading_the_tss_again(
    inputs: PrepareRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = prepare(inputs).store
    grown = replace(inputs, store=tmp_path / "grown.h5", regions=("tss",))
    assert prepare(grown).store.regions("E1") == ("tss",)
    again = prepare(replace(grown, regions=None))  # the store keeps its own choice
    assert (again.added, again.store.regions("E1")) == ((), ("tss",))
    read: list[str] = []
    track = bins.bin_track

    def told(path: Path, regions: Sequence[Windows], *more: Any) -> Any:
        read.extend(windows.region.name for windows in regions)
        return track(path, regions, *more)

    monkeypatch.setattr(bins, "bin_track", told)
    result = prepare(replace(grown, regions=("body",)))
    assert result.added == (("E1", "H3K4me3"), ("E1", "H3K27me3"))
    prepare(replace(grown, regions=("tss", "distal", "tes", "body")))
    assert set(read) == {"body", "tes", "distal"}
    assert_equal_stores(grown.store, at_once.path)
    assert prepare(replace(grown, regions=DEFAULT_REGIONS)).added == ()


def test_a_new_track_gets_the_regions_of_the_store(inputs: PrepareRequest, tmp_path: Path) -> None:
    prepare(replace(inputs, regions=("tss", "body")))
    more = write_bigwig(tmp_path / "E2-H3K4me3.bw", 5)
    store = prepare(replace(inputs, bigwigs=(more,))).store
    assert store.regions("E2") == ("tss", "body")
    store = prepare(replace(inputs, bigwigs=(more,), regions=("distal",))).store
    assert store.regions("E2") == ("tss", "body", "distal")
    assert store.regions("E1") == ("tss", "body")
    assert [region.name for region in store.common_regions(["E1", "E2"], ["H3K4me3"])] == ["tss", "body"]


def test_all_regions_of_a_track_come_from_one_file(inputs: PrepareRequest) -> None:
    prepare(replace(inputs, regions=("tss", "body")))
    write_bigwig(inputs.bigwigs[0], 77)
    with pytest.raises(StoreError, match="has H3K4me3 of E1 already.*`replace`"):
        prepare(replace(inputs, regions=("distal",)))
    store = prepare(replace(inputs, regions=("distal",), replace=True)).store
    for region in ("body", "distal"):
        signal = store.region_signal("E1", region, ["H3K4me3"])[:, 0]
        np.testing.assert_allclose(signal, reading(inputs.bigwigs[0], store.genes, region), rtol=1e-6)
    assert store.regions("E1") == ("tss", "body", "distal")


def test_the_older_spelling_of_the_bins_around_the_tes_still_works(
    inputs: PrepareRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prepare", "--gtf", str(inputs.gtf), "--store", str(inputs.store), "--flank", "1000"]
    words += ["--bigwigs", *map(str, inputs.bigwigs), "--threads", "1"]
    assert called([*words, "--regions", "tss"]) == 0
    assert called([*words, "--around", "tes"]) == 0
    assert Store(inputs.store).regions("E1") == ("tss", "tes_bins")
    assert called([*words, "--around", "tes", "--regions", "body"]) == 2
    assert called([*words, "--regions", "body,middle"]) == 2
    assert "--regions middle: choose one of tss, body, tes, distal, tes_bins" in capsys.readouterr().err


def test_nominal_ends_are_pointed_out(inputs: PrepareRequest, tmp_path: Path) -> None:
    starts = [(name, chrom, start, start, strand) for name, chrom, start, _, strand in GENES]
    gtf = write_gtf(tmp_path / "starts.gtf", starts)
    notes = prepare(replace(inputs, gtf=gtf)).notes
    assert (
        "warning: 4 of 4 genes are 1 bases long: where ends are not known, body and tes mean nothing; "
        "`regions=tss,distal` leaves them out"
    ) in notes
    quiet = prepare(replace(inputs, gtf=gtf, store=tmp_path / "t.h5", regions=("tss", "distal"))).notes
    assert not any("bases long" in note for note in quiet)


def test_what_dense_tracks_have_not_assayed_is_told(inputs: PrepareRequest) -> None:
    for path in inputs.bigwigs:
        with pyBigWig.open(str(path), "w") as track:
            track.addHeader([("chr1", 400_000)])
            track.addEntries("chr1", 100_000, values=[1.0] * 1000, span=50, step=50)
    gtf = write_gtf(inputs.store.with_name("one.gtf"), [("ENSG00000000001", "chr1", 120_001, 122_000, "+")])
    notes = prepare(replace(inputs, gtf=gtf)).notes
    told = "distal: 2 dense tracks have data over 10% of its bases; what was not assayed counts as 0"
    assert [note for note in notes if "not assayed counts as 0" in note] == [told]


def test_the_published_format_has_the_tss_alone(shared_data: Path, tmp_path: Path) -> None:
    request = PrepareRequest(store=tmp_path / "s.h5", deepdiff=shared_data / "deepdiff_sample")
    store = prepare(request).store
    assert store.regions("Cell1") == ("tss",)
    with pytest.raises(UsageError, match="`deepdiff` brings genes, tracks and expression of its own"):
        prepare(replace(request, store=tmp_path / "t.h5", regions=("body",)))


GOLDEN = Path(__file__).parent / "golden"


def test_the_golden_store_of_version_2_reads() -> None:
    store = Store(GOLDEN / "store-v2.h5")
    assert store.regions("E116") == ("tss", "tes_bins", "body", "distal")
    assert store.marks("E116", region="distal") == ("H3K4me3",)
    assert store.region("E116", "body") == Region("body", "gene", ((0, 1), (1, 2)), parts=2)
    body = store.region_signal("E123", "body", ["H3K27me3", "H3K4me3"], slice(1, 3))
    assert body.tolist() == [[[1012, 1013], [1002, 1003]], [[1014, 1015], [1004, 1005]]]
    assert store.region_signal("E116", "tes_bins", ["H3K4me3"]).shape == (3, 1, 4)
    start, end = store.windows(store.region("E116", "body")).intervals(chrom_sizes=store.chrom_sizes)
    assert start.tolist() == [[1000, 2000], [7000, 5000], [20_000, 20_500]]
    assert end.tolist() == [[2000, 3000], [9000, 7000], [20_500, 21_000]]
    np.testing.assert_array_equal(store.replicates("E116", "counts")[:, 1], [10.5, 0, np.nan])
    assert store.labels(("E123", "E116")).log2fc.tolist() == [-1, 0, 2]


def test_fingerprints_of_stores_without_regions_are_those_of_version_1(tmp_path: Path) -> None:
    golden = Store(GOLDEN / "store-v1.h5")
    first = golden.fingerprint(golden.cells())
    assert first == "523a90e51ba873978656b01e35804fba0d3b1cb3ae86e2565d121846b33d5819"
    store = Store(shutil.copy(golden.path, tmp_path / "s.h5"))
    values = np.ones((3, 10), np.float32)
    with store.edit() as editor:
        editor.add_signal("E116", "H3K4me3", values, region="body")
    assert store.attrs["format_version"] == 2  # what it holds now, version 1 does not tell of
    second = store.fingerprint(store.cells())
    assert second != first
    assert store.fingerprint(["E123"]) == golden.fingerprint(["E123"])
    with h5py.File(store.path, "r+") as file:
        file["cells/E116/regions/body/H3K4me3"].attrs["windows"] = [[i, i + 2] for i in range(10)]
    assert store.fingerprint(store.cells()) not in (first, second)


def test_tracks_with_other_windows_are_not_mixed(tmp_path: Path) -> None:
    store = Store(shutil.copy(GOLDEN / "store-v2.h5", tmp_path / "s.h5"))
    other = Region("body", "gene", ((0, 2), (2, 3)), parts=3)
    with store.edit() as editor:
        editor.add_signal("E116", "H3K9me3", np.ones((3, 2), np.float32), region=other)
    with pytest.raises(StoreError, match="different windows in region body.*`replace`"):
        store.region_signal("E116", "body", store.marks("E116", region="body"))
    assert store.region_signal("E116", "body", ["H3K9me3"]).shape == (3, 1, 2)
    with pytest.raises(StoreError, match=r"no distal signal of H3K27me3.*regions=distal"):
        store.region_signal("E116", "distal", ["H3K27me3"])


def attributes_lost(file: h5py.File) -> None:
    del file["cells/E116/regions/body/H3K4me3"].attrs["windows"]


def windows_too_many(file: h5py.File) -> None:
    file["cells/E116/regions/body/H3K4me3"].attrs["windows"] = [[i, i + 1] for i in range(3)]


def no_group(file: h5py.File) -> None:
    del file["cells/E116/regions"]
    file["cells/E116"]["regions"] = [1, 2]


@pytest.mark.parametrize("change", [attributes_lost, windows_too_many, no_group])
def test_regions_that_contradict_themselves_are_refused(tmp_path: Path, change: Any) -> None:
    path = Path(shutil.copy(GOLDEN / "store-v2.h5", tmp_path / "s.h5"))
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(StoreError):
        Store(path).region_signal("E116", "body", ["H3K4me3"])


def test_info_shows_every_region_and_verifies_it(
    inputs: PrepareRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(prepare(inputs).store.path)
    assert called(["info", path, "--verify"]) == 0
    text = capsys.readouterr().out
    assert [line.split()[2] for line in text.splitlines() if line.startswith("  E1  ")] == [
        region for region in DEFAULT_REGIONS for _ in range(2)
    ]
    assert "verified: every checksum agrees" in text
    with h5py.File(path, "r+") as file:
        file["cells/E1/regions/tes/H3K4me3"].attrs["values_sha256"] = "0" * 64
    assert called(["info", path, "--verify"]) == 1
    assert "H3K4me3 of E1: values differ" in capsys.readouterr().err


@pytest.mark.timeout(600)
def test_regions_of_real_genes_equal_an_independent_reading(shared_data: Path, tmp_path: Path) -> None:
    track = shared_data / "segmentation/E116-H3K36me3.seglevel.bw"
    gtf = shared_data / "gtf/gencode_v10_genes_hg19.gtf.gz"
    store = prepare(PrepareRequest(store=tmp_path / "s.h5", gtf=gtf, bigwigs=(track,), threads=1)).store
    genes = store.genes
    assert store.n_genes > 19_900
    random = np.random.default_rng(0)
    rows = np.concatenate(
        [random.choice(np.flatnonzero(genes.strand == strand), 500, replace=False) for strand in "+-"]
    )
    signals = {region: store.region_signal("E116", region, ["H3K36me3"])[:, 0] for region in DEFAULT_REGIONS}
    with pyBigWig.open(str(track)) as opened:
        for row in rows.tolist():
            edge = float(genes.start[row] if genes.strand[row] == "+" else genes.end[row]) - 10_000
            bins_around = [(edge + 100 * i, edge + 100 * (i + 1)) for i in range(200)]
            want = {region: spans(genes, row, region) for region in WIDE}
            want["tss"] = bins_around if genes.strand[row] == "+" else bins_around[::-1]
            for region, signal in signals.items():
                read = means(opened, genes.chrom[row], want[region])
                np.testing.assert_allclose(signal[row], read, rtol=3e-7, atol=1e-7)

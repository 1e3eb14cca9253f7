"""Where the windows of every region lie, and that their signal is what an independent reading gives."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import genes_of
from diffchrom.annotation.reading import read_annotation
from diffchrom.genome.genes import UNKNOWN_CHROM, Genes, Window
from diffchrom.genome.regions import DEFAULT_REGIONS, REGION_NAMES, REGIONS, Region, region_of
from diffchrom.genome.windows import GenomeIntervals, Windows
from diffchrom.signal.bins import BinnedSignal, bin_track
from diffchrom.signal.blocks import DECODER

WINDOW = Window(flank=200, bin_size=50)


@pytest.fixture(params=["compiled", "numpy"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with the compiled decoder, and without it."""
    if request.param == "numpy":
        monkeypatch.setattr(DECODER, "_loaded", "not built")
    elif DECODER.missing:
        pytest.skip(DECODER.missing)
    return str(request.param)


def placed(genes: Genes, orient: str = "transcription") -> dict[str, Windows]:
    return {name: Windows.of(genes, region_of(name, WINDOW), orient) for name in REGION_NAMES}


def read(path: Path, genes: Genes, masked: GenomeIntervals | None = None) -> dict[str, BinnedSignal]:
    windows = placed(genes)
    found = bin_track(path, list(windows.values()), *([masked] if masked else []))
    return dict(zip(windows, found, strict=True))


def write_values(path: Path, tracks: dict[str, list[float]]) -> Path:
    """A bigWig with a value for every base."""
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader([(chrom, len(values)) for chrom, values in tracks.items()])
        for chrom, values in tracks.items():
            track.addEntries(chrom, 0, values=[float(value) for value in values], span=1, step=1)
    return path


def exact(values: np.ndarray, lower: int, upper: int, parts: int) -> float:
    """Mean signal from `lower` to `upper`, in parts of a base, base by base in fractions."""
    total = Fraction(0)
    for base in range(max(lower // parts, 0), min(-(-upper // parts), len(values))):
        share = Fraction(min(upper, parts * (base + 1)) - max(lower, parts * base), parts)
        total += share * Fraction(float(values[base]))
    return float(total / Fraction(upper - lower, parts))


def test_windows_of_every_region_worked_out_by_hand() -> None:
    # TSS at 300,000 and TES at 300,099 on plus; on minus the TSS is 300,099, whose 5' edge is 300,100.
    plus = placed(genes_of(["chr1"], [300_000], 100, [False]))
    minus = placed(genes_of(["chr1"], [300_099], 100, [True]))

    def spans(windows: Windows) -> list[tuple[int, int]]:
        start, end = windows.intervals()
        return list(zip(start[0].tolist(), end[0].tolist(), strict=True))

    assert spans(plus["tss"])[0] == (299_800, 299_850)
    assert spans(minus["tss"])[0] == (300_250, 300_300)  # upstream comes first
    assert spans(plus["body"]) == [(300_000 + 10 * i, 300_010 + 10 * i) for i in range(10)]
    assert spans(minus["body"]) == spans(plus["body"])[::-1]
    # The 5' edge of the TES lies between the sixth and the seventh window.
    assert spans(plus["tes"]) == [(294_099 + 1000 * i, 295_099 + 1000 * i) for i in range(12)]
    assert spans(minus["tes"])[5:7] == [(300_001, 301_001), (299_001, 300_001)]
    assert spans(plus["distal"]) == [
        (100_000, 200_000), (200_000, 250_000), (250_000, 280_000), (280_000, 290_000),
        (310_000, 320_000), (320_000, 350_000), (350_000, 400_000), (400_000, 500_000),
    ]  # fmt: skip
    assert spans(minus["distal"])[0] == (400_100, 500_100)
    genome = placed(genes_of(["chr1"], [300_099], 100, [True]), "genome")
    for name in REGION_NAMES:  # without the flip, coordinates ascend
        assert spans(genome[name]) == spans(minus[name])[::-1]


def test_coordinates_of_parts_of_bases_do_not_overlap_and_are_clipped() -> None:
    genes = genes_of(["chr1", "chr1", UNKNOWN_CHROM], [100, 95, -1], [25, 3, 1], [False, False, False])
    windows = placed(genes)["body"]
    start, end = windows.intervals(chrom_sizes={"chr1": 97})
    assert (start[0] == -1).all()  # beyond the chromosome's end
    start, end = windows.intervals(chrom_sizes={"chr1": 120})
    assert list(zip(start[0, :4].tolist(), end[0, :4].tolist(), strict=True)) == [
        (100, 102), (102, 105), (105, 107), (107, 110),
    ]  # fmt: skip
    assert (start[0, -2:].tolist(), end[0, -2:].tolist()) == ([-1, -1], [-1, -1])
    # Narrower than a base: each window has the base where it begins.
    assert start[1].tolist() == [95, 95, 95, 95, 96, 96, 96, 97, 97, 97]
    assert (end[1] == start[1] + 1).all()
    assert (start[2] == -1).all()  # a gene without coordinates


def test_a_body_shorter_than_its_parts_is_cut_within_bases(tmp_path: Path, kernel: str) -> None:
    values = [0.0] * 1000
    values[100:104] = [1.0, 2.0, 4.0, 8.0]
    path = write_values(tmp_path / "t.bw", {"chr1": values})
    # Four bases in ten parts of 0.4: the third part is 0.2 of the first base and 0.2 of the second.
    genes = genes_of(["chr1", "chr1", "chr1"], [100, 103, 101], [4, 4, 1], [False, True, False])
    body = read(path, genes)["body"].values
    np.testing.assert_allclose(body[0], [1, 1, 1.5, 2, 2, 4, 4, 6, 8, 8], rtol=1e-6)
    np.testing.assert_array_equal(body[1], body[0])  # in ascending coordinates
    np.testing.assert_allclose(body[2], [2] * 10, rtol=1e-6)  # a gene of one base


def test_beyond_the_ends_of_a_chromosome_there_is_nothing(tmp_path: Path, kernel: str) -> None:
    path = write_values(tmp_path / "t.bw", {"chr1": [1.0] * 25_000})
    genes = genes_of(["chr1", "chr9"], [15_000, 15_000], 2000, [False, False])
    signal = read(path, genes)
    # Upstream [-5000, 5000) is half on the chromosome; downstream [25000, 35000) is not at all.
    np.testing.assert_array_equal(signal["distal"].values[0], np.float32([0, 0, 0, 0.5, 0, 0, 0, 0]))
    assert signal["distal"].clipped.tolist() == [True, False]
    assert signal["distal"].coverage.tolist() == [1, 0]
    assert not signal["body"].clipped[0]
    for region in REGION_NAMES:
        assert signal[region].absent.tolist() == [False, True]
        assert not signal[region].values[1].any()


def test_bases_without_data_count_as_0(tmp_path: Path, kernel: str) -> None:
    path = tmp_path / "t.bw"
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader([("chr1", 50_000)])
        track.addEntries(["chr1"] * 2, [1000, 1100], ends=[1050, 1200], values=[3.0, float("nan")])
    signal = read(path, genes_of(["chr1"], [1000], 100, [False]))["body"]
    np.testing.assert_allclose(signal.values, [[3] * 5 + [0] * 5], rtol=1e-6)
    assert signal.coverage[0] == np.float32(0.5)


def test_a_blacklist_takes_the_signal_of_its_bases_and_no_more(tmp_path: Path, kernel: str) -> None:
    path = write_values(tmp_path / "t.bw", {"chr1": [2.0] * 30_000})
    masked = GenomeIntervals(np.array(["chr1", "chr2"], object), np.array([15_005, 0]), np.array([15_030, 9]))
    genes = genes_of(["chr1"], [15_000], 100, [False])
    seen, whole = read(path, genes, masked), read(path, genes)
    np.testing.assert_allclose(seen["body"].values, [[1, 0, 0, 2, 2, 2, 2, 2, 2, 2]], rtol=1e-6)
    np.testing.assert_allclose(seen["tes"].values[0, 5:7], [2 - 2 * 0.025, 2], rtol=1e-6)
    np.testing.assert_array_equal(seen["tss"].values, whole["tss"].values)  # bins are masked as wholes, later


genes_drawn = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 1499), st.integers(1, 400), st.booleans()),
    min_size=1,
    max_size=6,
)
dark_drawn = st.tuples(st.integers(0, 1400), st.integers(1, 300))
values_drawn = st.lists(st.floats(0, 1000, width=32), min_size=30, max_size=30)
#: Small regions, so that chromosomes of a size that can be drawn matter.
SMALL = (
    Region("body", "gene", tuple((i, i + 1) for i in range(7)), parts=7),
    Region("parts", "gene", ((-2, 1), (3, 7)), parts=3),
    Region("tes", "tes", tuple((k, k + 30) for k in range(-60, 60, 30))),
    Region("distal", "tss", ((-300, -100), (-100, -20), (20, 90), (90, 400))),
    Region("upstream", "tss", ((-50, 0),)),
)


def blocks_of(values: list[float], width: int = 50) -> np.ndarray:
    return np.repeat(np.array(values, np.float32), width)


def write_blocks(path: Path, tracks: dict[str, np.ndarray], width: int = 50) -> Path:
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader([(chrom, len(values)) for chrom, values in tracks.items()])
        for chrom, values in tracks.items():
            steps = [float(value) for value in values[::width]]
            track.addEntries(chrom, 0, values=steps, span=width, step=width)
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=genes_drawn,
    a=values_drawn,
    b=values_drawn,
    dark=st.tuples(st.integers(0, 1400), st.integers(1, 300)),
)
def test_any_windows_equal_a_reading_base_by_base(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list,
    a: list,
    b: list,
    dark: tuple[int, int],
    kernel: str,
) -> None:
    tracks = {"a": blocks_of(a), "b": blocks_of(b)}
    path = write_blocks(tmp_path_factory.mktemp("bw") / "t.bw", tracks)
    chrom, tss, length, minus = map(list, zip(*drawn, strict=True))
    genes = genes_of(chrom, tss, np.array(length), minus)
    windows = [Windows.of(genes, region, "transcription") for region in SMALL]
    first, last = dark[0], min(sum(dark), 1500)
    masked = GenomeIntervals(np.array(["a"], object), np.array([first]), np.array([last]))
    lit = {**tracks, "a": np.concatenate([tracks["a"][:first], np.zeros(last - first), tracks["a"][last:]])}
    for one, signal in zip(windows, bin_track(path, windows, masked), strict=True):
        lower, upper = one.bounds()
        for row, name in enumerate(chrom):
            want = [
                exact(lit[name], lo, hi, one.region.parts)
                for lo, hi in zip(lower[row].tolist(), upper[row].tolist(), strict=True)
            ]
            np.testing.assert_allclose(signal.values[row], want, rtol=3e-7, atol=1e-9)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=genes_drawn, a=values_drawn, b=values_drawn)
def test_a_gene_and_its_mirror_image_have_the_same_signal(
    tmp_path_factory: pytest.TempPathFactory, drawn: list, a: list, b: list, kernel: str
) -> None:
    folder = tmp_path_factory.mktemp("bw")
    tracks = {"a": blocks_of(a), "b": blocks_of(b)}
    path = write_blocks(folder / "t.bw", tracks)
    mirror = write_blocks(folder / "m.bw", {chrom: values[::-1] for chrom, values in tracks.items()})
    chrom, tss, length, minus = map(list, zip(*drawn, strict=True))
    genes = genes_of(chrom, tss, np.array(length), minus)
    mirrored = genes_of(chrom, 1499 - np.array(tss), np.array(length), ~np.array(minus))
    for region in (*SMALL, *(region_of(name, Window(100, 20)) for name in ("tss", "tes_bins"))):
        one, other = (Windows.of(of, region, "transcription") for of in (genes, mirrored))
        (signal,), (image,) = bin_track(path, [one]), bin_track(mirror, [other])
        np.testing.assert_allclose(
            other.ascending(image.values), one.ascending(signal.values), rtol=3e-7, atol=1e-9
        )
        assert image.clipped.tolist() == signal.clipped.tolist()
        np.testing.assert_allclose(image.coverage, signal.coverage)


def test_small_values_beside_huge_ones_stay_exact(tmp_path: Path, kernel: str) -> None:
    values = np.full(3000, 1e-5, np.float32)
    values[:1000] = values[2000:] = 1e30
    path = write_blocks(tmp_path / "t.bw", {"a": values}, 1000)
    signal = read(path, genes_of(["a"], [1000], 1000, [False]))["body"]
    np.testing.assert_allclose(signal.values, np.full((1, 10), np.float32(1e-5)), rtol=1e-6)


def test_regions_read_together_are_those_read_alone(shared_data: Path) -> None:
    path = shared_data / "segmentation/E116-H3K4me1.seglevel.bw"
    genes = read_annotation(shared_data / "gtf/gencode_v10_genes_hg19.gtf.gz").genes
    some = genes.take(np.random.default_rng(0).permutation(len(genes))[:3000])
    windows = [Windows.of(some, region_of(name, Window()), "genome") for name in REGION_NAMES]
    for one, together in zip(windows, bin_track(path, windows), strict=True):
        (alone,) = bin_track(path, [one])
        np.testing.assert_allclose(together.values, alone.values, rtol=2e-7)
        np.testing.assert_allclose(together.coverage, alone.coverage, rtol=1e-6)
        np.testing.assert_array_equal(together.clipped, alone.clipped)
        if one.region.bins:
            np.testing.assert_array_equal(together.values, alone.values)


def test_a_rule_is_what_its_attributes_say() -> None:
    for region in REGIONS.values():
        assert Region.from_attrs(region.name, region.attrs()) == region
    assert DEFAULT_REGIONS == ("tss", "body", "tes", "distal")


@pytest.mark.parametrize(
    "wrong",
    [
        {"anchor": "middle"},
        {"parts": 0},
        {"parts": 10**9},
        {"windows": np.array([[5, 5]])},
        {"windows": np.array([1, 2])},
        {"windows": np.array([[0.5, 2.0]])},
        {"windows": np.array([[0, 2**60]])},
        {"windows": np.empty((0, 2), int)},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict) -> None:
    with pytest.raises((ValueError, TypeError)):
        Region.from_attrs("body", {**REGIONS["body"].attrs(), **wrong})


def test_the_digest_of_windows_sees_strand_rule_and_order() -> None:
    genes = genes_of(["chr1"], [5000], 100, [True])
    windows = Windows.of(genes, REGIONS["body"], "transcription")
    others = (
        Windows.of(genes, REGIONS["tes"], "transcription"),
        Windows.of(genes, REGIONS["body"], "genome"),
        replace(windows, minus=~windows.minus),
        replace(windows, unit=windows.unit + 1),
    )
    assert len({windows.digest(), *(other.digest() for other in others)}) == 5

"""Binned signal equals an independent reading with pyBigWig, bin by bin, for every dialect of bigWig."""

from __future__ import annotations

import itertools
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import bins_at
from diffchrom.errors import InputError
from diffchrom.signal.bins import BinnedSignal, bin_track, merge_regions, track_chroms
from diffchrom.signal.blocks import DECODER

DIALECTS = [
    "bigwig_dialects/fixedStep.bw",
    "bigwig_dialects/uncompressed.bw",
    "bigwig_dialects/variable_step.bw",
    "roadmap_pilot/E003-H3K4me3.pilot.pval.bigwig",
    "segmentation/E116-H3K4me1.seglevel.bw",
]


@pytest.fixture(params=["compiled", "numpy"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with the compiled decoder, and without it."""
    if request.param == "numpy":
        monkeypatch.setattr(DECODER, "_loaded", "not built")
    elif DECODER.missing:
        pytest.skip(DECODER.missing)
    return str(request.param)


def naive(path: Path, chrom: np.ndarray, start: np.ndarray, n_bins: int, bin_size: int) -> BinnedSignal:
    """The definition, window by window: base by base through pyBigWig, no data as 0."""
    width = n_bins * bin_size
    values, coverage = np.zeros((len(start), n_bins)), np.zeros(len(start))
    clipped, absent = np.zeros(len(start), bool), np.zeros(len(start), bool)
    with pyBigWig.open(str(path)) as track:
        for i, (name, first) in enumerate(zip(chrom, start.tolist(), strict=True)):
            length = track.chroms().get(name)
            if length is None:
                absent[i] = True
                continue
            low, high = max(first, 0), min(first + width, length)
            clipped[i] = first < 0 or first + width > length
            base = np.full(width, np.nan)
            if low < high:
                base[low - first : high - first] = track.values(name, low, high, numpy=True)
            coverage[i] = np.sum(~np.isnan(base)) / max(high - low, 1)
            values[i] = np.nan_to_num(base.astype(np.float64)).reshape(n_bins, bin_size).sum(1) / bin_size
    return BinnedSignal(values.astype(np.float32), coverage.astype(np.float32), clipped, absent)


def assert_same(got: BinnedSignal, want: BinnedSignal) -> None:
    np.testing.assert_allclose(got.values, want.values, rtol=2e-7, atol=0)
    np.testing.assert_allclose(got.coverage, want.coverage, rtol=1e-6)
    np.testing.assert_array_equal(got.clipped, want.clipped)
    np.testing.assert_array_equal(got.absent, want.absent)


def write_track(path: Path, sizes: dict[str, int], entries: dict[str, list[tuple[int, int, float]]]) -> Path:
    """A bedGraph-type bigWig."""
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader(list(sizes.items()))
        for chrom, rows in entries.items():
            if rows:
                start, end, value = map(list, zip(*rows, strict=True))
                track.addEntries([chrom] * len(rows), start, ends=end, values=value)
    return path


def bin_at(path: Path, chrom: Any, start: Any, n_bins: int, bin_size: int) -> BinnedSignal:
    (binned,) = bin_track(path, [bins_at(chrom, start, n_bins, bin_size)])
    return binned


def one_window(path: Path, chrom: str, start: int, n_bins: int = 4, bin_size: int = 10) -> BinnedSignal:
    return bin_at(path, [chrom], [start], n_bins, bin_size)


def test_bins_worked_out_by_hand(tmp_path: Path, kernel: str) -> None:
    rows = [(0, 5, 2.0), (8, 12, 1.0), (25, 100, 4.0)]
    path = write_track(tmp_path / "t.bw", {"chr1": 100}, {"chr1": rows})
    binned = one_window(path, "chr1", 0)
    # [0,10): 5*2 + 2*1 = 12; [10,20): 2*1; [20,30): 5*4; [30,40): 10*4
    np.testing.assert_array_equal(binned.values, np.array([[1.2, 0.2, 2.0, 4.0]], np.float32))
    assert binned.coverage[0] == np.float32((5 + 4 + 15) / 40)
    assert not binned.clipped[0]


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(("n_bins", "bin_size"), [(200, 100), (40, 37), (7, 1000)])
def test_every_dialect_equals_pybigwig(
    shared_data: Path, name: str, n_bins: int, bin_size: int, kernel: str
) -> None:
    path = shared_data / name
    rng = np.random.default_rng(n_bins)
    sizes = track_chroms(path)
    with pyBigWig.open(str(path)) as track:
        assert sizes == track.chroms()
    chrom = rng.choice(np.array([*sizes, "nowhere"], object), 150)
    start = np.array([rng.integers(-n_bins * bin_size, sizes.get(one, 1000) + 100) for one in chrom])
    # Random windows rarely meet sparse data, so half of them start near an interval.
    first = next(iter(sizes))
    with pyBigWig.open(str(path)) as track:
        known = [row[0] for row in track.intervals(first)[::50][:150]]
    chrom = np.concatenate([chrom, np.full(len(known), first, object)])
    start = np.concatenate([start, np.array(known) - rng.integers(0, n_bins * bin_size, len(known))])
    got = bin_at(path, chrom, start, n_bins, bin_size)
    assert_same(got, naive(path, chrom, start, n_bins, bin_size))
    assert (got.values > 0).any()


values = st.one_of(
    st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
    st.just(0.0),
    st.just(float("nan")),
    st.floats(0, 9, width=32),
)


@st.composite
def tracks(draw: st.DrawFn) -> dict[str, list[tuple[int, int, float]]]:
    entries = {}
    for chrom in ("a", "b"):
        steps = draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 300), values), max_size=12))
        position, rows = 0, []
        for gap, length, value in steps:
            rows.append((position + gap, position + gap + length, value))
            position += gap + length
        entries[chrom] = rows
    return entries


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=tracks(),
    starts=st.lists(st.integers(-300, 5000), min_size=1, max_size=8),
    n=st.integers(1, 9),
    size=st.integers(1, 60),
)
def test_any_track_equals_pybigwig(
    tmp_path_factory: pytest.TempPathFactory, entries: dict, starts: list, n: int, size: int, kernel: str
) -> None:
    if not any(entries.values()):
        entries["a"] = [(0, 1, 1.0)]
    path = write_track(tmp_path_factory.mktemp("bw") / "t.bw", {"a": 5000, "b": 6000}, entries)
    chrom = np.array((["a", "b", "c"] * len(starts))[: len(starts)], object)
    got = bin_at(path, chrom, starts, n, size)
    want = naive(path, chrom, np.array(starts), n, size)
    # Where values of 1e30 and -1e30 meet, base by base summing is no better than its own rounding.
    scale = np.abs(want.values).max()
    np.testing.assert_allclose(got.values, want.values, rtol=3e-7, atol=scale * 1e-12)
    np.testing.assert_allclose(got.coverage, want.coverage, rtol=1e-6)


def test_a_small_value_beside_a_huge_one_stays_exact(tmp_path: Path, kernel: str) -> None:
    path = write_track(
        tmp_path / "t.bw", {"chr1": 100}, {"chr1": [(0, 10, 1e30), (10, 20, 1e-5), (20, 30, 1e30)]}
    )
    np.testing.assert_array_equal(one_window(path, "chr1", 0).values[0, 1], np.float32(1e-5))


def test_order_of_windows_does_not_matter(shared_data: Path) -> None:
    path = shared_data / DIALECTS[3]
    rng = np.random.default_rng(0)
    chrom = rng.choice(np.array(["chr1", "chr2", "chr7", "chr22"], object), 200)
    start = rng.integers(0, 150_000_000, 200)
    straight = bin_at(path, chrom, start, 20, 100)
    order = rng.permutation(200)
    shuffled = bin_at(path, chrom[order], start[order], 20, 100)
    np.testing.assert_array_equal(shuffled.values, straight.values[order])


def test_windows_over_chromosome_ends_keep_zeros_and_are_marked(tmp_path: Path) -> None:
    path = write_track(tmp_path / "t.bw", {"chr1": 100}, {"chr1": [(0, 100, 3.0)]})
    left, right = one_window(path, "chr1", -15), one_window(path, "chr1", 75)
    np.testing.assert_array_equal(left.values, np.array([[0, 1.5, 3, 3]], np.float32))
    np.testing.assert_array_equal(right.values, np.array([[3, 3, 1.5, 0]], np.float32))
    assert left.clipped[0]
    assert right.clipped[0]
    assert left.coverage[0] == 1


def test_nan_is_no_data(tmp_path: Path, kernel: str) -> None:
    rows = [(0, 10, float("nan")), (10, 20, 2.0)]
    binned = one_window(write_track(tmp_path / "t.bw", {"chr1": 100}, {"chr1": rows}), "chr1", 0)
    np.testing.assert_array_equal(binned.values, np.array([[0, 2, 0, 0]], np.float32))
    assert binned.coverage[0] == np.float32(0.25)


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinity_is_refused_with_its_position(tmp_path: Path, value: float, kernel: str) -> None:
    path = write_track(tmp_path / "t.bw", {"chr1": 100}, {"chr1": [(0, 10, 1.0), (10, 20, value)]})
    with pytest.raises(InputError, match=re.escape("t.bw: chr1:11: the signal is infinite")):
        one_window(path, "chr1", 0)


def test_a_big_endian_file_reads_the_same(tmp_path: Path) -> None:
    """Written by hand: the format allows both byte orders, and old files from SPARC and PowerPC exist."""
    block = struct.pack(">IIIIIBBH", 0, 10, 30, 0, 0, 1, 0, 2) + struct.pack(
        ">IIfIIf", 10, 15, 2.0, 20, 30, 1.0
    )
    tree = struct.pack(">IIIIQQ", 0x78CA8C91, 1, 4, 8, 1, 0) + struct.pack(
        ">BBH4sII", 1, 0, 1, b"chr1", 0, 1000
    )
    tree_at = 64
    data_at = tree_at + len(tree)
    block_at = data_at + 8
    index_at = block_at + len(block)
    index = struct.pack(">IIQIIIIQII", 0x2468ACE0, 1, 1, 0, 10, 0, 30, index_at, 1, 0)
    index += struct.pack(">BBHIIIIQQ", 1, 0, 1, 0, 10, 0, 30, block_at, len(block))
    head = struct.pack(">IHHQQQHHQQIQ", 0x888FFC26, 4, 0, tree_at, data_at, index_at, 0, 0, 0, 0, 0, 0)
    path = tmp_path / "big-endian.bw"
    path.write_bytes(head + tree + struct.pack(">Q", 1) + block + index)
    np.testing.assert_array_equal(one_window(path, "chr1", 0).values, np.array([[0, 1, 1, 0]], np.float32))


WRONG_FILES = {
    "empty.bw": (b"", "is empty, not a bigWig"),
    "text.bw": (b"chr1\t0\t100\t1.5\n" * 9, "is text, not a bigWig; convert bedGraph"),
    "zipped.bw": (b"\x1f\x8b\x08\x04" + bytes(90), "is gzipped"),
    "bed.bb": (struct.pack("<I", 0x8789F2EB) + bytes(90), "a bigBed, not a bigWig"),
    "short.bw": (struct.pack("<I", 0x888FFC26) + bytes(20), "ends within its header"),
    "noise.bw": (bytes(range(128, 256)), "is no bigWig"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_files_that_are_no_bigwig_get_one_clear_line(tmp_path: Path, name: str) -> None:
    content, message = WRONG_FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        track_chroms(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such track"):
        track_chroms(tmp_path / "absent.bw")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_bigwig_is_refused(shared_data: Path, tmp_path: Path, share: float) -> None:
    whole = (shared_data / DIALECTS[0]).read_bytes()
    path = tmp_path / "cut.bw"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match="truncated or damaged bigWig"):
        track_chroms(path)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200), st.integers(0, 50)), max_size=30))
def test_merged_regions_cover_the_same_bases(regions: list[tuple[int, int, int]]) -> None:
    regions.sort()
    chrom, start, length = (
        (np.array(column, dtype=np.int64) for column in zip(*regions, strict=True))
        if regions
        else (np.empty(0, np.int64),) * 3
    )
    merged = list(
        zip(*(column.tolist() for column in merge_regions(chrom, start, start + length)), strict=True)
    )
    covered = {(c, p) for c, s, n in regions for p in range(s, s + n)}
    assert {(c, p) for c, s, e in merged for p in range(s, e)} == covered
    assert all(a[0] != b[0] or a[2] < b[1] for a, b in itertools.pairwise(merged))


def test_covered_bases_are_counted_once(tmp_path: Path, kernel: str) -> None:
    path = write_track(tmp_path / "t.bw", {"chr1": 100}, {"chr1": [(0, 10, 1.0), (20, 30, 1.0)]})
    for start, end, bases in [(0, 30, 20), (5, 25, 10), (10, 20, 0), (25, 26, 1), (40, 50, 0)]:
        binned = one_window(path, "chr1", start, n_bins=1, bin_size=end - start)
        assert binned.coverage[0] == np.float32(bases / (end - start))

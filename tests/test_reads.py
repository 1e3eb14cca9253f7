"""Reads counted in bins as `bedtools multicov` counts them, against brute force and, if installed, itself."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import bins_at
from diffchrom.errors import InputError
from diffchrom.signal.reads import COUNT_MODES, READS_AT_ONCE, bam_chroms, count_reads, reads_kind

SIZES = {"chr1": 5000, "chr2": 3000}
#: chrom, start, length, minus, mapping quality, further flags
Read = tuple[str, int, int, bool, int, int]


def random_reads(n: int, seed: int = 0) -> list[Read]:
    rng = np.random.default_rng(seed)
    reads = []
    for _ in range(n):
        chrom = str(rng.choice(list(SIZES)))
        length = int(rng.integers(20, 120))
        start = int(rng.integers(0, SIZES[chrom] - length))
        flags = int(rng.choice([0, 0, 0, 0, 0x100, 0x200, 0x400, 0x800]))
        reads.append((chrom, start, length, bool(rng.integers(2)), int(rng.integers(0, 60)), flags))
    return sorted(reads, key=lambda read: (list(SIZES).index(read[0]), read[1]))


def write_bam(path: Path, reads: list[Read], cigar: str = "{}M") -> Path:
    header = {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": c, "LN": n} for c, n in SIZES.items()]}
    with pysam.AlignmentFile(str(path), "wb", header=header) as bam:
        for i, (chrom, start, length, minus, quality, flags) in enumerate(reads):
            read = pysam.AlignedSegment(bam.header)
            read.query_name = f"read{i}"
            read.reference_id = list(SIZES).index(chrom)
            read.reference_start = start
            read.cigarstring = cigar.format(length)
            read.query_sequence = "A" * read.infer_query_length()
            read.mapping_quality = quality
            read.flag = flags | (16 if minus else 0)
            bam.write(read)
    return path


def write_bed(path: Path, reads: list[Read]) -> Path:
    lines = [f"{c}\t{s}\t{s + n}\tN\t1000\t{'-' if minus else '+'}\n" for c, s, n, minus, _, _ in reads]
    data = "".join(lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def brute_force(
    reads: list[Read], chrom: np.ndarray, start: np.ndarray, n: int, size: int, count: str, extend: int
) -> np.ndarray:
    counts = np.zeros((len(start), n))
    for name, first, length, minus, _, _ in reads:
        low, high = first, first + length
        if count == "start":
            low, high = (high - 1, high) if minus else (low, low + 1)
        elif extend:
            low, high = (high - extend, high) if minus else (low, low + extend)
        for i in range(len(start)):
            for k in range(n):
                a, b = start[i] + k * size, start[i] + (k + 1) * size
                if chrom[i] == name and low < b and high > a and b > 0 and a < SIZES[name]:
                    counts[i, k] += 1
    return counts


@dataclass(frozen=True)
class Counted:
    counts: np.ndarray
    depth: int
    clipped: np.ndarray
    absent: np.ndarray


def count_bins(path: Path, chrom: Any, start: Any, n_bins: int, bin_size: int, **options: Any) -> Counted:
    (signal,), depth = count_reads(
        path, [bins_at(chrom, start, n_bins, bin_size)], bin_size=bin_size, **options
    )
    return Counted(signal.values, depth, signal.clipped, signal.absent)


def windows(seed: int = 1, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    chrom = rng.choice(np.array(list(SIZES), object), n)
    return chrom, rng.integers(-300, 5200, n)


@pytest.mark.parametrize("count", COUNT_MODES)
@pytest.mark.parametrize("extend", [0, 150])
def test_bam_and_bed_are_counted_as_brute_force_counts(tmp_path: Path, count: str, extend: int) -> None:
    reads = random_reads(400)
    chrom, start = windows()
    options = {"count": count, "extend": extend}
    used = [read for read in reads if read[4] >= 10 and not read[5]]
    got = count_bins(write_bam(tmp_path / "r.bam", reads), chrom, start, 10, 50, min_mapq=10, **options)
    np.testing.assert_array_equal(got.counts, brute_force(used, chrom, start, 10, 50, count, extend))
    assert got.depth == len(used)
    bed = count_bins(write_bed(tmp_path / "r.bed.gz", used), chrom, start, 10, 50, sizes=SIZES, **options)
    np.testing.assert_array_equal(bed.counts, got.counts)
    assert bed.depth == len(used)
    np.testing.assert_array_equal(bed.clipped, got.clipped)


def test_one_read_worked_out_by_hand(tmp_path: Path) -> None:
    path = write_bam(tmp_path / "r.bam", [("chr1", 95, 110, True, 60, 0)])  # bases 95 to 204
    where = (path, ["chr1"], [0], 4, 100)
    assert count_bins(*where).counts.tolist() == [[1, 1, 1, 0]]
    assert count_bins(*where, count="start").counts.tolist() == [[0, 0, 1, 0]]
    assert count_bins(*where, extend=105).counts.tolist() == [[0, 1, 1, 0]]  # 100 to 204


def test_a_read_that_ends_at_a_bins_edge_is_not_in_the_next_bin(tmp_path: Path) -> None:
    path = write_bed(tmp_path / "r.bed", [("chr1", 0, 100, False, 0, 0), ("chr1", 100, 100, False, 0, 0)])
    counted = count_bins(path, ["chr1"], [0], 3, 100)
    assert counted.counts.tolist() == [[1, 1, 0]]


def test_spliced_reads_reach_to_their_last_aligned_base(tmp_path: Path) -> None:
    path = write_bam(tmp_path / "r.bam", [("chr1", 10, 0, False, 60, 0)], cigar="5S20M200N20M")
    counted = count_bins(path, ["chr1"], [0], 4, 100)
    assert counted.counts.tolist() == [[1, 1, 1, 0]]


@settings(max_examples=25, deadline=None)
@given(order=st.randoms(use_true_random=False))
def test_the_order_of_reads_does_not_matter(tmp_path_factory: pytest.TempPathFactory, order: object) -> None:
    folder = tmp_path_factory.mktemp("reads")
    reads = random_reads(60)
    chrom, start = windows()
    straight = count_bins(write_bed(folder / "a.bed", reads), chrom, start, 5, 100)
    order.shuffle(reads)  # type: ignore[attr-defined]
    shuffled = count_bins(write_bed(folder / "b.bed", reads), chrom, start, 5, 100)
    np.testing.assert_array_equal(shuffled.counts, straight.counts)


def test_reads_are_counted_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert READS_AT_ONCE > 1000
    reads = random_reads(300)
    chrom, start = windows()
    paths = write_bam(tmp_path / "r.bam", reads), write_bed(tmp_path / "r.bed", reads)
    whole = [count_bins(path, chrom, start, 5, 100) for path in paths]
    monkeypatch.setattr("diffchrom.signal.reads.READS_AT_ONCE", 37)
    parts = [count_bins(path, chrom, start, 5, 100) for path in paths]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a.counts, b.counts)
        assert a.depth == b.depth


def test_chromosome_names_without_chr_are_met(tmp_path: Path) -> None:
    path = write_bed(tmp_path / "r.tagAlign", [("1", 0, 50, False, 0, 0)])
    counted = count_bins(path, ["chr1", "chr2"], [0, 0], 1, 100)
    assert counted.counts.tolist() == [[1], [0]]
    assert counted.absent.tolist() == [False, True]


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    assert reads_kind(write_bam(tmp_path / "x.dat", random_reads(3))) == "bam"
    assert reads_kind(write_bed(tmp_path / "y.dat", random_reads(3))) == "bed"
    assert bam_chroms(tmp_path / "x.dat") == SIZES


WRONG = {
    "cram": (b"CRAM\x03\x00", "is CRAM; convert"),
    "sam": (b"@HD\tVN:1.6\n", "is SAM; convert"),
    "bigwig": (b"\x26\xfc\x8f\x88", "is a bigWig, not reads"),
    "empty": (b"", "holds no reads"),
    "columns": (b"chr1\t5\n", r":1: 2 columns"),
    "numbers": (b"chr1\t0\t9\t.\t0\t+\nchr1\ta\t9\t.\t0\t+\n", r":2: 'a' and '9' are no start and end"),
    "backwards": (b"chr1\t9\t5\n", r":1: '9' and '5' are no start and end"),
    "ragged": (b"chr1\t0\t9\t.\t0\t+\nchr1\t0\n", r":2: 2 columns"),
    "gzip": (b"\x1f\x8b\x08\x00\x00", "truncated or damaged gzip"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_get_one_clear_line(tmp_path: Path, name: str) -> None:
    content, message = WRONG[name]
    path = tmp_path / "x.bed"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        count_bins(path, ["chr1"], [0], 1, 100)


def test_strands_are_asked_for_where_they_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.bed"
    path.write_text("chr1\t0\t9\n")
    where = (path, ["chr1"], [0])
    assert count_bins(*where, 1, 100).depth == 1
    with pytest.raises(InputError, match=r"x.bed:1: no strand in column 6"):
        count_bins(*where, 1, 100, count="start")


@pytest.mark.parametrize("share", [0.3, 0.8, 0.99])
def test_a_truncated_bam_is_refused(tmp_path: Path, share: float) -> None:
    whole = write_bam(tmp_path / "r.bam", random_reads(3000)).read_bytes()
    path = tmp_path / "cut.bam"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"cut.bam: truncated or damaged BAM"):
        count_bins(path, ["chr1"], [0], 1, 100)


@pytest.mark.skipif(shutil.which("bedtools") is None, reason="bedtools is not installed")
def test_bedtools_coverage_counts_tagalign_the_same(tmp_path: Path) -> None:
    path = write_bed(tmp_path / "r.tagAlign.gz", random_reads(500))
    chrom, start = np.array(["chr1", "chr2"], object), np.array([1000, 500])
    bins = [(c, s + 50 * k, s + 50 * (k + 1)) for c, s in zip(chrom, start, strict=True) for k in range(10)]
    bed = tmp_path / "bins.bed"
    bed.write_text("".join(f"{c}\t{a}\t{b}\n" for c, a, b in bins))
    command = ["bedtools", "coverage", "-counts", "-a", str(bed), "-b", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    want = np.array([int(line.split("\t")[3]) for line in lines]).reshape(2, 10)
    got = count_bins(path, chrom, start, 10, 50)
    np.testing.assert_array_equal(got.counts, want)


@pytest.mark.skipif(shutil.which("bedtools") is None, reason="bedtools is not installed")
def test_bedtools_multicov_counts_the_same(tmp_path: Path) -> None:
    path = write_bam(tmp_path / "r.bam", [read for read in random_reads(500) if not read[5] & 0x900])
    pysam.index(str(path))
    chrom, start = np.array(["chr1", "chr2"], object), np.array([1000, 500])
    bins = [(c, s + 50 * k, s + 50 * (k + 1)) for c, s in zip(chrom, start, strict=True) for k in range(10)]
    bed = tmp_path / "bins.bed"
    bed.write_text("".join(f"{c}\t{a}\t{b}\n" for c, a, b in bins))
    command = ["bedtools", "multicov", "-q", "10", "-bams", str(path), "-bed", str(bed)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    want = np.array([int(line.split("\t")[3]) for line in lines]).reshape(2, 10)
    got = count_bins(path, chrom, start, 10, 50, min_mapq=10)
    np.testing.assert_array_equal(got.counts, want)

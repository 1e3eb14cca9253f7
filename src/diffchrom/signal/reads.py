"""Counting reads in bins: BAM, and BED or tagAlign, gzipped or not.

Counted as ``bedtools multicov`` does, with which the DeepDiff authors made their data: a read counts in every
bin that it overlaps, from its first to its last aligned base, and mates count one by one. Unmapped,
secondary and supplementary alignments, duplicates, reads that failed quality checks and reads of low mapping
quality are left out. A BED has no such flags: all its lines count.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError
from diffchrom.files.text import numbered_lines
from diffchrom.files.whole import open_text, require_file
from diffchrom.genome.assemblies import canonical
from diffchrom.genome.windows import NOWHERE, GenomeIntervals, Windows, on_chromosome
from diffchrom.signal.bins import BinnedSignal

IntArray = npt.NDArray[np.int64]

#: Unmapped, secondary, failed quality checks, duplicate, supplementary (SAM specification, 1.4.2).
FLAGS_LEFT_OUT = 0x4 | 0x100 | 0x200 | 0x400 | 0x800
REVERSE = 0x10
COUNT_MODES = ("overlap", "start")
READS_AT_ONCE = 1_000_000
#: Genes in whose windows reads are counted together.
ROWS_AT_ONCE = 2048
MAX_POSITION = 2**40
_BED_COMMENTS = ("#", "track", "browser")


@dataclass(frozen=True)
class Reads:
    """Some reads; 0-based, half-open.

    Attributes
    ----------
    names : list of str
        Chromosomes.
    chrom : int64 array [n]
        Position in `names`.
    start, end : int64 array [n]
    minus : bool array [n]
    """

    names: list[str]
    chrom: IntArray
    start: IntArray
    end: IntArray
    minus: npt.NDArray[np.bool_]


def reads_kind(path: str | Path) -> str:
    """Return ``bam`` or ``bed``, by the file's first bytes.

    Raises
    ------
    InputError
        For a missing file, and for kinds that look like reads but are not read.
    """
    path = require_file(path, "file of reads")
    with path.open("rb") as file:
        first = file.read(4)
    if first == b"CRAM":
        raise InputError(f"{path}: is CRAM; convert it with `samtools view -b -T genome.fa`")
    if first[:4] in (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26"):
        raise InputError(f"{path}: is a bigWig, not reads; give it with `bigwigs`")
    if first[:2] == b"\x1f\x8b":
        import gzip
        import zlib

        try:
            with gzip.open(path) as unzipped:
                first = unzipped.read(4)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: truncated or damaged gzip data ({error})") from error
        if first == b"BAM\x01":
            return "bam"
    if first[:1] == b"@":
        raise InputError(f"{path}: is SAM; convert it with `samtools view -b`")
    return "bed"


@contextlib.contextmanager
def _opened_bam(path: Path) -> Iterator[Any]:
    import pysam

    verbosity = pysam.set_verbosity(0)  # htslib writes to stderr by itself
    try:
        with pysam.AlignmentFile(str(path), "rb", check_sq=False) as bam:
            yield bam
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: truncated or damaged BAM ({reason}); fetch or make it again") from error
    finally:
        pysam.set_verbosity(verbosity)


def bam_chroms(path: str | Path) -> dict[str, int]:
    """Names and lengths of the chromosomes in a BAM's header."""
    with _opened_bam(Path(path)) as bam:
        return dict(zip(bam.references, bam.lengths, strict=True))


def read_bam(path: Path, min_mapq: int) -> Iterator[Reads]:
    """Yield a BAM's reads, filtered, in its order; no index is needed."""
    with _opened_bam(path) as bam:
        names = list(bam.references)
        chrom, start, end, flags = array("i"), array("q"), array("q"), array("i")
        for read in bam.fetch(until_eof=True):
            flag = read.flag
            if flag & FLAGS_LEFT_OUT or read.mapping_quality < min_mapq:
                continue
            chrom.append(read.reference_id)
            start.append(read.reference_start)
            # None for a read that aligns no base; it then covers its position.
            end.append(read.reference_end or read.reference_start + 1)
            flags.append(flag)
            if len(chrom) == READS_AT_ONCE:
                yield _bam_chunk(names, chrom, start, end, flags)
                chrom, start, end, flags = array("i"), array("q"), array("q"), array("i")
        yield _bam_chunk(names, chrom, start, end, flags)


def _bam_chunk(
    names: list[str], chrom: array[int], start: array[int], end: array[int], flags: array[int]
) -> Reads:
    minus = (np.array(flags, dtype=np.int64) & REVERSE) != 0
    number, first, last = (np.array(column, dtype=np.int64) for column in (chrom, start, end))
    return Reads(names, number, first, last, minus)


def _bad_bed_line(path: Path, stranded: bool) -> InputError:
    """Read again, slowly, to name the first line that is wrong."""
    for number, line in numbered_lines(path, "BED"):
        fields = line.split("\t")
        if not line.strip() or line.startswith(_BED_COMMENTS):
            continue
        if len(fields) < 3:
            return InputError(
                f"{path}:{number}: {len(fields)} columns with tabs between them; a BED has 3 or more"
            )
        if not (
            fields[1].isdigit() and fields[2].isdigit() and int(fields[1]) < int(fields[2]) < MAX_POSITION
        ):
            return InputError(f"{path}:{number}: {fields[1]!r} and {fields[2]!r} are no start and end")
        if stranded and (len(fields) < 6 or fields[5].strip() not in ("+", "-")):
            return InputError(
                f"{path}:{number}: no strand in column 6, which `count=start` and `extend` need"
            )
    return InputError(f"{path}: not a BED of reads")


def read_bed(path: Path, *, stranded: bool) -> Iterator[Reads]:
    """Yield the reads of a BED3+, BED6 or tagAlign, in its order.

    Parameters
    ----------
    stranded : bool
        Whether strands are needed.
    """
    import pandas as pd

    skipped, columns = 0, 0
    for _, line in numbered_lines(path, "BED"):
        if line.strip() and not line.startswith(_BED_COMMENTS):
            columns = line.count("\t") + 1
            break
        skipped += 1
    if not columns:
        raise InputError(f"{path}: holds no reads")
    if columns < (6 if stranded else 3):
        raise _bad_bed_line(path, stranded)
    wanted = [0, 1, 2, 5] if columns >= 6 else [0, 1, 2]
    kinds = {0: "str", 1: np.int64, 2: np.int64, 5: "str"}
    try:
        with open_text(path, "BED") as text:
            chunks = pd.read_csv(
                text,
                sep="\t",
                header=None,
                skiprows=skipped,
                usecols=wanted,
                quoting=3,
                dtype={column: kinds[column] for column in wanted},
                chunksize=READS_AT_ONCE,
                na_filter=False,
            )
            for frame in chunks:
                yield _bed_chunk(frame, stranded)
    except (ValueError, TypeError, OverflowError) as error:  # pandas' ParserError is a ValueError
        raise _bad_bed_line(path, stranded) from error


def _bed_chunk(frame: Any, stranded: bool) -> Reads:
    chrom, names = frame[0].factorize()
    start, end = frame[1].to_numpy(), frame[2].to_numpy()
    if np.any(start < 0) or np.any(end <= start) or np.any(end > MAX_POSITION):
        raise ValueError("positions")
    minus = (frame[5] == "-").to_numpy() if 5 in frame else np.zeros(len(frame), dtype=bool)
    if stranded and not ((frame[5] == "+").to_numpy() | minus).all():
        raise ValueError("strand")
    return Reads([str(name) for name in names], chrom.astype(np.int64), start, end, minus)


def laid_out(reads: Reads, count: str, extend: int) -> tuple[IntArray, IntArray]:
    """First and last (exclusive) base that each read counts for.

    Parameters
    ----------
    count : ``overlap``, the whole read, or ``start``, its 5' end alone.
    extend : bases that each read has from its 5' end; 0 leaves it as aligned.
    """
    if count == "start":
        five_prime = np.where(reads.minus, reads.end - 1, reads.start)
        return five_prime, five_prime + 1
    if not extend:
        return reads.start, reads.end
    start = np.where(reads.minus, reads.end - extend, reads.start)
    return start, start + extend


class _Counter:
    """Windows of genes in one region, and the reads that have been counted in them.

    Parameters
    ----------
    windows : of the genes.
    number : int64 [n_genes]; chromosome of each gene.
    """

    def __init__(self, windows: Windows, number: IntArray) -> None:
        self.windows = windows
        self._order = np.lexsort((windows.start, number))
        self._number = number[self._order]
        self._start, self._end = windows.start[self._order], windows.end[self._order]
        self._counts = np.zeros((len(number), windows.n_windows), dtype=np.int64)

    def add(self, number: int, start: IntArray, end: IntArray) -> None:
        """Count reads of a chromosome in every window that they overlap; both columns sorted by themselves.

        A read overlaps a window when it starts before the window's end and ends after the window's start.
        """
        if not len(start):
            return
        first, last = np.searchsorted(self._number, [number, number + 1])
        met = (self._end[first:last] > start[0]) & (self._start[first:last] < end[-1])
        rows, parts = first + np.flatnonzero(met), self.windows.region.parts
        for some in range(0, len(rows), ROWS_AT_ONCE):
            at = rows[some : some + ROWS_AT_ONCE]
            lower, upper = self.windows.bounds(self._order[at])
            begun = np.searchsorted(start * parts, upper.ravel(), side="left")
            ended = np.searchsorted(end * parts, lower.ravel(), side="right")
            self._counts[at] += (begun - ended).reshape(lower.shape)

    def counted(self, length: IntArray, bin_size: int) -> npt.NDArray[np.float32]:
        """Reads a bin; in windows that are no bins their density, as reads per `bin_size` bases."""
        values = np.empty(self._counts.shape, dtype=np.float32)
        parts = self.windows.region.parts
        for some in range(0, len(values), ROWS_AT_ONCE):
            rows = self._order[some : some + ROWS_AT_ONCE]
            lower, upper = self.windows.bounds(rows)
            low, high, _ = on_chromosome(lower, upper, length[rows, None] * parts)
            # An extended read may reach over an end of its chromosome; nothing is counted there.
            counts = np.where(high > low, self._counts[some : some + ROWS_AT_ONCE], 0)
            bins = self.windows.region.bins
            values[rows] = counts if bins else counts * bin_size * parts / (upper - lower)
        return values


def _off(start: IntArray, end: IntArray, masked: GenomeIntervals) -> npt.NDArray[np.bool_]:
    """Reads that share no base with intervals of their chromosome, which are sorted."""
    begun = np.searchsorted(masked.start, end, side="left")
    return np.asarray(begun <= np.searchsorted(masked.end, start, side="right"))


def count_reads(
    path: str | Path,
    regions: Sequence[Windows],
    *,
    bin_size: int,
    count: str = "overlap",
    extend: int = 0,
    min_mapq: int = 0,
    sizes: Mapping[str, int] | None = None,
    masked: GenomeIntervals = NOWHERE,
) -> tuple[list[BinnedSignal], int]:
    """Count a file's reads in the windows of genes in several regions, in one reading.

    Parameters
    ----------
    path : BAM, BED or tagAlign.
    regions : the same genes in each; chromosome names in any of the usual spellings (``chr1``, ``1``).
    bin_size : bases a bin: what the density of reads in windows that are no bins is told in.
    count, extend, min_mapq : see `laid_out` and `read_bam`.
    sizes : lengths of chromosomes, where a BED does not tell; only `clipped` depends on them.
    masked : reads that share a base with it do not count, except in bins.

    Returns
    -------
    (signal, depth)
        One `BinnedSignal` a region, without data nowhere but where the file lacks the chromosome; and the
        reads used, in the whole file.
    """
    path = Path(path)
    bam = reads_kind(path) == "bam"
    lengths = bam_chroms(path) if bam else sizes or {}
    by_name = {canonical(name): length for name, length in lengths.items()}
    names, number = np.unique([canonical(str(name)) for name in regions[0].chrom], return_inverse=True)
    numbers = {name: i for i, name in enumerate(names.tolist())}
    counters = [_Counter(windows, number) for windows in regions]
    dark_chroms = np.array([canonical(str(name)) for name in masked.chrom], dtype=object)
    stranded = count == "start" or extend > 0
    seen, depth = set(by_name) if bam else set(), 0
    for reads in read_bam(path, min_mapq) if bam else read_bed(path, stranded=stranded):
        depth += len(reads.chrom)
        for name, first, last in _by_chromosome(reads, count, extend):
            seen.add(name)
            if name in numbers:
                light = _off(first, last, masked.take(dark_chroms == name))
                for counter in counters:
                    some = slice(None) if counter.windows.region.bins else light
                    counter.add(numbers[name], np.sort(first[some]), np.sort(last[some]))
    length = np.array([by_name.get(name, MAX_POSITION) for name in numbers], dtype=np.int64)[number]
    absent = np.array([name not in seen for name in numbers], dtype=bool)[number]
    return [_signal(counter, length, absent, bin_size) for counter in counters], depth


def _by_chromosome(reads: Reads, count: str, extend: int) -> Iterator[tuple[str, IntArray, IntArray]]:
    """Yield each chromosome of some reads, and where these begin and end there."""
    first, last = laid_out(reads, count, extend)
    by_chrom = np.argsort(reads.chrom, kind="stable")
    for rows in np.split(by_chrom, np.flatnonzero(np.diff(reads.chrom[by_chrom])) + 1):
        if len(rows):
            yield canonical(reads.names[int(reads.chrom[rows[0]])]), first[rows], last[rows]


def _signal(
    counter: _Counter, length: IntArray, absent: npt.NDArray[np.bool_], bin_size: int
) -> BinnedSignal:
    coverage = np.where(absent, 0, 1).astype(np.float32)  # no reads means a count of 0, not missing data
    clipped = on_chromosome(counter.windows.start, counter.windows.end, length)[2] & ~absent
    return BinnedSignal(counter.counted(length, bin_size), coverage, clipped, absent)

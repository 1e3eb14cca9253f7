"""Damaged bigWigs end in one clear line: no crash, no hang, no other exception, whatever bytes are wrong.

`DIFFCHROM_FUZZ` is the number of damaged copies (``make fuzz`` takes 1,000).
"""

from __future__ import annotations

import os
import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import bins_at, genes_of
from diffchrom.errors import InputError
from diffchrom.genome.regions import REGIONS
from diffchrom.genome.windows import Windows
from diffchrom.signal.bigwig import read_header
from diffchrom.signal.bins import BinnedSignal, bin_track
from diffchrom.signal.blocks import DECODER

COPIES = int(os.environ.get("DIFFCHROM_FUZZ", "90"))
SECONDS = 20.0
DIALECTS = ("fixedStep.bw", "uncompressed.bw", "variable_step.bw")
NASTY = (0, 1, 0x7F, 0x80, 0xFF)


def spoil(whole: bytes, dice: random.Random) -> tuple[str, bytes]:
    """One kind of damage: a cut, or wrong bytes in the header, the chromosome tree, the index or the data."""
    tree, data, index = struct.unpack("<QQQ", whole[8:32])
    places = {
        "header": (4, 64),
        "chromosomes": (tree, min(tree + 200, data)),
        "blocks": (data, index),
        "block starts": (data, min(data + 400, index)),
        "index": (index, min(index + 4000, len(whole))),
    }
    kind = dice.choice(["cut", "zeros", *places])
    if kind == "cut":
        return kind, whole[: dice.randrange(len(whole))]
    damaged = bytearray(whole)
    if kind == "zeros":
        first = dice.randrange(len(whole))
        damaged[first : first + 4096] = bytes(len(damaged[first : first + 4096]))
        return kind, bytes(damaged)
    low, high = places[kind]
    for _ in range(dice.choice([1, 1, 2, 8])):
        at = dice.randrange(low, high)
        damaged[at] = dice.choice([*NASTY, damaged[at] ^ (1 << dice.randrange(8))])
    return kind, bytes(damaged)


def windows(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Windows over all of a file's chromosomes, as far as they can be known from the undamaged file."""
    chrom, start = [], []
    for name, size in list(read_header(path).chrom_sizes.items())[:50]:
        places = np.linspace(-1000, size, 20).astype(int)
        chrom += [name] * len(places)
        start += places.tolist()
    return np.array(chrom, object), np.array(start)


def outcome(path: Path, chrom: np.ndarray, start: np.ndarray) -> list[BinnedSignal] | str:
    """What becomes of a file: its signal in bins and in all other regions, or the line that refuses it."""
    genes = genes_of(chrom, np.maximum(start, 0), 7777, start % 2)
    wide = [Windows.of(genes, region, "genome") for region in REGIONS.values()]
    try:
        return bin_track(path, [bins_at(chrom, start, 50, 200), *wide])
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_damaged_bigwigs_are_read_or_refused_in_one_line_whatever_decodes_them(
    shared_data: Path, tmp_path: Path, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shared_data / "bigwig_dialects" / dialect
    whole = source.read_bytes()
    chrom, start = windows(source)
    path = tmp_path / "damaged.bw"
    dice = random.Random(dialect)
    refused = 0
    for copy in range(COPIES // len(DIALECTS)):
        kind, content = spoil(whole, dice)
        path.write_bytes(content)
        began = time.monotonic()
        usual = outcome(path, chrom, start)
        with monkeypatch.context() as patch:
            patch.setattr(DECODER, "_loaded", "not built")
            by_numpy = outcome(path, chrom, start)
        assert time.monotonic() - began < SECONDS, (copy, kind)
        if isinstance(usual, str):
            refused += 1
            assert usual.startswith(str(path)), (copy, kind)
            assert "\n" not in usual, (copy, kind)
            assert by_numpy == usual, (copy, kind)
        else:
            assert not isinstance(by_numpy, str), (copy, kind, by_numpy)
            for one, other in zip(usual, by_numpy, strict=True):
                assert np.isfinite(one.values).all(), (copy, kind)
                rounding = 1e-12 * np.abs(usual[0].values).max()  # of wrong values that nearly cancel
                np.testing.assert_allclose(other.values, one.values, rtol=3e-7, atol=rounding)
                np.testing.assert_array_equal(other.coverage, one.coverage)
    assert refused > 0


def test_a_block_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    import zlib

    bomb = zlib.compress(bytes(50_000_000))
    tree = struct.pack("<IIIIQQ", 0x78CA8C91, 1, 4, 8, 1, 0) + struct.pack(
        "<BBH4sII", 1, 0, 1, b"chr1", 0, 1000
    )
    data_at = 64 + len(tree)
    index_at = data_at + 8 + len(bomb)
    index = struct.pack("<IIQIIIIQII", 0x2468ACE0, 1, 1, 0, 0, 0, 1000, index_at, 1, 0)
    index += struct.pack("<BBHIIIIQQ", 1, 0, 1, 0, 0, 0, 1000, data_at + 8, len(bomb))
    head = struct.pack("<IHHQQQHHQQIQ", 0x888FFC26, 4, 0, 64, data_at, index_at, 0, 0, 0, 0, 32768, 0)
    path = tmp_path / "bomb.bw"
    path.write_bytes(head + tree + struct.pack("<Q", 1) + bomb + index)
    with pytest.raises(InputError, match="does not end"):
        bin_track(path, [bins_at(["chr1"], [0], 1, 100)])


def test_an_index_that_bites_its_tail_is_refused(tmp_path: Path) -> None:
    tree = struct.pack("<IIIIQQ", 0x78CA8C91, 1, 4, 8, 1, 0) + struct.pack(
        "<BBH4sII", 1, 0, 1, b"chr1", 0, 1000
    )
    data_at = 64 + len(tree)
    index_at = data_at + 8
    index = struct.pack("<IIQIIIIQII", 0x2468ACE0, 1, 1, 0, 0, 0, 1000, index_at, 1, 0)
    index += struct.pack("<BBHIIIIQ", 0, 0, 1, 0, 0, 0, 1000, index_at + 48) + bytes(64)
    head = struct.pack("<IHHQQQHHQQIQ", 0x888FFC26, 4, 0, 64, data_at, index_at, 0, 0, 0, 0, 32768, 0)
    path = tmp_path / "loop.bw"
    path.write_bytes(head + tree + struct.pack("<Q", 1) + index)
    with pytest.raises(InputError, match="its index has no end"):
        bin_track(path, [bins_at(["chr1"], [0], 1, 100)])

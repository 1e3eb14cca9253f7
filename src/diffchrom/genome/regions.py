"""Regions: rules that give every gene a row of windows, as data; `windows` says where they lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from diffchrom.genome.genes import Window

#: What windows count from: the 5' edge of the TSS or TES, or the TSS in parts of the gene's length.
ANCHORS = ("tss", "tes", "gene")
#: What a store's attributes say of a rule.
RULE_ATTRS = ("anchor", "windows", "parts")
#: Limits of a rule that is read from a file.
_MAX_WINDOWS, _MAX_PARTS, _MAX_REACH = 1_000_000, 10_000, 2**40


@dataclass(frozen=True)
class Region:
    """A rule that gives every gene a row of windows, in the order of transcription.

    Attributes
    ----------
    name : str
    anchor : str
        One of `ANCHORS`.
    windows : tuple of (int, int)
        Where each window begins and ends, downstream positive, in bases (``gene``: in parts of its length).
    parts : int
        Equal parts that a gene's length is cut into; 1 unless the anchor is ``gene``.
    bins : bool
        Whether the windows are the store's bins: of equal width, side by side. A bin that a blacklist touches
        is 0 as a whole, and its reads are a count; elsewhere the blacklist's bases are, and reads a density.
    """

    name: str
    anchor: str
    windows: tuple[tuple[int, int], ...]
    parts: int = 1
    bins: bool = False

    def attrs(self) -> dict[str, Any]:
        """Return the rule as a store's attributes hold it."""
        windows = np.array(self.windows, dtype=np.int64)
        return {"anchor": self.anchor, "windows": windows, "parts": self.parts}

    @property
    def digest(self) -> str:
        """Twelve digits that tell a rule from another."""
        told = json.dumps([self.anchor, self.windows, self.parts])
        return hashlib.sha256(told.encode()).hexdigest()[:12]

    @classmethod
    def from_attrs(cls, name: str, attrs: Mapping[str, Any]) -> Region:
        """Return the rule that a store's attributes hold.

        Raises
        ------
        ValueError, KeyError, TypeError
            Where they hold none.
        """
        anchor, windows, parts = str(attrs["anchor"]), np.asarray(attrs["windows"]), int(attrs["parts"])
        if anchor not in ANCHORS or not 1 <= parts <= (_MAX_PARTS if anchor == "gene" else 1):
            raise ValueError(f"region {name} counts {parts} parts from {anchor!r:.40}")
        if windows.ndim != 2 or windows.shape[1] != 2 or windows.dtype.kind not in "iu":
            raise ValueError(f"windows of region {name} are {windows.dtype}{windows.shape}")
        if not 0 < len(windows) <= _MAX_WINDOWS or np.any(windows[:, 0] >= windows[:, 1]):
            raise ValueError(f"region {name} has no windows, or some that end before they begin")
        if windows.min() < -_MAX_REACH or windows.max() > _MAX_REACH:
            raise ValueError(f"windows of region {name} are too far away")
        return cls(name, anchor, tuple((int(first), int(last)) for first, last in windows), parts)


def _side_by_side(edges: range) -> tuple[tuple[int, int], ...]:
    return tuple(pairwise(edges))


_FAR = (10_000, 20_000, 50_000, 100_000, 200_000)

#: What `prepare` stores beyond the bins around the TSS, by name.
REGIONS = {
    region.name: region
    for region in (
        Region("body", "gene", _side_by_side(range(11)), parts=10),
        Region("tes", "tes", _side_by_side(range(-6000, 6001, 1000))),
        Region(
            "distal",
            "tss",
            (*((-far, -near) for near, far in reversed(list(pairwise(_FAR)))), *pairwise(_FAR)),
        ),
    )
}
TSS = "tss"
#: Regions of bins, cut as a store's `Window` says, and what they lie around.
BIN_REGIONS = {TSS: "tss", "tes_bins": "tes"}
DEFAULT_REGIONS = (TSS, *REGIONS)
REGION_NAMES = (*DEFAULT_REGIONS, "tes_bins")


def region_of(name: str, window: Window) -> Region:
    """Return one of `REGION_NAMES`; those of bins are cut as `window` says."""
    if name not in BIN_REGIONS:
        return REGIONS[name]
    edges = range(-window.flank, window.flank + 1, window.bin_size)
    return Region(name, BIN_REGIONS[name], _side_by_side(edges), bins=True)

"""How the windows of a region are drawn side by side, and what they are called for readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffchrom.genome.genes import Window
from diffchrom.genome.regions import Region


@dataclass(frozen=True)
class RegionAxis:
    """An axis along the windows of a region.

    Bins are drawn to scale; windows of different widths all equally wide, with their edges as ticks.

    Attributes
    ----------
    ends : where it begins and ends.
    ticks : place to text; empty where a plotting library chooses.
    label : what it shows.
    """

    ends: tuple[float, float]
    ticks: dict[float, str]
    label: str

    @classmethod
    def of(cls, region: Region, window: Window) -> RegionAxis:
        """Lay out a region; `window` is how bins are cut."""
        if region.bins:
            edge = window.flank / 1000
            return cls(
                (-edge, edge), {}, f"distance from the {region.anchor.upper()} (kb, downstream positive)"
            )
        starts, ends = zip(*region.windows, strict=True)
        n, (unit, of) = len(region.windows), _unit(region)
        ticks = {-n / 2: _number(starts[0] * unit)}
        for i, (end, start) in enumerate(zip(ends[:-1], starts[1:], strict=True), 1):
            edges = (end,) if end == start else (end, start)
            ticks[i - n / 2] = " | ".join(_number(edge * unit) for edge in edges)
        ticks[n / 2] = _number(ends[-1] * unit)
        return cls((-n / 2, n / 2), ticks, f"{region.name} ({of})")

    def middles(self, n_windows: int) -> list[float]:
        """Middles of the windows."""
        first, last = self.ends
        return [first + (last - first) * (i + 0.5) / n_windows for i in range(n_windows)]


def place_names(region: Region) -> list[str]:
    """Where every window of a region lies, in words: ``10 to 20 kb from the TSS``."""
    unit, of = _unit(region)
    return [f"{_number(first * unit)} to {_number(last * unit)} {of}" for first, last in region.windows]


def _unit(region: Region) -> tuple[float, str]:
    if region.anchor == "gene":
        return 100 / region.parts, "% from TSS to TES"
    return 1 / 1000, f"kb from the {region.anchor.upper()}"


def _number(value: float) -> str:
    return f"{value:g}"


def widths(regions: Sequence[Region]) -> list[int]:
    """Widths of panels of regions beside one another."""
    return [4 if region.bins else 1 for region in regions]

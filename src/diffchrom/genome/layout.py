"""What a model reads of a gene: the windows of several regions, one region after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import Genes, IntArray, Rows, StringArray
from diffchrom.genome.regions import TSS, Region
from diffchrom.genome.windows import Windows


@dataclass(frozen=True)
class Layout:
    """The last axis of a signal: the bins around the TSS, then the windows of further regions.

    Attributes
    ----------
    regions : tuple of Region
        The first is that of the bins around the TSS.
    orient : str
        Order of the windows of each region, see `genes.Window`.
    """

    regions: tuple[Region, ...]
    orient: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of the regions."""
        return tuple(region.name for region in self.regions)

    @property
    def n_windows(self) -> int:
        """Windows of a gene, over all regions."""
        return sum(len(region.windows) for region in self.regions)

    @cached_property
    def spans(self) -> dict[str, slice]:
        """Where the windows of each region stand."""
        ends = np.cumsum([len(region.windows) for region in self.regions]).tolist()
        return {
            region.name: slice(end - len(region.windows), end)
            for region, end in zip(self.regions, ends, strict=True)
        }

    @property
    def beyond(self) -> tuple[Region, ...]:
        """All but the bins around the TSS."""
        return tuple(region for region in self.regions if region.name != TSS)

    @cached_property
    def region(self) -> StringArray:
        """Region of every window; object [n_windows]."""
        return np.repeat(np.array(self.names, dtype=object), [len(region.windows) for region in self.regions])

    @cached_property
    def number(self) -> IntArray:
        """Number of every window within its region, from 1; int64 [n_windows]."""
        return np.concatenate([np.arange(1, len(region.windows) + 1) for region in self.regions])

    def windows(self, genes: Genes) -> tuple[Windows, ...]:
        """Where the windows of `genes` lie, region by region."""
        return tuple(Windows.of(genes, region, self.orient) for region in self.regions)

    def intervals(
        self, genes: Genes, rows: Rows, chrom_sizes: Mapping[str, int] | None = None
    ) -> tuple[IntArray, IntArray]:
        """Coordinates of all windows of `rows` [len(rows), n_windows]; see `Windows.intervals`."""
        start, end = zip(
            *(windows.intervals(rows, chrom_sizes) for windows in self.windows(genes)), strict=True
        )
        return np.concatenate(start, axis=1), np.concatenate(end, axis=1)

    def of_region(self, values: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
        """The part of `values` [..., n_windows] that belongs to a region."""
        return values[..., self.spans[name]]

"""What a model reads of a gene: the windows of several regions, one region after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import Genes, IntArray, Rows, StringArray, Window
from diffchrom.genome.regions import TSS, Region, region_of
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
    def n_bins(self) -> int:
        """Bins around the TSS."""
        return len(self.regions[0].windows)

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

    @cached_property
    def labels(self) -> StringArray:
        """Names of the windows: ``bin_1`` around the TSS, elsewhere as ``body_1``; object [n_windows]."""
        names = np.where(self.region == TSS, "bin", self.region)
        return np.array([f"{name}_{number}" for name, number in zip(names, self.number, strict=True)], object)

    def windows(self, genes: Genes) -> GeneWindows:
        """Where the windows of `genes` lie."""
        return GeneWindows(self, tuple(Windows.of(genes, region, self.orient) for region in self.regions))

    def of_region(self, values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        """The part of `values` [..., n_windows] that belongs to a region."""
        return values[..., self.spans[name]]


@dataclass(frozen=True)
class GeneWindows:
    """Where the windows of genes lie, over all regions of a layout.

    Attributes
    ----------
    layout : order of the regions on the last axis.
    parts : tuple of Windows
        Those of each region.
    """

    layout: Layout
    parts: tuple[Windows, ...]

    @property
    def chrom(self) -> StringArray:
        """Chromosome of each gene; object [n_genes]."""
        return self.parts[0].chrom

    @cached_property
    def start(self) -> IntArray:
        """First base of each gene's windows, 0-based, int64 [n_genes]; may be negative."""
        return np.asarray(np.min([windows.start for windows in self.parts], axis=0))

    @cached_property
    def end(self) -> IntArray:
        """End of each gene's windows (exclusive); int64 [n_genes]."""
        return np.asarray(np.max([windows.end for windows in self.parts], axis=0))

    def by_region(self) -> Iterator[tuple[Windows, slice]]:
        """Windows of each region, and where they stand on the last axis."""
        return zip(self.parts, self.layout.spans.values(), strict=True)

    def intervals(
        self, rows: Rows | slice = slice(None), chrom_sizes: Mapping[str, int] | None = None
    ) -> tuple[IntArray, IntArray]:
        """Coordinates of all windows of `rows` [len(rows), n_windows]; see `Windows.intervals`."""
        start, end = zip(*(windows.intervals(rows, chrom_sizes) for windows in self.parts), strict=True)
        return np.concatenate(start, axis=1), np.concatenate(end, axis=1)

    def from_upstream(self, values: npt.NDArray[Any], rows: Rows) -> npt.NDArray[Any]:
        """Copy of `values` [len(rows), ..., n_windows] with each region's windows from upstream on."""
        turned = [windows.from_upstream(values[..., span], rows) for windows, span in self.by_region()]
        return np.concatenate(turned, axis=-1)

    def genome_order(self, rows: Rows) -> Rows:
        """`rows` sorted by chromosome (byte order, as ``sort -k1,1``) and start of their windows."""
        chroms = np.array([str(chrom).encode() for chrom in self.chrom[rows]], dtype=bytes)
        return np.asarray(rows[np.lexsort((rows, self.start[rows], chroms))], dtype=np.intp)


def layout_of(window: Window, names: Sequence[str]) -> Layout:
    """Return the layout of regions that diffchrom knows by name, with bins cut as `window` says."""
    return Layout(tuple(region_of(name, window) for name in names), window.orient)

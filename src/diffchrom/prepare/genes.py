"""Which genes of an annotation become rows of a store: those that the tracks have assayed.

Two kinds of bigWig look alike where they have no data. In one, bases without data were not assayed (the rest
of the genome in a track of the ENCODE pilot regions, assembly gaps). In the other they are zeros that were
not written down (peak tracks, bedGraphs without zeros). They are told apart by the windows around the TSS:

- a track is *dense* when at least `dense_share` of the windows that it touches are covered to
  `min_coverage` or more; else it is *sparse*;
- a dense track has assayed a gene when at least `min_coverage` of the bases of the gene's window have data;
- a sparse track has assayed every gene on the chromosomes that it lists;
- a gene that no track has assayed is left out, and counted.

A window over a chromosome's end is judged by its bases on the chromosome. The rows of a store are fixed when
it is made: tracks added later fill zeros where they have no data, and that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from diffchrom.config import PREPARE
from diffchrom.errors import InputError
from diffchrom.genome.genes import Genes
from diffchrom.genome.regions import TSS
from diffchrom.prepare.summary import Summary
from diffchrom.store.parts import read_part

if TYPE_CHECKING:
    from diffchrom.prepare.tracks import Part


def is_dense(coverage: npt.NDArray[np.float32], min_coverage: float) -> bool:
    """Tell whether a track's bases without data were not assayed (True) or are zeros (False).

    Parameters
    ----------
    coverage : float32 array [n_genes]
        Share of each window's bases that have data.
    min_coverage : float
        Share from which a window counts as assayed.
    """
    touched = coverage > 0
    if not touched.any():
        return False
    return float((coverage[touched] >= min_coverage).mean()) >= PREPARE.dense_share


def assayed(
    coverage: npt.NDArray[np.float32], absent: npt.NDArray[np.bool_], min_coverage: float
) -> npt.NDArray[np.bool_]:
    """Genes that one track has assayed; bool [n_genes]."""
    if is_dense(coverage, min_coverage):
        return np.asarray(coverage >= min_coverage)
    return ~absent


def assayed_genes(
    parts: Sequence[Part], genes: Genes, min_coverage: float, summary: Summary
) -> npt.NDArray[np.bool_]:
    """Genes that at least one track has assayed; bool [n_genes]. All of them where there are no tracks."""
    if not parts or min_coverage <= 0:
        return np.ones(len(genes), dtype=bool)
    kept = np.zeros(len(genes), dtype=bool)
    touched = np.zeros(len(genes), dtype=bool)
    dense = 0
    for part in parts:
        coverage, absent = read_part(part.path, TSS, "coverage")[0], read_part(part.path, TSS, "absent")[0]
        kept |= assayed(coverage, absent, min_coverage)
        touched |= coverage > 0
        dense += is_dense(coverage, min_coverage)
    if not kept.any():
        raise InputError(
            f"{parts[0].plan.sources[0].path} and {len(parts) - 1} other tracks have data in no gene's "
            "window; do annotation and tracks belong to one assembly?"
        )
    if dense:
        summary.note(
            f"{dense} of {len(parts)} tracks are dense (no data means not assayed), "
            f"{len(parts) - dense} sparse (no data means 0)"
        )
    left_out = ~kept
    if left_out.any():
        partly = int((left_out & touched).sum())
        summary.note(
            f"{int(left_out.sum())} genes left out: no track has data over {min_coverage:.0%} of their "
            f"window ({int(left_out.sum()) - partly} without any data, {partly} with less); "
            "`min_coverage` changes it"
        )
    summary.note(f"{int(kept.sum())} genes kept")
    return kept


def tell_unassayed(parts: Sequence[Part], min_coverage: float, summary: Summary) -> None:
    """Say how many rows of an existing store a new dense track has not assayed: they are 0 there."""
    for part in (part for part in parts if any(region.name == TSS for region in part.plan.regions)):
        coverage, absent = read_part(part.path, TSS, "coverage")[0], read_part(part.path, TSS, "absent")[0]
        missing = int((~assayed(coverage, absent, min_coverage)).sum())
        if missing:
            summary.note(
                f"{part.plan.cell} {part.plan.mark}: {missing} of {len(coverage)} genes are not assayed; "
                "they stay, with 0 where there is no data"
            )


def tell_thin_regions(parts: Sequence[Part], min_coverage: float, summary: Summary) -> None:
    """Say beyond which windows around the TSS dense tracks lack data: what was not assayed is 0 there."""
    thin: dict[str, list[float]] = {}
    for part in parts:
        names = [region.name for region in part.plan.regions]
        if TSS in names and is_dense(read_part(part.path, TSS, "coverage")[0], min_coverage):
            for name in names:
                covered = float(read_part(part.path, name, "coverage")[1]["covered"])
                if name != TSS and covered < min_coverage:
                    thin.setdefault(name, []).append(covered)
    for name, shares in thin.items():
        told = " to ".join(dict.fromkeys(f"{share:.0%}" for share in (min(shares), max(shares))))
        summary.note(
            f"{name}: {len(shares)} dense tracks have data over {told} of its bases; what was not assayed "
            "counts as 0"
        )

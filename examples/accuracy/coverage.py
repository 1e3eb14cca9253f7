"""Print how often prediction intervals cover the truth, and what predictions of each size are worth.

    diffchrom train --store segmentation.h5 --pair E116,E127 --folds 5 --ensemble 2 --out folds/E116-E127
    python coverage.py folds/E116-E127 ...

Each folder is of a cross-validation; the tables are those of docs/how-sure.md and docs/methods.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

import diffchrom as dc

if TYPE_CHECKING:
    from pandas import DataFrame

#: Ends of the sizes of predicted change, up or down.
SIZES = (0, 0.25, 0.5, 1, 2, 4, np.inf)
#: Share of the truths that an interval should cover.
LEVEL = 0.9


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print Markdown."""
    print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for cells in rows:
        print(f"| {' | '.join(cells)} |")


def strata(runs: dict[str, dc.MadeRun]) -> Iterable[Sequence[str]]:
    """Coverage by kind of gene, a row a kind, as the runs keep it; the interval score at the end."""
    of_runs = [run.config.details["coverage"] for run in runs.values()]
    for stratum in dict.fromkeys(name for coverage in of_runs for name in coverage):
        found = [coverage.get(stratum) for coverage in of_runs]
        yield stratum, *(f"{one['coverage']:.1%} of {one['n']:,}" if one else "" for one in found)
    yield "mean width", *(f"{coverage['all']['width']:.2f}" for coverage in of_runs)
    yield "interval score", *(f"{interval_score(tested(run)):.2f}" for run in runs.values())


def tested(run: dc.MadeRun) -> DataFrame:
    """Predictions of the genes with a label and an interval."""
    return run.predictions().dropna(subset=["log2fc", "log2fc_pred", "lo90", "hi90"])


def interval_score(genes: DataFrame) -> float:
    """Winkler's: the width, and 2 / (1 - level) times what the interval falls short of the truth."""
    short = np.maximum(genes["lo90"] - genes["log2fc"], 0) + np.maximum(genes["log2fc"] - genes["hi90"], 0)
    return float((genes["hi90"] - genes["lo90"] + 2 / (1 - LEVEL) * short).mean())


def by_size(genes: DataFrame) -> Iterable[Sequence[str]]:
    """What a prediction is worth, a row a size."""
    size, width = genes["log2fc_pred"].abs(), genes["hi90"] - genes["lo90"]
    along = genes["log2fc"] * np.sign(genes["log2fc_pred"])  # positive where the sign is right
    for low, high in pairwise(SIZES):
        of = (size >= low) & (size < high)
        if of.any():
            changed = along[of & (along != 0)]
            shares = ((changed > 0).mean(), (along[of] >= 1).mean(), (along[of] <= -1).mean())
            yield (
                f"{low:g} to {high:g}",
                f"{of.sum():,}",
                f"{width[of].mean() / 2:.1f}",
                *(f"{share:.0%}" for share in shares),
            )


def certain(genes: DataFrame) -> str:
    """How many intervals exclude 0, and for how many of these genes the sign is right."""
    sure = genes[(genes["lo90"] > 0) | (genes["hi90"] < 0)]
    said = f"{len(sure):,} of {len(genes):,} intervals exclude 0"
    right = (np.sign(sure["log2fc"]) == np.sign(sure["log2fc_pred"])).mean()
    return f"{said}; the sign is right for {right:.0%} of these" if len(sure) else said


if __name__ == "__main__":
    opened = {path: dc.open_run(path) for path in sys.argv[1:]}
    print_table(("genes", *(",".join(run.config.pair) for run in opened.values())), strata(opened))
    for path, run in opened.items():
        genes = tested(run)
        header = (
            "predicted change",
            "genes",
            "half of the range",
            "sign is right",
            "twofold that way",
            "the other",
        )
        print_table(header, by_size(genes))
        print(f"\n{path}: {certain(genes)}")

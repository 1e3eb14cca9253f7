"""Print what `check.sh` found of attention: the table of docs/attend.md, a row a variant.

python checked.py FOLDER...
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import diffchrom as dc

#: Orders of masking whose deletion area is shown.
ORDERS = ("attention", "integrated_gradients", "absolute_difference", "random", "random_weights")
SHOWN = ("difference", "random", "untrained")
HEADER = (
    "data", "variant", "r of both seeds", "size of a prediction", "attention", "integrated gradients", *SHOWN,
    f"attention less {SHOWN[0]}", f"better than {', '.join(SHOWN)}", "other seed: windows, marks",
)  # fmt: skip


def number(value: float) -> str:
    """Three decimals, or none at all where undefined."""
    return "" if pd.isna(value) else f"{value:.3f}"


def cells(path: Path) -> Iterator[str]:
    """Cells of the variant whose check lies at `path`, from its name on."""
    stem = path.name.removesuffix(".check.tsv")
    runs = [dc.open_run(run) for run in sorted(path.parent.glob(f"{stem}.seed*"))]
    table = pd.read_csv(path, sep="\t", keep_default_na=False, na_values=["NA"])
    whole = table[table["block"].isna() & table["mark"].isna()].set_index(
        ["level", "comparison", "statistic"]
    )
    yield runs[0].config.variant
    yield ", ".join(number(run.metrics["pearson"]) for run in runs)
    tested = runs[0].predictions().query("split == 'test'")
    yield number(tested["log2fc_pred"].abs().mean())
    for order in ORDERS:
        yield number(whole.loc[("bin", order, "deletion_area"), "value"])
    of = whole.loc[("bin", "absolute_difference", "deletion_minus")]
    yield f"{of['value']:.3f} ({of['low']:.3f} to {of['high']:.3f})"
    verdicts = [whole.loc[("bin", order, "deletion_minus"), "verdict"] for order in ORDERS[2:]]
    yield ", ".join("yes" if verdict == "better" else "no" for verdict in verdicts)
    seeds = table[(table["comparison"] == "other_seeds") & (table["statistic"] == "spearman")]
    by_level = seeds.groupby("level")["value"].mean()
    yield ", ".join(f"{by_level.get(level, float('nan')):.2f}" for level in ("bin", "mark"))


if __name__ == "__main__":
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for folder in map(Path, sys.argv[1:]):
        for path in sorted(folder.glob("*.check.tsv")):
            print(f"| {folder.name} | {' | '.join(cells(path))} |")

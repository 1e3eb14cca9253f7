"""Print the paper's tables and figures beside ours, of results/: `beside.py published|default`."""

from __future__ import annotations

import csv
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from statistics import fmean

HERE = Path(__file__).resolve().parent
Row = dict[str, str]
RByPair = dict[str, dict[str, float]]


def read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def share_table(title: str, paper: dict[str, dict[str, list[float]]], ours: list[Row]) -> list[str]:
    """Mean and median r in percent of a baseline's: a variant a line, the paper's and ours side by side."""
    by_method = {row["method"]: row for row in ours}
    variants = list(dict.fromkeys(variant for shares in paper.values() for variant in shares))
    header = ["variant", *(f"of {name}: {whose}" for name in paper for whose in ("paper", "ours"))]
    lines = [f"## {title}", "", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for variant in variants:
        cells = [variant]
        for name, shares in paper.items():
            ends = [by_method[variant][f"{average}_percent_of_{name}"] for average in ("mean", "median")]
            cells.append("{:.2f}, {:.2f}".format(*shares[variant]))
            cells.append(", ".join("NA" if end == "NA" else f"{float(end):.2f}" for end in ends))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def r_by_pair(runs: list[Row], variants: list[str]) -> RByPair:
    """Mean r over seeds, by pair and variant."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run["method"] in variants and run["pearson"] != "NA":
            values[run["pair"]][run["method"]].append(float(run["pearson"]))
    return {pair: {name: fmean(r) for name, r in of_pair.items()} for pair, of_pair in values.items()}


#: Whether a variant stands so on a pair, of whose variants these are the r.
STANDINGS = {
    "worst": lambda r, one, _: r[one] == min(r.values()),
    "best": lambda r, one, _: r[one] == max(r.values()),
    "above": lambda r, one, other: r[one] > r[other],
}


def standings(claims: list[dict[str, str | int]], r: RByPair) -> list[str]:
    """On how many pairs the paper's statements about Figure 4 hold."""
    lines = ["## Figure 4", "", f"| on so many pairs | paper, of 10 | ours, of {len(r)} |", "|---|---|---|"]
    for claim in claims:
        variant, other = str(claim["variant"]), str(claim.get("other", ""))
        needed = {variant, other} - {""}
        holds = STANDINGS[str(claim["is"])]
        count = sum(needed <= set(of_pair) and holds(of_pair, variant, other) for of_pair in r.values())
        lines.append(
            f"| {variant} is {claim['is']} {other} | {claim['pairs']} | {count} |".replace("  |", " |")
        )
    return [*lines, ""]


def attention(paper: dict[str, str], groups: list[Row]) -> list[str]:
    """Marks by mean attention in up- and down-regulated genes, highest first."""
    lines = ["## Figure 5", "", "| genes | paper | ours, mean attention |", "|---|---|---|"]
    for group, said in paper.items():
        rows = sorted(
            (row for row in groups if row["task"] == "main"), key=lambda row: -float(row[f"beta_{group}"])
        )
        ours = ", ".join(f"{row['mark']} {float(row[f'beta_{group}']):.3f}" for row in rows)
        lines.append(f"| {rows[0][f'n_{group}']} {group} | {said} | {ours} |")
    return [*lines, ""]


def main(preset: str) -> None:
    paper = tomllib.loads((HERE / "paper.toml").read_text(encoding="utf-8"))
    results = HERE / "results"
    variants = list(paper["table1"]["svr-two-layer"])
    lines = [f"# The paper beside preset {preset}", ""]
    lines += share_table("Table 1, %", paper["table1"], read(results / f"table1.{preset}.tsv"))
    lines += standings(paper["figure4"], r_by_pair(read(results / f"figure4.{preset}.tsv"), variants))
    lines += share_table(
        "Appendix, Table 3, %", paper["table3"], read(results / f"appendix-table3.{preset}.tsv")
    )
    lines += attention(paper["figure5"], read(results / f"figure5.{preset}.tsv"))
    print("\n".join(lines).rstrip())


if __name__ == "__main__":
    main(sys.argv[1])

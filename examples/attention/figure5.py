"""Figure 5 of the paper over training seeds: which marks a model attends to in genes that go up, and down.

    python figure5.py STORE WORK [--pair E116,E127] [--seeds 1,2,3,4,5] [--up-quantile 0.05] [--split NAME]

Trains the default (or --variant) once a seed into WORK/seedN, where what is finished is kept, and prints for
attention and for contributions the mean a mark in test genes of either group: its 95% interval by blocks of
neighbouring genes, of the mean over seeds, and its lowest and highest seed. The pictures lie in WORK.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control, spearmanr

import diffchrom as dc
from diffchrom.attention.groups import GROUPS, GroupAttention, GroupRule, collect
from diffchrom.attention.plots import plot_groups
from diffchrom.attention.weights import ATTENTION, CONTRIBUTION, KINDS, Weights
from diffchrom.errors import UsageError
from diffchrom.files.figures import save_figure
from diffchrom.genome.blocks import genome_blocks
from diffchrom.metrics import mean_interval

Array = npt.NDArray[Any]
#: Then the numbers of seeds behind each.
AGREEMENT = ("mean", "signs that differ", "rank correlation of two seeds", "orders")
HEADER = ("mark", *(f"{group}-regulated, by seed" for group in GROUPS), "difference, by seed", "q")


def means(each: Sequence[GroupAttention], group: str) -> Array:
    """Mean of a group's genes, by seed [n_seeds, n_rows]."""
    return np.stack([one.beta[group].mean(axis=0, dtype=np.float64) for one in each])


def table_of(each: Sequence[GroupAttention], blocks: dict[str, Array]) -> dict[str, Array]:
    """The columns of `attend`'s own table of groups, of the mean over seeds and by blocks of genes."""
    name = each[0].kind.of_marks
    genes = {group: np.mean([one.beta[group] for one in each], axis=0) for group in GROUPS}
    table = {
        "task": np.array([task for task, _ in each[0].labels], dtype=object),
        "block": np.array([sequence.block for _, sequence in each[0].labels], dtype=object),
        "mark": np.array([sequence.mark for _, sequence in each[0].labels], dtype=object),
    }
    for group, values in genes.items():
        intervals = [mean_interval(column, blocks[group]) for column in values.T]
        table[f"n_{group}"] = np.full(len(intervals), len(values))
        for end, of in (("", "value"), ("_low", "low"), ("_high", "high")):
            table[f"{name}_{group}{end}"] = np.array([getattr(one, of) for one in intervals])
    # How each gene moves the difference of the two means: its mean is the difference.
    n, (up, down) = sum(map(len, genes.values())), genes.values()
    moved = [sign * (of - of.mean(axis=0)) * n / len(of) for sign, of in ((1, up), (-1, down))]
    values = np.concatenate(moved) + up.mean(axis=0) - down.mean(axis=0)
    of_both = [mean_interval(column, np.concatenate(list(blocks.values()))) for column in values.T]
    table |= {
        name: np.array([getattr(one, of) for one in of_both])
        for name, of in (("difference", "value"), ("low", "low"), ("high", "high"), ("p", "p_value"))
    }
    return table | {"q": false_discovery_control(table["p"])}


def shown(value: float, low: float, high: float, seeds: Array) -> str:
    """A mean with its interval, and the lowest and highest seed."""
    return f"{value:.3f} [{low:.3f}, {high:.3f}], {seeds.min():.3f} to {seeds.max():.3f}"


def print_table(table: dict[str, Array], each: Sequence[GroupAttention]) -> None:
    """Print Markdown, then how far seeds agree."""
    kind, rows = each[0].kind, names(table)
    of_seeds = {group: means(each, group) for group in GROUPS}
    of_seeds["difference"] = of_seeds["up"] - of_seeds["down"]
    sizes = [f"{table[f'n_{group}'][0]} {group}" for group in GROUPS]
    print(f"\n{kind.name}, {' and '.join(sizes)}\n\n| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    columns = [[f"{kind.of_marks}_{group}{end}" for end in ("", "_low", "_high")] for group in GROUPS]
    columns.append(["difference", "low", "high"])
    for row, name in enumerate(rows):
        cells = [
            shown(*(table[column][row] for column in of), seeds[:, row])
            for of, seeds in zip(columns, of_seeds.values(), strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} | {table['q'][row]:.2g} |")
    print(f"\n| {' | '.join(AGREEMENT)} |\n|{'---|' * len(AGREEMENT)}")
    for what, values in of_seeds.items():
        print(f"| {what} | {' | '.join(agreement(values, rows))} |")


def names(table: dict[str, Array]) -> Array:
    """What the rows are called: by mark, where that says enough."""
    parts = [table[name] for name in ("task", "block", "mark") if len(set(table[name])) > 1]
    return np.array([" ".join(of) for of in zip(*parts, strict=True)], dtype=object)


def agreement(values: Array, rows: Array) -> tuple[str, ...]:
    """Cells of `AGREEMENT` after the first, of means by seed [n_seeds, n_rows]."""
    signs = (np.sign(values) == np.sign(values.mean(axis=0))).sum(axis=0)
    apart = [f"{row} ({n})" for row, n in zip(rows, signs, strict=True) if n < len(values)]
    r = [float(spearmanr(one, other).statistic) for one, other in combinations(values, 2)]
    orders = Counter(" > ".join(rows[np.argsort(-of_seed)]) for of_seed in values)
    return (
        ", ".join(apart) or "none",
        f"{np.mean(r):.2f} ({min(r):.2f} to {max(r):.2f})",
        "; ".join(f"{order} ({n})" for order, n in orders.most_common()),
    )


def main(asked: argparse.Namespace) -> None:
    """Train what is missing, print the tables, draw."""
    store = dc.open_store(asked.store)
    pair = store.pair(*(asked.pair.split(",") if asked.pair else ()), split=asked.split)
    rule = GroupRule(quantile=asked.up_quantile)
    rows = pair.rows("test")
    members = rule.groups(pair.labels.log2fc[rows].astype(np.float64))
    genes = pair.genes
    block = genome_blocks(genes.id, genes.chrom, genes.tss)
    blocks = {group: block[rows[chosen]] for group, chosen in members.items()}
    collected: dict[str, list[GroupAttention]] = {ATTENTION: [], CONTRIBUTION: []}
    settings = {} if asked.epochs is None else {"epochs": asked.epochs}
    for seed in map(int, asked.seeds.split(",")):
        out = asked.work / f"seed{seed}"
        run = dc.train(pair, asked.variant, seed=seed, out=out, resume=out.exists(), **settings)
        print(f"seed {seed}: r {run.metrics['pearson']:.3f}", flush=True)
        model = run.open(store, pair.cells)
        for by, several in collected.items():
            try:
                several.append(collect(Weights.of(model, by), rows, rule))
            except UsageError:  # the paper's variants add up no contributions
                continue
    for by, several in collected.items():
        if several:
            table = table_of(several, blocks)
            print_table(table, several)
            save_figure(plot_groups(table, KINDS[by]), asked.work / f"figure5.{by}.svg")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=sys.modules[__name__].__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--pair", help="A,B; may be left out where the store has just two cells")
    parser.add_argument("--split", help="of the store")
    parser.add_argument("--variant", default="additive")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--up-quantile", type=float, default=0.05, help="share of the genes at each end")
    parser.add_argument("--epochs", type=int, help="the preset's unless given")
    main(parser.parse_args())

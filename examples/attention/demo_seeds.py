"""Does attention find the rules that the demo simulates by? The table of docs/attend.md, over training seeds.

    python demo_seeds.py WORK [separate|conditional ...] [--seeds 10] [--genes 720] [--epochs N]

Simulates by each rule (`diffchrom.demo.simulate.RULES`), trains the default once a seed, and prints what the
attention of test genes that change at least twofold says of the rule. What is finished in WORK is kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import diffchrom as dc
from diffchrom.attention.check import spearman
from diffchrom.demo.simulate import DEFAULT_RULE, RULES, Domain, Rule, simulate
from diffchrom.genome.regions import TSS

#: Windows a gene that should lie where the rule acts.
TOP = 10
#: |log2fc| of the genes that are looked at.
CHANGED = 1.0
HEADER = (
    "seed", "r", "attention of drivers", "weakest driver", "strongest decoy",
    f"top {TOP} bins where the rule acts", "of two places, in the one that acts",
)  # fmt: skip


@dataclass(frozen=True)
class Attention:
    """Attention of some genes.

    Attributes
    ----------
    r : Pearson's, of all test genes.
    marks : [n_genes, n_marks]
        Sums to 1 a gene.
    windows : [n_genes, n_marks, n_windows]
        The same shared out over windows.
    bins : [n_genes, n_marks, n_bins]
        Those of `windows` around the TSS.
    names : of the marks.
    position : [n_bins], bases from the TSS to the middle of each bin, positive downstream.
    """

    r: float
    marks: npt.NDArray[Any]
    windows: npt.NDArray[Any]
    bins: npt.NDArray[Any]
    names: tuple[str, ...]
    position: npt.NDArray[Any]

    @classmethod
    def of(cls, run: dc.MadeRun, store: dc.OpenedStore) -> Attention:
        model = run.open(store, device="cpu")
        pair = model.pair
        rows = pair.rows("test")
        seen = model.attend(rows[np.abs(pair.labels.log2fc[rows]) >= CHANGED])
        marks = np.asarray(seen.beta["main"])
        windows = marks[:, :, None] * np.asarray(seen.alpha)
        bins = pair.layout.of_region(windows, TSS)
        size, flank = int(store.attrs["bin_size"]), int(store.attrs["flank"])
        position = (np.arange(bins.shape[-1]) + 0.5) * size - flank
        return cls(float(run.metrics["pearson"] or np.nan), marks, windows, bins, tuple(pair.marks), position)

    def inside(self, domains: Iterable[Domain]) -> npt.NDArray[np.bool_]:
        """Whether each bin of each mark [n_marks, n_bins] lies in any of the domains."""
        within = np.zeros(self.bins.shape[1:], dtype=bool)
        for domain in domains:
            at = (self.position > domain.first) & (self.position < domain.last)
            within[self.names.index(domain.mark)] |= at
        return within


def judged(attention: Attention, rule: Rule) -> dict[str, float]:
    """What the attention of one seed says of the rule."""
    acting, random = rule.acting(), np.random.default_rng(0)
    drivers = np.isin(attention.names, [domain.mark for domain in acting])
    mean = attention.marks.mean(axis=0)
    flat = attention.bins.reshape(len(attention.bins), -1)
    # Bins that a model reads as one window tie, and are ranked by chance.
    top = np.lexsort((random.random(flat.shape), -flat), axis=-1)[:, :TOP]
    places = [domain for domain in rule.domains if domain.mark in [other.mark for other in acting]]
    idle = attention.inside(domain for domain in places if domain not in acting)
    two = idle.any(axis=1)[:, None] & attention.inside(places)
    weight = attention.bins.mean(axis=0)
    return {
        "drivers": float(mean[drivers].sum()),
        "weakest": float(mean[drivers].min()),
        "strongest": float(mean[~drivers].max()),
        "top": float(attention.inside(acting).ravel()[top].mean()),
        "place": float(weight[two & ~idle].sum() / weight[two].sum()) if two.any() else np.nan,
    }


def agreement(several: Sequence[Attention]) -> dict[str, list[float]]:
    """Rank correlation of every two seeds: of all genes' marks, and of a gene's windows, mean over genes."""
    found: dict[str, list[float]] = {"marks of all genes": [], "windows of a gene": []}
    for one, other in combinations(several, 2):
        marks = spearman(one.marks.ravel(), other.marks.ravel())
        flat = (attention.windows.reshape(len(attention.windows), -1) for attention in (one, other))
        for values, r in zip(found.values(), (marks, np.nanmean(spearman(*flat))), strict=True):
            values.append(float(r))
    return found


def store_of(folder: Path, rule: str, n_genes: int) -> dc.OpenedStore:
    """The simulated store, made where it is missing."""
    path = folder / "diffchrom.h5"
    if path.exists():
        return dc.open_store(path)
    files = simulate(folder / "data", n_genes, rule=rule)
    tracks = {"gtf": files.gtf, "bigwigs": files.bigwigs, "expression": str(files.expression)}
    return dc.prepare_store(path, **tracks)


def print_rule(name: str, folder: Path, seeds: int, n_genes: int, **settings: int) -> None:
    """Print a rule's table, a row a seed, and how far seeds agree."""
    store = store_of(folder, name, n_genes)
    several = []
    print(f"\n{name}\n\n| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}", flush=True)
    for seed in range(seeds):
        out = folder / f"seed{seed}"
        run = dc.train(store.pair(), seed=seed, out=out, device="cpu", resume=out.exists(), **settings)
        several.append(Attention.of(run, store))
        values = judged(several[-1], RULES[name]).values()
        cells = ["" if np.isnan(value) else f"{value:.3f}" for value in (several[-1].r, *values)]
        print(f"| {seed} | {' | '.join(cells)} |", flush=True)
    print(f"\n{len(several[0].marks)} genes; rank correlation of every two seeds, mean (lowest to highest)")
    for what, values in agreement(several).items():
        if values:
            print(f"{what}: {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=sys.modules[__name__].__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("rules", nargs="*", default=[DEFAULT_RULE])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--genes", type=int, default=720)
    parser.add_argument("--epochs", type=int, help="the preset's unless given")
    asked = parser.parse_args()
    changed = {} if asked.epochs is None else {"epochs": asked.epochs}
    for rule in asked.rules:
        print_rule(rule, asked.work / rule, asked.seeds, asked.genes, **changed)

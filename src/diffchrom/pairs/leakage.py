"""What test genes share with genes that a model may learn from: windows, symbols, whole profiles.

A test gene that shares bases of its window with a training gene, or is its copy, makes a model look better
than it is on genes that it has never seen. Training and validation genes count alike here.

Windows beyond the TSS reach into other genes. What they show there is signal, and a model may use it: the
same would be known of a gene whose expression nobody has measured. A label is no part of it. But where the
other gene was learnt from, the model has seen these bases with that gene's label, and neighbours are
expressed alike: it may recognise the place instead of reading the chromatin. So both are counted, region by
region: test genes whose windows share bases with those of genes that were learnt from, and test genes whose
windows show the body of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.genome.genes import Genes, Rows, Window
from diffchrom.genome.regions import BIN_REGIONS, REGIONS, TSS, Region
from diffchrom.genome.windows import Mask, Windows
from diffchrom.pairs.choices import SPLIT_PARTS
from diffchrom.progress import SILENT, Reporter
from diffchrom.store.store import Store

#: Correlation of standardised log profiles from which two genes count as nearly identical.
NEARLY = 0.99
#: Means over so many stretches of the window make a profile, of so many tracks at most, evenly chosen.
_STRETCHES, _TRACKS = 40, 40
#: Test genes that are correlated with all others at a time.
_BLOCK = 512
_EXAMPLES = 5


@dataclass(frozen=True)
class RegionOverlap:
    """What windows of one region beyond the TSS have in common across a split.

    Attributes
    ----------
    region : name.
    overlapping_pairs, overlapping : as of `Leakage`, of the windows of this region.
    show_bodies : test genes whose windows share bases with another gene from TSS to TES.
    """

    region: str
    overlapping_pairs: int
    overlapping: int
    show_bodies: int


@dataclass(frozen=True)
class Leakage:
    """What the test genes of one split share with its training and validation genes.

    Attributes
    ----------
    split : name of the split.
    n_test, n_learnt : test genes; training and validation genes.
    overlapping_pairs : pairs of a test gene and another whose windows share bases.
    overlapping : test genes in such pairs; None where coordinates are unknown.
    same_symbol : test genes whose symbol another gene has.
    identical : test genes whose signal is that of another gene in every bin of every track; None where
        profiles were not compared.
    nearly_identical : test genes whose profile has r > `NEARLY` with another gene's (identical ones, too).
    nearly_identical_by_chance : the same count after every track was shuffled among genes.
    featureless : test genes without signal, which are alike and not counted.
    examples : a few (test gene, other gene, what they share).
    regions : the same of windows beyond the TSS; empty where they were not asked for, or have no coordinates.
    """

    split: str
    n_test: int
    n_learnt: int
    overlapping_pairs: int
    overlapping: int | None
    same_symbol: int
    identical: int | None = None
    nearly_identical: int | None = None
    nearly_identical_by_chance: int | None = None
    featureless: int | None = None
    examples: tuple[tuple[str, str, str], ...] = ()
    regions: tuple[RegionOverlap, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``info --leakage --json`` prints."""
        share = None if self.overlapping is None else self.overlapping / max(self.n_test, 1)
        return {**asdict(self), "overlapping_share": share}

    def warning(self) -> str:
        """Say in a line what a model should not be able to profit from; empty where there is nothing."""
        shared = {TSS: self.overlapping} | {one.region: one.overlapping for one in self.regions}
        counts = [f"{count} in {region}" for region, count in shared.items() if count]
        found = [f"share bases of their windows ({', '.join(counts)})"] if counts else []
        if self.same_symbol:
            found.append(f"share their symbol ({self.same_symbol})")
        if not found:
            return ""
        return (
            f"split {self.split}: some of {self.n_test} test genes {' or '.join(found)} with training or "
            "validation genes, so r may flatter (see `diffchrom info --leakage`)"
        )


def find_leakage(
    genes: Genes, parts: npt.NDArray[np.int8], window: Window, split: str, regions: Iterable[Region] = ()
) -> Leakage:
    """Find what can be told from coordinates and symbols, which is quick.

    Parameters
    ----------
    genes : of the store.
    parts : int8 [n_genes]; 0 train, 1 valid, 2 test.
    window : of the store.
    split : its name.
    regions : beyond the bins around the TSS, whose windows are compared, too.
    """
    test, learnt = _sides(parts)
    examples: list[tuple[str, str, str]] = []
    pairs, overlapping = 0, None
    if genes.located.any():
        counts, neighbours = Windows.around(genes, window).neighbours(test, learnt)
        pairs, overlapping = int(counts.sum()), int((counts > 0).sum())
        hit = np.flatnonzero(counts)[:_EXAMPLES]
        examples += [(str(genes.id[test[i]]), str(genes.id[neighbours[i]]), "window") for i in hit.tolist()]
    # A symbol that is but the gene's own id says nothing.
    names = np.array([str(name).upper() for name in genes.name], dtype=object)
    named = np.array(
        [name not in ("", "NA", str(gene).upper()) for name, gene in zip(names, genes.id, strict=True)]
    )
    owner = {names[i]: i for i in learnt if named[i]}
    same = [i for i in test if named[i] and names[i] in owner]
    examples += [(str(genes.id[i]), str(genes.id[owner[names[i]]]), "symbol") for i in same[:_EXAMPLES]]
    return Leakage(
        *(split, len(test), len(learnt), pairs, overlapping, len(same)),
        examples=tuple(examples),
        regions=tuple(_overlap(genes, window, region, test, learnt) for region in regions),
    )


def _overlap(genes: Genes, window: Window, region: Region, test: Rows, learnt: Rows) -> RegionOverlap:
    windows, bodies = (Windows.of(genes, one, window.orient) for one in (region, REGIONS["body"]))
    counts, _ = windows.neighbours(test, learnt)
    shown, _ = windows.neighbours(test, learnt, bodies)
    return RegionOverlap(region.name, int(counts.sum()), int((counts > 0).sum()), int((shown > 0).sum()))


def _sides(parts: npt.NDArray[np.int8]) -> tuple[Rows, Rows]:
    learnt = (parts == SPLIT_PARTS["train"]) | (parts == SPLIT_PARTS["valid"])
    return np.flatnonzero(parts == SPLIT_PARTS["test"]), np.flatnonzero(learnt)


@dataclass(frozen=True)
class _Profiles:
    """Every gene's signal: merged and standardised, a digest of all of it, and whether there is any.

    Attributes
    ----------
    tracks : list of float32 [n_genes, n_stretches], each of mean 0 and variance 1 in every stretch.
    digests : object [n_genes]
    featureless : bool [n_genes]; True where every track is the same in all bins.
    """

    tracks: list[npt.NDArray[np.float32]]
    digests: npt.NDArray[np.object_]
    featureless: Mask


def _read_profiles(store: Store, reporter: Reporter) -> _Profiles:
    names = [(cell, mark) for cell in store.cells() for mark in store.marks(cell)]
    shown = set(np.linspace(0, len(names) - 1, min(len(names), _TRACKS)).astype(int).tolist())
    digests = [hashlib.blake2b(digest_size=16) for _ in range(store.n_genes)]
    featureless = np.ones(store.n_genes, dtype=bool)
    tracks = []
    with reporter.task("reading tracks", len(names)) as task:
        for number, (cell, mark) in enumerate(names):
            values = store.signal(cell, (mark,))[:, 0]
            for digest, row in zip(digests, values, strict=True):
                digest.update(row.tobytes())
            featureless &= np.ptp(values, axis=1) == 0
            if number in shown:
                stretches = np.array_split(
                    np.log1p(np.maximum(values, 0)), min(_STRETCHES, values.shape[1]), axis=1
                )
                merged = np.stack([stretch.mean(axis=1) for stretch in stretches], axis=1)
                merged -= merged.mean(axis=0)
                merged /= np.maximum(merged.std(axis=0), 1e-6)
                tracks.append(merged.astype(np.float32))
            task.advance(1, f"{cell} {mark}")
    held = np.array([digest.digest() for digest in digests], dtype=object)
    return _Profiles(tracks, held, featureless)


def _unit_vectors(tracks: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    profile = np.concatenate(tracks, axis=1)
    profile -= profile.mean(axis=1, keepdims=True)
    profile /= np.maximum(np.linalg.norm(profile, axis=1, keepdims=True), 1e-6)
    return profile


def _best_matches(
    unit: npt.NDArray[np.float32], test: Rows, learnt: Rows
) -> Iterator[tuple[Rows, npt.NDArray[np.float32]]]:
    """Yield, block by block, the best other gene of each test gene and its correlation."""
    others = unit[learnt].T
    for first in range(0, len(test), _BLOCK):
        r = unit[test[first : first + _BLOCK]] @ others
        best = r.argmax(axis=1)
        yield learnt[best], r[np.arange(len(best)), best]


def compare_profiles(store: Store, found: list[Leakage], reporter: Reporter = SILENT) -> list[Leakage]:
    """Add to the leakage of a store's splits which test genes have the signal of another gene.

    A gene's profile is the log1p signal of every track in stretches of the window, standardised over genes,
    so that the shape that all genes share does not count. Chance is what is found when each track is
    shuffled among the genes.
    """
    profiles = _read_profiles(store, reporter)
    if not profiles.tracks:
        return found
    random = np.random.default_rng(0)
    real = _unit_vectors(profiles.tracks)
    rows = np.flatnonzero(~profiles.featureless)
    shuffled = np.zeros_like(real)
    shuffled[rows] = _unit_vectors([track[random.permutation(rows)] for track in profiles.tracks])
    return [_with_profiles(store, one, profiles, real, shuffled) for one in found]


def _with_profiles(
    store: Store,
    found: Leakage,
    profiles: _Profiles,
    real: npt.NDArray[np.float32],
    shuffled: npt.NDArray[np.float32],
) -> Leakage:
    test, learnt = _sides(store.split(found.split))
    n_featureless = int(profiles.featureless[test].sum())
    test, learnt = (side[~profiles.featureless[side]] for side in (test, learnt))
    held = {profiles.digests[i]: i for i in learnt}
    copies = [i for i in test if profiles.digests[i] in held]
    examples = [(i, held[profiles.digests[i]], "signal") for i in copies[:_EXAMPLES]]
    counts = []
    for unit in (real, shuffled):
        total = 0
        for first, (best, r) in enumerate(_best_matches(unit, test, learnt) if len(learnt) else ()):
            near = r > NEARLY
            total += int(near.sum())
            if unit is real and len(examples) < 2 * _EXAMPLES:
                examples += [
                    (test[first * _BLOCK + i], best[i], f"r = {r[i]:.4f}")
                    for i in np.flatnonzero(near)[:_EXAMPLES]
                ]
        counts.append(total)
    ids = store.genes.id
    named = tuple((str(ids[i]), str(ids[j]), what) for i, j, what in examples)
    values = {**vars(found), "examples": (*found.examples, *named)}
    values |= {"identical": len(copies), "featureless": n_featureless}
    values |= {"nearly_identical": counts[0], "nearly_identical_by_chance": counts[1]}
    return Leakage(**values)


def store_leakage(store: Store, reporter: Reporter = SILENT) -> list[Leakage]:
    """Everything about every stored split."""
    rules = {
        name: store.region(cell, name)
        for cell in store.cells()
        for name in store.regions(cell)
        if name not in BIN_REGIONS and store.genes.located.any()
    }
    found = [
        find_leakage(store.genes, store.split(name), store.window, name, rules.values())
        for name in store.splits()
    ]
    return compare_profiles(store, found, reporter) if found else found


def leakage_text(found: list[Leakage]) -> str:
    """Return what ``info --leakage`` prints for people."""
    lines = []
    for one in found:
        lines.append(f"leakage of split {one.split}: {one.n_test} test genes, {one.n_learnt} train and valid")
        if one.overlapping is None:
            lines.append("  windows: coordinates are unknown, so overlaps cannot be told")
        else:
            share = one.overlapping / max(one.n_test, 1)
            lines.append(
                f"  windows: {one.overlapping} test genes ({share:.1%}) overlap others, in "
                f"{one.overlapping_pairs} pairs"
            )
        lines += [
            f"  {region.region}: windows of {region.overlapping} test genes "
            f"({region.overlapping / max(one.n_test, 1):.1%}) overlap others, in {region.overlapping_pairs} "
            f"pairs; those of {region.show_bodies} show another gene's body: its signal, not its label"
            for region in one.regions
        ]
        lines.append(f"  symbols: {one.same_symbol} test genes have the symbol of another gene")
        if one.identical is not None:
            lines.append(
                f"  signal: {one.identical} test genes are identical to another gene in every bin, "
                f"{one.nearly_identical} have r > {NEARLY} with one (by chance "
                f"{one.nearly_identical_by_chance}); {one.featureless} without signal are not counted"
            )
        lines += [f"    {test} {other} {what}" for test, other, what in one.examples]
    return "\n".join(lines or ["leakage: the store has no split"]) + "\n"

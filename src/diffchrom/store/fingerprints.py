"""Digests of what a model sees of cells, made of the digests that were written with every array."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import h5py

from diffchrom.genome.regions import BIN_REGIONS, RULE_ATTRS, Region
from diffchrom.store.format import (
    LABEL_COLUMNS,
    LABELS,
    REGION_GROUP,
    REPLICATES,
    SIGNAL_GROUPS,
    datasets_in,
    groups_in,
    signal_group,
)
from diffchrom.store.soundness import read_attrs, read_checksum


def fingerprint(file: h5py.File, genes: Iterable[str], cells: Sequence[str]) -> str:
    """Sha256 of genes, window and everything about `cells`: signal, expression and labels."""
    facts = [*_windows(file, genes)]
    for cell in cells:
        group = file["cells"][cell]
        for kind in (*SIGNAL_GROUPS.values(), "expression", REPLICATES):
            facts += (_values(group, cell, kind, name) for name in sorted(datasets_in(group, kind)))
        for region in sorted(groups_in(group, REGION_GROUP)):
            names = sorted(datasets_in(group, signal_group(region)))
            facts += (_track(group, cell, region, name) for name in names)
    labels = file.get(LABELS, {})
    for pair in sorted(name for name in labels if set(name.split(",")) <= set(cells)):
        for name in sorted(set(labels[pair]) & set(LABEL_COLUMNS)):
            facts.append(f"{pair}/{name}={read_checksum(labels[pair][name])};")
    return _sha256(facts)


def signal_digest(
    file: h5py.File, genes: Iterable[str], cells: Sequence[str], marks: Sequence[str], regions: Sequence[str]
) -> str:
    """Sha256 of genes, window and the signal of `marks` of `cells` in `regions`, whatever their order."""
    facts = [*_windows(file, genes)]
    for cell in sorted(cells):
        group = file["cells"][cell]
        facts += (_track(group, cell, region, mark) for region in sorted(regions) for mark in sorted(marks))
    return _sha256(facts)


def _windows(file: h5py.File, genes: Iterable[str]) -> Iterator[str]:
    attrs = read_attrs(file)
    yield from (f"{key}={attrs.get(key, '')};" for key in ("flank", "bin_size", "orient"))
    yield "\n".join(genes)


def _values(group: h5py.Group, cell: str, kind: str, name: str, rule: str = "") -> str:
    return f"{cell}/{kind}/{name}={read_checksum(group[kind][name])}{rule};"


def _track(group: h5py.Group, cell: str, region: str, mark: str) -> str:
    """A track's digest, and the rule of its windows where the store's attributes do not say it."""
    kind = signal_group(region)
    if region in BIN_REGIONS:
        return _values(group, cell, kind, mark)
    rule = Region.from_attrs(region, read_attrs(group[kind][mark], RULE_ATTRS))
    return _values(group, cell, kind, mark, f" {rule}")


def _sha256(facts: Iterable[str]) -> str:
    return hashlib.sha256("".join(facts).encode()).hexdigest()

"""Rows of a store before any track is read: genes of the annotation, blacklists, and what fixed them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from diffchrom.annotation.reading import blacklisted_bins, read_annotation, read_blacklist
from diffchrom.config import PREPARE
from diffchrom.errors import InputError, UsageError
from diffchrom.files.whole import require_file
from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.regions import REGION_NAMES, TSS, region_of
from diffchrom.genome.windows import Windows
from diffchrom.pairs.selection import listed_rows
from diffchrom.prepare.request import PrepareRequest
from diffchrom.prepare.summary import Summary
from diffchrom.prepare.track_reading import MaskedWindows
from diffchrom.prepare.tracks import TrackOptions
from diffchrom.store.store import Store


def sha256(path: Path, what: str = "file") -> str:
    """Sha256 of a file's bytes."""
    with require_file(path, what).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def annotated_genes(
    request: PrepareRequest, gtf: Path, window: Window, summary: Summary
) -> tuple[Genes, str]:
    """Read the annotation and leave out what was asked to be left out.

    Returns
    -------
    (genes, assembly)
        The assembly that the annotation's header names, or empty.
    """
    biotype = request.biotypes
    annotation = read_annotation(gtf, biotype=biotype, exclude_chroms=request.exclude_chroms)
    genes = annotation.genes
    summary.note(f"{gtf.name}: {annotation.format}, {len(genes)} genes ({biotype})")
    for reason, count in annotation.dropped.items():
        summary.note(f"{gtf.name}: {count} genes left out: {reason}")
    for note in annotation.notes:
        summary.note(note)
    if request.genes is not None:
        rows = listed_rows(genes, request.genes, gtf.name, summary.note)
        summary.note(f"{gtf.name}: {len(genes) - len(rows)} genes left out: not in {request.genes.name}")
        genes = genes.take(rows)
    if request.blacklist is not None and request.blacklist_mode == "drop":
        bins = blacklisted_bins(Windows.around(genes, window), read_blacklist(request.blacklist, genes))
        listed = np.asarray(bins.any(axis=1))
        if listed.all():
            raise InputError(f"{request.blacklist}: leaves no gene; mask bins with `blacklist_mode=mask`")
        summary.note(f"{request.blacklist.name}: {int(listed.sum())} genes left out: window overlaps it")
        genes = genes.take(~listed)
    return genes, annotation.assembly


def asked_regions(request: PrepareRequest, summary: Summary, store: Store | None = None) -> tuple[str, ...]:
    """Regions of every track: those asked for, or else the store's, or the default; the TSS's in any case."""
    held = {name for cell in store.cells() for name in store.regions(cell)} if store else set()
    lacking = [name for name in PREPARE.regions if held and name not in held]
    if lacking and not request.regions:
        summary.reporter.note(f"the store has no {', '.join(lacking)}: `regions` adds them")
    asked = request.regions or held or PREPARE.regions
    return tuple(name for name in REGION_NAMES if name in asked or name == TSS)


def tell_unknown_ends(genes: Genes, regions: Collection[str], window: Window, summary: Summary) -> None:
    """Warn where most genes have one length, as where an annotation knows only their starts."""
    lengths, counts = np.unique(genes.end - genes.start, return_counts=True)
    doubtful = [name for name in regions if region_of(name, window).anchor != "tss"]
    if doubtful and counts.max() > len(genes) / 2 and len(genes) > 1:
        summary.warn(
            f"{counts.max()} of {len(genes)} genes are {lengths[counts.argmax()]} bases long: where ends are "
            f"not known, {' and '.join(doubtful)} mean nothing; `regions="
            f"{','.join(name for name in regions if name not in doubtful)}` leaves them out"
        )


def windows_to_read(
    request: PrepareRequest, genes: Genes, window: Window, regions: Collection[str], summary: Summary
) -> MaskedWindows:
    """Lay out the genes' windows, and find what the blacklist masks of them."""
    windows = {name: Windows.of(genes, region_of(name, window), window.orient) for name in regions}
    if request.blacklist is None or request.blacklist_mode != "mask" or not windows:
        return MaskedWindows(windows, window.bin_size)
    blacklist = read_blacklist(request.blacklist, genes)
    of_bins = {name: one for name, one in windows.items() if one.region.bins}
    masks = {name: blacklisted_bins(one, blacklist) for name, one in of_bins.items()}
    for mask in masks.values():
        n_genes = int(mask.any(axis=1).sum())
        summary.note(f"{request.blacklist.name}: {int(mask.sum())} bins of {n_genes} genes are set to 0")
    if others := [name for name in windows if name not in masks]:
        summary.note(f"{request.blacklist.name}: the signal of its bases counts as 0 in {', '.join(others)}")
    return MaskedWindows(windows, window.bin_size, masks, blacklist)


def masking(request: PrepareRequest) -> TrackOptions:
    """Track options that know the blacklist, so that a track masked otherwise counts as another."""
    if request.blacklist is None or request.blacklist_mode != "mask":
        return request.track_options
    return replace(request.track_options, mask_sha256=sha256(request.blacklist, "blacklist"))


def row_attrs(request: PrepareRequest) -> dict[str, Any]:
    """Root attributes of a new store: what fixed its rows and masks."""
    assert request.gtf is not None
    selection = {
        "biotype": request.biotypes,
        "genes_sha256": sha256(request.genes) if request.genes else "",
        "exclude_chroms": list(request.exclude_chroms),
        "min_coverage": request.min_coverage,
    }
    return {
        "gtf": request.gtf.name,
        "gtf_sha256": sha256(request.gtf),
        "gene_selection": json.dumps(selection),
        "blacklist": request.blacklist.name if request.blacklist else "",
        "blacklist_sha256": sha256(request.blacklist) if request.blacklist else "",
        "blacklist_mode": request.blacklist_mode if request.blacklist else "",
    }


def check_same_rows(request: PrepareRequest, store: Store) -> None:
    """Refuse options that contradict how the store's rows were made."""
    window = store.window
    for field, asked, held in (
        ("flank", request.flank, window.flank),
        ("bin_size", request.bin_size, window.bin_size),
        ("orient", request.orient, window.orient),
    ):
        if asked is not None and asked != held:
            raise UsageError(
                f"`{field}={asked}`: {store.path} was made with {held}; make another store with `store`"
            )
    if request.gtf is not None:
        held_sha = store.attrs.get("gtf_sha256")
        if held_sha and held_sha != sha256(require_file(request.gtf, "gene annotation")):
            raise UsageError(
                f"`gtf={request.gtf}`: {store.path} was made with another file ({store.attrs.get('gtf')}), "
                "which fixed its genes; make another store with `store`"
            )
    held = str(store.attrs.get("blacklist_sha256", ""))
    masked = store.attrs.get("blacklist_mode") == "mask"
    tracks = request.bigwigs or request.reads or request.samples
    asked = sha256(request.blacklist, "blacklist") if request.blacklist else ""
    if masked and tracks and asked != held:
        raise UsageError(
            f"{store.path}: its bins are masked by {store.attrs.get('blacklist')}; give the same `blacklist`"
        )
    if masked and tracks and request.blacklist_mode != "mask":
        raise UsageError(f"{store.path}: its bins are masked; tracks are added with `blacklist_mode=mask`")
    if asked and asked != held:
        raise UsageError(
            f"`blacklist={request.blacklist}`: {store.path} was made without it; make another with `store`"
        )

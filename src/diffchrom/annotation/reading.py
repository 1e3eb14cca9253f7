"""Gene annotations as `Genes`: which genes are kept, by stated rules, and what was dropped.

Rules, in this order: Y copies of pseudo-autosomal genes (``_PAR_Y``) are dropped, since their sequence is
that of the X copies and one gene must not stand on both sides of a split; of several genes with one id the
first in the file is kept; genes of other biotypes, without a strand, or on excluded chromosomes are dropped.
Everything is counted.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.annotation.chromosomes import match_names
from diffchrom.annotation.formats import read_records
from diffchrom.annotation.records import GeneRecord, parse_interval
from diffchrom.errors import InputError
from diffchrom.files.text import numbered_lines
from diffchrom.files.whole import require_file
from diffchrom.genome.genes import Genes
from diffchrom.genome.ids import examples, is_par_y
from diffchrom.genome.windows import GenomeIntervals, Windows

DEFAULT_BIOTYPE = "protein_coding"
ANY_BIOTYPE = "any"


@dataclass(frozen=True)
class Annotation:
    """Genes of an annotation, and how they were chosen.

    Attributes
    ----------
    genes : in the order of the file.
    format : ``GTF``, ``GFF3``, ``genePred``, ``refFlat`` or ``BED``.
    dropped : reason to number of genes left out.
    notes : what was guessed or needs saying, one sentence each.
    assembly : what the file's header names (``hg19``, ...), or empty.
    """

    genes: Genes
    format: str
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    assembly: str = ""


def genes_from_records(records: Sequence[GeneRecord]) -> Genes:
    """Lay records out as arrays; TSS and TES are the first and last transcribed bases."""
    start = np.array([record.start for record in records], dtype=np.int64)
    end = np.array([record.end for record in records], dtype=np.int64)
    strand = np.array([record.strand for record in records], dtype=object)
    minus = np.asarray(strand == "-", dtype=bool)
    return Genes(
        id=np.array([record.id for record in records], dtype=object),
        name=np.array([record.name for record in records], dtype=object),
        chrom=np.array([record.chrom for record in records], dtype=object),
        strand=strand,
        start=start,
        end=end,
        tss=np.where(minus, end - 1, start),
        tes=np.where(minus, start, end - 1),
    )


def _select_biotype(
    path: Path, records: list[GeneRecord], biotype: str, dropped: Counter[str], notes: list[str]
) -> list[GeneRecord]:
    if biotype == ANY_BIOTYPE:
        return records
    if all(record.biotype is None for record in records):
        notes.append(f"{path.name} names no biotypes: all its genes are kept, not only {biotype}")
        return records
    wanted = {name.strip() for name in biotype.split(",")}
    kept = [record for record in records if record.biotype in wanted]
    if not kept:
        held = Counter(record.biotype or "none" for record in records).most_common(5)
        listed = ", ".join(f"{name} ({count})" for name, count in held)
        raise InputError(
            f"{path}: has no gene of biotype {biotype}; it has {listed}; choose with `biotype`, or "
            f"`biotype={ANY_BIOTYPE}`"
        )
    dropped[f"biotype other than {biotype}"] += len(records) - len(kept)
    return kept


def _select_unique(records: list[GeneRecord], dropped: Counter[str], notes: list[str]) -> list[GeneRecord]:
    kept: dict[str, GeneRecord] = {}
    repeated: list[str] = []
    for record in records:
        if record.id in kept:
            repeated.append(record.id)
        else:
            kept[record.id] = record
    if repeated:
        dropped["id seen before in the file"] += len(repeated)
        notes.append(
            f"{len(set(repeated))} gene ids occur more than once, the first place of each is kept: "
            f"{examples(repeated)}"
        )
    return list(kept.values())


def _drop(
    records: list[GeneRecord], dropped: Counter[str], reason: str, bad: Collection[int]
) -> list[GeneRecord]:
    dropped[reason] += len(bad)
    return [record for i, record in enumerate(records) if i not in bad] if bad else records


def read_annotation(
    path: str | Path,
    *,
    biotype: str = DEFAULT_BIOTYPE,
    exclude_chroms: Collection[str] = (),
) -> Annotation:
    """Read the genes of a GTF, GFF3, genePred, refFlat or BED6, gzipped or not.

    Parameters
    ----------
    path : the annotation; its format is recognised by its content.
    biotype : names with commas between them, or ``any``; a file without biotypes keeps all its genes.
    exclude_chroms : chromosomes whose genes are left out, as the file names them or with ``chr`` added or
        taken away.

    Raises
    ------
    InputError
        When a line is malformed, or no gene is left.
    """
    path = require_file(path, "gene annotation")
    found, assembly = read_records(path)
    records, dropped, notes = found.genes, Counter(found.dropped), list(found.notes)
    if not records:
        raise InputError(f"{path}: holds no genes; give a gene annotation with `gtf`")
    par = {i for i, record in enumerate(records) if is_par_y(record.id)}
    records = _drop(records, dropped, "Y copy of a pseudo-autosomal gene (_PAR_Y)", par)
    records = _select_unique(records, dropped, notes)
    records = _select_biotype(path, records, biotype, dropped, notes)
    loose = {i for i, record in enumerate(records) if record.strand not in ("+", "-")}
    records = _drop(records, dropped, "no strand", loose)
    if exclude_chroms:
        excluded = {chrom.removeprefix("chr") for chrom in exclude_chroms}
        away = {i for i, record in enumerate(records) if record.chrom.removeprefix("chr") in excluded}
        records = _drop(records, dropped, "on an excluded chromosome", away)
    dropped = Counter({reason: count for reason, count in dropped.items() if count})
    if not records:
        why = "; ".join(f"{reason}: {count}" for reason, count in dropped.items())
        raise InputError(f"{path}: no gene is left ({why}); check `biotype` and `exclude_chroms`")
    return Annotation(genes_from_records(records), found.format, dict(dropped), tuple(notes), assembly)


def _ranges(chrom: Iterable[str], start: npt.NDArray[Any], end: npt.NDArray[Any]) -> Any:
    """Intervals as a PyRanges; the row number is kept in the column Row."""
    with warnings.catch_warnings():
        # pyranges 0.1 warns about pandas 3's future and about pkg_resources.
        warnings.simplefilter("ignore")
        import pandas as pd
        import pyranges

        frame = pd.DataFrame(
            {"Chromosome": list(chrom), "Start": start, "End": end, "Row": np.arange(len(start))}
        )
        return pyranges.PyRanges(frame, int64=True)


def read_intervals(path: str | Path) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Read the first three columns of a BED, such as a blacklist.

    Returns
    -------
    chrom, start, end : list [n], int64 arrays [n]
    """
    chrom: list[str] = []
    spans: list[tuple[int, int]] = []
    for number, line in numbered_lines(path, "BED"):
        text = line.strip()
        if not text or text.startswith(("#", "track", "browser")):
            continue
        fields = text.split("\t") if "\t" in text else text.split()
        if len(fields) < 3:
            raise InputError(f"{path}:{number}: {len(fields)} columns; a BED needs chrom, start and end")
        chrom.append(fields[0])
        spans.append(parse_interval(path, number, fields[1], fields[2], 0))
    if not chrom:
        raise InputError(f"{path}: holds no intervals")
    array = np.array(spans, dtype=np.int64)
    return chrom, array[:, 0], array[:, 1]


def read_blacklist(path: str | Path, genes: Genes) -> GenomeIntervals:
    """Read the intervals of a BED on the chromosomes of genes, by the genes' names of them, merged.

    Parameters
    ----------
    path : BED; its chromosome names are matched to the genes' (`chromosomes.match_names`).

    Raises
    ------
    InputError
        When the BED has none of the genes' chromosomes.
    """
    chrom, start, end = read_intervals(path)
    names = match_names(dict.fromkeys(genes.chrom), dict.fromkeys(chrom, 0))
    if not names:
        raise InputError(
            f"{path}: none of its chromosomes ({examples(chrom)}) has genes ({examples(genes.chrom)})"
        )
    back = {theirs: mine for mine, theirs in names.items()}
    listed = np.array([name in back for name in chrom])
    ranges = _ranges([back[name] for name in chrom if name in back], start[listed], end[listed])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        merged = ranges.merge().df
    first, last = (merged[name].to_numpy(dtype=np.int64) for name in ("Start", "End"))
    return GenomeIntervals(merged["Chromosome"].astype(str).to_numpy(dtype=object), first, last)


def blacklisted_bins(windows: Windows, blacklist: GenomeIntervals) -> npt.NDArray[np.bool_]:
    """Tell which bins share a base with an interval.

    Returns
    -------
    bool array [n_genes, n_bins]
        In the order in which bins stand in the store.
    """
    rows = _ranges(windows.chrom, np.maximum(windows.start, 0), windows.end)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = rows.join(_ranges(blacklist.chrom, blacklist.start, blacklist.end)).df
    if not len(pairs):
        return np.zeros((len(windows.start), windows.n_windows), dtype=bool)
    return windows.touched(*(pairs[name].to_numpy(dtype=np.int64) for name in ("Row", "Start_b", "End_b")))

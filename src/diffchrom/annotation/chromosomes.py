"""Do the genes and the tracks speak of one genome? Names met, assemblies guessed, contradictions refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffchrom.errors import InputError
from diffchrom.files.text import numbered_lines
from diffchrom.genome.assemblies import ASSEMBLIES, canonical, from_accessions, from_sizes
from diffchrom.genome.genes import Genes
from diffchrom.genome.ids import examples

# Annotations put a landmark's start up to 45 kb apart, two assemblies 59 kb or more.
_LANDMARK_TOLERANCE = 50_000
_MIN_LANDMARKS = 2
FORCE = "or `force` to go on"


def read_chrom_sizes(path: str | Path) -> dict[str, int]:
    """Read chromosome lengths in bases: UCSC's ``chrom.sizes``, or a FASTA's index (``.fai``).

    Raises
    ------
    InputError
        When the file is missing or empty, or a line is not a name and a length, or repeats a name.
    """
    sizes: dict[str, int] = {}
    for number, line in numbered_lines(path, "table of chromosome lengths"):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        if len(fields) < 2 or not fields[1].isdigit() or not 0 < int(fields[1]) < 2**40:
            raise InputError(f"{path}:{number}: {line!r:.60} is not a chromosome's name and its length")
        if fields[0] in sizes:
            raise InputError(f"{path}:{number}: {fields[0]} stands there again; each chromosome has one line")
        sizes[fields[0]] = int(fields[1])
    if not sizes:
        raise InputError(f"{path}: holds no chromosome; give a chrom.sizes: a name and a length a line")
    return sizes


def match_names(wanted: Iterable[str], available: Mapping[str, int]) -> dict[str, str]:
    """Find each chromosome of an annotation among a track's, by name or by what the name stands for.

    Parameters
    ----------
    wanted : names in the annotation (``1``, ``chr1``, ``NC_000001.10``).
    available : names in the track, and lengths.

    Returns
    -------
    dict
        Name in the annotation to name in the track, for those that the track has.
    """
    counts = Counter(canonical(name) for name in available)
    meanings = {canonical(name): name for name in available if counts[canonical(name)] == 1}
    matched = {}
    for name in dict.fromkeys(wanted):
        found = name if name in available else meanings.get(canonical(name))
        if found is not None:
            matched[name] = found
    return matched


def guess_from_genes(genes: Genes) -> str:
    """Return the assembly in which most landmark genes start where `genes` has them, or empty.

    Landmarks are found by symbol; at least two must agree, and more than half of those there are.
    """
    symbols = {symbol for assembly in ASSEMBLIES.values() for symbol in assembly.landmarks}
    places: dict[str, tuple[str, int]] = {}
    for i, name in enumerate(genes.name):
        if str(name).upper() in symbols:
            places.setdefault(str(name).upper(), (canonical(str(genes.chrom[i])), int(genes.tss[i])))
    votes: Counter[str] = Counter()
    for symbol, (chrom, tss) in places.items():
        away = {
            assembly.name: abs(tss - assembly.landmarks[symbol][1])
            for assembly in ASSEMBLIES.values()
            if assembly.landmarks.get(symbol, ("", 0))[0] == chrom
        }
        nearest = min(away, key=away.__getitem__, default="")
        if nearest and away[nearest] <= _LANDMARK_TOLERANCE:
            votes[nearest] += 1
    if not votes:
        return ""
    name, count = votes.most_common(1)[0]
    return name if count >= _MIN_LANDMARKS and 2 * count > len(places) else ""


def guess_genes_assembly(genes: Genes, header: str = "") -> tuple[str, str]:
    """Guess the assembly of an annotation.

    Parameters
    ----------
    header : assembly that the file's header names, or empty.

    Returns
    -------
    (assembly, why)
        Both empty where nothing tells.
    """
    by_place = guess_from_genes(genes)
    if by_place:
        return by_place, "by the positions of well-known genes"
    by_accession = from_accessions(frozenset(genes.chrom))
    if by_accession:
        return by_accession, "by its RefSeq accessions"
    return (header, "by its header") if header else ("", "")


@dataclass(frozen=True)
class Genome:
    """The genome on which genes and tracks agree.

    Attributes
    ----------
    assembly : ``hg19``, ..., or empty where it is none that is known.
    sizes : the annotation's chromosome names, and lengths, as far as known.
    names : for each file that tells its chromosomes, the annotation's names of them to its own.
    notes : what was matched or guessed, one sentence each.
    """

    assembly: str
    sizes: dict[str, int]
    names: dict[str, dict[str, str]]
    notes: tuple[str, ...]


def _told(sizes: Mapping[str, int]) -> str:
    """Describe a track's genome for a message."""
    assembly = from_sizes(sizes)
    longest = max(sizes, key=sizes.__getitem__)
    return f"{assembly} ({longest} has {sizes[longest]} bases)"


def _check_lengths(tracks: Mapping[str, Mapping[str, int]]) -> str:
    """Return what contradicts between tracks' chromosome lengths, or empty."""
    first: dict[str, tuple[str, str, int]] = {}
    for label, sizes in tracks.items():
        for name, length in sizes.items():
            other, other_name, other_length = first.setdefault(canonical(name), (label, name, length))
            if other_length != length and canonical(name) in ASSEMBLIES["hg19"].sizes:
                mine, theirs = from_sizes(sizes), from_sizes(tracks[other])
                return (
                    f"{label}: {name} has {length} bases{f' ({mine})' if mine else ''}, in {other} "
                    f"{other_name} has {other_length}{f' ({theirs})' if theirs else ''}: the tracks are of "
                    "different genomes; take tracks of one"
                )
    return ""


def _check_ends(
    genes: Genes, gtf: str, label: str, names: Mapping[str, str], sizes: Mapping[str, int]
) -> str:
    """Return what contradicts between genes' positions and one track's chromosome ends, or empty."""
    ends = np.array([sizes[names[chrom]] if chrom in names else -1 for chrom in genes.chrom])
    beyond = np.flatnonzero((ends >= 0) & (genes.tss >= ends))
    if not len(beyond):
        return ""
    i = int(beyond[0])
    return (
        f"{gtf}: {len(beyond)} genes start beyond the ends of their chromosomes in {label} (for example "
        f"{genes.id[i]} at {genes.chrom[i]}:{genes.tss[i] + 1}, where the track has {ends[i]} bases): they "
        "are of different genomes; take a GTF and tracks of one"
    )


def _match_tracks(
    genes: Genes, tracks: Mapping[str, Mapping[str, int]], gtf: str
) -> dict[str, dict[str, str]]:
    """For each track, the annotation's chromosome names to its own; InputError where it has none of them."""
    chroms = list(dict.fromkeys(genes.chrom))
    names = {label: match_names(chroms, available) for label, available in tracks.items()}
    for label, found in names.items():
        if not found:
            raise InputError(
                f"{label}: none of its chromosomes ({examples(tracks[label])}) is one of {gtf} "
                f"({examples(chroms)}); take a GTF and tracks of one genome"
            )
    return names


def _tell_renamed(names: Mapping[str, Mapping[str, str]], gtf: str) -> str:
    """Say that chromosome names differ, by an example, or nothing where they do not."""
    renamed = {(mine, theirs) for found in names.values() for mine, theirs in found.items() if mine != theirs}
    if not renamed:
        return ""
    mine, theirs = min(renamed)
    return f"chromosome names differ and were matched: {mine} of {gtf} is {theirs} of the tracks"


def _assemblies(tracks: Mapping[str, Mapping[str, int]]) -> set[str]:
    """Assemblies that the tracks' chromosome lengths tell."""
    return {from_sizes(available) for available in tracks.values()} - {""}


def _check_assembly(tracks: Mapping[str, Mapping[str, int]], gtf: str, guessed: str, why: str) -> str:
    """Return what contradicts between the genes' assembly and the tracks', or empty."""
    known = _assemblies(tracks)
    if not guessed or not known or guessed in known:
        return ""
    label = next(label for label, available in tracks.items() if from_sizes(available))
    return (
        f"{gtf} is of {guessed} ({why}), {label} is of {_told(tracks[label])}: take a GTF and tracks of "
        "one genome"
    )


def check_genome(
    genes: Genes,
    tracks: Mapping[str, Mapping[str, int]],
    *,
    gtf: str,
    header: str = "",
    known: Mapping[str, Mapping[str, int]] | None = None,
    force: bool = False,
) -> Genome:
    """Match the names of chromosomes, and refuse genes and tracks of different genomes.

    Where neither a track nor `known` tells lengths, they are those of the annotation's assembly.

    Parameters
    ----------
    genes : of the annotation.
    tracks : each track's path, and its chromosomes' names and lengths; none for a track that tells none.
    known : lengths from elsewhere (a chrom.sizes, the store that is extended), by its name.
    gtf : the annotation's path, for messages.
    header : assembly that the annotation's header names, or empty.
    force : make notes of contradictions instead of raising.

    Raises
    ------
    InputError
        When a track has none of the genes' chromosomes, lengths contradict each other, genes lie beyond the
        ends of chromosomes, or genes and tracks are of different assemblies.
    """
    told = {label: lengths for label, lengths in {**(known or {}), **tracks}.items() if lengths}
    guessed, why = guess_genes_assembly(genes, header)
    by_lengths = _assemblies(told)
    assembly = guessed if not by_lengths else next(iter(by_lengths)) if len(by_lengths) == 1 else ""
    if not told and assembly in ASSEMBLIES:
        told = {assembly: ASSEMBLIES[assembly].sizes}
    names = _match_tracks(genes, told, gtf)
    sizes: dict[str, int] = {}
    for label, found in names.items():
        for name, theirs in found.items():
            sizes[name] = max(sizes.get(name, 0), told[label][theirs])
    problems = [
        _check_lengths(told),
        _check_assembly(told, gtf, guessed, why),
        *(_check_ends(genes, gtf, label, names[label], lengths) for label, lengths in told.items()),
    ]
    wrong = [problem for problem in problems if problem]
    if wrong and not force:
        raise InputError(f"{wrong[0]}, {FORCE}")
    whose = "the tracks" if any(tracks.values()) else ", ".join(told)
    notes = [
        _tell_renamed({label: names[label] for label in tracks if label in names}, gtf),
        *(f"`force`: {problem}" for problem in wrong),
        f"assembly: {assembly} ({f'by the chromosome lengths of {whose}' if by_lengths else why})"
        if assembly
        else "",
        _tell_lengths(genes, tracks, sizes, whose),
    ]
    return Genome(assembly, sizes, names, tuple(note for note in notes if note))


def _tell_lengths(
    genes: Genes, tracks: Mapping[str, Mapping[str, int]], sizes: Mapping[str, int], whose: str
) -> str:
    """Say on how many genes' chromosomes there is no track, or whose lengths serve tracks that tell none."""
    if tracks and all(tracks.values()):
        lacking = Counter(chrom for chrom in genes.chrom if chrom not in sizes)
        if lacking:
            return f"{lacking.total()} genes lie on chromosomes that no track has: {examples(lacking)}"
    elif tracks and not any(tracks.values()):
        if not whose:
            return "chromosome lengths are not known: reads in text tell none, `chrom_sizes=FILE` does"
        return f"chromosome lengths: those of {whose}"
    return ""

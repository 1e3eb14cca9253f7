"""Genome assemblies that diffchrom can tell apart: chromosome lengths, RefSeq accessions, landmark genes.

Lengths are UCSC's ``chrom.sizes``; RefSeq versions are those of NCBI's assembly reports; landmarks are 5'
ends of RefSeq Select transcripts in the UCSC browser of each assembly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_HUMAN = (*map(str, range(1, 23)), "X", "Y")
_MOUSE = (*map(str, range(1, 20)), "X", "Y")


@dataclass(frozen=True)
class Assembly:
    """One assembly.

    Attributes
    ----------
    name : UCSC's name.
    aliases : other names, in lower case, that headers of files use.
    sizes : canonical chromosome name (`canonical`) to its length in bases.
    accessions : RefSeq accession versions, by number of the accession (``NC_000001.10`` is 1: 10).
    landmarks : symbol in upper case to (canonical chromosome, TSS).
    """

    name: str
    aliases: tuple[str, ...]
    sizes: Mapping[str, int]
    accessions: Mapping[int, int]
    landmarks: Mapping[str, tuple[str, int]]


def _sizes(names: tuple[str, ...], lengths: str) -> dict[str, int]:
    return dict(zip(names, map(int, lengths.split()), strict=True))


def _accessions(first: int, versions: str) -> dict[int, int]:
    return dict(enumerate(map(int, versions.split()), first))


ASSEMBLIES: Mapping[str, Assembly] = {
    assembly.name: assembly
    for assembly in (
        Assembly(
            "hg18",
            ("ncbi36", "ncbi build 36"),
            _sizes(
                _HUMAN,
                """247249719 242951149 199501827 191273063 180857866 170899992 158821424 146274826
                140273252 135374737 134452384 132349534 114142980 106368585 100338915 88827254
                78774742 76117153 63811651 62435964 46944323 49691432 154913754 57772954""",
            ),
            {},
            {
                "TP53": ("17", 7_531_588),
                "MYC": ("8", 128_817_498),
                "BRCA1": ("17", 38_530_994),
                "GATA1": ("X", 48_529_906),
            },
        ),
        Assembly(
            "hg19",
            ("grch37", "b37", "hs37d5"),
            _sizes(
                _HUMAN,
                """249250621 243199373 198022430 191154276 180915260 171115067 159138663 146364022
                141213431 135534747 135006516 133851895 115169878 107349540 102531392 90354753
                81195210 78077248 59128983 63025520 48129895 51304566 155270560 59373566""",
            ),
            _accessions(1, "10 11 11 11 9 11 13 10 11 10 9 11 10 8 9 9 10 9 9 10 8 10 10 9"),
            {
                "TP53": ("17", 7_590_868),
                "MYC": ("8", 128_748_315),
                "BRCA1": ("17", 41_277_500),
                "GATA1": ("X", 48_644_982),
            },
        ),
        Assembly(
            "hg38",
            ("grch38", "hs38"),
            _sizes(
                _HUMAN,
                """248956422 242193529 198295559 190214555 181538259 170805979 159345973 145138636
                138394717 133797422 135086622 133275309 114364328 107043718 101991189 90338345
                83257441 80373285 58617616 64444167 46709983 50818468 156040895 57227415""",
            ),
            _accessions(1, "11 12 12 12 10 12 14 11 12 11 10 12 11 9 10 10 11 10 10 11 9 11 11 10"),
            {
                "TP53": ("17", 7_687_538),
                "MYC": ("8", 127_736_231),
                "BRCA1": ("17", 43_125_483),
                "GATA1": ("X", 48_786_554),
            },
        ),
        Assembly(
            "mm9",
            ("ncbim37", "mgscv37"),
            _sizes(
                _MOUSE,
                """197195432 181748087 159599783 155630120 152537259 149517037 152524553 131738871
                124076172 129993255 121843856 121257530 120284312 125194864 103494974 98319150
                95272651 90772031 61342430 166650296 15902555""",
            ),
            {},
            {"TRP53": ("11", 69_393_861), "MYC": ("15", 61_816_893), "BRCA1": ("11", 101_413_269)},
        ),
        Assembly(
            "mm10",
            ("grcm38",),
            _sizes(
                _MOUSE,
                """195471971 182113224 160039680 156508116 151834684 149736546 145441459 129401213
                124595110 130694993 122082543 120129022 120421639 124902244 104043685 98207768
                94987271 90702639 61431566 171031299 91744698""",
            ),
            _accessions(67, "6 7 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 7 7"),
            {"TRP53": ("11", 69_580_359), "MYC": ("15", 61_985_341), "BRCA1": ("11", 101_551_955)},
        ),
        Assembly(
            "mm39",
            ("grcm39",),
            _sizes(
                _MOUSE,
                """195154279 181755017 159745316 156860686 151758149 149588044 144995196 130127694
                124359700 130530862 121973369 120092757 120883175 125139656 104073951 98008968
                95294699 90720763 61420004 169476592 91455967""",
            ),
            _accessions(67, "7 8 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 8"),
            {"TRP53": ("11", 69_471_185), "MYC": ("15", 61_857_190), "BRCA1": ("11", 101_442_781)},
        ),
    )
}

_ACCESSION = re.compile(r"^NC_0000(\d\d)\.(\d+)$")
#: First RefSeq accession number of a genome's chromosomes, and their names in order.
_ACCESSION_NAMES = dict(enumerate(_HUMAN, 1)) | dict(enumerate(_MOUSE, 67))
_MITOCHONDRIA = frozenset({"M", "MT", "MITO"})


def canonical(name: str) -> str:
    """Return a chromosome's name as this table has it.

    ``chr1``, ``1`` and ``NC_000001.10`` are all ``1``; ``chrM`` and ``MT`` are ``M``; contigs keep theirs.
    """
    accession = _ACCESSION.match(name)
    if accession:
        return _ACCESSION_NAMES.get(int(accession[1]), name)
    if name in ("NC_012920.1", "NC_005089.1"):
        return "M"
    bare = name[3:] if name[:3].lower() == "chr" else name
    if bare.upper() in _MITOCHONDRIA:
        return "M"
    return bare.upper() if len(bare) == 1 else bare


def from_sizes(sizes: Mapping[str, int]) -> str:
    """Return the assembly whose lengths `sizes` has, empty when there is none or they disagree."""
    known = {canonical(name): length for name, length in sizes.items()}
    for assembly in ASSEMBLIES.values():
        common = [name for name in known if name in assembly.sizes]
        if common and all(known[name] == assembly.sizes[name] for name in common):
            return assembly.name
    return ""


def from_accessions(names: Iterable[str]) -> str:
    """Return the assembly that has the RefSeq accessions among `names` in these versions, or empty."""
    found = [match for match in map(_ACCESSION.match, names) if match]
    for assembly in ASSEMBLIES.values():
        if found and all(assembly.accessions.get(int(match[1])) == int(match[2]) for match in found):
            return assembly.name
    return ""


def from_text(text: str) -> str:
    """Return the assembly that a file's header names, empty when it names none, or two."""
    lower = text.lower()
    mapped = re.search(r"mapped to (grch37|grch38)", lower)  # GENCODE's lift37 names both
    if mapped:
        lower = mapped[1]
    found = {
        assembly.name
        for assembly in ASSEMBLIES.values()
        if any(
            re.search(rf"(?<![a-z0-9]){re.escape(word)}(?!\d)", lower)
            for word in (assembly.name, *assembly.aliases)
        )
    }
    return found.pop() if len(found) == 1 else ""

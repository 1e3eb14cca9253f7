"""What a track's path says of it: mark, cell and replicate, or that it is a control or RNA.

A path is understood only where it can mean one thing; everything else is left to a sample sheet: a wrong
guess would train a model on swapped tracks without a sound. Pipelines and archives are rows of the tables
below: nf-core/chipseq 1.2 to 2.1 (``WT_H3K27AC_IP_REP1.mLb.clN.bigWig``), nf-core/cutandrun 3.2
(``h3k27me3_wt_R1.bigWig``), ENCODE at UCSC (``wgEncodeBroadHistoneGm12878H3k4me3StdSig.bigWig``), Roadmap,
MACS and deepTools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffchrom.files.text import words

#: Words of file names that tell a track's unit (Roadmap, ENCODE, MACS, deepTools), and the unit.
UNIT_WORDS: Mapping[str, str] = {
    "fc": "fold-change",
    "fe": "fold-change",
    "foldchange": "fold-change",
    "pval": "pvalue",
    "pvalue": "pvalue",
    "ppois": "pvalue",
    "coverage": "coverage",
    "cov": "coverage",
    "rpkm": "coverage",
    "cpm": "coverage",
    "bpm": "coverage",
    "rpgc": "coverage",
    "rpm": "coverage",
    "counts": "counts",
    "reads": "counts",
}
UNITS = ("fold-change", "pvalue", "coverage", "counts")

#: Kinds of files among tracks.
MARK, CONTROL, RNA, UNKNOWN = "mark", "control", "RNA", "unknown"
_CONTROL_WORDS = words("input inputdna igg wce wholecellextract")
_RNA_WORDS = words("rna rnaseq mrna mrnaseq totalrna polya")
# nf-core/rnaseq writes SAMPLE.forward.bigWig; ChIP-seq has no strands.
_STRANDS = words("forward reverse fwd rev plus minus")

# Words that say how a file was made, not which cell or mark it is.
_NOISE = words(
    """bigwig bw bam bed tagalign gz signal imputed consolidated pilot seglevel filtered sorted dedup rmdup
    nodup norm normalized normalised merged pooled bdg hg18 hg19 hg38 grch37 grch38 mm9 mm10 mm39 chip
    chipseq cutandtag cutnrun cuttag cutandrun uniq ip mlb mrp cln"""
)
# Before the mark these may well name a condition; after it they are what MACS and Roadmap write.
_NOISE_AFTER = _NOISE | words("treat pileup control lambda narrow broad p q final unique log10 seq")
# A number after one of these counts something else than replicates.
_COUNTED = words("day d week wk hour hr h stage passage p donor patient sample clone line time t cell type")
_ENCODE_FILE = re.compile(r"^ENCFF[0-9]{3}[A-Z]{3}\b", re.IGNORECASE)
_ACCESSION = re.compile(r"^(?:GSM|GSE|SRR|SRX|ERR|DRR|ENCFF|ENCSR)[0-9A-Z]{3,}$", re.IGNORECASE)
_REPLICATE = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:rep|replicate|biorep|br)[-._]?|r)(\d{1,3})(?![A-Za-z0-9])", re.IGNORECASE
)
# After a mark, and where something else names the cell: E116-H3K4me3-2.bw.
_SHORT_REPLICATE = re.compile(r"^(\d{1,2})$")
_NUMBERED = re.compile(r"^(?P<base>.*?(?P<word>[A-Za-z0-9]+))[-_. ](?P<number>\d{1,2})$")
_LIKE_REPLICATE = re.compile(
    r"^(?P<base>.+?)(?:[-_. ]?(?:rep|replicate|biorep|br|r)[-._]?\d{1,3}|[-_. ]\d{1,2})$", re.IGNORECASE
)
_HISTONE = re.compile(
    r"(?<![A-Za-z0-9])(H(?:1|2A|2B|3|4)(?:\.[1-4])?)([KRST])0?(\d{1,3})(me[1-3][as]?|ac|ub1?|ph|cr|bhb|la)(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_VARIANT = re.compile(
    r"(?<![A-Za-z0-9])(H2A\.?Z|H3\.3|DNase|ATAC|CTCF|POLR2A|Pol2|EP300|RAD21)(?![A-Za-z0-9])", re.IGNORECASE
)
_VARIANT_NAMES = {"h2az": "H2A.Z", "h2a.z": "H2A.Z", "dnase": "DNase", "pol2": "Pol2"}
#: Names that are no words with separators; the groups are the cell and the mark (or the control).
_FORMS = (
    re.compile(
        r"^wgEncode[A-Z][a-z]+Histone(?P<cell>[A-Z][A-Za-z0-9]*?)"
        r"(?P<mark>H[234][kK]\d{1,3}(?:me[1-3]|ac)|H2az|Control|Input)b?(?=[A-Z.])"
    ),
)
_FORM_CONTROLS = words("Control Input")
_GENERIC_FOLDERS = words(
    """data bigwig bigwigs bw tracks signal chip chipseq results output out files download downloads tmp
    merged_library mergedlibrary 03_bed_to_bigwig"""
)
#: What chipseq and deepTools put between a sample's name and ``.bigWig``.
_ENDINGS = re.compile(r"(?:\.(?:mLb|mRp|clN|sorted|bigWig|bw|gz))+$", re.IGNORECASE)


@dataclass(frozen=True)
class NamedFile:
    """What one path says.

    Attributes
    ----------
    kind : `MARK`, `CONTROL`, `RNA` or `UNKNOWN`.
    cell, mark, replicate : empty where the name does not say.
    unit : one of `UNITS`, or empty.
    why : of an unknown file, why it is not understood.
    """

    path: Path
    kind: str
    cell: str = ""
    mark: str = ""
    replicate: str = ""
    unit: str = ""
    why: str = ""


def _mark_spelling(match: re.Match[str]) -> str:
    if match.re is _HISTONE:
        return match[1].upper() + match[2].upper() + match[3] + match[4].lower()
    return _VARIANT_NAMES.get(match[0].lower(), match[0].upper())


def find_marks(text: str) -> list[tuple[str, int, int]]:
    """Return (mark in its standard spelling, start, end) of each histone mark or factor named in `text`."""
    matches = list(_HISTONE.finditer(text))
    spans = [match.span() for match in matches]
    for match in _VARIANT.finditer(text):
        if not any(start <= match.start() < end for start, end in spans):
            matches.append(match)
    matches.sort(key=lambda match: match.start())
    return [(_mark_spelling(match), *match.span()) for match in matches]


def guess_unit(name: str) -> str:
    """Return the unit that a file's name tells, empty when it tells none or two."""
    text = re.sub(r"fold[._-]?(?:change|enrichment)", "foldchange", name.lower())
    units = {UNIT_WORDS[word] for word in re.split(r"[^a-z0-9]+", text) if word in UNIT_WORDS}
    return units.pop() if len(units) == 1 else ""


def sample_id(path: Path) -> str:
    """Return the name that a pipeline gave a sample, from the file that it made of it."""
    return _ENDINGS.sub("", path.name)


def take_replicate(text: str) -> tuple[str, str]:
    """Take ``REP1``, ``rep_1``, ``R1`` and the like out of `text`; return what is left, and the number."""
    numbers = [match[1] for match in _REPLICATE.finditer(text)]
    return _REPLICATE.sub("", text), ",".join(dict.fromkeys(numbers))


def numbered(cell: str) -> tuple[str, str] | None:
    """Split a cell's name before a number at its end that may be a replicate's: ``wt_1``, not ``day_1``."""
    match = _NUMBERED.match(cell)
    return None if match is None or match["word"].lower() in _COUNTED else (match["base"], match["number"])


def without_replicate(cell: str) -> str:
    """Return a cell's name without what looks like the number of a replicate."""
    match = _LIKE_REPLICATE.match(cell)
    return match["base"] if match else cell


def _is_noise(word: str, noise: frozenset[str]) -> bool:
    return word.lower() in noise or word.lower() in UNIT_WORDS or bool(_ACCESSION.match(word))


def cell_name(text: str, noise: frozenset[str] = _NOISE) -> str:
    """Return `text` without separators at its ends and without words that name no cell."""
    parts = re.split(r"([-_. ]+)", text.strip("-_. "))
    kept = [(separator[:1], word) for separator, word in zip(["", *parts[1::2]], parts[::2], strict=True)]
    kept = [(separator, word) for separator, word in kept if word and not _is_noise(word, noise)]
    return "".join(("" if i == 0 else separator) + word for i, (separator, word) in enumerate(kept))


def _after_mark(text: str) -> str:
    """Return what may be a cell's name in the text after the mark, up to the first dot."""
    # Roadmap, ENCODE and MACS put what a file is after a dot: E003-H3K27me3.pilot.pval.bigwig.
    return cell_name(text.split(".", 1)[0], _NOISE_AFTER)


def understand(path: str | Path) -> NamedFile:
    """Understand one path, as `NamedFile` tells; nothing is raised.

    Examples are ``E116-H3K4me3.fc.signal.bigwig``, ``E116/H3K4me3.bw`` and ``E116_H3K4me3_REP1.bigWig``.
    """
    path = Path(path)
    for form in _FORMS:
        if match := form.match(path.name):
            return _of_form(path, match)
    name, replicate = take_replicate(path.name)
    marks = find_marks(name)
    in_folder = find_marks(path.parent.name)
    kind = _other_kind(name)
    if len({mark for mark, _, _ in marks}) > 1:
        listed = ", ".join(mark for mark, _, _ in marks)
        return NamedFile(path, UNKNOWN, why=f"names {len(marks)} marks ({listed})")
    if marks and kind == CONTROL:
        return NamedFile(path, UNKNOWN, mark=marks[0][0], why=f"names both {marks[0][0]} and a control")
    if marks:
        return _of_mark(path, name, replicate, marks)
    if kind:
        left = re.sub(r"[A-Za-z0-9]+", lambda word: _but(word[0], _CONTROL_WORDS | _RNA_WORDS), name)
        return NamedFile(path, kind, cell_name(left.split(".", 1)[0]), replicate=replicate)
    if len({mark for mark, _, _ in in_folder}) == 1:
        return _checked(path, in_folder[0][0], cell_name(name.split(".", 1)[0]), replicate)
    why = "names no histone mark that is known"
    if _ENCODE_FILE.match(path.name):
        why = "is named by its ENCODE accession alone (give ENCODE's metadata.tsv as `samples`)"
    return NamedFile(path, UNKNOWN, cell_name(name.split(".", 1)[0]), replicate=replicate, why=why)


def _but(word: str, left_out: frozenset[str]) -> str:
    return "" if word.lower() in left_out else word


def _other_kind(name: str) -> str:
    """Return what a file may be that is no mark's: `CONTROL`, `RNA`, or empty."""
    parts = [word.lower() for word in re.findall(r"[A-Za-z0-9]+", _ENDINGS.sub("", name))]
    if _CONTROL_WORDS.intersection(parts):
        return CONTROL
    return RNA if _RNA_WORDS.intersection(parts) or (parts and parts[-1] in _STRANDS) else ""


def _of_form(path: Path, match: re.Match[str]) -> NamedFile:
    _, replicate = take_replicate(re.sub(r"(?=Rep\d)", "_", path.name))
    if match["mark"] in _FORM_CONTROLS:
        return NamedFile(path, CONTROL, match["cell"], replicate=replicate)
    return NamedFile(
        path, MARK, match["cell"], find_marks(match["mark"])[0][0], replicate, guess_unit(path.name)
    )


def _of_mark(path: Path, name: str, replicate: str, marks: list[tuple[str, int, int]]) -> NamedFile:
    mark, start, end = marks[0][0], marks[0][1], marks[-1][2]
    folder = path.parent.name
    before, after = cell_name(name[:start]), _after_mark(name[end:])
    above, more = "", ""
    if folder and not find_marks(folder) and folder.lower() not in _GENERIC_FOLDERS:
        above, more = take_replicate(folder)
        above = cell_name(above)
    short = _SHORT_REPLICATE.match(after)
    if short and not replicate and (before or above):
        replicate, after = short[1], ""
    if before and after:
        return NamedFile(
            path,
            UNKNOWN,
            mark=mark,
            replicate=replicate,
            why=f"cannot tell whether {before} or {after} is the cell",
        )
    cell = before or after
    if not cell:
        cell, replicate = above, replicate or more
    return _checked(path, mark, cell, replicate)


def _checked(path: Path, mark: str, cell: str, replicate: str) -> NamedFile:
    if not cell:
        number = f" ({replicate} is taken as a replicate's number)" if replicate else ""
        why = f"names the mark {mark} but no cell{number}"
        return NamedFile(path, UNKNOWN, mark=mark, replicate=replicate, why=why)
    return NamedFile(path, MARK, cell, mark, replicate, guess_unit(path.name))

"""Weights where biologists look: a folder that is a UCSC track hub and an IGV session at once.

A hub is text files that name bigWigs (https://genome.ucsc.edu/goldenPath/help/hgTrackHubHelp.html); all lie
in one folder, which serves from any web server. Hubs take no plain BED: the windows of the largest weight are
in them where a bigBed can be written, and else in the session alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from diffchrom.attention.bed import BedSorter
from diffchrom.attention.export import ExportOptions, choose_sequences
from diffchrom.attention.formats import require_coordinates
from diffchrom.attention.tracks import combine, known_sizes, output_folder, require_sizes, write_bigwigs
from diffchrom.attention.weights import Weights
from diffchrom.deepdiff.opened import AttentionBatch, OpenedModel
from diffchrom.errors import UsageError
from diffchrom.genome.assemblies import from_sizes
from diffchrom.genome.genes import Rows
from diffchrom.progress import SILENT, Reporter
from diffchrom.signal.bigbed_writer import can_write_bigbed, write_bigbed
from diffchrom.store.store import Store

HUB, GENOMES, TRACKS, SESSION, PEAKS = "hub.txt", "genomes.txt", "trackDb.txt", "igv_session.xml", "peaks.bed"
BIG_PEAKS = "peaks.bb"
_PARENT = "diffchrom"
#: Of what moves the prediction towards B, and towards A (as in `gene_picture`).
_COLOUR, _OTHER_COLOUR = "213,94,0", "0,114,178"
#: Characters that the browser shows of a track's short and long name.
_SHORT, _LONG = 17, 80

Stanza = Mapping[str, str]


@dataclass(frozen=True)
class HubTrack:
    """One bigWig: its name, which is fit for a file, and what readers are shown."""

    name: str
    short: str
    long: str

    @property
    def file(self) -> str:
        """Name of the bigWig."""
        return f"{self.name}.bw"


def write_hub(
    opened: OpenedModel,
    rows: Rows,
    options: ExportOptions,
    folder: Path,
    genome: str | None = None,
    reporter: Reporter = SILENT,
) -> None:
    """Write a hub and a session of the genes `rows` into a folder, all or nothing.

    Parameters
    ----------
    options : which weights, sequences and windows; the format is left aside.
    genome : UCSC's name of the assembly; None is that of the store.

    Raises
    ------
    UsageError
        When the assembly is not known.
    InputError, StoreError, OutputError
        Genes or chromosomes without coordinates; what can't be written.
    """
    weights = Weights.of(opened, options.by)
    keep = choose_sequences(weights, options.blocks, options.marks)
    require_coordinates(opened.genes, rows, "`hub`")
    require_sizes(opened, rows)
    assembly = genome or _assembly(opened.pair.store)
    tracks = hub_tracks(weights, keep)
    ordered = opened.windows.genome_order(rows)
    with output_folder(folder) as temporary, (temporary / PEAKS).open("wb") as bed:
        sorter = BedSorter(weights, keep, options.choice, "bed6")

        def passed() -> Iterator[AttentionBatch]:
            for batch in weights.batches(ordered, reporter):
                bed.writelines(sorter.feed(batch))
                yield batch
            bed.write(sorter.rest())

        stretches = combine(opened, passed(), keep, options.combine)
        write_bigwigs(opened, [temporary / track.file for track in tracks], stretches)
        bed.flush()
        big = can_write_bigbed() and bed.tell() > 0
        if big:
            write_bigbed(temporary / PEAKS, temporary / BIG_PEAKS, known_sizes(opened))
        locus = _locus(opened, ordered[0])
        for name, text in _texts(weights, tracks, assembly, locus, big).items():
            (temporary / name).write_text(text, encoding="utf-8")
    said = f"IGV opens {folder / SESSION}; for UCSC, put the folder behind a URL and give that of {HUB}"
    if not can_write_bigbed():
        said += f", which has no {PEAKS} (`pip install diffchrom[hub]` to have it as a bigBed)"
    reporter.note(said)


def _texts(
    weights: Weights, tracks: Sequence[HubTrack], genome: str, locus: str, big: bool
) -> dict[str, str]:
    """The files that name the tracks, and the bigBed of the largest weights where it is there (`big`)."""
    return {
        HUB: _stanzas([_hub(weights)]),
        GENOMES: _stanzas([{"genome": genome, "trackDb": TRACKS}]),
        TRACKS: _stanzas([*_track_db(weights, tracks), *([_peaks(weights)] if big else [])]),
        SESSION: _session(weights, tracks, genome, locus, BIG_PEAKS if big else PEAKS),
    }


def _assembly(store: Store) -> str:
    name = str(store.attrs.get("assembly") or "") or from_sizes(store.chrom_sizes)
    if not name:
        raise UsageError(f"`hub`: the assembly of {store.path} is not known; give `genome=hg38`, mm39, ...")
    return name


def hub_tracks(weights: Weights, keep: npt.NDArray[np.intp]) -> list[HubTrack]:
    """Name a track for each of the sequences `keep`; names are letters, digits and ``_``, each once."""
    a, b = weights.opened.pair.cells
    tracks: dict[str, HubTrack] = {}
    for sequence in (weights.sequences[index] for index in keep.tolist()):
        base = name = re.sub(r"[^A-Za-z0-9_]", "_", f"{sequence.block}_{sequence.mark}")
        number = 1
        while name in tracks or name == _PARENT:
            number += 1
            name = f"{base}_{number}"
        long = f"{weights.kind.of_windows} of {sequence.mark} in {sequence.block}, {a} to {b}"
        tracks[name] = HubTrack(name, _shown(sequence.mark, _SHORT), _shown(long, _LONG))
    return list(tracks.values())


def _shown(text: str, length: int) -> str:
    """Text on one line, as far as it is shown, without what no line or XML may hold."""
    words = "".join(letter if letter.isprintable() else " " for letter in text).split()
    return " ".join(words)[:length].rstrip()


def _hub(weights: Weights) -> Stanza:
    a, b = weights.opened.pair.cells
    name, label = weights.kind.name, f"{weights.kind.name}, {a} to {b}"
    return {
        "hub": f"{_PARENT}_{name.replace('-', '_')}",
        "shortLabel": _shown(f"diffchrom {name}", _SHORT),
        "longLabel": _shown(f"diffchrom: {label}", _LONG),
        "genomesFile": GENOMES,
        "email": "nobody@example.org",
    }


def _track_db(weights: Weights, tracks: Iterable[HubTrack]) -> Iterator[Stanza]:
    a, b = weights.opened.pair.cells
    shown = {"visibility": "full", "autoScale": "on", "alwaysZero": "on", "maxHeightPixels": "100:40:8"}
    yield {
        "track": _PARENT, "compositeTrack": "on", "shortLabel": _shown(weights.kind.name, _SHORT),
        "longLabel": _shown(f"diffchrom: {weights.kind.name}, {a} to {b}", _LONG), "type": "bigWig", **shown,
        "color": _COLOUR, "altColor": _OTHER_COLOUR,
    }  # fmt: skip
    for number, track in enumerate(tracks, 1):
        yield {
            "track": track.name, "parent": f"{_PARENT} on", "bigDataUrl": track.file,
            "shortLabel": track.short, "longLabel": track.long, "type": "bigWig", "priority": str(number),
            "color": _COLOUR, "altColor": _OTHER_COLOUR,
        }  # fmt: skip


def _peaks(weights: Weights) -> Stanza:
    return {
        "track": f"{_PARENT}_peaks", "bigDataUrl": BIG_PEAKS, "shortLabel": _shown("largest weights", _SHORT),
        "longLabel": _shown(_largest(weights), _LONG), "type": "bigBed 6", "visibility": "pack",
    }  # fmt: skip


def _largest(weights: Weights) -> str:
    return f"windows of the largest {weights.kind.of_windows}"


def _stanzas(stanzas: Iterable[Stanza]) -> str:
    return "\n".join("".join(f"{key} {value}\n" for key, value in stanza.items()) for stanza in stanzas)


def _locus(opened: OpenedModel, row: int) -> str:
    """Where a browser opens: a gene with its surroundings."""
    bins = opened.windows.parts[0]
    return f"{opened.genes.chrom[row]}:{max(int(bins.start[row]), 0) + 1}-{int(bins.end[row])}"


def _session(weights: Weights, tracks: Iterable[HubTrack], genome: str, locus: str, peaks: str) -> str:
    """Return an IGV session; what it names lies beside it."""
    session = ElementTree.Element("Session", genome=genome, locus=locus, version="8")
    resources = ElementTree.SubElement(session, "Resources")
    panel = ElementTree.SubElement(session, "Panel", name="DataPanel")
    colours = {"color": _COLOUR, "altColor": _OTHER_COLOUR}
    for track in tracks:
        ElementTree.SubElement(resources, "Resource", path=track.file, type="bigwig")
        ElementTree.SubElement(
            panel, "Track", colours, id=track.file, name=track.long, autoScale="true", height="50",
            renderer="BAR_CHART", visible="true", windowFunction="mean",
        )  # fmt: skip
    ElementTree.SubElement(resources, "Resource", path=peaks, type="bigbed" if peaks == BIG_PEAKS else "bed")
    ElementTree.SubElement(panel, "Track", id=peaks, name=_largest(weights), visible="true")
    ElementTree.indent(session)
    text: bytes = ElementTree.tostring(session, encoding="utf-8", xml_declaration=True)
    return text.decode() + "\n"

"""Attention of a run as files: which genes, which sequences, which format, in one streaming pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.attention.bed import DEFAULT_TOP, BinChoice, bed_table
from diffchrom.attention.evenness import even_attention
from diffchrom.attention.formats import bin_table, mark_table, require_coordinates, wide_table
from diffchrom.attention.tracks import COMBINATIONS, combine, require_sizes, write_tracks
from diffchrom.attention.weights import ATTENTION, Weights
from diffchrom.deepdiff.opened import OpenedModel
from diffchrom.errors import UsageError, check_choice, did_you_mean
from diffchrom.files.bulk import output_bytes
from diffchrom.genome.genes import Rows
from diffchrom.progress import SILENT, Reporter, noting

LEVELS = ("bin", "mark")
_PEAKS = ("bed", "narrowpeak")
_TRACKS = ("bedgraph", "bigwig")
#: Formats by level, the default first; all but TSV need genes in genome order.
FORMATS = {"bin": ("tsv", *_PEAKS, *_TRACKS), "mark": ("tsv",)}


@dataclass(frozen=True)
class ExportOptions:
    """What to write.

    Attributes
    ----------
    level : ``bin`` (alpha) or ``mark`` (beta).
    format : one of `FORMATS`.
    wide : TSV of alpha with one row a gene, block and mark.
    top, min_weight : for BED and narrowPeak, see `BinChoice`; without either, the top `DEFAULT_TOP`.
    combine : for tracks, how overlapping windows make one value.
    blocks, marks : only these sequences; None is all.
    by : kind of weight, one of `weights.KINDS`.
    """

    level: str = "bin"
    format: str = "tsv"
    wide: bool = False
    top: int | None = None
    min_weight: float | None = None
    combine: str = COMBINATIONS[0]
    blocks: tuple[str, ...] | None = None
    marks: tuple[str, ...] | None = None
    by: str = ATTENTION

    def __post_init__(self) -> None:
        check_choice("level", self.level, LEVELS)
        known = FORMATS[self.level]
        if self.format not in known:
            raise UsageError(f"`format={self.format}`: `level={self.level}` has {', '.join(known)}")
        if self.wide and (self.level, self.format) != ("bin", "tsv"):
            raise UsageError("`wide`: only for `level=bin` `format=tsv`")
        if self.format not in _PEAKS and (self.top is not None or self.min_weight is not None):
            raise UsageError("`top` and `min_weight`: only for `format=bed` and `format=narrowpeak`")
        check_choice("combine", self.combine, COMBINATIONS)

    @property
    def choice(self) -> BinChoice:
        """Which bins become BED regions."""
        top = DEFAULT_TOP if self.top is None and self.min_weight is None else self.top
        return BinChoice(top, self.min_weight)


def choose_sequences(
    weights: Weights, blocks: tuple[str, ...] | None, marks: tuple[str, ...] | None
) -> npt.NDArray[np.intp]:
    """Indices of the sequences of some blocks and marks; UsageError lists those there are."""
    for field, wanted, known in (
        ("block", blocks, dict.fromkeys(sequence.block for sequence in weights.sequences)),
        ("marks", marks, dict.fromkeys(weights.opened.marks)),
    ):
        unknown = [name for name in wanted or () if name not in known]
        if unknown:
            raise UsageError(
                f"`{field}={', '.join(unknown)}`: this run has {', '.join(known)}"
                + did_you_mean(unknown, known)
            )
    return np.array(
        [
            index
            for index, sequence in enumerate(weights.sequences)
            if (blocks is None or sequence.block in blocks) and (marks is None or sequence.mark in marks)
        ],
        dtype=np.intp,
    )


def export(
    opened: OpenedModel,
    rows: Rows,
    options: ExportOptions,
    output: Path,
    reporter: Reporter = SILENT,
) -> None:
    """Write the attention of the genes `rows` to a file, a folder (tracks) or stdout.

    Raises
    ------
    InputError, StoreError, OutputError
        Genes or chromosomes without coordinates where the format needs them; what can't be written.
    """
    weights = Weights.of(opened, options.by)
    keep = choose_sequences(weights, options.blocks, options.marks)

    def said() -> list[str]:
        return [] if weights.kind.signed else [even_attention(opened, rows)]

    with noting(reporter, said):
        _write_format(weights, rows, options, keep, output, reporter)


def _write_format(
    weights: Weights,
    rows: Rows,
    options: ExportOptions,
    keep: npt.NDArray[np.intp],
    output: Path,
    reporter: Reporter,
) -> None:
    opened = weights.opened
    if options.format == "tsv":
        table = mark_table if options.level == "mark" else wide_table if options.wide else bin_table
        _write(output, table(weights, weights.batches(rows, reporter), keep))
        return
    require_coordinates(opened.genes, rows, f"`format={options.format}`")
    if options.format == "bigwig":
        require_sizes(opened, rows)
    batches = weights.batches(opened.windows.genome_order(rows), reporter)
    if options.format in _TRACKS:
        stretches = combine(opened, batches, keep, options.combine)
        sequences = [weights.sequences[index] for index in keep.tolist()]
        write_tracks(opened, sequences, stretches, output, bigwig=options.format == "bigwig")
    else:
        _write(output, bed_table(weights, batches, keep, options.choice, options.format))


def _write(output: Path, pieces: Iterable[bytes]) -> None:
    with output_bytes(output) as stream:
        for piece in pieces:
            stream.write(piece)

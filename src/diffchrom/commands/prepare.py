"""``diffchrom prepare``: from annotation, tracks and expression to a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from diffchrom.commands import options
from diffchrom.commands.declared import takes
from diffchrom.commands.greedy import greedy_command
from diffchrom.commands.printing import MultiqcOption, check_multiqc
from diffchrom.config import PREPARE
from diffchrom.processes.machine import available_threads

PrepareCommand = greedy_command("--bigwigs", "--reads", "--expression", "--labels")

Files = list[Path] | None


def _new_store(help_text: str, default: Any) -> Any:
    """An option that decides the rows of a new store; an existing store keeps its own."""
    return typer.Option(help=help_text, show_default=str(default), rich_help_panel="Genes and windows")


def _tracks(help_text: str, **more: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel="Tracks", **more)


def _expression(help_text: str, **more: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel="Expression", **more)


@dataclass(frozen=True)
class PrepareOptions:
    """What `prepare` takes."""

    store: options.StoreOption
    gtf: Annotated[
        Path | None,
        typer.Option(
            help="Genes: GTF, GFF3, genePred, refFlat or BED6; needed for a new store.",
            rich_help_panel="Genes and windows",
        ),
    ] = None
    bigwigs: Annotated[
        Files, _tracks("bigWigs or folders; cell and mark come from the paths.", metavar="FILE|DIR...")
    ] = None
    reads: Annotated[Files, _tracks("BAM, tagAlign or BED to count reads in.", metavar="FILE...")] = None
    samples: Annotated[
        Path | None,
        _tracks(
            "Table: cell mark path [replicate scale control unit]; or nf-core's sheet, ENCODE's metadata."
        ),
    ] = None
    write_samples: Annotated[Path | None, _tracks("Draft such a table to edit, and end.")] = None
    unit: Annotated[str, _tracks("Unit of all tracks.", show_default="from the file names")] = ""
    control: Annotated[
        str | None,
        _tracks(
            "Use controls that names tell, so.", metavar="subtract|log-ratio", show_default="sheet's only"
        ),
    ] = None
    count: Annotated[
        str, _tracks("A read counts in every bin it overlaps, or at its 5' end.", metavar="overlap|start")
    ] = PREPARE.count
    extend: Annotated[int, _tracks("Extend reads to so many bases.", min=0)] = PREPARE.extend
    chrom_sizes: Annotated[
        Path | None, _tracks("Chromosome lengths, which text reads don't tell: name, length.")
    ] = None
    min_mapq: Annotated[int, _tracks("Leave out reads of lower quality.", min=0)] = PREPARE.min_mapq
    expression: Annotated[
        list[str] | None,
        _expression("Matrix, one cell's table, or nf-core/rnaseq's folder.", metavar="FILE|DIR|CELL=FILE..."),
    ] = None
    expression_unit: Annotated[str | None, _expression("Unit of a matrix or two columns.")] = None
    labels: Annotated[
        list[str] | None, _expression("Changes, B over A, of DESeq2, edgeR or limma.", metavar="A,B=FILE...")
    ] = None
    strandedness: Annotated[str | None, _expression("Which of STAR's columns.")] = None
    tx2gene: Annotated[Path | None, _expression("Transcript and gene ids.")] = None
    deepdiff: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder in the published DeepDiff format, alone.")
    ] = None
    flank: Annotated[int | None, _new_store("Bases on each side.", PREPARE.flank)] = None
    bin_size: Annotated[int | None, _new_store("Bases a bin.", PREPARE.bin_size)] = None
    orient: Annotated[str | None, _new_store("transcription or genome.", PREPARE.orient)] = None
    regions: Annotated[str | None, _new_store("Names with commas.", ",".join(PREPARE.regions))] = None
    around: Annotated[str, _tracks("tes: --regions tes_bins.", metavar="tss|tes", hidden=True)] = "tss"
    biotype: Annotated[str | None, _new_store("Names with commas, or any.", PREPARE.biotype)] = None
    genes: Annotated[Path | None, _new_store("Only these genes: ids or symbols.", "all")] = None
    exclude_chroms: Annotated[str | None, _new_store("Names with commas.", "none")] = None
    blacklist: Annotated[Path | None, _new_store("BED of regions not to be trusted.", "none")] = None
    blacklist_mode: Annotated[
        str, _new_store("mask: set its bins to 0; drop: leave out genes by it.", PREPARE.blacklist_mode)
    ] = PREPARE.blacklist_mode
    min_coverage: Annotated[
        float, _new_store("Share of a window that must have data.", PREPARE.min_coverage)
    ] = PREPARE.min_coverage
    split: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Split to store; may be repeated.")
    ] = None
    seed: options.SeedOption = 0
    replace: Annotated[bool, typer.Option("--replace", help="Renew what the store has already.")] = False
    force: Annotated[bool, typer.Option("--force", help="Go on where inputs contradict each other.")] = False
    time_limit: Annotated[float, _tracks("Seconds a track may take.", min=1)] = PREPARE.time_limit
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, show_default="all cores", help="Cores to use; with 1, tracks are read in this process."
        ),
    ] = None
    dask: options.DaskOption = None
    multiqc: MultiqcOption = None
    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False


@takes(PrepareOptions)
def prepare(asked: PrepareOptions) -> None:
    """Build a store, or add cells, marks, expression and splits to it."""
    check_multiqc(asked.multiqc)
    threads = asked.threads or available_threads()
    console = options.start(quiet=asked.quiet, verbose=asked.verbose, threads=threads)
    from diffchrom.commands.prepare_request import request_of
    from diffchrom.inspection.multiqc import write_tracks
    from diffchrom.inspection.summary import summarise_store
    from diffchrom.prepare.building import prepare as prepare_store
    from diffchrom.prepare.finding import draft_samples

    request = request_of(asked)
    if asked.write_samples is not None:
        draft_samples(request, asked.write_samples, console)
    else:
        made = prepare_store(request, console)
        if asked.multiqc is not None:
            write_tracks(asked.multiqc, summarise_store(made.store, reporter=console))

"""``diffchrom attend``: what a run looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import options
from diffchrom.commands.predict import PARTS
from diffchrom.config import DEVICES


def attend(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by `diffchrom train`.")],
    store: options.StoreOption,
    threads: options.ThreadsOption,
    level: Annotated[
        str, typer.Option(metavar="bin|mark", help="Attention over bins (alpha) or over marks (beta).")
    ] = "bin",
    format_: Annotated[
        str, typer.Option("--format", metavar="tsv|bed|bedgraph|bigwig", help="--level mark has tsv only.")
    ] = "tsv",
    wide: Annotated[
        bool, typer.Option("--wide", help="TSV with one row a gene, block and mark, one column a bin.")
    ] = False,
    top: Annotated[
        int | None, typer.Option(min=1, help="BED of so many bins a gene and mark.", show_default="10")
    ] = None,
    min_weight: Annotated[
        float | None, typer.Option(min=0, max=1, help="BED of the bins with at least this alpha.")
    ] = None,
    combine: Annotated[
        str, typer.Option(metavar="max|mean", help="One value from overlapping windows, for tracks.")
    ] = "max",
    block: Annotated[
        str | None, typer.Option(metavar="B1,B2,...", help="Only these blocks: main:A-B, aux:A, ...")
    ] = None,
    marks: Annotated[str | None, typer.Option(metavar="M1,M2,...", help="Only these marks.")] = None,
    pair: Annotated[
        str | None, typer.Option(metavar="C,D", help="Another pair of cells.", show_default="the run's own")
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="|".join(PARTS), help="Genes of this part of the run's split only.")
    ] = "all",
    genes: Annotated[
        Path | None, typer.Option(help="Only the genes of this file: ids or names in its first column.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write here instead of stdout; a folder for several tracks."),
    ] = None,
    device: options.DeviceOption = "auto",
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Show what a trained run attends to: tables, BED, tracks."""
    options.check_choice("--split", split, PARTS)
    options.check_choice("--device", device, DEVICES)
    console = options.start(quiet=quiet, verbose=verbose, threads=threads)
    from diffchrom.attention import open_attention
    from diffchrom.attention_export import ExportOptions, choose_genes, export
    from diffchrom.runs import Run
    from diffchrom.store import Store

    names = (options.split_names(block), options.split_names(marks))
    wanted = ExportOptions(level, format_, wide, top, min_weight, combine, *names)
    source = open_attention(Run.open(run), Store(store), pair=pair, device=device)
    rows = choose_genes(source, part=split, genes=genes, reporter=console)
    export(source, rows, wanted, output, console)

"""``diffchrom attend``: what a run looked at, and how far that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import completion, options
from diffchrom.commands.attend_modes import choose_mode
from diffchrom.commands.attend_work import Request
from diffchrom.commands.declared import takes
from diffchrom.commands.details import tell_chosen
from diffchrom.commands.options import was_given
from diffchrom.config import check_device
from diffchrom.errors import check_choice

_option = typer.Option


@dataclass(frozen=True)
class AttendOptions:
    """What `attend` takes."""

    context: typer.Context
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A folder made by `diffchrom train`.", autocompletion=completion.runs
        ),
    ]
    store: options.StoreOption
    threads: options.ThreadsOption
    level: Annotated[str, _option(metavar="bin|mark", help="Bins (alpha) or marks (beta).")] = "bin"
    format_: Annotated[
        str,
        _option("--format", metavar="tsv|bed|narrowpeak|bedgraph|bigwig", help="--level mark has tsv only."),
    ] = "tsv"
    wide: Annotated[bool, _option("--wide", help="TSV with one column a bin.")] = False
    top: Annotated[
        int | None, _option(min=1, help="BED of so many bins a gene and mark.", show_default="10")
    ] = None
    min_weight: Annotated[
        float | None, _option(min=0, max=1, help="BED of the bins with at least this alpha.")
    ] = None
    combine: Annotated[
        str, _option(metavar="max|mean", help="One value where windows overlap, in tracks.")
    ] = "max"
    block: Annotated[str | None, _option(metavar="B1,B2,...", help="Only these: main:A-B, aux:A, ...")] = None
    marks: Annotated[str | None, _option(metavar="M1,M2,...", help="Only these marks.")] = None
    hub: Annotated[
        Path | None, _option(metavar="DIR", help="Write a UCSC track hub and an IGV session there.")
    ] = None
    genome: Annotated[
        str | None, _option(metavar="hg38|mm39|...", help="Of --hub.", show_default="the store's assembly")
    ] = None
    up: Annotated[float | None, _option(help="Compare genes with log2fc from this on ...")] = None
    down: Annotated[float | None, _option(help="... with those up to this.")] = None
    up_quantile: Annotated[
        float | None, _option(metavar="SHARE", help="Or this share of the genes at each end.")
    ] = None
    by: Annotated[
        str,
        _option(
            metavar="attention|gradient|integrated-gradients|contribution",
            help="What is shown; all but attention are signed, towards B positive.",
        ),
    ] = "attention"
    group_by: Annotated[str, _option(metavar="log2fc|log2fc_pred", help="Groups by label or prediction.")] = (
        "log2fc"
    )
    check: Annotated[
        bool, _option("--check", help="Compare with random, untrained, gradients, deletion.")
    ] = False
    other: Annotated[
        list[Path] | None,
        _option(
            metavar="RUN", help="A run with another seed; may be repeated.", show_default="those beside RUN"
        ),
    ] = None
    sample: Annotated[int, _option(min=2, help="Genes to check.")] = 200
    perturb: Annotated[
        list[str] | None,
        _option(
            metavar="[CELL:]MARK[@REGION][=mean|0|CELL]",
            help="Change of log2fc_pred with a mark as in the average gene, absent, or as in CELL; "
            "all=mean: each in turn.",
        ),
    ] = None
    summary: Annotated[Path | None, _option(help="One line a perturbation, as TSV.")] = None
    plot: Annotated[
        Path | None, _option(metavar="FILE.png|.svg|.pdf", help="Draw groups or deletion curves.")
    ] = None
    pair: options.OtherPairOption = None
    split: options.PartOption = "all"
    genes: options.GenesOption = None
    output: Annotated[
        Path,
        _option("--output", "-o", show_default="stdout", help="Write here; a folder for several tracks."),
    ] = options.STDOUT
    device: options.DeviceOption = "auto"
    seed: options.SeedOption = 0
    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False


@takes(AttendOptions)
def attend(asked: AttendOptions) -> None:
    """Show what a trained run attends to, and how far that can be trusted."""
    mode = choose_mode({name for name in vars(asked) if was_given(asked.context, name)})
    check_choice("split", asked.split, options.PARTS)
    check_device(asked.device)
    wanted = mode.understand(asked)
    console = options.start(quiet=asked.quiet, verbose=asked.verbose, threads=asked.threads)
    from diffchrom.deepdiff.opened import open_model
    from diffchrom.pairs.choices import direction, parse_pair
    from diffchrom.pairs.selection import chosen_rows
    from diffchrom.progress import noting
    from diffchrom.runs.folder import Run
    from diffchrom.runs.opening import store_for

    run = Run.open(asked.run)
    opened = open_model(run, store_for(run, asked.store), parse_pair(asked.pair), device=asked.device)
    tell_chosen(console, opened.pair)
    parts = opened.pair.parts
    rows = chosen_rows(opened.genes, parts, part=asked.split, gene_list=asked.genes, reporter=console)
    with noting(console, lambda: (direction(opened.pair.cells), opened.without_shift)):
        mode.execute(Request(run, opened, rows, asked, console), wanted)

"""``diffchrom attend``: what a run looked at, and how far that can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import options
from diffchrom.commands.predict import PARTS
from diffchrom.config import DEVICES
from diffchrom.errors import UsageError

_option = typer.Option


def attend(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by `diffchrom train`.")],
    store: options.StoreOption,
    threads: options.ThreadsOption,
    level: Annotated[str, _option(metavar="bin|mark", help="Bins (alpha) or marks (beta).")] = "bin",
    format_: Annotated[
        str,
        _option("--format", metavar="tsv|bed|bedgraph|bigwig", help="--level mark has tsv only."),
    ] = "tsv",
    wide: Annotated[bool, _option("--wide", help="TSV with one column a bin.")] = False,
    top: Annotated[
        int | None,
        _option(min=1, help="BED of so many bins a gene and mark.", show_default="10"),
    ] = None,
    min_weight: Annotated[
        float | None,
        _option(min=0, max=1, help="BED of the bins with at least this alpha."),
    ] = None,
    combine: Annotated[
        str,
        _option(metavar="max|mean", help="One value where windows overlap, in tracks."),
    ] = "max",
    block: Annotated[
        str | None,
        _option(metavar="B1,B2,...", help="Only these: main:A-B, aux:A, ..."),
    ] = None,
    marks: Annotated[str | None, _option(metavar="M1,M2,...", help="Only these marks.")] = None,
    up: Annotated[
        float | None,
        _option(help="Compare genes with log2fc from this on ..."),
    ] = None,
    down: Annotated[float | None, _option(help="... with those up to this.")] = None,
    up_quantile: Annotated[
        float | None,
        _option(metavar="SHARE", help="Or this share of the genes at each end."),
    ] = None,
    by: Annotated[str, _option(metavar="log2fc|log2fc_pred", help="Label or prediction.")] = "log2fc",
    check: Annotated[
        bool,
        _option("--check", help="Compare with random, untrained, gradients, deletion."),
    ] = False,
    other: Annotated[
        list[Path] | None,
        _option(
            metavar="RUN", help="A run with another seed; may be repeated.", show_default="those beside RUN"
        ),
    ] = None,
    sample: Annotated[int, _option(min=2, help="Genes to check.")] = 200,
    perturb: Annotated[
        list[str] | None,
        _option(
            metavar="[CELL:]MARK=0|CELL",
            help="Change of log2fc_pred without a mark, or with another cell's; all=0: each in turn.",
        ),
    ] = None,
    summary: Annotated[Path | None, _option(help="One line a perturbation, as TSV.")] = None,
    plot: Annotated[
        Path | None, _option(metavar="FILE.png|.svg|.pdf", help="Draw groups or deletion curves.")
    ] = None,
    pair: Annotated[
        str | None, _option(metavar="C,D", help="Another pair of cells.", show_default="the run's own")
    ] = None,
    split: Annotated[
        str, _option(metavar="|".join(PARTS), help="Genes of this part of the run's split only.")
    ] = "all",
    genes: Annotated[
        Path | None, _option(help="Only the genes of this file: ids or names in its first column.")
    ] = None,
    output: Annotated[
        Path,
        _option("--output", "-o", show_default="stdout", help="Write here; a folder for several tracks."),
    ] = options.STDOUT,
    device: options.DeviceOption = "auto",
    seed: options.SeedOption = 0,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Show what a trained run attends to, and how far that can be trusted."""
    grouped = any(value is not None for value in (up, down, up_quantile))
    modes = {"--up, --down and --up-quantile": grouped, "--check": check, "--perturb": bool(perturb)}
    chosen = [name for name, given in modes.items() if given]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]}: one at a time")
    if chosen and (level, format_, wide, block, marks) != ("bin", "tsv", False, None, None):
        raise UsageError(f"{chosen[0]}: takes no --level, --format, --wide, --block or --marks")
    if plot is not None and not (grouped or check):
        raise UsageError("--plot: needs --up and --down, --up-quantile, or --check")
    if other and not check:
        raise UsageError("--other: needs --check")
    if summary is not None and not perturb:
        raise UsageError("--summary: needs --perturb")
    options.check_choice("--split", split, PARTS)
    options.check_choice("--device", device, DEVICES)
    console = options.start(quiet=quiet, verbose=verbose, threads=threads)
    from diffchrom.attention import reports
    from diffchrom.attention.export import ExportOptions, export
    from diffchrom.attention.groups import GroupRule
    from diffchrom.deepdiff.opened import open_model
    from diffchrom.pairs.choices import parse_pair
    from diffchrom.pairs.selection import chosen_rows
    from diffchrom.runs.folder import Run
    from diffchrom.store.store import Store

    names = (options.split_names(block), options.split_names(marks))
    wanted = ExportOptions(level, format_, wide, top, min_weight, combine, *names)
    rule = GroupRule(up, down, up_quantile, by) if grouped else None
    opened = Run.open(run)
    source = open_model(opened, Store(store), parse_pair(pair), device=device)
    genome, parts = source.genes, source.pair.parts
    rows = chosen_rows(genome, parts, part=split, gene_list=genes, reporter=console)
    if rule is not None:
        reports.report_groups(source, rows, rule, output, plot, seed=seed, reporter=console)
    elif check:
        reports.report_check(
            opened, source, rows, other or (), output, plot,
            size=sample, seed=seed, device=device, reporter=console,
        )  # fmt: skip
    elif perturb:
        table = reports.report_perturbations(source, rows, perturb, output, summary, reporter=console)
        from diffchrom.files.tables import format_row

        lines = [format_row(row).split("\t") for row in zip(*table.values(), strict=True)]
        console.table(list(table), lines)
    else:
        export(source, rows, wanted, output, console)

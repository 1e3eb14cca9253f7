"""The library calls behind ``attend``, one for each thing that it does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from diffchrom.commands import options
from diffchrom.commands.console import Console
from diffchrom.commands.options import split_names
from diffchrom.errors import UsageError

if TYPE_CHECKING:
    from diffchrom.attention.export import ExportOptions
    from diffchrom.attention.groups import GroupRule
    from diffchrom.commands.attend import AttendOptions
    from diffchrom.deepdiff.opened import OpenedModel
    from diffchrom.genome.genes import Rows
    from diffchrom.runs.folder import Run


@dataclass(frozen=True)
class Request:
    """What a mode works on: a run and its model, the genes, and the options."""

    run: Run
    opened: OpenedModel
    rows: Rows
    asked: AttendOptions
    console: Console


def export_options(asked: AttendOptions) -> ExportOptions:
    """Understand what is to be written."""
    from diffchrom.attention.export import ExportOptions

    return ExportOptions(
        asked.level, asked.format_, asked.wide, asked.top, asked.min_weight,
        asked.combine, split_names(asked.block), split_names(asked.marks),
        asked.by,
    )  # fmt: skip


def export(request: Request, wanted: ExportOptions) -> None:
    """Write tables, BED or tracks."""
    from diffchrom.attention.reports import report_weights

    report_weights(request.opened, request.rows, wanted, request.asked.output, request.console)


def hub_options(asked: AttendOptions) -> ExportOptions:
    """Understand what a hub is to hold."""
    if asked.output != options.STDOUT:
        raise UsageError(f"--output {asked.output}: not with --hub, which names its folder")
    return export_options(replace(asked, level="bin", format_="bed", wide=False))


def hub(request: Request, wanted: ExportOptions) -> None:
    """Write a track hub and a session."""
    from diffchrom.attention.hub import write_hub

    asked = request.asked
    write_hub(
        request.opened, request.rows, wanted, cast(Path, asked.hub), asked.genome, reporter=request.console
    )


def group_rule(asked: AttendOptions) -> tuple[GroupRule, str]:
    """Understand which genes are compared, and by which kind of weight."""
    from diffchrom.attention.groups import MEASURES, GroupRule
    from diffchrom.attention.weights import ATTENTION

    by, group_by = asked.by, asked.group_by
    if by in MEASURES:  # how the groups were chosen before there were other weights than attention
        by, group_by = ATTENTION, by
    return GroupRule(asked.up, asked.down, asked.up_quantile, group_by), by


def groups(request: Request, wanted: tuple[GroupRule, str]) -> None:
    """Compare groups of genes."""
    from diffchrom.attention.reports import report_groups

    asked, (rule, by) = request.asked, wanted
    report_groups(
        request.opened, request.rows, rule, asked.output, asked.plot, by=by,
        seed=asked.seed, reporter=request.console,
    )  # fmt: skip


def nothing(asked: AttendOptions) -> None:
    """Nothing to understand before the run is open."""


def check(request: Request, _: None) -> None:
    """Check how far attention can be trusted."""
    from diffchrom.attention.reports import report_check

    asked = request.asked
    report_check(
        request.run, request.opened, request.rows, asked.other or (), asked.output, asked.plot,
        size=asked.sample, seed=asked.seed, device=asked.device, reporter=request.console,
    )  # fmt: skip


def perturb(request: Request, _: None) -> None:
    """Predict the effect of perturbations."""
    from diffchrom.attention.reports import report_perturbations
    from diffchrom.files.tables import format_row

    asked = request.asked
    table = report_perturbations(
        request.opened, request.rows, asked.perturb or (), asked.output, asked.summary,
        reporter=request.console,
    )  # fmt: skip
    lines = [format_row(row).split("\t") for row in zip(*table.values(), strict=True)]
    request.console.table(list(table), lines)

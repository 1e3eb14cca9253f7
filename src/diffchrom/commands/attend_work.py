"""The library calls behind ``attend``, one for each thing that it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffchrom.commands import options
from diffchrom.commands.console import Console
from diffchrom.errors import UsageError

if TYPE_CHECKING:
    from diffchrom.attention.export import ExportOptions
    from diffchrom.attention.groups import GroupRule
    from diffchrom.deepdiff.opened import OpenedModel
    from diffchrom.genome.genes import Rows
    from diffchrom.runs.folder import Run


@dataclass(frozen=True)
class Request:
    """What a mode works on: a run and its model, the genes, and the options' values by name."""

    run: Run
    opened: OpenedModel
    rows: Rows
    values: Mapping[str, Any]
    console: Console


def export_options(values: Mapping[str, Any]) -> ExportOptions:
    """Understand what is to be written."""
    from diffchrom.attention.export import ExportOptions

    return ExportOptions(
        values["level"], values["format_"], values["wide"], values["top"], values["min_weight"],
        values["combine"], options.split_names(values["block"]), options.split_names(values["marks"]),
        values["by"],
    )  # fmt: skip


def export(request: Request, wanted: ExportOptions) -> None:
    """Write tables, BED or tracks."""
    from diffchrom.attention.reports import report_weights

    report_weights(request.opened, request.rows, wanted, request.values["output"], request.console)


def hub_options(values: Mapping[str, Any]) -> ExportOptions:
    """Understand what a hub is to hold."""
    if values["output"] != options.STDOUT:
        raise UsageError(f"--output {values['output']}: not with --hub, which names its folder")
    return export_options({**values, "level": "bin", "format_": "bed", "wide": False})


def hub(request: Request, wanted: ExportOptions) -> None:
    """Write a track hub and a session."""
    from diffchrom.attention.hub import write_hub

    values = request.values
    write_hub(request.opened, request.rows, wanted, values["hub"], values["genome"], reporter=request.console)


def group_rule(values: Mapping[str, Any]) -> tuple[GroupRule, str]:
    """Understand which genes are compared, and by which kind of weight."""
    from diffchrom.attention.groups import MEASURES, GroupRule
    from diffchrom.attention.weights import ATTENTION

    by, group_by = values["by"], values["group_by"]
    if by in MEASURES:  # how the groups were chosen before there were other weights than attention
        by, group_by = ATTENTION, by
    return GroupRule(values["up"], values["down"], values["up_quantile"], group_by), by


def groups(request: Request, wanted: tuple[GroupRule, str]) -> None:
    """Compare groups of genes."""
    from diffchrom.attention.reports import report_groups

    values, (rule, by) = request.values, wanted
    report_groups(
        request.opened, request.rows, rule, values["output"], values["plot"], by=by,
        seed=values["seed"], reporter=request.console,
    )  # fmt: skip


def nothing(values: Mapping[str, Any]) -> None:
    """Nothing to understand before the run is open."""


def check(request: Request, _: None) -> None:
    """Check how far attention can be trusted."""
    from diffchrom.attention.reports import report_check

    values = request.values
    report_check(
        request.run, request.opened, request.rows, values["other"] or (), values["output"], values["plot"],
        size=values["sample"], seed=values["seed"], device=values["device"], reporter=request.console,
    )  # fmt: skip


def perturb(request: Request, _: None) -> None:
    """Predict the effect of perturbations."""
    from diffchrom.attention.reports import report_perturbations
    from diffchrom.files.tables import format_row

    values = request.values
    table = report_perturbations(
        request.opened, request.rows, values["perturb"], values["output"], values["summary"],
        reporter=request.console,
    )  # fmt: skip
    lines = [format_row(row).split("\t") for row in zip(*table.values(), strict=True)]
    request.console.table(list(table), lines)

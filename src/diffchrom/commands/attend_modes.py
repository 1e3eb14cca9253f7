"""The four things that ``attend`` does, and which of its options belong to which."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
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


@dataclass(frozen=True)
class Mode:
    """One thing to do.

    Attributes
    ----------
    asked_by : options of which any asks for it; none for what is done unless something else is asked for.
    takes : options that mean something to it alone, or to it and others that take them too.
    understand : makes of the values what it works with; UsageError where they make no sense.
    execute : does it with that.
    """

    asked_by: tuple[str, ...]
    takes: tuple[str, ...]
    understand: Callable[[Mapping[str, Any]], Any]
    execute: Callable[[Request, Any], None]

    @property
    def name(self) -> str:
        """The options that ask for it, for messages."""
        return _listed(self.asked_by)


def _listed(names: Collection[str], last: str = "and") -> str:
    shown = ["--" + name.rstrip("_").replace("_", "-") for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}"


def _export_options(values: Mapping[str, Any]) -> ExportOptions:
    from diffchrom.attention.export import ExportOptions

    return ExportOptions(
        values["level"], values["format_"], values["wide"], values["top"], values["min_weight"],
        values["combine"], options.split_names(values["block"]), options.split_names(values["marks"]),
        values["by"],
    )  # fmt: skip


def _export(request: Request, wanted: ExportOptions) -> None:
    from diffchrom.attention.export import export

    export(request.opened, request.rows, wanted, request.values["output"], request.console)


def _group_rule(values: Mapping[str, Any]) -> tuple[GroupRule, str]:
    from diffchrom.attention.groups import MEASURES, GroupRule
    from diffchrom.attention.weights import ATTENTION

    by, group_by = values["by"], values["group_by"]
    if by in MEASURES:  # how the groups were chosen before there were other weights than attention
        by, group_by = ATTENTION, by
    return GroupRule(values["up"], values["down"], values["up_quantile"], group_by), by


def _groups(request: Request, wanted: tuple[GroupRule, str]) -> None:
    from diffchrom.attention.reports import report_groups

    values, (rule, by) = request.values, wanted
    report_groups(
        request.opened, request.rows, rule, values["output"], values["plot"], by=by,
        seed=values["seed"], reporter=request.console,
    )  # fmt: skip


def _nothing(values: Mapping[str, Any]) -> None:
    """Nothing to understand before the run is open."""


def _check(request: Request, _: None) -> None:
    from diffchrom.attention.reports import report_check

    values = request.values
    report_check(
        request.run, request.opened, request.rows, values["other"] or (), values["output"], values["plot"],
        size=values["sample"], seed=values["seed"], device=values["device"], reporter=request.console,
    )  # fmt: skip


def _perturb(request: Request, _: None) -> None:
    from diffchrom.attention.reports import report_perturbations
    from diffchrom.files.tables import format_row

    values = request.values
    table = report_perturbations(
        request.opened, request.rows, values["perturb"], values["output"], values["summary"],
        reporter=request.console,
    )  # fmt: skip
    lines = [format_row(row).split("\t") for row in zip(*table.values(), strict=True)]
    request.console.table(list(table), lines)


EXPORT = Mode(
    (),
    ("level", "format_", "wide", "block", "marks", "top", "min_weight", "combine", "by"),
    _export_options,
    _export,
)
MODES = (
    Mode(("up", "down", "up_quantile"), ("by", "group_by", "plot"), _group_rule, _groups),
    Mode(("check",), ("other", "sample", "plot"), _nothing, _check),
    Mode(("perturb",), ("summary",), _nothing, _perturb),
)


def choose_mode(given: Collection[str]) -> Mode:
    """Find what the options that were given ask for; UsageError where they contradict each other."""
    asked = [mode for mode in MODES if any(name in given for name in mode.asked_by)]
    if len(asked) > 1:
        raise UsageError(f"{asked[0].name} and {asked[1].name}: one at a time")
    mode = asked[0] if asked else EXPORT
    refused = [name for name in EXPORT.takes if name not in mode.takes]
    if any(name in given for name in refused):
        raise UsageError(f"{mode.name}: takes no {_listed(refused, 'or')}")
    for other in MODES:
        for name in other.takes:
            if name in given and name not in mode.takes:
                takers = [taker.name for taker in MODES if name in taker.takes]
                raise UsageError(f"{_listed((name,))}: needs {', or '.join(takers)}")
    return mode

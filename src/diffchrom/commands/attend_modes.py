"""The five things that ``attend`` does, and which of its options belong to which."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffchrom.commands import attend_work as work
from diffchrom.commands.attend_work import Request
from diffchrom.errors import UsageError

if TYPE_CHECKING:
    from diffchrom.commands.attend import AttendOptions


@dataclass(frozen=True)
class Mode:
    """One thing to do.

    Attributes
    ----------
    asked_by : options of which any asks for it; none for what is done unless something else is asked for.
    takes : options that mean something to it alone, or to it and others that take them too.
    understand : makes of the options what it works with; UsageError where they make no sense.
    execute : does it with that.
    """

    asked_by: tuple[str, ...]
    takes: tuple[str, ...]
    understand: Callable[[AttendOptions], Any]
    execute: Callable[[Request, Any], None]

    @property
    def name(self) -> str:
        """The options that ask for it, for messages."""
        return _listed(self.asked_by)


def _listed(names: Collection[str], last: str = "and") -> str:
    shown = ["--" + name.rstrip("_").replace("_", "-") for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}"


EXPORT = Mode(
    (),
    ("level", "format_", "wide", "block", "marks", "top", "min_weight", "combine", "by"),
    work.export_options,
    work.export,
)
MODES = (
    Mode(("up", "down", "up_quantile"), ("by", "group_by", "plot"), work.group_rule, work.groups),
    Mode(
        ("hub",),
        ("genome", "block", "marks", "top", "min_weight", "combine", "by"),
        work.hub_options,
        work.hub,
    ),
    Mode(("check",), ("other", "sample", "plot"), work.nothing, work.check),
    Mode(("perturb",), ("summary",), work.nothing, work.perturb),
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

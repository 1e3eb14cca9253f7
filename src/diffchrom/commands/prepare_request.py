"""What the options of ``diffchrom prepare`` ask of the library."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from diffchrom.commands.options import split_names
from diffchrom.config import PREPARE
from diffchrom.errors import UsageError
from diffchrom.prepare.expression import ExpressionOptions
from diffchrom.prepare.request import PrepareRequest
from diffchrom.prepare.track_reading import ReadSettings
from diffchrom.prepare.tracks import TrackOptions

if TYPE_CHECKING:
    from diffchrom.commands.prepare import PrepareOptions


def request_of(asked: PrepareOptions) -> PrepareRequest:
    """Turn the command's options into a request."""
    shared = {field.name for field in fields(PrepareRequest)} & vars(asked).keys()
    several = ("bigwigs", "reads", "expression", "labels")
    settings = ReadSettings(asked.control or PREPARE.control, asked.count, asked.extend, asked.min_mapq)
    values: dict[str, Any] = {name: getattr(asked, name) for name in shared}
    values |= {name: tuple(values[name] or ()) for name in several}
    values["regions"] = _regions(asked.regions, asked.around)
    values["exclude_chroms"] = split_names(asked.exclude_chroms) or ()
    return PrepareRequest(
        **values,
        named_controls=asked.control is not None,
        splits=tuple(asked.split or ()),
        track_options=TrackOptions(asked.unit, settings=settings, time_limit=asked.time_limit),
        expression_options=ExpressionOptions(asked.expression_unit, asked.strandedness, asked.tx2gene),
    )


def _regions(regions: str | None, around: str) -> tuple[str, ...] | None:
    """What ``--regions`` and its older spelling ``--around tes`` ask for."""
    if around not in ("tss", "tes") or (around == "tes" and regions is not None):
        raise UsageError(f"--around {around}: tes means --regions tes_bins; give --regions alone")
    return ("tes_bins",) if around == "tes" else split_names(regions)

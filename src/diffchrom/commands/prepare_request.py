"""What the options of ``diffchrom prepare`` ask of the library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from diffchrom.commands import options
from diffchrom.config import PREPARE
from diffchrom.errors import UsageError
from diffchrom.prepare.expression import ExpressionOptions
from diffchrom.prepare.request import PrepareRequest
from diffchrom.prepare.track_reading import ReadSettings
from diffchrom.prepare.tracks import TrackOptions


def request_of(asked: Mapping[str, Any]) -> PrepareRequest:
    """Turn the command's options, by name, into a request."""
    names = {field.name for field in fields(PrepareRequest)}
    settings = ReadSettings(
        asked["control"] or PREPARE.control, asked["count"], asked["extend"], asked["min_mapq"]
    )
    several = {name: tuple(asked[name] or ()) for name in ("bigwigs", "reads", "expression", "labels")}
    return PrepareRequest(
        **{name: value for name, value in asked.items() if name in names}
        | several
        | {
            "named_controls": asked["control"] is not None,
            "regions": _regions(asked["regions"], asked["around"]),
            "exclude_chroms": options.split_names(asked["exclude_chroms"]) or (),
            "splits": tuple(asked["split"] or ()),
            "track_options": TrackOptions(asked["unit"], settings=settings, time_limit=asked["time_limit"]),
            "expression_options": ExpressionOptions(
                asked["expression_unit"], asked["strandedness"], asked["tx2gene"]
            ),
        }
    )


def _regions(regions: str | None, around: str) -> tuple[str, ...] | None:
    """What ``--regions`` and its older spelling ``--around tes`` ask for."""
    if around not in ("tss", "tes") or (around == "tes" and regions is not None):
        raise UsageError(f"--around {around}: tes means --regions tes_bins; give --regions alone")
    return ("tes_bins",) if around == "tes" else options.split_names(regions)

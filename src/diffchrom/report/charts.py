"""A chart as plain data: what plotly.js draws, and what is said to those who cannot see it.

The traces are made by hand and drawn by the plotly.js that is embedded in the page, so that making a report
neither imports plotly's object model nor repeats its templates in every chart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffchrom.files.figures import COLOURS

#: Significant digits of drawn numbers: more than a screen shows, and a page of 100 runs stays small.
DIGITS = 4
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True)
class View:
    """One state of a chart.

    Attributes
    ----------
    name : as in the list from which the reader chooses.
    alt : what the picture shows, in a sentence or two.
    traces, layout : as plotly.js takes them.
    """

    name: str
    alt: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table of the page; every column can be sorted."""

    header: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Chart:
    """A figure of the page.

    Attributes
    ----------
    id : unique in the page.
    title, caption : text.
    views : at least one; with several the reader chooses.
    height : in pixels.
    min_width : in pixels; on a narrower screen the chart is scrolled sideways.
    table : the drawn numbers, where they are few enough to read.
    """

    id: str
    title: str
    caption: str
    views: Sequence[View]
    height: int = 380
    min_width: int = 0
    table: Table | None = None

    def to_json(self) -> str:
        """Views for the page's script; safe inside a script element."""
        views = [
            {"name": view.name, "alt": view.alt, "traces": view.traces, "layout": view.layout}
            for view in self.views
        ]
        text = json.dumps(_plain(views), separators=(",", ":"), allow_nan=False)
        # Names come from users' files: nothing in them may end the script or start a comment in it.
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    """Make numbers short, arrays lists, and what is not finite null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    return value


class Palette:
    """One colour a method, the same in all charts; methods beyond the colours differ in dash and symbol."""

    SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up")

    def __init__(self, labels: Iterable[str]) -> None:
        self._rank = {label: i for i, label in enumerate(labels)}

    def colour(self, label: str) -> str:
        """Colour of a method."""
        return COLOURS[self._rank.get(label, 0) % len(COLOURS)]

    def dash(self, label: str) -> str:
        """Line style of a method."""
        return DASHES[self._rank.get(label, 0) // len(COLOURS) % len(DASHES)]

    def symbol(self, label: str) -> str:
        """Marker of a method."""
        return self.SYMBOLS[self._rank.get(label, 0) % len(self.SYMBOLS)]


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Settings of an axis with a title."""
    return {"title": {"text": title}, "automargin": True, **more}


def count(n: int, noun: str) -> str:
    """A number with its noun: 1 run, 2 runs."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"

"""Putting the page together: sections, template, and the embedded plotly.js."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from diffchrom._version import __version__
from diffchrom.files.tables import NA
from diffchrom.files.whole import output_text
from diffchrom.report.charts import Chart, Table

_LONG = 40


@dataclass(frozen=True)
class Part:
    """A piece of a section.

    Attributes
    ----------
    kind : ``chart``, ``table``, ``text``, ``list`` or ``picture``.
    title : heading, of all but charts, which have their own.
    text : paragraphs, items, or what a picture shows.
    source : of a picture, as a ``data:`` address.
    """

    kind: str
    title: str = ""
    chart: Chart | None = None
    table: Table | None = None
    text: Sequence[str] = ()
    source: str = ""


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    id: str
    title: str
    parts: Sequence[Part] = ()
    paragraphs: Sequence[str] = field(default_factory=tuple)


def shown(value: Any) -> str:
    """A table cell as people read it: three decimals, or three digits where those would be 0."""
    if value is None or (isinstance(value, float) and value != value):
        return NA
    if isinstance(value, bool | int | str):
        return str(value)
    number = float(value)
    if number and abs(number) < 0.001:
        return f"{number:.2g}"
    return f"{number:.3f}" if abs(number) < 1000 else f"{number:,.0f}"


def _shape(value: Any) -> str:
    if isinstance(value, str):
        return ' class="long"' if len(value) > _LONG else ""
    return ' class="number"'


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the page as HTML; whatever comes from users' files is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    here = files("diffchrom.report")
    environment = Environment(
        loader=PackageLoader("diffchrom.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.globals |= {"shown": shown, "shape": lambda value: Markup(_shape(value))}
    macros = environment.get_template("table.html").module
    return environment.get_template("page.html").render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        version=__version__,
        table=macros.table,  # type: ignore[attr-defined]
        style=(here / "page.css").read_text(encoding="utf-8"),
        script=(here / "page.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
    )


def write_page(path: str | Path, html: str) -> None:
    """Write the page, whole or not at all."""
    with output_text(path) as stream:
        stream.write(html)

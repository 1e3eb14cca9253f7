"""Where every figure is written: formats by the name's suffix, the same bytes for the same figure."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffchrom.errors import OutputError, UsageError
from diffchrom.files.whole import staged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Suffix to what keeps the time of writing out of the file, so that equal figures are equal files.
FIGURE_METADATA: dict[str, dict[str, None]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
#: Okabe and Ito's colours, told apart with every common colour blindness.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
_RASTER_DPI = 200


def check_figure_path(path: Path, field: str = "plot") -> Path:
    """Return `path`; UsageError where its suffix is none of `FIGURE_METADATA`."""
    if path.suffix.lower() not in FIGURE_METADATA:
        raise UsageError(f"`{field}={path}`: give a name that ends in {', '.join(FIGURE_METADATA)}")
    return path


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all, in the format that its name says; text stays text.

    Raises
    ------
    UsageError
        When the suffix is none of `FIGURE_METADATA`.
    OutputError
        When the figure cannot be drawn or written.
    """
    check_figure_path(path)
    with _drawing(path) as temporary:
        _save(figure, temporary, path.suffix.lower())


def save_pages(figures: Iterable[Figure], path: Path) -> None:
    """Write figures as the pages of one PDF, whole or not at all; errors as of `save_figure`."""
    from matplotlib.backends.backend_pdf import PdfPages

    with _drawing(path) as temporary, PdfPages(temporary, metadata=FIGURE_METADATA[".pdf"]) as pages:
        for figure in figures:
            pages.savefig(figure, bbox_inches="tight")


def svg_text(figure: Figure) -> str:
    """Return a figure as the text of an SVG."""
    text = io.BytesIO()
    with _style():
        _save(figure, text, ".svg")
    return text.getvalue().decode()


def _save(figure: Figure, where: Any, suffix: str) -> None:
    metadata = FIGURE_METADATA[suffix]
    figure.savefig(where, format=suffix[1:], dpi=_RASTER_DPI, metadata=metadata, bbox_inches="tight")


def _style() -> AbstractContextManager[None]:
    import matplotlib as mpl

    style: Any = {"svg.hashsalt": "diffchrom", "svg.fonttype": "none", "pdf.fonttype": 42}
    return mpl.rc_context(style)


@contextmanager
def _drawing(path: Path) -> Iterator[Path]:
    try:
        with staged(path) as temporary, _style():
            yield temporary
    except ValueError as error:
        raise OutputError(f"{path}: cannot be drawn ({' '.join(str(error).split())})") from error

"""Pictures of the genes that change most, as `diffchrom gene` draws them."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

from diffchrom.attention.gene_picture import draw_gene
from diffchrom.attention.gene_view import GeneView, gene_views
from diffchrom.files.figures import svg_text
from diffchrom.genome.genes import Rows
from diffchrom.report.attention import Attended
from diffchrom.report.page import Part

#: Genes drawn of each pair, of those that rise most and of those that fall most.
N_EACH = 2
PARAGRAPH = (
    "The test genes whose measured expression rises and falls most, as the run with the highest validation r "
    "sees them. Filled: the first cell's signal; line: the second's. The area of a bar below a track is what "
    "the window weighs (up: towards the second cell). Weights say what the model used, not what causes "
    "expression."
)


def pictures(attended: Sequence[Attended]) -> list[Part]:
    """Draw the genes with the greatest measured changes of every run that is shown."""
    return [_part(one, view) for one in attended for view in gene_views(one.opened, most_changed(one))]


def most_changed(one: Attended) -> Rows:
    """Rows of the test genes with the highest and with the lowest measured log2fc."""
    rows = one.opened.pair.rows("test")
    order = rows[np.argsort(-one.opened.pair.labels.log2fc[rows], kind="stable")]
    return np.array(list(dict.fromkeys([*order[:N_EACH], *order[::-1][:N_EACH]])), dtype=np.intp)


def _part(one: Attended, view: GeneView) -> Part:
    gene = str(view.gene.name[0]) or str(view.gene.id[0])
    weighed = ", ".join(
        f"{mark} {value:+.2f}" for mark, value in zip(view.marks, view.of_marks.tolist(), strict=True)
    )
    alt = (
        f"Tracks of {len(view.marks)} marks in {view.cells[0]} and {view.cells[1]} over {gene}, and what the "
        f"model weighed; log2 fold change measured {view.measured:.2f}, predicted {view.log2fc:.2f}; "
        f"{view.kind.of_windows.replace('_', ' ')} by mark: {weighed}."
    )
    data = base64.b64encode(svg_text(draw_gene(view)).encode()).decode()
    return Part("picture", f"{gene} ({one.name})", text=(alt,), source=f"data:image/svg+xml;base64,{data}")

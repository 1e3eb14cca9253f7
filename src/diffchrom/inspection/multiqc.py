"""Tables for MultiQC (https://docs.seqera.io/multiqc/custom_content): what a store holds, how runs predict.

A table is a TSV whose comments are its configuration in YAML; MultiQC finds it by a name in ``_mqc.tsv``.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffchrom.files.tables import format_row
from diffchrom.files.whole import output_text
from diffchrom.genome.regions import TSS
from diffchrom.inspection.summary import StoreSummary
from diffchrom.runs.folder import SUMMARY_COLUMNS, Run

_TRACKS = ("Sample", "cell", "mark", "unit", "covered", "nonzero", "mean", "maximum", "warnings")
_HEAD = """# id: "diffchrom_{id}"
# section_name: "diffchrom: {title}"
# description: "{description}"
# plot_type: "table"
# pconfig:
#     id: "diffchrom_{id}_table"
#     title: "diffchrom: {title}"
"""


def _write(
    path: Path, head: Mapping[str, str], columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    with output_text(path) as stream:
        stream.write(_HEAD.format(**head))
        stream.write(format_row(columns) + "\n")
        stream.writelines(format_row(map(_shown, row)) + "\n" for row in rows)


def _shown(value: Any) -> Any:
    """Text as MultiQC may put it into its page: names are the user's, and may be anything."""
    return html.escape(" ".join(value.split())) if isinstance(value, str) else value


def write_tracks(path: Path, summary: StoreSummary) -> None:
    """Write a row a track, of its bins around the TSS, with what looks wrong in it."""
    head = {
        "id": "tracks",
        "title": "tracks",
        "description": "Signal around transcription starts, track by track; covered and nonzero are shares.",
    }
    rows = [
        (
            f"{track.cell} {track.mark}", track.cell, track.mark, track.unit, track.covered, track.nonzero,
            track.mean, track.maximum, "; ".join(track.flags),
        )
        for track in summary.tracks
        if track.region == TSS
    ]  # fmt: skip
    _write(path, head, _TRACKS, rows)


def write_runs(path: Path, runs: Sequence[Run]) -> None:
    """Write a row a run, with its accuracy on test genes."""
    head = {
        "id": "runs",
        "title": "accuracy",
        "description": "Predicted and measured log2 fold changes of the test genes.",
    }
    _write(path, head, ("Sample", *SUMMARY_COLUMNS), [(run.path.name, *run.summary()) for run in runs])

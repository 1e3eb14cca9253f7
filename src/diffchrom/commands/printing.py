"""Tables on stdout, as TSV or as JSON, and for MultiQC: options and printing that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from diffchrom.errors import UsageError
from diffchrom.files.tables import format_row

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of TSV.")]
MultiqcOption = Annotated[
    Path | None,
    typer.Option("--multiqc", metavar="FILE_mqc.tsv", help="Also write a table that MultiQC shows."),
]


@dataclass
class Lines:
    """Rows of one table, printed as they come: TSV under a header, or a JSON object each.

    Attributes
    ----------
    stream : where to; None is stdout.
    started : whether a row has been printed.
    """

    json: bool = False
    stream: IO[str] | None = None
    started: bool = False

    def print(self, columns: Sequence[str], row: Sequence[Any]) -> None:
        """Print one row, under the header where it is the first."""
        from diffchrom.inspection.text import json_line

        if self.json:
            print(json_line(dict(zip(columns, row, strict=True))), file=self.stream, flush=True)
        else:
            if not self.started:
                print(format_row(columns), file=self.stream)
            print(format_row(row), file=self.stream, flush=True)
        self.started = True


def check_multiqc(path: Path | None) -> None:
    """Refuse a name that MultiQC would not find."""
    if path is not None and not path.name.endswith("_mqc.tsv"):
        raise UsageError(f"--multiqc {path}: MultiQC finds files whose names end in _mqc.tsv; name it so")

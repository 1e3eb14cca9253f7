"""Tables of DESeq2, edgeR and limma: changes between two conditions that serve as labels of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError, UsageError
from diffchrom.expression.joining import match_rows
from diffchrom.expression.parsing import Columns, Values, drop_repeated, read_columns
from diffchrom.files.whole import require_file
from diffchrom.genome.genes import Genes

#: Beyond any log2 change (that of the largest ratio of two float64 is 2,098), and any standard error of use.
MAX_CHANGE = 1e4


@dataclass(frozen=True)
class JoinedLabels:
    """Labels of a pair of cells, gene by gene.

    Attributes
    ----------
    pair : (A, B)
    log2fc : float64 [n_genes]
        B over A, as the table has it; NaN where unknown.
    se : float64 [n_genes] or None
        Standard error of log2fc; None where the table has none.
    padj : float64 [n_genes] or None
        Adjusted p-value.
    dialect, source : whose table it is, and its path.
    notes : what was matched and left out, one sentence each.
    """

    pair: tuple[str, str]
    log2fc: Values
    se: Values | None
    padj: Values | None
    dialect: str
    source: Path
    notes: tuple[str, ...] = ()

    def take(self, index: npt.NDArray[Any]) -> JoinedLabels:
        """Return the labels of the genes at `index`."""
        se, padj = (None if values is None else values[index] for values in (self.se, self.padj))
        return JoinedLabels(self.pair, self.log2fc[index], se, padj, self.dialect, self.source, self.notes)


def split_labels(spec: str) -> tuple[tuple[str, str], Path]:
    """Split ``A,B=FILE``."""
    names, equals, path = spec.partition("=")
    cells = [name.strip() for name in names.split(",")]
    if not equals or not path or len(cells) != 2 or not all(cells) or cells[0] == cells[1]:
        raise UsageError(f"`labels={spec}`: give A,B=FILE, where the table's changes are B over A")
    return (cells[0], cells[1]), Path(path).expanduser()


def read_labels(spec: str, genes: Genes) -> JoinedLabels:
    """Read ``A,B=FILE`` and join it to genes.

    DESeq2's lfcSE is the standard error; limma's is log2fc / t, its moderated one; edgeR's tables have none.

    Raises
    ------
    UsageError
        When it is not clear which pair it is.
    InputError
        When the file is no table of changes, meets no gene, knows no change, or has an impossible one.
    """
    pair, path = split_labels(spec)
    table = read_columns(require_file(path, "table of changes"), changes=True)
    drop_repeated(table)
    lower = [name.lower() for name in table.samples]
    meanings = {
        meaning: table.values[:, lower.index(name)]
        for meaning, name in table.dialect.changes.items()
        if name in lower
    }
    log2fc = meanings["log2fc"]
    _check_changes(table)
    if not np.isfinite(log2fc).any():
        raise InputError(f"{path}: every change is NA; give the results of a test with counts")
    rows, notes = match_rows(table.ids, table.names, path, genes)
    se = meanings.get("se")
    if se is None and "t" in meanings:
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            se = np.abs(log2fc / meanings["t"])

    def joined(values: Values | None) -> Values | None:
        return None if values is None else np.where(rows >= 0, values[rows], np.nan)

    known = joined(log2fc)
    assert known is not None
    if not np.isfinite(known).any():
        raise InputError(f"{path}: the change of every gene of the annotation is NA")
    errors = joined(se)
    if errors is not None:
        errors = np.where((errors > 0) & (errors <= MAX_CHANGE), errors, np.nan)
    kind = "" if errors is not None else ", without standard errors"
    said = f"{int(np.isfinite(known).sum())} genes of {pair[0]},{pair[1]} are labelled by {path.name}"
    notes = (*table.notes, *notes, f"{said} ({table.dialect.name}, {pair[1]} over {pair[0]}{kind})")
    return JoinedLabels(pair, known, errors, joined(meanings.get("padj")), table.dialect.name, path, notes)


def _check_changes(table: Columns) -> None:
    """Refuse changes and standard errors that cannot be on the log2 scale."""
    lower = [name.lower() for name in table.samples]
    columns = [table.dialect.changes.get(meaning) for meaning in ("log2fc", "se")]
    for column in (lower.index(name) for name in columns if name in lower):
        wrong = np.abs(table.values[:, column]) > MAX_CHANGE
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"{table.path}:{table.lines[row]}: {table.ids[row]:.40} has {table.samples[column]} "
                f"{table.values[row, column]:g}, impossible on the log2 scale; correct it or set it to NA"
            )

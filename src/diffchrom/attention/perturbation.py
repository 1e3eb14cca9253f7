"""In-silico perturbation: what a run predicts when a mark is taken away, or is as in another cell.

``MARK=0`` sets the mark's signal to zero in both cells. ``MARK=CELL`` takes one cell's signal for the other:
with CELL one of the pair, its partner gets CELL's signal; with any other CELL, both do. ``CELL:MARK=...``
changes one cell only; ``all`` stands for every mark in turn; a comma joins changes that are made together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.deepdiff.opened import ATTENTION_BATCH, OpenedModel
from diffchrom.errors import UsageError
from diffchrom.files.tables import joined_lines
from diffchrom.files.whole import output_text
from diffchrom.genome.genes import Rows, Signal
from diffchrom.pairs.choices import check_units, resolve_marks
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.tables import split_gene_columns

EVERY_MARK = "all"
NOTHING = "0"
#: A predicted change of log2fc that is counted as large: a factor of two.
LARGE_CHANGE = 1.0


@dataclass(frozen=True)
class Change:
    """One mark's signal in one cell of the pair (0 is A, 1 is B) becomes that of `donor`; None is zero."""

    mark: int
    side: int
    donor: str | None


@dataclass(frozen=True)
class Perturbation:
    """Changes that are made together, and their name in tables (as the user wrote it)."""

    name: str
    changes: tuple[Change, ...]


def parse_perturbations(opened: OpenedModel, texts: Sequence[str]) -> tuple[Perturbation, ...]:
    """Understand ``[CELL:]MARK=0`` and ``[CELL:]MARK=CELL``, joined by commas.

    Raises
    ------
    UsageError
        Not of this form, or a mark or cell that the run does not have.
    StoreError
        The store lacks the mark in the cell it should come from, or has it in another unit.
    """
    result = []
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        every = [part for part in parts if part.partition("=")[0].rpartition(":")[2] == EVERY_MARK]
        if every and EVERY_MARK not in opened.marks:
            if len(parts) > 1:
                raise UsageError(f"--perturb {text}: {EVERY_MARK} is every mark in turn, so it stands alone")
            head, _, value = parts[0].partition("=")
            prefix = head[: -len(EVERY_MARK)]
            parts = [f"{prefix}{mark}={value}" for mark in opened.marks]
            result += [Perturbation(part, _changes(opened, part)) for part in parts]
        else:
            changes = tuple(change for part in parts for change in _changes(opened, part))
            if len({(change.mark, change.side) for change in changes}) != len(changes):
                raise UsageError(f"--perturb {text}: changes the same mark of the same cell twice")
            result.append(Perturbation(text, changes))
    names = [perturbation.name for perturbation in result]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise UsageError(f"--perturb {repeated[0]}: given twice")
    return tuple(result)


def _changes(opened: OpenedModel, text: str) -> tuple[Change, ...]:
    pair = opened.pair.cells
    target, equals, value = (part.strip() for part in text.partition("="))
    cell, colon, mark = target.rpartition(":")
    if not equals or not value or not mark or (colon and not cell):
        raise UsageError(f"--perturb {text}: give MARK=0, MARK=CELL, CELL:MARK=0 or CELL:MARK=CELL")
    if mark not in opened.marks:
        raise UsageError(f"--perturb {text}: no mark {mark}; the run has {', '.join(opened.marks)}")
    if colon and cell not in pair:
        raise UsageError(f"--perturb {text}: {cell} is not in the pair {','.join(pair)}")
    donor = None if value == NOTHING else value
    if donor is not None:
        if donor not in opened.pair.store.cells():
            raise UsageError(
                f"--perturb {text}: no cell {donor} in {opened.pair.store.path}; it has "
                f"{', '.join(opened.pair.store.cells())}; 0 stands for no signal"
            )
        resolve_marks(opened.pair.store, (pair[0], donor), (mark,))
        check_units(opened.pair.store, (pair[0], donor), (mark,))
    sides = (pair.index(cell),) if colon else (0, 1)
    changes = tuple(Change(opened.marks.index(mark), side, donor) for side in sides if pair[side] != donor)
    if not changes:
        raise UsageError(f"--perturb {text}: changes nothing")
    return changes


def perturbed(
    opened: OpenedModel, perturbation: Perturbation, rows: Rows, a: Signal, b: Signal
) -> tuple[Signal, Signal]:
    """Raw signal of A and B of the genes `rows` after a perturbation; `a` and `b` stay as they are."""
    signals = (a.copy(), b.copy())
    for change in perturbation.changes:
        values: Signal | float = 0.0
        if change.donor in opened.pair.cells:
            values = (a, b)[opened.pair.cells.index(change.donor)][:, change.mark]
        elif change.donor is not None:
            values = opened.pair.signal_of(change.donor, rows, (opened.marks[change.mark],))[:, 0]
        signals[change.side][:, change.mark] = values
    return signals


def perturb(
    opened: OpenedModel,
    rows: Rows,
    perturbations: Sequence[Perturbation],
    reporter: Reporter = SILENT,
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield, batch by batch, one row a gene and perturbation with the predicted log2fc before and after."""
    with reporter.task("perturbing", len(rows)) as task:
        for batch, a, b in opened.pair.signal_batches(rows, ATTENTION_BATCH):
            before = opened.predict_signal(a, b).log2fc
            after = np.stack(
                [opened.predict_signal(*perturbed(opened, one, batch, a, b)).log2fc for one in perturbations],
                axis=1,
            )
            yield _columns(opened, batch, perturbations, before, after)
            task.advance(len(batch))


def _columns(
    opened: OpenedModel,
    rows: Rows,
    perturbations: Sequence[Perturbation],
    before: npt.NDArray[np.float32],
    after: npt.NDArray[np.float32],
) -> dict[str, npt.NDArray[Any]]:
    each_gene = split_gene_columns(opened.genes.take(rows), opened.pair.parts[rows])
    n = len(perturbations)
    return {
        **{name: np.repeat(column, n) for name, column in each_gene.items()},
        "perturbation": np.tile(np.array([one.name for one in perturbations], dtype=object), len(rows)),
        "log2fc_pred": np.repeat(before, n),
        "log2fc_pred_perturbed": after.ravel(),
        "change": (after - before[:, None]).ravel(),
        "log2fc": np.repeat(opened.pair.labels.log2fc[rows], n),
    }


def summarise(names: Sequence[str], changes: npt.NDArray[np.floating[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Table of one row a perturbation.

    Parameters
    ----------
    names : of the perturbations.
    changes : [n_genes, n_perturbations], changes of predicted log2fc.
    """
    changes = np.asarray(changes, dtype=np.float64)
    return {
        "perturbation": np.array(names, dtype=object),
        "n_genes": np.full(len(names), len(changes), dtype=np.int64),
        "mean_change": changes.mean(axis=0),
        "sd_change": changes.std(axis=0),
        "mean_absolute_change": np.abs(changes).mean(axis=0),
        "lowest": changes.min(axis=0),
        "highest": changes.max(axis=0),
        "n_raised": (changes >= LARGE_CHANGE).sum(axis=0),
        "n_lowered": (changes <= -LARGE_CHANGE).sum(axis=0),
    }


def write_perturbations(
    opened: OpenedModel,
    rows: Rows,
    perturbations: Sequence[Perturbation],
    output: Path,
    reporter: Reporter = SILENT,
) -> dict[str, npt.NDArray[Any]]:
    """Write the table of `perturb` as TSV and return its summary (`summarise`)."""
    changes = []

    def tables() -> Iterator[dict[str, npt.NDArray[Any]]]:
        for columns in perturb(opened, rows, perturbations, reporter):
            changes.append(columns["change"].reshape(-1, len(perturbations)))
            yield columns

    with output_text(output) as stream:
        stream.writelines(joined_lines(tables()))
    return summarise([one.name for one in perturbations], np.concatenate(changes))

"""In-silico perturbation: what a run predicts when a mark is as in the average gene, absent, or as elsewhere.

``MARK=mean`` gives the mark the signal of the average training gene in both cells, ``MARK=0`` none, which no
gene that was trained on had. ``MARK=CELL`` takes one cell's signal for the other: with CELL one of the pair,
its partner gets CELL's signal; with any other CELL, both do. ``CELL:MARK=...`` changes one cell only,
``MARK@REGION=...`` one region only; ``all`` stands for every mark in turn; a comma joins changes that are
made together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.deepdiff.opened import ATTENTION_BATCH, OpenedModel
from diffchrom.errors import UsageError, did_you_mean
from diffchrom.files.tables import joined_lines
from diffchrom.files.whole import output_text
from diffchrom.genome.blocks import genome_blocks
from diffchrom.genome.genes import Rows, Signal
from diffchrom.genome.layout import Layout
from diffchrom.metrics import mean_interval
from diffchrom.pairs.choices import SPLIT_PARTS, check_units, resolve_marks
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.tables import split_gene_columns

EVERY_MARK = "all"
NOTHING, MEAN = "0", "mean"
#: What to know of ``MARK=0``.
UNSEEN = (
    "MARK=0: no gene without any signal was ever seen, so all marks may move alike; MARK=mean compares better"
)
#: Genes that are drawn once to lend their signal to others (`Lenders`), and the seed they are drawn with.
N_LENDERS, LENDERS_SEED = 256, 0
#: A predicted change of log2fc that is counted as large: a factor of two.
LARGE_CHANGE = 1.0

Log2fc = npt.NDArray[np.float32]
#: Of some genes: log2fc, and that of every member (`OpenedModel.predict_members`).
Predicted = tuple[Log2fc, Log2fc]


@dataclass(frozen=True)
class Change:
    """One mark of one cell of the pair (0 is A, 1 is B) gets the signal of `donor`: a cell, mean or 0.

    In the windows of `region`; empty is all.
    """

    mark: int
    side: int
    donor: str
    region: str = ""

    def span(self, layout: Layout) -> slice:
        """Where those windows stand."""
        return layout.spans[self.region] if self.region else slice(None)


@dataclass(frozen=True)
class Perturbation:
    """Changes that are made together, and their name in tables (as the user wrote it, complete)."""

    name: str
    changes: tuple[Change, ...]


def parse_perturbations(opened: OpenedModel, texts: Sequence[str]) -> tuple[Perturbation, ...]:
    """Understand ``[CELL:]MARK[@REGION]=mean``, ``...=0`` and ``...=CELL``, joined by commas.

    A mark alone is ``MARK=mean``.

    Raises
    ------
    UsageError
        Not of this form, or a mark, cell or region that the run does not have.
    StoreError
        The store lacks the mark in the cell it should come from, or has it in another unit.
    """
    result = []
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        parts = [part if "=" in part else f"{part}={MEAN}" for part in parts]
        targets = [_target(opened, part) for part in parts]
        if any(mark == EVERY_MARK for _, mark, _ in targets) and EVERY_MARK not in opened.marks:
            if len(parts) > 1:
                raise UsageError(f"`perturb={text}`: {EVERY_MARK} is every mark in turn, so it stands alone")
            ((cell, _, region),) = targets
            value = parts[0].partition("=")[2]
            before, behind = f"{cell}:" if cell else "", f"@{region}" if region else ""
            parts = [f"{before}{mark}{behind}={value}" for mark in opened.marks]
            result += [Perturbation(part, _changes(opened, part)) for part in parts]
        else:
            changes = tuple(change for part in parts for change in _changes(opened, part))
            if any(_overlap(one, other) for one, other in combinations(changes, 2)):
                raise UsageError(f"`perturb={text}`: changes the same mark of the same cell twice")
            result.append(Perturbation(",".join(parts), changes))
    names = [perturbation.name for perturbation in result]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise UsageError(f"`perturb={repeated[0]}`: given twice")
    return tuple(result)


def _target(opened: OpenedModel, text: str) -> tuple[str, str, str]:
    """Cell, mark and region that are to be changed; empty text where none is named."""
    cell, _, mark = text.partition("=")[0].strip().rpartition(":")
    name, _, region = mark.rpartition("@")
    return (cell, mark, "") if not name or mark in opened.marks else (cell, name, region)


def _overlap(one: Change, other: Change) -> bool:
    """Whether two changes are of the same mark, cell and windows."""
    same = (one.mark, one.side) == (other.mark, other.side)
    return same and (one.region == other.region or "" in (one.region, other.region))


def _changes(opened: OpenedModel, text: str) -> tuple[Change, ...]:
    pair, regions = opened.pair.cells, opened.pair.layout.names
    target, equals, value = (part.strip() for part in text.partition("="))
    cell, mark, region = _target(opened, text)
    if not equals or not value or not mark or target.startswith(":"):
        raise UsageError(f"`perturb={text}`: give MARK=mean, MARK=0 or MARK=CELL, or CELL:MARK@REGION=...")
    if mark not in opened.marks:
        raise UsageError(
            f"`perturb={text}`: no mark {mark}; the run has {', '.join(opened.marks)}"
            + did_you_mean(mark, opened.marks)
        )
    if cell and cell not in pair:
        raise UsageError(f"`perturb={text}`: {cell} is not in the pair {','.join(pair)}")
    if region and region not in regions:
        raise UsageError(
            f"`perturb={text}`: no region {region}; the run reads {', '.join(regions)}"
            + did_you_mean(region, regions)
        )
    donor = value
    if donor not in (NOTHING, MEAN):
        if donor not in opened.pair.store.cells():
            raise UsageError(
                f"`perturb={text}`: no cell {donor} in {opened.pair.store.path}; it has "
                f"{', '.join(opened.pair.store.cells())}; mean stands for the average gene, 0 for no signal"
            )
        resolve_marks(opened.pair.store, (pair[0], donor), (mark,))
        check_units(opened.pair.store, (pair[0], donor), (mark,))
    sides = (pair.index(cell),) if cell else (0, 1)
    changes = tuple(
        Change(opened.marks.index(mark), side, donor, region) for side in sides if pair[side] != donor
    )
    if not changes:
        raise UsageError(f"`perturb={text}`: changes nothing")
    return changes


def perturbed(
    opened: OpenedModel, perturbation: Perturbation, rows: Rows, a: Signal, b: Signal
) -> tuple[Signal, Signal]:
    """Raw signal of A and B of the genes `rows` after a perturbation; `a` and `b` stay as they are."""
    signals = (a.copy(), b.copy())
    for change in perturbation.changes:
        values: Signal = np.zeros((), dtype=np.float32)
        if change.donor == MEAN:
            values = opened.average_signal[change.mark]
        elif change.donor in opened.pair.cells:
            values = (a, b)[opened.pair.cells.index(change.donor)][:, change.mark]
        elif change.donor != NOTHING:
            values = opened.pair.signal_of(change.donor, rows, (opened.marks[change.mark],))[:, 0]
        target = signals[change.side][:, change.mark]
        span = change.span(opened.pair.layout)
        target[:, span] = np.broadcast_to(values, target.shape)[:, span]
    return signals


@dataclass(frozen=True)
class Lenders:
    """Training genes whose signal takes the place of others', to see what a change makes by chance."""

    opened: OpenedModel

    @cached_property
    def _drawn(self) -> tuple[Rows, npt.NDArray[np.intp]]:
        """Rows of the lenders, and for every gene of the store the one that lends to it."""
        random = np.random.default_rng(LENDERS_SEED)
        n_genes = len(self.opened.genes)
        rows = np.flatnonzero(self.opened.pair.parts == SPLIT_PARTS["train"])
        rows = rows if len(rows) > 1 else np.arange(n_genes)
        rows = np.sort(random.choice(rows, min(N_LENDERS, len(rows)), replace=False))
        lender = random.integers(len(rows), size=n_genes)
        own = rows[lender] == np.arange(n_genes)
        return rows, np.where(own, (lender + 1) % len(rows), lender)

    @cached_property
    def _signal(self) -> tuple[Signal, Signal]:
        return self.opened.pair.signal(self._drawn[0])

    def lent(self, perturbation: Perturbation, rows: Rows, a: Signal, b: Signal) -> tuple[Signal, Signal]:
        """Raw signal of A and B with every mark that is to be changed as in the lender, in both cells."""
        signals = (a.copy(), b.copy())
        lender = self._drawn[1][rows]
        for change in perturbation.changes:
            span = change.span(self.opened.pair.layout)
            for signal, of_lenders in zip(signals, self._signal, strict=True):
                signal[:, change.mark, span] = of_lenders[lender, change.mark, span]
        return signals

    def change(self, perturbation: Perturbation, rows: Rows, a: Signal, b: Signal) -> Log2fc:
        """What the perturbation changes in genes whose marks in question are their lenders' [n]."""
        rows_of_lenders, lender = self._drawn
        before = self.lent(perturbation, rows, a, b)
        after = perturbed(self.opened, perturbation, rows_of_lenders[lender[rows]], *before)
        without, whole = (self.opened.predict_signal(rows, *signals).log2fc for signals in (after, before))
        return np.asarray(without - whole)


def perturb(
    opened: OpenedModel,
    rows: Rows,
    perturbations: Sequence[Perturbation],
    reporter: Reporter = SILENT,
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """Yield, batch by batch, one row a gene and perturbation with the predicted log2fc before and after.

    Beside the change stand ``change_spread``, its standard deviation over the members of an ensemble (NaN for
    one model), and ``change_null``, what the same perturbation changes once the marks in question are, in
    both cells, those of another training gene, drawn at random (`Lenders`).
    """
    if any(change.donor == NOTHING for one in perturbations for change in one.changes):
        reporter.warn(UNSEEN)
    lenders = Lenders(opened)
    with reporter.task("perturbing", len(rows)) as task:
        for batch, a, b in opened.pair.signal_batches(rows, ATTENTION_BATCH):
            before = opened.predict_members(batch, a, b)
            changed = [
                opened.predict_members(batch, *perturbed(opened, one, batch, a, b)) for one in perturbations
            ]
            null = [lenders.change(one, batch, a, b) for one in perturbations]
            yield _columns(opened, batch, perturbations, before, changed, null)
            task.advance(len(batch))


def _columns(
    opened: OpenedModel,
    rows: Rows,
    perturbations: Sequence[Perturbation],
    before: Predicted,
    changed: Sequence[Predicted],
    null: Sequence[Log2fc],
) -> dict[str, npt.NDArray[Any]]:
    mean, members = before
    after = np.stack([log2fc for log2fc, _ in changed], axis=1)
    spread = np.full(after.shape, np.nan)
    if len(members) > 1:
        each = np.stack([of_members - members for _, of_members in changed], axis=2)
        spread = each.std(axis=0, ddof=1, dtype=np.float64)
    each_gene = split_gene_columns(opened.genes.take(rows), opened.pair.parts[rows])
    n = len(perturbations)
    return {
        **{name: np.repeat(column, n) for name, column in each_gene.items()},
        "perturbation": np.tile(np.array([one.name for one in perturbations], dtype=object), len(rows)),
        "log2fc_pred": np.repeat(mean, n),
        "log2fc_pred_perturbed": after.ravel(),
        "change": (after - mean[:, None]).ravel(),
        "log2fc": np.repeat(opened.pair.labels.log2fc[rows], n),
        "change_spread": spread.ravel(),
        "change_null": np.stack(null, axis=1).ravel(),
    }


def summarise(
    names: Sequence[str],
    changes: npt.NDArray[np.floating[Any]],
    spread: npt.NDArray[np.floating[Any]],
    null: npt.NDArray[np.floating[Any]],
    log2fc: npt.NDArray[np.floating[Any]],
    blocks: npt.ArrayLike | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Table of one row a perturbation.

    The effect is how far the prediction falls back from the measured side, -change sign(log2fc), on average
    over genes: a mark that says which way a gene changes is missed, one that carries noise is not, however
    much it moves predictions. Its null is that of the marks of other genes.

    Parameters
    ----------
    names : of the perturbations.
    changes, spread, null : [n_genes, n_perturbations]
        Columns ``change``, ``change_spread`` and ``change_null``.
    log2fc : [n_genes], as measured; NaN where unknown, where there is no effect either.
    blocks : labels [n_genes] of genes that are drawn together for intervals, see `metrics.mean_interval`.
    """
    changes, spread, null = (np.asarray(values, dtype=np.float64) for values in (changes, spread, null))
    side = -np.sign(np.asarray(log2fc, dtype=np.float64))[:, None]
    effect, by_chance = side * changes, side * null
    beyond = [mean_interval(values, blocks) for values in (effect - by_chance).T]
    known = np.isfinite(effect)
    n_known = np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    means = [np.where(known, values, 0).sum(axis=0) / n_known for values in (effect, by_chance)]
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
        "mean_spread": spread.mean(axis=0),
        "mean_absolute_null": np.abs(null).mean(axis=0),
        **dict(zip(("effect", "effect_null"), means, strict=True)),
        "effect_minus_null": np.array([one.value for one in beyond]),
        "effect_minus_null_low": np.array([one.low for one in beyond]),
        "effect_minus_null_high": np.array([one.high for one in beyond]),
    }


def write_perturbations(
    opened: OpenedModel,
    rows: Rows,
    perturbations: Sequence[Perturbation],
    output: Path,
    reporter: Reporter = SILENT,
) -> dict[str, npt.NDArray[Any]]:
    """Write the table of `perturb` as TSV and return its summary (`summarise`)."""
    seen: dict[str, list[npt.NDArray[Any]]] = {
        name: [] for name in ("change", "change_spread", "change_null")
    }

    def tables() -> Iterator[dict[str, npt.NDArray[Any]]]:
        for columns in perturb(opened, rows, perturbations, reporter):
            for name, values in seen.items():
                values.append(columns[name].reshape(-1, len(perturbations)))
            yield columns

    with output_text(output) as stream:
        stream.writelines(joined_lines(tables()))
    genes = opened.genes.take(rows)
    changes, spread, null = (np.concatenate(values) for values in seen.values())
    return summarise(
        [one.name for one in perturbations],
        changes,
        spread,
        null,
        log2fc=opened.pair.labels.log2fc[rows],
        blocks=genome_blocks(genes.id, genes.chrom, genes.tss),
    )

"""Runs side by side: their labels and groups, and their metrics with intervals (docs/sweep.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import RunError
from diffchrom.files.tables import NA
from diffchrom.genome.blocks import genome_blocks
from diffchrom.genome.genes import UNKNOWN_CHROM
from diffchrom.metrics import METRICS, bootstrap
from diffchrom.pairs.splits import fold_number
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import CONFIG, FINISHED, PREDICTIONS, Run
from diffchrom.runs.reading import WrittenTable
from diffchrom.runs.tables import resampled
from diffchrom.sweeps.groups import fold_by_fold, group_runs
from diffchrom.sweeps.labels import label_runs

#: How deep below a folder runs are looked for.
_DEPTH = 3
#: What identifies a run in tables; the metrics follow, each with the ends of its 95% interval.
KEY_COLUMNS = (
    "run", "kind", "pair", "method", "preset", "seed", "split", "unit", "store", "n",
    "label", "group", "blocks",
)  # fmt: skip
COLUMNS = (*KEY_COLUMNS, *(f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")))


@dataclass(frozen=True)
class TestGenes:
    """Test genes of a run.

    Attributes
    ----------
    gene_id : object [n]
    truth, prediction : float64 [n]
        Measured and predicted log2fc.
    block : object [n]
        Of the genome, for bootstraps (`genome.blocks.genome_blocks`).
    located : bool [n]
        Whether the gene's coordinates are known.
    """

    __test__ = False  # pytest takes the name for a test

    gene_id: npt.NDArray[Any]
    truth: npt.NDArray[np.float64]
    prediction: npt.NDArray[np.float64]
    block: npt.NDArray[Any]
    located: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Result:
    """A finished run with what it predicts.

    Attributes
    ----------
    run : the run.
    label : of its method, see `labels.label_runs`.
    group : of runs that can be compared, see `groups.group_runs`; empty where there is one.
    """

    run: Run
    label: str = ""
    group: str = ""

    @property
    def pair(self) -> tuple[str, str]:
        """Cells A and B."""
        return self.run.config.pair

    @cached_property
    def test(self) -> TestGenes:
        """Test genes, read when they are first asked for."""
        return read_test_genes(self.run)

    def row(self) -> dict[str, Any]:
        """Values of `COLUMNS`."""
        config = self.run.config
        n = config.metrics.get("test", {}).get("n")
        values: dict[str, Any] = {
            "run": str(self.run.path),
            "kind": config.kind,
            "pair": ",".join(config.pair),
            "method": config.method,
            "preset": config.preset,
            "seed": config.seed,
            "split": config.split,
            "unit": config.unit,
            "store": str(config.store.get("fingerprint", ""))[:12],
            "n": None if n is None else int(n),
            "label": self.label,
            "group": self.group,
            "blocks": self.resampled["blocks"],
        }
        for name, measured in self.measured.items():
            values |= dict(zip((name, f"{name}_low", f"{name}_high"), measured, strict=True))
        return values

    @cached_property
    def resampled(self) -> Mapping[str, int]:
        """Numbers of blocks and of single genes that the intervals draw (`tables.resampled`)."""
        recorded = self.run.config.details.get("resampled")
        return recorded or resampled(self.test.block, self.test.located)

    @cached_property
    def measured(self) -> Mapping[str, tuple[float | None, float | None, float | None]]:
        """Value and ends of the 95% interval of every metric; None where undefined or not known.

        A run that did not record how its intervals were drawn is measured again, from its predictions.
        """
        recorded = self.run.config.metrics.get("test", {})
        details = self.run.config.details
        if "resampled" in details:
            ends = {name: details.get("test_intervals", {}).get(name, (None, None)) for name in METRICS}
            return {name: (recorded.get(name), *ends[name]) for name in METRICS}
        again = bootstrap(self.test.truth, self.test.prediction, self.test.block)
        return {
            name: (recorded.get(name, _known(one.value)), _known(one.low), _known(one.high))
            for name, one in again.items()
        }


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def read_test_genes(run: Run) -> TestGenes:
    """Read the test genes with known expression from a run's ``predictions.tsv``.

    Raises
    ------
    RunError
        When the file is missing or is not such a table.
    """
    path = run.path / PREDICTIONS
    wanted = ("log2fc", "log2fc_pred", "start", "end", "gene_id", "chrom", "strand", "split")
    table = WrittenTable.read(path, "predictions table", wanted, "make the run again")
    rows = np.flatnonzero((table.column("split") == "test") & (table.column("log2fc") != NA))
    truth, prediction, start, end = (table.numbers(name)[rows] for name in wanted[:4])
    ids, chroms, strands = (table.column(name)[rows] for name in wanted[4:7])
    tss = np.where(strands == "-", end - 1, start)
    located = np.asarray(chroms != UNKNOWN_CHROM, dtype=bool) & np.isfinite(tss)
    blocks = genome_blocks(
        ids, np.where(located, chroms, UNKNOWN_CHROM), np.where(located, tss, -1).astype(np.int64)
    )
    return TestGenes(ids, truth, prediction, blocks, located)


def find_runs(paths: Iterable[str | Path], reporter: Reporter = SILENT) -> list[Run]:
    """Open the finished runs that `paths` name, or that lie in the folders they name.

    A run that was named must be whole; in a folder of runs, those that are not finished or are broken are
    left out with a warning.

    Raises
    ------
    RunError
        A path that is neither, a named run that is broken, or no finished run at all.
    """
    runs: dict[Path, Run] = {}
    for path in map(Path, paths):
        if (path / CONFIG).exists():
            runs[path.resolve()] = Run.open(path)
            continue
        if not path.is_dir():
            raise RunError(f"{path}: no such folder; give a run, or the folder of a sweep")
        for folder in sorted(_run_folders(path)):
            try:
                run = Run.open(folder, unfinished=True)
            except RunError as error:
                reporter.warn(f"left out: {error}")
                continue
            if run.config.status == FINISHED:
                runs[folder.resolve()] = run
            else:
                reporter.warn(f"left out: {folder} is not finished")
    if not runs:
        raise RunError(f"{', '.join(map(str, paths))}: no finished run in it")
    return list(runs.values())


def _run_folders(folder: Path) -> list[Path]:
    found = [path.parent for depth in range(1, _DEPTH + 1) for path in folder.glob("*/" * depth + CONFIG)]
    # The folds of a cross-validation are inside its own run, which speaks for them.
    return [path for path in found if not (path.parent / CONFIG).exists()]


def load_results(
    paths: Sequence[str | Path], *, force: bool = False, reporter: Reporter = SILENT
) -> list[Result]:
    """Find the runs of `paths`, label them by their methods and group those that can be compared.

    Parameters
    ----------
    force : put all runs in one group, whatever differs.

    Raises
    ------
    RunError
        See `find_runs` and `groups.fold_by_fold`.
    """
    runs = _seen(find_runs(paths, reporter), reporter)
    labels, notes = label_runs(runs)
    groups = group_runs(runs, labels, reporter)
    for note in notes:
        reporter.note(note)
    if force:
        groups = [""] * len(runs)
    results: dict[Path, Result] = {}
    for run, label, group in zip(runs, labels, groups, strict=True):
        of_group = [other for other, its in zip(runs, groups, strict=True) if its == group]
        for part in fold_by_fold(run, of_group, reporter):
            results[part.path.resolve()] = Result(part, label, group)
    order = list(dict.fromkeys(groups))
    return sorted(
        results.values(),
        key=lambda result: (
            order.index(result.group), result.pair, result.run.config.kind, result.label,
            result.run.config.seed, fold_number(result.run.config.split) or 0,
        ),
    )  # fmt: skip


def _seen(runs: Sequence[Run], reporter: Reporter) -> list[Run]:
    """Runs without those that have cells held out, which answer another question; those alone stay."""
    seen = [run for run in runs if not run.config.held_out]
    if not seen or len(seen) == len(runs):
        return list(runs)
    reporter.note(
        f"{len(runs) - len(seen)} runs with cells held out stand in tables of their own: "
        "`diffchrom compare --unseen`, and in the report"
    )
    return seen


def averaged(results: Iterable[Result]) -> str:
    """Say over what the runs of one method are averaged on a pair; empty where there is one run a pair."""
    configs = [result.run.config for result in results]
    seeds = sorted({config.seed for config in configs})
    folds = {number for config in configs if (number := fold_number(config.split)) is not None}
    alike = Counter((config.pair, config.seed, config.split) for config in configs)
    said = [
        f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else "",
        f"{len(folds)} folds" if len(folds) > 1 else "",
        f"{max(alike.values())} runs alike" if max(alike.values()) > 1 else "",
    ]
    return "; ".join(filter(None, said))


def of_pairs(results: Sequence[Result], pairs: Sequence[str]) -> list[Result]:
    """Results of these pairs (``A,B``; or ``all``) alone, pair by pair in this order.

    Raises
    ------
    RunError
        When there is none of a pair.
    """
    if "all" in pairs:
        return list(results)
    by_pair: dict[str, list[Result]] = {pair: [] for pair in pairs}
    for result in results:
        by_pair.get(",".join(result.pair), []).append(result)
    lacking = [pair for pair, its in by_pair.items() if not its]
    if lacking:
        raise RunError(f"no run of {'; '.join(lacking)} is among those given; leave it out of `pairs`")
    return [result for its in by_pair.values() for result in its]

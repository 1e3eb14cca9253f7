"""Runs side by side: which can be compared, and their metrics with intervals (docs/sweep.md)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import RunError
from diffchrom.files.whole import open_text
from diffchrom.metrics import METRICS, bootstrap
from diffchrom.pairs.splits import fold_number, split_family
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.cross_validation import fold_folder
from diffchrom.runs.folder import CONFIG, FINISHED, PREDICTIONS, Run

#: How deep below a folder runs are looked for.
_DEPTH = 3
#: What identifies a run in tables; the metrics follow, each with the ends of its 95% interval.
KEY_COLUMNS = ("run", "kind", "pair", "method", "preset", "seed", "split", "unit", "store", "n")
COLUMNS = (*KEY_COLUMNS, *(f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")))
MAX_GENES = 50_000_000


@dataclass(frozen=True)
class TestGenes:
    """Test genes of a run.

    Attributes
    ----------
    gene_id : object [n]
    truth, prediction : float64 [n]
        Measured and predicted log2fc.
    """

    __test__ = False  # pytest takes the name for a test

    gene_id: npt.NDArray[Any]
    truth: npt.NDArray[np.float64]
    prediction: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """A finished run with what it predicts."""

    run: Run

    @property
    def pair(self) -> tuple[str, str]:
        """Cells A and B."""
        return self.run.config.pair

    @property
    def label(self) -> str:
        """Method, and the preset of a model in brackets."""
        config = self.run.config
        return f"{config.variant} ({config.preset})" if config.preset else config.variant

    @cached_property
    def test(self) -> TestGenes:
        """Test genes, read when they are first asked for."""
        return read_test_genes(self.run)

    def row(self) -> dict[str, Any]:
        """Values of `COLUMNS`."""
        config = self.run.config
        values: dict[str, Any] = {
            "run": str(self.run.path),
            "kind": config.kind,
            "pair": ",".join(config.pair),
            "method": config.variant,
            "preset": config.preset,
            "seed": config.seed,
            "split": config.split,
            "unit": config.unit,
            "store": str(config.store.get("fingerprint", ""))[:12],
            "n": _whole(self._metrics.get("n")),
        }
        for name in METRICS:
            low, high = self._intervals.get(name, (None, None))
            values |= {name: self._metrics.get(name), f"{name}_low": low, f"{name}_high": high}
        return values

    @property
    def _metrics(self) -> Mapping[str, float | None]:
        return self.run.config.metrics.get("test", {})

    @cached_property
    def _intervals(self) -> Mapping[str, Sequence[float | None]]:
        recorded = self.run.config.details.get("test_intervals")
        if recorded:
            return dict(recorded)
        intervals = bootstrap(self.test.truth, self.test.prediction)
        return {name: (interval.low, interval.high) for name, interval in intervals.items()}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def read_test_genes(run: Run) -> TestGenes:
    """Read the test genes with known expression from a run's ``predictions.tsv``.

    Raises
    ------
    RunError
        When the file is missing or is not such a table.
    """
    path = run.path / PREDICTIONS
    wanted = ("gene_id", "split", "log2fc_pred", "log2fc")
    if not path.is_file():
        raise RunError(f"{path}: missing; make the run again")
    ids: list[str] = []
    values: list[tuple[float, float]] = []
    with open_text(path, "predictions table") as stream:
        rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(rows, [])
        if any(name not in header for name in wanted):
            raise RunError(f"{path}: has no columns {', '.join(wanted)}; make the run again")
        gene, part, predicted, measured = (header.index(name) for name in wanted)
        for row in rows:
            try:
                if row[part] == "test" and row[measured] != "NA":
                    values.append((float(row[measured]), float(row[predicted].replace("NA", "nan"))))
                    ids.append(row[gene])
            except (IndexError, ValueError) as error:
                raise RunError(
                    f"{path}: line {rows.line_num} is broken ({error}); make the run again"
                ) from error
    table = np.array(values, dtype=np.float64).reshape(-1, 2)
    return TestGenes(np.array(ids, dtype=object), table[:, 0], table[:, 1])


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
    """Find the runs of `paths` and see that they can be compared.

    Raises
    ------
    RunError
        See `find_runs`, `check_comparable`, `check_folds_dealt_alike` and `check_same_folds`.
    """
    runs = find_runs(paths, reporter)
    for check, serious in (
        (check_comparable, True),
        (check_folds_dealt_alike, True),
        # Where a sweep lacks a fold, what it has can be shown; a cross-validation has an r of all genes.
        (check_same_folds, any(run.config.folds for run in runs)),
    ):
        try:
            check(runs)
        except RunError as error:
            if serious and not force:
                raise RunError(f"{error}; compare them apart, or --force to do it all the same") from error
            reporter.warn(str(error))
    results = [Result(run) for run in _fold_by_fold(runs, reporter)]
    results.sort(
        key=lambda result: (result.pair, result.run.config.kind, result.label, result.run.config.seed)
    )
    return results


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
        raise RunError(f"no run of {'; '.join(lacking)} is among those given; leave it out of --pairs")
    return [result for its in by_pair.values() for result in its]


def check_comparable(runs: Sequence[Run]) -> None:
    """See that runs differ in method, preset, seed and fold only, pair by pair.

    Raises
    ------
    RunError
        Naming two runs and what differs: the content of the store, the split, the window, the unit of
        expression.
    """
    first: dict[tuple[str, ...], Run] = {}
    for run in runs:
        everywhere = first.setdefault((), run)
        of_pair = first.setdefault(run.config.pair, run)
        for other, facts in ((everywhere, _shared_facts), (of_pair, _pair_facts)):
            mine, theirs = facts(run), facts(other)
            for name, value in mine.items():
                if value != theirs[name]:
                    raise RunError(
                        f"{other.path} and {run.path} are not comparable: {name} {theirs[name]} and {value}"
                    )


def _shared_facts(run: Run) -> dict[str, str]:
    config = run.config
    window = config.window
    return {
        "split": split_family(config.split),
        "unit of expression": config.unit,
        "window": f"+/-{window.flank} bp, {window.bin_size} bp bins, {window.orient} orientation",
    }


def _pair_facts(run: Run) -> dict[str, str]:
    return {"store content": str(run.config.store.get("fingerprint", ""))[:12]}


def check_folds_dealt_alike(runs: Sequence[Run]) -> None:
    """See that runs of the same fold, pair and seed have the same genes in it.

    Runs of other seeds may have other folds of genes, which their seed deals.

    Raises
    ------
    RunError
        Naming two runs and their splits.
    """
    first: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        config = run.config
        if (number := fold_number(config.split)) is None:
            continue
        other = first.setdefault((config.pair, split_family(config.split), number, config.seed), run)
        if other.config.split != config.split:
            raise RunError(
                f"{other.path} and {run.path} are not comparable: folds of other genes "
                f"({other.config.split} and {config.split})"
            )


def check_same_folds(runs: Sequence[Run]) -> None:
    """See that what is compared on a pair was tested on the same folds.

    Raises
    ------
    RunError
        Naming two runs and their folds, as where one fold stands against a whole cross-validation.
    """
    first: dict[tuple[Any, ...], Run] = {}
    folds: dict[tuple[Any, ...], set[int]] = {}
    for run in runs:
        config = run.config
        number = fold_number(config.split)
        if config.folds or number is not None:
            whole = str(run.path) if config.folds else ""
            key = (config.pair, split_family(config.split), config.variant, config.preset, config.seed, whole)
            first.setdefault(key, run)
            tested = {number} if number is not None else set(range(1, config.folds + 1))
            folds[key] = folds.get(key, set()) | tested
    of_pair: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for key, tested in folds.items():
        other = of_pair.setdefault(key[:2], key)
        if folds[other] != tested:
            raise RunError(
                f"{first[other].path} and {first[key].path} are not comparable: of {key[1]}, they have "
                f"{_folds(folds[other])} and {_folds(tested)}"
            )


def _folds(numbers: set[int]) -> str:
    return f"fold{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))}"


def _fold_by_fold(runs: Sequence[Run], reporter: Reporter) -> list[Run]:
    """Take cross-validations apart where other runs are single folds of the same kind.

    r of all genes also pays for what differs between the folds' models, the mean of the folds' r does not:
    only folds can be compared with folds.
    """
    single = {split_family(run.config.split) for run in runs if fold_number(run.config.split) is not None}
    found: dict[Path, Run] = {}
    for run in runs:
        parts = [run]
        if run.config.folds and run.config.split in single:
            reporter.note(f"{run.path}: taken fold by fold, as other runs are single folds")
            parts = [_open_fold(run, number) for number in range(1, run.config.folds + 1)]
        found |= {part.path.resolve(): part for part in parts}
    return list(found.values())


def _open_fold(run: Run, number: int) -> Run:
    folder = fold_folder(run.path, number)
    try:
        return Run.open(folder)
    except RunError as error:
        raise RunError(
            f"{folder}: missing or broken, and {run.path} can be compared with single folds only fold by "
            "fold; give its command again to make the fold, or compare it with whole cross-validations"
        ) from error

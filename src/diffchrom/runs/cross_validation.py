"""Cross-validation: one ordinary run a fold, and a run that puts their test genes together (docs/runs.md)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import OutputError, RunError
from diffchrom.files.whole import output_text, remove_folder
from diffchrom.metrics import METRICS
from diffchrom.pairs.coverage import coverage_by_stratum
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.pair_set import PairSet
from diffchrom.pairs.splits import Folds, make_folds
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import (
    CONFIG,
    FINISHED,
    PREDICTIONS,
    SUMMARY_COLUMNS,
    TRAINING,
    Run,
    is_broken,
    is_finished,
    new_run_folder,
    run_name,
)
from diffchrom.runs.making import Recipe, make
from diffchrom.runs.pair_results import PAIRS, mean_over_folds, read_results, save_results
from diffchrom.runs.reading import WrittenTable
from diffchrom.runs.tables import intervals_of, label_details, metrics_of

#: Columns of the table that `train` and `baseline` print of a cross-validation: a row a fold, and one of all.
COLUMNS = (*SUMMARY_COLUMNS, "pearson_low", "pearson_high", "pearson_fold_mean", "pearson_fold_sd")

_FOLDER = re.compile(r"fold-[1-9]\d*")


def fold_folder(path: Path, number: int) -> Path:
    """Folder of a fold's run, numbered from 1."""
    return path / f"fold-{number}"


def cross_validate(
    recipe: Recipe,
    pair: Pair | PairSet,
    k: int,
    out: str | Path | None = None,
    *,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> Run:
    """Make a run for each of `k` folds, and the run of all their test genes.

    Folds that are finished in the folder already are kept, so that a cross-validation that was killed goes on
    when it is given again; each fold's run refuses to go on with other options.

    Parameters
    ----------
    recipe : what to fit. Its seed also deals genes that cannot be dealt by chromosome.
    pair : what to fit it on, a pair or several, of whatever split: a gene is tested in all pairs by one fold.
    k : number of folds.
    out : folder; None is ``runs/`` and a name made of the above.
    force : replace the run that is in `out`.
    reporter : where notes go.

    Returns
    -------
    Run
        Its ``predictions.tsv`` has every gene as predicted by the model that was not fitted on it; all genes
        are of the part ``test``. Where there are several pairs, that is of the first, and ``pairs.tsv`` has
        the mean over folds of each.

    Raises
    ------
    UsageError
        When the genes cannot be dealt to `k` folds.
    OutputError
        When `out` holds something else.
    """
    pairs = pair if isinstance(pair, PairSet) else PairSet((pair,))
    folds = _deal(pairs.first, k, recipe.seed, reporter)
    name = f"{run_name(pairs.cells, recipe.name, recipe.preset, recipe.seed)}.{k}folds"
    path = _folder(Path(out) if out is not None else Path("runs") / name, force)
    return _finish(path, _run_folds(path, recipe, pairs, folds, reporter), folds, pairs)


def _deal(pair: Pair, k: int, seed: int, reporter: Reporter) -> Folds:
    """Deal the genes, and say so where it could not be done by chromosome."""
    folds = make_folds(pair.genes, k, seed, pair.window.width)
    if folds.reason:
        how = "are divided, since too many overlap" if folds.divided else "stay together"
        windows = f"; overlapping windows {how}" if pair.genes.located.any() else ""
        reporter.note(f"{folds.reason}: the folds are made of genes, by `seed`{windows}")
    return folds


def _run_folds(path: Path, recipe: Recipe, pairs: PairSet, folds: Folds, reporter: Reporter) -> list[Run]:
    """Make or keep the run of every fold; `path` shows how it stands while some are missing."""
    runs: list[Run] = []
    for number, split in enumerate(folds.names, 1):
        folder = fold_folder(path, number)
        broken = is_broken(folder)
        kept = not broken and is_finished(folder)
        of_fold = pairs.of_split(split)
        try:
            runs.append(make(recipe, of_fold, folder, resume=not broken, force=broken, reporter=reporter))
        except BaseException:
            with contextlib.suppress(OSError):
                path.rmdir()  # nothing was begun
            raise
        verb = "kept" if kept else "finished"
        reporter.note(f"fold {number} of {folds.k} {verb}: r = {_r(runs[-1]):.3f}")
        if number < folds.k:
            _start(path, runs[0], folds).save_config()
    return runs


def _folder(path: Path, force: bool) -> Path:
    """Make the folder, or find the one to go on with: nothing but a cross-validation may be in it."""
    if not path.is_dir() or (force and (path / CONFIG).is_file()):
        return new_run_folder(path, "", force=force)
    known = {CONFIG, PREDICTIONS, PAIRS}
    strange = [
        one.name for one in path.iterdir() if one.name not in known and not _FOLDER.fullmatch(one.name)
    ]
    if (path / CONFIG).is_file() and not Run.open(path, unfinished=True).config.folds:
        strange.append(CONFIG)
    if strange:
        raise OutputError(
            f"{path}: holds something else than a cross-validation ({strange[0]}); choose another `out`"
        )
    if force:
        remove_folder(path)
        return new_run_folder(path, "")
    return path


def _start(path: Path, first: Run, folds: Folds) -> Run:
    """The run of them all, as it stands while folds are missing."""
    config = replace(
        first.config,
        split=folds.name,
        status=TRAINING,
        transform={},
        metrics={},
        details={},
        folds=folds.k,
    )
    return Run(path, config)


def _finish(path: Path, runs: list[Run], folds: Folds, pairs: PairSet) -> Run:
    pair = pairs.first
    table = _OutOfFold.read(path, runs, pair.genes.id)
    with output_text(path / PREDICTIONS) as stream:
        stream.writelines(line + "\n" for line in (table.header, *table.lines))
    labels = replace(pair.labels, log2fc=table.truth)
    tested = np.flatnonzero(np.isfinite(table.truth))  # each gene is a test gene of one fold
    by_fold = [{"fold": number, **run.config.metrics.get("test", {})} for number, run in enumerate(runs, 1)]
    details: dict[str, Any] = {
        "folds": by_fold,
        "fold_mean": _over_folds(by_fold, np.mean),
        "fold_sd": _over_folds(by_fold, lambda values: np.std(values, ddof=1)),
        "test_intervals": intervals_of(labels, pair.genes, tested, table.prediction),
        "coverage": coverage_by_stratum(
            labels, tested, table.prediction, table.low, table.high, table.larger_expression
        ),
        **label_details(labels, pair.genes, tested),
    }
    if pairs.judged:
        results = mean_over_folds([read_results(run.config.details["pairs"]) for run in runs])
        save_results(path, results)
        details["pairs"] = [asdict(result) for result in results]
    metrics = {"test": metrics_of(labels, tested, table.prediction)}
    found = [(fold["n"], fold["asymmetry"]) for fold in by_fold if fold.get("asymmetry") is not None]
    if found:
        counts, values = np.array(found, dtype=np.float64).T
        metrics["test"]["asymmetry"] = float(np.average(values, weights=counts))
    started = _start(path, runs[0], folds)
    run = Run(path, replace(started.config, status=FINISHED, metrics=metrics, details=details))
    run.save_config()
    return run


def _over_folds(
    by_fold: list[dict[str, Any]], function: Callable[[npt.NDArray[np.float64]], Any]
) -> dict[str, float]:
    """A statistic of every metric over the folds in which it is defined."""
    result = {}
    for name in METRICS:
        values = np.array([fold.get(name) for fold in by_fold], dtype=np.float64)
        values = values[np.isfinite(values)]
        result[name] = float(function(values)) if len(values) > 1 else float("nan")
    return result


def _r(run: Run) -> float:
    value = run.config.metrics.get("test", {}).get("pearson")
    return float("nan") if value is None else float(value)


def table_rows(run: Run) -> list[tuple[Any, ...]]:
    """Values of `COLUMNS`: a row a fold, and the last of all genes."""
    rows: list[tuple[Any, ...]] = []
    for number in range(1, run.config.folds + 1):
        fold = Run.open(fold_folder(run.path, number))
        rows.append((*fold.summary(), *_interval(fold), None, None))
    details = run.config.details
    spread = (details["fold_mean"]["pearson"], details["fold_sd"]["pearson"])
    return [*rows, (*run.summary(), *_interval(run), *spread)]


def _interval(run: Run) -> tuple[float | None, float | None]:
    low, high = run.config.details.get("test_intervals", {}).get("pearson", (None, None))
    return low, high


#: Columns of predictions that are looked at, in the order of `_OutOfFold`.
_READ = ("log2fc", "log2fc_pred", "lo90", "hi90", "expr_a_pred", "expr_b_pred")


@dataclass(frozen=True)
class _OutOfFold:
    """Each gene's line of the predictions table of the fold in which it was tested.

    Attributes
    ----------
    header, lines : text, without line ends.
    truth, prediction, low, high, expression_a, expression_b : float64 [n_genes]
        Measured change, what is predicted, and both predicted expressions; NaN where unknown.
    """

    header: str
    lines: list[str]
    truth: npt.NDArray[np.float64]
    prediction: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    expression_a: npt.NDArray[np.float64]
    expression_b: npt.NDArray[np.float64]

    @classmethod
    def read(cls, path: Path, runs: list[Run], ids: npt.NDArray[np.object_]) -> _OutOfFold:
        """Put together what the folds in `path` say of the genes `ids`; RunError where they do not fit."""
        folds = {run.path.name: _read_predictions(run.path, ids) for run in runs}
        first, *others = folds.values()
        for table in others:
            if table.header != first.header:
                raise RunError(
                    f"{table.path}: its columns are not those of {runs[0].path.name}; "
                    "remove one of the two folds"
                )
        tested = {name: np.flatnonzero(table.column("split") == "test") for name, table in folds.items()}
        _require_tested_once(path, tested, ids)
        lines, columns = [""] * len(ids), np.full((len(_READ), len(ids)), np.nan)
        for name, rows in tested.items():
            for row in rows:
                lines[row] = "\t".join(folds[name].rows[row])
            for column, values in zip(_READ, columns, strict=True):
                if column in first.header:
                    values[rows] = folds[name].numbers(column)[rows]
        return cls("\t".join(first.header), lines, *columns)

    @property
    def larger_expression(self) -> npt.NDArray[np.float64] | None:
        """The larger of the two predicted expressions [n_genes]; None where none is predicted."""
        larger = np.maximum(self.expression_a, self.expression_b)
        return None if np.isnan(larger).all() else larger


def _read_predictions(folder: Path, ids: npt.NDArray[np.object_]) -> WrittenTable:
    """A fold's predictions table, which must be of the genes `ids`."""
    table = WrittenTable.read(
        folder / PREDICTIONS, "table of predictions", ("gene_id", "split"), f"remove {folder}"
    )
    if len(table.rows) != len(ids):
        raise RunError(f"{table.path}: has {len(table.rows)} of {len(ids)} genes; remove {folder}")
    for row in np.flatnonzero(table.column("gene_id") != ids):
        raise table.error("another gene", int(row))
    return table


def _require_tested_once(
    path: Path, tested: Mapping[str, npt.NDArray[np.intp]], ids: npt.NDArray[np.object_]
) -> None:
    """Refuse folds of which none or several test a gene; `tested` is fold to positions in `ids`."""
    times = np.zeros(len(ids), dtype=np.intp)
    for rows in tested.values():
        times[rows] += 1
    wrong = np.flatnonzero(times != 1)
    if len(wrong):
        folds = [fold for fold, rows in tested.items() if wrong[0] in rows]
        where = f"by {', '.join(folds)}" if folds else f"by none of {', '.join(tested)}"
        raise RunError(
            f"{path}: genes not tested by exactly one fold: {len(wrong)} (first {ids[wrong[0]]:.40}, "
            f"{where}); remove these folds and give the command again"
        )


def describe_folds(details: Mapping[str, Any]) -> str:
    """Say in a line how r spreads over the folds."""
    mean, spread = (details.get(name, {}).get("pearson") for name in ("fold_mean", "fold_sd"))
    values = [fold["pearson"] for fold in details.get("folds", ()) if fold.get("pearson") is not None]
    if mean is None or spread is None or not values:
        return "r is not defined in the folds"
    return (
        f"r over {len(details['folds'])} folds: mean {mean:.3f}, sd {spread:.3f}, "
        f"{min(values):.3f} to {max(values):.3f}"
    )

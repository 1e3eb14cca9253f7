"""Which runs can stand in one table: those that predict the same genes from the same data.

Runs of other splits, units, windows or store contents answer other questions; they are shown as groups of
their own, each with its own ranking.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from diffchrom.errors import RunError
from diffchrom.pairs.splits import fold_number, split_family
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.cross_validation import fold_folder
from diffchrom.runs.differences import facts
from diffchrom.runs.folder import Run
from diffchrom.sweeps.labels import said, tell_apart

#: What runs of one group have in common, in the order in which it names groups.
_SHARED = ("split", "tested", "unit", "window", "store", "dealing")


def group_runs(runs: Sequence[Run], labels: Sequence[str], reporter: Reporter = SILENT) -> list[str]:
    """Name the group of each run; empty where there is one group. What sets groups apart is a warning.

    Parameters
    ----------
    labels : method of each run (`labels.label_runs`).
    """
    shared = _shared_facts(runs, labels)
    names = [", ".join(words.values()) for words in tell_apart(shared, _SHARED)]
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        first.setdefault(name, i)
    (_, reference), *others = first.items()
    for _, i in others:
        told = [
            _told(fact, runs[reference], runs[i], shared[reference], shared[i])
            for fact in _SHARED
            if shared[i][fact] != shared[reference][fact]
        ]
        both = f"{runs[reference].path} and {runs[i].path}"
        reporter.warn(f"{both} are not comparable: {'; '.join(told)}")
    return names


def _told(fact: str, one: Run, other: Run, of_one: dict[str, Any], of_other: dict[str, Any]) -> str:
    """Say in what two runs of different groups differ."""
    spoken = {"store": "content of the store", "dealing": "folds of other genes", "tested": "tested on"}
    values = {
        "store": [str(run.config.store.get("fingerprint", ""))[:12] for run in (one, other)],
        "dealing": [run.config.split for run in (one, other)],
        "tested": [facts["tested"] or "its test genes" for facts in (of_one, of_other)],
        "window": said("window", [of_one["window"], of_other["window"]]),
    }
    first, second = values.get(fact, [of_one[fact], of_other[fact]])
    return f"{spoken.get(fact, fact)} {first} and {second}"


def _shared_facts(runs: Sequence[Run], labels: Sequence[str]) -> list[dict[str, Any]]:
    configs = [run.config for run in runs]
    known = [facts(config) for config in configs]
    families = [split_family(config.split) for config in configs]
    numbers = [fold_number(config.split) for config in configs]
    stores = _ranks(
        [config.pair for config in configs],
        [
            (str(config.store.get("path", "")), one["store"])
            for config, one in zip(configs, known, strict=True)
        ],
        [one["store"] for one in known],
    )
    places = [
        (config.pair, family, number, config.seed)
        for config, family, number in zip(configs, families, numbers, strict=True)
    ]
    splits = [config.split for config in configs]
    dealings = _ranks(places, splits, splits)
    tested = _tested(runs, labels, families, numbers)
    return [
        {"split": families[i], "tested": tested[i], "unit": one["unit"], "window": one["window"],
         "store": stores[i], "dealing": dealings[i]}
        for i, one in enumerate(known)
    ]  # fmt: skip


def _ranks(places: Sequence[Hashable], order: Sequence[Any], values: Sequence[Hashable]) -> list[int]:
    """Number the different values of every place from 1, those of the smallest `order` first."""
    first: dict[Hashable, dict[Hashable, Any]] = {}
    for place, by, value in zip(places, order, values, strict=True):
        known = first.setdefault(place, {})
        known[value] = min(known.get(value, by), by)
    ranks = {
        (place, value): number
        for place, known in first.items()
        for number, value in enumerate(sorted(known, key=lambda value: known[value]), 1)
    }
    return [ranks[place, value] for place, value in zip(places, values, strict=True)]


def _tested(
    runs: Sequence[Run], labels: Sequence[str], families: Sequence[str], numbers: Sequence[int | None]
) -> list[str]:
    """Folds on which each run's method was tested on its pair with its seed; empty where there are none.

    One fold against a whole cross-validation, or a sweep that lacks some folds of a method, is as another
    split.
    """
    folds: dict[Hashable, set[int]] = {}
    keys = []
    for run, label, family, number in zip(runs, labels, families, numbers, strict=True):
        config = run.config
        whole = str(run.path) if config.folds else ""
        keys.append((config.pair, family, label, config.seed, whole))
        tested = set(range(1, config.folds + 1)) if number is None else {number}
        folds.setdefault(keys[-1], set()).update(tested)
    return [_folds(folds[key]) for key in keys]


def _folds(numbers: set[int]) -> str:
    return f"fold{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))}" if numbers else ""


def fold_by_fold(run: Run, others: Sequence[Run], reporter: Reporter = SILENT) -> list[Run]:
    """Take a cross-validation apart where others of its group are single folds; else the run as it is.

    r of all genes also pays for what differs between the folds' models, the mean of the folds' r does not:
    only folds can be compared with folds.
    """
    splits = [other.config.split for other in others]
    single = {split_family(split) for split in splits if fold_number(split) is not None}
    if not run.config.folds or run.config.split not in single:
        return [run]
    reporter.note(f"{run.path}: taken fold by fold, as other runs are single folds")
    return [_open_fold(run, number) for number in range(1, run.config.folds + 1)]


def _open_fold(run: Run, number: int) -> Run:
    folder = fold_folder(run.path, number)
    try:
        return Run.open(folder)
    except RunError as error:
        raise RunError(
            f"{folder}: missing or broken, and {run.path} can be compared with single folds only fold by "
            "fold; give its command again to make the fold, or compare it with whole cross-validations"
        ) from error

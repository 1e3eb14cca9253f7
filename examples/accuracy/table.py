"""Print the cross-validations and the learning curve of docs/results.md from the folder of run.sh."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import fields
from pathlib import Path

import numpy as np

from diffchrom.config import DEFAULT_VARIANT, PRESETS
from diffchrom.metrics import bootstrap, mse, paired_bootstrap, pearson
from diffchrom.runs.folder import Run, is_finished
from diffchrom.sweeps.results import Result, TestGenes, load_results

DEFAULT = f"{DEFAULT_VARIANT} (default)"
FOLDS_HEADER = ("data", "method", "r of all genes", "mean of folds (sd)", "MSE", "default minus method")
CURVE_HEADER = (
    "training genes", DEFAULT, "ridge", "raw+aux+siamese (published)",
    "default minus ridge", "default minus published",
)  # fmt: skip
#: Folders of cross-validations, and what the table calls them.
DATA = {"sample": "deepdiff sample", "pilot": "pilot E003-E116", "segmentation": "segmentation E116-E127"}
CURVE = ("default", "ridge", "published")


def together(results: list[Result]) -> TestGenes:
    """Return the test genes of all folds of a method, in one order for all methods."""
    names = [field.name for field in fields(TestGenes)]
    columns = {name: np.concatenate([getattr(one.test, name) for one in results]) for name in names}
    order = np.argsort(columns["gene_id"].astype(str))
    return TestGenes(**{name: column[order] for name, column in columns.items()})


def difference(default: TestGenes, other: TestGenes) -> str:
    """By how much the default's r exceeds the other's on the same genes, with its 95% interval."""
    both = paired_bootstrap(
        default.truth, default.prediction, other.prediction, default.block, names=["pearson"], resamples=2000
    )
    r = both["pearson"]
    return f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]"


def method(result: Result) -> str:
    """Method, and the preset of a model, as one sweep has the variants with either."""
    config = result.run.config
    return f"{config.variant} ({config.preset})" if config.preset else config.variant


def row(name: str, label: str, results: list[Result], default: TestGenes) -> tuple[float, tuple[str, ...]]:
    """Return a method's r of all genes, -1 where it has none, and its cells."""
    genes = together(results)
    folds = [pearson(result.test.truth, result.test.prediction) for result in results]
    interval = bootstrap(genes.truth, genes.prediction, genes.block, names=["pearson"], resamples=2000)[
        "pearson"
    ]
    value, r, spread, less = -1.0, "undefined", "", ""
    if np.isfinite(folds).all():  # else the prediction is constant
        value, r = interval.value, f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
        spread = f"{np.mean(folds):.3f} ({np.std(folds, ddof=1):.3f})"
        less = "" if label == DEFAULT else difference(default, genes)
    shown = f"**{label}**" if label == DEFAULT else label
    error = f"{mse(genes.truth, genes.prediction):.3f}"
    return value, (f"{name}, {len(genes.truth):,} genes", shown, r, spread, error, less)


def print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print Markdown."""
    print(f"\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for cells in rows:
        print(f"| {' | '.join(cells)} |")


def folds_table(folder: Path) -> list[tuple[str, ...]]:
    """Methods of every cross-validation, that of the highest r first; unfinished ones are left out."""
    rows = []
    for name, title in DATA.items():
        methods: dict[str, list[Result]] = defaultdict(list)
        for result in load_results([folder / name]) if (folder / name).is_dir() else ():
            methods[method(result)].append(result)
        finished = {label: results for label, results in methods.items() if is_whole(results)}
        for label in methods.keys() - finished.keys() | {DEFAULT} - finished.keys():
            print(f"{name}: {label} is not finished", file=sys.stderr)
        if DEFAULT in finished:
            default = together(finished[DEFAULT])
            found = [row(title, label, results, default) for label, results in finished.items()]
            rows += [cells for _, cells in sorted(found, reverse=True)]
    return rows


def is_whole(results: list[Result]) -> bool:
    """Whether every fold is there: a split's name ends in which it is, as in fold2of5."""
    splits = {result.run.config.split for result in results}
    return len(splits) == int(splits.pop().rpartition("of")[2].partition(".")[0])


def curve_table(folder: Path) -> list[tuple[str, ...]]:
    """The learning curve, a row a number of training genes."""
    rows = []
    for path in folder.glob("curve/default.*"):
        runs = {method: path.with_name(f"{method}{path.suffix}") for method in CURVE}
        results = {method: Result(Run.open(run)) for method, run in runs.items() if is_finished(run)}
        if not {"default", "ridge"} <= results.keys():
            print(f"{path}: not finished, or ridge beside it is not", file=sys.stderr)
            continue
        n_genes = int(results["default"].run.config.metrics["train"]["n"] or 0)
        r = [shown_r(results[method]) if method in results else "" for method in CURVE]
        tested = {method: together([result]) for method, result in results.items()}
        less = [
            difference(tested["default"], tested[other]) if other in tested else "" for other in CURVE[1:]
        ]
        rows.append((n_genes, (f"{n_genes:,}", *r, *less)))
    return [cells for _, cells in sorted(rows)]


def shown_r(result: Result) -> str:
    """Return r, and the epochs where they are not the preset's."""
    config = result.run.config
    epochs = config.hyperparameters.get("epochs")
    changed = config.preset in PRESETS and epochs != PRESETS[config.preset].epochs
    return f"{result.row()['pearson']:.3f}" + (f" ({epochs} epochs)" if changed else "")


if __name__ == "__main__":
    print_table(FOLDS_HEADER, folds_table(Path(sys.argv[1])))
    print_table(CURVE_HEADER, curve_table(Path(sys.argv[1])))

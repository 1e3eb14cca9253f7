"""Compare all baselines and all variants on the real data sets: the table of docs/results.md.

    python examples/results_table.py --out results > docs/results.md

Makes a store and a folder of runs for each data set under --out; runs that are finished are not made again,
so the script may be stopped and started at will. --baselines, --variants and --presets take names with
commas, or nothing (""), to fill the table step by step: it always shows all runs that are there.

The data (DIFFCHROM_SHARED_DATA, or ../shared/data beside the project) are the authors' public sample
(`sample`: 400 genes, K562 to H1, their split), the ENCODE pilot regions (`pilot`: about 360 genes, H1 to
GM12878) and, only when asked for, the genome-wide segmentation pair (`segmentation`: GM12878 to NHDF-Ad).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diffchrom.baselines.fitting import BaselineJob, fit_baseline
from diffchrom.baselines.methods import METHODS
from diffchrom.commands.console import Console
from diffchrom.config import PRESETS, available_threads, hyperparameters
from diffchrom.deepdiff.training import TrainingJob, train
from diffchrom.errors import DiffchromError
from diffchrom.runs import Run
from diffchrom.tables import format_value
from diffchrom.variants import VARIANTS

PROJECT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("DIFFCHROM_SHARED_DATA", PROJECT.parent / "shared" / "data"))
GENES = ("--gtf", "gtf/roadmap_genes_hg19.gtf.gz", "--expression", "expression/roadmap_rpkm.tsv.gz")


@dataclass(frozen=True)
class DataSet:
    """A store to make, and the pair and split to compare on."""

    title: str
    pair: str
    split: str
    prepare: tuple[str, ...]


DATA_SETS = {
    "sample": DataSet(
        "The authors' public sample", "Cell1,Cell2", "published", ("--deepdiff", "deepdiff_sample")
    ),
    "pilot": DataSet(
        "Roadmap, ENCODE pilot regions", "E003,E116", "chromosome", ("--bigwigs", "roadmap_pilot/*", *GENES)
    ),
    "segmentation": DataSet(
        "Genome-wide segmentations", "E116,E127", "chromosome", ("--bigwigs", "segmentation/*", *GENES)
    ),
}

COLUMNS = {
    "pearson": "Pearson r [95% interval]",
    "spearman": "Spearman",
    "mse": "MSE",
    "r2": "R2",
    "sign_accuracy": "sign accuracy",
    "auprc": "AUPRC, change of 2 or more",
}


def expand(word: str) -> Iterator[str]:
    """Paths of a word of `DataSet.prepare` under the folder of the data; options stay as they are."""
    if word.startswith("-"):
        yield word
    elif word.endswith("*"):
        yield from sorted(map(str, SHARED.glob(f"{word}.big[wW]ig"))) or sorted(
            map(str, SHARED.glob(f"{word}.bw"))
        )
    else:
        yield str(SHARED / word)


def make_store(name: str, out: Path) -> Path:
    """Prepare the data set's store, unless it is there."""
    store = out / name / "store.h5"
    if not store.exists():
        store.parent.mkdir(parents=True, exist_ok=True)
        words = [word for part in DATA_SETS[name].prepare for word in expand(part)]
        command = [sys.executable, "-m", "diffchrom", "prepare", "--store", str(store), *words]
        subprocess.run(command, check=True)
    return store


def make_runs(name: str, out: Path, arguments: argparse.Namespace) -> None:
    """Make what is asked for and not there yet; what a data set can't serve is said and left out."""
    data, store, console = DATA_SETS[name], make_store(name, out), Console()
    common = {"pair": data.pair, "split": data.split, "seed": arguments.seed}
    for method in arguments.baselines:
        folder = out / name / f"{method}.seed{arguments.seed}"
        try:
            fit_baseline(
                BaselineJob(store, method, **common),
                folder,
                threads=arguments.threads,
                resume=True,
                reporter=console,
            )
        except DiffchromError as error:
            console.warn(f"{name}, {method}: {error}")
    for preset in arguments.presets:
        for variant in arguments.variants:
            folder = out / name / f"{variant.replace(':', '-')}.{preset}.seed{arguments.seed}"
            job = TrainingJob(
                store, variant=variant, preset=preset, settings=hyperparameters(preset), **common
            )
            train(job, folder, resume=True, reporter=console)


def finished_runs(folder: Path) -> list[Run]:
    """All finished runs of a data set, the highest test r first."""
    runs = []
    for config in folder.glob("*/config.json"):
        try:
            runs.append(Run.open(config.parent))
        except DiffchromError:
            continue  # still being made
    return sorted(runs, key=lambda run: -(run.config.metrics["test"]["pearson"] or -2.0))


def table(name: str, out: Path) -> Iterator[str]:
    """Lines of a data set's part of the page."""
    runs = finished_runs(out / name)
    if not runs:
        return
    counts = {part: runs[0].config.metrics[part]["n"] for part in ("train", "valid", "test")}
    genes = ", ".join(f"{count} {part}" for part, count in counts.items())
    yield f"## {DATA_SETS[name].title}: {DATA_SETS[name].pair.replace(',', ' to ')}\n"
    yield f"Split `{DATA_SETS[name].split}`: {genes} genes.\n"
    yield f"| method | preset | {' | '.join(COLUMNS.values())} |"
    yield "|---|---|" + "---|" * len(COLUMNS)
    for run in runs:
        metrics = run.config.metrics["test"]
        cells = [rounded(metrics[column]) for column in COLUMNS]
        low, high = (rounded(end) for end in run.config.details["test_intervals"]["pearson"])
        cells[0] += f" [{low}, {high}]" if low != "NA" else ""
        kind = run.config.preset or "baseline"
        yield f"| {run.config.variant} | {kind} | {' | '.join(cells)} |"
    yield ""


def rounded(value: float | None) -> str:
    """Three decimals, or NA."""
    return format_value(None) if value is None else f"{round(value, 3) + 0.0:.3f}"


def main() -> None:
    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--data", type=names, default=["sample", "pilot"])
    parser.add_argument("--baselines", type=names, default=list(METHODS))
    parser.add_argument("--variants", type=names, default=list(VARIANTS))
    parser.add_argument("--presets", type=names, default=list(PRESETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=available_threads())
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"real data not found at {SHARED} (set DIFFCHROM_SHARED_DATA)")
    for name in arguments.data:
        make_runs(name, arguments.out, arguments)
    print("# Results\n")
    print("Every method on the same genes, one seed, sorted by the test genes' Pearson r. Intervals are 95%")
    print("gene-bootstrap intervals; with this few test genes most differences lie inside them.")
    print("Made by `python examples/results_table.py`; methods in [methods.md](methods.md).\n")
    for name in DATA_SETS:
        for line in table(name, arguments.out):
            print(line)


if __name__ == "__main__":
    main()

"""Run every step of diffchrom on simulated data, as a user would at the shell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diffchrom.baselines.fitting import Fitting
from diffchrom.config import DEFAULT_VARIANT, hyperparameters
from diffchrom.deepdiff.training import Training
from diffchrom.demo.simulate import CELLS, RULE, DemoFiles, simulate
from diffchrom.errors import OutputError
from diffchrom.files.whole import write_text
from diffchrom.pairs.pair import Pair
from diffchrom.prepare.building import PrepareRequest, prepare
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import PREDICTIONS, Run
from diffchrom.runs.making import make
from diffchrom.runs.reading import WrittenTable
from diffchrom.store.store import Store

STORE = "diffchrom.h5"
SUMMARY = "summary.txt"


@dataclass(frozen=True)
class DemoSettings:
    """Size of the demo: small enough for a laptop, large enough for the rule to be learnt.

    Attributes
    ----------
    n_genes : to be simulated.
    variants : to be trained, with the number of epochs; None is the variant's own.
    baselines : to be fitted.
    """

    n_genes: int = 720
    variants: Mapping[str, int | None] = field(default_factory=lambda: {"raw:d": 15, DEFAULT_VARIANT: None})
    baselines: tuple[str, ...] = ("ridge",)


DEFAULT_SETTINGS = DemoSettings()


@dataclass(frozen=True)
class DemoResult:
    """What the demo made and found.

    Attributes
    ----------
    folder : where everything lies.
    files : the simulated input.
    runs : one finished run a model and baseline.
    """

    folder: Path
    files: DemoFiles
    runs: tuple[Run, ...]

    def summary(self) -> str:
        """A few lines for the terminal and for ``summary.txt``."""
        first = self.runs[0].config
        rule = ", ".join(f"{domain.mark} {domain.effect:+g}" for domain in RULE)
        lines = [
            f"{first.store['n_genes']} simulated genes, cells {' and '.join(first.pair)}, "
            f"{len(first.marks)} marks.",
            f"The rule (change of log2 expression from no mark to full mark): {rule}.",
            f"Pearson r of predicted and measured log2 fold change on test genes "
            f"(noise allows {self.files.ceiling:.2f}):",
        ]
        for run in self.runs:
            r = run.config.metrics["test"]["pearson"]
            lines.append(f"  {run.config.variant:<16} {'undefined' if r is None else f'{r:.2f}'}")
        lines += [
            "Go on in this folder, for instance:",
            f"  cd {self.folder}",
            *(f"  diffchrom {command}" for command in self._next()),
        ]
        return "\n".join(lines) + "\n"

    def _next(self) -> tuple[str, str]:
        """Commands to go on with: the largest predicted changes, and a picture of the very largest."""
        run = next(run for run in reversed(self.runs) if run.config.kind != "baseline")
        predicted = WrittenTable.read(
            run.path / PREDICTIONS, "predictions", ("gene_name", "split", "log2fc_pred"), "run the demo again"
        )
        size = np.abs(predicted.numbers("log2fc_pred")) * (predicted.column("split") == "test")
        gene = predicted.column("gene_name")[int(np.argmax(size))]
        shown = run.path.relative_to(self.folder)
        return f"predict {shown} --split test --top 10", f"gene {shown} {gene} -o gene.svg"


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: exists already; remove it, or choose another `out`")


def run_demo(
    folder: Path,
    settings: DemoSettings = DEFAULT_SETTINGS,
    *,
    seed: int = 0,
    threads: int = 1,
    reporter: Reporter = SILENT,
) -> DemoResult:
    """Simulate data into `folder`, prepare a store, train, fit baselines, predict.

    Raises
    ------
    OutputError
        When `folder` exists and is not empty.
    """
    check_folder(folder)
    data = folder / "data"
    reporter.note(f"simulating {settings.n_genes} genes and {len(CELLS) * len(RULE)} tracks into {data}")
    files = simulate(data, settings.n_genes, seed)
    store = folder / STORE
    reporter.note(
        "\n$ diffchrom prepare --gtf data/genes.gtf --bigwigs data/*.bw --expression data/counts.tsv"
    )
    prepare(
        PrepareRequest(
            store=store,
            gtf=files.gtf,
            bigwigs=files.bigwigs,
            expression=(str(files.expression),),
            threads=threads,
        ),
        reporter,
    )
    pair = Pair.of(Store(store))
    runs = []
    for variant, epochs in settings.variants.items():
        reporter.note(f"\n$ diffchrom train --variant {variant}{f' --epochs {epochs}' if epochs else ''}")
        chosen = hyperparameters("default", variant, epochs=epochs)
        recipe = Training(variant, settings=chosen, seed=seed)
        runs.append(make(recipe, pair, folder / "runs" / variant.replace(":", "-"), reporter=reporter))
        reporter.note(f"{runs[-1].path / PREDICTIONS}: predictions of all genes")
    for method in settings.baselines:
        reporter.note(f"\n$ diffchrom baseline --method {method}")
        fitting = Fitting(method, seed, threads)
        runs.append(make(fitting, pair, folder / "runs" / method, reporter=reporter))
    result = DemoResult(folder, files, tuple(runs))
    write_text(folder / SUMMARY, result.summary())
    return result

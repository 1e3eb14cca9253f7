"""``diffchrom demo``: every step on a small data set whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import options


def demo(
    threads: options.ThreadsOption,
    out: Annotated[Path, typer.Option(help="Folder to make.")] = Path("diffchrom-demo"),
    pipelines: Annotated[
        bool,
        typer.Option(
            "--pipelines", help="Data alone, in the folders of nf-core's pipelines, to try commands on."
        ),
    ] = False,
    genes: Annotated[int, typer.Option(min=120, help="Genes to simulate.")] = 720,
    seed: options.SeedOption = 0,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Simulate tracks and expression by a known rule and run every step on them."""
    console = options.start(quiet=quiet, verbose=verbose, threads=threads)
    from diffchrom.demo.steps import DemoSettings, check_folder, run_demo

    if pipelines:
        from diffchrom.demo.pipelines import simulate_pipelines

        check_folder(out)
        simulate_pipelines(out, genes, seed)
        console.note(f"{out}: genes.gtf, samplesheet.csv, deseq2.csv, and results of chip and rna")
        return
    result = run_demo(out, DemoSettings(genes), seed=seed, threads=threads, reporter=console)
    print(result.summary(), end="")

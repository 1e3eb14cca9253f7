"""``diffchrom demo``: every step on a small data set whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import options


def demo(
    threads: options.ThreadsOption,
    out: Annotated[Path, typer.Option(help="Folder to make.")] = Path("diffchrom-demo"),
    seed: options.SeedOption = 0,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Simulate tracks and expression by a known rule and run every step on them."""
    console = options.start(quiet=quiet, verbose=verbose, threads=threads)
    from diffchrom.demo.steps import run_demo

    result = run_demo(out, seed=seed, threads=threads, reporter=console)
    print(result.summary(), end="")

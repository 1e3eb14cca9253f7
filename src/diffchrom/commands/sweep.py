"""``diffchrom sweep``: many runs, here or on a Dask cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from diffchrom.commands import options, pair_options
from diffchrom.commands.greedy import greedy_command
from diffchrom.commands.printing import JsonOption, Lines
from diffchrom.config import PRESETS
from diffchrom.variants import VARIANTS

SweepCommand = greedy_command("--pairs", "--variants", "--baselines", "--presets")

_LIST_HELP = "several with spaces or commas between them."


def sweep(
    threads: options.ThreadsOption,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TOML plan; options given beside it go first.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="The store.", show_default="diffchrom.h5 or $DIFFCHROM_STORE")
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(metavar="all|FILE|A,B...", help="Pairs of cells.", show_default="all"),
    ] = None,
    variants: Annotated[
        list[str] | None, typer.Option(metavar=f"all|{'|'.join(VARIANTS)}", help=f"Models; {_LIST_HELP}")
    ] = None,
    baselines: Annotated[
        list[str] | None, typer.Option(metavar="all|NAME...", help="See `diffchrom baseline --help`.")
    ] = None,
    presets: Annotated[
        list[str] | None,
        typer.Option(metavar="all|" + "|".join(PRESETS), help="Hyper-parameters of the models."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Seeds 0 to N-1.", show_default="1")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=0, metavar="K", help="Cross-validate over K folds of whole chromosomes (0: don't)."),
    ] = None,
    leave_cells_out: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2,
            metavar="1|2",
            help="Leave every choice of so many cells out of one model of all pairs, and judge it on them.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Most epochs, for every preset.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the sweep; finished runs in it are kept.", show_default="sweep"),
    ] = None,
    normalise: pair_options.NormaliseOption = None,
    gene_prior: options.GenePriorOption = False,
    marks: options.MarksOption = None,
    regions: options.RegionsOption = None,
    split: options.SplitOption = None,
    unit: options.UnitOption = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Jobs at a time on this machine.", show_default="as many as cores"),
    ] = None,
    dask: options.DaskOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the jobs with estimates of time and memory.")
    ] = False,
    json: JsonOption = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Train models and fit baselines on many pairs; start it again to go on where it was stopped."""
    given: dict[str, Any] = {
        "store": store,
        "out": out,
        "variants": options.listed(variants),
        "baselines": options.listed(baselines),
        "presets": options.listed(presets),
        "folds": folds,
        "leave_cells_out": leave_cells_out,
        "normalise": normalise,
        "gene_prior": gene_prior or None,
        "marks": options.split_names(marks),
        "regions": options.split_names(regions),
        "split": split,
        "unit": unit,
        "device": device,
    }
    console = options.start(quiet=quiet, verbose=verbose, threads=1 if dry_run else None)
    from diffchrom.commands.sweep_view import live_view, print_jobs, print_runs
    from diffchrom.errors import RunError
    from diffchrom.processes.cluster import dask_pool
    from diffchrom.processes.machine import share_cores
    from diffchrom.processes.pool import LocalPool, Pool
    from diffchrom.sweeps.estimate import relative_cost
    from diffchrom.sweeps.folder import FAILED
    from diffchrom.sweeps.jobs import jobs_of
    from diffchrom.sweeps.plan import make_plan
    from diffchrom.sweeps.running import SWEEPING, run_sweep

    chosen = make_plan(plan, given, pairs=options.listed(pairs, commas=False), seeds=seeds, epochs=epochs)
    jobs = jobs_of(chosen)
    n_workers, threads_each = share_cores(threads, len(jobs), workers)
    if dry_run:
        print_jobs(jobs, chosen.out, n_workers, console, Lines(json))
        return
    opened: AbstractContextManager[Pool] = LocalPool(n_workers, threads_each, SWEEPING)
    if dask:
        opened = dask_pool(dask, SWEEPING, ahead=1, reporter=console)
    with live_view(console) as watch, opened as pool:
        outcomes = run_sweep(jobs, chosen.out, pool, cost=relative_cost(jobs), watch=watch, reporter=console)
    print_runs(jobs, chosen.out, console, Lines(json))
    failed = [outcome for outcome in outcomes if outcome.status == FAILED]
    if failed:
        for outcome in failed:
            console.warn(f"{outcome.job.name} failed: {outcome.reason}")
        raise RunError(
            f"{chosen.out}: {len(failed)} of {len(jobs)} jobs failed; start the sweep again to try them again"
        )

"""``diffchrom sweep``: many runs, here or on a Dask cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffchrom.commands import options, pair_options
from diffchrom.commands.declared import takes
from diffchrom.commands.greedy import greedy_command
from diffchrom.commands.options import listed, split_names
from diffchrom.commands.printing import JsonOption, Lines
from diffchrom.config import PRESETS
from diffchrom.errors import RunError
from diffchrom.variants import VARIANTS

if TYPE_CHECKING:
    from diffchrom.sweeps.plan import Plan

SweepCommand = greedy_command("--pairs", "--variants", "--baselines", "--presets")

_LIST_HELP = "several with spaces or commas between them."


@dataclass(frozen=True)
class SweepOptions:
    """What `sweep` takes."""

    threads: options.ThreadsOption
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TOML plan; options given beside it go first.")
    ] = None
    store: Annotated[
        Path | None, typer.Option(help="The store.", show_default="diffchrom.h5 or $DIFFCHROM_STORE")
    ] = None
    pairs: Annotated[
        list[str] | None, typer.Option(metavar="all|FILE|A,B...", help="Pairs of cells.", show_default="all")
    ] = None
    variants: Annotated[
        list[str] | None, typer.Option(metavar=f"all|{'|'.join(VARIANTS)}", help=f"Models; {_LIST_HELP}")
    ] = None
    baselines: Annotated[
        list[str] | None, typer.Option(metavar="all|NAME...", help="See `diffchrom baseline --help`.")
    ] = None
    presets: Annotated[
        list[str] | None,
        typer.Option(metavar="all|" + "|".join(PRESETS), help="Hyper-parameters of the models."),
    ] = None
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Seeds 0 to N-1.", show_default="1")
    ] = None
    folds: Annotated[
        int | None,
        typer.Option(min=0, metavar="K", help="Cross-validate over K folds of whole chromosomes (0: don't)."),
    ] = None
    leave_cells_out: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2,
            metavar="1|2",
            help="Leave every choice of so many cells out of one model of all pairs, and judge it on them.",
        ),
    ] = None
    epochs: Annotated[int | None, typer.Option(min=1, help="Most epochs, for every preset.")] = None
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the sweep; finished runs in it are kept.", show_default="sweep"),
    ] = None
    normalise: pair_options.NormaliseOption = None
    gene_prior: options.GenePriorOption = False
    marks: options.MarksOption = None
    regions: options.RegionsOption = None
    split: options.SplitOption = None
    unit: options.UnitOption = None
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.", show_default="auto")] = None
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Jobs at a time on this machine.", show_default="as many as cores"),
    ] = None
    dask: options.DaskOption = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the jobs with estimates of time and memory.")
    ] = False
    json: JsonOption = False
    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False


@takes(SweepOptions)
def sweep(asked: SweepOptions) -> None:
    """Train models and fit baselines on many pairs; start it again to go on where it was stopped."""
    console = options.start(quiet=asked.quiet, verbose=asked.verbose, threads=1 if asked.dry_run else None)
    from diffchrom.commands.sweep_view import live_view, print_jobs, print_runs
    from diffchrom.processes.cluster import dask_pool
    from diffchrom.processes.machine import share_cores
    from diffchrom.processes.pool import LocalPool, Pool
    from diffchrom.sweeps.estimate import relative_cost
    from diffchrom.sweeps.folder import FAILED
    from diffchrom.sweeps.jobs import jobs_of
    from diffchrom.sweeps.running import SWEEPING, run_sweep

    plan = _plan(asked)
    jobs = jobs_of(plan)
    n_workers, threads_each = share_cores(asked.threads, len(jobs), asked.workers)
    lines = Lines(asked.json)
    if asked.dry_run:
        print_jobs(jobs, plan.out, n_workers, console, lines)
        return
    opened: AbstractContextManager[Pool] = LocalPool(n_workers, threads_each, SWEEPING)
    if asked.dask:
        opened = dask_pool(asked.dask, SWEEPING, ahead=1, reporter=console)
    with live_view(console) as watch, opened as pool:
        outcomes = run_sweep(jobs, plan.out, pool, cost=relative_cost(jobs), watch=watch, reporter=console)
    print_runs(jobs, plan.out, console, lines)
    failed = [outcome for outcome in outcomes if outcome.status == FAILED]
    for outcome in failed:
        console.warn(f"{outcome.job.name} failed: {outcome.reason}")
    if failed:
        raise RunError(
            f"{plan.out}: {len(failed)} of {len(jobs)} jobs failed; start the sweep again to try them again"
        )


def _plan(asked: SweepOptions) -> Plan:
    """What the plan file and the options come to."""
    from diffchrom.sweeps.plan import make_plan

    as_given = ("store", "out", "folds", "leave_cells_out", "normalise", "split", "unit", "device")
    given = {name: getattr(asked, name) for name in as_given} | {"gene_prior": asked.gene_prior or None}
    given |= {name: listed(getattr(asked, name)) for name in ("variants", "baselines", "presets")}
    given |= {name: split_names(getattr(asked, name)) for name in ("marks", "regions")}
    pairs = listed(asked.pairs, commas=False)
    return make_plan(asked.plan, given, pairs=pairs, seeds=asked.seeds, epochs=asked.epochs)

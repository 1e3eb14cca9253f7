"""``diffchrom baseline``: what a model has to beat, one run folder and one line a method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffchrom.commands import options
from diffchrom.config import DEFAULT_PRESET, PRESETS

if TYPE_CHECKING:
    from diffchrom.runs.folder import Run


def baseline(
    store: options.StoreOption,
    threads: options.ThreadsOption,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME...]|all",
            help="What to fit; docs/methods.md lists them, and so does a name that is none.",
        ),
    ] = "ridge",
    preset: Annotated[
        str,
        typer.Option(metavar="|".join(PRESETS), help="Settings: ours, or those of DeepDiff's paper."),
    ] = DEFAULT_PRESET,
    pair: options.PairOption = None,
    marks: options.MarksOption = None,
    split: options.SplitOption = None,
    folds: options.FoldsOption = 0,
    unit: options.UnitOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run folder; with several methods, the folder of their run folders.",
            show_default="runs/A-B.METHOD.seedN",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was interrupted; finished runs stay.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a run that is already in --out.")] = False,
    seed: options.SeedOption = 0,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Fit baselines with the store, pair, split, metrics and columns of `train`."""
    from diffchrom.baselines.methods import ALL, parse_methods

    options.check_choice("--preset", preset, tuple(PRESETS))
    methods = parse_methods(method, preset)
    options.check_folds(folds, split)
    console = options.start(quiet=quiet, verbose=verbose, threads=threads)
    from diffchrom.baselines.fitting import BaselineJob, fit_baseline
    from diffchrom.commands.summary import print_cross_validation, print_run
    from diffchrom.errors import StoreError
    from diffchrom.runs.cross_validation import cross_validate

    header = True
    for one in methods:
        folder = out / one.name if out is not None and len(methods) > 1 else out
        job = BaselineJob(
            store,
            one.name,
            pair,
            options.split_names(marks),
            split=split,
            unit=unit,
            seed=seed,
            preset=preset,
        )

        def of_fold(name: str, path: Path, broken: bool, job: BaselineJob = job) -> Run:
            of_split = replace(job, split=name)
            return fit_baseline(
                of_split, path, threads=threads, resume=not broken, force=broken, reporter=console
            )

        try:
            if folds:
                run = cross_validate(
                    of_fold, store, folds, pair=pair, method=one.name, preset=job.shown_preset, seed=seed,
                    out=folder, force=force, reporter=console,
                )  # fmt: skip
            else:
                run = fit_baseline(job, folder, threads=threads, resume=resume, force=force, reporter=console)
        except StoreError as error:
            if method != ALL or "other cells" not in one.needs:
                raise
            console.warn(f"{one.name} is left out: {error}")
            continue
        if folds:
            print_cross_validation(run, console, header=header)
        else:
            print_run(run, header=header)
        header = False

"""``diffchrom baseline``: what a model has to beat, one run folder and one line a method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from diffchrom.commands import completion, options, pair_options
from diffchrom.commands.declared import takes
from diffchrom.commands.greedy import OnceCommand
from diffchrom.commands.printing import JsonOption, Lines, MultiqcOption, check_multiqc
from diffchrom.config import DEFAULT_PRESET, PUBLISHED_PRESET
from diffchrom.errors import StoreError, check_choice

#: That a baseline may have; `METHODS` knows which has which.
_PRESETS = (DEFAULT_PRESET, PUBLISHED_PRESET)


class BaselineCommand(OnceCommand):
    """A command whose help has the methods before its examples."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write them; see `click.Command.format_epilog`."""
        from diffchrom.baselines.methods import METHODS

        with formatter.section("Methods"):
            formatter.write_dl([(method.name, method.summary) for method in METHODS.values()])
        super().format_epilog(ctx, formatter)


@dataclass(frozen=True)
class BaselineOptions(pair_options.PairOptions):
    """What `baseline` takes."""

    context: typer.Context
    store: options.StoreOption
    threads: options.ThreadsOption
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME...]|all",
            help="What to fit; see below and docs/methods.md.",
            autocompletion=completion.methods,
        ),
    ] = "ridge"
    preset: Annotated[
        str, typer.Option(metavar="|".join(_PRESETS), help="Settings: ours, or those of DeepDiff's paper.")
    ] = DEFAULT_PRESET
    pair: pair_options.PairOption = None
    gene_prior: options.GenePriorOption = False
    cells: pair_options.CellsOption = None
    pairs: pair_options.PairsOption = None
    hold_out: pair_options.HoldOutOption = None
    normalise: pair_options.NormaliseOption = None
    marks: options.MarksOption = None
    regions: options.RegionsOption = None
    split: options.SplitOption = None
    folds: options.FoldsOption = 0
    unit: options.UnitOption = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run folder; with several methods, the folder of their run folders.",
            show_default="runs/A-B.METHOD.seedN",
        ),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was interrupted; finished runs stay.")
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Replace a run that is already in --out.")] = False
    device: options.DeviceOption = "auto"
    seed: options.SeedOption = 0
    seeds: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Average random-forest, gradient-boosting and relieff-rf over N seeds."
        ),
    ] = 1
    json: JsonOption = False
    multiqc: MultiqcOption = None
    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False


@takes(BaselineOptions)
def baseline(asked: BaselineOptions) -> None:
    """Fit baselines with the store, pair, split, metrics and columns of `train`."""
    from diffchrom.baselines.methods import ALL, check_seeds, parse_methods

    check_choice("preset", asked.preset, _PRESETS)
    methods = parse_methods(asked.method, asked.preset)
    check_seeds(methods, asked.seeds)
    check_multiqc(asked.multiqc)
    asked.check(
        {row.name: row.whole_gene for row in methods}, {row.name: row.reads_covariates for row in methods}
    )
    console = options.start(quiet=asked.quiet, verbose=asked.verbose, threads=asked.threads)
    from diffchrom.baselines.fitting import Fitting
    from diffchrom.commands.summary import make_and_print
    from diffchrom.inspection.multiqc import write_runs

    pairs = asked.open_pairs()
    lines, runs = Lines(asked.json), []
    for row in methods:
        out = asked.out / row.name if asked.out is not None and len(methods) > 1 else asked.out
        fitting = Fitting(
            row.name, asked.seed, asked.threads, asked.preset,
            seeds=asked.seeds if row.seeded else 1, device=asked.device,
            gene_prior=asked.gene_prior and row.reads_covariates,
        )  # fmt: skip
        try:
            runs.append(make_and_print(fitting, pairs, asked, out, console, lines))
        except StoreError as error:
            if asked.method != ALL or not row.needs_other_cells:
                raise
            console.warn(f"{row.name} is left out: {error}")
    if asked.multiqc is not None:
        write_runs(asked.multiqc, runs)

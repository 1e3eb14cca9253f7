"""``diffchrom train``: one model, one run folder, one line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import completion, options, pair_options, preset_options
from diffchrom.commands.declared import takes
from diffchrom.commands.printing import JsonOption, Lines, MultiqcOption, check_multiqc
from diffchrom.config import DEFAULT_VARIANT, PRESETS, hyperparameters
from diffchrom.variants import VARIANTS, get_variant


@dataclass(frozen=True)
class TrainOptions(pair_options.PairOptions):
    """What `train` takes."""

    context: typer.Context
    store: options.StoreOption
    threads: options.ThreadsOption
    variant: Annotated[
        str,
        typer.Option(
            metavar="|".join(VARIANTS),
            help="The model; see docs/methods.md.",
            autocompletion=completion.variants,
        ),
    ] = DEFAULT_VARIANT
    pair: pair_options.PairOption = None
    cells: pair_options.CellsOption = None
    pairs: pair_options.PairsOption = None
    hold_out: pair_options.HoldOutOption = None
    normalise: pair_options.NormaliseOption = None
    preset: Annotated[
        str,
        typer.Option(
            metavar="|".join(PRESETS), help="Hyper-parameters: ours, the authors' code's, or their text's."
        ),
    ] = "default"
    epochs: preset_options.EpochsOption = None
    batch_size: preset_options.BatchSizeOption = None
    lr: preset_options.LrOption = None
    patience: preset_options.PatienceOption = None
    ensemble: Annotated[
        int | None,
        typer.Option(
            min=1, help="Models with different seeds to average.", show_default="5 for ours, 1 for the others"
        ),
    ] = None
    aux_task: preset_options.AuxTaskOption = None
    precision: preset_options.PrecisionOption = None
    hidden: preset_options.HiddenOption = None
    dropout: preset_options.DropoutOption = None
    cell_weight: preset_options.CellWeightOption = None
    contrastive: preset_options.ContrastiveOption = None
    contrastive_weight: preset_options.ContrastiveWeightOption = None
    contrastive_dropout: preset_options.ContrastiveDropoutOption = None
    margin: preset_options.MarginOption = None
    change_threshold: preset_options.ChangeThresholdOption = None
    weight_by_se: Annotated[
        bool | None, typer.Option("--weight-by-se", help="Weigh genes by the standard error of their log2fc.")
    ] = None
    gene_prior: options.GenePriorOption = False
    marks: options.MarksOption = None
    regions: options.RegionsOption = None
    split: options.SplitOption = None
    folds: options.FoldsOption = 0
    unit: options.UnitOption = None
    out: Annotated[
        Path | None, typer.Option(help="Run folder.", show_default="runs/A-B.VARIANT.PRESET.seedN")
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Replace a run that is in --out already.")] = False
    memory: Annotated[
        float | None,
        typer.Option(min=0, metavar="GB", help="Most memory to use.", show_default="what is free"),
    ] = None
    no_ridge: Annotated[
        bool, typer.Option("--no-ridge", help="Do not fit ridge on the same genes to compare with.")
    ] = False
    device: options.DeviceOption = "auto"
    seed: options.SeedOption = 0
    json: JsonOption = False
    multiqc: MultiqcOption = None
    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False


@takes(TrainOptions)
def train(asked: TrainOptions) -> None:
    """Train one model on one pair of cells, or several; prints its accuracy on the test genes."""
    check_multiqc(asked.multiqc)
    variant = get_variant(asked.variant)
    asked.check({variant.name: variant.whole_gene}, {variant.name: variant.reads_covariates})
    settings = hyperparameters(asked.preset, variant.name, **preset_options.given_settings(asked))
    console = options.start(quiet=asked.quiet, verbose=asked.verbose, threads=asked.threads)
    from diffchrom.commands.summary import make_and_print
    from diffchrom.deepdiff.training import Training
    from diffchrom.inspection.multiqc import write_runs

    limit = None if asked.memory is None else int(asked.memory * 1e9)
    recipe = Training(
        variant.name, asked.preset, settings, asked.seed, asked.device, limit, gene_prior=asked.gene_prior
    )
    pairs = asked.open_pairs()
    run = make_and_print(
        recipe, pairs, asked, asked.out, console, Lines(asked.json), ridge=not asked.no_ridge
    )
    if asked.multiqc is not None:
        write_runs(asked.multiqc, [run])
    if not (asked.no_ridge or asked.quiet or asked.folds or pairs.judged):
        from diffchrom.baselines.fitting import ridge_beside

        if said := ridge_beside(pairs.first, asked.gene_prior):
            console.note(said)

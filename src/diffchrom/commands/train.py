"""``diffchrom train``: one model, one run folder, one line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import completion, options, pair_options, preset_options
from diffchrom.commands.printing import JsonOption, Lines, MultiqcOption, check_multiqc
from diffchrom.config import DEFAULT_VARIANT, PRESETS, hyperparameters
from diffchrom.variants import VARIANTS, get_variant


def train(
    context: typer.Context,
    store: options.StoreOption,
    threads: options.ThreadsOption,
    variant: Annotated[
        str,
        typer.Option(
            metavar="|".join(VARIANTS),
            help="The model; see docs/methods.md.",
            autocompletion=completion.variants,
        ),
    ] = DEFAULT_VARIANT,
    pair: pair_options.PairOption = None,
    cells: pair_options.CellsOption = None,
    pairs: pair_options.PairsOption = None,
    hold_out: pair_options.HoldOutOption = None,
    normalise: pair_options.NormaliseOption = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="|".join(PRESETS), help="Hyper-parameters: ours, the authors' code's, or their text's."
        ),
    ] = "default",
    epochs: preset_options.EpochsOption = None,
    batch_size: preset_options.BatchSizeOption = None,
    lr: preset_options.LrOption = None,
    patience: preset_options.PatienceOption = None,
    ensemble: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Models with different seeds to average.",
            show_default="5 for ours, 1 for the others",
        ),
    ] = None,
    aux_task: preset_options.AuxTaskOption = None,
    precision: preset_options.PrecisionOption = None,
    hidden: preset_options.HiddenOption = None,
    dropout: preset_options.DropoutOption = None,
    cell_weight: preset_options.CellWeightOption = None,
    contrastive: preset_options.ContrastiveOption = None,
    contrastive_weight: preset_options.ContrastiveWeightOption = None,
    contrastive_dropout: preset_options.ContrastiveDropoutOption = None,
    margin: preset_options.MarginOption = None,
    change_threshold: preset_options.ChangeThresholdOption = None,
    weight_by_se: Annotated[
        bool, typer.Option("--weight-by-se", help="Weigh genes by the standard error of their log2fc.")
    ] = False,
    gene_prior: options.GenePriorOption = False,
    marks: options.MarksOption = None,
    regions: options.RegionsOption = None,
    split: options.SplitOption = None,
    folds: options.FoldsOption = 0,
    unit: options.UnitOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder.", show_default="runs/A-B.VARIANT.PRESET.seedN")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a run that is in --out already.")] = False,
    memory: Annotated[
        float | None,
        typer.Option(min=0, metavar="GB", help="Most memory to use.", show_default="what is free"),
    ] = None,
    no_ridge: Annotated[
        bool, typer.Option("--no-ridge", help="Do not fit ridge on the same genes to compare with.")
    ] = False,
    device: options.DeviceOption = "auto",
    seed: options.SeedOption = 0,
    json: JsonOption = False,
    multiqc: MultiqcOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Train one model on one pair of cells, or several; prints its accuracy on the test genes."""
    options.check_device(device)
    named = pair_options.named_pairs(context, pair, cells, pairs)
    options.check_folds(folds, split)
    check_multiqc(multiqc)
    options.check_regions(regions, {variant: get_variant(variant).whole_gene})
    options.check_prior(gene_prior, {variant: get_variant(variant).reads_covariates})
    settings = hyperparameters(
        preset,
        variant,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        patience=patience,
        ensemble=ensemble,
        aux_task=aux_task,
        precision=precision,
        hidden=hidden,
        dropout=dropout,
        cell_weight=cell_weight,
        contrastive=contrastive,
        contrastive_weight=contrastive_weight,
        contrastive_dropout=contrastive_dropout,
        margin=margin,
        change_threshold=change_threshold,
        weight_by_se=weight_by_se or None,
    )
    console = options.start(quiet=quiet, verbose=verbose, threads=threads)
    from diffchrom.commands.summary import make_and_print
    from diffchrom.deepdiff.training import Training
    from diffchrom.inspection.multiqc import write_runs

    limit = None if memory is None else int(memory * 1e9)
    recipe = Training(variant, preset, settings, seed, device, limit, gene_prior=gene_prior)
    chosen = pair_options.open_pairs(
        store,
        named,
        hold_out=hold_out,
        normalise=normalise,
        marks=marks,
        split=split,
        unit=unit,
        regions=regions,
        folds=folds,
    )
    run = make_and_print(
        recipe, chosen, out,
        folds=folds, resume=resume, force=force, console=console, lines=Lines(json), ridge=not no_ridge,
    )  # fmt: skip
    if multiqc is not None:
        write_runs(multiqc, [run])
    if not (no_ridge or quiet or folds or chosen.judged):
        from diffchrom.baselines.fitting import ridge_beside

        if said := ridge_beside(chosen.first, gene_prior):
            console.note(said)

"""``diffchrom gene``: one gene, or several, each in one picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import completion, options
from diffchrom.commands.declared import takes
from diffchrom.commands.details import tell_chosen
from diffchrom.commands.options import split_names
from diffchrom.config import check_device
from diffchrom.errors import UsageError


@dataclass(frozen=True)
class GeneOptions:
    """What `gene` takes."""

    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A folder made by `diffchrom train`.", autocompletion=completion.runs
        ),
    ]
    genes: Annotated[
        str, typer.Argument(metavar="GENE[,GENE...]", help="Names or ids; several go into one PDF.")
    ]
    store: options.StoreOption
    threads: options.ThreadsOption
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.svg|.png|.pdf", help="Write the picture here.")
    ]
    by: Annotated[
        str | None,
        typer.Option(
            metavar="attention|gradient|integrated-gradients|contribution",
            help="What is drawn below the tracks.",
            show_default="contribution, else integrated-gradients",
        ),
    ] = None
    pair: options.OtherPairOption = None
    device: options.DeviceOption = "auto"
    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False


@takes(GeneOptions)
def gene(asked: GeneOptions) -> None:
    """Draw genes: both cells' tracks, what the model weighed, prediction and measurement, perturbation."""
    check_device(asked.device)
    names = split_names(asked.genes) or ()
    console = options.start(quiet=asked.quiet, verbose=asked.verbose, threads=asked.threads)
    from diffchrom.files.figures import check_figure_path

    check_figure_path(asked.output, "output")
    from diffchrom.attention.gene_picture import write_pictures
    from diffchrom.deepdiff.opened import open_model
    from diffchrom.pairs.choices import direction, parse_pair
    from diffchrom.pairs.selection import named_rows
    from diffchrom.runs.folder import Run
    from diffchrom.runs.opening import store_for

    run = Run.open(asked.run)
    store = store_for(run, asked.store)
    opened, note = open_model(run, store, parse_pair(asked.pair), device=asked.device).calibrated(run)
    tell_chosen(console, opened.pair)
    rows = named_rows(opened.genes, names, str(asked.store))
    if len(rows) > 1 and asked.output.suffix.lower() != ".pdf":
        shown = ", ".join(opened.genes.id[rows])
        raise UsageError(
            f"--output {asked.output}: {len(rows)} genes ({shown}) need a PDF; give a name in .pdf"
        )
    write_pictures(opened, rows, asked.output, asked.by)
    for said in filter(None, (note, direction(opened.pair.cells), opened.without_shift)):
        console.note(said)

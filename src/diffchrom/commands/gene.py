"""``diffchrom gene``: one gene, or several, each in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import completion, options
from diffchrom.config import DEVICES
from diffchrom.errors import UsageError


def gene(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A folder made by `diffchrom train`.", autocompletion=completion.runs
        ),
    ],
    genes: Annotated[
        str, typer.Argument(metavar="GENE[,GENE...]", help="Names or ids; several go into one PDF.")
    ],
    store: options.StoreOption,
    threads: options.ThreadsOption,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.svg|.png|.pdf", help="Write the picture here.")
    ],
    by: Annotated[
        str | None,
        typer.Option(
            metavar="attention|gradient|integrated-gradients|contribution",
            help="What is drawn below the tracks.",
            show_default="contribution, else integrated-gradients",
        ),
    ] = None,
    pair: Annotated[
        str | None, typer.Option(metavar="C,D", help="Another pair of cells.", show_default="the run's own")
    ] = None,
    device: options.DeviceOption = "auto",
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Draw genes: both cells' tracks, what the model weighed, prediction and measurement, perturbation."""
    options.check_choice("--device", device, DEVICES)
    names = options.split_names(genes) or ()
    console = options.start(quiet=quiet, verbose=verbose, threads=threads)
    from diffchrom.files.figures import check_figure_path

    check_figure_path(output, "output")
    from diffchrom.attention.gene_picture import write_pictures
    from diffchrom.deepdiff.opened import open_model
    from diffchrom.pairs.choices import direction, parse_pair
    from diffchrom.pairs.selection import named_rows
    from diffchrom.runs.folder import Run
    from diffchrom.store.store import Store

    made = Run.open(run)
    opened, note = open_model(made, Store(store), parse_pair(pair), device=device).calibrated(made)
    rows = named_rows(opened.genes, names, str(store))
    if len(rows) > 1 and output.suffix.lower() != ".pdf":
        shown = ", ".join(opened.genes.id[rows])
        raise UsageError(f"--output {output}: {len(rows)} genes ({shown}) need a PDF; give a name in .pdf")
    write_pictures(opened, rows, output, by)
    for said in filter(None, (note, direction(opened.pair.cells), opened.without_shift)):
        console.note(said)

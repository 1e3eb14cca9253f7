"""``diffchrom export``: a trained model as one file to hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import completion, options


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A folder made by `train`.", autocompletion=completion.runs)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The model's file.")] = Path(
        "model.diffchrom"
    ),
    card: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write its model card in Markdown, too.")
    ] = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Write a trained model into one file that `predict`, `attend` and `gene` take like its run."""
    console = options.start(quiet=quiet, verbose=verbose)
    from diffchrom.files.whole import write_text
    from diffchrom.runs.card import model_card
    from diffchrom.runs.exporting import write_model
    from diffchrom.runs.folder import Run

    opened = Run.open(run)
    text = model_card(opened.config)
    write_model(opened, output, text)
    if card is not None:
        write_text(card, text)
    console.note(
        f"{output}: {opened.config.method} of {','.join(opened.config.pair)}; it needs marks "
        f"{', '.join(opened.config.marks)}"
    )

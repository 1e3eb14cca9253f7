"""Options of hyper-parameters, which the preset decides unless they are given."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

import typer

from diffchrom.config import (
    AUX_TASKS,
    CONTRASTIVE,
    DEFAULT_PRESET,
    DEFAULT_VARIANT,
    PRECISIONS,
    Hyperparameters,
    hyperparameters,
)


def _preset(name: str, help_text: str, **more: Any) -> Any:
    """An option of the hyper-parameter `name`."""
    default = getattr(hyperparameters(DEFAULT_PRESET, DEFAULT_VARIANT), name)
    return typer.Option(help=help_text, show_default=f"{default}, by variant and preset", **more)


EpochsOption = Annotated[int | None, _preset("epochs", "Most epochs.", min=1)]
BatchSizeOption = Annotated[int | None, _preset("batch_size", "Genes a batch.", min=1)]
LrOption = Annotated[float | None, _preset("lr", "Learning rate.", min=0)]
PatienceOption = Annotated[
    int | None, _preset("patience", "Stop after so many epochs without a better validation r.", min=1)
]
AuxTaskOption = Annotated[
    str | None, _preset("aux_task", "What the auxiliary heads predict.", metavar="|".join(AUX_TASKS))
]
PrecisionOption = Annotated[
    str | None,
    _preset("precision", "Of products while training; see docs/gpu.md.", metavar="|".join(PRECISIONS)),
]
HiddenOption = Annotated[
    int | None, _preset("hidden", "Units of Level I, each direction; Level II has half.", min=2)
]
DropoutOption = Annotated[
    float | None, _preset("dropout", "Share of units dropped after Level I and Level II.", min=0)
]
CellWeightOption = Annotated[float | None, _preset("cell_weight", "Of the cells' losses.", min=0)]
ContrastiveOption = Annotated[
    str | None,
    _preset("contrastive", "Form of the contrast: the code's or the text's.", metavar="|".join(CONTRASTIVE)),
]
ContrastiveWeightOption = Annotated[float | None, _preset("contrastive_weight", "Of the contrast.", min=0)]
ContrastiveDropoutOption = Annotated[
    bool | None, _preset("contrastive_dropout", "Whether the contrast's embeddings have dropout.")
]
MarginOption = Annotated[float | None, _preset("margin", "Distance of genes that change.", min=0)]
ChangeThresholdOption = Annotated[
    float | None, _preset("change_threshold", "|log2fc| of genes that change.", min=0)
]


def given_settings(asked: Any) -> dict[str, Any]:
    """Hyper-parameters among the options, None where the preset decides."""
    return {field.name: getattr(asked, field.name, None) for field in fields(Hyperparameters)}

"""The DeepDiff variants as data (Sekhon, Singh and Qi 2018, section 3 and Figure 3).

One model is built from a row of `VARIANTS`; nothing else in diffchrom knows a variant by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffchrom.errors import check_choice

#: What a sequence of a Level I block is made of: the signal of cell A, of cell B, or A - B.
SOURCES = ("A", "B", "A-B")


@dataclass(frozen=True)
class Variant:
    """One DeepDiff model.

    Attributes
    ----------
    name : str
        As in the paper.
    main : tuple of str
        Sources of the Level I block of the main task (``f1d``); empty where the main task is fed by the
        auxiliary blocks alone.
    auxiliary : bool
        Level I and II blocks for each cell (``f1A``, ``f1B``, ``f2A``, ``f2B``) that also predict that
        cell's expression.
    siamese : bool
        ``f1A`` and ``f1B`` are one shared block, trained with a contrastive loss.
    summary : str
        One line for ``--help``.
    antisymmetric : bool
        The sources of `main` are channels of one sequence a mark, both orders of the cells go through the
        same blocks, and half the difference of the two outputs is the prediction (`antisymmetric`).
    merge : int
        Bins averaged into one step of Level I.
    segments : int
        Segments of the window whose mean signal reaches the head beside Level I and II; 0 for none.
    patterns, pattern_width : int
        Learned patterns of marks whose amount a segment reaches the head as well, and the steps each spans.
    additive : bool
        What marks and windows contribute, weighted by their attention, adds up to the prediction
        (`additive`).
    whole_gene : bool
        Reads every region that the store has, not the bins around the TSS alone.
    reads_covariates : bool
        Whether numbers of a gene are read beside the signal (`pairs.covariates.OF_GENES`).
    cell_shifts : bool
        Whether a model of several pairs learns what the libraries of every cell add, by its covariates.
    settings : mapping
        Where the default preset is another than `config.Hyperparameters` says.
    members : int
        Models that `train` averages unless told otherwise.
    """

    name: str
    main: tuple[str, ...]
    auxiliary: bool
    siamese: bool
    summary: str
    antisymmetric: bool = False
    merge: int = 1
    segments: int = 0
    patterns: int = 0
    pattern_width: int = 1
    additive: bool = False
    whole_gene: bool = False
    reads_covariates: bool = False
    cell_shifts: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    members: int = 1

    def __post_init__(self) -> None:
        if self.siamese and not self.auxiliary:
            raise ValueError("a siamese variant needs the auxiliary blocks")
        if not self.main and not self.auxiliary:
            raise ValueError("a variant without inputs")

    def ensemble_size(self, asked: int | None) -> int:
        """Models that are trained and averaged when `asked` for so many; None is the variant's own number."""
        return asked or self.members


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("raw:d", ("A-B",), False, False, "the difference of the two cells' signals"),
        Variant("raw:c", ("A", "B"), False, False, "both cells' signals, concatenated"),
        Variant("raw", ("A", "B", "A-B"), False, False, "both signals and their difference"),
        Variant("aux", (), True, False, "two cell-specific encoders that also predict expression"),
        Variant("raw+aux", ("A", "B", "A-B"), True, False, "raw, joined with the encoders of aux"),
        Variant("aux+siamese", (), True, True, "aux with one encoder for both cells, contrastive loss"),
        Variant("raw+aux+siamese", ("A", "B", "A-B"), True, True, "raw, joined with aux+siamese"),
        Variant(
            "antisymmetric",
            ("A", "B", "A-B"),
            True,
            False,
            "ours until version 0.1: f(A, B) = -f(B, A); attention beside a dense path, five models averaged",
            antisymmetric=True,
            merge=4,
            segments=10,
            patterns=32,
            pattern_width=5,
            members=5,
        ),
        Variant(
            "additive",
            ("A-B",),
            True,
            False,
            "ours: what marks and windows of the whole gene contribute, by attention; five models averaged",
            antisymmetric=True,
            segments=10,
            patterns=32,
            pattern_width=5,
            additive=True,
            whole_gene=True,
            reads_covariates=True,
            cell_shifts=True,
            settings={
                "hidden": 128,
                "dropout": 0.5,
                "epochs": 12,
                "batch_size": 256,
                "lr": 1e-3,
                "min_steps": 1000,
                "trees": 150,
            },
            members=5,
        ),
    )
}


def get_variant(name: str) -> Variant:
    """Return the variant called `name`; UsageError lists the known ones."""
    check_choice("variant", name, VARIANTS)
    return VARIANTS[name]

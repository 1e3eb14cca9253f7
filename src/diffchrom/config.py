"""Every default, once: presets of training, and where things are looked for.

The command line reads these dataclasses for its help and its defaults; the run folder stores them.
"""

from __future__ import annotations

import math
import os
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from diffchrom.errors import UsageError, check_choice
from diffchrom.genome.regions import DEFAULT_REGIONS
from diffchrom.variants import VARIANTS

DEFAULT_STORE = "diffchrom.h5"
DEFAULT_VARIANT = "additive"
DEFAULT_SPLIT = "chromosome"
STORE_VARIABLE = "DIFFCHROM_STORE"

AUX_TASKS = ("regression", "classification")
#: And one card of several, ``cuda:N``.
DEVICES = ("auto", "cpu", "cuda")
#: What can be done against differences in depth between cells: nothing, or quantile normalisation.
NORMALISE = ("none", "quantile")


def usual_normalise(*, several: bool) -> str:
    """One of `NORMALISE`, where none was asked for: of several pairs, or held-out cells, that which helps."""
    return NORMALISE[several]


PRECISIONS = ("float32", "bfloat16", "float16")
CONTRASTIVE = ("squared", "paper")
#: Hyper-parameters that are one of a few words.
CHOICES = {
    "aux_task": AUX_TASKS,
    "precision": PRECISIONS,
    "transform": ("raw", "log1p"),
    "contrastive": CONTRASTIVE,
    "schedule": ("one-cycle", "constant"),
}
#: How often `compare` draws the test genes.
RESAMPLES = 2000


#: In the working folder: defaults of what every command would be told again, and their types.
DEFAULTS_FILE = Path("diffchrom.toml")
FOLDER_DEFAULTS = {"store": str, "pair": str, "threads": int}
_LARGEST_DEFAULTS = 1 << 16


def folder_defaults() -> dict[str, Any]:
    """Return what `DEFAULTS_FILE` sets; empty where there is none.

    Raises
    ------
    UsageError
        When it is no TOML, has another key, or a value of another type.
    """
    if not DEFAULTS_FILE.is_file():
        return {}
    try:
        with DEFAULTS_FILE.open("rb") as file:
            values = tomllib.loads(file.read(_LARGEST_DEFAULTS).decode())
    except (OSError, ValueError) as error:
        raise UsageError(f"{DEFAULTS_FILE}: not readable as TOML ({error})") from error
    for key, value in values.items():
        if key not in FOLDER_DEFAULTS:
            raise UsageError(f"{DEFAULTS_FILE}: {key!r:.40} is no default; set {', '.join(FOLDER_DEFAULTS)}")
        if type(value) is not FOLDER_DEFAULTS[key] or value in ("", 0):
            wanted = "a text" if FOLDER_DEFAULTS[key] is str else "a whole number from 1 on"
            raise UsageError(f"{DEFAULTS_FILE}: {key} is {value!r:.40}; give {wanted}")
    return values


def check_device(name: str) -> None:
    """Refuse what no device may be called, wherever there is one."""
    kind, _, number = name.partition(":")
    if not (kind == "cuda" and number.isdecimal() and number.isascii()):
        check_choice("device", name, DEVICES, "cuda:N")


def default_store() -> str:
    """Path of the store used when none is given."""
    return os.environ.get(STORE_VARIABLE) or folder_defaults().get("store", DEFAULT_STORE)


@dataclass(frozen=True)
class Hyperparameters:
    """Everything that decides what `train` computes, apart from the data and the variant.

    Attributes
    ----------
    hidden : int
        D of Level I, each direction; Level II has half of it (32 and 16 in the paper).
    transform : str
        ``raw`` or ``log1p`` of the binned signal.
    standardise : bool
        Scale each mark with the training genes' mean and standard deviation over both cells.
    contrastive : str
        ``squared`` (the released code: (1-S) R^2 + S max(0, m-R)^2) or ``paper`` (with R/2 and a half).
    contrastive_weight, margin, change_threshold : float
        Weight of the contrastive loss, its margin m, and |log2fc| from which S = 1.
    contrastive_dropout : bool
        Whether R is that of embeddings some of whose units were dropped, while there is dropout.
    init_range : float or None
        All weights uniform(-init_range, init_range); None is PyTorch's own initialisation.
    precision : str
        ``float32``; on CUDA also ``float16``, of all products while training, with a scaled loss, or
        ``bfloat16``, of products outside of the LSTMs, which cuDNN has not in it.
    dropout : float
        On the Level I embeddings and on Level II's output (and in the dense path), while training.
    schedule : str
        Of the learning rate: ``one-cycle`` (linear to `lr` over the first tenth of the steps, then half a
        cosine to 0) or ``constant``.
    min_batches : int
        Fewest batches an epoch; with few training genes batches are smaller than `batch_size`.
    min_steps : int
        Fewest optimiser steps; with few training genes there are more than `epochs` epochs.
    cell_weight : float
        Weight of the auxiliary losses.
    weight_by_se : bool
        Weigh training genes by 1 / (se^2 + tau^2) of their log2fc (`label_noise.inverse_variance_weights`).
    ensemble : int or None
        Models that differ in their seed and are averaged; None is the variant's own number.
    trees : int
        Boosted trees of each additive model; 0 is none.
    score_scale, sparsity, input_dropout, pattern_dropout : float
        Of the additive variant: c of the attention's scores, kappa of the penalty on contributions, and the
        shares of windows and of patterns that a gene goes without while training.
    """

    hidden: int = 32
    transform: str = "log1p"
    standardise: bool = True
    epochs: int = 10
    batch_size: int = 64
    lr: float = 1e-3
    patience: int = 20
    clip_norm: float = 1.0
    dropout: float = 0.4
    init_range: float | None = None
    contrastive: str = "squared"
    contrastive_weight: float = 1.0
    margin: float = 2.0
    change_threshold: float = 2.0
    contrastive_dropout: bool = True
    aux_task: str = "regression"
    precision: str = "float32"
    schedule: str = "one-cycle"
    min_batches: int = 16
    min_steps: int = 600
    cell_weight: float = 0.3
    weight_by_se: bool = False
    ensemble: int | None = None
    trees: int = 0
    score_scale: float = 5.0
    sparsity: float = 2.6
    input_dropout: float = 0.2
    pattern_dropout: float = 0.2

    def batch_of(self, n_genes: int) -> int:
        """Genes a batch, of `n_genes` training genes."""
        return min(self.batch_size, max(1, n_genes // self.min_batches))

    def epochs_of(self, n_genes: int) -> int:
        """Most epochs, with `n_genes` training genes."""
        return max(self.epochs, math.ceil(self.min_steps / math.ceil(n_genes / self.batch_of(n_genes))))

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return asdict(self)


DEFAULT_PRESET, PUBLISHED_PRESET = "default", "published"
_PUBLISHED = Hyperparameters(
    transform="raw",
    standardise=False,
    epochs=90,
    batch_size=10,
    lr=1e-4,
    patience=90,
    clip_norm=1.0,
    dropout=0.0,
    init_range=0.1,
    contrastive="squared",
    contrastive_weight=4.0,
    schedule="constant",
    min_batches=1,
    min_steps=0,
    cell_weight=1.0,
    ensemble=1,
)
#: ``published`` follows the authors' released code, from which the paper's figures came; ``paper`` its text,
#: where that says otherwise.
PRESETS = {
    DEFAULT_PRESET: Hyperparameters(),
    PUBLISHED_PRESET: _PUBLISHED,
    "paper": replace(
        _PUBLISHED, dropout=0.5, contrastive="paper", contrastive_weight=1.0, contrastive_dropout=False
    ),
}


def hyperparameters(preset: str, variant: str = "", **changes: Any) -> Hyperparameters:
    """Return the preset's hyper-parameters with those of `changes` that are not None put in place.

    Parameters
    ----------
    variant : the default preset has values of its own for some; empty is none of them.

    Raises
    ------
    UsageError
        For a preset that is none, and a word or size that a hyper-parameter cannot be.
    """
    check_choice("preset", preset, PRESETS)
    own = VARIANTS[variant].settings if preset == DEFAULT_PRESET and variant in VARIANTS else {}
    given = {name: value for name, value in changes.items() if value is not None}
    if "epochs" in given:  # whoever says how many epochs means it
        given.setdefault("min_steps", 0)
    for name, words in CHOICES.items():
        check_choice(name, given.get(name, words[0]), words)
    if given.get("hidden", 2) < 2 or given.get("hidden", 2) % 2:
        raise UsageError(f"`hidden={given['hidden']}`: Level II has half of it; give an even number")
    if not 0 <= given.get("dropout", 0) < 1:
        raise UsageError(f"`dropout={given['dropout']}`: a share from 0 to below 1")
    return replace(PRESETS[preset], **{**own, **given})


@dataclass(frozen=True)
class PrepareDefaults:
    """What `prepare` does unless told otherwise.

    Attributes
    ----------
    flank, bin_size : int
        Bases on each side of the anchor; bases a bin.
    orient : str
        ``transcription`` or ``genome``.
    regions : tuple of str
        Stored for every track.
    biotype : str
        Genes kept, where the annotation names biotypes.
    min_coverage : float
        Share of a window's bases that must have data in a dense track for the gene to be kept.
    dense_share : float
        A track is dense when at least this share of the windows it touches have that much data.
    control : str
        ``subtract`` or ``log-ratio``.
    count : str
        ``overlap`` (a read counts in each bin it overlaps) or ``start`` (in the bin of its 5' end).
    extend : int
        Bases that each read is extended to from its 5' end; 0 leaves it as aligned.
    min_mapq : int
        Reads of lower mapping quality are left out.
    time_limit : float
        Seconds one track may take.
    """

    flank: int = 10_000
    bin_size: int = 100
    orient: str = "transcription"
    regions: tuple[str, ...] = DEFAULT_REGIONS
    biotype: str = "protein_coding"
    split: str = DEFAULT_SPLIT
    min_coverage: float = 0.9
    dense_share: float = 0.5
    control: str = "subtract"
    count: str = "overlap"
    extend: int = 0
    min_mapq: int = 1
    blacklist_mode: str = "mask"
    time_limit: float = 1800.0


PREPARE = PrepareDefaults()

"""A run: a folder with one trained model or fitted baseline (docs/runs.md).

``config.json`` says everything needed to use it again, ``predictions.tsv`` what it predicts for the genes of
its own pair; models add ``model.safetensors`` and ``history.tsv``, baselines ``fitted.safetensors``. Nothing
is pickled; every file is written whole or not at all.
"""

from __future__ import annotations

import json
import math
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom._version import __version__
from diffchrom.errors import OutputError, RunError
from diffchrom.files.tables import write_table
from diffchrom.files.whole import output_text, write_text
from diffchrom.genome.genes import Window
from diffchrom.genome.layout import Layout
from diffchrom.genome.regions import REGION_NAMES, TSS, region_of
from diffchrom.pairs.covariates import has_prior
from diffchrom.runs.handed_on import read_config

RUN_FORMAT = "diffchrom-run"
RUN_FORMAT_VERSION = 1

CONFIG = "config.json"
MODEL = "model.safetensors"
FITTED = "fitted.safetensors"
HISTORY = "history.tsv"
SIGNAL = "signal.safetensors"
PREDICTIONS = "predictions.tsv"
#: Under which name `RunConfig.details` has the calibration of intervals for cells that a run has not seen.
UNSEEN = "calibration_unseen"

#: Columns of the line that `train` and `baseline` print for a run.
SUMMARY_COLUMNS = ("run", "variant", "pair", "split", "n", "pearson", "spearman", "mse")

TRAINING, FINISHED = "training", "finished"
MAX_CONFIG_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class RunConfig:
    """Content of ``config.json``.

    Attributes
    ----------
    kind : str
        ``deepdiff`` (a variant) or ``baseline``.
    variant : str
        Name of the variant or of the baseline's method.
    preset : str
        Name of the preset; empty for baselines at their default one.
    pair, marks : cells A and B; marks in the model's order.
    window : flank, bin_size and orient of the store it was trained on.
    regions : name of every region that it reads to `Region.digest`; empty for an older run, which reads the
        bins around the TSS.
    split : name of the split.
    unit : unit of the expression behind the labels.
    seed : int
    hyperparameters : what decides the computation, apart from data and variant.
    store : path, fingerprint (of all about the pair's two cells), signals (digest of those that were read)
        and n_genes of the store it was trained on.
    transform : `Transform.to_dict`, or empty.
    status : ``training`` or ``finished``.
    metrics : part of the split (train, valid, test) to metric to value; None where undefined.
    details : whatever else there is to tell (best epoch, class medians, device, ...).
    versions : of diffchrom, Python and the libraries that compute.
    covariates : names of the numbers of genes that it reads beside the signal.
    folds : number of runs ``fold-1``, ``fold-2``, ... inside a cross-validation; 0 for any other run.
    pairs : all that it learnt from, `pair` first; empty where that is all it is for (`PairSet.single`).
    held_out : cells that it was kept from, to be judged on them.
    normalise : of `config.NORMALISE`.
    """

    kind: str
    variant: str
    preset: str
    pair: tuple[str, str]
    marks: tuple[str, ...]
    window: Window
    split: str
    unit: str
    seed: int
    hyperparameters: Mapping[str, Any]
    store: Mapping[str, Any]
    regions: Mapping[str, str] = field(default_factory=dict)
    transform: Mapping[str, Any] = field(default_factory=dict)
    status: str = TRAINING
    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    covariates: tuple[str, ...] = ()
    folds: int = 0
    pairs: tuple[tuple[str, str], ...] = ()
    held_out: tuple[str, ...] = ()
    normalise: str = "none"

    @property
    def learnt(self) -> tuple[tuple[str, str], ...]:
        """Pairs of cells that it learnt from."""
        return self.pairs or (self.pair,)

    @property
    def layout(self) -> Layout:
        """What the last axis of its signal is; RunError where its windows are not those of this version."""
        names = tuple(self.regions) or (TSS,)
        rules = tuple(region_of(name, self.window) for name in names if name in REGION_NAMES)
        if self.regions and {rule.name: rule.digest for rule in rules} != self.regions:
            raise RunError("its regions have other windows in this diffchrom; fit the run again")
        return Layout(rules, self.window.orient)

    @property
    def method(self) -> str:
        """Variant or baseline, as tables call it: with what it reads beside the pair's own data."""
        return f"{self.variant} + gene prior" if has_prior(self.covariates) else self.variant

    def to_json(self) -> str:
        """Text of ``config.json``; NaN becomes null."""
        values = {"format": RUN_FORMAT, "format_version": RUN_FORMAT_VERSION} | asdict(self)
        return json.dumps(_without_nan(values), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Inverse of `to_json`; ValueError, KeyError or TypeError where the text is none of ours."""
        values = json.loads(text)
        if values.pop("format") != RUN_FORMAT:
            raise ValueError("not a diffchrom run")
        values.pop("format_version")
        pair, marks = tuple(map(str, values.pop("pair"))), tuple(map(str, values.pop("marks")))
        pairs = tuple(tuple(map(str, cells)) for cells in values.pop("pairs", ()))
        held_out = tuple(map(str, values.pop("held_out", ())))
        window = Window(**values.pop("window"))
        covariates = tuple(map(str, values.pop("covariates", ())))
        known = {item.name for item in fields(cls)}
        if any(len(cells) != 2 for cells in (pair, *pairs)):
            raise ValueError("a pair is two cells")
        return cls(
            pair=(pair[0], pair[1]),
            marks=marks,
            window=window,
            covariates=covariates,
            pairs=tuple((first, second) for first, second in pairs),
            held_out=held_out,
            **{name: value for name, value in values.items() if name in known},
        )


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@cache
def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)


def library_versions(*modules: str) -> dict[str, str]:
    """Versions of diffchrom, Python, numpy and further distributions, for ``config.json``."""
    named = {name: _version(name) for name in ("numpy", *modules)}
    return {"diffchrom": __version__, "python": platform.python_version()} | named


@dataclass(frozen=True)
class Run:
    """A run folder, or a model in one file (`handed_on`); `Run.open` reads an existing one."""

    path: Path
    config: RunConfig

    @classmethod
    def open(cls, path: str | Path, *, unfinished: bool = False) -> Run:
        """Read a run's configuration, from its folder or from a model's file.

        Raises
        ------
        RunError
            No such folder, no or broken ``config.json``, a newer format, or (unless `unfinished`) a run whose
            training has not ended.
        """
        path = Path(path)
        file = path / CONFIG
        handed_on = path.is_file()
        if not (handed_on or file.is_file()):
            what = "has no config.json" if path.is_dir() else "no such run folder"
            raise RunError(f"{path}: {what}; give the folder that `diffchrom train` made")
        try:
            if not handed_on and file.stat().st_size > MAX_CONFIG_BYTES:
                raise ValueError("impossibly large")
            text = read_config(path) if handed_on else file.read_text(encoding="utf-8")
            version = int(json.loads(text)["format_version"])
            if version > RUN_FORMAT_VERSION:
                raise RunError(
                    f"{path}: run format {version} is newer than this diffchrom reads "
                    f"({RUN_FORMAT_VERSION}); upgrade diffchrom"
                )
            config = RunConfig.from_json(text)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())
            what = f"{path}: not a diffchrom model ({reason}); export it again"
            if not handed_on:
                what = f"{file}: not a diffchrom run's configuration ({reason}); train it again"
            raise RunError(what) from error
        if config.status != FINISHED and not unfinished:
            raise RunError(
                f"{path}: has not ended; go on with the command that made it, `resume` and `out={path}`"
            )
        return cls(path, config)

    @property
    def weights(self) -> Path:
        """File with the model's weights."""
        return self.path if self.path.is_file() else self.path / MODEL

    def save_config(self) -> None:
        """Write ``config.json``."""
        write_text(self.path / CONFIG, self.config.to_json())

    def save_predictions(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write ``predictions.tsv``; `columns` come from `prediction_columns`."""
        with output_text(self.path / PREDICTIONS) as stream:
            write_table(stream, columns)

    def summary(self, part: str = "test") -> tuple[Any, ...]:
        """Values of `SUMMARY_COLUMNS` for one part of the split."""
        metrics = self.config.metrics.get(part, {})
        n = metrics.get("n")
        return (
            str(self.path),
            self.config.method,
            ",".join(self.config.pair),
            part,
            None if n is None else int(n),
            *(metrics.get(name) for name in SUMMARY_COLUMNS[5:]),
        )


def new_run_folder(out: str | Path | None, default_name: str, *, force: bool = False) -> Path:
    """Choose and make the folder of a new run.

    Without `out` it is ``runs/NAME``, numbered (``NAME-2``, ...) where that is taken. A folder that was named
    explicitly is replaced where it holds a run and `force` is given; anything else in it never is.

    Raises
    ------
    OutputError
        When `out` is taken, or cannot be made.
    """
    if out is None:
        name = default_name.replace(":", "-").replace("/", "-")
        path, number = Path("runs") / name, 1
        while path.exists():
            number += 1
            path = Path("runs") / f"{name}-{number}"
    else:
        path = Path(out)
    try:
        if (path / CONFIG).is_file():
            if not force:
                unfinished = not is_finished(path) and not is_broken(path)
                remedy = "`resume` to go on with it" if unfinished else "choose another `out`"
                what = "holds an unfinished run" if unfinished else "exists already"
                raise OutputError(f"{path}: {what}; {remedy}, or `force` to replace that run")
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise OutputError(f"{path}: holds something else than a run; choose another `out`")
    except FileExistsError as error:
        raise OutputError(f"{path}: is a file, no folder; choose another `out`") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be made ({error.strerror or error})") from error
    return path


def is_broken(folder: Path) -> bool:
    """Whether a run folder was copied or written halfway: no readable config.json, or files missing."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config.get("status") != FINISHED:
            return False
        has_model = config.get("kind") == "deepdiff" and not config.get("folds")
        files = (MODEL, PREDICTIONS) if has_model else (PREDICTIONS,)
        return not all((folder / name).is_file() for name in files)
    except FileNotFoundError:
        return False  # an empty folder, or one that holds no run: the job itself copes
    except (OSError, ValueError, AttributeError):
        return True


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    try:
        return Run.open(folder, unfinished=True).config.status == FINISHED
    except RunError:
        return False


def run_name(pair: Sequence[str], method: str, preset: str, seed: int) -> str:
    """Name of a run that was given none; a colon, which paths should not have, becomes a dash."""
    parts = ("-".join(pair), method.replace(":", "-"), preset, f"seed{seed}")
    return ".".join(part for part in parts if part)

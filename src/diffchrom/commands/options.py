"""Options that several commands share, written once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from diffchrom.commands import completion
from diffchrom.commands.console import Console
from diffchrom.config import DEVICES, default_store, is_device
from diffchrom.errors import UsageError, did_you_mean
from diffchrom.genome.regions import TSS
from diffchrom.processes.machine import THREAD_VARIABLES, available_threads

StoreOption = Annotated[
    Path,
    typer.Option(
        "--store",
        default_factory=default_store,
        show_default="diffchrom.h5 or $DIFFCHROM_STORE",
        help="The store.",
    ),
]
STDOUT = Path("-")
OutputOption = Annotated[
    Path,
    typer.Option(
        "--output", "-o", show_default="stdout", help="Write here instead of stdout; NAME.gz is gzipped."
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", help="Name of a split in the store.", autocompletion=completion.splits),
]
FoldsOption = Annotated[
    int,
    typer.Option(
        "--folds",
        min=0,
        metavar="K",
        help="Cross-validate over K folds of whole chromosomes; given again, finished folds are kept.",
        show_default="one split",
    ),
]
UnitOption = Annotated[
    str | None, typer.Option("--unit", help="Unit of expression, where the store has several.")
]
MarksOption = Annotated[
    str | None,
    typer.Option(
        "--marks",
        metavar="M1,M2,...",
        help="Marks to use, in this order; default all.",
        autocompletion=completion.marks,
    ),
]
GenePriorOption = Annotated[
    bool,
    typer.Option("--gene-prior", help="Read a gene's expression in cells other than A and B, too."),
]
RegionsOption = Annotated[
    str | None,
    typer.Option(
        "--regions",
        metavar="R1,R2,...",
        help="Regions to read, of what reads more than the bins around the TSS.",
        show_default="all in the store",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="|".join((*DEVICES, "cuda:N")),
        help="Where to compute.",
        autocompletion=completion.devices,
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        "--threads", min=1, default_factory=available_threads, show_default="all cores", help="Cores to use."
    ),
]
DaskOption = Annotated[
    str | None,
    typer.Option("--dask", metavar="ADDRESS", help="Work on the Dask cluster with this scheduler."),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Nothing on stderr but warnings and errors.")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="More on stderr.")]


def split_names(value: str | None) -> tuple[str, ...] | None:
    """Turn ``a,b,c`` into a tuple; None stays None."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names or len(set(names)) != len(names):
        raise UsageError(f"{value!r}: give names with commas between them, each once")
    return names


def check_regions(regions: str | None, readers: Mapping[str, bool]) -> None:
    """Refuse ``--regions`` where none of the models asked for reads more than the bins around the TSS."""
    if any(name != TSS for name in split_names(regions) or ()) and not any(readers.values()):
        raise UsageError(f"--regions {regions}: {', '.join(readers)} reads the bins around the TSS alone")


def check_prior(gene_prior: bool, readers: Mapping[str, bool]) -> None:
    """Refuse ``--gene-prior`` where none of the models asked for reads it."""
    if gene_prior and not any(readers.values()):
        raise UsageError(
            f"--gene-prior: {', '.join(readers)} reads signal alone; train --variant additive, and baseline "
            "--method ridge, random-forest and gradient-boosting read it"
        )


def check_folds(folds: int, split: str | None) -> None:
    """Refuse ``--folds`` together with ``--split``."""
    if folds and split:
        raise UsageError("--folds makes its own splits; leave out --split")


def listed(values: list[str] | None, *, commas: bool = True) -> tuple[str, ...] | None:
    """Names of an option that takes several: given again, or with spaces (or commas) between them."""
    if not values:
        return None
    words = " ".join(values)
    return tuple((words.replace(",", " ") if commas else words).split())


def was_given(context: typer.Context, name: str) -> bool:
    """Whether the parameter was named on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> str:
    """Return `value`, or raise UsageError with the choices there are."""
    if value not in choices:
        raise UsageError(
            f"{option} {value}: unknown; choose one of {', '.join(choices)}{did_you_mean(value, choices)}"
        )
    return value


def check_device(name: str) -> None:
    """Refuse what is the name of no device."""
    if not is_device(name):
        check_choice("--device", name, (*DEVICES, "cuda:N"))


def start(*, quiet: bool, verbose: bool, threads: int | None = None) -> Console:
    """Set the number of threads of everything imported later, and return the console to report to."""
    if threads is not None:
        for variable in THREAD_VARIABLES:
            os.environ[variable] = str(threads)
    return Console(quiet=quiet, verbose=verbose)

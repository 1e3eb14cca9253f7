"""Options that several commands share, written once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from diffchrom._version import __version__
from diffchrom.commands import completion
from diffchrom.commands.console import Console
from diffchrom.config import DEVICES, default_store
from diffchrom.errors import UsageError
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
#: Of a run's split.
PARTS = ("train", "valid", "test", "all")
PartOption = Annotated[
    str, typer.Option("--split", metavar="|".join(PARTS), help="Genes of this part of the run's split only.")
]
GenesOption = Annotated[
    Path | None,
    typer.Option("--genes", help="Only the genes of this file: ids or names in its first column."),
]
OtherPairOption = Annotated[
    str | None,
    typer.Option("--pair", metavar="C,D", help="Another pair of cells.", show_default="the run's own"),
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
GenePriorOption = Annotated[
    bool, typer.Option("--gene-prior", help="Read a gene's expression in cells other than A and B, too.")
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
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="On stderr: what is chosen and read, and what it takes.")
]


def split_names(value: str | None) -> tuple[str, ...] | None:
    """Turn ``a,b,c`` into a tuple; None stays None."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names or len(set(names)) != len(names):
        raise UsageError(f"{value!r}: give names with commas between them, each once")
    return names


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


def start(*, quiet: bool, verbose: bool, threads: int | None = None) -> Console:
    """Set the number of threads of everything imported later, and return the console to report to."""
    if threads is not None:
        for variable in THREAD_VARIABLES:
            os.environ[variable] = str(threads)
    console = Console(quiet=quiet, verbose=verbose)
    python = ".".join(map(str, sys.version_info[:3]))
    console.detail(f"diffchrom {__version__}, Python {python}" + (f", threads {threads}" if threads else ""))
    return console

"""The command line: its commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from diffchrom._version import __version__
from diffchrom.commands.attend import attend
from diffchrom.commands.baseline import BaselineCommand, baseline
from diffchrom.commands.compare import compare
from diffchrom.commands.defaults import default_map
from diffchrom.commands.demo import demo
from diffchrom.commands.details import taken
from diffchrom.commands.export import export
from diffchrom.commands.gene import gene
from diffchrom.commands.greedy import OnceCommand
from diffchrom.commands.info import info
from diffchrom.commands.predict import predict
from diffchrom.commands.prepare import PrepareCommand, prepare
from diffchrom.commands.report import report
from diffchrom.commands.spelling import as_options
from diffchrom.commands.sweep import SweepCommand, sweep
from diffchrom.commands.train import train
from diffchrom.errors import DiffchromError
from diffchrom.files.text import printable

DEBUG = "--debug"
INTERRUPTED = 130

app = typer.Typer(
    name="diffchrom",
    help="Which genes change expression between two cell types, and which histone marks say so.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help in plain text: importing rich would double the time it takes
    epilog="docs/glossary.md says what raw:d, alpha, beta and block mean. diffchrom.toml in the working "
    "folder may set store, pair and threads.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"diffchrom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show a traceback when something fails.")] = False,
) -> None:
    pass  # --debug is taken out of the arguments in `main`, so that it may stand anywhere


def _fail(message: str, code: int) -> typer.Exit:
    print(printable(f"diffchrom: {as_options(message)}"), file=sys.stderr)
    return typer.Exit(code)


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that what it raises ends as one line on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
            if kwargs.get("verbose"):
                print(f"diffchrom: {taken()}", file=sys.stderr)
        except BrokenPipeError:
            # The reader has what it wants (`| head`); keep the interpreter from complaining on exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            on = "; the same command with --resume goes on where it was" if "resume" in kwargs else ""
            raise _fail(f"interrupted{on}", INTERRUPTED) from None
        except DiffchromError as error:
            if os.environ.get("DIFFCHROM_DEBUG"):
                raise
            raise _fail(" ".join(str(error).split()), error.exit_code) from None
        except MemoryError:
            raise _fail("out of memory; use fewer --threads or a smaller store", 1) from None
        except OSError as error:
            if os.environ.get("DIFFCHROM_DEBUG"):
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise _fail(f"{where}{error.strerror or error}", 1) from None

    return run


app.command(cls=PrepareCommand)(guarded(prepare))
app.command(cls=SweepCommand)(guarded(sweep))
app.command(cls=BaselineCommand)(guarded(baseline))
for _command in (train, predict, attend, gene, export, compare, demo, info, report):
    app.command(cls=OnceCommand)(guarded(_command))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; `arguments` are those of the process unless given."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if DEBUG in words:
        words.remove(DEBUG)
        os.environ["DIFFCHROM_DEBUG"] = "1"
    try:
        defaults = default_map()
    except DiffchromError as error:
        sys.exit(_fail(str(error), error.exit_code).exit_code)
    app(words, prog_name="diffchrom", default_map=defaults)

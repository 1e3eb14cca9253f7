"""What can go wrong, as exceptions that `cli.py` alone turns into messages and exit codes.

Every message is one line that names the file (and the record), says what is wrong and what to do. It names
fields as Python does, between backticks: `split`, `split=random`, `prepare_store(expression=...)`; notes and
warnings to a `progress.Reporter` do, too. The command line alone spells them as options.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def did_you_mean(unknown: str | Sequence[str], known: Iterable[str]) -> str:
    """Return ``; did you mean X?`` for names that are nearly those of something known; else nothing."""
    import difflib

    names = {name.casefold(): name for name in map(str, known)}
    wanted = [unknown] if isinstance(unknown, str) else unknown
    near = [difflib.get_close_matches(name.casefold(), names, n=1, cutoff=0.6) for name in wanted]
    meant = list(dict.fromkeys(names[match] for matches in near for match in matches))
    return f"; did you mean {', '.join(meant)}?" if meant else ""


class DiffchromError(Exception):
    """Base of every error the library raises on purpose; exit code 1."""

    exit_code = 1


class InputError(DiffchromError):
    """A file or table given by the user is missing, broken, or not what it should be."""


class StoreError(DiffchromError):
    """A store is missing, broken, newer than this version, or lacks what was asked for."""


class RunError(DiffchromError):
    """A run folder is missing, broken, newer than this version, or does not fit the store."""


class OutputError(DiffchromError):
    """A result could not be written."""


class UsageError(DiffchromError):
    """Options that contradict each other or name something unknown; exit code 2."""

    exit_code = 2


def check_choice(field: str, value: object, choices: Iterable[str], *forms: str) -> None:
    """Raise UsageError for a value of a field that is none of the choices, with these and further `forms`."""
    known = tuple(choices)
    if value not in known:
        near = did_you_mean(str(value), known)
        raise UsageError(f"`{field}={value}`: unknown; choose one of {', '.join(known + forms)}{near}")


def for_each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what `function` makes of each item.

    Raises
    ------
    DiffchromError
        One that has the messages of all items that failed, so that several files are mended at once.
    """
    results: list[Result] = []
    wrong: list[DiffchromError] = []
    for item in items:
        try:
            results.append(function(item))
        except DiffchromError as error:
            wrong.append(error)
    if wrong:
        raise type(wrong[0])("; ".join(dict.fromkeys(map(str, wrong)))) from wrong[0]
    return results

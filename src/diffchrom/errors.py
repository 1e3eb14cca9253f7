"""What can go wrong, as exceptions that `cli.py` alone turns into messages and exit codes.

Every message is one line that names the file (and the record), says what is wrong and what to do. Where it
names
a field that a caller gives, as ``§split``, whoever shows it spells that for its reader: ``--split`` at the
shell (`for_shell`), ``split`` in Python.
"""

import re
from collections.abc import Iterable, Sequence

_FIELD = re.compile(r"§([a-z_]+)")


def for_shell(message: str) -> str:
    """Spell the fields that a message names as options."""
    return _FIELD.sub(lambda field: "--" + field[1].replace("_", "-"), message)


def for_python(message: str) -> str:
    """Spell the fields that a message names as parameters."""
    return _FIELD.sub(r"\1", message)


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

    def __str__(self) -> str:
        return for_python(super().__str__())

    def __format__(self, spec: str) -> str:
        # Inside another message, fields stay fields.
        return format(super().__str__(), spec)


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

"""What can go wrong, as exceptions that `cli.py` alone turns into messages and exit codes.

Every message is one line that names the file (and the record), says what is wrong and what to do.
"""


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

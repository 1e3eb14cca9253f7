"""Reading text tables line by line with bounded memory and errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from diffchrom.errors import InputError
from diffchrom.files.whole import open_text

CHUNK_CHARACTERS = 1 << 22
# No line of a gene annotation or of an expression table comes near this; a file without newlines does.
MAX_LINE_CHARACTERS = 1 << 24


def words(text: str) -> frozenset[str]:
    """Return the words of `text` as a set."""
    return frozenset(text.split())


def printable(text: str) -> str:
    """Return `text` with what a terminal would obey, or turn round, written out: names are the user's."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def text_blocks(path: str | Path, what: str) -> Iterator[tuple[int, str]]:
    """Read a text file (gzipped or not) in blocks of whole lines.

    Yields
    ------
    (number, text)
        1-based number of the block's first line, and its lines, with newlines between them only.
    """
    number, rest = 1, ""
    with open_text(path, what) as text:
        while block := text.read(CHUNK_CHARACTERS):
            end = block.rfind("\n")
            if end < 0:
                rest += block
                if len(rest) > MAX_LINE_CHARACTERS:
                    raise InputError(
                        f"{path}:{number}: a line of more than {MAX_LINE_CHARACTERS} characters; "
                        f"is this a {what}?"
                    )
                continue
            whole = rest + block[:end]
            rest = block[end + 1 :]
            yield number, whole
            number += whole.count("\n") + 1
    if rest:
        yield number, rest


def numbered_lines(path: str | Path, what: str) -> Iterator[tuple[int, str]]:
    """Yield (1-based number, line without its end) of a text file."""
    for first, text in text_blocks(path, what):
        yield from enumerate(text.split("\n"), first)


def peek_lines(
    path: str | Path, what: str, n: int = 200
) -> tuple[list[tuple[int, str]], Iterator[tuple[int, str]]]:
    """Return the first `n` numbered lines, and all of them: a file is read once, so that it may be a pipe."""
    lines = numbered_lines(path, what)
    head = list(islice(lines, n))
    return head, chain(head, lines)


def table_rows(
    path: str | Path, lines: Iterable[tuple[int, str]], delimiter: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield (1-based line number, fields) of a delimited table; quotes are honoured, blank lines skipped."""
    number = 0

    def texts() -> Iterator[str]:
        nonlocal number
        for number, line in lines:  # noqa: B007 - the reader's caller wants the number
            yield line + "\n"

    reader = csv.reader(texts(), delimiter=delimiter, skipinitialspace=delimiter == " ")
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                yield number, row
    except csv.Error as error:
        raise InputError(f"{path}:{number}: not a readable table line ({error})") from error


def guess_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter of a table from its first lines: tab, else comma, semicolon, or blanks."""
    for delimiter in ("\t", ",", ";"):
        if any(delimiter in line for line in lines):
            return delimiter
    return " "

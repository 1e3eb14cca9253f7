"""Reading text tables line by line with bounded memory and errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from diffchrom.errors import InputError
from diffchrom.files import open_text

CHUNK_CHARACTERS = 1 << 22
# No line of a gene annotation or of an expression table comes near this; a file without newlines does.
MAX_LINE_CHARACTERS = 1 << 24


def words(text: str) -> frozenset[str]:
    """Return the words of `text` as a set."""
    return frozenset(text.split())


def line_chunks(path: str | Path, what: str) -> Iterator[tuple[int, list[str]]]:
    """Read a text file (gzipped or not) in chunks of whole lines.

    Yields
    ------
    (number, lines)
        1-based number of the first line of the chunk, and the lines without their ends.
    """
    number, rest = 1, ""
    with open_text(path, what) as text:
        while block := text.read(CHUNK_CHARACTERS):
            lines = (rest + block).split("\n")
            rest = lines.pop()
            if len(rest) > MAX_LINE_CHARACTERS:
                raise InputError(
                    f"{path}:{number + len(lines)}: a line of more than {MAX_LINE_CHARACTERS} characters; "
                    f"is this a {what}?"
                )
            if lines:
                yield number, lines
            number += len(lines)
    if rest:
        yield number, [rest]


def numbered_lines(path: str | Path, what: str) -> Iterator[tuple[int, str]]:
    """Yield (1-based number, line without its end) of a text file."""
    for first, lines in line_chunks(path, what):
        yield from enumerate(lines, first)


def table_rows(path: str | Path, what: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (1-based line number, fields) of a delimited table; quotes are honoured, blank lines skipped."""
    numbers = [0]

    def lines() -> Iterator[str]:
        for number, line in numbered_lines(path, what):
            numbers[0] = number
            yield line + "\n"

    reader = csv.reader(lines(), delimiter=delimiter, skipinitialspace=delimiter == " ")
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                yield numbers[0], row
    except csv.Error as error:
        raise InputError(f"{path}:{numbers[0]}: not a readable table line ({error})") from error


def guess_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter of a table from its first lines: tab, else comma, semicolon, or blanks."""
    for delimiter in ("\t", ",", ";"):
        if any(delimiter in line for line in lines):
            return delimiter
    return " "


def first_lines(path: str | Path, what: str, n: int) -> list[tuple[int, str]]:
    """Return the first `n` of `numbered_lines`."""
    return list(islice(numbered_lines(path, what), n))

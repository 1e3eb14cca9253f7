"""Which cell a column of an expression table is, and which columns are replicates of one."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from diffchrom.errors import InputError, UsageError
from diffchrom.expression.dialects import guess_unit

_REPLICATE = re.compile(
    r"^(?P<cell>.+?)[-_. ](?P<replicate>(?:rep|replicate|biorep|br)[-_.]?\d+|r\d{1,3})$", re.IGNORECASE
)
_REPLICATE_OF = re.compile(r"^[-_. ](?:(?:rep|replicate|biorep|r|s)?[-_. ]?\d+|[a-d])$", re.IGNORECASE)


def split_spec(spec: str | Path) -> tuple[str | None, Path]:
    """Split ``CELL=FILE``; a plain path, or a file whose name has a ``=`` in it, has no cell."""
    text = str(spec)
    cell, equals, path = text.partition("=")
    if not equals or "/" in cell or Path(text).exists():
        return None, Path(text)
    if not cell or not path:
        raise UsageError(f"`expression={text}`: give FILE, or CELL=FILE")
    return cell, Path(path).expanduser()  # a shell leaves the ~ of CELL=~/FILE as it is


def _sample_name(name: str) -> str:
    """Return a column's name without the folders and endings that featureCounts and STAR put there."""
    base = name.rsplit("/", 1)[-1]
    return (
        re.sub(r"(?:\.(?:sorted|dedup|bam|sam|cram|out|Aligned\w*))+$", "", base, flags=re.IGNORECASE) or name
    )


def _group_samples(samples: Sequence[str], cells: Collection[str] | None) -> dict[str, list[int]]:
    """Return cell to its columns: replicates are recognised by ``rep``, or by a number after a known cell."""
    groups: dict[str, list[int]] = {}
    for column, raw in enumerate(samples):
        name = raw if cells and raw in cells else _sample_name(raw)
        cell = name
        if cells and name not in cells:
            owners = [c for c in cells if name.startswith(c) and _REPLICATE_OF.match(name[len(c) :])]
            cell = max(owners, key=len) if owners else name
        match = _REPLICATE.match(name)
        if cell == name and match and not (cells and name in cells):
            cell = match["cell"]
        groups.setdefault(cell, []).append(column)
    return groups


def understand_samples(
    path: Path,
    dialect: str,
    samples: Sequence[str],
    cell: str | None,
    cells: Collection[str] | None,
    notes: list[str],
) -> dict[str, list[int]]:
    """Decide which cell each column is.

    Parameters
    ----------
    samples : names of the columns, empty where the table gives none.
    cell : what the user said (``CELL=FILE``), or None.
    cells : cells whose tracks are known, or None.
    notes : guesses are added to it.

    Returns
    -------
    dict
        Cell to its columns, several where they are replicates.
    """
    named = [name for name in samples if name and not guess_unit(name)]
    if cell is None:
        if len(named) == len(samples):
            groups = _group_samples(samples, cells)
        else:
            words = set(re.split(r"[-_./ ]+", str(path)))
            met = [known for known in cells or () if known in words]
            if len(met) != 1 or len(samples) != 1:
                raise InputError(
                    f"{path}: a table of {dialect} does not say which cell it is; write CELL={path}"
                )
            notes.append(f"{path.name} is taken as {met[0]}, by its name")
            groups = {met[0]: [0]}
        return groups
    if len(samples) == 1:
        return {cell: [0]}
    groups = _group_samples(samples, {cell, *(cells or ())})
    if cell in groups:
        return {cell: groups[cell]}
    others = [name for name in groups if cells and name in cells]
    if others:
        raise InputError(
            f"{path}: has no column for {cell}, but for {', '.join(others)}; give it without {cell}="
        )
    notes.append(f"{len(samples)} columns of {path.name} are taken as replicates of {cell}")
    return {cell: list(range(len(samples)))}

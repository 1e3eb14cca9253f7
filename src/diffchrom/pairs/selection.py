"""Which genes a command shows, or a store keeps: those of one part of the split, those of a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError, RunError, did_you_mean
from diffchrom.expression.dialects import ID_NAMES, NAME_COLUMNS
from diffchrom.files.text import numbered_lines
from diffchrom.genome.genes import Genes
from diffchrom.genome.ids import examples, unversioned
from diffchrom.pairs.choices import SPLIT_PARTS
from diffchrom.progress import SILENT, Reporter

_SHOWN = 5
#: What the column of genes is called where a list has a header.
_HEADERS = ID_NAMES.union(NAME_COLUMNS)
_COMMENT = re.compile(r"(?:^|\s)#.*")


def read_gene_list(path: str | Path) -> tuple[str, ...]:
    """Read gene ids or names: the first column (tab, comma or blank) of a text file, gzipped or not.

    A ``#`` at a line's start or after a blank starts a comment; a header may stand.

    Raises
    ------
    InputError
        When it lists no genes.
    """
    lines = (_COMMENT.sub("", line) for _, line in numbered_lines(path, "gene list"))
    names = [fields[0].strip('"') for line in lines if (fields := line.replace(",", "\t").split())]
    if names and names[0].lower() in _HEADERS:
        del names[0]
    if not names:
        raise InputError(f"{path}: lists no genes; give one gene id or name a line")
    return tuple(dict.fromkeys(names))


def match_genes(genes: Genes, wanted: Sequence[str]) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Find genes by id, else by id without version (`ids.unversioned`), else by name.

    Returns
    -------
    (rows, missing)
        Rows of all genes that were met, ascending, and what met none.
    """
    keys: tuple[dict[str, list[int]], ...] = ({}, {}, {})
    for row, (gene_id, name) in enumerate(zip(genes.id, genes.name, strict=True)):
        for index, key in zip(keys, (gene_id, unversioned(gene_id), name), strict=True):
            index.setdefault(key, []).append(row)
    by_id, by_unversioned, by_name = keys
    met: set[int] = set()
    missing = []
    for key in dict.fromkeys(wanted):
        if rows := by_id.get(key) or by_unversioned.get(unversioned(key)) or by_name.get(key):
            met.update(rows)
        else:
            missing.append(key)
    return np.array(sorted(met), dtype=np.intp), missing


def named_rows(genes: Genes, names: Sequence[str], where: str) -> npt.NDArray[np.intp]:
    """Rows of the genes that are named, in that order; InputError where one is not there.

    Parameters
    ----------
    where : what `genes` are of, for messages.
    """
    _, missing = match_genes(genes, names)
    if missing:
        near = did_you_mean(missing[:_SHOWN], [*genes.name, *genes.id])
        raise InputError(f"{where}: no gene {examples(missing, _SHOWN)}{near}")
    rows = [row for name in names for row in match_genes(genes, (name,))[0].tolist()]
    return np.array(list(dict.fromkeys(rows)), dtype=np.intp)


def listed_rows(
    genes: Genes, gene_list: Path, where: str, tell: Callable[[str], None]
) -> npt.NDArray[np.intp]:
    """Rows of the genes that a file lists; `tell` hears of those that are not there.

    Parameters
    ----------
    where : what `genes` are of, for messages.

    Raises
    ------
    InputError
        When none of the file's genes is there.
    """
    rows, missing = match_genes(genes, read_gene_list(gene_list))
    shown = examples(missing, _SHOWN)
    if not len(rows):
        near = did_you_mean(missing[:_SHOWN], [*genes.name, *genes.id])
        raise InputError(f"{gene_list}: none of its {len(missing)} genes ({shown}) is in {where}{near}")
    if missing:
        tell(f"{gene_list}: {len(missing)} genes are not in {where}: {shown}")
    return rows


def chosen_rows(
    genes: Genes,
    split: npt.NDArray[np.int8],
    *,
    part: str = "all",
    gene_list: Path | None = None,
    reporter: Reporter = SILENT,
) -> npt.NDArray[np.intp]:
    """Rows of the genes in `part` (train, valid, test or all) and, where given, in a file of genes.

    Parameters
    ----------
    split : int8 [n_genes]; 0 train, 1 valid, 2 test, -1 unused.

    Raises
    ------
    InputError
        When none of the file's genes is in the store, or in the part.
    RunError
        When the part of the split is empty.
    """
    chosen = np.ones(len(genes), dtype=bool)
    if part != "all":
        chosen = split == SPLIT_PARTS[part]
        if not chosen.any():
            raise RunError(f"no {part} genes in this store's split; use `part=all`")
    if gene_list is None:
        return np.flatnonzero(chosen)
    rows = listed_rows(genes, gene_list, "the store", reporter.warn)
    rows = rows[chosen[rows]]
    if not len(rows):
        raise InputError(f"{gene_list}: none of its genes is among the {part} genes; use `part=all`")
    return rows

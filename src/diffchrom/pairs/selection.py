"""Which genes a command shows: those of one part of the split, those of a list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError, RunError
from diffchrom.files.whole import open_text
from diffchrom.genome.genes import Genes
from diffchrom.pairs.choices import SPLIT_PARTS
from diffchrom.pairs.pair import Pair, PairData
from diffchrom.progress import SILENT, Reporter

_SHOWN = 5


def read_gene_list(path: Path) -> list[str]:
    """Read the first column of a text file (tab, comma or space), without comments."""
    with open_text(path, "gene list") as stream:
        first = (line.replace(",", "\t").split() for line in stream if line.strip() and line[0] != "#")
        names = [fields[0].strip('"') for fields in first if fields]
    if not names:
        raise InputError(f"{path}: no genes in it; give one gene id or name a line")
    return names


def match_genes(genes: Genes, wanted: list[str]) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Rows of the genes whose id (with or without version) or name is wanted, and what met no gene."""
    rows: dict[str, list[int]] = {}
    for row, (gene_id, name) in enumerate(zip(genes.id, genes.name, strict=True)):
        for key in {gene_id, gene_id.split(".")[0], name}:
            rows.setdefault(key, []).append(row)
    found: set[int] = set()
    missing = []
    for key in dict.fromkeys(wanted):
        hits = rows.get(key) or rows.get(key.split(".")[0])
        if hits:
            found.update(hits)
        else:
            missing.append(key)
    return np.array(sorted(found), dtype=np.intp), missing


def select_rows(
    data: Pair | PairData, *, part: str = "all", genes: Path | None = None, reporter: Reporter = SILENT
) -> npt.NDArray[np.intp]:
    """Rows of `data` in `part` (train, valid, test or all) and, where given, in a file of genes.

    Raises
    ------
    InputError
        When none of the file's genes is in the store.
    RunError
        When the part of the split is empty.
    """
    chosen = np.ones(len(data), dtype=bool)
    if part != "all":
        chosen = data.parts == SPLIT_PARTS[part]
        if not chosen.any():
            raise RunError(f"no {part} genes in this store's split; use --split all")
    if genes is not None:
        rows, missing = match_genes(data.genes, read_gene_list(genes))
        if not len(rows):
            raise InputError(
                f"{genes}: none of its {len(missing)} genes ({', '.join(missing[:_SHOWN])}) is in the store"
            )
        if missing:
            more = ", ..." if len(missing) > _SHOWN else ""
            shown = ", ".join(missing[:_SHOWN])
            reporter.warn(f"{genes}: {len(missing)} genes are not in the store: {shown}{more}")
        listed = np.zeros(len(data), dtype=bool)
        listed[rows] = True
        chosen &= listed
    return np.flatnonzero(chosen)

"""The text format in which the DeepDiff and AttentiveChrome data were published.

A folder holds, for each cell, ``CELL.train.csv``, ``CELL.valid.csv`` and ``CELL.test.csv`` (no header; 200
consecutive lines a gene, ``geneID_symbol_bin`` and the read counts of five marks in that bin), and
``CELL.expr.csv`` (no header; ``geneID,count``). Bins run along the genome, whatever the strand, over 10 kb on
each side of the TSS. The format gives no coordinates: see `Genes.located`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError
from diffchrom.files.whole import open_text
from diffchrom.genome.genes import UNKNOWN_CHROM, Genes, Window
from diffchrom.genome.ids import examples

MARKS = ("H3K4me1", "H3K4me3", "H3K9me3", "H3K27me3", "H3K36me3")
WINDOW = Window(flank=10_000, bin_size=100, orient="genome")
PARTS = ("train", "valid", "test")
SPLIT_NAME = "published"
UNIT = "counts"
_FILE = re.compile(r"^(?P<cell>.+)\.(?P<part>train|valid|test|expr)\.csv(?:\.gz)?$")


@dataclass(frozen=True)
class DeepDiffData:
    """What a folder in the published format holds.

    Attributes
    ----------
    genes : training genes first, then validation and test genes, each in their file's order; coordinates are
        unknown (chrom ``NA``, positions -1).
    cells : in alphabetical order.
    signal : cell to float32 [n_genes, 5, 200], marks in the order of `MARKS`.
    expression : cell to float64 [n_genes], read counts; NaN where the file has none.
    split : int8 [n_genes]; 0 train, 1 valid, 2 test.
    notes : what needs saying, one sentence each.
    """

    genes: Genes
    cells: tuple[str, ...]
    signal: dict[str, npt.NDArray[np.float32]]
    expression: dict[str, npt.NDArray[np.float64]]
    split: npt.NDArray[np.int8]
    notes: tuple[str, ...]


def unlocated_genes(ids: list[str], names: list[str]) -> Genes:
    """Genes of which only ids and symbols are known; see `Genes.located`."""
    nowhere = np.full(len(ids), -1, dtype=np.int64)
    return Genes(
        id=np.array(ids, dtype=object),
        name=np.array(names, dtype=object),
        chrom=np.full(len(ids), UNKNOWN_CHROM, dtype=object),
        strand=np.full(len(ids), ".", dtype=object),
        start=nowhere,
        end=nowhere.copy(),
        tss=nowhere.copy(),
        tes=nowhere.copy(),
    )


def find_files(folder: str | Path) -> dict[str, dict[str, Path]]:
    """Return cell to part (train, valid, test, expr) to file; InputError unless every cell has all four."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder with CELL.train.csv and so on")
    cells: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _FILE.match(path.name)
        if match:
            other = cells.setdefault(match["cell"], {}).setdefault(match["part"], path)
            if other != path:
                raise InputError(f"{path}: stands beside {other.name}; remove one of the two")
    if not cells:
        raise InputError(
            f"{folder}: holds no CELL.train.csv, CELL.valid.csv, CELL.test.csv and CELL.expr.csv; "
            "is it a folder of the published DeepDiff format?"
        )
    for cell, files in cells.items():
        missing = [f"{cell}.{part}.csv" for part in (*PARTS, "expr") if part not in files]
        if missing:
            raise InputError(f"{folder}: lacks {', '.join(missing)}")
    return cells


def _find_bad_line(path: Path, columns: int, expected: str) -> InputError:
    """Read again, slowly, to name the first line that is wrong."""
    with open_text(path) as text:
        for number, line in enumerate(text, 1):
            fields = line.rstrip("\n").split(",")
            if len(fields) != columns:
                return InputError(f"{path}:{number}: {len(fields)} columns, not {columns} ({expected})")
            for value in fields[1:]:
                try:
                    good = 0 <= float(value) < np.inf
                except ValueError:
                    good = False
                if not good:
                    return InputError(f"{path}:{number}: {value!r:.60} is not a number of reads ({expected})")
    return InputError(f"{path}: not a table of {expected}")


def _read_csv(path: Path, columns: int, expected: str) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Read labels [n] and numbers [n, columns - 1], finite and not negative."""
    import pandas as pd

    try:
        with open_text(path) as text:
            frame = pd.read_csv(
                text, header=None, dtype={0: object}, engine="c", na_filter=False, quotechar='"'
            )
        if frame.shape[1] != columns:
            raise ValueError("columns")
        values = frame.iloc[:, 1:].to_numpy(dtype=np.float64)
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError("values")
    except (ValueError, TypeError, OverflowError) as error:  # pandas' ParserError is a ValueError
        raise _find_bad_line(path, columns, expected) from error
    return [str(label) for label in frame.iloc[:, 0]], values


def _read_signal(path: Path) -> tuple[list[str], list[str], npt.NDArray[np.float32]]:
    """Read one part of one cell: ids [n], symbols [n], counts float32 [n, 5, 200]."""
    n_bins = WINDOW.n_bins
    expected = f"geneID_symbol_bin, {', '.join(MARKS)}"
    labels, values = _read_csv(path, 1 + len(MARKS), expected)
    stems = [label.rpartition("_")[0] for label in labels[::n_bins]]
    wanted = (f"{stem}_{number}" for stem in stems for number in range(1, n_bins + 1))
    for line, (label, want) in enumerate(zip(labels, wanted, strict=False), 1):
        if label != want:
            raise InputError(
                f"{path}:{line}: found {label!r:.60} where {want!r:.60} should stand; each gene needs its "
                f"bins 1 to {n_bins} on consecutive lines"
            )
    if len(labels) % n_bins:
        raise InputError(
            f"{path}: ends with {len(labels) % n_bins} bins of {stems[-1]}, not {n_bins}; "
            "is the file truncated?"
        )
    ids, _, symbols = zip(*(stem.partition("_") for stem in stems), strict=True)
    if not all(ids):
        raise InputError(f"{path}:{n_bins * ids.index('') + 1}: the gene has no id; expected {expected}")
    shaped = values.reshape(len(stems), n_bins, len(MARKS)).transpose(0, 2, 1)
    return (
        list(ids),
        [symbol or gene for gene, symbol in zip(ids, symbols, strict=True)],
        shaped.astype(np.float32),
    )


def _read_expression(path: Path) -> dict[str, float]:
    labels, values = _read_csv(path, 2, "geneID,count")
    repeated = [gene for gene, count in Counter(labels).items() if count > 1]
    if repeated:
        line = len(labels) - labels[::-1].index(repeated[0])
        raise InputError(f"{path}:{line}: gene {repeated[0]} stands there again; each gene has one line")
    return dict(zip(labels, values[:, 0].tolist(), strict=True))


def _same_genes(files: dict[str, dict[str, Path]], part: str, read: dict[str, list[str]]) -> None:
    first, *others = read
    for other in others:
        if read[other] != read[first]:
            only = set(read[first]) ^ set(read[other])
            why = f"only one has {examples(sorted(only))}" if only else "in another order"
            raise InputError(
                f"{files[other][part]}: its genes are not those of {files[first][part].name} ({why})"
            )


def read_deepdiff(folder: str | Path) -> DeepDiffData:
    """Read a folder in the published format.

    Raises
    ------
    InputError
        When a file is missing or malformed, a gene lacks bins or stands twice, the cells' genes differ, or no
        gene has a known expression.
    """
    files = find_files(folder)
    ids: list[str] = []
    names: list[str] = []
    split: list[npt.NDArray[np.int8]] = []
    signal: dict[str, list[npt.NDArray[np.float32]]] = {cell: [] for cell in files}
    for number, part in enumerate(PARTS):
        read: dict[str, Any] = {cell: _read_signal(files[cell][part]) for cell in files}
        _same_genes(files, part, {cell: genes for cell, (genes, _, _) in read.items()})
        part_ids, part_names, _ = next(iter(read.values()))
        ids += part_ids
        names += part_names
        split.append(np.full(len(part_ids), number, dtype=np.int8))
        for cell in files:
            signal[cell].append(read[cell][2])
    repeated = [gene for gene, count in Counter(ids).items() if count > 1]
    if repeated:
        raise InputError(
            f"{folder}: {len(repeated)} genes stand twice in train, valid and test: {examples(repeated)}"
        )
    notes: list[str] = ["the published format gives no coordinates: chromosomes and positions are unknown"]
    expression: dict[str, npt.NDArray[np.float64]] = {}
    for cell, parts in files.items():
        known = _read_expression(parts["expr"])
        expression[cell] = np.array([known.get(gene, np.nan) for gene in ids], dtype=np.float64)
        missing = [gene for gene in ids if gene not in known]
        if len(missing) == len(ids):
            raise InputError(
                f"{parts['expr']}: none of its genes ({examples(known)}) is in {cell}.train.csv "
                f"({examples(ids)})"
            )
        if missing:
            notes.append(
                f"{len(missing)} genes have no expression in {parts['expr'].name}: {examples(missing)}"
            )
    return DeepDiffData(
        genes=unlocated_genes(ids, names),
        cells=tuple(files),
        signal={cell: np.concatenate(parts) for cell, parts in signal.items()},
        expression=expression,
        split=np.concatenate(split),
        notes=tuple(notes),
    )

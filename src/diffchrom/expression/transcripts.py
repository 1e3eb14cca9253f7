"""Expression of transcripts (Salmon, kallisto, RSEM) summed to genes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffchrom.errors import InputError
from diffchrom.files.text import guess_delimiter, peek_lines, table_rows
from diffchrom.genome.ids import examples, unversioned

_GENE_LIKE = re.compile(r"^ENS[A-Z]*G\d{11}(?:\.\d+)?$")
_HEADERS = frozenset(["txname", "transcript", "transcript_id", "target_id", "tx", "tx_id", "enst", "name"])


def read_tx2gene(path: str | Path) -> dict[str, str]:
    """Read a table of transcript id and gene id, with tabs or commas, with or without a header.

    Raises
    ------
    InputError
        When a line has no two columns, or a transcript is given to two genes.
    """
    head, lines = peek_lines(path, "tx2gene table", 5)
    genes: dict[str, str] = {}
    for number, row in table_rows(path, lines, guess_delimiter([line for _, line in head])):
        fields = [value.strip() for value in row]
        if not genes and fields[0].lower() in _HEADERS:
            continue
        if len(fields) < 2 or not fields[0] or not fields[1]:
            raise InputError(f"{path}:{number}: needs a transcript id and a gene id; found {row!r:.60}")
        if genes.setdefault(fields[0], fields[1]) != fields[1]:
            raise InputError(
                f"{path}:{number}: transcript {fields[0]} belongs to {genes[fields[0]]} and to {fields[1]}"
            )
    if not genes:
        raise InputError(f"{path}: names no transcripts; give transcript ids and gene ids")
    return genes


def _genes_of(
    path: Path, dialect: str, ids: Sequence[str], transcripts: Callable[[], Mapping[str, str]] | None
) -> tuple[list[str | None], list[str]]:
    """Gene of each transcript (None where unknown), and notes."""
    gene_like = sum(1 for identifier in ids if _GENE_LIKE.match(identifier))
    if gene_like > len(ids) / 2:  # quant.genes.sf looks like quant.sf
        return list(ids), [f"{path.name} holds genes already"]
    if transcripts is None:
        raise InputError(
            f"{path}: a table of {dialect} holds transcripts; give `tx2gene=FILE`, or a GTF with transcripts"
        )
    known = transcripts()
    genes = [known.get(identifier) for identifier in ids]
    notes = []
    if None in genes:
        plain = {unversioned(transcript): gene for transcript, gene in known.items()}
        again = [gene or plain.get(unversioned(t)) for t, gene in zip(ids, genes, strict=True)]
        matched = sum(1 for a, b in zip(genes, again, strict=True) if a is None and b is not None)
        if matched:
            notes.append(f"{matched} transcripts of {path.name} were met without their version")
        genes = again
    if all(gene is None for gene in genes):
        values = set(known.values())
        if any(identifier in values for identifier in ids):
            return list(ids), [f"{path.name} holds genes already"]
        raise InputError(
            f"{path}: none of its transcripts ({examples(ids)}) is known ({examples(known)}); give the "
            "`tx2gene` table, or the GTF, that it was made with"
        )
    return genes, notes


def sum_transcripts(
    path: Path,
    dialect: str,
    ids: Sequence[str],
    genes: Sequence[str] | None,
    values: npt.NDArray[np.float64],
    transcripts: Callable[[], Mapping[str, str]] | None,
) -> tuple[list[str], npt.NDArray[np.float64], list[str]]:
    """Sum transcripts to genes, column by column.

    Parameters
    ----------
    ids : transcripts [n].
    genes : their genes, where the table has them itself; then `transcripts` is not called.
    values : float64 [n, n_columns].
    transcripts : returns transcript id to gene id.

    Returns
    -------
    (genes, values float64 [n_genes, n_columns], notes)
        Genes in the order of their first transcripts. Counts and TPM both add up over a gene's transcripts.
    """
    if genes is None:
        owners, notes = _genes_of(path, dialect, ids, transcripts)
    else:
        owners, notes = [gene or None for gene in genes], []
    unknown = [transcript for transcript, gene in zip(ids, owners, strict=True) if gene is None]
    if unknown:
        notes.append(
            f"{len(unknown)} of {len(ids)} transcripts of {path.name} have no known gene and are left out: "
            f"{examples(unknown)}"
        )
    rows: dict[str, int] = {}
    target = np.array(
        [-1 if gene is None else rows.setdefault(gene, len(rows)) for gene in owners], dtype=np.intp
    )
    totals = np.zeros((len(rows), values.shape[1]), dtype=np.float64)
    np.add.at(totals, target[target >= 0], values[target >= 0])
    if len(rows) < len(ids) - len(unknown):
        notes.append(f"{len(ids) - len(unknown)} transcripts of {path.name} are summed to {len(rows)} genes")
    return list(rows), totals, notes

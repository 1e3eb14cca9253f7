"""Lists of genes: one grammar and one way of meeting genes, for every command that takes a list."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import make_genes
from diffchrom.errors import InputError, RunError
from diffchrom.genome.genes import Genes
from diffchrom.pairs.selection import chosen_rows, match_genes, read_gene_list
from diffchrom.progress import SilentReporter

HEADERS = ("", "gene_id\tlog2fc\n", "Geneid\n", '"gene_name",x\n', "# by hand\nensembl_gene_id\n")


def genes_with(ids: list[str], names: list[str] | None = None) -> Genes:
    return replace(
        make_genes(len(ids)),
        id=np.array(ids, dtype=object),
        name=np.array(names or ids, dtype=object),
    )


class Listener(SilentReporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_list_may_have_a_header_comments_further_columns_and_be_gzipped(
    tmp_path: Path, header: str, pack: type[bytes]
) -> None:
    path = tmp_path / "genes.txt"
    text = header + 'A.1\tx\n\n  # indented\n"B#2",3\nC # why\r\nA.1\nD\n'
    path.write_bytes(pack(text.encode()))
    assert read_gene_list(path) == ("A.1", "B#2", "C", "D")


@pytest.mark.parametrize("text", ["", "# none\n\n", "gene_id\n"])
def test_a_list_of_no_genes_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "genes.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=r"genes.txt: lists no genes"):
        read_gene_list(path)


def test_dots_that_are_no_version_tell_genes_apart() -> None:
    genes = genes_with(["STRG.1", "STRG.2", "2L52.1"], ["RP11-34P13.7", "RP11-34P13.8", "x"])
    for wanted, rows in (("STRG.2", [1]), ("2L52.1", [2]), ("RP11-34P13.8", [1])):
        assert match_genes(genes, [wanted])[0].tolist() == rows
    absent = ["STRG.7", "STRG", "2L52.3", "2L52", "RP11-34P13.9", "RP11-34P13"]
    rows, missing = match_genes(genes, absent)
    assert rows.tolist() == []
    assert missing == absent


def test_versions_of_ensembl_and_refseq_do_not_matter_on_either_side() -> None:
    genes = genes_with(["ENSG00000000003.4", "ENSG00000000005", "NM_000546.6", "ENSG00000002586.20_PAR_Y"])
    wanted = ["ENSG00000000003", "ENSG00000000005.9", "NM_000546.5", "ENSG00000002586"]
    rows, missing = match_genes(genes, wanted)
    assert rows.tolist() == [0, 1, 2]
    assert missing == ["ENSG00000002586"]  # the copy on Y is another gene


def test_an_id_is_met_before_a_version_and_a_version_before_a_name() -> None:
    genes = genes_with(
        ["ENSG00000000003.4", "ENSG00000000003.5", "c", "d"], ["c", "twin", "twin", "ENSG00000000003"]
    )
    for wanted, rows in (
        ("ENSG00000000003.5", [1]),
        ("ENSG00000000003", [0, 1]),
        ("ENSG00000000003.6", [0, 1]),
        ("c", [2]),
        ("twin", [1, 2]),
    ):
        assert match_genes(genes, [wanted])[0].tolist() == rows


IDS = st.lists(st.from_regex(r"\A[A-Z]{1,3}(\.[0-9]{1,2})?\Z"), min_size=1, max_size=8, unique=True)


@given(IDS, st.data())
def test_every_listed_gene_is_met_or_missing_and_no_other_is_met(ids: list[str], data: st.DataObject) -> None:
    present = data.draw(st.sets(st.sampled_from(ids)))
    genes = genes_with(sorted(present))
    rows, missing = match_genes(genes, ids)
    assert set(genes.id[rows]) == present
    assert set(missing) == set(ids) - present


def test_rows_are_chosen_by_list_and_part_without_any_signal(tmp_path: Path) -> None:
    genes, split = make_genes(6), np.array([0, 1, 2, 0, 1, -1], dtype=np.int8)
    path = tmp_path / "genes.txt"
    path.write_text("GENE4\nGENE1\nGENE0\nnobody\n")
    listener = Listener()
    assert chosen_rows(genes, split).tolist() == [0, 1, 2, 3, 4, 5]
    assert chosen_rows(genes, split, part="test").tolist() == [2]
    assert chosen_rows(genes, split, gene_list=path, reporter=listener).tolist() == [0, 1, 4]
    assert listener.warnings == [f"{path}: 1 genes are not in the store: nobody"]
    assert chosen_rows(genes, split, part="valid", gene_list=path).tolist() == [1, 4]
    with pytest.raises(InputError, match="none of its genes is among the test genes"):
        chosen_rows(genes, split, part="test", gene_list=path)
    with pytest.raises(RunError, match="no train genes"):
        chosen_rows(genes, np.full(6, -1, dtype=np.int8), part="train")

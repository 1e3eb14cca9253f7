"""The text format in which the DeepDiff data were published."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from diffchrom.errors import InputError
from diffchrom.files.tables import lines
from diffchrom.prepare.deepdiff_format import MARKS, read_deepdiff
from diffchrom.runs.tables import gene_columns


def test_the_published_sample_adds_up(shared_data: Path) -> None:
    data = read_deepdiff(shared_data / "deepdiff_sample")
    assert data.cells == ("Cell1", "Cell2")
    assert np.bincount(data.split).tolist() == [240, 80, 80]
    # cat Cell1.{train,valid,test}.csv | awk -F, '{a+=$2;b+=$3;c+=$4;d+=$5;e+=$6} END {print a,b,c,d,e}'
    assert data.signal["Cell1"].sum(axis=(0, 2)).tolist() == [241327, 282536, 116030, 83643, 131355]
    assert data.signal["Cell2"].sum(axis=(0, 2)).tolist() == [177886, 562803, 130509, 247592, 174214]
    # awk over CELL.expr.csv, for the genes of the three files.
    assert data.expression["Cell1"].sum() == 4934967
    assert data.expression["Cell2"].sum() == 4514446
    # Cell1.train.csv, line 4: ENSG00000197651_C12orf12_4,1,0,3,0,0
    assert (data.genes.id[0], data.genes.name[0]) == ("ENSG00000197651", "C12orf12")
    assert data.signal["Cell1"][0, :, 3].tolist() == [1, 0, 3, 0, 0]
    # Cell1.valid.csv begins with ENSG00000131914_LIN28A_1,4,1,0,3,0
    assert data.genes.name[240] == "LIN28A"
    assert data.signal["Cell1"][240, :, 0].tolist() == [4, 1, 0, 3, 0]
    assert not data.genes.located.any()
    assert MARKS[0] == "H3K4me1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cells, one gene a part; a symbol may have an underscore in it."""
    for cell in ("A", "B"):
        for number, part in enumerate(("train", "valid", "test")):
            rows = [f"G{number}_S_{number}_{bin_},{bin_},0,0,0,{number}" for bin_ in range(1, 201)]
            (tmp_path / f"{cell}.{part}.csv").write_text("\n".join(rows) + "\n")
        (tmp_path / f"{cell}.expr.csv").write_text("G0,5\nG1,6\nG2,7\nG9,1\n")
    return tmp_path


def edit(path: Path, line: int, text: str | None) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    path.write_text("\n".join(lines) + "\n")


def test_values_stand_at_their_gene_mark_and_bin(folder: Path) -> None:
    data = read_deepdiff(folder)
    assert data.genes.name.tolist() == ["S_0", "S_1", "S_2"]
    assert data.signal["A"][:, 4, 7].tolist() == [0, 1, 2]
    assert data.signal["A"][1, 0].tolist() == list(range(1, 201))
    assert data.expression["B"].tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("A.train.csv", 7, "G0_S_0_7,1,2", "A.train.csv:7: 3 columns, not 6"),
        ("A.train.csv", 7, "G0_S_0_7,7,0,0,0,0,0", "A.train.csv:7: 7 columns, not 6"),
        ("A.train.csv", 7, "G0_S_0_7,7,0,x,0,0", "A.train.csv:7: 'x' is not a number"),
        ("A.train.csv", 7, "G0_S_0_7,7,0,-1,0,0", "A.train.csv:7: '-1' is not a number"),
        ("A.train.csv", 7, "G0_S_0_7,7,0,nan,0,0", "A.train.csv:7: 'nan' is not a number"),
        ("A.train.csv", 7, None, "A.train.csv:7: found 'G0_S_0_8' where 'G0_S_0_7' should stand"),
        ("A.train.csv", 200, None, "ends with 199 bins of G0_S_0"),
        ("A.expr.csv", 2, "G0,6", "A.expr.csv:2: gene G0 stands there again"),
        ("A.expr.csv", 2, "G1,six", "A.expr.csv:2: 'six' is not a number"),
    ],
)
def test_a_wrong_line_is_named(folder: Path, name: str, line: int, text: str | None, message: str) -> None:
    edit(folder / name, line, text)
    with pytest.raises(InputError) as caught:
        read_deepdiff(folder)
    assert message in str(caught.value)


def test_cells_must_have_the_same_files_and_genes(folder: Path) -> None:
    shutil.copy(folder / "A.valid.csv", folder / "A.test.csv")
    with pytest.raises(InputError, match=r"B.test.csv: its genes are not those of A.test.csv"):
        read_deepdiff(folder)
    shutil.copy(folder / "B.valid.csv", folder / "B.test.csv")
    with pytest.raises(InputError, match="stand twice in train, valid and test: G1"):
        read_deepdiff(folder)
    (folder / "B.test.csv").unlink()
    with pytest.raises(InputError, match=r"lacks B.test.csv"):
        read_deepdiff(folder)


def test_unknown_expression_is_nan_and_said(folder: Path) -> None:
    edit(folder / "A.expr.csv", 2, None)
    data = read_deepdiff(folder)
    np.testing.assert_array_equal(data.expression["A"], [5, np.nan, 7])
    assert any("1 genes have no expression in A.expr.csv: G1" in note for note in data.notes)


def test_unknown_coordinates_are_na_in_tables(folder: Path) -> None:
    columns = gene_columns(read_deepdiff(folder).genes)
    _, row, *_ = "".join(lines(columns)).splitlines()
    assert row.split("\t") == ["G0", "S_0", "NA", "NA", "NA", "NA"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no CELL.train.csv"):
        read_deepdiff(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_deepdiff(tmp_path / "nowhere")

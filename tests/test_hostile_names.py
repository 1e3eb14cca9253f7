"""Names that mean harm, in every input: refused in one line, or escaped in whatever is made of them."""

from __future__ import annotations

import contextlib
import csv
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from conftest import called, make_genes, make_store
from diffchrom.errors import DiffchromError
from diffchrom.genome.genes import Window
from diffchrom.prepare.pipelines import pipeline_tracks, recognise
from diffchrom.prepare.sheets import read_table
from diffchrom.prepare.track_names import understand
from diffchrom.store.store import Store, create
from test_prepare import GENES, write_bigwig, write_gtf

HOSTILE = {
    "html": "<script>alert(1)</script>",
    "quotes": "a\"b'c",
    "entity": "a&amp;b",
    "tab": "a\tb",
    "newline": "a\nb",
    "separator": "../../etc/x",
    "dots": "..",
    "formula": "=cmd|' /C calc'!A0",
    "escape": "a\x1b[31mred",
    "right-to-left": "a\u202eb",
    "long": "x" * 5000,
}
NAMES = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


def in_sheet(folder: Path, cell: str, mark: str) -> list[str]:
    with (folder / "sheet.tsv").open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerows([("cell", "mark", "path"), (cell, mark, "a.bw"), ("B2", mark, "b.bw")])
    return ["--samples", str(folder / "sheet.tsv")]


def in_annotation(folder: Path, field: str, name: str) -> list[str]:
    rows = [(name if field == "id" and i == 0 else gene[0], *gene[1:]) for i, gene in enumerate(GENES)]
    path = write_gtf(folder / "hostile.gtf", rows)
    if field == "name":
        path.write_text(path.read_text().replace('gene_name "N1"', f'gene_name "{name}"'))
    return ["--gtf", str(path)]


def in_expression(folder: Path, field: str, name: str) -> list[str]:
    with (folder / "expression.tsv").open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["gene_id", name if field == "column" else "E1", "E2"])
        table.writerow([name if field == "id" else "other", 1, 2])
        table.writerows([(gene[0], 3, 4) for gene in GENES])
    return ["--expression", str(folder / "expression.tsv")]


SLOTS = {
    "cell": lambda folder, name: in_sheet(folder, name, "H3K4me3"),
    "mark": lambda folder, name: in_sheet(folder, "A1", name),
    "gene id": lambda folder, name: in_annotation(folder, "id", name),
    "gene name": lambda folder, name: in_annotation(folder, "name", name),
    "column": lambda folder, name: in_expression(folder, "column", name),
    "row": lambda folder, name: in_expression(folder, "id", name),
}


@NAMES
def test_a_hostile_name_in_an_input_is_taken_whole_or_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = tmp_path / "inner" / "work"
    folder.mkdir(parents=True)
    for seed, file in enumerate(("a.bw", "b.bw", "E1-H3K4me3.bw", "E2-H3K4me3.bw")):
        write_bigwig(folder / file, seed)
    for slot, give in SLOTS.items():
        store = folder / "s.h5"
        words = give(folder, name)
        if "--gtf" not in words:
            words += ["--gtf", str(write_gtf(folder / "genes.gtf"))]
        if "--samples" not in words:
            words += ["--bigwigs", *(str(folder / f"E{n}-H3K4me3.bw") for n in (1, 2))]
        code = called(["prepare", "--store", str(store), "--flank", "1000", "--threads", "1", "-q", *words])
        errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning")]
        if code == 0:
            assert called(["info", str(store), "-q"]) == 0, slot
            shown = capsys.readouterr().out
            assert "\x1b" not in shown, slot
            store.unlink()
        else:
            assert code in (1, 2), slot
            assert len(errors) == 1, (slot, errors)
            assert not store.exists(), slot
    assert {path.name for path in tmp_path.iterdir()} == {"inner"}
    assert {path.name for path in (tmp_path / "inner").iterdir()} == {"work"}


class Scripts(HTMLParser):
    """Tags of a page, and the attributes that would run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag == "script"
        assert not [key for key, _ in attrs if key.startswith("on")], attrs

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts.append(data.strip())
            self.inside = False


def hostile_store(path: Path, name: str) -> Store | None:
    """A store whose cell, mark and a gene have the name; None where the store refuses it."""
    genes = make_genes(60)
    genes = replace(genes, name=np.array([name, *genes.name[1:]], dtype=object))
    rng = np.random.default_rng(0)
    with contextlib.suppress(DiffchromError):
        store = create(path, genes, Window(1000, 100), chrom_sizes=dict.fromkeys(set(genes.chrom), 10**7))
        with store.edit() as editor:
            for cell in (name, "B2"):
                signal = rng.gamma(2, 1, (60, 20)).astype(np.float32)
                editor.add_signal(cell, name, signal, {"unit": "coverage", "source": name})
                editor.add_expression(cell, "counts", rng.poisson(50, 60).astype(np.float64))
            editor.add_split("chromosome", np.choose(np.arange(60) % 5, [0, 0, 0, 1, 2]).astype(np.int8))
        return store
    return None


@NAMES
def test_what_is_made_of_a_hostile_name_is_well_formed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    if len(name) > 200:
        pytest.skip("longer than a file's name: the tests of inputs have it")
    folder = tmp_path / "inner" / "work"
    folder.mkdir(parents=True)
    store = hostile_store(folder / "s.h5", name)
    if store is None:
        return  # refused where it would have been written
    run, mqc = folder / "run", folder / "runs_mqc.tsv"
    words = ["--store", str(store.path), "--out", str(run), "--threads", "1", "-q", "--multiqc", str(mqc)]
    assert called(["baseline", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pair"] == f"{name},B2"
    assert "<script" not in mqc.read_text()
    for command in (["predict", str(run), "--store", str(store.path), "-q"], ["compare", str(run), "-q"]):
        assert called(command) == 0
        header, *rows = capsys.readouterr().out.removesuffix("\n").split("\n")
        assert {row.count("\t") for row in rows} == {header.count("\t")}, command
    svg, page = folder / "tracks.svg", folder / "report.html"
    assert called(["info", str(store.path), "--plot", str(svg), "--json", "-q"]) == 0
    json.loads(capsys.readouterr().out)
    assert not list(ET.fromstring(svg.read_text()).iter("{http://www.w3.org/2000/svg}script"))
    assert called(["report", str(run), "--store", str(store.path), "-o", str(page), "-q"]) == 0
    assert "alert(1)" not in Scripts(page.read_text()).scripts
    assert "<script>alert" not in page.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"inner"}


@NAMES
def test_anndata_keeps_a_hostile_name_as_text(tmp_path: Path, name: str) -> None:
    anndata = pytest.importorskip("anndata", reason="the anndata extra is not installed")
    store = None if len(name) > 200 else hostile_store(tmp_path / "s.h5", name)
    if store is None:
        return
    assert called(["baseline", "--store", str(store.path), "--out", str(tmp_path / "run"), "-q"]) == 0
    assert called(["compare", str(tmp_path / "run"), "--anndata", str(tmp_path / "x.h5ad"), "-q"]) == 0
    table = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert list(table.var["pair"]) == [f"{name},B2"]


@NAMES
def test_a_path_of_any_name_is_understood_or_told_why(name: str) -> None:
    for text in (f"{name}-H3K4me3.bw", f"H3K4me3_{name}.bw", f"{name}/H3K4me3.bw", name):
        named = understand(text)
        assert named.why or named.cell


@NAMES
def test_a_pipeline_s_sheet_with_a_hostile_sample_is_refused_or_taken(tmp_path: Path, name: str) -> None:
    sheet = tmp_path / "samplesheet.csv"
    with sheet.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["sample", "fastq_1", "replicate", "antibody", "control", "control_replicate"])
        table.writerow([name, "x", "{0.__class__}", "H3K4me3", name, "1"])
        table.writerow([f"{{{name}}}", "x", "1", "H3K4me3", "", ""])
    with pytest.raises(DiffchromError):
        table = read_table(sheet)
        pipeline = recognise(table)
        assert pipeline is not None
        pipeline_tracks(table, pipeline, [])


@pytest.mark.parametrize(
    "option", ["--samples", "--gtf", "--expression", "--genes", "--blacklist", "--chrom-sizes"]
)
def test_a_line_of_ten_megabytes_is_refused_or_read_in_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    path = tmp_path / "long.tsv"
    path.write_text("x" * 10_000_000 + "\n")
    words = {"--gtf": str(write_gtf(tmp_path / "genes.gtf")), option: str(path)}
    given = [word for pair in words.items() for word in pair]
    given += ["--bigwigs", str(write_bigwig(tmp_path / "E1-H3K4me3.bw", 0)), "--threads", "1", "-q"]
    assert called(["prepare", "--store", str(tmp_path / "s.h5"), "--flank", "1000", *given]) in (1, 2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert len(error) < 2000
    assert not (tmp_path / "s.h5").exists()


def test_metadata_of_runs_cannot_smuggle_markup(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5")
    run, page = tmp_path / "<b>run", tmp_path / "page.html"
    assert called(["baseline", "--store", str(store.path), "--out", str(run), "-q"]) == 0
    title = "</title><script>alert(1)</script>"
    assert called(["report", str(run), "-o", str(page), "--title", title, "-q"]) == 0
    assert "<script>alert" not in page.read_text()

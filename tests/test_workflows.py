"""What workflow engines, MultiQC and scanpy take: JSON, exit codes, tables and AnnData; the examples run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import PROJECT, called, fitting, make_store
from diffchrom.demo.simulate import simulate
from diffchrom.errors import UsageError
from diffchrom.inspection.anndata import to_anndata, write_anndata
from diffchrom.runs.folder import SUMMARY_COLUMNS, Run
from diffchrom.store.store import Store

BASELINE = ("baseline", "--threads", "1", "-q", "--store")


def test_json_has_what_the_table_has_a_run_a_line(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*BASELINE, str(toy_store.path), "--method", "mean,ridge", "--out", str(tmp_path / "b"), "--json"]
    assert called(words) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(one) for one in objects] == [list(SUMMARY_COLUMNS)] * 2
    assert objects[1]["pearson"] == Run.open(tmp_path / "b/ridge").config.metrics["test"]["pearson"]
    assert objects[0]["pearson"] is None  # of constant predictions
    assert called(["compare", str(tmp_path / "b"), "--json", "-q"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["method"] for row in rows} == {"mean", "ridge"}
    assert called(["compare", str(tmp_path / "b"), "--summary", "--json", "-q", "--resamples", "100"]) == 0
    assert "mean_pearson" in json.loads(capsys.readouterr().out.splitlines()[0])


def test_json_of_folds_is_an_object_a_fold_and_one_of_all(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*BASELINE, str(toy_store.path), "--folds", "3", "--out", str(tmp_path / "b"), "--json"]
    assert called(words) == 0
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 4


def multiqc_table(path: Path) -> tuple[dict[str, str], list[list[str]]]:
    """The keys of a table's configuration, and its rows."""
    lines = path.read_text().splitlines()
    keys = dict(re.findall(r'^# (\w+): "(.*)"$', "\n".join(lines), re.MULTILINE))
    return keys, [line.split("\t") for line in lines if not line.startswith("#")]


def test_prepare_and_baselines_write_tables_for_multiqc(tmp_path: Path) -> None:
    files = simulate(tmp_path / "data", n_genes=120)
    store = tmp_path / "s.h5"
    words = [
        "--store",
        store,
        "--gtf",
        files.gtf,
        "--bigwigs",
        *files.bigwigs,
        "--expression",
        files.expression,
    ]
    words += ["--multiqc", tmp_path / "tracks_mqc.tsv", "--threads", "1", "-q"]
    assert called(["prepare", *map(str, words)]) == 0
    keys, (header, *rows) = multiqc_table(tmp_path / "tracks_mqc.tsv")
    assert keys["plot_type"] == "table"
    assert header[:3] == ["Sample", "cell", "mark"]
    assert len(rows) == len(files.bigwigs)
    accuracy = tmp_path / "accuracy_mqc.tsv"
    words = [*BASELINE, store, "--method", "mean,ridge", "--out", tmp_path / "b", "--multiqc", accuracy]
    assert called(list(map(str, words))) == 0
    _, (header, *rows) = multiqc_table(accuracy)
    assert [row[0] for row in rows] == ["mean", "ridge"]
    assert all(len(row) == len(header) for row in rows)


def test_a_name_that_multiqc_would_not_find_is_refused_before_anything_is_made(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*BASELINE, str(toy_store.path), "--out", str(tmp_path / "b"), "--multiqc", "table.tsv"]
    assert called(words) == 2
    assert "MultiQC finds files whose names end in _mqc.tsv" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_multiqc_shows_the_tables(toy_store: Store, tmp_path: Path) -> None:
    multiqc = shutil.which("multiqc")
    if multiqc is None:
        pytest.skip("multiqc is not installed")
    words = [*BASELINE, toy_store.path, "--out", tmp_path / "b", "--multiqc", tmp_path / "accuracy_mqc.tsv"]
    assert called(list(map(str, words))) == 0
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([multiqc, ".", "--quiet"], cwd=tmp_path, check=True, env=environment, timeout=200)
    (data,) = (tmp_path / "multiqc_data").glob("multiqc_diffchrom_runs*.txt")
    assert "ridge" in data.read_text()
    assert "diffchrom: accuracy" in (tmp_path / "multiqc_report.html").read_text()


def test_runs_side_by_side_are_one_anndata(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the anndata extra is not installed")
    make_store(tmp_path / "s.h5", cells=("A1", "B2", "C3"))
    runs = [
        fitting(tmp_path / "s.h5", "ridge", pair).make(tmp_path / "runs" / pair)
        for pair in ("A1,B2", "A1,C3")
    ]
    words = ["compare", str(tmp_path / "runs"), "--anndata", str(tmp_path / "x.h5ad"), "-q", "-o", os.devnull]
    assert called(words) == 0
    table = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert table.shape == (60, 2)
    assert list(table.var["pair"]) == ["A1,B2", "A1,C3"]
    lines = [line.split("\t") for line in (runs[1].path / "predictions.tsv").read_text().splitlines()]
    header, *rows = lines
    gene = rows[7][0]
    here = table[gene, str(runs[1].path)]
    assert here.X.item() == float(rows[7][header.index("log2fc_pred")])
    assert here.layers["log2fc"].item() == float(rows[7][header.index("log2fc")])
    assert {0, 1, 2} == set(np.unique(table.layers["part"]))
    assert table.obs.loc[gene, "gene_name"] == rows[7][1]


def test_anndata_needs_its_extra_and_its_ending(
    toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fitting(toy_store.path, "mean").make(tmp_path / "mean")
    with pytest.raises(UsageError, match=r"name it FILE\.h5ad"):
        write_anndata(tmp_path / "x.csv", [run])
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(UsageError, match=r"pip install 'diffchrom\[anndata\]'"):
        to_anndata([run])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small experiment and a configuration of the Snakemake example."""
    folder = tmp_path_factory.mktemp("workflow")
    files = simulate(folder / "data", n_genes=240)
    lines = {
        "diffchrom": f"{sys.executable} -m diffchrom",
        "gtf": str(files.gtf),
        "bigwigs": [str(path) for path in files.bigwigs],
        "expression": str(files.expression),
        "pairs": ["K562-H1"],
        "baselines": ["mean", "ridge"],
        "prepare": "--regions tss",
        "train": "--variant raw:d --epochs 1 --no-ridge",
    }
    (folder / "config.json").write_text(json.dumps(lines))  # JSON is YAML
    return folder


def test_the_snakemake_example_runs_to_its_report(project: Path) -> None:
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("snakemake is not installed")
    snakefile = PROJECT / "examples" / "snakemake" / "Snakefile"
    words = ["--snakefile", str(snakefile), "--configfile", "config.json", "--cores", "2", "--quiet", "all"]
    done = subprocess.run([snakemake, *words], cwd=project, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = [json.loads(line) for line in (project / "results/accuracy.json").read_text().splitlines()]
    assert {row["method"] for row in rows} == {"raw:d", "mean", "ridge"}
    assert (project / "results/predictions/K562-H1.tsv.gz").stat().st_size > 1000
    assert "<html" in (project / "results/report.html").read_text()[:200]


def test_options_in_the_workflows_exist() -> None:
    for name, path in (("snakemake", "snakemake/Snakefile"), ("nextflow", "nextflow/main.nf")):
        text = (PROJECT / "examples" / path).read_text().replace("\\\n", " ").replace('"\n        "', "")
        calls = re.findall(r"(?:\{DIFFCHROM\}|^\s*diffchrom) (\w+) ([^\n]*)", text, re.MULTILINE)
        assert len(calls) >= 3, name
        for command, words in calls:
            done = subprocess.run(
                [sys.executable, "-m", "diffchrom", command, "--help"],
                capture_output=True,
                text=True,
                timeout=60,
            )
            for option in re.findall(r"--[a-z-]+", words):
                assert f"{option} " in done.stdout, (name, command, option)

"""examples/roadmap on generated files of the consortium's names: what users of the real files would run."""

from __future__ import annotations

import csv
import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffchrom.cli import main
from diffchrom.signal.bigwig_writer import write_bigwig
from diffchrom.store.store import Store
from diffchrom.sweeps.plan import jobs_of, make_plan
from diffchrom.variants import VARIANTS

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CELLS = ("E003", "E004", "E005", "E006", "E007", "E037", "E038", "E116", "E123")
MARKS = ("H3K4me1", "H3K4me3", "H3K9me3", "H3K27me3", "H3K36me3")
SIZES = {"chr1": 400_000, "chr2": 400_000, "chr3": 400_000}
STEP = 100
GENES = [(chrom, 30_000 * (i + 1), "+-"[i % 2]) for chrom in SIZES for i in range(12)]


def run_cli(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def write_expression(path: Path, values: np.ndarray) -> None:
    """As the consortium writes it: a column E000 first, a tab at the end of every line but the header's."""
    with gzip.open(path, "wt") as stream:
        stream.write("gene_id\tE000\t" + "\t".join(CELLS) + "\n")
        for number, row in enumerate(values):
            stream.write(f"ENSG{number:011d}\t0\t" + "\t".join(str(int(v)) for v in row) + "\t\n")


@pytest.fixture(scope="module")
def roadmap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example") / "roadmap"
    shutil.copytree(EXAMPLES / "roadmap", folder)
    data = folder / "data"
    data.mkdir()
    random = np.random.default_rng(0)
    strength = random.beta(0.5, 0.5, (len(CELLS), len(GENES)))
    write_expression(data / "57epigenomes.N.pc.gz", random.poisson(np.exp2(4 + 6 * strength)).T)
    with gzip.open(data / "gencode.v10.annotation.gtf.gz", "wt") as stream:
        stream.write("##description: evidence-based annotation of the human genome (GRCh37), version 10\n")
        for number, (chrom, tss, strand) in enumerate(GENES):
            start, end = (tss, tss + 3000) if strand == "+" else (tss - 3000, tss)
            attributes = f'gene_id "ENSG{number:011d}.3"; gene_name "G{number}"; gene_type "protein_coding";'
            stream.write(f"{chrom}\tHAVANA\tgene\t{start}\t{end}\t.\t{strand}\t.\t{attributes}\n")
    for c, cell in enumerate(CELLS):
        for mark in MARKS:
            tracks = []
            for chrom, size in SIZES.items():
                signal = random.gamma(2.0, 0.5, size // STEP)
                for g, (where, tss, _) in enumerate(GENES):
                    if where == chrom and mark != "H3K27me3":
                        signal[tss // STEP - 10 : tss // STEP + 10] += 6 * strength[c, g]
                tracks.append((chrom, signal.astype(np.float32)))
            write_bigwig(data / f"{cell}-{mark}.fc.signal.bigwig", SIZES, iter(tracks), step=STEP)
    return folder


def test_the_sheet_and_the_pairs_are_the_papers_cells() -> None:
    with (EXAMPLES / "roadmap" / "samples.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [(row["cell"], row["mark"]) for row in rows] == [(c, m) for c in CELLS for m in MARKS]
    for row in rows:
        assert row["path"] == f"data/{row['cell']}-{row['mark']}.fc.signal.bigwig"
    plan = make_plan(EXAMPLES / "roadmap" / "plan.toml", {})
    assert len(set(plan.pairs)) == 10
    assert {cell for pair in plan.pairs for cell in pair.split(",")} == set(CELLS)
    assert len({frozenset(pair.split(",")) for pair in plan.pairs}) == 10


def test_the_example_runs_from_files_of_the_consortiums_names_to_the_report(
    roadmap: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(roadmap)
    prepare = ["prepare", "--gtf", "data/gencode.v10.annotation.gtf.gz", "--samples", "samples.tsv"]
    prepare += ["--expression", "data/57epigenomes.N.pc.gz", "--store", "roadmap.h5", "--threads", "1", "-q"]
    assert run_cli(*prepare) == 0
    store = Store("roadmap.h5")
    assert store.cells() == CELLS
    assert all(store.marks(cell) == MARKS for cell in CELLS)
    assert store.n_genes == len(GENES)
    assert all(store.expression_units(cell) == ("counts",) for cell in CELLS)
    assert store.signal_attrs("E003", "H3K4me1")["unit"] == "fold-change"
    jobs = jobs_of(make_plan(Path("plan.toml"), {}))
    n_baselines = len({job.method for job in jobs if job.kind == "baseline"})
    assert len(jobs) == 10 * 3 * (len(VARIANTS) * 2 + n_baselines)
    # The whole plan is for a night; this rehearsal is for all its pairs, with what takes no time.
    capsys.readouterr()
    baselines = ["sweep", "--plan", "quick.toml", "--threads", "1", "-q"]
    text = Path("plan.toml").read_text()
    text = re.sub(r'variants = "all"', "variants = []", text)
    text = re.sub(r'baselines = "all"', 'baselines = ["ridge", "cell-mean"]', text)
    Path("quick.toml").write_text(text.replace("seeds = 3", "seeds = 1"))
    assert run_cli(*baselines) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * 10
    assert run_cli("compare", "sweep", "--summary", "--plot", "figure4.pdf", "-o", "table1.tsv", "-q") == 0
    table = [line.split("\t") for line in Path("table1.tsv").read_text().splitlines()]
    assert sorted(row[0] for row in table[1:]) == ["cell-mean", "ridge"]
    assert all(row[2] == "10" for row in table[1:])
    assert run_cli("report", "sweep", "-o", "report.html", "-q") == 0
    assert "20 runs of 2 methods on 10 pairs of cells" in Path("report.html").read_text()


@pytest.mark.parametrize("script", ["download.sh", "run.sh"])
def test_the_scripts_are_whole(script: str) -> None:
    path = EXAMPLES / "roadmap" / script
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_slurm_job_starts_single_threaded_workers() -> None:
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "slurm" / "cluster.py"), "--show"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "#SBATCH --cpus-per-task=16" in done.stdout
    assert "--nthreads 1" in done.stdout
    assert "--nworkers 16" in done.stdout
    assert "--lifetime 7h30m" in done.stdout

"""examples/paper from generated files of the consortium's names to every table and figure."""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from conftest import called
from diffchrom.store.store import Store
from diffchrom.sweeps.plan import make_plan

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PAPER = EXAMPLES / "paper"
#: Sekhon, Singh and Qi, Bioinformatics 34 (17), i891, 2018: Table 6, its rows in order, A then B.
TABLE_6 = (
    ("E123", "E003"),
    ("E116", "E003"),
    ("E123", "E116"),
    ("E003", "E005"),
    ("E003", "E006"),
    ("E006", "E007"),
    ("E005", "E006"),
    ("E003", "E004"),
    ("E004", "E006"),
    ("E037", "E038"),
)
#: The same, Table 5.
CELLS = ("E003", "E004", "E005", "E006", "E007", "E037", "E038", "E116", "E123")
#: The order of the authors' columns.
MARKS = ("H3K4me1", "H3K4me3", "H3K9me3", "H3K27me3", "H3K36me3")
VARIANTS = ("raw:d", "raw:c", "raw", "aux", "raw+aux", "aux+siamese", "raw+aux+siamese")
BASELINES = ("svr-best-bin", "svr-two-layer", "relieff-rf", "attentivechrome")
#: chromosome, TSS, strand; ids rise with the numbers, so that the published split tests the first third.
GENES = [(chrom, 60_000 * (i + 1), "+-"[i % 2]) for i in range(8) for chrom in ("chr1", "chr2", "chr3")]


def gene_id(number: int) -> str:
    return f"ENSG{number:011d}"


def strengths() -> np.ndarray:
    """How active each gene is in each cell, 0 to 1; six test genes are active in one of E116 and E123."""
    strength = np.random.default_rng(0).beta(0.5, 0.5, (len(CELLS), len(GENES)))
    strength[CELLS.index("E116"), :8] = [0] * 3 + [1] * 3 + [0.5] * 2
    strength[CELLS.index("E123"), :8] = [1] * 3 + [0] * 3 + [0.5] * 2
    return strength


def write_expression(path: Path, values: np.ndarray) -> None:
    """As the consortium writes it: a column E000 first, a tab at the end of every line but the header's."""
    with gzip.open(path, "wt", compresslevel=1) as stream:
        stream.write("gene_id\tE000\t" + "\t".join(CELLS) + "\n")
        for number, row in enumerate(values):
            stream.write(f"{gene_id(number)}\t0\t" + "\t".join(f"{value:g}" for value in row) + "\t\n")


def write_reads(path: Path, strength: np.ndarray, random: np.random.Generator) -> None:
    """A tagAlign: reads of 36 bases all over the chromosomes, and more where an active gene starts."""
    lines = []
    for number, (chrom, tss, _) in enumerate(GENES):
        background = random.integers(tss - 30_000, tss + 30_000, 40)
        near = random.normal(tss, 600, random.poisson(60 * strength[number])).astype(int)
        lines += [f"{chrom}\t{start}\t{start + 36}\tN\t1000\t+\n" for start in (*background, *near)]
    path.write_bytes(gzip.compress("".join(lines).encode(), compresslevel=1))


def simulated_counts() -> np.ndarray:
    """Read counts of every gene in every cell."""
    return np.random.default_rng(1).poisson(np.exp2(12 * strengths()) - 1).T


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the example; data/ is there, and empty but for the table of RPKM."""
    folder = tmp_path / "paper"
    shutil.copytree(PAPER, folder)
    (folder / "data").mkdir()
    write_expression(folder / "data" / "57epigenomes.RPKM.pc.gz", simulated_counts() / 16)
    return folder


@pytest.fixture
def downloaded(example: Path) -> Path:
    """The example with the consortium's files of nine cells."""
    data, random = example / "data", np.random.default_rng(2)
    write_expression(data / "57epigenomes.N.pc.gz", simulated_counts())
    with gzip.open(data / "gencode.v10.annotation.gtf.gz", "wt", compresslevel=1) as stream:
        stream.write("##description: evidence-based annotation of the human genome (GRCh37), version 10\n")
        for number, (chrom, tss, strand) in enumerate(GENES):
            start, end = (tss, tss + 9000) if strand == "+" else (tss - 9000, tss)
            attributes = f'gene_id "{gene_id(number)}.3"; gene_name "G{number}"; gene_type "protein_coding";'
            stream.write(f"{chrom}\tHAVANA\tgene\t{start}\t{end}\t.\t{strand}\t.\t{attributes}\n")
    for cell, of_cell in zip(CELLS, strengths(), strict=True):
        for mark in MARKS:
            level = 1 - of_cell if mark in ("H3K9me3", "H3K27me3") else of_cell
            write_reads(data / f"{cell}-{mark}.tagAlign.gz", level, random)
    return example


@pytest.fixture
def processed(example: Path) -> Path:
    """The example with data/ProcessedData as in the authors' repository: four tables a cell."""
    folder, random, counts = example / "data" / "ProcessedData", np.random.default_rng(3), simulated_counts()
    folder.mkdir()
    numbers = np.arange(len(GENES))
    parts = {"test": numbers[:8], "train": numbers[8:21], "valid": numbers[21:]}
    for cell, strength, expression in zip(CELLS, strengths(), counts.T, strict=True):
        for part, members in parts.items():
            with (folder / f"{cell}.{part}.csv").open("w") as stream:
                for gene in members:
                    reads = random.poisson(1 + 8 * strength[gene], (200, len(MARKS)))
                    stream.writelines(
                        f"{gene_id(gene)}_G{gene}_{number},{','.join(map(str, row))}\n"
                        for number, row in enumerate(reads.tolist(), 1)
                    )
        lines = [f"{gene_id(gene)},{count}\n" for gene, count in enumerate(expression)]
        (folder / f"{cell}.expr.csv").write_text("".join(lines))
    return example


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_the_pairs_are_the_papers_in_its_order_and_direction() -> None:
    for plan in ("main.toml", "classification.toml"):
        pairs = make_plan(PAPER / plan, {}).pairs
        assert pairs == tuple(f"{a},{b}" for a, b in TABLE_6)[: len(pairs)]
        assert len(pairs) == {"main.toml": 10, "classification.toml": 6}[plan]


def test_the_sheet_names_the_consortiums_reads_of_nine_cells_and_five_marks() -> None:
    rows = table(PAPER / "samples.tsv")
    assert [(row["cell"], row["mark"]) for row in rows] == [(c, m) for c in CELLS for m in MARKS]
    assert [row["path"] for row in rows] == [f"data/{r['cell']}-{r['mark']}.tagAlign.gz" for r in rows]
    assert {row["unit"] for row in rows} == {"counts"}
    assert set(CELLS) == {cell for pair in TABLE_6 for cell in pair}


def test_the_papers_numbers_are_those_of_its_tables() -> None:
    paper = tomllib.loads((PAPER / "paper.toml").read_text())
    assert tuple(paper["table1"]["svr-two-layer"]) == tuple(paper["table1"]["attentivechrome"]) == VARIANTS
    for shares in paper["table1"].values():
        # Printed in bold: the best mean and the best median.
        assert max(shares, key=lambda variant: shares[variant][0]) == "raw:c"
        assert max(shares, key=lambda variant: shares[variant][1]) == "aux+siamese"
    assert paper["table3"]["svr-two-layer"] == {"aux": [173.20, 172.58], "raw+aux": [179.17, 192.33]}
    assert [claim["pairs"] for claim in paper["figure4"]] == [9, 10, 7, 6, 5]


def environment(**more: str) -> dict[str, str]:
    """A shell's environment that finds this Python and its diffchrom."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, **more}


@pytest.mark.timeout(600)
def test_run_sh_goes_from_reads_to_every_table_and_figure(downloaded: Path) -> None:
    done = subprocess.run(
        ["./run.sh", "--threads", "1", "-q"],
        cwd=downloaded, env=environment(EPOCHS="1"), capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    store = Store(downloaded / "paper.h5")
    assert store.cells() == CELLS
    assert all(store.marks(cell, region=name) == MARKS for cell in CELLS for name in ("tss", "tes_bins"))
    assert all(set(store.expression_units(cell)) == {"counts", "rpkm"} for cell in CELLS)
    assert store.window.orient == "genome"
    assert np.bincount(store.split("published")).tolist() == [13, 3, 8]
    assert store.chrom_sizes["chr1"] == 249_250_621
    assert "no track has" not in done.stderr
    results = downloaded / "results"
    for preset in ("published", "default"):
        shares = table(results / f"table1.{preset}.tsv")
        assert {row["method"] for row in shares} == {*VARIANTS, *BASELINES}
        assert {row["preset"] for row in shares if row["method"] in VARIANTS} == {preset}
        shown = {row["preset"] for row in shares if row["method"] in BASELINES}
        assert shown == ({"NA"} if preset == "default" else {preset})
        two_layer = next(row for row in shares if row["method"] == "svr-two-layer")
        assert float(two_layer["mean_percent_of_svr-two-layer"]) == 100
        runs = table(results / f"figure4.{preset}.tsv")
        assert tuple(dict.fromkeys(row["pair"] for row in runs)) == tuple(f"{a},{b}" for a, b in TABLE_6)
        auxiliary = table(results / f"appendix-table3.{preset}.tsv")
        assert {row["method"] for row in auxiliary} == {*VARIANTS, "svr-two-layer"}
        groups = table(results / f"figure5.{preset}.tsv")
        assert [row["mark"] for row in groups if row["task"] == "main"] == list(MARKS)
        assert {row["n_up"] for row in groups} == {row["n_down"] for row in groups} == {"3"}
        for figure in ("figure4", "appendix-figure2", "figure5"):
            assert (results / f"{figure}.{preset}.pdf").read_bytes().startswith(b"%PDF")
        beside = (results / f"beside-the-paper.{preset}.md").read_text()
        assert "| raw:d | 153.72, 156.81 | " in beside
        assert "| raw:c is above raw:d | 10 | " in beside
        assert "| aux | 173.20, 172.58 | " in beside
        assert "| 3 down | H3K27me3 second highest; H3K9me3 low | " in beside
    assert "220 runs of " in (results / "report.html").read_text()


def test_the_authors_own_tables_serve_the_same_plans(
    processed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(processed)
    assert called(["prepare", "--deepdiff", "data/ProcessedData", "--store", "paper.h5", "-q"]) == 0
    assert (
        called(["prepare", "--expression", "data/57epigenomes.RPKM.pc.gz", "--store", "paper.h5", "-q"]) == 0
    )
    store = Store("paper.h5")
    assert store.cells() == CELLS
    assert all(store.marks(cell) == MARKS for cell in CELLS)
    assert np.bincount(store.split("published")).tolist() == [13, 3, 8]
    few = ["--baselines", "ridge", "--presets", "published", "--epochs", "1", "--threads", "2", "-q"]
    for plan, variant, n_pairs in (
        ("main", "raw:d", 10),
        ("classification", "aux", 6),
        ("figure5", "raw:d", 1),
    ):
        assert called(["sweep", "--plan", f"{plan}.toml", "--variants", variant, *few]) == 0
        rows = table(Path(plan) / "jobs.tsv")
        pairs = [f"{a},{b}" for a, b in TABLE_6[:n_pairs]] if n_pairs > 1 else ["E116,E123"]
        assert {row["status"] for row in rows} == {"finished"}
        for method in ("ridge", variant):
            assert [row["pair"] for row in rows if row["method"] == method] == pairs
    figure5 = [
        "--store",
        "paper.h5",
        "--split",
        "test",
        "--up",
        "8",
        "--down",
        "-8",
        "-o",
        "figure5.tsv",
        "-q",
    ]
    assert called(["attend", "figure5/E116-E123.raw-d.published.seed0", *figure5]) == 0
    assert [row["mark"] for row in table(Path("figure5.tsv"))] == list(MARKS)


def test_the_scripts_are_whole() -> None:
    for script in ("download.sh", "run.sh"):
        assert os.access(PAPER / script, os.X_OK)
        subprocess.run(["bash", "-n", str(PAPER / script)], check=True)


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

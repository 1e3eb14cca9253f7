from __future__ import annotations

from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from conftest import called
from diffchrom.demo.pipelines import _write_changes
from diffchrom.demo.simulate import CELLS, RULE, _draw_strengths, _place_genes, simulate
from diffchrom.demo.steps import DemoSettings, run_demo
from diffchrom.errors import OutputError
from diffchrom.runs.folder import Run


def test_domains_lie_downstream_of_the_tss_on_both_strands(tmp_path: Path) -> None:
    """H3K36me3 covers +3 to +8 kb in the direction of transcription: to the left on the minus strand."""
    files = simulate(tmp_path, n_genes=60, seed=3)
    random = np.random.default_rng(3)
    genes, _ = _place_genes(60, random)
    strengths = _draw_strengths(60, random)
    number = [domain.mark for domain in RULE].index("H3K36me3")
    path = next(path for path in files.bigwigs if path.name == f"{CELLS[0]}-H3K36me3.bw")
    seen = set()
    with pyBigWig.open(str(path)) as track:
        for row in np.flatnonzero(strengths[0, number] > 0.9):
            tss, minus = int(genes.tss[row]), bool(genes.minus[row])
            right = track.stats(str(genes.chrom[row]), tss + 4500, tss + 6500, exact=True)[0]
            left = track.stats(str(genes.chrom[row]), tss - 6500, tss - 4500, exact=True)[0]
            downstream, upstream = (left, right) if minus else (right, left)
            assert downstream > upstream + 2
            seen.add(minus)
    assert seen == {True, False}


def test_replicates_that_are_the_same_have_a_p_without_a_warning(tmp_path: Path) -> None:
    counts = np.array(
        [[[5, 5, 5], [5, 5, 5]], [[0, 0, 0], [7, 7, 7]], [[3, 4, 5], [30, 40, 50]]], dtype=float
    )
    _write_changes(tmp_path / "deseq2.csv", ["same", "silent", "changed"], counts)
    rows = [line.split(",") for line in (tmp_path / "deseq2.csv").read_text().splitlines()]
    p = {row[0]: float(row[5]) for row in rows[1:]}
    assert p["same"] == 1
    assert p["silent"] < p["changed"] < 0.05


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(tmp_path / name, n_genes=60, seed=seed)
    for file in (tmp_path / "a").iterdir():
        same = (tmp_path / "b" / file.name).read_bytes()
        assert file.read_bytes() == same
        if file.name != "rule.tsv":
            assert (tmp_path / "c" / file.name).read_bytes() != same


def test_every_step_runs_and_an_existing_folder_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = DemoSettings(n_genes=240, variants={"raw:d": 1}, baselines=("ridge",))
    result = run_demo(tmp_path / "demo", settings)
    assert [run.config.variant for run in result.runs] == ["raw:d", "ridge"]
    ridge = Run.open(tmp_path / "demo" / "runs" / "ridge")
    assert ridge.config.metrics["test"]["pearson"] > 0.4
    assert (tmp_path / "demo" / "summary.txt").read_text() == result.summary()
    with pytest.raises(OutputError, match="choose another `out`"):
        run_demo(tmp_path / "demo", settings)
    *_, predict, gene = (line.split()[1:] for line in result.summary().splitlines())
    monkeypatch.chdir(tmp_path / "demo")
    capsys.readouterr()
    assert called(predict) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert gene[2] in [row[1] for row in rows]
    assert called(gene) == 0
    assert Path(gene[-1]).exists()

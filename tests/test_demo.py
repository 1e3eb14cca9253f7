from __future__ import annotations

from pathlib import Path

import numpy as np
import pyBigWig
import pytest

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


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate(tmp_path / name, n_genes=60, seed=seed)
    for file in (tmp_path / "a").iterdir():
        same = (tmp_path / "b" / file.name).read_bytes()
        assert file.read_bytes() == same
        if file.name != "rule.tsv":
            assert (tmp_path / "c" / file.name).read_bytes() != same


def test_every_step_runs_and_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    settings = DemoSettings(n_genes=240, variants={"raw:d": 1}, baselines=("ridge",))
    result = run_demo(tmp_path / "demo", settings)
    assert [run.config.variant for run in result.runs] == ["raw:d", "ridge"]
    ridge = Run.open(tmp_path / "demo" / "runs" / "ridge")
    assert ridge.config.metrics["test"]["pearson"] > 0.4
    assert (tmp_path / "demo" / "summary.txt").read_text() == result.summary()
    with pytest.raises(OutputError, match="choose another `out`"):
        run_demo(tmp_path / "demo", settings)

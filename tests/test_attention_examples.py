"""The scripts behind the figures of docs/attend.md count what they say they count."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import diffchrom as dc
from conftest import PROJECT, called, make_store

SCRIPTS = PROJECT / "examples" / "attention"


def printed(script: str, *words: object) -> list[list[str]]:
    """Cells of all rows of the tables that a script prints."""
    command = [sys.executable, "-W", "error", SCRIPTS / script, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return [line[2:-2].split(" | ") for line in ended.stdout.splitlines() if line.startswith("| ")]


def test_the_drivers_share_is_that_of_the_attention_of_genes_that_change(tmp_path: Path) -> None:
    _, first, again = printed("demo_seeds.py", tmp_path, "--seeds", 2, "--genes", 120, "--epochs", 1)
    folder = tmp_path / "separate"
    model = dc.open_run(folder / "seed0").open(dc.open_store(folder / "diffchrom.h5"))
    rows = model.rows("test")
    beta = model.attend(rows[np.abs(model.pair.labels.log2fc[rows]) >= 1]).beta["main"]
    mean = dict(zip(model.pair.marks, np.asarray(beta).mean(axis=0), strict=True))
    drivers = [mean[mark] for mark in ("H3K27me3", "H3K36me3", "H3K4me3")]
    decoys = [mean[mark] for mark in ("H3K4me1", "H3K9me3")]
    assert [float(cell) for cell in first[2:5]] == pytest.approx(
        [sum(drivers), min(drivers), max(decoys)], abs=1e-3
    )
    assert 0 <= float(first[5]) <= 1
    assert first[1:] != again[1:]


def test_figure_5_over_seeds_is_the_mean_of_what_attend_says_of_each(tmp_path: Path) -> None:
    make_store(tmp_path / "s.h5", n_genes=150)
    options = ("--seeds", "1,2", "--epochs", 1, "--up-quantile", 0.2)
    rows = printed("figure5.py", tmp_path / "s.h5", tmp_path, *options)
    store = dc.open_store(tmp_path / "s.h5")
    marks = store.pair().marks
    table = {row[0]: row for row in rows[1 : 1 + len(marks)]}
    assert list(table) == list(marks)
    assert sum(row[0] in marks for row in rows) == 2 * len(marks)  # attention, and contributions
    of_seeds = []
    for seed in (1, 2):
        model = dc.open_run(tmp_path / f"seed{seed}").open(store)
        chosen = model.rows("test")
        log2fc = model.pair.labels.log2fc[chosen]
        up = chosen[log2fc >= np.quantile(log2fc, 0.8)]
        of_seeds.append(np.asarray(model.attend(up).beta["main"]).mean(axis=0))
    for number, mark in enumerate(marks):
        value, low, high, seeds = table[mark][1].translate(str.maketrans("", "", "[],")).split(maxsplit=3)
        assert float(value) == pytest.approx(np.mean(of_seeds, axis=0)[number], abs=1e-3)
        assert float(low) <= float(value) <= float(high)
        ends = sorted(of[number] for of in of_seeds)
        assert [float(end) for end in seeds.split(" to ")] == pytest.approx(ends, abs=1e-3)
    for by in ("attention", "contribution"):
        assert (tmp_path / f"figure5.{by}.svg").read_text().startswith("<?xml")


def test_the_table_of_checks_is_that_of_the_checks(tmp_path: Path) -> None:
    make_store(tmp_path / "s.h5", n_genes=150)
    folder = tmp_path / "toy"
    pair = dc.open_store(tmp_path / "s.h5").pair()
    for seed in (0, 1):
        run = dc.train(
            pair, "raw:d", seed=seed, epochs=2, hidden=4, device="cpu", out=folder / f"raw-d.seed{seed}"
        )
    check = folder / "raw-d.check.tsv"
    words = ["--store", tmp_path / "s.h5", "--threads", 1, "--split", "test", "--check", "-o", check]
    assert called(["attend", *map(str, [folder / "raw-d.seed0", *words])]) == 0
    ((_, row),) = [printed("checked.py", folder)]
    assert row[:2] == ["toy", "raw:d"]
    assert row[2].endswith(f"{run.metrics['pearson']:.3f}")
    table = pd.read_csv(check, sep="\t").query("level == 'bin' and statistic == 'deletion_area'")
    area = dict(zip(table["comparison"], table["value"], strict=True))
    orders = ("attention", "integrated_gradients", "absolute_difference", "random", "random_weights")
    assert row[4:9] == [f"{area[order]:.3f}" for order in orders]
    assert set(row[10].split(", ")) <= {"yes", "no"}

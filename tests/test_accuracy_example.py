"""The script behind the figures of docs/how-sure.md counts what it says it counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

import diffchrom as dc
from conftest import PROJECT, make_store

SCRIPT = PROJECT / "examples" / "accuracy" / "coverage.py"


def test_coverage_and_what_predictions_are_worth_are_those_of_the_predictions(tmp_path: Path) -> None:
    make_store(tmp_path / "s.h5", n_genes=150)
    pair = dc.open_store(tmp_path / "s.h5").pair()
    run = dc.train(pair, "aux", folds=3, epochs=20, device="cpu", out=tmp_path / "folds")
    ended = subprocess.run([sys.executable, "-W", "error", SCRIPT, run.path], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    rows = [line.strip("| ").split(" | ") for line in ended.stdout.splitlines() if line.startswith("| ")]
    shown = dict(row[:2] for row in rows if len(row) == 2)
    genes = run.predictions()
    inside = (genes["lo90"] <= genes["log2fc"]) & (genes["log2fc"] <= genes["hi90"])
    assert shown["all"] == f"{inside.mean():.1%} of 150"
    assert shown["mean width"] == f"{(genes['hi90'] - genes['lo90']).mean():.2f}"
    assert {"top_decile", "up_or_down", "interval score"} <= shown.keys()
    sizes = [row for row in rows if " to " in row[0]]
    assert sum(int(row[1]) for row in sizes) == 150
    largest = genes[genes["log2fc_pred"].abs() >= float(sizes[-1][0].split()[0])]
    right = np.sign(largest["log2fc"]) == np.sign(largest["log2fc_pred"])
    assert sizes[-1][3] == f"{right.mean():.0%}"
    certain = ((genes["lo90"] > 0) | (genes["hi90"] < 0)).sum()
    assert ended.stdout.splitlines()[-1].startswith(f"{run.path}: {certain} of 150 intervals exclude 0")

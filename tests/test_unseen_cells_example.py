"""The script behind the table of unseen cells fits every choice, and counts what it says it counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import PROJECT, make_store
from diffchrom.runs.folder import Run

SCRIPT = PROJECT / "examples" / "accuracy" / "unseen_cells.sh"


def test_every_choice_of_one_and_two_cells_is_tabled_beside_the_models_of_the_pairs_themselves(
    tmp_path: Path,
) -> None:
    make_store(tmp_path / "s.h5", n_genes=150, cells=("A", "B", "C", "D"))
    (tmp_path / "bin").mkdir()
    for name, words in {"diffchrom": "-m diffchrom", "python": ""}.items():
        command = tmp_path / "bin" / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        command.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "VARIANTS": "", "BASELINES": "ridge"}
    ended = subprocess.run(
        ["bash", SCRIPT, tmp_path / "s.h5", "A,B,C,D", tmp_path / "out"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    rows = [line.strip("| ").split(" | ") for line in ended.stdout.splitlines()[2:]]
    shown = {row[1]: row for row in rows}
    assert {kind: row[2] for kind, row in shown.items()} == {
        "both unseen": "6", "one unseen": "36", "seen": "18"
    }  # fmt: skip
    tables = [pd.read_csv(file, sep="\t") for file in (tmp_path / "out").glob("*/pairs.tsv")]
    both = pd.concat(tables).query("kind == 'both_unseen'").set_index("pair")["pearson"]
    own = {
        pair: Run.open(tmp_path / "out" / f"ridge.own-{pair.replace(',', '-')}").config.metrics["test"][
            "pearson"
        ]
        for pair in both.index
    }
    assert float(shown["both unseen"][3]) == pytest.approx(both.mean(), abs=6e-4)
    share = np.mean([both[pair] / own[pair] for pair in both.index])
    assert shown["both unseen"][5] == f"{share:.1%}"

"""What commands load: nobody waits for a library that the command does not use."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import called, fitting, train, training
from diffchrom.config import Hyperparameters
from diffchrom.store.store import Store

#: Each takes a tenth of a second or more to load.
HEAVY = (
    "captum", "distributed", "h5py", "joblib", "matplotlib", "pandas", "plotly", "polars", "pyranges",
    "pysam", "rich", "scipy.optimize", "scipy.stats", "sklearn", "sympy", "torch", "torch._dynamo",
    "torch._inductor",
)  # fmt: skip
SCRIPT = f"""
import json, sys
from diffchrom.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]), file=sys.stderr)
"""


def loaded_by(*words: object) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def runs(toy_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train(training(toy_store.path, "raw:d", settings=Hyperparameters(epochs=1)), folder / "raw:d")
    fitting(toy_store.path, "ridge").make(folder / "ridge")
    return folder


#: Where scipy.optimize is among them, it fits the intervals when training has ended.
@pytest.mark.parametrize(
    ("command", "needed"),
    [
        ("--help", set()),
        ("info STORE", {"h5py"}),
        ("info RUNS/raw:d", {"h5py"}),
        ("compare RUNS/raw:d RUNS/ridge", {"h5py"}),
        ("predict RUNS/ridge --store STORE", {"h5py"}),
        ("predict RUNS/raw:d --store STORE", {"h5py", "torch"}),
        ("baseline --store STORE --method ridge --out OUT", {"h5py"}),
        (
            "train --store STORE --variant raw:d --epochs 1 --no-ridge --out OUT",
            {"h5py", "torch", "scipy.optimize"},
        ),
    ],
)
def test_a_command_loads_only_what_it_uses(
    command: str, needed: set[str], toy_store: Store, runs: Path, tmp_path: Path
) -> None:
    places = {"STORE": toy_store.path, "RUNS": runs, "OUT": tmp_path / "run"}
    words = []
    for word in command.split():
        first, _, rest = word.partition("/")
        words.append(places[first] / rest if first in places else word)
    assert loaded_by(*words) <= needed


def test_verbose_tells_what_was_chosen_read_and_taken(
    toy_store: Store, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(runs / "ridge"), "--store", str(toy_store.path), "--threads", "1"]
    assert called(words) == 0
    brief = capsys.readouterr()
    assert called([*words, "-v"]) == 0
    told = capsys.readouterr()
    assert told.out == brief.out
    more = [line for line in told.err.splitlines() if line not in brief.err.splitlines()]
    first, chosen, of_a, of_b, taken = more
    assert re.fullmatch(r"diffchrom \S+, Python 3\.\S+, threads 1", first)
    assert chosen == (
        f"{toy_store.path}: 60 genes, A A1, B B2, marks H3K4me3,H3K27me3, regions tss (of methods that read "
        "them), split chromosome, expression in counts"
    )
    assert of_a == "A1: H3K4me3 of H3K4me3; H3K27me3 of H3K27me3"
    assert of_b.startswith("B2: ")
    assert re.fullmatch(r"diffchrom: took [\d.]+ s of CPU time and [\d.]+ GB of memory .*", taken)


@pytest.mark.parametrize("command", ["gene RUN G1 -o x.svg", "attend RUN", "predict RUN"])
def test_one_card_of_several_can_be_named_wherever_a_device_can(
    command: str, toy_store: Store, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(runs / "raw:d") if word == "RUN" else word for word in command.split()]
    assert called([*words, "--store", str(toy_store.path), "--device", "cuda:77"]) == 2
    assert re.search(r"--device cuda:77: (no CUDA device|\w+)", capsys.readouterr().err)

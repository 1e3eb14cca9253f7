"""CPU seconds until a command says its first word, and until it has ended, beside importing torch alone.

What a command waits for is nearly all imports; `--imports` lists the slowest modules of one command, by
``python -X importtime``. A tiny store, medians of interleaved rounds.

    python tests/benchmarks/bench_startup.py [--rounds 5] [--imports predict]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

COMMANDS = {
    "torch alone": None,
    "--version": "--version",
    "info": "info s.h5",
    "train": "train --store s.h5 --epochs 1 --ensemble 1 --no-ridge --out OUT -v",
    "train raw:d": "train --store s.h5 --variant raw:d --epochs 1 --no-ridge --out OUT -v",
    "baseline ridge": "baseline --store s.h5 --method ridge --out OUT -v",
    "predict": "predict runs/raw:d --store s.h5 -v",
    "predict ridge": "predict runs/ridge --store s.h5 -v",
    "attend": "attend runs/raw:d --store s.h5 --level mark -v",
}


def words_of(name: str, out: Path) -> list[str]:
    command = COMMANDS[name]
    if command is None:
        return [sys.executable, "-c", "import torch; print(flush=True)"]
    words = [str(out) if word == "OUT" else word for word in command.split()]
    return [sys.executable, "-m", "diffchrom", *words]


def cpu_seconds(words: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds when the second line comes (the first one with `-v` is of the options), and in the end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    for _ in range(1 + ("-v" in words)):
        process.stdout.readline()
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    first = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return first, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_imports(name: str, folder: Path, shown: int = 15) -> None:
    """Print the modules of a command that take longest by themselves."""
    words = words_of(name, folder / "imports")
    words[1:1] = ["-X", "importtime"]
    told = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stderr
    rows = [line.removeprefix("import time:").split("|") for line in told.splitlines() if "|" in line]
    times = sorted((int(own), module.strip()) for own, _, module in rows if own.strip().isdecimal())
    print(f"{name}: {sum(own for own, _ in times) / 1e6:.2f} s for {len(times)} modules")
    for own, module in times[: -shown - 1 : -1]:
        print(f"{own / 1e3:8.1f} ms  {module}")


def main() -> None:
    from conftest import fitting, make_store, train, training
    from diffchrom.config import Hyperparameters

    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--imports", choices=COMMANDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = make_store(folder / "s.h5").path
        train(training(store, "raw:d", settings=Hyperparameters(epochs=1)), folder / "runs" / "raw:d")
        fitting(store, "ridge").make(folder / "runs" / "ridge")
        if options.imports:
            return print_imports(options.imports, folder)
        times: dict[str, list[tuple[float, float]]] = {command: [] for command in COMMANDS}
        for number in range(options.rounds):
            for command, taken in times.items():
                taken.append(cpu_seconds(words_of(command, folder / f"{command}.{number}"), folder))
    print("command\tfirst line, CPU s\tend, CPU s")
    for command, taken in times.items():
        print(command, *(f"{statistics.median(values):.2f}" for values in zip(*taken, strict=True)), sep="\t")
    return None


if __name__ == "__main__":
    main()

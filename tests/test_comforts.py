"""Help, completion, defaults of a folder and progress: what makes the second hour pleasant."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import called, fitting, make_store
from diffchrom import cli
from diffchrom.commands import completion
from diffchrom.commands.console import Console
from diffchrom.commands.help import ADVANCED, ADVANCED_OPTIONS, EXAMPLES
from diffchrom.prepare.building import prepare
from diffchrom.prepare.request import PrepareRequest
from diffchrom.store.store import Store
from test_pipelines import Told
from test_prepare import inputs as inputs

COMMANDS = {command.callback.__name__ for command in cli.app.registered_commands if command.callback}


def help_of(command: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert called([command, "--help"]) == 0
    return out.getvalue()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_ends_with_two_examples_whose_options_it_lists(command: str) -> None:
    text = help_of(command)
    examples = text.split("Examples:\n")[1].strip().splitlines()
    assert [line.strip() for line in examples] == [f"diffchrom {example}" for example in EXAMPLES[command]]
    for example in EXAMPLES[command]:
        first, *words = shlex.split(example)
        assert first == command
        assert [word for word in words if word.startswith("-") and word not in text] == []


@pytest.mark.parametrize("command", sorted(ADVANCED_OPTIONS))
def test_advanced_options_stand_apart_and_exist(command: str) -> None:
    text = help_of(command)
    apart = text.split(f"{ADVANCED}:\n")[1].split("\n\n")[0]
    shown = {name for name in ADVANCED_OPTIONS[command] if f"--{name.replace('_', '-')} " in apart}
    assert shown == ADVANCED_OPTIONS[command]
    assert "--help" not in apart


def context_of(store: Path) -> Any:
    return SimpleNamespace(params={"store": store})


def test_cells_marks_and_splits_are_completed_from_the_store(toy_store: Store) -> None:
    context = context_of(toy_store.path)
    assert completion.cells(context, "A") == ["A1"]
    assert completion.cells(context, "A1,") == ["A1,B2"]  # the other cell alone
    assert completion.marks(context, "H3K4me3,H3") == ["H3K4me3,H3K27me3"]
    assert completion.splits(context, "ch") == ["chromosome"]
    assert completion.methods("ridge,svr-t") == ["ridge,svr-two-layer"]


def test_completion_offers_nothing_where_there_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "broken.h5").write_text("no HDF5")
    for name in ("absent.h5", "broken.h5"):
        assert completion.cells(context_of(tmp_path / name), "") == []


def test_finished_runs_are_completed(
    toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting(toy_store.path, "mean").make(tmp_path / "runs" / "one")
    fitting(toy_store.path, "mean").make(tmp_path / "elsewhere" / "two")
    (tmp_path / "runs" / "no-run").mkdir()
    monkeypatch.chdir(tmp_path)
    assert completion.runs("") == ["runs/one"]
    assert completion.runs("elsewhere/") == ["elsewhere/two"]


def test_the_shell_is_answered(toy_store: Store, tmp_path: Path) -> None:
    shutil.copy(toy_store.path, tmp_path / "diffchrom.h5")
    words = "diffchrom train --pair A1,"
    asked = {"_DIFFCHROM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "diffchrom"], env=os.environ | asked, cwd=tmp_path, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["A1,B2"], done.stderr


def test_a_folder_s_defaults_stand_for_options_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_store(tmp_path / "three.h5", cells=("A1", "B2", "C3"))
    (tmp_path / "diffchrom.toml").write_text('store = "three.h5"\npair = "C3,A1"\nthreads = 1\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIFFCHROM_STORE", raising=False)
    assert called(["baseline", "--method", "mean", "-q"]) == 0
    assert "C3-A1" in capsys.readouterr().out
    assert called(["baseline", "--method", "mean", "--pair", "A1,B2", "-q"]) == 0
    run = capsys.readouterr().out.splitlines()[1].split("\t")[0]
    assert "A1-B2" in run
    # The pair of a run stays its own.
    assert called(["predict", run, "--top", "1"]) == 0
    assert "A is A1, B is B2" in capsys.readouterr().err
    monkeypatch.setenv("DIFFCHROM_STORE", "absent.h5")
    assert called(["baseline", "--method", "mean", "-q"]) == 1
    assert "absent.h5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("store = 3", "diffchrom.toml: store is 3; give a text"),
        ('threads = "2"', "diffchrom.toml: threads is '2'; give a whole number"),
        ("marks = 1", "diffchrom.toml: 'marks' is no default; set store, pair, threads"),
        ("store", "diffchrom.toml: not readable as TOML"),
        ("\0" * 100_000, "diffchrom.toml: not readable as TOML"),
    ],
)
def test_wrong_defaults_are_told_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    (tmp_path / "diffchrom.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert called(["info"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_store_that_cannot_train_yet_says_what_to_add(inputs: PrepareRequest) -> None:
    from dataclasses import replace

    told = Told()
    first = replace(inputs, bigwigs=inputs.bigwigs[:2], expression=())
    prepare(first, told)
    assert told.notes[-1].startswith("to train, add a second cell and expression (`expression`, or `labels`)")
    prepare(replace(inputs, bigwigs=inputs.bigwigs[2:], expression=()), told)
    assert told.notes[-1].startswith("to train, add expression")
    prepare(inputs, told)
    assert "positive = higher in E2" in told.notes[-1]


def test_no_color_is_honoured_and_progress_has_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    display = Console()._new_display()
    assert display.console.no_color
    (rate,) = [column for column in display.columns if type(column).__name__ == "Rate"]
    for speed, text in ((2.5, "2.5/s"), (0.1, "10.0 s each"), (None, "")):
        assert str(rate.render(SimpleNamespace(finished_speed=None, speed=speed))) == text

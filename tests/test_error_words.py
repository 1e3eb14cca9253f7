"""Messages name fields as Python does; the command line alone spells them as options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import diffchrom as dc
from conftest import PROJECT, called
from diffchrom.cli import app
from diffchrom.commands.spelling import as_options
from diffchrom.errors import DiffchromError
from diffchrom.store.store import Store

LIBRARY = PROJECT / "src" / "diffchrom"
OPTION = re.compile(r"(?<![\w-])--[a-z]|(?<![\w-])--$")
FIELD = re.compile(r"`([a-z]\w*)[=`]")
#: Modules that spell options, with how often and why.
SPELLERS = {
    "attention/plots.py": (1, "matplotlib's dashed line"),
    "demo/steps.py": (5, "shows the commands that it runs"),
    "inspection/summary.py": (1, "a sheet of samples is a file for the shell"),
    "pairs/leakage.py": (1, "a command that has no function"),
    "processes/cluster.py": (1, "an option of `dask worker`"),
    "runs/card.py": (1, "a file for people who have the shell alone"),
    "sweeps/results.py": (1, "a command that has no function"),
    "sweeps/unseen.py": (1, "a command that has no function"),
    "runs/opening.py": (4, "the whole command that makes such a run"),
}


def words_of(path: Path) -> Iterator[str]:
    """The strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    bodies = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    documents = {id(line.value) for body in bodies for line in body if isinstance(line, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


def library() -> dict[str, list[str]]:
    """The strings of every module beneath the command line."""
    paths = {path.relative_to(LIBRARY).as_posix(): path for path in sorted(LIBRARY.rglob("*.py"))}
    return {
        name: list(words_of(path))
        for name, path in paths.items()
        if name != "cli.py" and not name.startswith("commands/")
    }


def test_no_module_of_the_library_spells_an_option() -> None:
    spelt = {name: sum(bool(OPTION.search(word)) for word in words) for name, words in library().items()}
    assert {name: n for name, n in spelt.items() if n} == {name: n for name, (n, _) in SPELLERS.items()}


def test_every_field_that_a_message_names_is_an_option_of_some_command() -> None:
    commands: Any = get_command(app)
    parameters = [one for command in commands.commands.values() for one in command.params]
    options = {option for parameter in parameters for option in parameter.opts}
    named = {field for words in library().values() for word in words for field in FIELD.findall(word)}
    assert len(named) > 50
    assert {as_options(f"`{field}`") for field in named} <= options


@pytest.mark.parametrize(
    ("words", "python", "shell"),
    [
        (["--lr", "0.1", "--dropout", "2"], "`dropout=2", "--dropout 2"),
        (["--regions", "bodies"], "`regions=bodies`", "--regions bodies"),
    ],
)
def test_python_is_told_the_argument_and_the_shell_the_option(
    toy_store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    python: str,
    shell: str,
) -> None:
    out = tmp_path / "run"
    assert called(["train", "--store", str(toy_store.path), "--out", str(out), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"diffchrom: {shell}")
    assert "`" not in line
    store = dc.open_store(toy_store.path)
    with pytest.raises(DiffchromError) as raised:
        if "--regions" in words:
            store.pair(regions=["bodies"])
        else:
            dc.train(store.pair(), out=out, lr=0.1, dropout=2)
    assert str(raised.value).startswith(python)
    assert as_options(str(raised.value))[: len(shell)] == shell


@pytest.mark.parametrize(
    ("message", "shell"),
    [
        ("no labels; add them with `prepare_store(expression=...)`", "`diffchrom prepare --expression`"),
        (
            "add it with `prepare_store(store=s.h5, chrom_sizes=FILE)`",
            "add it with `diffchrom prepare --store s.h5 --chrom-sizes FILE`",
        ),
        ("`held_out=A`: in none of the pairs", "--hold-out A: in none of the pairs"),
        ("no test genes; use `part=all`", "no test genes; use --split all"),
        ("`split=`: unknown", "--split : unknown"),
        ("use `samtools view -b`, or `reads`", "use `samtools view -b`, or --reads"),
    ],
)
def test_fields_and_calls_become_options_and_commands(message: str, shell: str) -> None:
    assert as_options(message).endswith(shell)


def test_notes_name_options_in_the_shell(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["baseline", "--method", "ridge", "--store", str(toy_store.path), "--out", str(tmp_path / "run")]
    assert called(words) == 0
    said = capsys.readouterr().err
    assert "`diffchrom prepare --regions body,tes,distal` adds what lies beyond" in said

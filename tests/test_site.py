"""The documentation site without Sphinx: every page has a place in it, and every command and name a page."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
import typer

import diffchrom
from conftest import PROJECT
from diffchrom.cli import app

DOCS = PROJECT / "docs"


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    """What makes pages of the code."""
    spec = importlib.util.spec_from_file_location("generated_pages", DOCS / "_ext" / "generated_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_has_a_place_in_the_site() -> None:
    placed = set(re.findall(r"^([\w/-]+)$", (DOCS / "index.md").read_text(), re.MULTILINE)) | {"index"}
    pages = [path for path in DOCS.rglob("*.md") if not {"_build", "generated"} & set(path.parts)]
    assert {path.relative_to(DOCS).with_suffix("").as_posix() for path in pages} - placed == set()


def test_a_command_s_page_lists_its_options_and_examples(generated: ModuleType) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        page = generated.command_page(name, command)
        assert page.startswith(f"# diffchrom {name}\n")
        assert f"$ diffchrom {name}" in page
        for parameter in command.params:
            if not getattr(parameter, "hidden", False) and parameter.param_type_name == "option":
                assert parameter.opts[0] in page, (name, parameter.name)


def test_the_page_of_the_library_has_every_public_name(generated: ModuleType) -> None:
    page = generated.api_page()
    for name in set(diffchrom.__all__) - {"__version__"}:
        assert re.search(rf"auto(class|function):: diffchrom\.[\w.]*\b{name}$", page, re.MULTILINE), name


def test_the_readme_points_to_what_is_there_and_its_picture_is_small() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", (PROJECT / "README.md").read_text())
    assert {target for target in targets if not (PROJECT / target).exists()} == set()
    (picture,) = (target for target in targets if target.endswith(".png"))
    assert (PROJECT / picture).stat().st_size < 150_000


def test_the_readme_s_accuracies_are_those_of_the_results() -> None:
    results = (DOCS / "results.md").read_text().splitlines()
    header, _, *rows = (
        line.strip("| ").split(" | ")
        for line in (PROJECT / "README.md").read_text().splitlines()
        if re.search(r"\| default \||\|---\|---\|---\||\d \[0", line)
    )
    methods = {"default": "additive", "gradient boosting": "gradient-boosting", "ridge": "ridge"}
    assert header[1:] == list(methods)
    assert len(rows) == 5
    for where, *cells in rows:
        pair = "-".join(re.findall(r"E\d{3}", where))
        for method, cell in zip(methods.values(), cells, strict=True):
            written = cell.replace("**", "")
            lines = [
                line for line in results if written in line and f" {method.strip()}" in line.replace("*", "")
            ]
            assert any(pair in line for line in lines), (where, method)

"""Every name that documents, docstrings and comments mention exists.

In docstrings `one backtick` is a name and ``two`` are literal text; in documents one serves for both.
"""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from conftest import PROJECT
from diffchrom.runs.folder import RunConfig

SOURCES = sorted((PROJECT / "src").rglob("*.py"))
DOCUMENTS = [*sorted((PROJECT / "docs").glob("*.md")), PROJECT / "README.md"]
FOLDERS = ("src", "tests", "examples", "docs")
TREE = [path.as_posix() for name in FOLDERS for path in (PROJECT / name).rglob("*.*")]
TREE += ["./diffchrom.toml"]  # the user's own, in the working folder
TREE += [path.as_posix() for path in PROJECT.glob("*.*")]
FILE = re.compile(r"[\w./-]+\.(?:py|c|h|sh|css|js|html|toml|md)")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
#: In documents: endings of data files, and names of other programs.
DATA = {
    "bb", "bed", "bigWig", "bw", "csv", "gz", "h5", "json", "pdf", "results", "safetensors", "sf", "tab",
    "tsv", "txt", "xml",
}  # fmt: skip
FOREIGN = {
    "csv.write_csv",
    "chrom.sizes",
    "features.a.mean",
    "run.open",
    "model.rows",
    "pair.rows",
    "adj.P.Val",
    "write.table",
}


@cache
def modules() -> dict[str, Any]:
    """All modules of the library by dotted name."""
    paths = [path.relative_to(PROJECT / "src").with_suffix("") for path in SOURCES if path.stem != "__main__"]
    names = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    return {name: importlib.import_module(name) for name in names}


@cache
def identifiers() -> set[str]:
    """All names in the code, and words that are strings of their own."""
    names = {part for path in SOURCES for part in (path.stem, path.parent.name)}
    for path in (PROJECT / "src").rglob("*.[ch]"):
        names |= set(re.findall(r"[A-Za-z_]\w*", path.read_text()))
    for node in (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))):
        values = [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "value")]
        names |= {value for value in values if isinstance(value, str) and " " not in value}
    return names


def has(owner: Any, parts: list[str]) -> bool:
    """Whether an attribute, or a field of a dataclass, of this path exists."""
    if not parts:
        return True
    first, *rest = parts
    if hasattr(owner, first):
        return has(getattr(owner, first), rest)
    return not rest and first in getattr(owner, "__annotations__", {})


def exists(name: str) -> bool:
    """Whether a dotted name is one of the library's, from any folder or class on, or of what it imports."""
    name = re.sub(r"^dc\.", "diffchrom.", name)  # `import diffchrom as dc`, in pages for notebooks
    parts = name.split(".")
    for path, module in modules().items():
        for n in range(len(parts), 0, -1):
            if f".{path}".endswith("." + ".".join(parts[:n])) and has(module, parts[n:]):
                return True
        if isinstance(getattr(module, parts[0], None), type) and has(module, parts):
            return True
    try:
        return has(importlib.import_module(parts[0]), parts[1:])
    except ImportError:
        return False


def texts(path: Path) -> Iterator[str]:
    """A document, or a module's docstrings and comments."""
    text = path.read_text()
    if path.suffix == ".md":
        yield text
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def mentioned(path: Path) -> set[tuple[str, bool]]:
    """What stands in backticks, and whether it must be a name."""
    spans = [span for text in texts(path) for span in re.findall(r"(?<!`)(`{1,2})([^`\n]+)\1(?!`)", text)]
    return {(re.sub(r"\(.*\)$", "", word), path.suffix == ".py" and len(ticks) == 1) for ticks, word in spans}


def is_known(word: str, is_name: bool) -> bool:
    if FILE.fullmatch(word):
        return any(path.endswith(f"/{word}") for path in TREE)
    if DOTTED.fullmatch(word):
        first, *_, last = word.split(".")
        if is_name or word.startswith("diffchrom."):
            return exists(word)
        key = first in RunConfig.__dataclass_fields__ and last in identifiers()  # of config.json
        return last in DATA or word in FOREIGN or key or exists(word)
    return not is_name or not word.isidentifier() or word in identifiers()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_name_in_a_document_exists(path: Path) -> None:
    assert {word for word, is_name in mentioned(path) if not is_known(word, is_name)} == set()


def test_every_name_in_docstrings_and_comments_exists() -> None:
    unknown = {
        (path.relative_to(PROJECT).as_posix(), word)
        for path in SOURCES
        for word, is_name in mentioned(path)
        if (is_name or FILE.fullmatch(word) or word.startswith("diffchrom.")) and not is_known(word, is_name)
    }
    assert unknown == set()


def test_the_map_of_the_code_names_every_folder() -> None:
    shown = set(re.findall(r"`(\w+)/`", (PROJECT / "docs" / "architecture.md").read_text()))
    package = PROJECT / "src" / "diffchrom"
    assert shown == {path.parent.name for path in package.glob("*/__init__.py")}

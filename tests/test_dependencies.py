"""What the library imports is what it declares."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from conftest import PROJECT


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """Top-level names of all modules that the library imports, wherever in a file."""
    names = set()
    for path in (PROJECT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"diffchrom"}


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = [text for extra in ("anndata", "dask", "fast", "hub") for text in extras[extra]]
    requirements = [*project["dependencies"], *optional]
    declared = {normalised(re.split(r"[^\w.-]", text)[0]) for text in requirements}
    # An extra that is not installed has no entry; it may be called what it is imported as.
    providers = packages_distributions()
    missing = {
        name for name in imported() if declared.isdisjoint(map(normalised, providers.get(name, [name])))
    }
    assert missing == set()

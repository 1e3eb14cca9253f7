"""Print the lower bounds of pyproject.toml as constraints for pip: ``make test-oldest``.

usage: python packaging/oldest.py [NAME==VERSION ...]

What is given takes the place of a bound, as where a release has no wheel for this machine.
"""

from __future__ import annotations

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lower_bounds(pyproject: Path = PYPROJECT) -> dict[str, str]:
    """Return the lowest version of each requirement, of the extras' too, by its name."""
    project = tomllib.loads(pyproject.read_text())["project"]
    requirements = chain(project["dependencies"], *project["optional-dependencies"].values())
    parts = (re.match(r"([\w.-]+)>=([\w.]+)", requirement) for requirement in requirements)
    return {part[1]: part[2] for part in parts if part}


if __name__ == "__main__":
    instead = dict(word.split("==") for word in sys.argv[1:])
    for name, version in (lower_bounds() | instead).items():
        print(f"{name}=={version}")

"""Configuration of the documentation site: ``make docs``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
sys.path.insert(0, str(HERE.parent / "src"))

from diffchrom import __version__  # noqa: E402

project = "diffchrom"
author = "The diffchrom developers"
copyright = author
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated_pages"]
exclude_patterns = ["_build", "_ext", "jupyter_execute"]
html_theme = "pydata_sphinx_theme"
html_title = f"diffchrom {__version__}"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}

# Every code cell runs at every build; one that fails, fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 1800  # for a cell that hangs: on a loaded machine one takes minutes
nb_execution_in_temp = True
nb_merge_streams = True
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "dollarmath"]
suppress_warnings = ["mystnb.unknown_mime_type"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_ivar = True
# `single backticks` are names in docstrings; where none is documented here they stay text.
default_role = "literal"

# What the cells start: the command and the library of this tree, on two cores, without colours.
_bin = str(Path(sys.executable).parent)
os.environ["PATH"] = os.pathsep.join([str(HERE / "_ext" / "bin"), _bin, os.environ["PATH"]])
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(HERE.parent / "src"), os.environ.get("PYTHONPATH")])
)
os.environ.update(
    OMP_NUM_THREADS="1", NO_COLOR="1", COLUMNS="100", MPLBACKEND="agg", DIFFCHROM_PYTHON=sys.executable
)
for _name in ("DIFFCHROM_STORE", "DIFFCHROM_DEBUG"):
    os.environ.pop(_name, None)

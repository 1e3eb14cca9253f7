"""A C extension is loaded where it can be, and otherwise says in one line why it is not."""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from diffchrom.baselines.kernel_svr import SOLVER
from diffchrom.deepdiff._kernel import KERNEL
from diffchrom.processes.compiled import Extension, declare
from diffchrom.signal.blocks import DECODER

NAMES = ("diffchrom.baselines._svr", "diffchrom.deepdiff._kernel._lstm", "diffchrom.signal._binning")
OURS = dict(zip(NAMES, (SOLVER, KERNEL, DECODER), strict=True))


def itself(library: ctypes.CDLL) -> ctypes.CDLL:
    return library


@pytest.mark.parametrize("name", NAMES)
def test_an_extension_is_there_or_says_that_it_was_not_built(name: str) -> None:
    if importlib.util.find_spec(name):
        assert OURS[name].missing is None
        OURS[name].require()
    else:
        assert "was not built (it needs GCC or Clang" in str(OURS[name].missing)


@pytest.mark.parametrize("name", NAMES)
def test_a_library_built_from_other_sources_is_refused(name: str) -> None:
    if not importlib.util.find_spec(name):
        pytest.skip(f"{name} was not built")
    other = Extension(name, "the thing", -1, itself)
    assert str(other.missing).startswith(
        "the thing could not be loaded: built from other sources (interface "
    )
    with pytest.raises(RuntimeError, match="install diffchrom again"):
        other.require()


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_built_says_what_it_needs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    absent = Extension(name, "the thing", 1, itself)
    assert absent.missing == "the thing was not built (it needs GCC or Clang when diffchrom is installed)"


def test_a_library_for_another_machine_or_without_its_functions_is_a_reason_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "_broken.so"
    library.write_bytes(b"\x7fELF of another kind")
    spec = importlib.machinery.ModuleSpec("broken._broken", None, origin=str(library))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    foreign = Extension("broken._broken", "the thing", 1, itself)
    assert str(foreign.missing).startswith(f"the thing could not be loaded: {library}: ")


def test_a_library_that_lacks_a_function_is_a_reason_too() -> None:
    name = next((name for name in NAMES if importlib.util.find_spec(name)), "")
    if not name:
        pytest.skip("no extension was built")

    def bind(library: ctypes.CDLL) -> Any:
        return declare(library.no_such_function, ctypes.c_int)

    lacking = Extension(name, "the thing", 1, bind)
    lacking._interface = OURS[name]._interface
    assert "no_such_function" in str(lacking.missing)

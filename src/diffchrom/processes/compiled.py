"""C extensions: built where there is a compiler, loaded with ctypes; elsewhere something slower serves."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Callable
from typing import Generic, TypeVar

Bound = TypeVar("Bound")


def declare(
    function: ctypes._NamedFuncPointer, result: type | None, *arguments: type
) -> ctypes._NamedFuncPointer:
    """Tell ctypes what a function takes and gives."""
    function.restype, function.argtypes = result, arguments
    return function


class Extension(Generic[Bound]):
    """A C extension beside a package, loaded when it is first asked for; calls release the GIL.

    Parameters
    ----------
    name : its module, as in ``setup.py``.
    title : what a message calls it.
    interface : what ``binning_interface()`` of its sources gives. Raised there and here whenever arguments
        change: a library that was built before is refused instead of reading wrong addresses.
    bind : makes of the library what is to be called.
    """

    def __init__(self, name: str, title: str, interface: int, bind: Callable[[ctypes.CDLL], Bound]) -> None:
        self._name, self._title, self._interface, self._bind = name, title, interface, bind

    @functools.cached_property
    def _loaded(self) -> Bound | str:
        spec = importlib.util.find_spec(self._name)
        if spec is None or spec.origin is None:
            return f"{self._title} was not built (it needs GCC or Clang when diffchrom is installed)"
        try:
            library = ctypes.CDLL(spec.origin)
            interface = f"{self._name.rpartition('._')[2]}_interface"
            if (built := declare(library[interface], ctypes.c_int)()) != self._interface:
                raise OSError(
                    f"built from other sources (interface {built}, not {self._interface}); "
                    "install diffchrom again"
                )
            return self._bind(library)
        except (OSError, AttributeError) as error:
            return f"{self._title} could not be loaded: {error}"

    @property
    def missing(self) -> str | None:
        """Why it can't be had, as one line; None where it can."""
        return self._loaded if isinstance(self._loaded, str) else None

    def require(self) -> Bound:
        """What `bind` made; RuntimeError where it can't be had."""
        if isinstance(self._loaded, str):
            raise RuntimeError(self._loaded)
        return self._loaded

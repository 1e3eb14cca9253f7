"""Binding of the fused LSTM kernel: finds the compiled library, loads it, hands it sizes and addresses.

The library is optional. `setup.py` builds it where there is a C compiler; elsewhere `library` gives None and
`unavailable_reason` says why. Nothing here knows torch: `diffchrom.deepdiff.fused_lstm` does.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util

#: `LSTM_INTERFACE` of job.h.
INTERFACE = 2

_SIZES = ("n_sequences", "batch", "steps", "input", "hidden", "threads")
_ADDRESSES = (
    "x",
    "weight_ih",
    "weight_hh",
    "bias_ih",
    "bias_hh",
    "context",
    "hidden_states",
    "saved",
    "alpha",
    "embedding",
    "grad_hidden_states",
    "grad_embedding",
    "grad_alpha",
    "grad_score",
    "grad_x",
    "grad_weight_ih",
    "grad_weight_hh",
    "grad_bias",
    "grad_context",
)


class Job(ctypes.Structure):
    """`struct job` of job.h, field by field; an address is None where an array is not asked for."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in _SIZES],
        *[(name, ctypes.c_void_p) for name in _ADDRESSES],
    ]


class Library:
    """The loaded kernel; its methods release the GIL and may be called from several threads.

    Parameters
    ----------
    path
        Shared library that `setup.py` built from lstm.c.
    """

    def __init__(self, path: str) -> None:
        loaded = ctypes.CDLL(path)
        if (built := _declare(loaded.lstm_interface, ctypes.c_int)()) != INTERFACE:
            raise OSError(
                f"built from other sources (interface {built}, not {INTERFACE}); install diffchrom again"
            )
        job = ctypes.POINTER(Job)
        self._isa = _declare(loaded.lstm_isa, ctypes.c_char_p, ctypes.c_int)
        self._use_isa = _declare(loaded.lstm_use_isa, ctypes.c_bool, ctypes.c_char_p)
        self._saved_size = _declare(loaded.lstm_saved_size, ctypes.c_int64, job)
        self._forward = _declare(loaded.lstm_forward, ctypes.c_int, job)
        self._backward = _declare(loaded.lstm_backward, ctypes.c_int, job)

    @property
    def instruction_sets(self) -> tuple[str, ...]:
        """Names of the instruction sets that this processor runs, best first."""
        names: list[str] = []
        while name := self._isa(len(names)):
            names.append(name.decode())
        return tuple(names)

    def use_instruction_set(self, name: str | None) -> None:
        """Compute with this instruction set from now on; None for the best.

        Raises
        ------
        ValueError
            When the processor doesn't run it.
        """
        if not self._use_isa(None if name is None else name.encode()):
            raise ValueError(f"this processor runs {', '.join(self.instruction_sets)}, not {name!r}")

    def saved_size(self, job: Job) -> int:
        """Count the floats that `forward` keeps for `backward`."""
        return int(self._saved_size(job))

    def forward(self, job: Job) -> None:
        """Compute hidden states, and with a context the attention; MemoryError where scratch runs out."""
        if self._forward(job):
            raise MemoryError("the fused LSTM kernel found no memory for its scratch space")

    def backward(self, job: Job) -> None:
        """Compute gradients; MemoryError where scratch runs out."""
        if self._backward(job):
            raise MemoryError("the fused LSTM kernel found no memory for its scratch space")


def _declare(function: ctypes._NamedFuncPointer, result: type, *arguments: type) -> ctypes._NamedFuncPointer:
    function.restype = result
    function.argtypes = arguments
    return function


@functools.cache
def _load() -> tuple[Library | None, str | None]:
    found = importlib.util.find_spec("diffchrom.deepdiff._kernel._lstm")
    if found is None or found.origin is None:
        return None, "the fused LSTM kernel was not built (it needs GCC or Clang when diffchrom is installed)"
    try:
        return Library(found.origin), None
    except (OSError, AttributeError) as error:
        return None, f"the fused LSTM kernel could not be loaded: {error}"


def library() -> Library | None:
    """Give the kernel, loaded at the first call, or None where it can't be had."""
    return _load()[0]


def unavailable_reason() -> str | None:
    """Why `library` gives None, as one line; None where it gives the kernel."""
    return _load()[1]

"""Binding of the fused LSTM kernel: hands the compiled library sizes and addresses.

The library is optional: `Extension.missing` of `KERNEL` says why it isn't there. Nothing here knows torch:
`diffchrom.deepdiff.fused_lstm` does.
"""

from __future__ import annotations

import ctypes

from diffchrom.processes.compiled import Extension, declare

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


class KernelJob(ctypes.Structure):
    """`struct job` of job.h, field by field; an address is None where an array is not asked for."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in _SIZES],
        *[(name, ctypes.c_void_p) for name in _ADDRESSES],
    ]


class Library:
    """The loaded kernel; its methods may be called from several threads."""

    def __init__(self, loaded: ctypes.CDLL) -> None:
        job = ctypes.POINTER(KernelJob)
        self._isa = declare(loaded.lstm_isa, ctypes.c_char_p, ctypes.c_int)
        self._use_isa = declare(loaded.lstm_use_isa, ctypes.c_bool, ctypes.c_char_p)
        self._saved_size = declare(loaded.lstm_saved_size, ctypes.c_int64, job)
        self._forward = declare(loaded.lstm_forward, ctypes.c_int, job)
        self._backward = declare(loaded.lstm_backward, ctypes.c_int, job)

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

    def saved_size(self, job: KernelJob) -> int:
        """Count the floats that `forward` keeps for `backward`."""
        return int(self._saved_size(job))

    def forward(self, job: KernelJob) -> None:
        """Compute hidden states, and with a context the attention; MemoryError where scratch runs out."""
        if self._forward(job):
            raise MemoryError("the fused LSTM kernel found no memory for its scratch space")

    def backward(self, job: KernelJob) -> None:
        """Compute gradients; MemoryError where scratch runs out."""
        if self._backward(job):
            raise MemoryError("the fused LSTM kernel found no memory for its scratch space")


KERNEL = Extension("diffchrom.deepdiff._kernel._lstm", "the fused LSTM kernel", INTERFACE, Library)

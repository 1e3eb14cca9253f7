"""Binding of the fused LSTM kernel and the steps around it: hands the compiled library sizes and addresses.

The library is optional: `Extension.missing` of `KERNEL` says why it isn't there. Nothing here knows torch:
`diffchrom.deepdiff.fused_lstm` and `fused_step` do.
"""

from __future__ import annotations

import ctypes

from diffchrom.processes.compiled import Extension, declare

#: `LSTM_INTERFACE` of job.h.
INTERFACE = 3

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
    "grad_bias_hh",
    "grad_context",
)


class KernelJob(ctypes.Structure):
    """`struct job` of job.h, field by field; an address is None where an array is not asked for."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in _SIZES],
        *[(name, ctypes.c_void_p) for name in _ADDRESSES],
    ]


class Dense(ctypes.Structure):
    """`struct dense` of step.h."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("inputs", "outputs", "rectified", "stride")],
        *[(name, ctypes.c_void_p) for name in ("weight", "bias", "grad_weight", "grad_bias")],
        *[(name, ctypes.c_void_p) for name in ("x", "y", "grad_y", "grad_x")],
    ]


_STEP_SIZES = (
    "batch",
    "marks",
    "bins",
    "sequences",
    "embedding_size",
    "summary_size",
    "n_level1",
    "n_level2",
    "n_dense",
    "threads",
    "classes",
    "siamese",
    "compare_dropped",
    "halved",
)
_STEP_ADDRESSES = (
    "sources",
    "rows",
    "first",
    "a",
    "b",
    "x",
    "embedding",
    "grad_embedding",
    "kept_embedding",
    "kept_summary",
    "features",
    "grad_features",
    "log2fc",
    "target",
    "weight",
    "grad_log2fc",
)


class StepJob(ctypes.Structure):
    """`struct step` of step.h."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in _STEP_SIZES],
        *[
            (name, ctypes.c_float)
            for name in ("cell_weight", "contrastive_weight", "margin", "change_threshold")
        ],
        ("level1", ctypes.POINTER(KernelJob)),
        ("level2", ctypes.POINTER(KernelJob)),
        ("dense", ctypes.POINTER(Dense)),
        *[(name, ctypes.c_void_p) for name in _STEP_ADDRESSES],
        *[(name, ctypes.c_void_p * 2) for name in ("expression", "level", "grad_expression")],
        ("loss", ctypes.c_void_p),
    ]


class AdamJob(ctypes.Structure):
    """`struct adam` of step.h."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("size", "threads")],
        *[(name, ctypes.c_void_p) for name in ("values", "gradient", "mean", "square", "step")],
        *[(name, ctypes.c_double) for name in ("rate", "beta1", "beta2", "epsilon", "clip_norm")],
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
        self._gradients = declare(loaded.step_gradients, ctypes.c_int, ctypes.POINTER(StepJob))
        #: Clips a gradient and takes a step of Adam.
        self.adam = declare(loaded.adam_step, None, ctypes.POINTER(AdamJob))

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

    def gradients(self, step: StepJob) -> None:
        """Compute the loss of a batch and all gradients; MemoryError where scratch runs out."""
        if self._gradients(step):
            raise MemoryError("the fused LSTM kernel found no memory for its scratch space")


KERNEL = Extension("diffchrom.deepdiff._kernel._lstm", "the fused LSTM kernel", INTERFACE, Library)

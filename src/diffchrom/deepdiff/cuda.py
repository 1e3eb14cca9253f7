"""What is particular to CUDA: which card, how much room it has, and what makes it give the same bytes twice.

docs/gpu.md says what of this has been seen on a card, and what only read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from diffchrom.deepdiff.lstm import threads_for_lstm
from diffchrom.errors import RunError, UsageError
from diffchrom.processes.machine import worker_number

#: cuBLAS gives the same sums every time only from a workspace of fixed size; read when it is loaded.
_WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device; auto takes CUDA where there is any.

    Workers of one machine that are not told which card share the cards out, by their number.

    Raises
    ------
    UsageError
        When there is no such card.
    """
    kind, _, number = name.partition(":")
    n_cards = torch.cuda.device_count() if kind != "cpu" and torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not n_cards):
        return torch.device("cpu")
    if not n_cards:
        raise UsageError(f"`device={name}`: no CUDA device is usable here; use `device=cpu` or auto")
    index = int(number) if number else worker_number() % n_cards
    if index >= n_cards:
        raise UsageError(f"`device={name}`: the cards here are cuda:0 to cuda:{n_cards - 1}")
    os.environ.setdefault(*_WORKSPACE)
    return torch.device("cuda", index)


def free_bytes(device: torch.device) -> int | None:
    """Bytes that are free on a card; None on the CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


@contextmanager
def on_card(device: torch.device) -> Iterator[None]:
    """Compute on a card inside the block so that the same seed gives the same bytes; nothing on the CPU.

    float32 stays float32 (no TF32), and cuDNN takes algorithms that give the same sums every time.

    Raises
    ------
    RunError
        When the card's memory does not suffice.
    """
    if device.type != "cuda":
        yield
        return
    products = torch.backends.cuda.matmul
    before = products.allow_tf32
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            products.allow_tf32 = False
            yield
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"{device}: the card's memory does not suffice; use a smaller `batch_size`, fewer runs at a "
            "time (`workers`), another card (`device=cuda:N`) or `device=cpu`"
        ) from error
    finally:
        products.allow_tf32 = before


@contextmanager
def computing(device: torch.device) -> Iterator[None]:
    """Compute with Level I and II inside the block: as `on_card`, and on the CPU without wasted threads."""
    with threads_for_lstm(device), on_card(device):
        yield

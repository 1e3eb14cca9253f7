"""Differential gene expression from histone-modification tracks of two cell types.

``import diffchrom as dc`` loads nothing heavy; each name below loads what it needs when it is first used
(PEP 562). docs/api.md shows them at work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffchrom._version import __version__

if TYPE_CHECKING:
    from diffchrom.face.made import MadeRun as MadeRun
    from diffchrom.face.made import fit_baseline as fit_baseline
    from diffchrom.face.made import open_run as open_run
    from diffchrom.face.made import open_store as open_store
    from diffchrom.face.made import prepare_store as prepare_store
    from diffchrom.face.made import train as train
    from diffchrom.face.opened import Baseline as Baseline
    from diffchrom.face.opened import Model as Model
    from diffchrom.face.opened import OpenedStore as OpenedStore
    from diffchrom.pairs.labelled import LabelledArray as LabelledArray
    from diffchrom.pairs.pair import Pair as Pair
    from diffchrom.progress import BarReporter as BarReporter

#: Name to the module that has it.
_HOMES = {
    **dict.fromkeys(("Baseline", "Model", "OpenedStore"), "diffchrom.face.opened"),
    **dict.fromkeys(
        ("MadeRun", "fit_baseline", "open_run", "open_store", "prepare_store", "train"), "diffchrom.face.made"
    ),
    "BarReporter": "diffchrom.progress",
    "LabelledArray": "diffchrom.pairs.labelled",
    "Pair": "diffchrom.pairs.pair",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'diffchrom' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""One track as a file of its own, as it is read before it goes into a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy.typing as npt

from diffchrom.errors import StoreError
from diffchrom.files.whole import staged
from diffchrom.genome.genes import Signal
from diffchrom.store.format import COMPRESSION, digest, reading, signal_chunks
from diffchrom.store.soundness import read_attrs, write_attrs
from diffchrom.store.statistics import Statistics


@dataclass(frozen=True)
class RegionSignal:
    """A track's signal in one region.

    Attributes
    ----------
    values : float32 [n_genes, n_windows]
    attrs : of the track in the store.
    extra : further arrays that stay in the part (coverage).
    """

    values: Signal
    attrs: Mapping[str, Any]
    extra: Mapping[str, npt.NDArray[Any]]


def write_part(path: Path, signals: Mapping[str, RegionSignal], *, draft: bool = False) -> None:
    """Write one track as it will stand in a store, for `StoreEditor.add_part`; whole or not at all.

    Parameters
    ----------
    path : the part's file.
    signals : by region.
    draft : write the values plainly, since the part's rows are still to be chosen.
    """
    with staged(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        for region, signal in signals.items():
            layout = {} if draft else {"chunks": signal_chunks(*signal.values.shape), **COMPRESSION}
            group = file.create_group(region)
            dataset = group.create_dataset("values", data=signal.values, **layout)
            write_attrs(dataset, signal.attrs)
            if not draft:
                told = {"values_sha256": digest(signal.values), **Statistics.of(signal.values).attrs()}
                write_attrs(dataset, told)
            for name, array in signal.extra.items():
                group[name] = array


def is_part(path: Path) -> bool:
    """Tell whether a part is there and whole; parts are renamed into place, so opening it is enough."""
    try:
        with reading(path):
            return True
    except StoreError:
        return False


def read_part(path: Path, region: str, name: str = "values") -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read an array of a part and the track's attributes; StoreError when the part is broken."""
    with reading(path) as file:
        return file[region][name][:], read_attrs(file[region]["values"])

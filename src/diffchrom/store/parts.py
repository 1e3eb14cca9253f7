"""One track as a file of its own, as it is read before it goes into a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy.typing as npt

from diffchrom.errors import StoreError
from diffchrom.files.whole import staged
from diffchrom.genome.genes import Signal
from diffchrom.store.format import CHUNK_GENES, COMPRESSION, digest, reading
from diffchrom.store.soundness import read_attrs, write_attrs


def signal_chunks(n_genes: int, n_bins: int) -> tuple[int, int]:
    """Chunk shape of a track: few genes, so that reading random genes inflates little."""
    return min(CHUNK_GENES, n_genes), n_bins


def write_part(
    path: Path,
    values: Signal,
    attrs: Mapping[str, Any],
    extra: Mapping[str, npt.NDArray[Any]],
    *,
    draft: bool = False,
) -> None:
    """Write one track as it will stand in a store, for `StoreEditor.add_part`; whole or not at all.

    Parameters
    ----------
    path : the part's file.
    values : float32 [n_genes, n_bins].
    attrs : of the track.
    extra : further arrays that stay in the part (coverage).
    draft : write the values plainly, since the part's rows are still to be chosen.
    """
    layout = {} if draft else {"chunks": signal_chunks(*values.shape), **COMPRESSION}
    with staged(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        dataset = file.create_dataset("values", data=values, **layout)
        write_attrs(dataset, attrs)
        if not draft:
            write_attrs(dataset, {"values_sha256": digest(values)})
        for name, array in extra.items():
            file[name] = array


def is_part(path: Path) -> bool:
    """Tell whether a part is there and whole; parts are renamed into place, so opening it is enough."""
    try:
        with reading(path) as file:
            return "values" in file
    except StoreError:
        return False


def read_part(path: Path, name: str = "values") -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read an array of a part and the track's attributes; StoreError when the part is broken."""
    with reading(path) as file:
        return file[name][:], read_attrs(file["values"])

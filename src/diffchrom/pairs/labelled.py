"""Arrays whose axes have names and labels: what a model says of genes, sequences and windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class LabelledArray:
    """Numbers with a label for every place of every axis.

    Attributes
    ----------
    name : what the numbers are, as a column is called.
    values : one axis for each of `axes`, in their order.
    axes : name of an axis (``gene``, ``sequence``, ``window``, ...) to its labels.
    """

    name: str
    values: npt.NDArray[Any]
    axes: Mapping[str, npt.NDArray[Any]]

    def __post_init__(self) -> None:
        if self.values.shape != tuple(len(labels) for labels in self.axes.values()):
            raise ValueError(f"{self.name}: {self.values.shape} does not fit axes {list(self.axes)}")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is None:  # a word that numpy 1 does not know
            return np.asarray(self.values, dtype=dtype)
        return np.array(self.values, dtype=dtype, copy=copy)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """As a long table: a row a number, the last axis fastest; for ``pandas.DataFrame``."""
        places = np.indices(self.values.shape)
        labels = {axis: of[places[at].ravel()] for at, (axis, of) in enumerate(self.axes.items())}
        return labels | {self.name: self.values.ravel()}

"""Genes as tensors: the transformed signal and labels that a model is trained on, in memory or on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.loss import Targets, median_classes
from diffchrom.deepdiff.model import CELL_A, CELL_B
from diffchrom.errors import OutputError
from diffchrom.files.disk_array import disk_array
from diffchrom.genome.genes import Rows, Signal
from diffchrom.pairs.label_noise import inverse_variance_weights
from diffchrom.pairs.pair import PairData
from diffchrom.pairs.transform import PIECE, Transform, pieces


@dataclass(frozen=True)
class Block:
    """Neighbouring examples of one pair of cells.

    Attributes
    ----------
    n : how many.
    first_a, first_b : whether no block before has that cell, which is to count once.
    """

    n: int
    first_a: bool = True
    first_b: bool = True


@dataclass(frozen=True)
class GeneTensors:
    """Genes of one part of the split, of one pair of cells or of several.

    Attributes
    ----------
    a, b : Tensor [n_genes, n_marks, n_bins]
        Transformed signal; on `device`, or where it has no room there in memory, or memory-mapped.
    targets : labels, on `device`.
    device : where batches go.
    on_disk : whether the signal is memory-mapped.
    covariates : Tensor [n_genes, n_covariates], not scaled, on `device`; None for models that read none.
    blocks : of pairs, one after the other; empty for one pair (`pairs`).
    """

    a: Tensor
    b: Tensor
    targets: Targets
    device: torch.device
    on_disk: bool = False
    covariates: Tensor | None = None
    blocks: tuple[Block, ...] = ()

    @property
    def pairs(self) -> list[tuple[slice, Block]]:
        """Where the examples of each pair stand."""
        blocks = self.blocks or (Block(len(self)),)
        ends = np.cumsum([block.n for block in blocks]).tolist()
        return [(slice(end - block.n, end), block) for end, block in zip(ends, blocks, strict=True)]

    def __len__(self) -> int:
        return len(self.a)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What a model's forward pass takes."""
        return (self.a, self.b) if self.covariates is None else (self.a, self.b, self.covariates)

    def batch(self, index: Tensor) -> GeneTensors:
        """Return the genes at `index`, on the device."""
        here, rows = index.to(self.device), index.to(self.a.device)
        return GeneTensors(
            self.a[rows].to(self.device),
            self.b[rows].to(self.device),
            self.targets.take(here),
            self.device,
            covariates=None if self.covariates is None else self.covariates[here],
        )

    def batches(self, order: Tensor, batch_size: int) -> Iterator[GeneTensors]:
        """Yield batches of the genes in `order`; what is elsewhere is fetched a batch ahead, in a thread."""
        indices = torch.split(order, batch_size)
        if not self.on_disk and self.a.device == self.device:
            yield from map(self.batch, indices)
            return
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = reader.submit(self.batch, indices[0])
            for index in indices[1:]:
                ready, ahead = ahead, reader.submit(self.batch, index)
                yield ready.result()
            yield ahead.result()


def examples_of(
    data: PairData,
    part: str,
    transform: Transform,
    settings: Hyperparameters,
    medians: dict[str, float],
    device: torch.device,
    spill: Path | None = None,
    resident: bool = True,
) -> GeneTensors:
    """Make one part of the split into tensors.

    Parameters
    ----------
    data, part : the genes.
    transform : fitted on the training genes.
    settings : whose ``aux_task`` decides the kind of the auxiliary labels.
    medians : of log2(expression + 1) of cells A and B over the training genes, for classification.
    device : where to put it.
    spill : folder for the transformed signal where it is larger than memory; None is memory.
    resident : whether the signal has room on the device, where it is not on disk.
    """
    resident = resident and spill is None
    rows = data.rows(part)
    expression = {CELL_A: data.expr_a[rows], CELL_B: data.expr_b[rows]} if data.unit else {}
    complete = all(np.isfinite(values).all() for values in expression.values())
    targets = {block: torch.from_numpy(values).float() for block, values in expression.items()}
    weight = None
    if settings.weight_by_se and part == "train" and data.se is not None:
        weights = inverse_variance_weights(data.log2fc[rows], data.se[rows])
        weight = torch.from_numpy(weights).float().to(device)
    if settings.aux_task == "classification":
        targets = {block: median_classes(values, medians[block]) for block, values in targets.items()}
    a, b = (_transformed(signal, rows, transform, spill) for signal in (data.signal_a, data.signal_b))
    return GeneTensors(
        a.to(device) if resident else a,
        b.to(device) if resident else b,
        Targets(
            torch.from_numpy(data.log2fc[rows]).float().to(device),
            {block: values.to(device) for block, values in targets.items()},
            weight,
            complete,
        ),
        device,
        on_disk=spill is not None,
        covariates=torch.from_numpy(data.covariates[rows]).to(device)
        if data.covariates is not None and data.covariates.shape[1]
        else None,
    )


def joined(
    parts: Sequence[GeneTensors], cells: Sequence[tuple[str, str]], spill: Path | None = None
) -> GeneTensors:
    """Examples of several pairs, one pair after the other; shuffled, all pairs are in every batch.

    Parameters
    ----------
    parts, cells : of each pair.
    spill : as of `examples_of`.
    """
    if len(parts) == 1:
        return parts[0]
    blocks = tuple(
        Block(len(part), a not in (before := {*chain(*cells[:number])}), b not in before)
        for number, (part, (a, b)) in enumerate(zip(parts, cells, strict=True))
    )
    targets = [part.targets for part in parts]
    covariates = [part.covariates for part in parts if part.covariates is not None]
    weights = [of_pair.weight for of_pair in targets if of_pair.weight is not None]
    return GeneTensors(
        _stacked([part.a for part in parts], spill),
        _stacked([part.b for part in parts], spill),
        Targets(
            torch.cat([of_pair.log2fc for of_pair in targets]),
            {
                block: torch.cat([of_pair.expression[block] for of_pair in targets])
                for block in targets[0].expression
            },
            torch.cat(weights) if weights else None,
            all(of_pair.complete for of_pair in targets),
        ),
        parts[0].device,
        parts[0].on_disk,
        torch.cat(covariates) if covariates else None,
        blocks,
    )


def _stacked(signals: Sequence[Tensor], spill: Path | None) -> Tensor:
    if spill is None:
        return torch.cat(list(signals))
    values = disk_array(spill, (sum(map(len, signals)), *signals[0].shape[1:]))
    np.concatenate([signal.numpy() for signal in signals], out=values)
    return torch.from_numpy(values)


def save_examples(path: Path, parts: Mapping[str, GeneTensors]) -> None:
    """Write examples of the CPU to a safetensors file, for other processes of this machine.

    Raises
    ------
    OutputError
        When there is no room for it, or no permission.
    """
    tensors: dict[str, Tensor] = {}
    for part, examples in parts.items():
        targets = examples.targets
        fields = {"a": examples.a, "b": examples.b, "log2fc": targets.log2fc, "weight": targets.weight}
        fields["covariates"] = examples.covariates
        fields |= {f"expression/{block}": values for block, values in targets.expression.items()}
        tensors |= {f"{part}/{name}": tensor for name, tensor in fields.items() if tensor is not None}
    told = {
        part: json.dumps([examples.targets.complete, [astuple(block) for block in examples.blocks]])
        for part, examples in parts.items()
    }
    try:
        save_file(tensors, path, metadata=told)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error


def load_examples(path: Path, part: str) -> GeneTensors:
    """Map a part of what `save_examples` wrote into memory; processes that do so share it."""
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(f"{part}/")]  # noqa: SIM118
        fields = {name.removeprefix(f"{part}/"): file.get_tensor(name) for name in names}
        complete, blocks = json.loads(file.metadata()[part])
    labelled = [name for name in fields if name.startswith("expression/")]
    expression = {name.removeprefix("expression/"): fields[name] for name in labelled}
    targets = Targets(fields["log2fc"], expression, fields.get("weight"), complete)
    return GeneTensors(
        fields["a"],
        fields["b"],
        targets,
        torch.device("cpu"),
        covariates=fields.get("covariates"),
        blocks=tuple(Block(*values) for values in blocks),
    )


def _transformed(signal: Signal, rows: Rows, transform: Transform, spill: Path | None) -> Tensor:
    shape = (len(rows), *signal.shape[1:])
    values = np.empty(shape, np.float32) if spill is None else disk_array(spill, shape)
    for number, piece in enumerate(pieces(rows)):
        values[number * PIECE : number * PIECE + len(piece)] = transform.apply(signal[piece])
    return torch.from_numpy(values)

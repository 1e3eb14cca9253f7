"""Training steps of the DeepDiff variants in one call of the kernel: no autograd, no small operations.

A step of a variant is a fixed graph, so all that it reads and writes lies in arrays that are laid out once,
and the call walks over them: Level I, Level II, heads, losses, and the way back into the optimiser's
gradients. `fitting.training_step` computes the same with autograd, for any model and device.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff import _kernel
from diffchrom.deepdiff.examples import GeneTensors
from diffchrom.deepdiff.fused_lstm import job_of, threads_of_kernel, workspaces
from diffchrom.deepdiff.lstm import backend_name
from diffchrom.deepdiff.model import CELL_A, CELL_B, MAIN, SHARED, DeepDiff, Encoder, PairModel
from diffchrom.deepdiff.optimiser import Adam
from diffchrom.variants import SOURCES

CELLS = (CELL_A, CELL_B)


def fused_step(model: PairModel, optimiser: Adam, settings: Hyperparameters) -> FusedStep | None:
    """What takes a model's training steps; None where autograd must.

    Parameters
    ----------
    model, optimiser : of the same parameters, which stay where they are in memory.
    """
    if type(model) is not DeepDiff or settings.precision != "float32":
        return None
    served = all(
        parameter.requires_grad and backend_name(parameter.device, parameter.dtype) == "fused"
        for parameter in model.parameters()
    )
    return FusedStep(model, optimiser, settings) if served else None


class FusedStep:
    """Takes training steps on batches of any size; see `fused_step`."""

    def __init__(self, model: DeepDiff, optimiser: Adam, settings: Hyperparameters) -> None:
        self.model, self.optimiser, self.settings = model, optimiser, settings
        self.plan: StepPlan | None = None

    def __call__(self, batch: GeneTensors) -> Tensor:
        """Take a step; gives the loss."""
        if self.plan is None or self.plan.shape != batch.a.shape:
            self.plan = None  # first of all gives back its memory, of which the next is made
            self.plan = StepPlan(self.model, self.settings, batch.a.shape)
        loss = self.plan.gradients(batch)
        self.optimiser.fused_step(self.settings.clip_norm, threads_of_kernel())
        return loss


class StepPlan:
    """The arrays of a step on batches of one shape, and the structures of the kernel that point at them.

    Parameters
    ----------
    model : its parameters have gradients, which every batch overwrites.
    settings : of the losses.
    shape : of a batch's signal, [n_genes, n_marks, n_bins].

    Attributes
    ----------
    log2fc, expression, loss : of the last batch, as `model.Output` and `loss.total_loss` give them.
    """

    def __init__(self, model: DeepDiff, settings: Hyperparameters, shape: torch.Size) -> None:
        if shape[1] != model.n_marks or 0 in shape:
            raise ValueError(f"a model of {model.n_marks} marks has no step on signal {list(shape)}")
        self.model, self.shape = model, shape
        self._arrays: list[object] = []  # what structures point at
        self._kept: list[Tensor] = []  # dropout's factors, in the order in which they are drawn
        self.expression: dict[str, Tensor] = {}
        self.loss = torch.zeros(())
        self._step = _kernel.StepJob(
            *shape,
            classes=2 if settings.aux_task == "classification" else 1,
            siamese=model.variant.siamese,
            compare_dropped=model.drop_compared,
            halved=settings.contrastive == "paper",
            cell_weight=settings.cell_weight,
            contrastive_weight=settings.contrastive_weight,
            margin=settings.margin,
            change_threshold=settings.change_threshold,
            loss=self.loss.data_ptr(),
        )
        self._lay_out_level1(*shape)
        self._lay_out_level2(*shape[:2])
        self._lay_out_heads(shape[0])

    def gradients(self, batch: GeneTensors) -> Tensor:
        """Loss of a batch; its gradients are in the parameters' ``grad`` afterwards."""
        if self._kept:
            self._draw_dropout()
        held = self._point_at(batch)
        self._step.threads = threads_of_kernel()
        _kernel.KERNEL.require().gradients(self._step)
        del held
        return self.loss.clone()

    def _draw_dropout(self) -> None:
        """As `torch.nn.functional.dropout` does, from the same random numbers."""
        for factors in self._kept:
            if self.model.training:
                factors.bernoulli_(1 - self.model.dropout).div_(1 - self.model.dropout)
            else:
                factors.fill_(1)

    def _point_at(self, batch: GeneTensors) -> list[Tensor]:
        """Let the structure point at signal and labels; gives what must outlive the call."""
        held: list[Tensor] = []

        def address(tensor: Tensor | None, shape: torch.Size, dtype: torch.dtype) -> int | None:
            if tensor is None:
                return None
            if tensor.shape != shape or tensor.dtype != dtype:
                raise ValueError(f"expected {dtype} {list(shape)}, got {tensor.dtype} {list(tensor.shape)}")
            held.append(tensor.contiguous())
            return held[-1].data_ptr()

        step, targets, genes, real = self._step, batch.targets, self.shape[:1], torch.float32
        step.a, step.b = (address(signal, self.shape, real) for signal in (batch.a, batch.b))
        step.target, step.weight = (
            address(values, genes, real) for values in (targets.log2fc, targets.weight)
        )
        for number, cell in enumerate(self.expression):
            kind = torch.int64 if step.classes > 1 else real
            step.level[number] = address(targets.expression.get(cell), genes, kind)
        return held

    def _array(self, *shape: int) -> Tensor:
        array = workspaces.empty(*shape)
        self._arrays.append(array)
        return array

    def _numbers(self, values: list[int]) -> int:
        """Address of int64 values."""
        self._arrays.append(torch.tensor(values))
        return cast(Tensor, self._arrays[-1]).data_ptr()

    def _encoder(self, encoder: Encoder, x: Tensor, **arrays: Tensor) -> _kernel.KernelJob:
        """Forward and backward over `x` [n_sequences, n_genes, n_steps, n_inputs]."""
        lstm = encoder.lstm
        hidden = lstm.hidden_size
        steps = x.shape[:3]
        saved = _kernel.KERNEL.require().saved_size(job_of(x, hidden))
        return job_of(
            x,
            hidden,
            **dict(lstm.named_parameters()),
            context=encoder.context,
            hidden_states=self._array(*steps, 2 * hidden),
            saved=self._array(saved),
            alpha=self._array(*steps),
            grad_score=self._array(*steps),
            grad_weight_ih=lstm.weight_ih.grad,
            grad_weight_hh=lstm.weight_hh.grad,
            grad_bias=lstm.bias_ih.grad,
            grad_bias_hh=lstm.bias_hh.grad,
            grad_context=encoder.context.grad,
            **arrays,
        )

    def _lay_out_level1(self, n_genes: int, n_marks: int, n_bins: int) -> None:
        """Banks in the model's order; the cells' sequences share one, with its genes twice, if siamese."""
        encoders = {block: cast(Encoder, encoder) for block, encoder in self.model.level1.items()}
        sources = self.model.sequences()
        n_sequences = sum(len(names) for names in sources.values()) * n_marks
        width = next(iter(encoders.values())).context.shape[1]
        signal = self._array(n_sequences * n_genes, n_bins)
        embedding, grad = (self._array(n_sequences * n_genes, width) for _ in range(2))
        jobs: list[_kernel.KernelJob] = []
        rows: list[int] = []
        for block, encoder in encoders.items():
            times = 2 if block == SHARED else 1
            n_own = n_marks * (1 if block == SHARED else len(sources[block]))
            own = slice(len(rows) * n_genes, (len(rows) + n_own * times) * n_genes)
            x = signal[own].view(n_own, times * n_genes, n_bins, 1)
            jobs.append(self._encoder(encoder, x, embedding=embedding[own], grad_embedding=grad[own]))
            # One sequence after the other; but in a shared bank B's follow A's of the same mark.
            rows += torch.arange(own.start, own.stop, n_genes).view(n_own, times).T.flatten().tolist()
        if self.model.dropout:
            kept = self._array(n_sequences, n_genes, width)
            self._kept += torch.split(kept, [len(names) * n_marks for names in sources.values()])
            self._step.kept_embedding = kept.data_ptr()
        step = self._step
        step.sequences, step.embedding_size, step.n_level1 = n_sequences, width, len(jobs)
        step.x, step.embedding, step.grad_embedding = (
            array.data_ptr() for array in (signal, embedding, grad)
        )
        names = [source for block in sources.values() for source in block]
        step.sources = self._numbers([SOURCES.index(name) for name in names for _ in range(n_marks)])
        step.rows, step.level1 = self._numbers(rows), self._structures(jobs)

    def _lay_out_level2(self, n_genes: int, n_marks: int) -> None:
        """Blocks in the model's order of dropout: A, B, main; main reads all sequences."""
        encoders = {block: cast(Encoder, encoder) for block, encoder in self.model.level2.items()}
        step = self._step
        order = [block for block in (*CELLS, MAIN) if block in encoders]
        own = dict(zip(CELLS, range(step.sequences - 2 * n_marks, step.sequences, n_marks), strict=True))
        size = encoders[order[0]].context.shape[1]
        jobs = []
        for block in order:
            x = self._array(1, n_genes, step.sequences if block == MAIN else n_marks, step.embedding_size)
            arrays = {name: self._array(n_genes, size) for name in ("embedding", "grad_embedding")}
            jobs.append(self._encoder(encoders[block], x, grad_x=self._array(2, *x.shape), **arrays))
        if self.model.dropout:
            kept = self._array(len(order), n_genes, size)
            self._kept += kept
            step.kept_summary = kept.data_ptr()
        step.summary_size, step.n_level2 = size, len(jobs)
        step.first = self._numbers([own.get(block, 0) for block in order])
        step.level2 = self._structures(jobs)

    def _lay_out_heads(self, n_genes: int) -> None:
        """Each cell's expression from its summary; log2fc from main's, or both cells' where there is none."""
        model, step = self.model, self._step
        size = step.summary_size
        features, grad = (self._array(n_genes, step.n_level2 * size) for _ in range(2))
        step.features, step.grad_features = features.data_ptr(), grad.data_ptr()
        layers: list[_kernel.Dense] = []
        for number, cell in enumerate(model.expression):
            own = slice(number * size, (number + 1) * size)
            y, grad_y = self._dense(layers, model.expression[cell], features[:, own], grad[:, own])
            self.expression[cell] = y
            step.expression[number], step.grad_expression[number] = y.data_ptr(), grad_y.data_ptr()
        y, grad_y = features, grad
        if model.variant.main:
            y, grad_y = features[:, -size:], grad[:, -size:]
        hidden = [] if isinstance(model.head, nn.Linear) else [model.head[0]]  # type: ignore[index]
        for layer in hidden:
            y, grad_y = self._dense(layers, layer, y, grad_y, rectified=True)
        last = model.head[-1] if hidden else model.head  # type: ignore[index]
        y, grad_y = self._dense(layers, last, y, grad_y)
        self.log2fc = y[:, 0]
        step.log2fc, step.grad_log2fc = y.data_ptr(), grad_y.data_ptr()
        step.n_dense, step.dense = len(layers), self._structures(layers)

    def _dense(
        self,
        layers: list[_kernel.Dense],
        layer: nn.Module,
        x: Tensor,
        grad_x: Tensor,
        rectified: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Append a layer that reads `x` [n_genes, inputs]; gives its result and the gradient of that."""
        weight, bias = cast(nn.Linear, layer).weight, cast(nn.Linear, layer).bias
        y, grad_y = (self._array(len(x), len(bias)) for _ in range(2))
        tensors = (weight, bias, weight.grad, bias.grad, x, y, grad_y, grad_x)
        addresses = [cast(Tensor, tensor).data_ptr() for tensor in tensors]
        layers.append(_kernel.Dense(*reversed(weight.shape), rectified, x.stride(0), *addresses))
        return y, grad_y

    def _structures(self, structures: list[Any]) -> Any:
        """An array of them, as ctypes has it."""
        self._arrays.append((type(structures[0]) * len(structures))(*structures))
        return self._arrays[-1]

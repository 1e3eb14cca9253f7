"""A training step in one call of the kernel is the step that autograd takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from diffchrom.config import PRESETS, Hyperparameters
from diffchrom.deepdiff import _kernel
from diffchrom.deepdiff.building import build_model, seeded
from diffchrom.deepdiff.examples import GeneTensors
from diffchrom.deepdiff.fitting import stepper, training_step
from diffchrom.deepdiff.fused_step import FusedStep, StepPlan, fused_step
from diffchrom.deepdiff.loss import UNKNOWN_CLASS, Targets, total_loss
from diffchrom.deepdiff.lstm import kernel_unavailable_reason, use_backend
from diffchrom.deepdiff.model import DeepDiff, PairModel
from diffchrom.deepdiff.optimiser import Adam
from diffchrom.variants import VARIANTS

PUBLISHED = [name for name, row in VARIANTS.items() if not row.antisymmetric]
CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(
    kernel_unavailable_reason() is not None, reason=kernel_unavailable_reason() or ""
)


def some_genes(
    hyper: Hyperparameters, genes: int = 6, marks: int = 3, bins: int = 20, seed: int = 0
) -> GeneTensors:
    """Random signal and labels, of which some lie beyond the threshold of the contrastive loss."""
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(2, genes, marks, bins, generator=generator)
    labels = 3 * torch.randn(3, genes, generator=generator)
    expression = {"A": labels[1].abs(), "B": labels[2].abs()}
    if hyper.aux_task == "classification":
        expression = {cell: (values > 2).long() for cell, values in expression.items()}
    return GeneTensors(signal[0], signal[1], Targets(labels[0], expression), CPU)


def some_model(name: str, hyper: Hyperparameters, marks: int = 3) -> tuple[DeepDiff, Adam]:
    with seeded(5):
        model = build_model(VARIANTS[name], marks, hyper)
    assert isinstance(model, DeepDiff)
    return model, Adam(model.parameters(), hyper.lr)


def by_autograd(model: PairModel, genes: GeneTensors, hyper: Hyperparameters) -> dict[str, Tensor]:
    """Outputs, loss and gradients, by name."""
    model.zero_grad(set_to_none=False)
    with seeded(9):
        output = model(*genes.inputs)
        loss = total_loss(output, genes.targets, hyper)
        after = torch.rand(1)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: tensor.grad.clone() for name, tensor in model.named_parameters()}  # type: ignore[union-attr]
    results = {"loss": loss, "log2fc": output.log2fc, "random numbers after": after, **output.expression}
    return gradients | {name: tensor.detach() for name, tensor in results.items()}


def by_the_kernel(model: DeepDiff, genes: GeneTensors, hyper: Hyperparameters) -> dict[str, Tensor]:
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad.fill_(7)  # every gradient is overwritten
    plan = StepPlan(model, hyper, genes.a.shape)
    with seeded(9):
        loss = plan.gradients(genes)
        after = torch.rand(1)
    gradients = {name: tensor.grad.clone() for name, tensor in model.named_parameters()}  # type: ignore[union-attr]
    return gradients | {"loss": loss, "log2fc": plan.log2fc, "random numbers after": after, **plan.expression}


def output_of(script: str) -> str:
    """What a script prints that imports from this file."""
    command, here = [sys.executable, "-c", script], Path(__file__).parent
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=here)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_equal(ours: dict[str, Tensor], reference: dict[str, Tensor]) -> None:
    """To 1e-5 of a tensor's largest entry, or of a hundredth of any tensor's where all of its own cancel."""
    assert set(ours) == set(reference)
    floor = 0.01 * max(float(tensor.abs().max()) for tensor in reference.values())
    for name, tensor in reference.items():
        torch.testing.assert_close(
            ours[name], tensor, rtol=0, atol=1e-5 * max(float(tensor.abs().max()), floor), msg=name
        )


def assert_fused_equals_autograd(name: str, hyper: Hyperparameters, genes: GeneTensors) -> None:
    model, _ = some_model(name, hyper, genes.a.shape[1])
    assert_equal(by_the_kernel(model, genes, hyper), by_autograd(model, genes, hyper))


@pytest.fixture(params=["avx512", "avx2", "baseline"])
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set that the kernel holds and this processor runs."""
    kernel = _kernel.KERNEL.require()
    if request.param not in kernel.instruction_sets:
        pytest.skip(f"no kernel for {request.param} runs here")
    kernel.use_instruction_set(request.param)
    yield request.param
    kernel.use_instruction_set(None)


@pytest.mark.parametrize("aux_task", ["regression", "classification"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_outputs_losses_and_all_gradients_are_those_of_autograd(
    name: str, preset: str, aux_task: str
) -> None:
    hyper = replace(PRESETS[preset], aux_task=aux_task)
    assert_fused_equals_autograd(name, hyper, some_genes(hyper))


@given(
    name=st.sampled_from(PUBLISHED),
    preset=st.sampled_from(list(PRESETS)),
    genes=st.integers(1, 30),
    marks=st.integers(1, 6),
    bins=st.integers(1, 40),
    hidden=st.integers(1, 20),
    seed=st.integers(0, 2**31),
)
@example(name="raw+aux+siamese", preset="published", genes=10, marks=5, bins=200, hidden=16, seed=1)
@example(name="aux+siamese", preset="default", genes=1, marks=1, bins=1, hidden=1, seed=1)
@settings(deadline=None, max_examples=60)
def test_any_number_of_genes_marks_bins_and_units_gives_what_autograd_gives(
    name: str, preset: str, genes: int, marks: int, bins: int, hidden: int, seed: int
) -> None:
    hyper = replace(PRESETS[preset], hidden=2 * hidden)
    assert_fused_equals_autograd(name, hyper, some_genes(hyper, genes, marks, bins, seed))


@pytest.mark.parametrize("aux_task", ["regression", "classification"])
def test_every_instruction_set_gives_what_autograd_gives(instruction_set: str, aux_task: str) -> None:
    hyper = replace(PRESETS["default"], aux_task=aux_task)
    assert_fused_equals_autograd("raw+aux+siamese", hyper, some_genes(hyper))


@pytest.mark.parametrize("aux_task", ["regression", "classification"])
@pytest.mark.parametrize("unknown", [[0, 3], list(range(6))])
def test_genes_of_unknown_expression_count_for_nothing(aux_task: str, unknown: list[int]) -> None:
    hyper = replace(PRESETS["published"], aux_task=aux_task)
    genes = some_genes(hyper)
    genes.targets.expression["A"][unknown] = torch.nan if aux_task == "regression" else UNKNOWN_CLASS
    genes = replace(genes, targets=replace(genes.targets, complete=False))
    assert_fused_equals_autograd("raw+aux", hyper, genes)


@pytest.mark.parametrize("expression", [{}, {"B": torch.arange(6.0)}])
def test_cells_without_expression_have_no_loss_of_it(expression: dict[str, Tensor]) -> None:
    hyper = PRESETS["published"]
    genes = some_genes(hyper)
    without = replace(genes, targets=replace(genes.targets, expression=expression))
    assert_fused_equals_autograd("aux", hyper, without)


def test_weights_of_genes_weigh_the_loss_of_the_change_alone() -> None:
    hyper = PRESETS["published"]
    genes = some_genes(hyper)
    weight = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 1.0])
    weighted = replace(genes, targets=replace(genes.targets, weight=weight))
    assert_fused_equals_autograd("raw+aux+siamese", hyper, weighted)


def test_without_training_nothing_is_dropped() -> None:
    hyper = PRESETS["default"]
    model, _ = some_model("aux", hyper)
    model.eval()
    genes = some_genes(hyper)
    assert_equal(by_the_kernel(model, genes, hyper), by_autograd(model, genes, hyper))


def test_a_signal_that_is_not_a_number_shows_in_the_loss() -> None:
    hyper = PRESETS["published"]
    genes = some_genes(hyper)
    genes.a[2, 1, 4] = torch.nan
    model, _ = some_model("aux+siamese", hyper)
    ours, reference = by_the_kernel(model, genes, hyper), by_autograd(model, genes, hyper)
    assert reference["loss"].isnan()
    assert ours["loss"].isnan()
    assert torch.equal(ours["log2fc"].isnan(), reference["log2fc"].isnan())


@pytest.mark.parametrize("preset", ["published", "default"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_training_goes_where_it_goes_with_autograd(name: str, preset: str) -> None:
    hyper = replace(PRESETS[preset], lr=1e-3, clip_norm=2.0)
    ours, theirs = some_model(name, hyper), some_model(name, hyper)
    step = fused_step(*ours, hyper)
    assert step is not None
    for number, size in enumerate((6, 6, 1, 6, 4, 6)):  # the last batch of an epoch is smaller
        genes = some_genes(hyper, size, seed=number)
        with seeded(number):
            fused = step(genes)
        with seeded(number):
            loss = training_step(*theirs, genes, hyper)
        torch.testing.assert_close(fused, loss, rtol=1e-4, atol=1e-5)
    for one, other in zip(ours[0].parameters(), theirs[0].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("name", ["raw:d", "raw+aux+siamese"])
def test_any_number_of_threads_gives_the_same_bits(name: str) -> None:
    hyper = PRESETS["default"]
    weights, before = [], torch.get_num_threads()
    for threads in (1, 2, 3):
        model, optimiser = some_model(name, hyper)
        step = stepper(model, optimiser, hyper)
        torch.set_num_threads(threads)
        try:
            for number in range(3):
                with seeded(number):
                    step(some_genes(hyper, genes=14, seed=number))
        finally:
            torch.set_num_threads(before)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("shape", [(6, 4, 20), (0, 3, 20), (6, 3, 0)])
def test_signal_of_other_marks_or_none_is_refused(shape: tuple[int, ...]) -> None:
    hyper = PRESETS["published"]
    model, _ = some_model("raw:d", hyper)
    with pytest.raises(ValueError, match="a model of 3 marks has no step on signal"):
        StepPlan(model, hyper, torch.Size(shape))


@pytest.mark.parametrize("changed", [{"b": torch.zeros(6, 3, 19)}, {"a": torch.zeros(6, 3, 20).double()}])
def test_signal_of_another_shape_or_type_is_refused(changed: dict[str, Tensor]) -> None:
    hyper = PRESETS["published"]
    model, _ = some_model("raw:d", hyper)
    plan = StepPlan(model, hyper, torch.Size((6, 3, 20)))
    with pytest.raises(ValueError, match=r"expected torch.float32 \[6, 3, 20\], got"):
        plan.gradients(replace(some_genes(hyper), **changed))  # type: ignore[arg-type]


def test_steps_on_other_sizes_in_between_change_no_bit() -> None:
    hyper = PRESETS["published"]
    losses = []
    for sizes in ((8,), (3, 8, 5, 8)):
        model, optimiser = some_model("aux", replace(hyper, lr=0.0))
        step = stepper(model, optimiser, replace(hyper, lr=0.0))
        losses.append([step(some_genes(hyper, size)) for size in sizes][-1])
    assert torch.equal(losses[0], losses[1])


def test_memory_of_a_step_is_used_again_whatever_the_sizes_of_batches() -> None:
    script = """
import resource
from test_fused_step import PRESETS, some_genes, some_model, stepper
hyper = PRESETS["published"]
step = stepper(*some_model("raw", hyper), hyper)
def most(*sizes):
    for size in sizes:
        step(some_genes(hyper, size, bins=200))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few = most(20, 19)
print(most(*[20, 17, 11] * 5) - few)
"""
    assert int(output_of(script)) < 20_000  # KiB; a step takes 60 MiB


@pytest.mark.parametrize(
    "changed", [{"precision": "bfloat16"}, {"name": "antisymmetric"}, {"name": "additive"}]
)
def test_what_the_kernel_does_not_serve_is_left_to_autograd(changed: dict[str, str]) -> None:
    name = changed.pop("name", "aux")
    hyper = replace(PRESETS["published"], **changed)  # type: ignore[arg-type]
    model = build_model(VARIANTS[name], 3, hyper)
    assert fused_step(model, Adam(model.parameters(), 1e-3), hyper) is None


def test_a_model_with_a_part_that_is_not_to_learn_is_left_to_autograd() -> None:
    hyper = PRESETS["published"]
    model, optimiser = some_model("aux", hyper)
    model.level1.requires_grad_(False)
    assert fused_step(model, optimiser, hyper) is None


def test_another_back_end_is_left_to_autograd() -> None:
    hyper = PRESETS["published"]
    with use_backend("torch"):
        assert fused_step(*some_model("raw:d", hyper), hyper) is None
    assert isinstance(stepper(*some_model("raw:d", hyper), hyper), FusedStep)


def test_without_the_built_kernel_autograd_serves() -> None:
    script = """
import sys
sys.modules["diffchrom.deepdiff._kernel._lstm"] = None  # as where nothing was built
from test_fused_step import PRESETS, fused_step, some_genes, some_model, stepper
hyper = PRESETS["published"]
model, optimiser = some_model("raw:d", hyper)
print(fused_step(model, optimiser, hyper), stepper(model, optimiser, hyper)(some_genes(hyper)) > 0)
"""
    assert output_of(script).split() == ["None", "tensor(True)"]


@pytest.mark.parametrize("clip_norm", [1e-3, 1e3])
def test_adam_in_the_kernel_is_adam(instruction_set: str, clip_norm: float) -> None:
    def trained(step: str) -> list[Tensor]:
        torch.manual_seed(0)
        parameter = torch.nn.Parameter(torch.randn(140_001))  # several tasks and a rest
        optimiser = Adam([parameter], 1e-2)
        run: Callable[[], None] = {
            "torch": lambda: optimiser.step(clip_norm),
            "kernel": lambda: optimiser.fused_step(clip_norm, 2),
        }[step]
        for _ in range(4):
            assert parameter.grad is not None
            parameter.grad.copy_(torch.randn(140_001))
            run()
        return [parameter.detach(), *(value for name, value in sorted(optimiser.state()[0].items()))]

    for ours, reference in zip(trained("kernel"), trained("torch"), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-6)

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from diffchrom.deepdiff.optimiser import Adam


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))


def train(model: nn.Module, step: object, steps: int, seed: int = 1) -> None:
    """Take steps on losses that grow, so that clipping sets in on the way."""
    generator = torch.Generator().manual_seed(seed)
    for number in range(steps):
        model.zero_grad(set_to_none=False)
        x = torch.randn(4, 7, generator=generator)
        (0.02 * (number + 1) * model(x).square().sum()).backward()
        step()  # type: ignore[operator]


def test_steps_are_those_of_torch_with_clipped_gradients() -> None:
    ours, theirs = small_model(), small_model()
    optimiser = Adam(ours.parameters(), lr=0.01)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01)
    clipped = []

    def reference_step() -> None:
        clipped.append(float(nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)) > 0.5)
        reference.step()

    train(ours, lambda: optimiser.step(0.5), 40)
    train(theirs, reference_step, 40)
    assert 0 < sum(clipped) < 40
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for index, slots in reference.state_dict()["state"].items():
        for name, value in slots.items():
            torch.testing.assert_close(optimiser.state()[index][name], value, rtol=1e-5, atol=1e-7)


def test_a_state_put_back_goes_on_with_the_same_bits() -> None:
    model = small_model()
    optimiser = Adam(model.parameters(), lr=0.01)
    train(model, lambda: optimiser.step(1.0), 5)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {
        index: {name: tensor.clone() for name, tensor in slots.items()}
        for index, slots in optimiser.state().items()
    }
    train(model, lambda: optimiser.step(1.0), 5, seed=2)
    other = small_model()
    resumed = Adam(other.parameters(), lr=0.01)
    other.load_state_dict(weights)
    resumed.load_state(state)
    train(other, lambda: resumed.step(1.0), 5, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_a_state_of_other_parameters_is_refused() -> None:
    optimiser = Adam(small_model().parameters(), lr=0.01)
    state = optimiser.state()
    with pytest.raises(KeyError, match="3 parameters for 4"):
        optimiser.load_state({index: state[index] for index in range(3)})
    with pytest.raises(RuntimeError, match="exp_avg of parameter 1 has another shape"):
        optimiser.load_state(state | {1: state[1] | {"exp_avg": torch.zeros(2)}})


def test_parameters_without_a_gradient_stay_as_they_are() -> None:
    model = small_model()
    unused = nn.Parameter(torch.ones(3))
    optimiser = Adam([*model.parameters(), unused], lr=0.01)
    train(model, lambda: optimiser.step(1.0), 3)
    assert torch.equal(unused, torch.ones(3))


@pytest.mark.parametrize("replaced", [None, torch.ones(5)])
def test_a_gradient_that_was_replaced_is_refused(replaced: torch.Tensor | None) -> None:
    model = small_model()
    optimiser = Adam(model.parameters(), lr=0.01)
    train(model, lambda: optimiser.step(1.0), 1)
    model[0].bias.grad = replaced  # type: ignore[index]
    with pytest.raises(RuntimeError, match="replaced"):
        optimiser.step(1.0)


def test_a_step_does_not_load_the_compiler_of_torch() -> None:
    script = """
import sys, torch
from diffchrom.deepdiff.optimiser import Adam
parameter = torch.nn.Parameter(torch.ones(3))
optimiser = Adam([parameter], 0.1)
parameter.grad.fill_(1.0)
optimiser.step(1.0)
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diffchrom.deepdiff import _kernel
from diffchrom.deepdiff.lstm import (
    LSTMBank,
    attention_pool,
    backend_name,
    kernel_unavailable_reason,
    lstm_bank,
    set_backend,
    threads_for_lstm,
    use_backend,
)
from diffchrom.errors import UsageError

PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
needs_kernel = pytest.mark.skipif(
    kernel_unavailable_reason() is not None, reason=kernel_unavailable_reason() or ""
)
BACKENDS = ["torch", pytest.param("fused", marks=needs_kernel)]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every back end in turn, for what must hold for all of them."""
    with use_backend(request.param):
        yield request.param


@pytest.fixture(params=["avx512", "avx2", "baseline"])
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set that the kernel holds and this processor runs."""
    if _kernel.KERNEL.missing:
        pytest.skip(_kernel.KERNEL.missing)
    kernel = _kernel.KERNEL.require()
    if request.param not in kernel.instruction_sets:
        pytest.skip(f"no kernel for {request.param} runs here")
    kernel.use_instruction_set(request.param)
    yield request.param
    kernel.use_instruction_set(None)


def torch_lstm(bank: LSTMBank, sequence: int) -> torch.nn.LSTM:
    """`torch.nn.LSTM` with the weights of one sequence of the bank."""
    lstm = torch.nn.LSTM(bank.input_size, bank.hidden_size, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for direction, suffix in enumerate(("", "_reverse")):
            for name in PARAMETERS:
                getattr(lstm, f"{name}_l0{suffix}").copy_(getattr(bank, name)[sequence, direction])
    return lstm


def run(
    x: torch.Tensor, bank: LSTMBank, grad: torch.Tensor, backend: Any, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Hidden states, and the gradients of everything for the gradient `grad` of the hidden states."""
    leaves = {"x": x, **{name: getattr(bank, name) for name in PARAMETERS}}
    leaves = {name: leaf.detach().to(dtype).requires_grad_() for name, leaf in leaves.items()}
    hidden = lstm_bank(*leaves.values(), backend=backend)
    hidden.backward(grad.to(dtype))
    gradients = {f"grad of {name}": leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    assert len(gradients) == len(leaves)
    return {"hidden": hidden.detach(), **gradients}


def worst_error(result: dict[str, torch.Tensor], reference: dict[str, torch.Tensor]) -> float:
    """Largest difference of any entry, relative to the largest entry of its tensor (at least 1)."""
    return max(
        float((result[name] - reference[name]).abs().max() / reference[name].abs().max().clamp(min=1))
        for name in reference
    )


def example_of(n_sequences: int, batch: int, steps: int, inputs: int, hidden: int, seed: int = 0) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    bank = LSTMBank(n_sequences, inputs, hidden)
    x = torch.randn(n_sequences, batch, steps, inputs, generator=generator)
    grad = torch.randn(n_sequences, batch, steps, 2 * hidden, generator=generator)
    return bank, x, grad


def test_each_sequence_of_a_bank_is_a_torch_lstm_with_its_own_weights(backend: str) -> None:
    bank, x, _ = example_of(n_sequences=3, batch=4, steps=7, inputs=2, hidden=5)
    hidden = bank(x)
    for sequence in range(3):
        torch.testing.assert_close(hidden[sequence], torch_lstm(bank, sequence)(x[sequence])[0])


@needs_kernel
@given(
    n_sequences=st.integers(1, 3),
    batch=st.integers(1, 15),
    steps=st.integers(1, 30),
    inputs=st.integers(1, 20),
    hidden=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
@example(n_sequences=5, batch=10, steps=200, inputs=1, hidden=32, seed=1)  # Level I
@example(n_sequences=1, batch=10, steps=5, inputs=64, hidden=16, seed=1)  # Level II
@example(n_sequences=1, batch=1, steps=1, inputs=1, hidden=1, seed=1)
@settings(deadline=None, max_examples=60)
def test_fused_equals_float64_in_values_and_all_gradients(
    n_sequences: int, batch: int, steps: int, inputs: int, hidden: int, seed: int
) -> None:
    bank, x, grad = example_of(n_sequences, batch, steps, inputs, hidden, seed)
    reference = run(x, bank, grad, "torch", torch.float64)
    assert worst_error(run(x, bank, grad, "fused"), reference) < 5e-6


@pytest.mark.parametrize("sizes", [(2, 7, 20, 1, 32), (1, 3, 5, 64, 16), (1, 8, 9, 5, 37), (2, 1, 1, 1, 3)])
def test_every_instruction_set_equals_float64(instruction_set: str, sizes: tuple[int, ...]) -> None:
    bank, x, grad = example_of(*sizes)
    reference = run(x, bank, grad, "torch", torch.float64)
    assert worst_error(run(x, bank, grad, "fused"), reference) < 5e-6


def test_torch_path_passes_gradcheck_in_float64() -> None:
    bank, x, _ = example_of(n_sequences=2, batch=2, steps=3, inputs=2, hidden=3)
    leaves = [t.detach().double().requires_grad_() for t in (x, *(getattr(bank, n) for n in PARAMETERS))]
    assert torch.autograd.gradcheck(lstm_bank, leaves)


@needs_kernel
@pytest.mark.parametrize("sizes", [(5, 10, 40, 1, 32), (1, 70, 12, 6, 16)])
def test_any_number_of_threads_gives_the_same_bits(sizes: tuple[int, ...]) -> None:
    bank, x, grad = example_of(*sizes)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run(x, bank, grad, "fused"))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(results[0][name], other[name]) for name in other)


@needs_kernel
def test_any_number_of_threads_gives_the_same_attention_without_gradients() -> None:
    bank, x, _ = example_of(n_sequences=3, batch=30, steps=20, inputs=1, hidden=32)
    context = torch.randn(3, 64)
    before = torch.get_num_threads()
    results = []
    with torch.no_grad():
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(bank.attend(x, context))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


@needs_kernel
def test_the_kernel_keeps_the_threads_that_torch_leaves_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, x, _ = example_of(n_sequences=2, batch=3, steps=4, inputs=1, hidden=8)
    seen = []
    forward = _kernel.Library.forward
    monkeypatch.setattr(
        _kernel.Library, "forward", lambda self, job: (seen.append(job.threads), forward(self, job))
    )
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with threads_for_lstm():
            assert torch.get_num_threads() == 1
            bank(x)
        bank(x)
        with use_backend("torch"), threads_for_lstm():
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == [3, 3]


def test_without_gradients_the_values_are_the_same(backend: str) -> None:
    bank, x, _ = example_of(n_sequences=2, batch=11, steps=9, inputs=1, hidden=8)
    with torch.no_grad():
        inferred = bank(x)
    torch.testing.assert_close(inferred, bank(x).detach(), rtol=0, atol=0)


def test_weights_learn_where_inputs_need_no_gradient(backend: str) -> None:
    bank, x, _ = example_of(n_sequences=2, batch=3, steps=4, inputs=1, hidden=8)
    bank(x).sum().backward()
    assert x.grad is None
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in bank.parameters())


def test_views_that_are_not_contiguous_count_as_their_values(backend: str) -> None:
    bank, x, _ = example_of(n_sequences=2, batch=3, steps=4, inputs=5, hidden=8)
    view = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert not view.is_contiguous()
    torch.testing.assert_close(bank(view), bank(x), rtol=0, atol=0)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_nan_spreads_to_its_own_gene_only_and_infinity_saturates(backend: str, poison: float) -> None:
    bank, x, _ = example_of(n_sequences=1, batch=9, steps=6, inputs=1, hidden=5)
    x[0, 4, 3] = poison
    hidden, expected = bank(x).detach(), torch_lstm(bank, 0)(x[0])[0].detach()
    torch.testing.assert_close(hidden[0], expected, equal_nan=True)
    assert torch.isnan(hidden[0, 4]).any() == (poison != poison)
    assert torch.isfinite(hidden[0, [0, 3, 5, 8]]).all()


def test_nan_in_one_gene_leaves_the_input_gradients_of_others_alone(backend: str) -> None:
    bank, x, grad = example_of(n_sequences=1, batch=9, steps=6, inputs=2, hidden=5)
    clean = run(x, bank, grad, backend)["grad of x"]
    x[0, 4, 3] = float("nan")
    others = [0, 1, 2, 3, 5, 6, 7, 8]
    torch.testing.assert_close(run(x, bank, grad, backend)["grad of x"][0, others], clean[0, others])


def test_large_values_saturate(backend: str) -> None:
    bank, x, grad = example_of(n_sequences=1, batch=4, steps=10, inputs=1, hidden=6)
    result = run(x * 1e6, bank, grad, backend)
    assert worst_error(result, run(x * 1e6, bank, grad, "torch", torch.float64)) < 1e-5
    assert result["hidden"].abs().max() <= 1


def test_attention_weighs_the_step_that_matches_its_context_most() -> None:
    hidden = torch.tensor([[[[0.0, 0.0], [100.0, 1.0]]]])
    embedding, alpha = attention_pool(hidden, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(alpha, torch.tensor([[[0.0, 1.0]]]))
    torch.testing.assert_close(embedding, torch.tensor([[[100.0, 1.0]]]))


def attended(bank: LSTMBank, x: torch.Tensor, context: torch.Tensor, backend: Any) -> dict[str, torch.Tensor]:
    """Attention's results, and the gradients of everything for a loss that uses both of them."""
    bank.zero_grad()
    x, context = (t.detach().to(bank.weight_hh.dtype).requires_grad_() for t in (x, context))
    with use_backend(backend):
        embedding, alpha = bank.attend(x, context)
        (embedding.sin().sum() + (alpha * torch.linspace(0, 1, alpha.shape[-1])).sum()).backward()
    leaves = {"x": x, "context": context, **dict(bank.named_parameters())}
    gradients = {
        f"grad of {name}": leaf.grad.clone() for name, leaf in leaves.items() if leaf.grad is not None
    }
    assert len(gradients) == 6
    return {"embedding": embedding.detach(), "alpha": alpha.detach(), **gradients}


@pytest.mark.parametrize(
    "sizes", [(5, 10, 200, 1, 32), (1, 10, 5, 64, 16), (2, 7, 20, 3, 37), (3, 1, 1, 2, 1)]
)
def test_fused_attention_equals_float64_on_every_instruction_set(
    instruction_set: str, sizes: tuple[int, ...]
) -> None:
    bank, x, _ = example_of(*sizes)
    context = torch.randn(sizes[0], 2 * sizes[4], generator=torch.Generator().manual_seed(5))
    fused = attended(bank, x, context, "fused")
    assert worst_error(fused, attended(bank.double(), x, context, "torch")) < 1e-5


def test_attention_alone_has_gradients_without_the_embedding(backend: str) -> None:
    bank, x, _ = example_of(n_sequences=2, batch=3, steps=6, inputs=1, hidden=4)
    context = torch.ones(2, 8, requires_grad=True)
    _, alpha = bank.attend(x, context)
    alpha[..., 0].sum().backward()
    assert context.grad is not None
    assert context.grad.any()


@pytest.mark.parametrize("batch", [1, 11, 40])
def test_attention_without_gradients_gives_the_same_values(backend: str, batch: int) -> None:
    bank, x, _ = example_of(n_sequences=2, batch=batch, steps=9, inputs=3, hidden=8)
    context = torch.randn(2, 16)
    exact = 0 if backend == "fused" else 1e-6  # torch takes other code without gradients
    with torch.no_grad():
        inferred = bank.attend(x, context)
    for one, other in zip(inferred, bank.attend(x, context), strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=0, atol=exact)


def test_context_of_another_size_is_refused(backend: str) -> None:
    with pytest.raises(ValueError, match=r"context must be \[2, 8\]"):
        LSTMBank(2, 1, 4).attend(torch.zeros(2, 1, 5, 1), torch.zeros(2, 4))


def test_nan_in_one_gene_leaves_the_attention_of_others_alone(backend: str) -> None:
    bank, x, _ = example_of(n_sequences=1, batch=3, steps=6, inputs=1, hidden=4)
    x[0, 1, 2] = float("nan")
    embedding, alpha = bank.attend(x, torch.ones(1, 8))
    assert torch.isnan(alpha[0, 1]).all()
    assert torch.isnan(embedding[0, 1]).all()
    assert torch.isfinite(alpha[0, [0, 2]]).all()
    assert torch.isfinite(embedding[0, [0, 2]]).all()


@needs_kernel
def test_results_of_an_earlier_step_survive_later_ones() -> None:
    bank, x, _ = example_of(n_sequences=3, batch=10, steps=200, inputs=1, hidden=32)
    bank(x).square().sum().backward()
    expected = bank.weight_hh.grad.clone()
    bank.zero_grad()
    first = bank(x)
    for _ in range(3):  # other steps in between use the same pool of memory
        bank(x + 1).detach()
    first.square().sum().backward()
    assert torch.equal(bank.weight_hh.grad, expected)


@needs_kernel
def test_memory_of_a_step_is_used_again_by_the_next() -> None:
    script = """
import resource, torch
from diffchrom.deepdiff.lstm import LSTMBank
torch.manual_seed(0)
bank, x = LSTMBank(6, 1, 32), torch.randn(6, 10, 200, 1)
def steps(n):
    for _ in range(n):
        bank(x).sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few = steps(5)
print(steps(20) - few)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert int(done.stdout) < 40_000, done.stderr  # KiB; a step takes 20 MiB


def test_a_bank_starts_within_the_bounds_of_torch_lstm() -> None:
    bank = LSTMBank(4, 3, 25)
    for parameter in bank.parameters():
        assert 0.19 < parameter.abs().max() <= 0.2  # 1 / sqrt(25)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LSTMBank(0, 1, 32)


def test_weights_of_another_bank_are_refused_by_name(backend: str) -> None:
    with pytest.raises(ValueError, match="weight_ih must be"):
        LSTMBank(2, 1, 4)(torch.zeros(3, 1, 5, 1))


def test_empty_batches_are_refused(backend: str) -> None:
    with pytest.raises(ValueError, match="non-empty"):
        LSTMBank(1, 1, 4)(torch.zeros(1, 0, 5, 1))


@needs_kernel
def test_float64_goes_to_torch_unless_the_kernel_is_forced() -> None:
    bank, x, _ = example_of(1, 2, 3, 1, 4)
    assert (backend_name(), backend_name(dtype=torch.float64)) == ("fused", "torch")
    assert bank.double()(x.double()).dtype == torch.float64
    with use_backend("fused"), pytest.raises(UsageError, match="float32 tensors on the CPU, got float64"):
        bank(x.double())


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(ValueError, match="'numba'"):
        set_backend("numba")  # type: ignore[arg-type]


@needs_kernel
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_computes_what_its_parent_does() -> None:
    script = """
import os, warnings, torch
warnings.simplefilter("ignore")
from diffchrom.deepdiff.lstm import LSTMBank
torch.set_num_threads(2)
torch.manual_seed(0)
bank, x = LSTMBank(6, 1, 32), torch.randn(6, 10, 200, 1)
with torch.no_grad():
    before = bank(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(before, bank(x)) else 3)
    _, status = os.waitpid(child, 0)
    assert torch.equal(before, bank(x))
print(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


def test_without_the_built_kernel_torch_serves_and_says_why() -> None:
    script = """
import sys
sys.modules["diffchrom.deepdiff._kernel._lstm"] = None  # as where nothing was built
import torch
from diffchrom.errors import UsageError
from diffchrom.deepdiff.lstm import LSTMBank, backend_name, kernel_unavailable_reason, use_backend
bank, x = LSTMBank(2, 1, 4), torch.randn(2, 3, 5, 1)
bank(x).sum().backward()
print(backend_name(), "|", kernel_unavailable_reason())
with use_backend("fused"):
    try:
        bank(x)
    except UsageError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    served, refused = done.stdout.splitlines()
    assert served.startswith("torch | the fused LSTM kernel was not built")
    assert refused.endswith("use the torch back end")


@pytest.mark.parametrize("scale", [30.0, 100.0, 300.0])
def test_read_counts_that_close_the_output_gate_give_the_right_gradients(backend: str, scale: float) -> None:
    """Raw counts saturate gates; an output gate that is 0 but for rounding once gave gradients of NaN."""
    torch.manual_seed(0)
    bank = LSTMBank(4, 1, 32)
    with torch.no_grad():
        for parameter in bank.parameters():
            parameter.uniform_(-0.1, 0.1)
    exact = LSTMBank(4, 1, 32).double()
    exact.load_state_dict(bank.state_dict())
    x = torch.randn(4, 10, 200, 1) * scale
    weights = torch.randn(4, 10, 200, 64)
    (bank(x) * weights).sum().backward()
    with use_backend("torch"):
        (exact(x.double()) * weights).sum().backward()
    for ours, theirs in zip(bank.parameters(), exact.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(
            ours.grad, theirs.grad.float(), rtol=2e-3, atol=2e-4 * theirs.grad.abs().max().item()
        )

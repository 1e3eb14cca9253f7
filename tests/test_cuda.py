"""What CUDA needs, as far as it can be known without a card: meta tensors, stubs, the same code on the CPU.

The last tests need a card and are left out where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Case, called, predictions_of, train, training
from diffchrom.baselines import networks
from diffchrom.config import check_device, hyperparameters
from diffchrom.deepdiff import blocked_lstm, cuda
from diffchrom.deepdiff.building import build_model
from diffchrom.deepdiff.cuda import computing, on_card, resolve_device
from diffchrom.deepdiff.examples import GeneTensors
from diffchrom.deepdiff.fitting import training_step
from diffchrom.deepdiff.inference import forward_batches
from diffchrom.deepdiff.loss import Targets
from diffchrom.deepdiff.lstm import lstm_bank, use_backend
from diffchrom.deepdiff.memory import MemoryPlan, plan_memory
from diffchrom.deepdiff.optimiser import FIRST_SCALE, Adam
from diffchrom.deepdiff.timing import step_seconds
from diffchrom.errors import RunError, UsageError
from diffchrom.genome.genes import Window
from diffchrom.genome.layout import layout_of
from diffchrom.pairs.pair import Pair
from diffchrom.pairs.pair_set import PairSet
from diffchrom.processes.machine import set_worker_number
from diffchrom.processes.pool import Call, Pool, Reply
from diffchrom.store.store import Store
from diffchrom.sweeps.jobs import jobs_of
from diffchrom.sweeps.plan import Plan
from diffchrom.sweeps.running import run_sweep
from diffchrom.variants import VARIANTS

SMALL = hyperparameters("default", hidden=8, epochs=2, ensemble=1)
CARD = torch.device("cuda", 0)
LAYOUT = layout_of(Window(1000), ("tss",))  # 20 bins
needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def job(store: Store, name: str, **changes: object) -> Case:
    return training(store.path, name, device="cuda", **{"settings": SMALL, **changes})


def bank(n_sequences: int, batch: int, steps: int, inputs: int, hidden: int) -> list[torch.Tensor]:
    """x and the weights of a bank, in double precision."""
    gates = 4 * hidden
    shapes = [(n_sequences, batch, steps, inputs), (n_sequences, 2, gates, inputs)]
    shapes += [(n_sequences, 2, gates, hidden), (n_sequences, 2, gates), (n_sequences, 2, gates)]
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]


# ---- Level I and II in few calls


@settings(max_examples=15, deadline=None)
@given(
    n_sequences=st.integers(1, 7),
    batch=st.integers(1, 3),
    steps=st.integers(1, 5),
    inputs=st.integers(1, 3),
    hidden=st.integers(1, 4),
    most=st.integers(1, 12),
)
def test_one_blocked_lstm_is_the_bank_of_lstms_with_its_gradients(
    n_sequences: int, batch: int, steps: int, inputs: int, hidden: int, most: int
) -> None:
    tensors = bank(n_sequences, batch, steps, inputs, hidden)
    expected = lstm_bank(*tensors, backend="torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked_lstm, "MOST_HIDDEN", most)
        states = lstm_bank(*tensors, backend="blocked")
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-12)
    towards = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(states, tensors, towards),
        torch.autograd.grad(expected, tensors, towards),
        rtol=0,
        atol=1e-11,
    )


def test_cudnn_finds_the_weights_from_the_beginning_of_one_buffer_matrices_before_biases() -> None:
    _, *weights = bank(3, 2, 4, 1, 5)
    one = blocked_lstm.flat_weights(*weights)
    assert len({weight.untyped_storage().data_ptr() for weight in one}) == 1
    assert all(weight.is_contiguous() for weight in one)
    ih, hh, bias_ih, bias_hh, ih_back, hh_back, bias_ih_back, bias_hh_back = one
    laid_out = (ih, hh, ih_back, hh_back, bias_ih, bias_hh, bias_ih_back, bias_hh_back)
    ends = np.cumsum([0, *(weight.numel() for weight in laid_out)])
    assert [weight.storage_offset() for weight in laid_out] == ends[:-1].tolist()
    assert ih.untyped_storage().nbytes() == 8 * ends[-1]


@pytest.mark.parametrize(("variant", "calls"), [("raw:d", 2), ("raw", 2), ("aux+siamese", 3), ("raw+aux", 6)])
def test_all_marks_and_directions_of_a_block_are_one_call(
    variant: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    honest = torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda *arguments: counted.append(1) or honest(*arguments))
    model = build_model(VARIANTS[variant], 5, hyperparameters("default"))
    with use_backend("blocked"):
        model(torch.rand(2, 5, 20), torch.rand(2, 5, 20))
    assert len(counted) == calls


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_training_step_and_a_prediction_stay_on_the_models_device(variant: str) -> None:
    there = torch.device("meta")  # a tensor of the CPU among them is an error
    model = build_model(VARIANTS[variant], 3, SMALL, LAYOUT).to(there)
    a, b, labels = torch.empty(6, 3, 20), torch.empty(6, 3, 20), torch.empty(3, 6)
    targets = Targets(labels[0].to(there), {"A": labels[1].to(there), "B": labels[2].to(there)})
    for signal in ((a, b), (a.to(there), b.to(there))):  # where the card has no room for all genes, and where
        examples = GeneTensors(*signal, targets, there)
        optimiser = Adam(model.parameters(), 1e-3, scaled=True)
        with use_backend("blocked"):
            for batch in examples.batches(torch.arange(6), 4):
                assert training_step(model, optimiser, batch, SMALL).device == there
            for output in forward_batches(model, *signal, batch_size=4):
                assert output.log2fc.device == there


# ---- mixed precision


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_trains_on_a_cpu_with_and_without_the_kernel(variant: str) -> None:
    a, b, labels = torch.rand(6, 3, 20), torch.rand(6, 3, 20), torch.randn(3, 6)
    batch = GeneTensors(a, b, Targets(labels[0], {"A": labels[1], "B": labels[2]}), torch.device("cpu"))
    losses = []
    for backend in ("fused", "torch", "blocked"):
        torch.manual_seed(0)
        model = build_model(VARIANTS[variant], 3, SMALL, LAYOUT)
        with use_backend(backend):
            settings = replace(SMALL, precision="bfloat16")
            losses.append(training_step(model, Adam(model.parameters(), 1e-3), batch, settings).item())
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-3)


def test_float16_is_refused_where_there_is_no_card(
    toy_store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    command = ["train", "--store", str(toy_store.path), "--pair", "A1,B2", "--precision", "float16"]
    assert called(command) == 2
    assert "--precision float16 needs a CUDA device" in capsys.readouterr().err


def gradients_of(optimiser: Adam, weights: torch.Tensor, values: Iterable[float]) -> None:
    optimiser.zero_grad()
    loss = (weights * torch.tensor(list(values))).sum()
    optimiser.scale(loss).backward()
    optimiser.step(1.0)


def test_a_scaled_loss_gives_the_steps_of_one_that_is_not() -> None:
    walks = []
    for scaled in (False, True):
        weights = torch.nn.Parameter(torch.ones(3))
        optimiser = Adam([weights], 0.1, scaled=scaled)
        for number in range(5):
            gradients_of(optimiser, weights, (0.1 * number, -2.0, 1e-3))
        walks.append(weights.detach().clone())
    torch.testing.assert_close(*walks)


def test_a_gradient_that_overflows_costs_the_step_and_halves_the_scale() -> None:
    weights = torch.nn.Parameter(torch.ones(3))
    optimiser = Adam([weights], 0.1, scaled=True)
    gradients_of(optimiser, weights, (0.1, 0.2, 0.3))
    before, state = weights.detach().clone(), optimiser.state()[0]
    gradients_of(optimiser, weights, (0.1, float("inf"), 0.3))
    after = optimiser.state()[0]
    assert torch.equal(weights.detach(), before)
    assert after.pop("scale") == state.pop("scale") / 2 == FIRST_SCALE / 2
    assert all(torch.equal(after[name], state[name]) for name in ("step", "exp_avg", "exp_avg_sq"))
    gradients_of(optimiser, weights, (0.1, 0.2, 0.3))
    assert not torch.equal(weights.detach(), before)


def test_the_scale_goes_on_from_a_checkpoint() -> None:
    first = torch.nn.Parameter(torch.ones(3))
    optimiser = Adam([first], 0.1, scaled=True)
    gradients_of(optimiser, first, (0.1, float("nan"), 0.3))
    gradients_of(optimiser, first, (0.1, 0.2, 0.3))
    second = torch.nn.Parameter(first.detach().clone())
    other = Adam([second], 0.1, scaled=True)
    other.load_state(optimiser.state())
    for one, weights in ((optimiser, first), (other, second)):
        gradients_of(one, weights, (-0.1, 0.5, 0.3))
    assert torch.equal(first, second)
    assert torch.equal(optimiser.state()[0]["scale"], other.state()[0]["scale"])


# ---- cards


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with three cards, as far as names go."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    set_worker_number(0)


@pytest.mark.usefixtures("cards")
def test_a_card_has_a_name_and_workers_that_are_not_told_share_them_out() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("cuda:2") == torch.device("cuda", 2)
    taken = []
    for number in range(5):
        set_worker_number(number)
        taken.append((resolve_device("auto").index, resolve_device("cuda").index))
    assert taken == [(0, 0), (1, 1), (2, 2), (0, 0), (1, 1)]
    assert resolve_device("cuda:2").index == 2
    with pytest.raises(UsageError, match="cuda:3`: the cards here are cuda:0 to cuda:2"):
        resolve_device("cuda:3")


@pytest.mark.usefixtures("cards")
def test_cublas_is_told_to_repeat_its_sums_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_device("cpu")
    assert "CUBLAS_WORKSPACE_CONFIG" not in cuda.os.environ
    resolve_device("auto")
    assert cuda.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    resolve_device("auto")
    assert cuda.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_without_a_card_cuda_is_refused_and_auto_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    for name in ("cuda", "cuda:1"):
        with pytest.raises(UsageError, match=f"{name}`: no CUDA device"):
            resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:1", ""])
def test_no_other_names_are_devices(name: str) -> None:
    with pytest.raises(UsageError, match="unknown; choose one of"):
        check_device(name)


def test_on_a_card_sums_are_repeatable_and_the_callers_settings_come_back() -> None:
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul

    def settings_now() -> tuple[bool, ...]:
        return cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32

    before = settings_now()
    with computing(CARD):
        assert settings_now() == (True, False, False, False)
    assert settings_now() == before
    with computing(torch.device("cpu")):
        assert settings_now() == before


def test_too_little_memory_on_the_card_is_one_line_with_what_to_do() -> None:
    with pytest.raises(RunError, match=r"cuda:0: the card's memory .*`batch_size`") as raised, on_card(CARD):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("card", "on_the_card", "said"),
    [(10**9, True, "all genes to learn from"), (150, False, "a batch at a time"), (None, False, "in memory")],
)
def test_the_plan_of_the_memory_knows_the_card(card: int | None, on_the_card: bool, said: str) -> None:
    plan = MemoryPlan(signal=200, transformed=100, step=100, limit=10**9, card=card)
    assert plan.on_card is on_the_card
    assert said in plan.described()


def test_a_step_on_the_card_takes_none_of_the_memory_beside_it(toy_store: Store) -> None:
    pairs = PairSet((Pair.of(toy_store, ("A1", "B2")),))
    plan = plan_memory(pairs, VARIANTS["raw"], SMALL, 10**9, 10**9)
    tight = replace(plan, limit=plan.signal + plan.step // 2)
    assert tight.spill is None
    assert replace(tight, card=None).spill is not None


def test_jobs_that_run_at_the_same_time_have_different_numbers(toy_store: Store, tmp_path: Path) -> None:
    given_out: list[list[int]] = []

    class TwoAtATime(Pool):
        def run(self, calls: Iterable[Call], *, time_limit: float = 0.0) -> Iterator[Reply]:
            waiting = iter(enumerate(calls))
            for first in waiting:
                together = [first, *([second] if (second := next(waiting, None)) else [])]
                given_out.append([call.arguments["worker"] for _, call in together])
                for index, call in reversed(together):
                    yield Reply(index, call.function(**call.arguments))

    plan = Plan(toy_store.path, tmp_path / "out", ("A1,B2",), baselines=("mean", "ridge"), seeds=(0, 1))
    run_sweep(jobs_of(plan), plan.out, TwoAtATime())
    assert given_out == [[0, 1], [0, 1]]


def test_networks_of_baselines_go_where_they_are_told(
    toy_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(networks, "resolve_device", lambda name: asked.append(name) or torch.device("cpu"))
    command = ["baseline", "--store", str(toy_store.path), "--pair", "A1,B2", "--method", "deepchrome"]
    assert called([*command, "--device", "cuda:1", "--out", str(tmp_path / "run"), "-q"]) == 0
    assert asked == ["cuda:1"]


def test_an_estimate_is_of_the_device_that_is_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "diffchrom.deepdiff.timing.resolve_device", lambda name: asked.append(name) or torch.device("cpu")
    )
    assert step_seconds("raw:d", SMALL, 2, LAYOUT, 4, "cuda:1") > 0
    assert asked == ["cuda:1"]


# ---- with a card


@needs_card
@pytest.mark.parametrize("variant", VARIANTS)
def test_cuda_and_cpu_are_the_same_function(toy_store: Store, tmp_path: Path, variant: str) -> None:
    run = train(job(toy_store, variant), tmp_path / "run")
    on_gpu = predictions_of(run, toy_store, device="cuda")[1]["log2fc_pred"]
    on_cpu = predictions_of(run, toy_store, device="cpu")[1]["log2fc_pred"]
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4, atol=1e-4)  # float32, other order of sums


@needs_card
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_same_seed_gives_the_same_bytes_on_the_same_card(
    toy_store: Store, tmp_path: Path, precision: str
) -> None:
    settings = replace(SMALL, precision=precision)
    runs = [
        train(job(toy_store, "raw+aux+siamese", settings=settings), tmp_path / name)
        for name in ("one", "two")
    ]
    first, second = ((run.path / "model.safetensors").read_bytes() for run in runs)
    assert first == second
    assert np.isfinite(runs[0].config.metrics["test"]["mse"])


@needs_card
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_cudnn_takes_the_weights_without_a_warning(dtype: torch.dtype) -> None:
    x, *weights = (tensor.detach().to("cuda", dtype) for tensor in bank(5, 4, 20, 1, 32))
    lstm_bank(x, *weights, backend="blocked")  # warnings are errors


@needs_card
def test_a_card_that_is_full_says_so_in_one_line() -> None:
    with pytest.raises(RunError, match="the card's memory"), on_card(CARD):
        torch.empty(torch.cuda.get_device_properties(0).total_memory, device=CARD)

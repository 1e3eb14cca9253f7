"""With equal weights, each variant computes what the authors' released code computes."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffchrom.config import PRESETS, Hyperparameters
from diffchrom.deepdiff.loss import Targets, contrastive_loss, total_loss
from diffchrom.deepdiff.lstm import use_backend
from diffchrom.deepdiff.model import DeepDiff
from diffchrom.variants import VARIANTS

GOLDEN = json.loads((Path(__file__).parent / "golden" / "published_code.json").read_text())
MARKS, BINS, GENES = 3, 12, 4

#: Our blocks and heads, and what the authors' classes call them.
LEVEL1 = {
    "raw:d": {"main": "rnn_hms"},
    "raw:c": {"main": "rnn_hms"},
    "raw": {"main": "rnn_hms"},
    "aux": {"A": "rnn_hms", "B": "rnn_hms2"},
    "raw+aux": {"main": "rnn_hms3", "A": "rnn_hms", "B": "rnn_hms2"},
    "aux+siamese": {"shared": "rnn_hms"},
    "raw+aux+siamese": {"main": "rnn_hmsx", "shared": "rnn_hms"},
}
LEVEL2 = {
    "raw:d": {"main": "hm_level_rnn_1"},
    "raw:c": {"main": "hm_level_rnn_1"},
    "raw": {"main": "hm_level_rnn_1"},
    "aux": {"A": "hm_level_rnn_1", "B": "hm_level_rnn_2"},
    "raw+aux": {"main": "hm_level_rnn_3", "A": "hm_level_rnn_1", "B": "hm_level_rnn_2"},
    "aux+siamese": {"A": "hm_level_rnn_1", "B": "hm_level_rnn_2"},
    "raw+aux+siamese": {"main": "hm_level_rnn_1x", "A": "hm_level_rnn_1", "B": "hm_level_rnn_2"},
}


def wave(name: str, *shape: int) -> Tensor:
    """The deterministic filling that was used for the golden values."""
    phase = zlib.crc32(name.encode()) % 1000
    count = torch.arange(math.prod(shape), dtype=torch.float64)
    return (0.3 * torch.sin(0.7 * count + phase)).reshape(shape)


def set_encoder(model: DeepDiff, level: str, block: str, theirs: list[str]) -> None:
    encoder = getattr(model, level)[block]
    hidden = encoder.lstm.weight_hh.shape[-1]
    inputs = encoder.lstm.weight_ih.shape[-1]
    for sequence, prefix in enumerate(theirs):
        for direction, suffix in enumerate(("_l0", "_l0_reverse")):
            for kind, shape in {
                "weight_ih": (4 * hidden, inputs),
                "weight_hh": (4 * hidden, hidden),
                "bias_ih": (4 * hidden,),
                "bias_hh": (4 * hidden,),
            }.items():
                values = wave(f"{prefix}.rnn.{kind}{suffix}", *shape)
                getattr(encoder.lstm, kind).data[sequence, direction] = values
        vector = wave(f"{prefix}.bin_attention.bin_context_vector", 2 * hidden, 1)
        encoder.context.data[sequence] = vector[:, 0]


def set_linear(layer: torch.nn.Linear, prefix: str) -> None:
    layer.weight.data.copy_(wave(f"{prefix}.weight", *layer.weight.shape))
    layer.bias.data.copy_(wave(f"{prefix}.bias", *layer.bias.shape))


def published_model(name: str, dtype: torch.dtype) -> DeepDiff:
    model = DeepDiff(VARIANTS[name], MARKS).double()
    for block, prefix in LEVEL1[name].items():
        n = model.level1[block].context.shape[0]
        set_encoder(model, "level1", block, [f"{prefix}.{j}" for j in range(n)])
    for block, prefix in LEVEL2[name].items():
        set_encoder(model, "level2", block, [prefix])
    for block, prefix in {"A": "f1_1", "B": "f2_1"}.items():
        if block in model.expression:
            set_linear(model.expression[block], prefix)
    if isinstance(model.head, torch.nn.Linear):
        set_linear(model.head, "predictor_" if VARIANTS[name].auxiliary else "fdiff1_1")
    else:
        set_linear(model.head[0], "predictor_1")
        set_linear(model.head[2], "predictor_")
    return model.to(dtype)


def inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, Targets]:
    a = (3 * wave("a", GENES, MARKS, BINS).abs() * 10).round().to(dtype)
    b = (3 * wave("b", GENES, MARKS, BINS).abs() * 10).round().to(dtype)
    expression = {
        "A": torch.tensor([5.0, 1.0, 2.0, 3.0], dtype=dtype),
        "B": torch.tensor([1.5, 1.25, 4.0, 4.0], dtype=dtype),
    }
    return a, b, Targets(torch.tensor([-3.5, 0.25, 2.0, 1.0], dtype=dtype), expression)


@pytest.mark.parametrize("name", GOLDEN)
def test_forward_loss_and_gradient_equal_the_released_code(name: str) -> None:
    golden = GOLDEN[name]
    model = published_model(name, torch.float64)
    a, b, targets = inputs(torch.float64)
    output = model(a, b)
    close = {"rtol": 1e-9, "atol": 1e-11}
    torch.testing.assert_close(output.log2fc, torch.tensor(golden["log2fc"], dtype=torch.float64), **close)
    main = output.beta.get("main", torch.cat([output.beta.get("A", a), output.beta.get("B", b)], 1))
    torch.testing.assert_close(main, torch.tensor(golden["beta"], dtype=torch.float64), **close)
    first = output.alpha.get("main", output.alpha.get("A"))[:, 0]
    torch.testing.assert_close(first, torch.tensor(golden["alpha_first"], dtype=torch.float64), **close)
    for block, key in {"A": "expr_a", "B": "expr_b"}.items():
        if key in golden:
            expected = torch.tensor(golden[key], dtype=torch.float64)
            torch.testing.assert_close(output.expression[block][:, 0], expected, **close)
    loss = total_loss(output, targets, PRESETS["published"])
    assert loss.item() == pytest.approx(golden["loss"], rel=1e-9)
    loss.backward()
    squares = sum(float((p.grad**2).sum()) for p in model.parameters() if p.grad is not None)
    assert math.sqrt(squares) == pytest.approx(golden["grad_norm"], rel=1e-8)


@pytest.mark.parametrize("name", GOLDEN)
def test_float32_with_the_back_end_in_force_agrees_to_1e_5(name: str) -> None:
    model = published_model(name, torch.float32)
    a, b, targets = inputs(torch.float32)
    for backend in (None, "torch"):
        with use_backend(backend):
            output = model(a, b)
        torch.testing.assert_close(output.log2fc, torch.tensor(GOLDEN[name]["log2fc"]), rtol=1e-5, atol=1e-5)
        loss = total_loss(output, targets, PRESETS["published"])
        assert loss.item() == pytest.approx(GOLDEN[name]["loss"], rel=1e-5)


@pytest.mark.parametrize("name", GOLDEN)
def test_as_many_parameters_as_the_released_code(name: str) -> None:
    ours = sum(p.numel() for p in DeepDiff(VARIANTS[name], MARKS).parameters())
    assert ours == GOLDEN[name]["n_parameters"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        # distances 3 (changed, beyond the margin 2), 1 (changed), 4 (unchanged); means over the three
        ("squared", (0 + (2 - 1) ** 2 + 4**2) / 3),
        ("paper", (0 + (2 - 1) ** 2 / 2 + 4 / 2) / 3),
    ],
)
def test_contrastive_loss_by_hand(form: str, expected: float) -> None:
    a = torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    b = torch.zeros(3, 2, dtype=torch.float64)
    log2fc = torch.tensor([2.0, -2.5, 1.99])
    loss = contrastive_loss(a, b, log2fc, Hyperparameters(contrastive=form))
    assert loss.item() == pytest.approx(expected, abs=1e-4)

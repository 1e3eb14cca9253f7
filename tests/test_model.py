"""The model is the paper's equations (2) and (3), for every variant."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffchrom.deepdiff.loss import median_classes
from diffchrom.deepdiff.model import DeepDiff, Encoder, initialise
from diffchrom.variants import VARIANTS


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm_by_hand(x: np.ndarray, w_ih: np.ndarray, w_hh: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """One direction over x [T, inputs]; gates i, f, g, o."""
    hidden = w_hh.shape[1]
    h, c, states = np.zeros(hidden), np.zeros(hidden), []
    for x_t in x:
        i, f, g, o = np.split(w_ih @ x_t + w_hh @ h + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def encode_by_hand(encoder: Encoder, sequence: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embedding and attention of one sequence x [T, inputs]: equations (2) and (3)."""
    bank = {name: p.detach().numpy()[sequence] for name, p in encoder.lstm.named_parameters()}
    bias = bank["bias_ih"] + bank["bias_hh"]
    forward = lstm_by_hand(x, bank["weight_ih"][0], bank["weight_hh"][0], bias[0])
    backward = lstm_by_hand(x[::-1], bank["weight_ih"][1], bank["weight_hh"][1], bias[1])[::-1]
    h = np.concatenate([forward, backward], axis=1)
    scores = np.exp(h @ encoder.context.detach().numpy()[sequence])
    alpha = scores / scores.sum()
    return alpha @ h, alpha


def by_hand(model: DeepDiff, a: np.ndarray, b: np.ndarray) -> float:
    """log2fc of one gene, from a and b [n_marks, n_bins]."""
    variant = model.variant
    signal = {"A": a, "B": b, "A-B": a - b}
    level1 = {}
    if variant.main:
        rows = np.concatenate([signal[source] for source in variant.main])
        encoder = model.level1["main"]
        level1["main"] = np.array([encode_by_hand(encoder, j, row[:, None])[0] for j, row in enumerate(rows)])
    if variant.auxiliary:
        for cell in "AB":
            encoder = model.level1["shared" if variant.siamese else cell]
            level1[cell] = np.array(
                [encode_by_hand(encoder, j, row[:, None])[0] for j, row in enumerate(signal[cell])]
            )
    if variant.main:
        joined = np.concatenate([level1[block] for block in ("main", "A", "B") if block in level1])
        v = encode_by_hand(model.level2["main"], 0, joined)[0]
        return float(model.head.weight.detach().numpy()[0] @ v + model.head.bias.item())
    v = np.concatenate([encode_by_hand(model.level2[cell], 0, level1[cell])[0] for cell in "AB"])
    first, last = model.head[0], model.head[2]
    middle = np.maximum(first.weight.detach().numpy() @ v + first.bias.detach().numpy(), 0)
    return float(last.weight.detach().numpy()[0] @ middle + last.bias.item())


@pytest.mark.parametrize("name", [name for name, row in VARIANTS.items() if not row.antisymmetric])
def test_forward_is_equations_2_and_3_by_hand(name: str) -> None:
    torch.manual_seed(1)
    model = DeepDiff(VARIANTS[name], n_marks=2, hidden=4).double()
    initialise(model, 0.8)
    a, b = torch.randn(2, 3, 2, 5, dtype=torch.float64).unbind()
    output = model(a, b)
    expected = [by_hand(model, x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    np.testing.assert_allclose(output.log2fc.detach().numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("name", VARIANTS)
def test_attention_rows_sum_to_one_for_every_block(name: str) -> None:
    variant = VARIANTS[name]
    output = DeepDiff(variant, n_marks=3, hidden=8)(torch.rand(4, 3, 7), torch.rand(4, 3, 7))
    blocks = ({"main"} if variant.main else set()) | ({"A", "B"} if variant.auxiliary else set())
    assert set(output.alpha) == set(output.beta) == blocks
    n_main = 3 * len(variant.main)
    for block in blocks:
        n = n_main if block == "main" else 3
        assert output.alpha[block].shape == (4, n, 7)
        torch.testing.assert_close(output.alpha[block].sum(-1), torch.ones(4, n))
        joined = n + 6 if block == "main" and variant.auxiliary else n
        assert output.beta[block].shape == (4, joined)
        torch.testing.assert_close(output.beta[block].sum(-1), torch.ones(4))


def test_siamese_shares_exactly_the_level_1_weights() -> None:
    model = DeepDiff(VARIANTS["aux+siamese"], n_marks=2, hidden=4)
    assert list(model.level1) == ["shared"]
    assert set(model.level2) == set(model.expression) == {"A", "B"}
    x = torch.rand(3, 2, 6)
    output = model(x, x)
    assert torch.equal(output.embeddings["A"], output.embeddings["B"])
    assert not torch.equal(output.beta["A"], output.beta["B"])


def test_dropout_acts_in_training_only() -> None:
    model = DeepDiff(VARIANTS["raw:d"], n_marks=2, hidden=4, dropout=0.5)
    a, b = torch.rand(5, 2, 6), torch.rand(5, 2, 6)
    assert not torch.equal(model(a, b).log2fc, model(a, b).log2fc)
    model.eval()
    assert torch.equal(model(a, b).log2fc, model(a, b).log2fc)


def test_classification_heads_have_two_outputs() -> None:
    model = DeepDiff(VARIANTS["aux"], n_marks=2, hidden=4, aux_outputs=2)
    assert model(torch.rand(5, 2, 6), torch.rand(5, 2, 6)).expression["A"].shape == (5, 2)
    assert median_classes(torch.tensor([1.0, 2.0, 3.0]), 2.0).tolist() == [0, 0, 1]

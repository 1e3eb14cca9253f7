from __future__ import annotations

import pytest
import torch

from diffchrom.lstm import LSTMBank, attention_pool


def torch_lstm(bank: LSTMBank, sequence: int) -> torch.nn.LSTM:
    """`torch.nn.LSTM` with the weights of one sequence of the bank."""
    lstm = torch.nn.LSTM(bank.input_size, bank.hidden_size, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for direction, suffix in enumerate(("", "_reverse")):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(lstm, f"{name}_l0{suffix}").copy_(getattr(bank, name)[sequence, direction])
    return lstm


def test_each_sequence_of_a_bank_is_a_torch_lstm_with_its_own_weights() -> None:
    torch.manual_seed(0)
    bank = LSTMBank(n_sequences=3, input_size=2, hidden_size=5)
    x = torch.randn(3, 4, 7, 2)
    hidden = bank(x)
    for sequence in range(3):
        torch.testing.assert_close(hidden[sequence], torch_lstm(bank, sequence)(x[sequence])[0])


def test_attention_weighs_the_step_that_matches_its_context_most() -> None:
    hidden = torch.tensor([[[[0.0, 0.0], [100.0, 1.0]]]])
    embedding, alpha = attention_pool(hidden, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(alpha, torch.tensor([[[0.0, 1.0]]]))
    torch.testing.assert_close(embedding, torch.tensor([[[100.0, 1.0]]]))


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LSTMBank(0, 1, 32)


def test_weights_of_another_bank_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="weight_ih must be"):
        LSTMBank(2, 1, 4)(torch.zeros(3, 1, 5, 1))

"""Measured latency: what is measured and that nothing is left changed. No test asserts a time."""

import numpy as np
import pytest
import torch
from torch import nn

from prunekit.cost import count_params, measure_latency_ms


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout()
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append((self.training, torch.is_grad_enabled()))
        return self.dropout(x)


def test_networks_take_turns_in_eval_mode_without_gradients():
    first, second = Counting().train(), Counting().eval()
    second.dropout.train()

    table = measure_latency_ms({"first": first, "second": second}, torch.randn(2, 3), repeats=4, warmup=1)

    assert first.modes == second.modes == [(False, False)] * 5
    assert (first.training, second.training, second.dropout.training) == (True, False, True)
    assert table.index.to_list() == ["first", "second"]
    assert table.columns.to_list() == ["median_ms", "low_ms", "high_ms", "iqr_ms"]
    assert (table["median_ms"] > 0).all()
    assert (table["low_ms"] <= table["median_ms"]).all()
    assert (table["median_ms"] <= table["high_ms"]).all()
    assert np.allclose(table["iqr_ms"], table["high_ms"] - table["low_ms"])


def test_modes_come_back_after_an_error():
    module = nn.Linear(3, 2).train()

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        measure_latency_ms({"net": module}, torch.randn(2, 5))

    assert module.training


def test_count_params_counts_a_shared_parameter_once():
    first = nn.Linear(3, 3)
    second = nn.Linear(3, 3)
    second.weight = first.weight

    assert count_params(nn.Sequential(first, second)) == 9 + 3 + 3

"""Example inputs: the same for every function that takes them."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from prunekit import analyze, analyze_compression, report
from prunekit.exceptions import InputError, ParameterTypeError

FUNCTIONS = {
    "analyze": analyze,
    "analyze_compression": analyze_compression,
    "report": lambda network, X: report(network, "report.html", X),
}
NUMBERS = np.zeros((5, 3))  # of another data type than the network
TENSOR = torch.zeros(5, 3, dtype=torch.float64)


class Two(nn.Module):
    """A network of two inputs, the second of which may be left out."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, first, second=None):
        return self.c(self.a(first) if second is None else self.a(first) * self.b(second))


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "X",
    [
        NUMBERS,
        TENSOR,
        NUMBERS.tolist(),
        pd.DataFrame(NUMBERS),
        TensorDataset(TENSOR, torch.zeros(5)),
        (NUMBERS, TENSOR),
        [TENSOR, NUMBERS],
        (TENSOR, None),
        {"second": TENSOR, "first": NUMBERS.tolist()},
        {"first": pd.DataFrame(NUMBERS), "second": None},
    ],
    ids=lambda X: type(X).__name__,
)
def test_every_form_is_cast_to_the_network(name, X):
    FUNCTIONS[name](Two(), X)
    FUNCTIONS[name](Two().double(), X)
    FUNCTIONS[name](Two().bfloat16(), X)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("X", [["a", "b"], pd.DataFrame({"a": ["b"]})], ids=["list", "frame"])
def test_words(name, X):
    with pytest.raises(InputError, match=r"must be arrays of numbers. Got .* instead; encode strings and objects"):
        FUNCTIONS[name](Two(), X)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("X", ["image.png", 3, [[0.0], [0.0, 1.0]], (), {}, None])
def test_something_else(name, X):
    with pytest.raises(ParameterTypeError, match=r"The 'X' parameter of .* must hold example inputs"):
        FUNCTIONS[name](Two(), X)


def test_integers_stay_integers():
    net = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 2))
    tables = [analyze(net, X) for X in (np.zeros((5, 2), dtype=np.int64), torch.zeros(5, 2, dtype=torch.int64))]
    pd.testing.assert_frame_equal(*tables)

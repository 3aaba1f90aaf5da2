"""Recurrent layers cost two steps, whatever the length of the sequence; what is told of them is that of all steps."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from prunekit import analyze
from prunekit.tracing import Inputs, trace

KINDS: dict[str, tuple[type[nn.RNNBase], dict[str, Any], int]] = {  # multiply-adds of one step from 4 channels to 3
    "lstm": (nn.LSTM, {}, 4 * 3 * (4 + 3)),
    "gru": (nn.GRU, {}, 3 * 3 * (4 + 3)),
    "rnn": (nn.RNN, {"nonlinearity": "relu"}, 3 * (4 + 3)),
    "both directions": (nn.GRU, {"bidirectional": True}, 2 * 3 * 3 * (4 + 3)),
    "two layers": (nn.LSTM, {"num_layers": 2}, 4 * 3 * (4 + 3) + 4 * 3 * (3 + 3)),
    "projected": (nn.LSTM, {"proj_size": 2}, 4 * 3 * (4 + 2) + 3 * 2),
}
kinds = pytest.mark.parametrize(("kind", "options", "macs"), KINDS.values(), ids=KINDS)


class Reader(nn.Module):
    """Returns all that a recurrent layer returns."""

    def __init__(self, kind: type[nn.RNNBase], batch_first: bool = True, **options: Any) -> None:
        super().__init__()
        self.read, self.rnn = nn.Linear(5, 4), kind(4, 3, batch_first=batch_first, **options)

    def forward(self, x: Tensor) -> Any:
        return self.rnn(self.read(x))


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read, self.rnn, self.head = nn.Linear(5, 4), nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.read(x), torch.tensor([9, 4]), batch_first=True)
        return self.head(self.rnn(packed)[1][0][-1])


def _count(module: nn.Module, steps: int) -> int:
    return len(trace(module, Inputs.of(torch.randn(2, steps, 5))).runs[0].operations)


@kinds
def test_operations_do_not_grow_with_the_sequence(kind: type[nn.RNNBase], options: dict[str, Any], macs: int) -> None:
    module = Reader(kind, **options)
    assert _count(module, 4) == _count(module, 100)
    assert _count(module, 5) == _count(module, 101)


@kinds
@pytest.mark.parametrize("steps", [1, 3, 4, 5, 12, 13])
def test_multiply_adds_are_those_of_all_steps(
    kind: type[nn.RNNBase], options: dict[str, Any], macs: int, steps: int
) -> None:
    table = analyze(Reader(kind, **options), torch.randn(2, steps, 5)).set_index("name")
    assert table.macs["rnn"] == steps * macs


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@kinds
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("steps", [6, 7])
def test_shapes_are_those_of_the_layer(
    kind: type[nn.RNNBase], options: dict[str, Any], macs: int, batch_first: bool, steps: int
) -> None:
    module, x = Reader(kind, batch_first, **options), torch.randn(2, steps, 5)
    found = trace(module, Inputs((x if batch_first else x.transpose(0, 1),)))
    assert found.sandbox.tensors == "meta"
    size = found.batch_size or (2 if batch_first else steps)
    given = torch.randn(size, *x.shape[1:]) if batch_first else torch.randn(size, 2, 5)
    output, states = module(given)
    expected = [output, *(states if isinstance(states, tuple) else (states,))]
    assert [tuple(out.shape) for out in found.runs[0].outputs.values()] == [tuple(out.shape) for out in expected]


def test_packed_sequences_are_left_alone() -> None:
    table = analyze(Packed(), torch.randn(2, 9, 5)).set_index("name")
    assert table.num_prunable["rnn"] == table.num_filters["rnn"] == 8 * 3
    assert "_pack_padded_sequence" in table.blocked_by["read"]

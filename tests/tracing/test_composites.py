"""Linear layers, attention and long recurrent layers are followed as few operations."""

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunekit import PrunableNetwork
from prunekit.exceptions import InputError
from prunekit.tracing import Inputs, trace
from tests.nets import randomise
from tests.zoo.check import assert_same_outputs, pruned


class Attention(nn.Module):
    """Attention of four heads with a width of their own for the values."""

    def __init__(self, heads: int = 4, masked: bool = False) -> None:
        super().__init__()
        self.heads, self.masked = heads, masked
        self.query, self.key, self.value = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(8, 24)
        self.proj = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        parts = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in self.layers())
        mask = torch.ones(x.size(1), x.size(1), dtype=torch.bool).tril() if self.masked else None
        return self.proj(F.scaled_dot_product_attention(*parts, mask).transpose(1, 2).flatten(2))

    def layers(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.query, self.key, self.value


class Mapped(nn.Module):
    """A linear function of each sample under a vectorised map, which must not be taken whole."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.vmap(lambda rows: F.linear(rows, self.first.weight, self.first.bias))(x))


class Recurrent(nn.Module):
    def __init__(self, kind: str, **options: object) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 8)
        self.layer = getattr(nn, kind)(8, 6, **options)
        self.head = nn.Linear(12 if options.get("bidirectional") else 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(x))[0].mean(1))


class OverTime(nn.Module):
    """A recurrent layer whose time steps are the channels of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer, self.head = nn.Conv1d(3, 9, 1), nn.LSTM(7, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.conv(x))[0].mean(1))


def names(module: nn.Module, x: Tensor) -> Counter[str]:
    return Counter(record.name.split(".")[1] for record in trace(module, Inputs.of(x)).runs[0].operations)


def test_a_linear_layer_and_attention_are_one_operation_each() -> None:
    found = names(Attention(), torch.randn(2, 5, 8))
    assert (found["linear"], found["scaled_dot_product_attention"]) == (4, 1)
    assert not found["addmm"] + found["bmm"] + found["softmax"]


def test_a_masked_attention_is_taken_apart() -> None:
    assert not names(Attention(masked=True), torch.randn(2, 5, 8))["scaled_dot_product_attention"]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("heads", "n_units"), [(4, 4), (1, 24)])
def test_whole_and_apart_have_the_same_units(heads: int, n_units: int, masked: bool) -> None:
    x = torch.randn(3, 5, 8)
    module = randomise(Attention(heads, masked))
    assert PrunableNetwork(module, x).num_prunables == n_units
    network = pruned(module, x, 0.5)
    assert_same_outputs(network, network.compact(), x)


def test_a_vectorised_map_is_left_alone() -> None:
    x = torch.randn(4, 2, 6)
    network = pruned(randomise(Mapped()), x, 0.5)
    assert_same_outputs(network, network.compact(), x)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    "options",
    [{}, {"bidirectional": True}, {"num_layers": 2, "dropout": 0.1}],
    ids=["plain", "bidirectional", "two layers"],
)
def test_long_sequences_take_no_more_operations(kind: str, options: dict[str, object]) -> None:
    module = randomise(Recurrent(kind, batch_first=True, **options))
    assert names(module, torch.randn(2, 9, 5)) == names(module, torch.randn(2, 49, 5))
    short, long = (PrunableNetwork(module, torch.randn(2, length, 5)).num_prunables for length in (3, 49))
    assert short == long
    x = torch.randn(2, 9, 5)
    network = pruned(module, x, 0.5)
    macs = PrunableNetwork(module, x).analyze().set_index("name")["macs"]
    longer = PrunableNetwork(module, torch.randn(2, 27, 5)).analyze().set_index("name")["macs"]
    assert longer["layer"] == 3 * macs["layer"] == 27 * _recurrent_macs(module.layer)
    assert_same_outputs(network, network.compact(), x)


def _recurrent_macs(layer: nn.RNNBase) -> int:
    """Return the multiply-adds of one step: each weight meets one number."""
    return sum(parameter.numel() for name, parameter in layer.named_parameters() if "weight" in name)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_time_first(kind: str) -> None:
    module, x = randomise(Recurrent(kind)), torch.randn(9, 2, 5)
    network = pruned(module, x, 0.5)
    assert_same_outputs(network, network.compact(), x)


def test_time_steps_stay() -> None:
    table = PrunableNetwork(OverTime(), torch.randn(2, 3, 7)).analyze().set_index("name")
    assert "cumsum" in table.loc["conv", "blocked_by"]
    assert not table.loc["layer", "blocked_by"]


class Keyword(nn.Module):
    """Calls the functions with arguments in every form."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, weight=self.first.weight, bias=self.first.bias, stride=(2,), padding=1, dilation=[1, 1])
        x = F.batch_norm(x, self.norm.running_mean, self.norm.running_var, bias=self.norm.bias, eps=1e-3)
        return self.last(x)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Conv1d(3, 8, 3, stride=2, padding=1), nn.BatchNorm1d(8), nn.Conv1d(8, 2, 1)), (2, 3, 9)),
        (nn.Sequential(nn.Conv2d(3, 8, (3, 5), padding="same"), nn.Conv2d(8, 2, 3, dilation=2)), (2, 3, 9, 8)),
        (nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 2, 1)), (2, 3, 9, 8)),
        (nn.Sequential(nn.Conv3d(3, 8, 2), nn.BatchNorm3d(8, affine=False), nn.Conv3d(8, 2, 1)), (2, 3, 4, 5, 6)),
        (
            nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, track_running_stats=False), nn.Conv2d(8, 2, 1)),
            (2, 3, 5, 5),
        ),
        (nn.Sequential(nn.Conv2d(3, 8, 1).to(memory_format=torch.channels_last), nn.Conv2d(8, 2, 3)), (2, 3, 5, 5)),
        (Keyword(), (2, 3, 8, 8)),
    ],
    ids=["1d", "padding", "depthwise", "3d", "batch-statistics", "channels-last", "keywords"],
)
def test_convolutions_and_batch_norms_have_the_shapes_of_pytorch(module: nn.Module, shape: tuple[int, ...]) -> None:
    module, x = randomise(module), torch.randn(shape)
    (_, output), *_ = trace(module, Inputs.of(x)).runs[0].outputs.items()
    assert output.shape[1:] == module.eval()(x).shape[1:]
    network = pruned(module, x, 0.5)
    assert network.support.size == (4 if isinstance(module, Keyword) else 8)
    assert_same_outputs(network, network.compact(), x)


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(9, 2, 1)),
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(9)),
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1, dtype=torch.float64)),
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 7)),
    ],
    ids=["channels", "statistics", "type", "kernel"],
)
def test_a_misfit_is_told_in_the_words_of_pytorch(module: nn.Module) -> None:
    x = torch.randn(2, 3, 5, 5)
    with pytest.raises(RuntimeError) as told:
        module.eval()(x)
    with pytest.raises(InputError) as found:
        PrunableNetwork(module, x)
    assert str(told.value).splitlines()[0].split(",")[0][:20] in str(found.value)

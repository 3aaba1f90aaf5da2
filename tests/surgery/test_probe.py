"""The proof: sizes in the model's code are repaired where an attribute holds them, and blamed where none does."""

import inspect
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunekit import PrunableNetwork
from prunekit.surgery import AttributeChange, probe
from prunekit.tracing import Inputs, UnitGraph, trace
from tests.nets import randomise
from tests.zoo.case import image
from tests.zoo.check import assert_same_outputs, pruned


class Views(nn.Module):
    """Flattens 6 channels of 4x4 for a linear layer; how is the subclass's affair."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0, self.conv1, self.head = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6, 3), nn.Linear(96, 4)
        self.channels, self.positions, self.unrelated = 6, 16, 6
        self.pool = True

    def flatten(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.flatten(F.relu(self.conv1(F.relu(self.conv0(x))))))


class Constant(Views):
    def flatten(self, x: Tensor) -> Tensor:
        return x.view(-1, 96)


class Product(Views):
    def flatten(self, x: Tensor) -> Tensor:
        return x.view(-1, self.channels * self.positions)


class Halves(Views):
    """Two attributes that repeat one number; only one of them is used here, but both are 6."""

    def flatten(self, x: Tensor) -> Tensor:
        return torch.cat(x.split(self.channels // 2, 1), 1).flatten(1)


def test_a_constant_is_blamed_with_its_line() -> None:
    network = PrunableNetwork(Constant(), image())
    lines, start = inspect.getsourcelines(Constant.flatten)
    line = next(start + number for number, text in enumerate(lines) if "96" in text)
    reason = network.analyze().set_index("name").loc["conv1", "blocked_by"]
    assert reason.endswith(f"(test_probe.py:{line})")
    assert "96" in reason or "fixes" in reason
    assert network.num_prunables == 5
    frozen = [unit.reason for unit in network.units if ("conv1.weight", 0) in unit.filters]
    assert frozen[0].location == f"test_probe.py:{line}"
    assert frozen[0].operation.startswith("aten.")


def test_an_attribute_is_repaired() -> None:
    network = pruned(randomise(Product()), image(), 0.5)
    small = network.compact()
    kept = small.conv1.out_channels
    assert kept < 6
    assert small.channels == kept
    assert small.positions == 16
    assert AttributeChange("", "channels", kept) in network.plan.attributes
    assert network.module.channels == 6
    assert_same_outputs(network, small, image(batch=5))


def test_a_number_computed_from_an_attribute_is_right_or_refused() -> None:
    network = pruned(randomise(Halves()), image(), 0.6)
    assert_same_outputs(network, network.compact(), image())


class Counting(nn.Module):
    """Counts its activations: an attribute that is no size has the same value as one that is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.activations = nn.ModuleList([nn.ReLU(), nn.Tanh(), nn.Tanh(), nn.ELU()])
        self.depth, self.width = 4, 4

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).view(-1, self.width)
        for activation in self.activations[: self.depth]:
            x = activation(x)
        return self.last(x)


def test_an_attribute_of_equal_value_that_is_no_size_is_left_alone() -> None:
    module, x = randomise(Counting()), torch.randn(5, 3)
    network = pruned(module, x, 0.5)
    small = network.compact()
    assert (small.depth, small.width) == (4, 2)
    assert_same_outputs(network, small, x)


LAYERS: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "conv": (lambda: nn.Conv2d(8, 8, 1), {"in_channels": 4}),
    "depthwise": (lambda: nn.Conv2d(8, 8, 1, groups=8), {"in_channels": 4, "out_channels": 4, "groups": 4}),
    "grouped": (lambda: nn.Conv2d(8, 16, 1, groups=4), {"in_channels": 4, "out_channels": 8, "groups": 2}),
    "transposed": (lambda: nn.ConvTranspose2d(8, 8, 1), {"in_channels": 4}),
    "transposed groups": (
        lambda: nn.ConvTranspose2d(8, 12, 1, groups=4),
        {"in_channels": 4, "out_channels": 6, "groups": 2},
    ),
    "batch norm": (lambda: nn.BatchNorm2d(8), {"num_features": 4}),
    "bare batch norm": (lambda: nn.BatchNorm2d(8, affine=False, track_running_stats=False), {"num_features": 4}),
    "instance norm": (lambda: nn.InstanceNorm2d(8, affine=True), {"num_features": 4}),
    "bare instance norm": (lambda: nn.InstanceNorm2d(8), {"num_features": 4}),
    "group norm": (lambda: nn.GroupNorm(4, 8), {"num_channels": 4, "num_groups": 2}),
    "bare group norm": (lambda: nn.GroupNorm(4, 8, affine=False), {"num_channels": 4, "num_groups": 2}),
    "prelu": (lambda: nn.PReLU(8), {"num_parameters": 4}),
    "prelu of one": (lambda: nn.PReLU(), {"num_parameters": 1}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_attributes_of_torchs_layers_follow(name: str) -> None:
    """What a layer says of itself is true of the compacted one, so its repr is too."""
    build, expected = LAYERS[name]
    middle = build()
    width = getattr(middle, "out_channels", 8)
    module = nn.Sequential(nn.Conv2d(3, 8, 1), middle, nn.ReLU(), nn.Conv2d(width, 4, 1))
    network = PrunableNetwork(module, image())
    start = network.snapshot()
    first = [unit.index for unit in network.units if "0.weight" in {name for name, _ in unit.filters}]
    start.removed[first[: len(first) // 2]] = True
    network.restore(start)
    small = network.compact()
    assert {key: getattr(small[1], key) for key in expected} == expected
    assert small[0].out_channels == 4
    assert small[3].in_channels == small[3].weight.shape[1]


def test_embedding_and_linear_follow() -> None:
    module = nn.Sequential(nn.Embedding(11, 8), nn.Linear(8, 6), nn.Linear(6, 2))
    network = PrunableNetwork(module, torch.arange(4), criterion="random")
    while network.update_prunables(1):
        pass
    small = network.compact()
    assert (small[0].num_embeddings, small[0].embedding_dim) == (11, small[1].in_features) == (11, 1)
    assert (small[1].out_features, small[2].in_features) == (1, 1)


def test_any_removal_stands_the_probe() -> None:
    """The probe tried a few spreads; every single unit and many pairs pass as well."""
    module = randomise(nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.GroupNorm(3, 6), nn.ReLU(), nn.Conv2d(6, 8, 1), nn.PixelShuffle(2), nn.Flatten(),
        nn.Linear(8 * 36, 4),
    ))  # fmt: skip
    network = PrunableNetwork(module, image())
    assert network.num_prunables == 3 + 2
    for first in range(network.num_prunables):
        for second in range(first, network.num_prunables):
            removed = np.zeros(network.num_prunables, dtype=bool)
            removed[[first, second]] = True
            if all((~removed[group.units]).sum() >= group.minimum for group in network.graph.groups):
                assert not probe(network.graph, network._body._repairs, removed)


def test_the_probe_says_where_it_failed() -> None:
    module = Constant()
    graph = UnitGraph(trace(module, Inputs.of(image())))
    removed = np.zeros(graph.n_units, dtype=bool)
    removed[5:8] = True
    (failure,) = probe(graph, (), removed)
    record = graph.trace.runs[failure.run].operations[failure.operation]
    assert record.location.startswith("test_probe.py:")


class Turned(Views):
    """Turns its maps around where it has all of its channels."""

    def flatten(self, x: Tensor) -> Tensor:
        return x.transpose(2, 3 if x.size(1) == 6 else 2).flatten(1)


def test_other_arguments_for_fewer_channels_are_found() -> None:
    """No label tells the dimensions of an image apart."""
    network = pruned(randomise(Turned()), image(), 0.5)
    assert network.support.size == 5
    assert "other arguments" in network.analyze().set_index("name").loc["conv1", "blocked_by"]
    assert_same_outputs(network, network.compact(), image())

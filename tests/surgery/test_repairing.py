"""Sizes that a module holds in its attributes are found, in many alike modules at once."""

import sys

import pytest
import torch
from torch import Tensor, nn

from prunekit import PrunableNetwork
from tests.nets import randomise
from tests.zoo.case import image
from tests.zoo.check import assert_same_outputs, pruned

X = image(3, 6)


class Cut(nn.Module):
    """Pieces of unequal size, held in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.sizes = nn.Conv2d(8, 8, 1), (5, 3)
        self.left, self.right = nn.Conv2d(5, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.conv(x).relu().split(self.sizes, dim=1)
        return torch.cat([self.left(left), self.right(right)], 1)


class Tower(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 8, 1), nn.Sequential(*(Cut() for _ in range(depth)))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Folded(nn.Module):
    """The width of the hidden layer is folded into the number of the input's channels: no way to repair that."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.outside = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inside(x).tanh()
        return x + self.outside(torch.cat([hidden, hidden], 1).reshape(len(x), 8, *x.shape[2:]))


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the probes."""
    module, numbers = sys.modules["prunekit.surgery.probe"], list[int]()
    original = module.probe

    def counted(*args: object, **kwargs: object) -> object:
        numbers.append(len(numbers))
        return original(*args, **kwargs)

    monkeypatch.setattr(module, "probe", counted)
    return numbers


def test_numbers_of_a_tuple_are_set() -> None:
    network = pruned(randomise(Tower(2)), X, 0.0)
    assert network.num_prunables == 8 + 2 * (8 + 4 + 4)
    network.update_score()
    network.update_prunables(20)
    small = network.compact()
    kept = [tuple(conv.in_channels for conv in (block.left, block.right)) for block in small.blocks]
    assert [block.sizes for block in small.blocks] == kept != [(5, 3), (5, 3)]
    assert_same_outputs(network, small, X)


def test_alike_modules_need_no_more_probes_than_one(probes: list[int]) -> None:
    counts = []
    for depth in (4, 6):  # both have more than 64 units, and so the same probes
        probes.clear()
        PrunableNetwork(Tower(depth), X)
        counts.append(len(probes))
    assert counts[0] == counts[1]


def test_what_cannot_be_repaired_is_frozen_alone() -> None:
    module = randomise(nn.Sequential(nn.Conv2d(3, 8, 1), Folded(), nn.Conv2d(8, 6, 1), nn.ReLU(), nn.Conv2d(6, 2, 1)))
    network = pruned(module, X, 0.5)
    table = network.analyze().set_index("name")
    assert "fixes" in table.loc["1.inside", "blocked_by"] or "fixes" in table.loc["0", "blocked_by"]
    assert table.loc["2", "blocked_by"] == ""
    assert_same_outputs(network, network.compact(), X)

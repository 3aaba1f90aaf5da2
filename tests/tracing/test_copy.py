"""Copies of networks without memory are what deepcopy would make, of other tensors."""

import copy

import pytest
import torch
from torch import Tensor, nn

from prunekit.tracing._copy import copy_without_memory, to_meta


class Knows(nn.Module):
    """Refers to itself, shares a layer, and holds lists of layers and tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.again = self.first
        self.own = [self.first, {"me": self}]
        self.cached = torch.ones(2)
        self.names: set[str] = set()
        self.known = self.first.known = {"first": self.first, "none": None}  # type: ignore[assignment]
        self.cache = self.first.cache = {}  # type: ignore[assignment,var-annotated]


class CopiesItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.copies = nn.Linear(2, 2), 0

    def __deepcopy__(self, memo: dict[int, object]) -> "CopiesItself":
        duplicate = CopiesItself()
        memo[id(self)] = duplicate
        duplicate.layer, duplicate.copies = copy.deepcopy(self.layer, memo), self.copies + 1
        return duplicate


def test_identities_are_kept() -> None:
    module = Knows()
    duplicate = copy_without_memory(module, to_meta)
    assert duplicate.first is duplicate.again is duplicate.own[0]
    assert duplicate.own[1]["me"] is duplicate
    assert duplicate.known is duplicate.first.known is not module.known
    assert duplicate.known == {"first": duplicate.first, "none": None}
    assert duplicate.cache is duplicate.first.cache is not module.cache
    assert duplicate.first is not module.first
    assert duplicate.first.weight.is_meta
    assert duplicate.cached.is_meta
    assert duplicate.names == set()
    assert duplicate.names is not module.names
    assert not module.first.weight.is_meta


def test_own_ways_of_copying_are_respected() -> None:
    module = nn.Sequential(CopiesItself(), nn.LSTM(2, 2))
    duplicate = copy_without_memory(module, to_meta)
    assert (duplicate[0].copies, module[0].copies) == (1, 0)
    assert duplicate[0].layer.weight.is_meta
    assert duplicate[1]._flat_weights[0] is duplicate[1].weight_ih_l0
    output, _ = duplicate[1](torch.zeros(3, 1, 2, device="meta"))
    assert output.shape == (3, 1, 2)


@pytest.mark.parametrize("layer", [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(2), nn.MultiheadAttention(4, 2), nn.Softmax(1)])
def test_attributes_are_those_of_deepcopy(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda *_: None)
    ours, theirs = copy_without_memory(layer, to_meta), copy.deepcopy(layer)
    assert vars(ours).keys() == vars(theirs).keys()
    for name, value in vars(theirs).items():
        if not isinstance(value, Tensor | nn.Module) and name not in ("_parameters", "_buffers", "_modules"):
            assert type(vars(ours)[name]) is type(value)
            assert vars(ours)[name] is not value or not isinstance(value, dict | list | set)

"""Which removals the probes try."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunekit.surgery.spreads import computes_sizes, keeping, varied
from prunekit.tracing import Inputs, UnitGraph, trace
from tests.zoo.case import image


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(x.split(x.size(1) // 2, 1), 1)


def graph_of(*body: nn.Module) -> UnitGraph:
    module = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), *body, nn.Flatten(), nn.Linear(576, 4))
    return UnitGraph(trace(module, Inputs.of(image())))


@pytest.mark.parametrize(
    ("body", "computed"),
    [
        ([nn.ReLU6(), nn.Conv2d(16, 16, 3, padding=1, groups=16)], False),
        ([Halves()], True),
        ([nn.Unflatten(1, (4, 4)), nn.Flatten(1, 2)], True),
    ],
    ids=["plain", "split", "unflatten"],
)
def test_sizes_that_the_code_may_compute(body: list[nn.Module], computed: bool) -> None:
    assert computes_sizes(graph_of(*body)) is computed


def test_a_varied_removal_leaves_one_of_some_layers_and_many_of_others() -> None:
    layers = [nn.Conv2d(16, 16, 3, padding=1) for _ in range(5)]
    graph = graph_of(*layers)
    kept = graph.kept_labels(keeping(graph, varied(graph), 1))
    left = [int(kept[graph.filters_of(layer)].sum()) for layer in graph.layers[:6]]
    assert left[0] == left[3] == 1
    assert all(1 < number < 16 for number in (left[1], left[2], left[4], left[5]))


def test_enough_are_given_back() -> None:
    graph = graph_of(nn.Conv2d(16, 16, 3, padding=1))
    everything = np.ones(graph.n_units, dtype=bool)
    for at_least in (1, 2, 5):
        for backwards in (False, True):
            assert (~keeping(graph, everything, at_least, backwards=backwards)).sum() == 2 * at_least

"""Costs from the labels against costs counted on networks that were really compacted."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prunekit import PrunableNetwork
from prunekit.cost import count_params
from tests.nets import PlainCNN, ResNet, SqueezeNet, dense_net, reference_net

NETWORKS = {
    "plain": (PlainCNN, (3, 8, 8)),
    "resnet": (ResNet, (3, 16, 16)),
    "squeezenet": (SqueezeNet, (3, 16, 16)),
    "linear": (dense_net, (6,)),
    "transposed": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 6, 3, 2), nn.Conv2d(6, 2, 1)),
        (3, 9, 9),
    ),
    "depthwise": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 2, 1)),
        (3, 9, 9),
    ),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(3, 8, 3), nn.ReLU(), nn.Conv1d(8, 2, 3, stride=2)), (3, 20)),
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(1, 6, 3), nn.ReLU(), nn.Conv3d(6, 2, 3)), (1, 7, 7, 7)),
}


def counted_macs(module: nn.Module, sample: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(sample)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.8])
def test_costs_are_those_of_the_compacted_network(name, fraction):
    make, shape = NETWORKS[name]
    network = PrunableNetwork(make(), torch.randn(1, *shape), criterion="random")
    network.update_prunables(int(fraction * network.num_prunables))
    smaller = network.compact()

    totals = network.analyze().attrs["totals"]

    assert totals["params"]["after"] == count_params(smaller)
    assert totals["macs"]["after"] == counted_macs(smaller, torch.randn(1, *shape))


@pytest.mark.parametrize("name", NETWORKS)
def test_dense_macs_agree_with_torchs_counter(name):
    make, shape = NETWORKS[name]
    module = make()
    network = PrunableNetwork(module, torch.randn(3, *shape), criterion="random")

    assert network.analyze()["macs"].sum() == counted_macs(module, torch.randn(1, *shape))


def test_linear_10_to_20_is_200_macs():
    network = PrunableNetwork(nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 3)), torch.randn(7, 10))

    assert network.analyze()["macs"].to_list() == [200, 60]


def test_memory_counts_weights_and_the_peak_of_activations():
    # While the ReLU runs both its input and its output are alive: twice 8 x 6 x 6 floats.
    module = nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 2, 6, bias=False))
    network = PrunableNetwork(module, torch.randn(2, 1, 8, 8))

    assert network.analyze().attrs["totals"]["memory_bytes"]["before"] == 4 * (8 * 9 + 2 * 8 * 36) + 4 * 2 * 8 * 36


def test_a_shared_parameter_counts_once():
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    module = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), first, nn.Tanh(), second, nn.Tanh(), nn.Linear(6, 2))
    network = PrunableNetwork(module, torch.randn(2, 6))

    table = network.analyze().set_index("name")

    assert table.attrs["totals"]["params"]["before"] == count_params(module)
    assert table["num_learnables"].sum() == count_params(module)
    assert (table.loc["2", "num_learnables"], table.loc["4", "num_learnables"]) == (42, 6)


@pytest.mark.parametrize("resource", ["params", "macs", "filters", "memory"])
def test_reduction_is_the_one_of_the_table(resource):
    network = PrunableNetwork(reference_net(), torch.randn(1, 1, 28, 28), criterion="random")
    network.prune_to(0.3, of=resource)
    column = "memory_bytes" if resource == "memory" else resource

    totals = network.analyze().attrs["totals"][column]

    assert network.reduction(resource) == pytest.approx(1 - totals["after"] / totals["before"])
    assert network.reduction(resource) >= 0.3

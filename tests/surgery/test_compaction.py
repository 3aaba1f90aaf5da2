"""Compaction of layers whose weight is computed, and in unusual modes of torch."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from prunekit import PrunableNetwork
from tests.nets import PlainCNN


def three_convolutions() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 1))


def test_a_layer_masked_by_torch_itself():
    module = three_convolutions()
    prune.random_unstructured(module[2], "weight", 0.3)
    network = PrunableNetwork(module, torch.randn(2, 3, 9, 9), criterion="random")

    network.update_prunables(5)
    smaller = network.compact()

    kept = smaller[0].out_channels
    assert kept + smaller[2].out_channels == 8 + 6 - 5
    assert smaller[2].weight_orig.shape == smaller[2].weight_mask.shape == (14 - 5 - kept, kept, 3, 3)
    assert network.verify(torch.randn(4, 3, 9, 9)) < 1e-5


def test_inference_mode_outside_makes_no_difference():
    with torch.inference_mode():
        network = PrunableNetwork(PlainCNN(), torch.randn(2, 3, 8, 8), criterion="random")
        network.update_prunables(5)
        smaller = network.compact()

    assert network.num_prunables == 14 - 5
    smaller(torch.randn(2, 3, 8, 8)).sum().backward()
    assert smaller.conv1.weight.grad is not None


@pytest.mark.parametrize("ndim", [4, 5])
def test_memory_format_is_kept(ndim):
    layout = torch.channels_last if ndim == 4 else torch.channels_last_3d
    conv = nn.Conv2d if ndim == 4 else nn.Conv3d
    module = nn.Sequential(conv(3, 8, 3), nn.ReLU(), conv(8, 4, 3)).to(memory_format=layout)
    network = PrunableNetwork(module, torch.randn(2, 3, *[7] * (ndim - 2)), criterion="random")
    network.update_prunables(3)

    assert network.compact()[2].weight.is_contiguous(memory_format=layout)

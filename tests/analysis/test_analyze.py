"""`analyze` of whatever a user has at hand."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import PrunableNetwork, analyze
from prunekit.exceptions import InputError, ParameterTypeError
from tests.nets import PlainCNN, reference_net


def test_module_array_and_tensor_give_the_same_table():
    sample = np.random.default_rng(0).normal(size=(4, 1, 28, 28))
    module = reference_net()

    from_array, from_tensor = analyze(module, sample), analyze(module, torch.from_numpy(sample).float())

    assert from_array.to_dict("list") == from_tensor.to_dict("list")
    assert from_array["num_learnables"].sum() == 123090
    assert from_array["num_prunable"].sum() == 60


def test_barriers_of_a_network_with_nothing_to_prune():
    norm = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), nn.Conv2d(8, 4, 3))
    softmax = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softmax(1))
    sample = torch.randn(1, 3, 9, 9)

    assert analyze(norm, sample)["blocked_by"].to_list() == [
        "group norm with one group normalises over all channels together (norms=\"subset\" lets them be pruned) in '1'",
        "",
        "network output",
    ]
    assert analyze(softmax, sample)["blocked_by"].to_list() == ["softmax over channels in '1'", ""]


def test_skorch_net():
    X = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype("float32")
    net = NeuralNetClassifier(PlainCNN).initialize()

    assert analyze(net, X).to_dict("list") == analyze(net.module_, X).to_dict("list")


def test_prunable_network_needs_no_inputs():
    network = PrunableNetwork(PlainCNN(), torch.randn(1, 3, 8, 8))

    assert analyze(network).to_dict("list") == network.analyze().to_dict("list")


@pytest.mark.parametrize(
    ("network", "sample", "error", "message"),
    [
        (
            NeuralNetClassifier(PlainCNN),
            torch.randn(1, 3, 8, 8),
            ParameterTypeError,
            "call initialize\\(\\) or fit\\(\\) first",
        ),
        (PlainCNN, torch.randn(1, 3, 8, 8), ParameterTypeError, "Got PlainCNN itself, not an instance of it, instead"),
        (PlainCNN(), None, ParameterTypeError, "'X' parameter of analyze must hold example inputs"),
        (PlainCNN(), torch.randn(1, 5, 8, 8), InputError, "PlainCNN does not run on the example inputs"),
    ],
)
def test_errors(network, sample, error, message):
    with pytest.raises(error, match=message):
        analyze(network, sample)

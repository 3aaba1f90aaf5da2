"""Networks as torchvision builds them."""

from typing import Any

import pytest
import torch

from prunekit import PrunableNetwork
from tests.nets import randomise
from tests.torchvision_shim import torchvision_models
from tests.zoo.check import assert_same_outputs, evaluated, pruned, remove, train

X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(7))


def _network(name: str, **options: Any) -> PrunableNetwork:
    module = randomise(getattr(torchvision_models(), name)(weights=None, **options))
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    module.train()
    with torch.no_grad():
        module(X)  # statistics of batch norm that fit the weights
    return pruned(module, X, 0.0)


def test_squeezenet_has_2944_units() -> None:
    """Every filter but the classifier's 1000."""
    network = _network("squeezenet1_1")
    assert network.num_prunables == 2944
    table = network.analyze().set_index("name")
    assert table.num_filters.sum() == 2944 + 1000
    assert table.blocked_by[table.blocked_by != ""].to_dict() == {"classifier.1": "network output"}


@pytest.mark.parametrize(
    ("name", "units"),
    [
        # 64 + 128 + 256 + 512 for the residual streams, whose blocks have as many filters inside: two a stage
        ("resnet18", (64 + 128 + 256 + 512) * (1 + 2)),
        ("mobilenet_v3_small", None),
        ("squeezenet1_1", 2944),
    ],
)
def test_masked_equals_compacted(name: str, units: int | None) -> None:
    network = _network(name)
    assert network.num_prunables == (units or network.num_prunables)
    frozen = network.analyze().set_index("name").query("num_filters > num_prunable")
    assert set(frozen.blocked_by) == {"network output"}
    remove(network, 0.5)
    small = network.compact(verify=False)
    assert_same_outputs(network, small, X)
    before = evaluated(small, X)[0]
    for module in (network, small):
        train(module, X, torch.optim.SGD(module.parameters(), 1e-3, 0.9), clip=1.0)
    assert_same_outputs(network, small, X)
    assert not torch.equal(evaluated(small, X)[0], before)

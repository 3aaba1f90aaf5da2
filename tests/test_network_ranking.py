"""What units are compared by: importance per cost, regularised, averaged over steps."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prunekit import PrunableNetwork
from prunekit.cost import CostModel
from prunekit.exceptions import ParameterError
from tests.nets import PlainCNN, ResNet, SqueezeNet, randomise
from tests.zoo.check import Given


def _network(criterion: Any = "taylor", **options: Any) -> tuple[PrunableNetwork, Tensor]:
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return PrunableNetwork(randomise(PlainCNN()), x, criterion=criterion, **options), x


def _score(network: PrunableNetwork, x: Tensor) -> None:
    network.module.zero_grad()
    network(x).square().sum(1).mean().backward()
    network.update_score()


@pytest.mark.parametrize("build", [PlainCNN, ResNet, SqueezeNet])
@pytest.mark.parametrize("resource", ["params", "macs", "filters", "memory"])
def test_savings_are_those_of_each_unit_alone(build: Any, resource: Any) -> None:
    network = PrunableNetwork(build(), torch.randn(1, 3, 8, 8), criterion="random")
    network.update_prunables(4)
    removed = ~network.support
    costs = CostModel(network.module, network.graph)
    expected = np.zeros(removed.size)
    for unit in np.flatnonzero(~removed):
        without = removed.copy()
        without[unit] = True
        expected[unit] = costs.of(resource, removed) - costs.of(resource, without)
    np.testing.assert_allclose(costs.savings(resource, removed), expected)
    np.testing.assert_allclose(costs.savings_of(lambda gone: 2.0 * costs.of(resource, gone), removed), 2 * expected)


@pytest.mark.parametrize("per", ["params", "macs", "memory"])
def test_importance_per_resource(per: Any) -> None:
    measured, _ = _network("random")
    savings = CostModel(measured.module, measured.graph).savings(per, ~measured.support)
    importances = 1 + 0.1 * savings / savings.max() + np.linspace(0, 0.01, 14)  # the dearer is a little more important
    importances[[3, 9]] = -1.0, -2.0
    values = importances / savings
    values[[3, 9]] = importances[[3, 9]]
    chosen = []
    for option in (per, None):
        network, _ = _network(Given(importances), per=option)
        network.update_prunables(4)
        chosen.append(set(np.flatnonzero(~network.support)))
    assert chosen[0] == set(np.argsort(values)[:4])
    assert chosen[1] == set(np.argsort(importances)[:4]) != chosen[0]


def test_regularisation_by_multiply_adds() -> None:
    network, _ = _network(Given(np.ones(14)), macs_regularization=0.5)
    savings = CostModel(network.module, network.graph).savings("macs", ~network.support)
    assert savings[0] != savings[8]
    np.testing.assert_allclose(network._ranking().importances, 1 - 0.5 * savings / 1e6)


def test_momentum_over_steps() -> None:
    network, x = _network(score_momentum=0.9)
    plain, _ = _network()
    for one in (network, plain):
        _score(one, x)
    first = plain.importances
    np.testing.assert_allclose(network.importances, first)
    for one in (network, plain):
        one.update_prunables(2)
        _score(one, 2 * x)
    left = network.support
    np.testing.assert_allclose(network.importances[left], (0.9 * first + 0.1 * plain.importances)[left])
    assert np.isnan(network.importances[~left]).all()
    network.restore(network.snapshot())
    _score(network, x)
    _score(plain, x)
    plain.restore(plain.snapshot())
    _score(plain, x)
    np.testing.assert_allclose(network.importances, plain.importances)


def test_scores_may_go_on_after_a_removal() -> None:
    network, x = _network(reset_scores=False)
    _score(network, x)
    network.update_prunables(2)
    assert network.num_scored == 1
    _score(network, x)
    assert network.num_scored == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per": "hours"}, r"The 'per' parameter of PrunableNetwork must be one of 'params'.*Got 'hours' instead"),
        ({"macs_regularization": -1.0}, "The 'macs_regularization' parameter of PrunableNetwork must"),
        ({"score_momentum": 1.0}, "The 'score_momentum' parameter of PrunableNetwork must"),
    ],
)
def test_wrong_parameters(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        _network(**options)


# ---------------------------------------------------------------- scaled losses


@pytest.mark.parametrize("criterion", ["taylor", "taylor2", "fisher", "taylor_activation"])
def test_a_scaled_loss_gives_the_same_importances(criterion: str) -> None:
    found = []
    for scale in (1.0, 1024.0):
        network, x = _network(criterion)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        scaler.scale(network(x).square().sum(1).mean()).backward()
        network.update_score(loss_scale=scaler.get_scale())
        found.append(network.importances)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


@pytest.mark.parametrize("criterion", ["taylor", "fisher"])
def test_an_overflow_of_the_scaled_loss_is_left_out(criterion: str) -> None:
    network, x = _network(criterion)
    _score(network, x)
    before = network.importances
    network.module.zero_grad()
    (network(x).square().sum(1).mean() * float("inf")).backward()
    network.update_score(loss_scale=65536.0)
    assert network.num_scored == 1
    np.testing.assert_array_equal(network.importances, before)
    network.module.zero_grad()
    _score(network, x)
    assert network.num_scored == 2


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_loss_scale_must_be_positive(scale: float) -> None:
    network, x = _network()
    network(x).sum().backward()
    with pytest.raises(
        ParameterError, match=r"The 'loss_scale' parameter of update_score must be a number in \(0, inf\)"
    ):
        network.update_score(loss_scale=scale)

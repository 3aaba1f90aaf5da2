"""A criterion that goes on from a state ends where it would have ended anyway."""

import numpy as np
import pytest
import torch
from torch import nn

from prunekit import PrunableNetwork
from prunekit.exceptions import ParameterError
from prunekit.importance import CRITERIA, Criterion
from prunekit.io import read_state, write_state


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    ).eval()  # fmt: skip


def batches():
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, 1, 8, 8, generator=generator), torch.randint(3, (8,), generator=generator)) for _ in range(6)
    ]


def score(network, data):
    for x, y in data:
        network.module.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        network.update_score()


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("split", [0, 2, 6])
def test_it_goes_on(name, split, tmp_path):
    whole = PrunableNetwork(make_net(), batches()[0][0], criterion=name)
    score(whole, batches())
    first = PrunableNetwork(make_net(), batches()[0][0], criterion=name)
    score(first, batches()[:split])
    state = read_state(write_state(tmp_path / "state", first.get_state()))
    second = PrunableNetwork(make_net(), batches()[0][0], criterion=name)
    second.set_state(state)
    assert second.num_scored == split
    score(second, batches()[split:])
    np.testing.assert_array_equal(second.importances, whole.importances)
    ours, theirs = second.criterion.together(), whole.criterion.together()
    if theirs is not None:
        np.testing.assert_array_equal(ours.alone, theirs.alone)
        np.testing.assert_array_equal(ours.factor, theirs.factor)


def test_many_examples_fill_the_sketch(tmp_path):
    networks = [PrunableNetwork(make_net(), batches()[0][0], criterion="taylor2") for _ in range(2)]
    big = [(torch.randn(400, 1, 8, 8), torch.randint(3, (400,))) for _ in range(6)]
    score(networks[0], big[:4])
    networks[1].set_state(read_state(write_state(tmp_path / "state", networks[0].get_state())))
    for network in networks:
        score(network, big[4:])
    left, right = (network.criterion.together().factor for network in networks)
    np.testing.assert_array_equal(left, right)
    assert len(left) == 1024


class Largest(Criterion):
    """A user's own criterion."""

    name = "largest"

    def reset(self):
        self._largest = None

    def observe(self, observation):
        now = observation.taylor_sums.abs()
        self._largest = now if self._largest is None else self._largest.maximum(now)

    def importance(self):
        return self._largest.double().numpy()


def test_a_criterion_of_ones_own_needs_nothing_more(tmp_path):
    networks = [PrunableNetwork(make_net(), batches()[0][0], criterion=Largest()) for _ in range(2)]
    score(networks[0], batches()[:3])
    networks[1].set_state(read_state(write_state(tmp_path / "state", networks[0].get_state())))
    np.testing.assert_array_equal(networks[0].importances, networks[1].importances)


def test_states_of_a_network_that_was_cut(tmp_path):
    first = PrunableNetwork(make_net(), batches()[0][0], criterion="taylor")
    score(first, batches()[:2])
    first.update_prunables(4)
    first.cut()
    score(first, batches()[2:4])
    second = PrunableNetwork(make_net(), batches()[0][0], criterion="taylor")
    second.set_state(read_state(write_state(tmp_path / "state", first.get_state())))
    assert [tuple(p.shape) for p in second.module.parameters()] == [tuple(p.shape) for p in first.module.parameters()]
    np.testing.assert_array_equal(first.importances, second.importances)
    assert second.plan == first.plan
    assert second.verify(batches()[0][0]) < 1e-5


def test_a_state_hides_no_method():
    with pytest.raises(ParameterError, match=r"must not hide what its class has. Got \['observe'\] instead"):
        CRITERIA["taylor"]().load_state_dict({"observe": 3})

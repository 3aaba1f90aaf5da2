"""Masks, compaction and scores against brute force that shares no code with them."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from prunekit import PrunableNetwork
from prunekit.exceptions import ParameterError, TrainingError
from prunekit.importance import Criterion, Observation, oracle
from tests.nets import PlainCNN, ResNet, SqueezeNet, dense_net, randomise
from tests.zoo.check import Given

Consumers = list[tuple[str, Callable[[int], list[int]]]]
"""Layers that read the channels of one layer, and which of their input channels are its channel i; by hand."""


def _same(i: int) -> list[int]:
    return [i]


def _behind(offset: int) -> Callable[[int], list[int]]:
    return lambda i: [offset + i]


READERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, tuple[int, Consumers]]]] = {
    "plain": (
        PlainCNN,
        (2, 3, 8, 8),
        {
            "conv1": (8, [("conv2", _same)]),
            "conv2": (6, [("head", lambda i: list(range(9 * i, 9 * i + 9)))]),
        },
    ),
    "linear": (dense_net, (5, 6), {"0": (8, [("2", _same)]), "2": (5, [("4", _same)])}),
    "resnet": (
        ResNet,
        (2, 3, 8, 8),
        {
            "stem.0": (8, [("block1.conv1.0", _same), ("block2.conv1.0", _same), ("block2.shortcut.0", _same)]),
            "block1.conv1.0": (8, [("block1.conv2", _same)]),
            "block2.conv1.0": (12, [("block2.conv2", _same)]),
            "block2.conv2": (12, [("head", _same)]),
        },
    ),
    "squeezenet": (
        SqueezeNet,
        (2, 3, 12, 12),
        {
            "features.0": (8, [("features.3.squeeze", _same)]),
            "features.3.squeeze": (4, [("features.3.expand1", _same), ("features.3.expand3", _same)]),
            "features.3.expand1": (6, [("features.4.squeeze", _same)]),
            "features.3.expand3": (6, [("features.4.squeeze", _behind(6))]),
            "features.4.squeeze": (3, [("features.4.expand1", _same), ("features.4.expand3", _same)]),
            "features.4.expand1": (5, [("classifier.1", _same)]),
            "features.4.expand3": (5, [("classifier.1", _behind(5))]),
        },
    ),
}

networks = pytest.mark.parametrize("name", READERS)


def _units_by_hand(name: str) -> list[tuple[str, int, Consumers]]:
    return [
        (layer, channel, consumers)
        for layer, (count, consumers) in READERS[name][2].items()
        for channel in range(count)
    ]


def _build(name: str) -> tuple[nn.Module, Tensor]:
    build, shape, _ = READERS[name]
    return randomise(build()).double().eval(), torch.randn(
        shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )


def _with_inputs_scaled(module: nn.Module, consumers: Consumers, channel: int, factor: float) -> nn.Module:
    """Return a copy in which the readers of one channel see it multiplied by a factor."""
    duplicate = copy.deepcopy(module)

    def scale(indices: list[int]) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor]]:
        def hook(part: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            scaled = args[0].clone()
            scaled[:, indices] *= factor
            return (scaled,)

        return hook

    for reader, inputs_of in consumers:
        duplicate.get_submodule(reader).register_forward_pre_hook(scale(inputs_of(channel)))
    return duplicate


class Sums(Criterion):
    """Keep the first-order sums of the last mini-batch."""

    name = "sums"

    def reset(self) -> None:
        self.sums = np.zeros(0)

    def observe(self, observation: Observation) -> None:
        self.sums = observation.taylor_sums.double().numpy()

    def importance(self) -> np.ndarray:
        return self.sums


def _unit_of(network: PrunableNetwork, layer: str, channel: int) -> int:
    (found,) = [unit.index for unit in network.units if (f"{layer}.weight", channel) in unit.filters]
    return found


@networks
def test_every_unit_is_found(name: str) -> None:
    module, x = _build(name)
    network = PrunableNetwork(module, x)
    found = {_unit_of(network, layer, channel) for layer, channel, _ in _units_by_hand(name)}
    assert found == set(range(network.num_prunables))


@networks
def test_removing_one_unit_is_silencing_what_its_readers_see(name: str) -> None:
    """One unit at a time: the compacted network against hooks that zero a channel at the input of each reader."""
    module, x = _build(name)
    network = PrunableNetwork(module, x, criterion=Given())
    start = network.snapshot()
    for layer, channel, consumers in _units_by_hand(name):
        network.restore(start)
        network.criterion.values = np.ones(network.support.size)
        network.criterion.values[_unit_of(network, layer, channel)] = 0.0
        assert network.update_prunables(max_to_prune=1) == 1
        silenced = _with_inputs_scaled(module, consumers, channel, 0.0)
        with torch.no_grad():
            expected = silenced(x)
            torch.testing.assert_close(network.predict(x), expected, rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(network.compact()(x), expected, rtol=1e-10, atol=1e-12)


@networks
def test_first_order_sum_is_the_derivative_of_fading_a_unit_out(name: str) -> None:
    """S = dL/dt where the channel is multiplied by 1 + t at the input of each of its readers."""
    module, x = _build(name)
    network = PrunableNetwork(module, x, criterion=Sums())

    def loss(out: Tensor) -> Tensor:
        return (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum() + out.square().sum()

    network.eval()
    loss(network(x)).backward()
    network.update_score()
    for layer, channel, consumers in _units_by_hand(name):
        values = []
        for step in (1e-5, -1e-5):
            faded = _with_inputs_scaled(module, consumers, channel, 1 + step)
            with torch.no_grad():
                values.append(loss(faded(x)).item())
        derivative = (values[0] - values[1]) / 2e-5
        assert network.importances[_unit_of(network, layer, channel)] == pytest.approx(derivative, rel=1e-4, abs=1e-5)


class ComplexNet(nn.Module):
    """A complex matrix between real layers."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(4, 6, dtype=torch.float64)
        self.mix = nn.Parameter(torch.randn(6, 5, dtype=torch.complex128))
        self.head = nn.Linear(5, 3, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((torch.tanh(self.encode(x)).to(torch.complex128) @ self.mix).abs())


def test_first_order_sum_of_complex_weights() -> None:
    """Re(conj(gradient) * weight) is the derivative of scaling a row of the complex matrix."""
    module, x = randomise(ComplexNet()), torch.randn(7, 4, generator=torch.Generator().manual_seed(0)).double()
    network = PrunableNetwork(module, x, criterion=Sums())
    network(x).square().sum().backward()
    network.update_score()
    for row in range(6):
        values = []
        for step in (1e-6, -1e-6):
            scaled = copy.deepcopy(module)
            with torch.no_grad():
                scaled.mix[row] *= 1 + step
                values.append(scaled(x).square().sum().item())
        derivative = (values[0] - values[1]) / 2e-6
        assert network.importances[_unit_of(network, "encode", row)] == pytest.approx(derivative, rel=1e-5)


def test_taylor_is_the_mean_of_squares_over_mini_batches() -> None:
    module, _ = _build("linear")
    batches = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    network = PrunableNetwork(module, batches[0], criterion="taylor")
    expected = np.zeros(13)
    for batch in batches:
        network.zero_grad()
        network(batch).square().mean().backward()
        network.update_score()
        plain = copy.deepcopy(module)
        plain(batch).square().mean().backward()
        sums = [(plain[n].weight * plain[n].weight.grad).sum(0).detach().numpy() for n in (2, 4)]
        expected += np.concatenate(sums) ** 2 / len(batches)
    assert network.num_scored == 3
    np.testing.assert_allclose(network.importances, expected, rtol=1e-5)


def test_order_does_not_depend_on_the_scale_of_the_loss() -> None:
    """A tiny loss must not lose the order to underflow."""
    module, x = _build("linear")
    module, x = module.float(), x.float()
    orders = []
    for scale in (1.0, 1e-22):
        network = PrunableNetwork(module, x, criterion="taylor")
        (network(x).square().mean() * scale).backward()
        network.update_score()
        orders.append(np.argsort(network.importances))
    np.testing.assert_array_equal(*orders)


def _loss(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean()


@networks
def test_the_oracle_is_the_true_change_of_the_loss(name: str) -> None:
    module, x = _build(name)
    network = PrunableNetwork(module, x)
    targets = torch.ones_like(module(x))
    batches = [(x, targets), (x[:1] * 2, targets[:1])]

    def mean_loss(own: nn.Module) -> float:
        with torch.no_grad():
            return sum(len(one) * float(_loss(own(one), two)) for one, two in batches) / (len(x) + 1)

    weights = {key: value.clone() for key, value in network.module.state_dict().items()}
    changes = oracle(network, batches, _loss)
    for layer, channel, consumers in _units_by_hand(name):
        expected = mean_loss(_with_inputs_scaled(module, consumers, channel, 0.0)) - mean_loss(module)
        assert changes[_unit_of(network, layer, channel)] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert all(torch.equal(value, weights[key]) for key, value in network.module.state_dict().items())


def test_the_oracle_of_some_units_after_others_are_gone() -> None:
    module, x = _build("resnet")
    network = PrunableNetwork(module, x, criterion=Given(range(40)))
    network.update_prunables(3)
    targets = torch.zeros_like(module(x))
    changes = oracle(network, iter([(x, targets)]), _loss, units=[5, 3])
    assert np.flatnonzero(~np.isnan(changes)).tolist() == [3, 5]
    whole = oracle(network, [((x,), targets)], _loss)
    assert np.isnan(whole[:3]).all()
    assert whole[[3, 5]].tolist() == changes[[3, 5]].tolist()


@pytest.mark.parametrize("units", [[0], [99], [-1]], ids=["gone", "beyond", "negative"])
def test_units_that_are_not_there(units: list[int]) -> None:
    network = PrunableNetwork(dense_net(), torch.randn(5, 6), criterion=Given(range(13)))
    network.update_prunables(1)
    with pytest.raises(ParameterError, match="'units' parameter of oracle"):
        oracle(network, [(torch.randn(5, 6), torch.zeros(5, 3))], _loss, units=units)


def test_an_oracle_needs_examples_and_a_finite_loss() -> None:
    network = PrunableNetwork(dense_net(), torch.randn(5, 6))
    with pytest.raises(ParameterError, match="labelled examples"):
        oracle(network, [], _loss)
    with pytest.raises(TrainingError, match="finite loss"):
        oracle(network, [(torch.full((2, 6), torch.nan), torch.zeros(2, 3))], _loss)


def test_a_network_without_units_is_as_before_also_after_an_error() -> None:
    network = PrunableNetwork(dense_net(), torch.randn(5, 6))
    x = torch.randn(4, 6)
    before = network.predict(x)

    def fail() -> None:
        with network.without([0, 4]):
            assert not torch.equal(network.predict(x), before)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(network.predict(x), before)
    with pytest.raises(ParameterError, match="from 0 to 12"), network.without([13]):
        pass


class Careless(nn.Module):
    """Writes in place to what others read, or goes another way by what it computed."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x), inplace=True)
        z = self.second(x)
        if self.way == "writes":
            x += z
        elif self.way == "overwrites":
            kept = torch.zeros_like(x)
            kept[:, :] = z
            x = kept
        elif self.way == "decides" and float(z.mean()) > 0:
            x = 2 * x
        return self.head(x)


@pytest.mark.parametrize("way", ["plain", "writes", "overwrites", "decides"])
def test_the_oracle_of_careless_networks(way: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module, x, y = Careless(way), torch.randn(9, 4), torch.randint(3, (9,))
    network = PrunableNetwork(module, x, criterion="random")
    found = oracle(network, [({"x": x}, y)], F.cross_entropy)
    before = float(F.cross_entropy(network.predict(x), y))
    for unit in range(network.num_prunables):
        with network.without([unit]):
            expected = float(F.cross_entropy(network.predict(x), y)) - before
        assert found[unit] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("removed", [[], [0, 5, 9]], ids=["whole", "pruned"])
def test_the_oracle_does_not_compute_what_a_unit_does_not_reach(removed: list[int]) -> None:
    values = np.ones(14)
    values[removed] = 0.0
    network, calls = PrunableNetwork(PlainCNN(), torch.randn(2, 3, 8, 8), criterion=Given(values)), []
    network.update_prunables(len(removed))
    first = int((network.support & (network.graph.first_layers == network.graph.first_layers[0])).sum())

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            calls.append(str(func))
            return func(*args, **(kwargs or {}))

    with Counting():  # sees what the oracle really runs
        oracle(network, [(torch.randn(4, 3, 8, 8), torch.zeros(4, dtype=torch.long))], F.cross_entropy)
    # the network once, the second convolution for each unit of the first, the head for all
    assert first == (6 if removed else 8)
    assert sum("convolution" in call for call in calls) == 2 + first
    assert sum("addmm" in call for call in calls) == 1 + 14 - len(removed)

"""Masks, compaction and scores against brute force that shares no code with them."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunekit import PrunableNetwork
from prunekit.importance import Criterion, Observation
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
    network = PrunableNetwork(module, batches[0])
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
        network = PrunableNetwork(module, x)
        (network(x).square().mean() * scale).backward()
        network.update_score()
        orders.append(np.argsort(network.importances))
    np.testing.assert_array_equal(*orders)

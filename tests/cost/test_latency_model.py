"""Reduction of latency: what the clock says is made up here, so that every test gives the same on any machine."""

from collections.abc import Callable, Iterable
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunekit import PrunableNetwork
from prunekit.cost import _latency, _latency_model, latency_ratio, module_latency_us
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.surgery import Ranking
from tests.zoo.check import Given

FIXED = 2000
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def make_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 48, 3, padding=1),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48 * 64, 10),
    )


def duration(module: nn.Module) -> int:
    """Return what a pass takes by the made-up clock: a fixed time, and one unit for each weight."""
    return FIXED + sum(parameter.numel() for parameter in module.parameters())


def true_reduction(network: PrunableNetwork) -> float:
    return 1.0 - duration(network.compact()) / duration(make_net())


class Clock:
    """The functions that measure, replaced; remembers for what they were called."""

    def __init__(self, times: Callable[[str, nn.Module], float]) -> None:
        self.ratios: list[float] = []
        self.batch_sizes: set[int] = set()
        self.tables = 0
        self.dense = duration(make_net())
        self._times = times

    def ratio(self, module: nn.Module, reference: nn.Module, inputs: Any) -> float:
        assert duration(reference) == self.dense
        self.batch_sizes.add(inputs.args[0].size(0))
        self.ratios.append(duration(module) / duration(reference))
        return self.ratios[-1]

    def module_times(
        self, module: nn.Module, inputs: Any, paths: Iterable[str], *, repeats: int = 5
    ) -> dict[str, float]:
        self.tables += 1
        return {path: self._times(path, module.get_submodule(path)) for path in paths}


def weights(path: str, part: nn.Module) -> float:
    return FIXED if path == "" else float(sum(parameter.numel() for parameter in part.parameters()))


def replaced(monkeypatch: pytest.MonkeyPatch, times: Callable[[str, nn.Module], float] = weights) -> Clock:
    clock = Clock(times)
    monkeypatch.setattr(_latency_model, "latency_ratio", clock.ratio)
    monkeypatch.setattr(_latency_model, "module_latency_us", clock.module_times)
    return clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return replaced(monkeypatch)


def make_network(**options: Any) -> PrunableNetwork:
    torch.manual_seed(0)
    importances = np.random.default_rng(0).random(80)
    return PrunableNetwork(make_net(), X, criterion=Given(importances), **options)


# ---------------------------------------------------------------- the target


@pytest.mark.parametrize("target", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize(("round_to", "excess"), [(None, 0.03), (8, 0.2)])
def test_a_target_is_met_by_measurement(clock: Clock, target: float, round_to: int | None, excess: float) -> None:
    network = make_network(round_to=round_to)
    assert network.prune_to(target, of="latency") > 0
    assert network.reduction("latency") == pytest.approx(true_reduction(network))
    assert target <= true_reduction(network) <= target + excess
    if round_to:
        small = network.compact()
        assert small[0].out_channels % 8 == small[2].out_channels % 8 == 0
    assert len(clock.ratios) <= 10
    assert clock.tables == 2 * 4  # at each of the four sizes once to see how long it takes


@pytest.mark.parametrize(
    ("timed", "first"),
    [
        ("6", range(32)),  # the last layer, which does not read the filters that go first
        ("0", range(32, 80)),  # the first layer, which does not make them
    ],
)
def test_measurement_corrects_a_wrong_table(monkeypatch: pytest.MonkeyPatch, timed: str, first: range) -> None:
    replaced(monkeypatch, lambda path, part: weights(path, part) if path == timed else 0.0)
    importances = np.arange(80.0) + 100.0
    importances[list(first)] -= 100.0
    network = PrunableNetwork(make_net(), X, criterion=Given(importances))
    model = network._latency
    trusting = network._selector.choose(
        Ranking(importances), np.zeros(80, dtype=bool), lambda removed: model.predicted_reduction(removed) >= 0.4
    )
    assert abs(model.reduction(trusting) - 0.4) > 0.1
    network.prune_to(0.4, of="latency")
    assert 0.4 <= true_reduction(network) <= 0.43


def test_steps_go_on_from_what_is_removed(clock: Clock) -> None:
    network = make_network()
    reached = [network.reduction("latency")]
    for aim in (0.2, 0.25, 0.5):
        gone = ~network.support
        network.prune_to(aim, of="latency")
        assert (~network.support)[gone].all()
        reached.append(network.reduction("latency"))
        assert aim <= reached[-1] <= aim + 0.03
    assert reached[0] == 0.0
    assert network.prune_to(0.5, of="latency") == 0  # reached already
    snapshot = network.snapshot()
    measured = len(clock.ratios)
    network.prune_to(0.6, of="latency")
    network.restore(snapshot)
    assert network.reduction("latency") == reached[-1]
    assert clock.ratios[measured:].count(1.0 - reached[-1]) == 0  # known, not measured again


def test_a_lucky_measurement_is_looked_at_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = replaced(monkeypatch)
    times_seen: dict[float, int] = {}

    def noisy(module: nn.Module, reference: nn.Module, inputs: Any) -> float:
        ratio = clock.ratio(module, reference, inputs)
        times_seen[ratio] = times_seen.get(ratio, 0) + 1
        return ratio + {1: -0.005, 2: 0.005}.get(times_seen[ratio], 0.0)

    monkeypatch.setattr(_latency_model, "latency_ratio", noisy)
    network = make_network()
    network.prune_to(0.4, of="latency")
    assert network.reduction("latency") == pytest.approx(true_reduction(network))  # the errors cancel out
    assert 0.4 <= true_reduction(network) <= 0.44


def test_one_bad_measurement_is_outvoted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = replaced(monkeypatch)
    known: set[float] = set()

    def bursty(module: nn.Module, reference: nn.Module, inputs: Any) -> float:
        ratio = clock.ratio(module, reference, inputs)
        is_new = 0.3 < 1.0 - ratio < 0.9 and ratio not in known
        known.add(ratio)
        return ratio - 0.2 if is_new else ratio

    monkeypatch.setattr(_latency_model, "latency_ratio", bursty)
    network = make_network(round_to=16)
    network.prune_to(0.25, of="latency")
    assert network.reduction("latency") == pytest.approx(true_reduction(network))
    assert true_reduction(network) > 0.3


@pytest.mark.parametrize(("target", "excess"), [(0.2, 0.016), (0.5, 0.01), (0.9, 0.005)])
def test_the_less_time_is_left_the_closer_it_is_met(clock: Clock, target: float, excess: float) -> None:
    net = nn.Sequential(nn.Linear(192, 400), nn.ReLU(), nn.Linear(400, 10))
    network = PrunableNetwork(net, torch.randn(2, 192), criterion=Given(np.random.default_rng(0).random(400)))
    clock.dense = duration(net)
    network.prune_to(target, of="latency")
    assert target <= network.reduction("latency") <= target + excess
    assert clock.ratios[-3:] == pytest.approx([1.0 - network.reduction("latency")] * 3)


def test_no_more_units_than_asked_for(clock: Clock) -> None:
    network = make_network()
    assert network.prune_to(0.6, of="latency", max_to_prune=5) == 5
    assert network.reduction("latency") == pytest.approx(true_reduction(network))


def test_what_the_constraints_allow(clock: Clock) -> None:
    network = make_network(max_layer_reduction=0.25)
    largest = network.max_reduction("latency")
    assert network.prune_to(0.9, of="latency") == 8 + 12
    assert network.reduction("latency") == pytest.approx(largest) == pytest.approx(true_reduction(network))
    assert network.prune_to(0.9, of="latency") == 0


def test_a_slower_network_has_a_reduction_below_zero(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_latency_model, "latency_ratio", lambda module, reference, inputs: 1.25)
    network = make_network()
    assert network.reduction("latency") == 0.0
    assert network.max_reduction("latency") == -0.25


# ---------------------------------------------------------------- the table


def test_prediction_is_the_truth_at_the_sizes_of_the_table(clock: Clock) -> None:
    network = make_network()
    for share in (0.0, 0.3, 0.6, 1.0):
        removed = network._selector.spread(network.graph.first_layers, share)
        model = network._latency
        assert model.predicted_reduction(removed) == pytest.approx(model.reduction(removed))
        kept = [np.mean(~removed[:32]), np.mean(~removed[32:])]
        assert kept == pytest.approx([1 - share] * 2, abs=0.05)


def test_prediction_falls_for_no_unit_whatever_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    replaced(monkeypatch, lambda path, part: float(draw.random()))
    network = make_network()
    removed = np.zeros(80, dtype=bool)
    last = network._latency.predicted_reduction(removed)
    assert last == 0.0
    predicted = []
    for unit in draw.permutation(80)[:70]:
        removed[unit] = True
        predicted.append(network._latency.predicted_reduction(removed))
    assert (np.diff([last, *predicted]) >= -1e-12).all()
    assert predicted[-1] > 0.1


def test_importance_per_latency_follows_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, lambda path, part: weights(path, part) if path == "2" else 0.0)
    network = PrunableNetwork(make_net(), X, criterion=Given(np.ones(80)), per="latency")
    costs = network._unit_costs()
    assert costs is not None
    # a filter of the first layer is one of 32 that the second reads, a filter of the second one of its 48
    assert costs[0] / costs[32] == pytest.approx(48 / 32, rel=1e-3)
    network.update_prunables(3)
    assert np.flatnonzero(~network.support).tolist() == [0, 1, 2]


# ---------------------------------------------------------------- the passes


def test_batch_of_a_pass(clock: Clock) -> None:
    make_network().max_reduction("latency")
    assert clock.batch_sizes == {1}
    make_network(latency_batch_size=5).max_reduction("latency")
    assert clock.batch_sizes == {1, 5}


class FixedBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).mean((2, 3))) + x.new_zeros(2, 1)


def test_a_network_that_fixes_its_batch() -> None:
    network = PrunableNetwork(FixedBatch(), X, criterion="magnitude", latency_batch_size=3)
    with pytest.raises(
        ParameterError, match=r"'latency_batch_size' parameter must be a number of samples on which .* 3"
    ):
        network.reduction("latency")


@pytest.mark.parametrize(
    ("value", "error"), [(0, ParameterError), (2.0, ParameterTypeError), (None, ParameterTypeError)]
)
def test_bad_batch(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="'latency_batch_size' parameter of PrunableNetwork must be an integer"):
        make_network(latency_batch_size=value)


class Noisy(nn.Module):
    """Draws random numbers in eval mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.body = make_net()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + torch.rand(())


def test_measuring_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_latency_model, "latency_ratio", lambda *args: latency_ratio(*args, max_seconds=0.01))
    net = Noisy().train()
    net.body[3].eval()
    network = PrunableNetwork(net, X, criterion=Given(np.arange(80.0)))
    modes = [part.training for part in network.module.modules()]
    hooks = [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in network.module.modules()]
    weights = {name: value.clone() for name, value in network.module.state_dict().items()}
    state = torch.get_rng_state()

    chosen = network._latency.choose(0.01, np.zeros(80, dtype=bool), lambda enough: np.arange(80) % 2 == 0)

    assert chosen.sum() in (0, 40)
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in network.module.modules()] == modes
    assert [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in network.module.modules()] == hooks
    assert all(torch.equal(weights[name], value) for name, value in network.module.state_dict().items())
    assert all(parameter.grad is None for parameter in network.module.parameters())


# ---------------------------------------------------------------- the clock


class Slow(nn.Module):
    """Takes some seconds of a made-up clock, before and after what is inside."""

    def __init__(self, clock: SimpleNamespace, seconds: float, *inner: nn.Module) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds
        self.inner = nn.ModuleList(inner)
        self.modes: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.training)
        self.clock.now += self.seconds
        for part in self.inner:
            x = part(x)
        return x


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    ticks = SimpleNamespace(now=0.0)
    ticks.perf_counter = lambda: ticks.now
    monkeypatch.setattr(_latency, "time", ticks)
    return ticks


def test_time_of_parts_is_their_own(ticks: SimpleNamespace) -> None:
    twice = Slow(ticks, 1.0)
    net = Slow(ticks, 2.0, Slow(ticks, 3.0, twice), Slow(ticks, 4.0), twice)

    times = module_latency_us(net, X, ["", "inner.0", "inner.0.inner.0", "elsewhere"], repeats=3)

    assert times == pytest.approx({"": 6e6, "inner.0": 3e6, "inner.0.inner.0": 2e6, "elsewhere": 0.0})
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def test_a_part_whose_error_is_caught(ticks: SimpleNamespace) -> None:
    class Failing(Slow):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise ValueError

    class Catching(Slow):
        def forward(self, x: Tensor) -> Tensor:
            try:
                return super().forward(x)
            except ValueError:
                self.clock.now += 5.0
                return x

    net = Slow(ticks, 1.0, Catching(ticks, 2.0, Failing(ticks, 4.0)), Slow(ticks, 8.0))
    times = module_latency_us(net, X, ["", "inner.0", "inner.1"], repeats=1)
    assert times == pytest.approx({"": 1e6, "inner.0": 11e6, "inner.1": 8e6})


def test_ratio_of_steady_networks_is_known_soon(ticks: SimpleNamespace) -> None:
    dense, pruned = Slow(ticks, 0.1).train(), Slow(ticks, 0.025).train()
    assert latency_ratio(pruned, dense, X) == pytest.approx(0.25)
    assert len(pruned.modes) == len(dense.modes) == 2 + 9
    assert not any(pruned.modes)
    assert pruned.training
    assert dense.training


def test_ratio_of_unsteady_networks_takes_all_the_time(ticks: SimpleNamespace) -> None:
    class Unsteady(Slow):
        def forward(self, x: Tensor) -> Tensor:
            self.clock.now += 0.1 * (next(numbers) % 3)
            return x

    numbers = count()
    dense, pruned = Slow(ticks, 0.1), Unsteady(ticks, 0.0)
    assert latency_ratio(pruned, dense, X, max_seconds=20.0) == pytest.approx(1.0)
    assert len(dense.modes) == 2 + 100

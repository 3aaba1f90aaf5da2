"""`PrunableNetwork` from outside: scoring, removing, training on, leaving."""

import copy
import pickle
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunekit import PrunableNetwork
from prunekit.cost import count_params
from prunekit.exceptions import (
    InputError,
    NothingToPruneError,
    ParameterError,
    ParameterTypeError,
    PrunekitError,
    TrainingError,
    VerificationError,
)
from prunekit.importance import Criterion, Observation
from prunekit.network import NetworkSnapshot
from tests.nets import PlainCNN, ResNet, SqueezeNet, dense_net, randomise
from tests.zoo.check import Given, assert_same_outputs, loss_of, pruned, remove, train
from tests.zoo.convolutional import MobileNet, UNet, grouped

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def scored(module: nn.Module, x: Tensor = X, **options: Any) -> PrunableNetwork:
    """Return a network with one mini-batch scored."""
    network = PrunableNetwork(module, x, **options)
    network(x).square().mean().backward()
    network.update_score()
    network.zero_grad()
    return network


# -- looking -----------------------------------------------------------------------------------------------------------


def test_tables_of_tensors_are_live() -> None:
    network = PrunableNetwork(PlainCNN(), X)
    learnables, state = network.learnables, network.state
    assert list(learnables.columns) == list(state.columns) == ["layer", "parameter", "value"]
    assert list(zip(learnables.layer, learnables.parameter, strict=True)) == [
        tuple(name.rsplit(".", 1)) for name, _ in network.module.named_parameters()
    ]
    assert learnables.value[0] is network.module.conv1.weight
    assert state.value[0] is network.module.bn1.running_mean
    assert set(state.parameter) == {"running_mean", "running_var", "num_batches_tracked"}


def test_names_of_inputs_and_outputs() -> None:
    network = PrunableNetwork(PlainCNN(), X)
    assert network.input_names == ["x"]
    assert network.output_names == ["output"]


class SeveralNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, picture: Tensor, *more: Tensor, mask: Tensor) -> dict[str, Any]:
        hidden = torch.relu(self.body(picture + sum(more)) * mask)
        return {"logits": self.head(hidden), "extra": (self.head(hidden).exp(), None)}


def test_names_of_keyword_inputs_and_nested_outputs() -> None:
    x = torch.randn(3, 4)
    with pytest.raises(InputError, match="does not run on the example inputs"):
        PrunableNetwork(SeveralNames(), (x, x))
    network = PrunableNetwork(SeveralNames(), {"picture": x, "mask": torch.ones(3, 1)})
    assert network.input_names == ["picture", "mask"]
    assert network.output_names == ["logits", "extra_0"]


def test_units_tell_slices_roles_and_reasons() -> None:
    network = PrunableNetwork(PlainCNN(), X)
    assert [unit.index for unit in network.units[:14]] == list(range(14))
    first = {(part.tensor, part.dim, part.role): part.indices for part in network.units[0].slices}
    assert first == {
        ("conv1.weight", 0, "producer"): (0,),
        ("conv1.bias", 0, "inner"): (0,),
        **{(f"bn1.{name}", 0, "inner"): (0,) for name in ("weight", "bias", "running_mean", "running_var")},
        ("conv2.weight", 1, "consumer"): (0,),
    }
    assert network.units[0].filters == (("conv1.weight", 0),)
    last = network.units[13]
    assert (("head.weight", 1, tuple(range(45, 54)), "consumer")) in {
        (part.tensor, part.dim, part.indices, part.role) for part in last.slices
    }
    frozen = network.units[14:]
    assert len(frozen) == 4
    assert {str(unit.reason) for unit in frozen} == {"network output"}
    assert {unit.index for unit in frozen} == {None}


def test_a_unit_of_a_residual_stream_holds_filters_of_several_layers() -> None:
    network = PrunableNetwork(ResNet(), X)
    assert network.units[0].filters == (("stem.0.weight", 0), ("block1.conv2.weight", 0))


# -- running -----------------------------------------------------------------------------------------------------------


def test_network_computes_what_the_module_does() -> None:
    module = randomise(PlainCNN())
    network = PrunableNetwork(module, X)
    torch.testing.assert_close(network(X), module(X), rtol=0, atol=0)
    module.eval()
    torch.testing.assert_close(network.predict(X), module(X), rtol=0, atol=0)


def test_predict_keeps_modes_statistics_and_gradients_out() -> None:
    network = PrunableNetwork(PlainCNN(), X)
    network.module.bn1.eval()
    before = network.snapshot()
    out = network.predict(X)
    assert not out.requires_grad
    assert [part.training for part in network.module.children()] == [True, False, True, True, True]
    for name, tensor in network.module.named_buffers():
        torch.testing.assert_close(tensor, before.tensors[name], rtol=0, atol=0)


# -- scoring -----------------------------------------------------------------------------------------------------------


def test_scores_need_gradients() -> None:
    network = PrunableNetwork(PlainCNN(), X)
    with pytest.raises(
        TrainingError, match=r"update_score\(\) needs gradients and found none\. Call loss\.backward\(\)"
    ):
        network.update_score()
    with pytest.raises(TrainingError, match=r"There is no importance yet\. Run a forward and a backward pass"):
        _ = network.importances
    with pytest.raises(TrainingError, match="There is no importance yet"):
        network.update_prunables()
    with pytest.raises(TrainingError, match="There is no importance yet"):
        network.prune_to(0.5)
    assert network.num_scored == 0
    assert network.num_prunables == 14


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_gradients_leave_the_score_as_it_was(value: float) -> None:
    network = scored(PlainCNN(), criterion="taylor")
    before = network.importances
    network(X).square().mean().backward()
    network.module.conv2.weight.grad[0, 0, 0, 0] = value
    with pytest.raises(TrainingError, match=r"Scoring needs finite gradients\. Got NaN or infinity in the gradient of "
                                            r"'conv2\.weight' instead\. Lower the learning rate"):  # fmt: skip
        network.update_score()
    assert network.num_scored == 1
    np.testing.assert_array_equal(network.importances, before)


def test_score_restarts_after_a_removal() -> None:
    network = scored(PlainCNN())
    assert network.num_scored == 1
    assert network.update_prunables(max_to_prune=3) == 3
    assert network.num_scored == 0
    with pytest.raises(TrainingError, match="no importance yet"):
        network.update_prunables()
    network(X).square().mean().backward()
    network.update_score()
    assert np.isnan(network.importances).sum() == 3
    np.testing.assert_array_equal(np.isnan(network.importances), ~network.support)
    network.reset_score()
    assert network.num_scored == 0


def test_gradients_of_two_forward_passes_may_be_accumulated() -> None:
    """Two halves before one update_score() count as the whole batch."""
    module = dense_net().double()
    x = torch.randn(6, 6, dtype=torch.float64)
    whole, halves = PrunableNetwork(module, x), PrunableNetwork(module, x)
    whole(x).square().sum().backward()
    whole.update_score()
    for part in (x[:3], x[3:]):
        halves(part).square().sum().backward()
    halves.update_score()
    np.testing.assert_allclose(halves.importances, whole.importances, rtol=1e-5)
    both = PrunableNetwork(module, x)
    (both(x[:3]).square().sum() + both(x[3:]).square().sum()).backward()
    both.update_score()
    np.testing.assert_allclose(both.importances, whole.importances, rtol=1e-5)


def test_frozen_parameters_are_scored_and_stay() -> None:
    """A layer that the user froze has no gradients of its own, but what it reads is scored as if it had."""
    free, frozen = randomise(dense_net()), randomise(dense_net())
    x = torch.randn(5, 6)
    frozen[2].requires_grad_(False)
    networks = [PrunableNetwork(module, x) for module in (free, frozen)]
    for network in networks:
        network(x).square().mean().backward()
        network.update_score()
    np.testing.assert_allclose(networks[1].importances, networks[0].importances, rtol=1e-6)
    network = networks[1]
    assert network.module[2].weight.grad is None
    before = network.module[2].weight.detach().clone()
    train(network, x, torch.optim.SGD(network.parameters(), 0.1, 0.9, weight_decay=0.1), steps=3)
    torch.testing.assert_close(network.module[2].weight.detach(), before, rtol=0, atol=0)
    assert [p.requires_grad for p in network.compact().parameters()] == [True, True, False, False, True, True]


def test_frozen_parameters_are_scored_by_the_last_backward_alone() -> None:
    """Steps that nobody scored do not pile up."""
    x = torch.randn(5, 6)
    module = randomise(dense_net())
    module[2].requires_grad_(False)
    once, later = PrunableNetwork(module, x), PrunableNetwork(module, x)
    for _ in range(3):
        later.zero_grad()
        later(x).square().mean().backward()
    for network in (once, later):
        network.zero_grad()
        network(x).square().mean().backward()
        network.update_score()
    np.testing.assert_allclose(later.importances, once.importances, rtol=1e-6)


class Constant(Criterion):
    """A criterion of the user's own."""

    name = "constant"

    def reset(self) -> None:
        self.seen: list[int] = []

    def observe(self, observation: Observation) -> None:
        self.seen.append(observation.batch_size)

    def importance(self) -> np.ndarray:
        return np.arange(13.0)[::-1]


def test_own_criterion_and_batch_size() -> None:
    network = PrunableNetwork(dense_net(), torch.randn(5, 6), criterion=Constant())
    for count in (7, 2):
        network(torch.randn(count, 6)).sum().backward()
        network.update_score()
    network.update_score(batch_size=11)
    assert network.criterion.seen == [7, 2, 11]
    assert network.update_prunables(max_to_prune=2) == 2
    assert network.support.tolist() == [True] * 11 + [False] * 2
    with pytest.raises(ParameterError, match="'batch_size' parameter of update_score must be an integer of at least 1"):
        network.update_score(batch_size=0)


# -- removing ----------------------------------------------------------------------------------------------------------


def test_the_least_important_go_first() -> None:
    network = scored(PlainCNN(), criterion="taylor")
    order = np.argsort(network.importances)
    assert network.update_prunables(max_to_prune=5) == 5
    assert network.num_prunables == 9
    assert sorted(np.flatnonzero(~network.support)) == sorted(order[:5])


def test_removal_ends_before_a_layer_is_empty() -> None:
    network = PrunableNetwork(PlainCNN(), X, criterion="random")
    removed = [network.update_prunables(max_to_prune=8)]
    while removed[-1]:
        removed.append(network.update_prunables(max_to_prune=8))
    assert removed == [8, 4, 0]
    assert network.num_prunables == 2
    small = network.compact()
    assert (small.conv1.out_channels, small.conv2.out_channels, small.head.in_features) == (1, 1, 9)


def test_none_may_go() -> None:
    network = scored(PlainCNN())
    assert network.update_prunables(max_to_prune=0) == 0
    assert network.support.all()


@pytest.mark.parametrize("of", ["params", "macs", "filters", "memory"])
@pytest.mark.parametrize("build", [PlainCNN, ResNet, SqueezeNet])
def test_target_is_met_from_above_by_the_last_unit(build: Callable[[], nn.Module], of: Any) -> None:
    x = torch.randn(2, 3, 12, 12) if build is SqueezeNet else X
    network = PrunableNetwork(randomise(build()), x, criterion=Given())
    network.criterion.values = np.random.default_rng(1).random(network.support.size)
    target = 0.5 * network.max_reduction(of)
    count = network.prune_to(target, of)
    assert count > 1
    assert network.reduction(of) >= target
    reached = network.reduction(of)
    last = np.flatnonzero(~network.support)[np.argmax(network.criterion.values[~network.support])]
    again = PrunableNetwork(randomise(build()), x, criterion=Given(network.criterion.values))
    assert again.update_prunables(max_to_prune=count - 1) == count - 1
    assert again.support[last]
    assert again.reduction(of) < target <= reached
    assert network.num_scored == 0
    assert network.prune_to(target, of) == 0


@pytest.mark.parametrize("of", ["params", "macs", "filters", "memory"])
def test_largest_reduction_is_reached(of: Any) -> None:
    network = PrunableNetwork(PlainCNN(), X, criterion="random", min_channels=3)
    largest = network.max_reduction(of)
    assert network.reduction(of) == 0.0
    network.prune_to(0.999, of)
    assert network.reduction(of) == pytest.approx(largest)
    assert network.update_prunables(max_to_prune=99) == 0
    small = network.compact()
    assert (small.conv1.out_channels, small.conv2.out_channels) == (3, 3)


def test_reduction_of_params_and_filters() -> None:
    module = PlainCNN()
    network = pruned(module, X, 0.5)
    assert network.reduction() == network.reduction("params")
    assert network.reduction() == pytest.approx(1 - count_params(network.compact()) / count_params(module))
    assert network.reduction("filters") == pytest.approx(7 / 18)


def test_patterns_of_layers() -> None:
    network = PrunableNetwork(ResNet(), X, include="block2.*", exclude=["*.conv2"])
    assert network.num_prunables == 12
    assert network.units[0].filters == (("block2.conv1.0.weight", 0),)
    table = network.analyze().set_index("name")
    assert table.loc["block2.conv2", "blocked_by"] == "excluded by the user"
    assert table.loc["block1.conv1.0", "blocked_by"] == "not included by the user"
    assert table.loc["block2.shortcut.0", "blocked_by"] == "excluded by the user"  # shares units with conv2
    assert PrunableNetwork(ResNet(), X, include=["stem.0", "block1.conv?", "block1.conv1.0"]).num_prunables == 16
    with pytest.raises(NothingToPruneError, match="excluded by the user"):
        PrunableNetwork(PlainCNN(), X, exclude="*")


@pytest.mark.parametrize("name", ["include", "exclude"])
def test_patterns_that_match_nothing(name: str) -> None:
    with pytest.raises(ParameterError) as caught:
        PrunableNetwork(PlainCNN(), X, **{name: ["conv1", "convv2"]})
    assert str(caught.value) == (
        f"The '{name}' parameter must hold patterns of layers that make channels. Got 'convv2', which matches none; "
        "did you mean 'conv2', 'conv1'?"
    )
    with pytest.raises(ParameterTypeError, match=f"'{name}' parameter"):
        PrunableNetwork(PlainCNN(), X, **{name: 3})


# -- constraints under any importances ---------------------------------------------------------------------------------

importances = st.lists(st.floats(-1e6, 1e6), min_size=40, max_size=40)
steps = st.lists(st.integers(1, 12), min_size=1, max_size=6)
LAYERS = {"stem.0": 8, "block1.conv1.0": 8, "block2.conv1.0": 12, "block2.conv2": 12}
OPTIONS = [(1, None, None), (3, None, None), (1, 4, None), (1, None, 0.5), (2, 3, 0.7), (20, None, None)]
options_of_networks = st.sampled_from(OPTIONS)


@cache
def _resnet(options: tuple[int, int | None, float | None]) -> tuple[PrunableNetwork, NetworkSnapshot]:
    least, multiple, share = options
    network = PrunableNetwork(
        ResNet(), X, criterion=Given(), min_channels=least, round_to=multiple, max_layer_reduction=share
    )
    return network, network.snapshot()


def resnet(options: tuple[int, int | None, float | None], values: list[float]) -> PrunableNetwork:
    """Return a network under some constraints with nothing removed."""
    network, start = _resnet(options)
    network.restore(start)
    network.criterion.values = values
    return network


@settings(deadline=None, derandomize=True, max_examples=40)
@given(values=importances, counts=steps, options=options_of_networks)
def test_constraints_hold(
    values: list[float], counts: list[int], options: tuple[int, int | None, float | None]
) -> None:
    least, multiple, share = options
    network = resnet(options, values)
    for count in counts:
        before = network.support
        removed = network.update_prunables(max_to_prune=count)
        assert 0 <= removed <= count
        assert removed == before.sum() - network.support.sum()
        assert not (network.support & ~before).any()
        table = network.analyze().set_index("name")
        for layer, filters in LAYERS.items():
            kept = table.loc[layer, "num_filters"]
            assert kept >= min(least, filters)
            assert kept >= filters * (1 - (share or 1.0)) - 1e-9
            assert kept == filters or kept % (multiple or 1) == 0
    assert network.reduction("params") <= network.max_reduction("params") + 1e-12


@settings(deadline=None, derandomize=True, max_examples=30)
@given(values=importances, target=st.floats(0, 0.99), options=options_of_networks)
def test_any_target_below_the_largest_reduction_is_reached(
    values: list[float], target: float, options: tuple[int, int | None, float | None]
) -> None:
    network = resnet(options, values)
    largest = network.max_reduction("filters")
    network.prune_to(target, "filters")
    assert network.reduction("filters") >= min(target, largest) - 1e-12


# -- training on -------------------------------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.02),
    "momentum": lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True, weight_decay=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.005, momentum=0.9),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.02),
    "foreach": lambda p: torch.optim.Adam(p, 0.01, foreach=True),
    "fused": lambda p: torch.optim.AdamW(p, 0.01, fused=True),
}


@pytest.mark.parametrize("build", [PlainCNN, MobileNet])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_masks_hold_under_any_optimizer(build: Callable[[], nn.Module], name: str) -> None:
    """The optimizer knows the weights from before the removal, momentum and all; the removed units stay removed."""
    network = PrunableNetwork(randomise(build()), X, criterion=Given())
    optimizer = OPTIMIZERS[name](network.parameters())
    train(network, X, optimizer, steps=2)
    remove(network, 0.4)
    for _ in range(2):
        train(network, X, optimizer)
        assert_same_outputs(network, network.compact(verify=False), X)


@pytest.mark.parametrize("clip", [0.05, 1e9])
@pytest.mark.parametrize("build", [ResNet, UNet, grouped])
@pytest.mark.parametrize("name", ["momentum", "adam", "rmsprop"])
def test_masked_and_compacted_train_alike(build: Callable[[], nn.Module], name: str, clip: float) -> None:
    """
    Both take the same steps from the same state, a gradient norm included.

    In double precision: a bias before batch norm has a gradient of rounding errors, which Adam divides by their
    own size.
    """
    x = X.double()
    network = pruned(randomise(build()).double(), x, 0.5)
    small = network.compact()
    for module in (network, small):
        train(module, x, OPTIMIZERS[name](module.parameters()), steps=3, clip=clip)
    with torch.no_grad():
        left, right = network.predict(x), small.eval()(x)
    assert (left - right).abs().max() <= 1e-6 * left.abs().max()


def test_masks_hold_under_lbfgs() -> None:
    network = pruned(randomise(dense_net()).double(), torch.randn(9, 6).double(), 0.4)
    x = torch.randn(9, 6).double()
    optimizer = torch.optim.LBFGS(network.parameters(), lr=0.1, max_iter=5, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of([network(x)])
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert closure() < first
    assert_same_outputs(network, network.compact(verify=False), x)


def test_masks_hold_when_the_bare_module_is_trained() -> None:
    """`network.module` holds its masks by itself, also where the wrapper is never called."""
    network = pruned(randomise(PlainCNN()), X, 0.5)
    optimizer = torch.optim.SGD(network.module.parameters(), 0.05, momentum=0.9)
    train(network.module, X, optimizer, steps=3)
    assert_same_outputs(network.module, network.compact(), X)


def test_masks_follow_to_another_data_type() -> None:
    network = pruned(randomise(PlainCNN()), X, 0.5)
    network.double()
    x = X.double()
    train(network, x, torch.optim.SGD(network.parameters(), 0.05, momentum=0.9), steps=2)
    assert_same_outputs(network, network.compact(), x)
    assert network.verify() <= 1e-5


def test_inputs_that_do_not_fit_cannot_verify() -> None:
    network = pruned(PlainCNN(), X, 0.5)
    for inputs in (torch.randn(2, 1, 8, 8), X.double(), (X, X)):
        with pytest.raises(InputError, match="PlainCNN does not run on the"):
            network.verify(inputs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_masks_follow_to_another_device() -> None:
    network = pruned(randomise(PlainCNN()), X, 0.3)
    network.cuda()
    x = X.cuda()
    train(network, x, torch.optim.SGD(network.parameters(), 0.05, momentum=0.9), steps=2)
    assert remove(network, 0.3, seed=1) > 0
    assert network.verify() <= 1e-5
    assert next(network.compact().parameters()).is_cuda


def test_snapshot_and_restore() -> None:
    network = scored(randomise(PlainCNN()))
    network.update_prunables(max_to_prune=3)
    kept, support, plan = network.predict(X), network.support, network.plan
    snapshot = network.snapshot()
    train(network, X, torch.optim.SGD(network.parameters(), 0.1))
    network.update_score()
    network.update_prunables(max_to_prune=4)
    assert network.num_prunables == 7
    parameters = [id(parameter) for parameter in network.parameters()]
    for _ in range(2):
        network.restore(snapshot)
        assert network.num_prunables == 11
        np.testing.assert_array_equal(network.support, support)
        assert network.plan == plan
        torch.testing.assert_close(network.predict(X), kept, rtol=0, atol=0)
        assert network.num_scored == 0
        train(network, X, torch.optim.SGD(network.parameters(), 0.1))  # must not change the snapshot
    assert [id(parameter) for parameter in network.parameters()] == parameters
    assert_same_outputs(network, network.compact(), X)


def test_units_come_back_with_an_older_snapshot() -> None:
    network = scored(randomise(PlainCNN()))
    start, before = network.snapshot(), network.predict(X)
    network.update_prunables(max_to_prune=8)
    network.restore(start)
    assert network.support.all()
    torch.testing.assert_close(network.predict(X), before, rtol=0, atol=0)
    train(network, X, torch.optim.SGD(network.parameters(), 0.1))
    assert all((parameter != 0).any(0).all() for parameter in [network.module.conv2.weight, network.module.head.weight])


def test_snapshot_of_another_network() -> None:
    with pytest.raises(PrunekitError, match="snapshot"):
        PrunableNetwork(PlainCNN(), X).restore(PrunableNetwork(ResNet(), X).snapshot())


# -- leaving -----------------------------------------------------------------------------------------------------------


def _hooks(module: nn.Module) -> list[Any]:
    found = []
    for part in module.modules():
        found += [value for key, value in vars(part).items() if "hooks" in key and value]
    for tensor in [*module.parameters(), *module.buffers()]:
        found += [tensor._backward_hooks] if tensor._backward_hooks else []
        found += [tensor._post_accumulate_grad_hooks] if tensor._post_accumulate_grad_hooks else []
    return found


def test_compacted_network_is_plain() -> None:
    module = PlainCNN()
    module.conv2.requires_grad_(False)
    module.bn1.eval()
    network = pruned(module, X, 0.5)
    train_flags = [part.training for part in module.modules()]
    small = network.compact()
    assert type(small) is PlainCNN
    assert not _hooks(small)
    assert [part.training for part in small.modules()] == train_flags
    assert [p.requires_grad for p in small.parameters()] == [p.requires_grad for p in module.parameters()]
    assert all(parameter.is_leaf and parameter.grad is None for parameter in small.parameters())
    assert all(tensor.is_contiguous() for tensor in [*small.parameters(), *small.buffers()])
    assert small.bn1.num_features == small.conv1.out_channels == small.conv2.in_channels == len(small.bn1.running_mean)
    again = pickle.loads(pickle.dumps(small))
    torch.testing.assert_close(again.eval()(X), small.eval()(X), rtol=0, atol=0)
    assert copy.deepcopy(small)(X).shape == (4, 4)
    assert not {id(p) for p in small.parameters()} & {id(p) for p in network.parameters()}
    shared = {p.data_ptr() for p in small.parameters()} & {p.data_ptr() for p in network.parameters()}
    assert not shared


def test_compacted_network_has_the_users_hooks() -> None:
    module = PlainCNN()
    calls: list[str] = []
    module.conv1.register_forward_hook(lambda *_: calls.append("conv1"))
    small = pruned(module, X, 0.5).compact()
    calls.clear()
    small(X)
    assert calls == ["conv1"]


def test_compacting_does_not_end_the_pruning() -> None:
    network = pruned(randomise(PlainCNN()), X, 0.2)
    first = network.compact()
    remove(network, 0.3, seed=1)
    second = network.compact()
    assert count_params(second) < count_params(first) < count_params(PlainCNN())
    assert_same_outputs(network, second, X)


def test_memory_format_is_kept() -> None:
    module = PlainCNN().to(memory_format=torch.channels_last)
    small = pruned(module, X, 0.5).compact()
    assert small.conv2.weight.is_contiguous(memory_format=torch.channels_last)


def test_shared_parameters_stay_shared() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 2))
    module[4].weight = module[2].weight
    small = pruned(module, torch.randn(3, 4), 0.5).compact()
    assert small[4].weight is small[2].weight
    assert small[2].weight.shape == (3, 3)


def test_verify_tells_the_difference() -> None:
    network = pruned(randomise(PlainCNN()), X, 0.5)
    assert network.verify() <= 1e-5
    assert network.verify(torch.randn(7, 3, 8, 8)) <= 1e-5
    assert network.verify((torch.randn(1, 3, 8, 8),)) <= 1e-5


class LossesItsTail(nn.Module):
    """Behaves as traced until it is switched; nothing that runs the code once can know."""

    strange = False

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).mean((2, 3))
        return self.head(x * x.size(1) if self.strange else x)


def test_a_wrong_network_is_never_returned() -> None:
    network = pruned(randomise(LossesItsTail()), X, 0.5)
    network.module.strange = True
    with pytest.raises(
        VerificationError, match=r"must agree to 1e-05 of the largest output\. Got 0\.\d+ in 'output' inst"
    ):
        network.compact()
    with pytest.raises(VerificationError, match="Nothing was returned"):
        network.verify()


class BreaksWhenSmall(LossesItsTail):
    """Raises in the compacted network only."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).mean((2, 3))
        return self.head(x.view(-1, 8) if self.strange else x)


def test_a_network_that_does_not_run_is_never_returned() -> None:
    network = pruned(randomise(BreaksWhenSmall()), X, 0.5)
    network.module.strange = True
    with pytest.raises(VerificationError, match="compacted network"):
        network.compact()


def test_half_precision_is_verified_to_its_own_precision() -> None:
    network = pruned(randomise(LossesItsTail()).bfloat16(), X.bfloat16(), 0.25)
    assert network.verify() < 0.05
    network.module.strange = True
    with pytest.raises(VerificationError):
        network.verify()


@pytest.mark.parametrize("act", [copy.deepcopy, pickle.dumps])
def test_copies_are_refused(act: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"A PrunableNetwork cannot be (copied|pickled)\. Use "):
        act(PrunableNetwork(PlainCNN(), X))


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "got"),
    [
        (PlainCNN, "Got PlainCNN itself, not an instance of it, instead."),
        (3, "Got int instead."),
        (None, "Got NoneType instead."),
        (lambda x: x, "Got function instead."),
    ],
)
def test_no_module(module: Any, got: str) -> None:
    with pytest.raises(ParameterTypeError) as caught:
        PrunableNetwork(module, X)
    assert str(caught.value) == f"The 'module' parameter of PrunableNetwork must be a torch.nn.Module. {got}"


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_script_module() -> None:
    with pytest.raises(
        ParameterTypeError, match="Got a TorchScript module instead: prune the original and script the result"
    ):
        PrunableNetwork(torch.jit.script(dense_net()), torch.randn(2, 6))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_module_is_unwrapped() -> None:
    network = PrunableNetwork(torch.compile(PlainCNN()), X)
    assert type(network.module) is PlainCNN


@pytest.mark.parametrize(
    ("inputs", "got"),
    [
        (torch.randn(4, 1, 8, 8), "Got (4, 1, 8, 8) float32 instead: "),
        (torch.randn(4, 3, 8), "Got (4, 3, 8) float32 instead: "),
        (torch.randn(4, 3, 20, 20), "Got (4, 3, 20, 20) float32 instead: "),
        (X.double(), "Got (4, 3, 8, 8) float64 instead: "),
        (X.byte(), "Got (4, 3, 8, 8) uint8 instead: "),
        ((X, X), "Got (4, 3, 8, 8) float32, (4, 3, 8, 8) float32 instead: "),
        ({"y": X}, "Got (4, 3, 8, 8) float32 instead: "),
    ],
)
def test_inputs_that_do_not_fit(inputs: Any, got: str) -> None:
    with pytest.raises(InputError) as caught:
        PrunableNetwork(PlainCNN(), inputs)
    assert str(caught.value).startswith(
        "PlainCNN does not run on the example inputs. It must accept a batch with the shape and the data type that the "
        f"network was made for (its parameters are float32). {got}"
    )
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("inputs", [None, 3, (), {}, np.zeros((4, 3, 8, 8), np.float32), "x"])
def test_inputs_without_a_tensor(inputs: Any) -> None:
    with pytest.raises(InputError, match=r"The 'example_inputs' parameter must be a tensor, a tuple of positional arg"):
        PrunableNetwork(PlainCNN(), inputs)


def test_nothing_to_prune_lists_what_blocks() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(1, 8), nn.Conv2d(8, 4, 1), nn.Softmax(1))
    with pytest.raises(NothingToPruneError) as caught:
        PrunableNetwork(module, X)
    assert str(caught.value) == (
        "Sequential has no filter that can be removed. What blocks its layers:\n"
        "  0: group norm with one group normalises over all channels together "
        "(norms=\"subset\" lets them be pruned) in '1'\n"
        "  2: softmax over channels in '3'"
    )
    with pytest.raises(NothingToPruneError, match="it has no layer that makes channels"):
        PrunableNetwork(nn.ReLU(), X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_channels": 0}, ParameterError, "'min_channels' parameter of PrunableNetwork must be an integer of at "),
        ({"min_channels": 2.5}, ParameterTypeError, r"Got 2\.5 instead"),
        ({"min_channels": True}, ParameterTypeError, "Got True instead"),
        ({"round_to": 0}, ParameterError, "'round_to' parameter of PrunableNetwork must be an integer of at least 1"),
        ({"max_layer_reduction": 1.5}, ParameterError, r"must be a number in \(0, 1\]\. Got 1\.5 instead"),
        ({"max_layer_reduction": "a"}, ParameterTypeError, "Got 'a' instead"),
        ({"criterion": "tailor"}, ParameterError, "'criterion' parameter of PrunableNetwork must be one of 'taylor'"),
        ({"criterion": 5}, ParameterTypeError, r"must be a name or a Criterion object\. Got int instead"),
    ],
)
def test_bad_parameters(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PrunableNetwork(PlainCNN(), X, **options)


def test_bad_arguments_of_methods() -> None:
    network = scored(PlainCNN())
    with pytest.raises(
        ParameterError, match="'max_to_prune' parameter of update_prunables must be an integer of at least 0"
    ):
        network.update_prunables(max_to_prune=-1)
    with pytest.raises(ParameterTypeError, match=r"Got 1\.5 instead"):
        network.update_prunables(max_to_prune=1.5)
    with pytest.raises(ParameterError, match=r"'reduction' parameter of prune_to must be a number in \[0, 1\)"):
        network.prune_to(1.0)
    with pytest.raises(ParameterError, match=r"'of' parameter .* must be one of 'params', 'macs', .* 'latency'"):
        network.prune_to(0.5, of="weights")
    with pytest.raises(ParameterError, match="'of' parameter"):
        network.reduction(of="time")
    assert network.num_prunables == 14
    assert network.num_scored == 1

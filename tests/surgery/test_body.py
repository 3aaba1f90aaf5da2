"""Cutting off masked units while a network trains on: optimizers, marks, memory formats, frozen parameters."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from prunekit import PrunableNetwork
from prunekit.exceptions import ParameterError
from prunekit.surgery import Body
from prunekit.tracing import Inputs, UnitGraph, trace
from tests.nets import PlainCNN, randomise
from tests.zoo.case import image
from tests.zoo.check import Given, assert_same_outputs, remove, train

OPTIMIZERS = {
    "sgd": lambda params: torch.optim.SGD(params, 0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda params: torch.optim.Adam(params, 0.003, amsgrad=True),
    "adamw": lambda params: torch.optim.AdamW(params, 0.003, weight_decay=0.1),
    "rmsprop": lambda params: torch.optim.RMSprop(params, 0.003, momentum=0.9, centered=True),
    "adagrad": lambda params: torch.optim.Adagrad(params, 0.01),
    "asgd": lambda params: torch.optim.ASGD(params, 0.01),
    "rprop": lambda params: torch.optim.Rprop(params, 0.01),
    "nadam": lambda params: torch.optim.NAdam(params, 0.003),
}


def _network(double: bool = True, **options: object) -> tuple[PrunableNetwork, torch.Tensor]:
    module = randomise(PlainCNN())
    inputs = image()
    if double:
        module, inputs = module.double(), inputs.double()
    return PrunableNetwork(module, inputs, criterion=Given(), **options), inputs


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_masked(name: str) -> None:
    """What an optimizer knows of what is left is sliced along: many steps later the weights are those of the masked."""
    results = []
    for cutting in (False, True):
        # Without batch norm, before which biases have a gradient of rounding errors alone.
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)
        )
        inputs = image().double()
        network = PrunableNetwork(randomise(net).double(), inputs, criterion=Given())
        optimizer = OPTIMIZERS[name](network.module.parameters())
        for round_ in range(3):
            train(network, inputs, optimizer, steps=3)
            remove(network, 0.25, seed=round_)
            assert network.cut(optimizer) if cutting else True
        train(network, inputs, optimizer, steps=3)
        results.append((network.support, dict(network.compact().state_dict())))
    (support, weights), (cut_support, cut_weights) = results
    assert np.array_equal(support, cut_support)
    for key, value in weights.items():
        torch.testing.assert_close(cut_weights[key], value, rtol=1e-9, atol=1e-9)


def test_adafactor_keeps_its_factors() -> None:
    network, inputs = _network(double=False)
    optimizer = torch.optim.Adafactor(network.module.parameters())
    train(network, inputs, optimizer)
    remove(network, 0.5)
    network.cut(optimizer)
    for parameter in network.module.parameters():
        for value in optimizer.state[parameter].values():
            if torch.is_tensor(value) and value.dim() == parameter.dim():
                assert all(own in (1, whole) for own, whole in zip(value.shape, parameter.shape, strict=True))
    train(network, inputs, optimizer)


def test_a_state_of_another_form_starts_anew_with_a_warning() -> None:
    network, inputs = _network(double=False)
    optimizer = torch.optim.LBFGS(network.module.parameters(), max_iter=2)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = network(inputs).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    first = next(network.module.parameters())
    assert optimizer.state[first]
    remove(network, 0.5)
    with pytest.warns(UserWarning, match="LBFGS keeps of 1 pruned parameters"):
        network.cut(optimizer)
    assert first not in optimizer.state


def test_there_may_be_nothing_to_cut() -> None:
    network, _ = _network()
    before = [id(parameter) for parameter in network.module.parameters()]
    assert not network.cut()
    assert [id(parameter) for parameter in network.module.parameters()] == before


def test_the_proof_compares_with_the_dense_shapes() -> None:
    """After a cut the masked network is made again from the small one; a wrong small one is found."""
    network, inputs = _network()
    remove(network, 0.3)
    network.cut()
    masked = network._masked()
    assert {name: t.shape for name, t in masked.state_dict().items()} == {
        name: t.shape for name, t in PlainCNN().state_dict().items()
    }
    assert network.verify(inputs) < 1e-12
    removed = np.flatnonzero(~network.support)
    with torch.no_grad():
        for name, tensor in masked.named_parameters():
            if name == "conv1.weight":  # filters that are gone may hold anything
                tensor[[u for u in removed if u < tensor.shape[0]]] = 1e3
    assert_same_outputs(masked, network, inputs)


def test_memory_format_and_marks_stay() -> None:
    module = randomise(PlainCNN()).to(memory_format=torch.channels_last)
    module.conv2.weight.no_weight_decay = True
    network = PrunableNetwork(module, image(), criterion=Given())
    start = network.snapshot()
    remove(network, 0.4)
    network.cut()
    assert network.module.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.module.conv2.weight.no_weight_decay
    network.restore(start)
    assert network.module.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.module.conv2.weight.stride() == module.conv2.weight.stride()


def test_frozen_parameters_are_scored_after_a_cut() -> None:
    importances = []
    for cutting in (False, True):
        module = randomise(PlainCNN()).double()
        module.conv2.requires_grad_(False)
        network = PrunableNetwork(module, image().double(), criterion="taylor")
        for _ in range(2):
            network(image().double()).square().mean().backward()
            network.update_score()
            if network.num_prunables == network.support.size:
                network.update_prunables(4)
                if cutting:
                    network.cut()
        assert network.module.conv2.weight.grad is None
        importances.append(network.importances)
        assert not network.compact().conv2.weight.requires_grad
    np.testing.assert_allclose(importances[0], importances[1], rtol=1e-9)


@pytest.mark.parametrize("criterion", ["taylor2", "fisher", "magnitude", "mean_activation", "bn_scale"])
def test_scores_after_a_cut_are_those_of_the_masked_network(criterion: str) -> None:
    importances = []
    torch.manual_seed(0)
    net = randomise(
        nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )
    ).double().eval()  # fmt: skip
    inputs = torch.randn(4, 3, 8, 8, dtype=torch.double)
    for cutting in (False, True):
        network = PrunableNetwork(copy.deepcopy(net), inputs, criterion=criterion)
        for _ in range(2):
            network.module.zero_grad()
            network(inputs).square().mean().backward()
            network.update_score()
            found = network.importances
            network.update_prunables(3)
            if cutting:
                network.cut()
        importances.append(found)
    np.testing.assert_allclose(importances[0], importances[1], rtol=1e-9)


def test_a_snapshot_of_another_network_is_refused() -> None:
    network, _ = _network()
    remove(network, 0.3)
    network.cut()
    other = PrunableNetwork(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), torch.zeros(2, 4), criterion=Given())
    with pytest.raises(ParameterError, match="snapshot of this network"):
        network.restore(other.snapshot())


def test_a_torn_snapshot_changes_nothing() -> None:
    network, inputs = _network()
    remove(network, 0.3)
    torn = network.snapshot()
    torn.tensors["conv1.weight"] = torn.tensors["conv1.weight"][:-1]
    network.cut()
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    with pytest.raises(ParameterError, match="snapshot of this network"):
        network.restore(torn)
    for name, tensor in network.module.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert network.verify(inputs) < 1e-12


def test_going_back_gives_optimizers_the_larger_parameters() -> None:
    network, inputs = _network()
    optimizer = torch.optim.SGD(network.module.parameters(), 0.01, momentum=0.9)
    train(network, inputs, optimizer)
    start = network.snapshot()
    remove(network, 0.3)
    network.cut(optimizer)
    network.restore(start, optimizer)
    assert [id(one) for one in optimizer.param_groups[0]["params"]] == [id(one) for one in network.module.parameters()]
    before = network.module.conv1.weight.clone()
    train(network, inputs, optimizer)
    assert not torch.equal(before, network.module.conv1.weight)


def test_no_hook_is_left_on_what_was_cut() -> None:
    module = randomise(PlainCNN())
    graph = UnitGraph(trace(module, Inputs.of(image())))
    body = Body(module, graph, (), lambda: None)
    removed = np.zeros(graph.n_units, dtype=bool)
    removed[[1, 2]] = True
    body.update(removed)
    assert module.conv2.weight._backward_hooks
    assert body.cut()
    assert not any(parameter._backward_hooks for parameter in module.parameters())

"""Masks hold zeros whatever writes to the weights, and leave autograd alone."""

import numpy as np
import torch
from torch import nn

from prunekit.surgery import Masks
from prunekit.tracing import Inputs, UnitGraph, trace
from tests.nets import PlainCNN, randomise
from tests.zoo.case import image


def _masked() -> tuple[nn.Module, UnitGraph, Masks]:
    module = randomise(PlainCNN())
    graph = UnitGraph(trace(module, Inputs.of(image())))
    return module, graph, Masks(module, graph)


def _removed(graph: UnitGraph, *units: int) -> np.ndarray:
    removed = np.zeros(graph.n_units, dtype=bool)
    removed[list(units)] = True
    return removed


def test_only_the_weights_that_read_removed_channels_are_zero() -> None:
    module, graph, masks = _masked()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    masks.update(_removed(graph, 2, 5, 9))
    for name, tensor in module.state_dict().items():
        expected = before[name].clone()
        if name == "conv2.weight":
            expected[:, [2, 5]] = 0
        if name == "head.weight":
            expected[:, 9:18] = 0
        assert torch.equal(tensor, expected)


def test_gradients_of_removed_weights_are_zero() -> None:
    module, graph, masks = _masked()
    masks.update(_removed(graph, 2, 9))
    module(image()).square().sum().backward()
    assert not module.conv2.weight.grad[:, 2].any()
    assert module.conv2.weight.grad[:, 3].any()
    assert not module.head.weight.grad[:, 9:18].any()


def test_apply_sets_back_what_an_optimizer_moved() -> None:
    module, graph, masks = _masked()
    masks.update(_removed(graph, 2))
    with torch.no_grad():
        module.conv2.weight += 1.0
    masks.apply()
    assert not module.conv2.weight[:, 2].any()


def test_apply_between_forward_and_backward_disturbs_no_gradient() -> None:
    """A second forward pass before the first backward, as in gradient accumulation, is allowed."""
    module, graph, masks = _masked()
    masks.update(_removed(graph, 2))
    loss = module(image()).square().sum()
    masks.apply()
    (loss + module(image(seed=2)).square().sum()).backward()


def test_an_update_replaces_the_one_before() -> None:
    module, graph, masks = _masked()
    masks.update(_removed(graph, 2))
    masks.update(_removed(graph, 3))
    module(image()).square().sum().backward()
    assert module.conv2.weight.grad[:, 2].any()  # it may be trained again, though its weights start from zero
    assert not module.conv2.weight.grad[:, 3].any()
    assert len(module.conv2.weight._backward_hooks) == 1
    masks.update(_removed(graph))
    assert not module.conv2.weight._backward_hooks


def test_hooks_can_be_taken_off() -> None:
    module, graph, masks = _masked()
    masks.update(_removed(graph, 2, 9))
    masks.remove_hooks()
    assert not module.conv2.weight._backward_hooks
    assert not module.head.weight._backward_hooks
    assert not module.conv2.weight[:, 2].any()


def test_frozen_weights_are_masked_too() -> None:
    module = randomise(PlainCNN()).requires_grad_(False)
    graph = UnitGraph(trace(module, Inputs.of(image())))
    Masks(module, graph).update(_removed(graph, 2))
    assert not module.conv2.weight[:, 2].any()
    assert not module.conv2.weight.requires_grad

"""Copies of a network that can be run without touching the user's."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode


def copy_module(module: nn.Module) -> nn.Module:
    """
    Return a deep copy with real tensors, also where a module caches tensors that carry a gradient history.

    Parameters
    ----------
    module : Module
        The network.

    Returns
    -------
    Module
        Independent copy; gradients are not copied.
    """
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in torch.utils._pytree.tree_leaves(part.__dict__):
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    duplicate = copy.deepcopy(module, memo)
    for old, new in zip(module.parameters(), duplicate.parameters(), strict=True):
        new.grad = None
        vars(new).update(vars(old))  # marks such as `weight.no_weight_decay`, which deepcopy drops
    return duplicate


def fake_copy(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """
    Return a deep copy with fake tensors: shapes and types without memory.

    Parameters
    ----------
    module : Module
        The network.
    mode : FakeTensorMode
        Mode that the tensors belong to.

    Returns
    -------
    Module
        Copy that runs under the mode only.
    """
    with FakeCopyMode(mode):
        return copy.deepcopy(module)


def fake_inputs(value: Any, mode: FakeTensorMode) -> Any:
    """
    Return inputs with every tensor replaced by a fake one.

    Parameters
    ----------
    value : object
        Tensor or nested containers of tensors.
    mode : FakeTensorMode
        Mode that the tensors belong to.

    Returns
    -------
    object
        The same structure.
    """
    return torch.utils._pytree.tree_map_only(Tensor, mode.from_tensor, value)

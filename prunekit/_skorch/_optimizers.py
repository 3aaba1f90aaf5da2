"""The states of optimizers."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

_ELEMENTWISE = ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "grad_avg")
"""What optimizers keep in the shape of a parameter."""
_OF_ALL = ("state", "param_groups", "defaults", "step", "_step_count", "_opt_called", "_zero_grad_profile_name")
"""Attributes of an optimizer that are kept, or that PyTorch sets without a meaning for what it does."""


def load_optimizer_(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """
    Give an optimizer the state of another one, to the last bit.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer; its parameters have the shapes of those of the other one.
    state : Mapping
        What its ``state_dict`` returned.
    """
    check_state_of(optimizer, state)
    # Tensors of a file lie anywhere in the memory, and products of vectors are summed up in another order there.
    own_memory: dict[str, Any] = tree_map(lambda one: one.clone() if isinstance(one, Tensor) else one, dict(state))
    optimizer.load_state_dict(own_memory)
    # PyTorch casts what it loads to the type of the parameter, also numbers that are of another type for a reason.
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for place, kept in own_memory["state"].items():
        own = optimizer.state[parameters[place]]
        for name, value in kept.items():
            if isinstance(value, Tensor) and own[name].dtype != value.dtype:
                own[name] = value.to(own[name].device, copy=True)


def check_state_of(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Refuse the state of another optimizer, whose steps would fail."""
    present = optimizer.state_dict()["param_groups"]
    for own, other in zip(present, state["param_groups"], strict=True):
        for name, value in own.items():
            if _kind_of(value) != _kind_of(other[name]):
                raise TypeError(f"'{name}' of {type(optimizer).__name__} must not be {type(other[name]).__name__}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for place, kept in state["state"].items():
        for name in _ELEMENTWISE:
            value = kept.get(name)
            if value is not None and (value.shape != parameters[place].shape or not value.is_floating_point()):
                raise ValueError(f"'{name}' of {type(optimizer).__name__} has shape {tuple(value.shape)}")


def optimizer_rest(optimizer: Optimizer) -> list[Any]:
    """
    Return what an optimizer holds besides its state.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.

    Returns
    -------
    list
        Which parameters are in its groups, what kinds of options these have, and attributes of a user's optimizer;
        those of PyTorch have none that matter.
    """
    groups = [
        {name: _kind_of(value) for name, value in group.items() if name != "params"} for group in optimizer.param_groups
    ]
    parameters = [[id(parameter) for parameter in group["params"]] for group in optimizer.param_groups]
    is_own = not type(optimizer).__module__.startswith("torch.optim")
    own = {name: value for name, value in vars(optimizer).items() if name not in _OF_ALL and "hook" not in name}
    return [groups, parameters, own if is_own else None]


def _kind_of(value: object) -> str:
    return "number" if isinstance(value, int | float) else type(value).__name__

"""The state of optimizers, sliced along with the parameters that it belongs to."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from prunekit.surgery.compaction import Replacement, sliced


def slice_optimizer_(optimizer: Optimizer, replacements: Iterable[Replacement]) -> None:
    """
    Give an optimizer smaller parameters in place of those that it has, and keep what it knows of them.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer. Parameters that it does not have are left out.
    replacements : iterable of Replacement
        The parameters.

    Warns
    -----
    UserWarning
        If the state of a parameter has a form that cannot be sliced; it starts anew then.

    Notes
    -----
    A state of the parameter's own shape (momentum, the moments of Adam) loses what the parameter loses, and so does one
    that has size one along some dimensions (the factors of Adafactor). Numbers stay as they are.
    """
    found = {id(one.old): one for one in replacements}
    lost = 0
    for group in optimizer.param_groups:
        for place, parameter in enumerate(group["params"]):
            one = found.get(id(parameter))
            if one is None:
                continue
            group["params"][place] = one.new
            state = optimizer.state.pop(parameter, None)
            if state is None:
                continue
            smaller = _sliced_state(state, one)
            if smaller is None:
                lost += 1
            else:
                optimizer.state[one.new] = smaller
    if lost:
        warnings.warn(
            f"The state that {type(optimizer).__name__} keeps of {lost} pruned parameters is not of their shape, and "
            "starts anew.",
            UserWarning,
            stacklevel=2,
        )


def forget_parameters_(optimizer: Optimizer, replacements: Mapping[int, Tensor]) -> None:
    """
    Give an optimizer other parameters in place of those that it has, and let it forget what it knows of them.

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer.
    replacements : Mapping of int to Tensor
        New parameters by the identity of the old ones.
    """
    for group in optimizer.param_groups:
        for place, parameter in enumerate(group["params"]):
            if id(parameter) in replacements:
                optimizer.state.pop(parameter, None)
                group["params"][place] = replacements[id(parameter)]


def _sliced_state(state: Mapping[str, Any], one: Replacement) -> dict[str, Any] | None:
    """Return the state of one parameter, None if it cannot be sliced."""
    result: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.dim():
            if not _follows(value, one.old):
                return None
            own = [entry for entry in one.kept if value.size(entry.dim) != 1 or entry.size == 1]
            result[name] = sliced(value, [replace(entry, tensor=name) for entry in own])
        elif isinstance(value, list | tuple | dict) and value:
            return None
        else:
            result[name] = value
    return result


def _follows(value: Tensor, parameter: Tensor) -> bool:
    """Tell whether each dimension of a state is that of the parameter, or one."""
    sizes = zip(value.shape, parameter.shape, strict=True) if value.dim() == parameter.dim() else [(0, 1)]
    return all(own in (1, whole) for own, whole in sizes)

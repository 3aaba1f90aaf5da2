"""Shapes of inputs, and inputs that are made of them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunekit.exceptions import InputError
from prunekit.tracing._inputs import Inputs

_BATCH = 2
_MARK = "tensor"
_DEEPEST = 16
_MOST_NUMBERS = 2**22
"""Entries of all inputs together, of more than which none are made: a file could say anything."""


def describe_inputs(inputs: Inputs) -> dict[str, Any]:
    """
    Return shapes and data types of inputs, without their values.

    Parameters
    ----------
    inputs : Inputs
        Arguments of a forward pass; of a batch two examples count.

    Returns
    -------
    dict
        Numbers, strings, lists and dicts, of which `make_inputs` makes inputs. Tuples are lists there.

    Raises
    ------
    InputError
        If there is something among the arguments that is no tensor, number or string, or a container of those.
    """
    few = inputs.with_batch(_BATCH) if inputs.batch_size() else inputs
    shapes = [tuple(tensor.shape) for tensor in few.tensors()]
    if sum(math.prod(shape) for shape in shapes) > _MOST_NUMBERS:
        raise InputError(f"inputs of shape {', '.join(map(str, shapes))} are too large to be made up")
    return {"args": _described(few.args), "kwargs": _described(dict(few.kwargs))}


def make_inputs(description: Mapping[str, Any], device: torch.device | None = None) -> Inputs:
    """
    Return the inputs that a description stands for.

    Parameters
    ----------
    description : Mapping
        What `describe_inputs` returned; in the places of shapes there may be tensors.
    device : torch.device, optional
        Where the tensors are to be.

    Returns
    -------
    Inputs
        Floating numbers are normally distributed and always the same, integers are one and booleans true: token
        numbers are valid then, and masks hide nothing.
    """
    if _count(dict(description), 0) > _MOST_NUMBERS:
        raise ValueError("inputs that are too large")
    random = np.random.RandomState(0)
    args, kwargs = (_made(description[name], random, 0) for name in ("args", "kwargs"))
    found = Inputs(tuple(args), dict(kwargs))
    return found if device is None else found.map(lambda tensor: tensor.to(device))


def _described(value: Any) -> Any:
    """Return a nest with shapes and data types in the place of tensors."""
    if isinstance(value, Tensor):
        return {_MARK: str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
    if isinstance(value, Mapping):
        return {name: _described(own) for name, own in value.items()}
    if type(value) in (list, tuple):
        return [_described(own) for own in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"an argument of type {type(value).__name__} cannot be written down")


def _count(value: Any, depth: int) -> int:
    """Return how many numbers the tensors that are to be made up have."""
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, Mapping):
        if isinstance(value.get(_MARK), str) and value.keys() == {_MARK, "shape"}:
            return math.prod(max(int(size), 0) for size in value["shape"])
        value = list(value.values())
    return sum(_count(own, depth + 1) for own in value) if type(value) in (list, tuple) else 0


def _made(value: Any, random: np.random.RandomState, depth: int) -> Any:
    """Return a nest with tensors in the place of shapes and data types."""
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, Mapping):
        if isinstance(value.get(_MARK), str) and value.keys() == {_MARK, "shape"}:
            return _tensor(str(value[_MARK]), [int(size) for size in value["shape"]], random)
        return {name: _made(own, random, depth + 1) for name, own in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_made(own, random, depth + 1) for own in value)
    return value


def data_type(name: str) -> torch.dtype:
    """
    Return a data type of torch.

    Parameters
    ----------
    name : str
        Its name, such as "float32".

    Returns
    -------
    dtype
        The type.

    Raises
    ------
    TypeError
        If there is none of that name.
    """
    dtype = vars(torch).get(name)  # getattr would import submodules
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"no data type '{name[:60]}'")
    return dtype


def _tensor(name: str, shape: list[int], random: np.random.RandomState) -> Tensor:
    dtype = data_type(name)
    if min(shape, default=1) < 0:
        raise ValueError(f"inputs of shape {shape}")
    if dtype.is_floating_point or dtype.is_complex:
        return torch.from_numpy(np.asarray(random.standard_normal(shape))).to(dtype)
    return torch.ones(shape, dtype=dtype)

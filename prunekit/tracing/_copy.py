"""Copies of a network that can be run without touching the user's."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from prunekit.exceptions import ParameterTypeError
from prunekit.tracing._outputs import named_parts


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

    Raises
    ------
    ParameterTypeError
        If something in it cannot be copied, such as a lock or an open file.
    """
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in torch.utils._pytree.tree_leaves(part.__dict__):
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        duplicate = copy.deepcopy(module, memo)
    except (TypeError, RuntimeError, NotImplementedError) as exc:
        raise ParameterTypeError(
            f"The network must be one that copy.deepcopy copies, since yours is not to be changed. Got "
            f"{type(module).__name__}, with which that raises {type(exc).__name__}: {exc} instead. Leave out what "
            "cannot be copied in a __getstate__ of the class, or give it a __deepcopy__."
        ) from exc
    for old, new in zip(module.parameters(), duplicate.parameters(), strict=True):
        new.grad = None
        vars(new).update(vars(old))  # marks such as `weight.no_weight_decay`, which deepcopy drops
    return duplicate


class _CopyWithoutMemory(TorchFunctionMode):
    """Let `copy.deepcopy` replace every tensor by one without memory, or by a fake one."""

    def __init__(self, convert: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._convert = convert

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace a tensor that is about to be copied."""
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            with torch._C.DisableTorchFunction():
                memo[id(tensor)] = self._convert(tensor)
        return memo[id(tensor)]


def copy_without_memory(module: nn.Module, convert: Callable[[Tensor], Tensor]) -> nn.Module:
    """
    Return a deep copy in which every tensor is replaced.

    Parameters
    ----------
    module : Module
        The network.
    convert : callable
        `to_meta`, or a function that makes fake tensors.

    Returns
    -------
    Module
        The copy; a tensor that occurs twice is one tensor in it as well.
    """
    memo: dict[int, Any] = {}
    parts = [part for _, part in named_parts(module)]
    for part in parts:
        for parameter in part._parameters.values():  # they have a way of their own of being copied
            if parameter is not None and id(parameter) not in memo:
                memo[id(parameter)] = duplicate = convert(parameter)
                if marks := vars(parameter):
                    vars(duplicate).update(marks)
        for buffer in part._buffers.values():
            if type(buffer) is Tensor and id(buffer) not in memo:
                memo[id(buffer)] = convert(buffer)
    with _CopyWithoutMemory(convert):
        return _copy_modules(module, parts, memo)


def _copy_modules(module: nn.Module, parts: list[nn.Module], memo: dict[int, Any]) -> nn.Module:
    """Do what `copy.deepcopy` does; attributes that are empty or cannot change take most of its time."""
    known: dict[object, bool] = {kind: _copies_as_usual(kind) for kind in {type(part): None for part in parts}}
    usual = [part for part in parts if known[type(part)]]
    copies: list[nn.Module] = [type(part).__new__(type(part)) for part in usual]
    memo.update({id(part): duplicate for part, duplicate in zip(usual, copies, strict=True)})
    for part, duplicate in zip(usual, copies, strict=True):
        attributes = vars(duplicate)
        for name, value in part.__getstate__().items():
            kind = type(value)
            if kind is OrderedDict and not value and name in _HOOKS:
                attributes[name] = OrderedDict()
            elif kind in _UNCHANGING or (kind is tuple and all(type(one) in _UNCHANGING for one in value)):
                attributes[name] = value
            elif id(value) in memo:
                attributes[name] = memo[id(value)]
            elif kind in _CONTAINERS and not value:
                attributes[name] = memo[id(value)] = kind()
            elif kind is dict and all(one is None or id(one) in memo for one in value.values()):
                known_values = {key: None if one is None else memo[id(one)] for key, one in value.items()}
                attributes[name] = memo[id(value)] = known_values
            else:
                attributes[name] = copy.deepcopy(value, memo)
    memo.setdefault(id(memo), []).extend(parts)  # as deepcopy does, so that no identity is given out again
    return copy.deepcopy(module, memo)


_HOOKS = frozenset(name for name, value in vars(nn.Module()).items() if isinstance(value, OrderedDict))
_UNCHANGING = (int, float, str, bool, type(None))
_CONTAINERS = (dict, OrderedDict, set, list)
_READ_OLD_FILES = (_ConvNd.__setstate__, nn.MultiheadAttention.__setstate__)
_WAYS_TO_COPY = ("__deepcopy__", "__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__new__")


def _copies_as_usual(kind: object) -> bool:
    """Return whether a class of modules says nothing of copies, or only how to read old files."""
    return all(
        (own := getattr(kind, name, None)) is getattr(nn.Module, name, None) or own in _READ_OLD_FILES
        for name in _WAYS_TO_COPY
    )


def to_meta(tensor: Tensor) -> Tensor:
    """
    Return a tensor of the same shape, strides and type on the meta device.

    Parameters
    ----------
    tensor : Tensor
        Parameter, buffer or input.

    Returns
    -------
    Tensor
        It has no memory.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or type(tensor) not in (Tensor, nn.Parameter):
        raise NotImplementedError(f"a tensor of type {type(tensor).__name__}, layout {tensor.layout}")
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    if not isinstance(tensor, nn.Parameter):
        return empty.requires_grad_(tensor.requires_grad and tensor.is_leaf)
    return nn.Parameter(empty, tensor.requires_grad)


def has_memory(tensor: Tensor) -> bool:
    """
    Return whether a tensor has values, not only a shape and a type.

    Parameters
    ----------
    tensor : Tensor
        Any tensor.

    Returns
    -------
    bool
        False for fake tensors and those on the meta device.
    """
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))

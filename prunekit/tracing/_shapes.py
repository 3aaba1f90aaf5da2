"""Operations on tensors without memory: what they return, where PyTorch's own way of finding out is slow or fails."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from prunekit.tracing._copy import has_memory

_META = torch.device("meta")

_POINTWISE = (
    "gelu silu silu_ mish mish_ elu elu_ celu selu leaky_relu leaky_relu_ hardtanh hardtanh_ hardswish hardswish_ "
    "hardsigmoid hardsigmoid_ softplus _softmax _safe_softmax _log_softmax"
)
"""Operations that return a tensor like their first argument; PyTorch runs them through Python on the meta device."""


def _like(tensor: Tensor) -> Tensor:
    """Return what `torch.empty_like` does, which takes five times longer without memory."""
    strides = tensor.stride()
    if 0 in strides:
        return _empty(tensor, tensor.shape)
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device)


def _empty(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return what `Tensor.new_empty` does, which runs through Python without memory."""
    return torch.empty(shape, dtype=tensor.dtype, device=tensor.device)


def _batch_norm(source: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    size = source.size(1) if others[4] else 0
    return _like(source), _empty(source, (size,)), _empty(source, (size,))


def _convolution(
    source: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor | None:
    """Return the contiguous result of a convolution that is not transposed."""
    n_dims = weight.dim() - 2
    if transposed or source.dim() != weight.dim() or source.dtype != weight.dtype:
        return None
    if source.size(1) != weight.size(1) * groups or weight.size(0) % groups or not source.is_contiguous():
        return None
    if bias is not None and bias.shape != weight.shape[:1]:
        return None
    shape = [source.size(0), weight.size(0)]
    for dim, (size, width) in enumerate(zip(source.shape[2:], weight.shape[2:], strict=True)):
        step, border, spread = (one[dim if len(one) == n_dims else 0] for one in (stride, padding, dilation))
        shape.append((size + 2 * border - spread * (width - 1) - 1) // step + 1)
    return _empty(source, shape) if min(shape) > 0 and weight.is_contiguous() else None


def _layer_norm(source: Tensor, shape: list[int], *others: Any) -> tuple[Tensor, Tensor, Tensor] | None:
    outer = source.dim() - len(shape)
    if list(source.shape[outer:]) != list(shape):
        return None
    saved = (*source.shape[:outer], *(1 for _ in shape))
    return _empty(source, source.shape), _empty(source, saved), _empty(source, saved)


def _cat(tensors: list[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    if any(tensor.dim() != first.dim() or tensor.dtype != first.dtype for tensor in tensors):
        return None
    dim %= first.dim()
    outer = [(*tensor.shape[:dim], *tensor.shape[dim + 1 :]) for tensor in tensors]
    if outer.count(outer[0]) != len(outer):
        return None
    shape = (*first.shape[:dim], sum(tensor.size(dim) for tensor in tensors), *first.shape[dim + 1 :])
    last = first.dim() == 4 and all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors)
    memory_format = torch.channels_last if last and not first.is_contiguous() else torch.contiguous_format
    return _empty(first, shape).contiguous(memory_format=memory_format)


def _binary(left: Any, right: Any, *others: Any) -> Tensor | None:
    if isinstance(right, int | float) and not isinstance(right, bool):
        return _like(left)
    if not isinstance(left, Tensor) or not isinstance(right, Tensor) or left.dtype != right.dtype:
        return None
    if left.shape == right.shape:
        return _like(left)
    small, large = sorted((left, right), key=Tensor.dim)
    padded = (1,) * (large.dim() - small.dim()) + tuple(small.shape)
    if small.is_meta == large.is_meta and all(one in (1, size) for one, size in zip(padded, large.shape, strict=True)):
        return _like(large)
    return None


def _binary_(left: Tensor, right: Any, *others: Any) -> Tensor | None:
    return None if (result := _binary(left, right)) is None or result.shape != left.shape else left


def _addmm(added: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    fits = left.size(1) == right.size(0) and added.size(-1) in (1, right.size(1)) and left.dtype == right.dtype
    return _empty(left, (left.size(0), right.size(1))) if fits and added.dim() == 1 else None


def _linear(arguments: Mapping[str, Any]) -> Tensor | None:
    source, weight, bias = (arguments[name] for name in ("input", "weight", "bias"))
    fits = source.size(-1) == weight.size(1) and source.dtype == weight.dtype
    if not fits or (bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != weight.dtype)):
        return None
    return _empty(source, (*source.shape[:-1], weight.size(0)))


def _batch_norm_by_name(arguments: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    source = arguments["input"]
    nothing = _empty(source, (0,))
    return _like(source), nothing, nothing


def _attention(arguments: Mapping[str, Any]) -> Tensor | None:
    query, key, value = (arguments[name] for name in ("query", "key", "value"))
    fits = query.shape[:2] == key.shape[:2] == value.shape[:2] and query.size(3) == key.size(3)
    if not fits or key.size(2) != value.size(2) or not query.dtype == key.dtype == value.dtype:
        return None
    return _empty(query, (*query.shape[:3], value.size(3)))


def _bmm(left: Tensor, right: Tensor) -> Tensor | None:
    fits = left.size(0) == right.size(0) and left.size(2) == right.size(1) and left.dtype == right.dtype
    return _empty(left, (left.size(0), left.size(1), right.size(2))) if fits else None


def _like_first(source: Tensor, *others: Any) -> Tensor:
    return _like(source)


def _first(source: Tensor, *others: Any) -> Tensor:
    return source


_SHORTCUTS: dict[OpOverload, Callable[..., Any]] = {  # None leaves it to PyTorch, also to say what is wrong
    torch.ops.aten.convolution.default: _convolution,
    torch.ops.aten.native_batch_norm.default: _batch_norm,
    torch.ops.aten.native_layer_norm.default: _layer_norm,
    torch.ops.aten.cat.default: _cat,
    torch.ops.aten.addmm.default: _addmm,
    torch.ops.aten.bmm.default: _bmm,
}
for _name in ("add", "sub", "mul", "div"):
    _SHORTCUTS[getattr(torch.ops.aten, _name).Tensor] = _binary
    _SHORTCUTS[getattr(torch.ops.aten, f"{_name}_").Tensor] = _binary_
for _name in _POINTWISE.split():
    if hasattr(torch.ops.aten, _name):  # not every version has all of them
        _SHORTCUTS[getattr(torch.ops.aten, _name).default] = _first if _name.endswith("_") else _like_first


_COMPOSITES: dict[OpOverload, Callable[[Mapping[str, Any]], Any]] = {
    torch.ops.aten.native_batch_norm.default: _batch_norm_by_name,
    torch.ops.aten.convolution.default: lambda arguments: _convolution(*arguments.values()),
    torch.ops.aten.linear.default: _linear,
    torch.ops.aten.scaled_dot_product_attention.default: _attention,
}
"""The same for operations that are taken whole; all their arguments have names."""


def run_without_memory(operation: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any], meta: bool) -> Any:
    """
    Run an operation of a network that has no memory.

    Parameters
    ----------
    operation : OpOverload
        The operation.
    args, kwargs : tuple, Mapping
        Its arguments.
    meta : bool
        Whether the network is on the meta device; whatever the code makes on another one is made there then.

    Returns
    -------
    object
        What it returns.
    """
    shortcut = _SHORTCUTS.get(operation)
    if not args and operation in _COMPOSITES:
        if (result := _COMPOSITES[operation](kwargs)) is not None:
            return result
    elif shortcut is not None and not kwargs:
        first = args[0][0] if isinstance(args[0], list | tuple) else args[0]
        if isinstance(first, Tensor) and not has_memory(first) and first.is_floating_point():
            result = shortcut(*args)
            if result is not None:
                return result
    if not meta:
        return operation(*args, **kwargs)
    device = kwargs.get("device")
    if (device is not None and device != _META) or _makes_tensors(operation):
        kwargs = {**kwargs, "device": _META}
    result = operation(*args, **kwargs)
    if operation is torch.ops.aten.lift_fresh.default and not result.is_meta:  # a constant of the code
        return torch.empty_like(result, device=_META)
    return result


@lru_cache(maxsize=4096)
def _makes_tensors(operation: OpOverload) -> bool:
    """Return whether an operation makes a tensor on a device of its choice, out of nothing but numbers."""
    arguments = operation._schema.arguments
    return any(argument.name == "device" for argument in arguments) and not any(
        "Tensor" in str(argument.type) for argument in arguments
    )

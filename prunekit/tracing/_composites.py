"""Operations that PyTorch takes apart before a dispatch mode sees them, taken whole."""

import weakref
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _get_current_dispatch_mode,
    _pop_mode_temporarily,
)

from prunekit.tracing._call import bind
from prunekit.tracing._copy import has_memory

_KINDS = (Tensor, nn.Parameter, FakeTensor)


class Composites(TorchFunctionMode):
    """
    Hand composite operations on tensors without memory to a dispatch mode as they are.

    A linear layer is four operations else, and an attention fifteen, each of which costs as much to follow. A recurrent
    layer is several for each time step, which are all alike: two steps are run and stand for the others.

    Parameters
    ----------
    mode : TorchDispatchMode
        Gets them by its ``__torch_dispatch__``, as it does all others.

    Attributes
    ----------
    repeats : Fraction or int
        How many of its kind the operation that runs now stands for.
    """

    def __init__(self, mode: TorchDispatchMode) -> None:
        super().__init__()
        self._mode = weakref.ref(mode)  # which owns this one
        self.repeats: Fraction | int = 1

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function, or the one operation that it is."""
        kwargs = kwargs or {}
        if func in _COMPOSITES:
            operation, named, applies = _COMPOSITES[func]
            arguments = named(*args, **kwargs)
            if arguments.get("dropout_p") and _is_usual(arguments["query"]):  # does nothing to the labels
                arguments["dropout_p"] = 0.0
                args, kwargs = (), arguments
            mode = self._mode()
            if mode is not None and _get_current_dispatch_mode() is mode and applies(arguments):
                with _pop_mode_temporarily():
                    result = mode.__torch_dispatch__(operation, (), (), arguments)
                return result[0] if isinstance(result, tuple) else result
        if func in _RECURRENT and not kwargs and _is_long(args):
            return self._run_two_steps(func, args)
        return func(*args, **kwargs)

    def _run_two_steps(self, layer: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Run a recurrent layer on two steps and return outputs of the full length."""
        source, *others, batch_first = args
        dim = int(batch_first)
        length = source.size(dim)
        mixed = source.cumsum(dim)  # each step sees those before, so that none of them can be removed
        self.repeats = Fraction(length, 2)
        try:
            outputs, *states = layer(mixed.narrow(dim, 0, 2), *others, batch_first)
        finally:
            self.repeats = 1
        repeated = outputs.repeat(*((length + 1) // 2 if dim == axis else 1 for axis in range(3)))
        return (repeated.narrow(dim, 0, length), *states)


def _is_long(args: tuple[Any, ...]) -> bool:
    """Return whether the arguments of a recurrent layer are those of a long sequence that is not packed."""
    source, second, third, *_, batch_first = args
    packed = isinstance(second, Tensor) and isinstance(third, Tensor | tuple)
    return not packed and isinstance(batch_first, bool) and _is_usual(source, 3) and source.size(int(batch_first)) > 3


_RECURRENT = frozenset({torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu})


def _is_usual(tensor: Any, n_dims: int | None = None) -> bool:
    """Return whether a value is a tensor without memory that nothing else looks into, such as a vectorised map."""
    return (
        type(tensor) in _KINDS
        and not has_memory(tensor)
        and n_dims in (None, tensor.dim())
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def _is_linear(arguments: Mapping[str, Any]) -> bool:
    given: list[Any] = [arguments.get(name) for name in ("input", "weight", "bias")]
    source, weight, bias = given
    return _is_usual(source) and source.dim() > 1 and _is_usual(weight, 2) and (bias is None or _is_usual(bias, 1))


def _is_attention(arguments: Mapping[str, Any]) -> bool:
    given: list[Any] = [arguments.get(name) for name in ("query", "key", "value")]
    query, key, value = given
    return (
        arguments.get("attn_mask") is None
        and all(_is_usual(tensor, 4) for tensor in given)
        and query.size(1) == key.size(1) == value.size(1)
    )


def _is_batch_norm(arguments: Mapping[str, Any]) -> bool:
    """Return whether the arguments are those of a batch norm by running statistics, of fitting shapes and types."""
    if arguments["training"] is not False:
        return False
    source, *parameters = list(arguments.values())[:5]
    if arguments["running_mean"] is None or arguments["running_var"] is None:
        return False
    if not _is_usual(source) or source.dim() < 2:
        return False
    channels, dtype = source.shape[1:2], source.dtype
    return all(one is None or (_is_usual(one) and one.shape == channels and one.dtype == dtype) for one in parameters)


def _batch_norm_arguments(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: Any = False,
    momentum: Any = 0.1,
    eps: Any = 1e-5,
) -> dict[str, Any]:
    """Take the arguments of `torch.nn.functional.batch_norm` and return those of ``aten.native_batch_norm``."""
    return {
        "input": input,
        "weight": weight,
        "bias": bias,
        "running_mean": running_mean,
        "running_var": running_var,
        "training": training,
        "momentum": momentum,
        "eps": eps,
    }


def _convolution_arguments(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
) -> dict[str, Any]:
    """Take the arguments of `torch.conv2d` and return those of ``aten.convolution``."""
    n_dims = weight.dim() - 2
    return {
        "input": input,
        "weight": weight,
        "bias": bias,
        "stride": [stride] * n_dims if isinstance(stride, int) else list(stride),
        "padding": [padding] * n_dims if isinstance(padding, int) else padding,
        "dilation": [dilation] * n_dims if isinstance(dilation, int) else list(dilation),
        "transposed": False,
        "output_padding": [0] * n_dims,
        "groups": groups,
    }


def _is_convolution(arguments: Mapping[str, Any]) -> bool:
    """Return whether the arguments are those of a convolution of a batch, of fitting shapes and types."""
    given: list[Any] = [arguments[name] for name in ("input", "weight", "bias", "groups")]
    source, weight, bias, groups = given
    return (
        _is_usual(weight)
        and _is_usual(source, weight.dim())
        and not isinstance(arguments["padding"], str)
        and (bias is None or (_is_usual(bias) and bias.shape == weight.shape[:1] and bias.dtype == weight.dtype))
        and source.dtype == weight.dtype
        and source.size(1) == weight.size(1) * groups
        and weight.size(0) % groups == 0
    )


_Arguments = Callable[..., dict[str, Any]]


def _named(operation: OpOverload) -> _Arguments:
    def arguments(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return bind(operation, args, kwargs)

    return arguments


_LINEAR = torch.ops.aten.linear.default
_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_CONVOLUTION = torch.ops.aten.convolution.default

_COMPOSITES: dict[Any, tuple[OpOverload, _Arguments, Callable[[Mapping[str, Any]], bool]]] = {
    F.linear: (_LINEAR, _named(_LINEAR), _is_linear),
    F.scaled_dot_product_attention: (_ATTENTION, _named(_ATTENTION), _is_attention),
    torch.conv1d: (_CONVOLUTION, _convolution_arguments, _is_convolution),
    torch.conv2d: (_CONVOLUTION, _convolution_arguments, _is_convolution),
    torch.conv3d: (_CONVOLUTION, _convolution_arguments, _is_convolution),
    F.batch_norm: (torch.ops.aten.native_batch_norm.default, _batch_norm_arguments, _is_batch_norm),
}
"""Functions with the operation that each is, its arguments by name, and whether it is that operation and no other."""

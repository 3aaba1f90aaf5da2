"""Where weights read channels: the functions of PyTorch that contract data with a weight."""

import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

Gate = Callable[[Tensor, str, int, int], Tensor]
"""Takes data, the weight that reads it, the dimension of the weight and that of the data (negative) that are summed
over; returns the data to read instead."""


class Readers:
    """
    Let a function see, and replace, what weights are given to read.

    Parameters
    ----------
    dims : dict of str to set of int
        Dimensions of each weight along which it reads channels.
    gate : callable
        Gets what a weight reads; returns what it is to read instead.
    unseen : callable
        Gets the name of a weight and that of a function that takes it in a way that is not understood; is to raise.
    """

    def __init__(self, dims: Mapping[str, set[int]], gate: Gate, unseen: Callable[[str, str], None]) -> None:
        self._dims = dims
        self._gate = gate
        self._unseen = unseen
        self._weights: Mapping[int, str] = {}
        self._classes = {kind: self._watched(kind) for kind in (nn.Parameter, Tensor)}

    @contextmanager
    def watching(self, weights: Sequence[tuple[str, Tensor]]) -> Iterator[None]:
        """
        Watch every function that takes one of some weights.

        Their class is another one meanwhile, by which PyTorch hands such functions over, and no others. Weights of a
        class of their own are watched by looking at all functions.

        Parameters
        ----------
        weights : sequence of tuple of str and Tensor
            Names and weights.

        Yields
        ------
        None
            Control to the block.
        """
        outer, self._weights = self._weights, {id(weight): name for name, weight in weights}
        plain = [weight for _, weight in weights if type(weight) in self._classes]
        kinds = [type(weight) for weight in plain]
        known = set(self._classes.values())
        try:
            for weight, kind in zip(plain, kinds, strict=True):
                weight.__class__ = self._classes[kind]
            with nullcontext() if all(type(weight) in known for _, weight in weights) else _Mode(self._run):
                yield
        finally:
            for weight, kind in zip(plain, kinds, strict=True):
                weight.__class__ = kind
            self._weights = outer

    def _watched(self, kind: type[Tensor]) -> type[Tensor]:
        """Return a class of which every function is run by these readers."""

        def run(cls: Any, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
            with torch._C.DisableTorchFunctionSubclass():
                return self._run(func, args, kwargs or {})

        watched: type[Tensor] = types.new_class(
            kind.__name__, (kind,), exec_body=lambda body: body.update(__torch_function__=classmethod(run))
        )
        return watched

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run one function of PyTorch, on gated data if it reads units."""
        reader = _READERS.get(func)
        if reader is not None:
            args, kwargs = self._gated(reader, args, kwargs)
            return func(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._attend(args, kwargs)
        result = func(*args, **kwargs)
        name = self._given(args, kwargs)
        if name is not None and func not in _NO_READERS and any(self._is_new(leaf) for leaf in tree_leaves(result)):
            self._unseen(name, getattr(func, "__qualname__", repr(func)))
        return result

    def _given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        """Return the name of a weight that a function is given, by itself or in a list."""
        weights = self._weights  # this may run at every function, so no generators
        for arg in args:
            if id(arg) in weights:
                return weights[id(arg)]
            if isinstance(arg, list | tuple):
                for leaf in arg:
                    if id(leaf) in weights:
                        return weights[id(leaf)]
        for arg in kwargs.values():
            if id(arg) in weights:
                return weights[id(arg)]
        return None

    def _is_new(self, leaf: Any) -> bool:
        return isinstance(leaf, Tensor) and id(leaf) not in self._weights

    def _gated(
        self, reader: "_Reader", args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any], dict[str, Any]]:
        """Return arguments in which data that a weight reads are replaced by what the gate makes of them."""
        given: Sequence[Any] = args
        for contraction in reader.contractions:
            weight, data = (
                given[position] if position < len(given) else kwargs[reader.names[position]]
                for position in (contraction.weight, contraction.data)
            )
            name = self._weights.get(id(weight))
            if name is None:
                continue
            weight_dim, data_dim = contraction.dims(weight.dim(), data.dim())
            if weight_dim not in self._dims[name]:
                continue
            data = self._gate(data, name, weight_dim, data_dim)
            if contraction.data < len(given):
                given = [*given[: contraction.data], data, *given[contraction.data + 1 :]]
            else:
                kwargs = {**kwargs, reader.names[contraction.data]: data}
        return given, kwargs

    def _attend(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run torch's attention up to what its last projection reads, gate that, and project."""
        bound = _ATTENTION.bind(*args, **kwargs)
        given = bound.arguments
        gated: dict[int, Tensor] = {}
        for data, weights in _PROJECTIONS.items():
            for key in weights:
                name = self._weights.get(id(given.get(key)))
                source = given[data]
                if name is not None and 1 in self._dims[name] and id(source) not in gated:
                    gated[id(source)] = self._gate(source, name, 1, -1)
        for data in _PROJECTIONS:
            given[data] = gated.get(id(given[data]), given[data])
        weight, bias = given["out_proj_weight"], given["out_proj_bias"]
        name = self._weights.get(id(weight))
        if name is None or 1 not in self._dims[name]:
            return F.multi_head_attention_forward(*bound.args, **bound.kwargs)
        given["out_proj_weight"] = torch.eye(weight.size(1), dtype=weight.dtype, device=weight.device)
        given["out_proj_bias"] = None
        attended, scores = F.multi_head_attention_forward(*bound.args, **bound.kwargs)
        return F.linear(self._gate(attended, name, 1, -1), weight, bias), scores


class _Mode(TorchFunctionMode):
    """Hand all functions over."""

    def __init__(self, run: Callable[[Any, Any, Any], Any]) -> None:
        super().__init__()
        self._run = run

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._run(func, args, kwargs or {})


@dataclass(frozen=True, slots=True)
class _Contraction:
    """
    Data and weight of a sum over channels.

    Parameters
    ----------
    data, weight : int
        Their positions among the arguments.
    weight_dim, data_dim : int
        Dimensions that are summed over, from the last one.
    """

    data: int
    weight: int
    weight_dim: int
    data_dim: int

    def dims(self, weight: int, data: int) -> tuple[int, int]:
        """Return the dimension of the weight, from the first one, and that of the data, from the last one."""
        return max(weight + self.weight_dim, 0), max(self.data_dim, -data)


@dataclass(frozen=True, slots=True)
class _Reader:
    """A function: names of its first parameters, and what it may contract."""

    names: tuple[str, ...]
    contractions: tuple[_Contraction, ...]


_LAYER = ("input", "weight")
_PRODUCT = (_Contraction(0, 1, -2, -1), _Contraction(1, 0, -1, -2))

_READERS: dict[Any, _Reader] = {
    F.linear: _Reader(_LAYER, (_Contraction(0, 1, -1, -1),)),
    **{
        function: _Reader(_LAYER, (_Contraction(0, 1, -1 - n, -1 - n),))
        for n, function in ((1, F.conv1d), (2, F.conv2d), (3, F.conv3d))
    },
    **{
        function: _Reader(_LAYER, (_Contraction(0, 1, -2 - n, -1 - n),))
        for n, function in ((1, F.conv_transpose1d), (2, F.conv_transpose2d), (3, F.conv_transpose3d))
    },
    **{
        function: _Reader(("input", "other"), _PRODUCT) for function in (torch.matmul, Tensor.matmul, Tensor.__matmul__)
    },
    **{function: _Reader(("input", "mat2"), _PRODUCT) for function in (torch.mm, Tensor.mm, torch.bmm, Tensor.bmm)},
    torch.addmm: _Reader(("input", "mat1", "mat2"), (_Contraction(1, 2, -2, -1), _Contraction(2, 1, -1, -2))),
}

_NO_READERS = {F.embedding, torch.embedding, Tensor.detach, Tensor.requires_grad_}
"""Functions that may take a weight that reads channels elsewhere: tied embeddings, and what only looks at a weight."""

_ATTENTION = inspect.signature(F.multi_head_attention_forward)
_PROJECTIONS = {
    "query": ("in_proj_weight", "q_proj_weight"),
    "key": ("in_proj_weight", "k_proj_weight"),
    "value": ("in_proj_weight", "v_proj_weight"),
}

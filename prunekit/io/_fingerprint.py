"""One number for whatever a fit depends on: parameters and data."""

import functools
import hashlib
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

_DEEPEST = 32
_LIBRARIES = ("builtins", "numpy", "prunekit", "sklearn", "skorch", "torch")
"""Packages whose classes stand for what their names say."""


def fingerprint(*values: Any) -> str:
    """
    Return a number that is the same for equal values, in every process.

    Parameters
    ----------
    *values : object
        Parameters and data. Of arrays and tensors every byte counts, of networks the weights, of estimators and skorch
        nets the class and the parameters, of functions and classes the name and the code, of other objects the class
        and the attributes. No code of the user's objects runs, so data sets are not loaded.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    digest = _Digest()
    digest.add(values, 0)
    return digest.hash.hexdigest()[:16]


class _Digest:
    """Takes values in."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self._seen: set[int] = set()

    def add(self, value: Any, depth: int) -> None:
        """Take in a value."""
        if depth > _DEEPEST:
            return
        self._say(type(value).__qualname__)
        for kind, add in self._KINDS:
            if isinstance(value, kind):
                add(self, value, depth + 1)
                return
        self._object(value, depth + 1)

    def _say(self, text: str) -> None:
        content = text.encode()
        self.hash.update(f"{len(content)}:".encode())
        self.hash.update(content)

    def _plain(self, value: Any, depth: int) -> None:
        self._say(repr(value))

    def _sequence(self, value: Any, depth: int) -> None:
        self._say(str(len(value)))
        for item in value:
            self.add(item, depth)

    def _set(self, value: Any, depth: int) -> None:
        for one in sorted(fingerprint(item) for item in value):
            self._say(one)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> None:
        self._say(str(len(value)))
        for key, item in sorted(value.items(), key=lambda pair: str(pair[0])):
            self._say(str(key))
            self.add(item, depth)

    def _array(self, value: "np.ndarray[Any, Any]", depth: int) -> None:
        self._say(f"{value.dtype} {value.shape}")
        if value.dtype.hasobject:
            for item in value.ravel().tolist():
                self.add(item, depth)
        else:
            self.hash.update(np.ascontiguousarray(value).data)

    def _tensor(self, value: Tensor, depth: int) -> None:
        self._say(f"{value.dtype} {tuple(value.shape)}")
        if value.is_meta or value.layout != torch.strided:
            return
        flat = value.detach().cpu().contiguous().reshape(-1)
        if flat.numel():
            self.hash.update(flat.view(torch.uint8).numpy().data)

    def _module(self, value: nn.Module, depth: int) -> None:
        self._class(type(value), depth)
        for name, tensor in value.state_dict(keep_vars=True).items():
            self._say(name)
            self.add(tensor, depth)

    def _function(self, value: Any, depth: int) -> None:
        self._say(_name(value))
        code = getattr(value, "__code__", None)
        if code is None or id(value) in self._seen:
            return
        self._seen.add(id(value))  # two lambdas of one scope have one name, hence more than that
        self._code(code, depth)
        for name, item in inspect.getclosurevars(value).nonlocals.items():
            self._say(name)
            self.add(item, depth)

    def _code(self, code: types.CodeType, depth: int) -> None:
        self._say(code.co_code.hex())
        self._sequence(code.co_names, depth)
        for part in code.co_consts:
            if inspect.iscode(part):
                self._code(part, depth)
            else:
                self.add(part, depth)

    def _class(self, value: type, depth: int) -> None:
        self._say(_name(value))
        if id(value) in self._seen or value.__module__.partition(".")[0] in _LIBRARIES:
            return
        self._seen.add(id(value))
        for name, item in vars(value).items():  # a class that was edited computes something else
            function = inspect.unwrap(item) if inspect.isfunction(item) else getattr(item, "__func__", None)
            if inspect.isfunction(function):
                self._say(name)
                self._function(function, depth)
        for base in value.__bases__:
            self._class(base, depth)

    def _method(self, value: types.MethodType, depth: int) -> None:
        self._function(value.__func__, depth)
        self.add(value.__self__, depth)

    def _partial(self, value: "functools.partial[Any]", depth: int) -> None:
        self.add((value.func, value.args, value.keywords), depth)

    def _frozen(self, value: FrozenEstimator, depth: int) -> None:
        net = value.estimator
        self.add(net, depth)
        if isinstance(net, NeuralNet) and net.initialized_:
            self.add(net.module_, depth)

    def _net(self, value: NeuralNet, depth: int) -> None:
        self._class(type(value), depth)
        params = value.get_params(deep=False)
        self._mapping({name: one for name, one in params.items() if not name.startswith("_")}, depth)

    def _estimator(self, value: BaseEstimator | Callback, depth: int) -> None:
        self._class(type(value), depth)
        self._mapping(value.get_params(deep=False), depth)

    def _random_state(self, value: np.random.RandomState, depth: int) -> None:
        self.add(tuple(value.get_state(legacy=True)), depth)

    def _generator(self, value: torch.Generator, depth: int) -> None:
        self.add(value.get_state(), depth)

    def _object(self, value: Any, depth: int) -> None:
        self._class(type(value), depth)
        if _name(type(value)) == "accelerate.accelerator.Accelerator":  # its other attributes are of this process
            self._mapping({name: getattr(value, name) for name in ("mixed_precision", "num_processes")}, depth)
            return
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        own = getattr(value, "__dict__", None)
        slots = [name for kind in type(value).__mro__ for name in _slots(kind)]
        attributes = {**{name: getattr(value, name, None) for name in slots}, **(own or {})}
        self._mapping(attributes, depth)

    _KINDS: tuple[tuple[Any, Callable[..., None]], ...] = (
        ((type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, np.dtype), _plain),
        (np.ndarray, _array),
        (np.generic, lambda self, value, depth: self._array(np.asarray(value), depth)),
        (Tensor, _tensor),
        (nn.Module, _module),
        (type, _class),
        ((types.FunctionType, types.BuiltinFunctionType), _function),
        (types.MethodType, _method),
        (functools.partial, _partial),
        (FrozenEstimator, _frozen),
        (NeuralNet, _net),
        ((BaseEstimator, Callback), _estimator),
        (np.random.RandomState, _random_state),
        (torch.Generator, _generator),
        (Mapping, _mapping),
        ((set, frozenset), _set),
        ((list, tuple), _sequence),
    )


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(type(value)))}"


def _slots(kind: type) -> list[str]:
    slots = kind.__dict__.get("__slots__", ())
    return [slots] if isinstance(slots, str) else [name for name in slots if name not in ("__dict__", "__weakref__")]

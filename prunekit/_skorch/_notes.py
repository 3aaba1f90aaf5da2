"""Whether objects are as they were: what they hold is noted and compared."""

import functools
import hashlib
import itertools
import logging
import random
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import torch
from skorch import NeuralNet
from torch import Tensor, nn

_DEEPEST = 32
_MOST = 50_000
"""Number of values after which an object is too large to be looked through."""
_SAMPLED = 1024
"""Number of items of a long list, and of entries of a large array, that count, evenly spread."""
_HEAP_TYPE = 1 << 9
"""Flag of classes that are made while Python runs, as those that are written in Python are."""


class OpaqueError(Exception):
    """An object cannot be looked into."""


def note(value: Any, parts: Iterable[nn.Module] = (), *, strict: bool = False) -> str:
    """
    Return a number that is another one if something that an object holds is changed.

    Parameters
    ----------
    value : object
        Anything. Attributes, items, closures and the states of random generators count. Skorch nets and optimizers do
        not count.
    parts : iterable of Module, default=()
        Modules whose parameters and buffers do not count, nor those of their parts; only which there are.
    strict : bool, default=False
        Whether everything in arrays and long lists counts, and objects that hold something outside of Python, such as
        locks, are refused. If not, a sample counts, and the class of such objects.

    Returns
    -------
    str
        Hexadecimal digits.

    Raises
    ------
    OpaqueError
        If the object is too large, or holds something that cannot be looked into, such as an iterator.
    """
    noted = _Note(parts, strict)
    noted.add(value, 0)
    return noted.hash.hexdigest()


class _Note:
    """Takes values in; each object once."""

    def __init__(self, parts: Iterable[nn.Module], strict: bool) -> None:
        self.hash = hashlib.blake2b(digest_size=16)
        self._parts = {id(one) for part in parts for one in part.modules()}
        self._strict = strict
        self._seen: dict[int, Any] = {}  # the objects themselves, since a number may be given to another one
        self._count = 0

    def add(self, value: Any, depth: int) -> None:
        """Take in a value."""
        self._count += 1
        if depth > _DEEPEST or self._count > _MOST:
            raise OpaqueError(f"a {type(value).__name__} holds too much")
        self._say(type(value).__qualname__)
        if isinstance(value, _PLAIN):
            self._say(repr(value))
            return
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        for kind, add in self._KINDS:
            if isinstance(value, kind):
                add(self, value, depth + 1)
                return
        self._object(value, depth + 1)

    def _say(self, text: str) -> None:
        content = text.encode()
        self.hash.update(f"{len(content)}:".encode())
        self.hash.update(content)

    def _pass_over(self, value: Any, depth: int) -> None:
        """Take in nothing but the class."""

    def _shown(self, value: Any, depth: int) -> None:
        self._say(repr(value))

    def _sequence(self, value: Any, depth: int) -> None:
        self._say(str(len(value)))
        items: Iterable[Any] = value
        if len(value) > _SAMPLED and not self._strict:
            items = itertools.islice(value, 0, None, len(value) // _SAMPLED)
        for item in items:
            self.add(item, depth)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> None:
        self._sequence(list(value.items()), depth)

    def _set(self, value: Any, depth: int) -> None:
        self._say(str(len(value)))
        if len(value) <= _SAMPLED or self._strict:
            self._shown(sorted(map(repr, value)), depth)

    def _array(self, value: "np.ndarray[Any, Any]", depth: int) -> None:
        self._say(f"{value.dtype} {value.shape}")
        if value.dtype.hasobject:
            self._sequence(value.ravel().tolist(), depth)
        elif value.size:
            self.hash.update(value.reshape(-1)[:: self._stride(value.size)].tobytes())

    def _tensor(self, value: Tensor, depth: int) -> None:
        self._say(f"{value.dtype} {tuple(value.shape)} {value.device} {value._version}")
        if value.layout != torch.strided or value.is_meta or not value.numel():
            return
        flat = value.detach().reshape(-1)[:: self._stride(value.numel())]
        self.hash.update(flat.cpu().contiguous().view(torch.uint8).numpy().data)

    def _stride(self, size: int) -> int:
        """Return the distance between the entries that count."""
        return 1 if self._strict else max(1, size // _SAMPLED)

    def _refuse(self, value: Any, depth: int) -> None:
        raise OpaqueError(f"nobody knows what a {type(value).__name__} holds")

    def _table(self, value: Any, depth: int) -> None:
        self._say(str(value.shape))

    def _module(self, value: nn.Module, depth: int) -> None:
        for name, part in value.named_modules():
            self._say(name)
            self._attributes({key: one for key, one in vars(part).items() if key not in _OF_MODULES}, depth)
            if id(part) not in self._parts:
                self.add((dict(part._parameters), dict(part._buffers)), depth)
                continue
            self._shown({key: _kind_of(one) for key, one in part._buffers.items()}, depth)
            self._shown({key: (id(one), _kind_of(one)) for key, one in part._parameters.items()}, depth)
            self._shown([len(value) for key, value in sorted(vars(part).items()) if key.endswith("_hooks")], depth)

    def _function(self, value: Any, depth: int) -> None:
        self._say(f"{value.__module__}.{value.__qualname__}")
        if not isinstance(value, types.FunctionType):
            self.add(value.__self__, depth)
            return
        for cell in value.__closure__ or ():
            self.add(cell.cell_contents if _is_filled(cell) else None, depth)
        self.add((value.__defaults__, value.__kwdefaults__, vars(value)), depth)

    def _class(self, value: type, depth: int) -> None:
        self._say(f"{value.__module__}.{value.__qualname__}")

    def _method(self, value: types.MethodType, depth: int) -> None:
        self._say(value.__func__.__qualname__)
        self.add(value.__self__, depth)

    def _partial(self, value: "functools.partial[Any]", depth: int) -> None:
        self.add((value.func, value.args, value.keywords), depth)

    def _torch_generator(self, value: torch.Generator, depth: int) -> None:
        self.add(value.get_state(), depth)

    def _numpy_generator(self, value: np.random.Generator, depth: int) -> None:
        self.add(value.bit_generator.state, depth)

    def _numpy_random_state(self, value: np.random.RandomState, depth: int) -> None:
        self.add(value.get_state(legacy=True), depth)

    def _python_random(self, value: random.Random, depth: int) -> None:
        self._shown(value.getstate(), depth)

    def _object(self, value: Any, depth: int) -> None:
        kinds = [kind for kind in type(value).__mro__ if kind is not object]
        has_attributes = hasattr(value, "__dict__") or any("__slots__" in vars(kind) for kind in kinds)
        if self._strict and not (has_attributes and all(kind.__flags__ & _HEAP_TYPE for kind in kinds)):
            self._refuse(value, depth)
        slots = {name: getattr(value, name, None) for kind in kinds for name in _slots(kind)}
        self._attributes(slots | getattr(value, "__dict__", {}), depth)

    def _attributes(self, attributes: Mapping[str, Any], depth: int) -> None:
        for name in sorted(attributes):
            self._say(name)
            self.add(attributes[name], depth)

    _KINDS: tuple[tuple[Any, Callable[..., None]], ...] = (
        (NeuralNet, _pass_over),
        (nn.Module, _module),
        (torch.optim.Optimizer, _pass_over),
        (Tensor, _tensor),
        (np.ndarray, _array),
        ((np.generic, Enum, torch.dtype, torch.device, np.dtype), _shown),
        ((pd.DataFrame, pd.Series, pd.Index), _table),
        (type, _class),
        (types.ModuleType, _pass_over),
        (types.SimpleNamespace, lambda self, value, depth: self._attributes(vars(value), depth)),
        ((types.FunctionType, types.BuiltinFunctionType), _function),
        (types.MethodType, _method),
        (functools.partial, _partial),
        ((logging.Logger, weakref.ReferenceType), _pass_over),
        (torch.Generator, _torch_generator),
        (np.random.Generator, _numpy_generator),
        (np.random.RandomState, _numpy_random_state),
        (random.Random, _python_random),
        (Mapping, _mapping),
        ((set, frozenset), _set),
        ((list, tuple, deque), _sequence),
        (Iterator, _refuse),
    )


_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_OF_MODULES = frozenset((*vars(nn.Module()), "training"))
"""What every module has: parts, hooks, and a flag that each step sets."""


def _kind_of(tensor: Tensor | None) -> str:
    return "" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _slots(kind: type) -> list[str]:
    slots = kind.__dict__.get("__slots__", ())
    return [slots] if isinstance(slots, str) else [name for name in slots if name not in ("__dict__", "__weakref__")]

"""Python objects as nests of numbers and strings, and back; classes and functions by name only."""

import dataclasses
import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from skorch import NeuralNet
from torch import Tensor, nn
from torch.utils.data import Dataset

from prunekit.exceptions import PlanError
from prunekit.tracing import data_type

_DEEPEST = 40
_SHORT = 200
_MOST_CHARACTERS = 2**22
"""Of an array of strings, which take as much room as the longest each: a small file is not to become large."""
_KIND = "kind"


class Omitted:
    """
    Something that cannot be written down.

    Parameters
    ----------
    text : str
        What it was, for people.
    """

    def __init__(self, text: str) -> None:
        self.text = text


def name_of(target: Any) -> str | None:
    """
    Return the name by which a class or function is imported.

    Parameters
    ----------
    target : object
        Anything.

    Returns
    -------
    str or None
        Module and qualified name; None if it has none, as a lambda or a function in a function.
    """
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return None
    return f"{module}.{name}"


def describe(value: Any, depth: int = 0) -> Any:
    """
    Return an object as a nest that `prunekit.io.write_state` takes.

    Parameters
    ----------
    value : object
        Numbers, strings, arrays, tensors, data frames, containers; classes, functions; and objects that their class
        makes again from arguments of the same names as their attributes, as scikit-learn's estimators, skorch's
        callbacks and dataclasses.
    depth : int, default=0
        How deep it stands.

    Returns
    -------
    object
        The nest. Whatever cannot be written down is marked as such, with its ``repr``.
    """
    if depth > _DEEPEST:
        return _omitted(value)
    if value is None or (isinstance(value, bool | int | float | str | np.number | np.bool_) and type(value) in _PLAIN):
        return value
    if isinstance(value, np.number | np.bool_):
        return value
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and type(value) is Tensor:
        return value.detach()
    for kind, encode in _ENCODERS:
        if isinstance(value, kind):
            return encode(value, depth)
    return _object(value, depth)


_PLAIN = {bool, int, float, str}


def restore(value: Any, find: Callable[[str], Any], depth: int = 0) -> Any:
    """
    Return the object that a nest stands for.

    Parameters
    ----------
    value : object
        What `describe` returned.
    find : callable
        Returns the class or function of a name, or raises.
    depth : int, default=0
        How deep it stands.

    Returns
    -------
    object
        The object; an `Omitted` in the place of what could not be written down, but for arguments that have a default,
        which they get.

    Raises
    ------
    PlanError
        If it is no such nest.
    """
    if depth > 2 * _DEEPEST:
        raise PlanError("The document is nested too deeply.")
    if isinstance(value, list):
        return [restore(item, find, depth + 1) for item in value]
    if isinstance(value, tuple):
        return tuple(restore(item, find, depth + 1) for item in value)
    if not isinstance(value, Mapping):
        return value
    kind = value.get(_KIND)
    if not isinstance(kind, str) or kind not in _DECODERS:
        raise PlanError(f"The document holds an object of the unknown kind {str(kind)[:60]!r}.")
    return _DECODERS[kind](value, find, depth)


def names_in(value: Any, depth: int = 0) -> set[str]:
    """
    Return the names of all classes and functions in a nest.

    Parameters
    ----------
    value : object
        What `describe` returned.
    depth : int, default=0
        How deep it stands.

    Returns
    -------
    set of str
        The names.
    """
    if depth > 4 * _DEEPEST:
        raise PlanError("The document is nested too deeply.")
    if isinstance(value, list | tuple):
        return set().union(*(names_in(item, depth + 1) for item in value))
    if not isinstance(value, Mapping):
        return set()
    own = {str(value["name"])} if value.get(_KIND) in ("named", "object", "net") else set()
    if value.get(_KIND) == "net" and value.get("is_class"):
        own.add(str(value.get("module")))
    return own.union(*(names_in(item, depth + 1) for item in value.values()))


def _omitted(value: Any) -> dict[str, Any]:
    try:
        text = repr(value)
    except Exception:  # of the user's own class
        text = f"<{type(value).__name__}>"
    return {_KIND: "omitted", "text": text[:_SHORT]}


def _named(value: Any, depth: int) -> Any:
    name = name_of(value)
    return _omitted(value) if name is None else {_KIND: "named", "name": name}


def _array(value: Any, depth: int) -> Any:
    if value.dtype.kind in "biufc":
        return value
    if value.dtype.kind in "UT" or (value.dtype.kind == "O" and value.size < 10**6):
        items = [describe(item, depth + 1) for item in value.reshape(-1).tolist()]
        dtype = "U" if value.dtype.kind in "UT" else "O"
        return {_KIND: "array", "dtype": dtype, "shape": list(value.shape), "items": items}
    return _omitted(value)


def _frame(value: pd.DataFrame, depth: int) -> Any:
    columns = [
        [describe(name, depth + 1), str(value.dtypes.iloc[place]), describe(_column(value.iloc[:, place]), depth + 1)]
        for place, name in enumerate(value.columns)
    ]
    plain = isinstance(value.index, pd.RangeIndex)
    return {
        _KIND: "frame",
        "columns": columns,
        "index": len(value) if plain else describe(_column(value.index), depth + 1),
        "index_name": describe(value.index.name, depth + 1),
        "attrs": describe(dict(value.attrs), depth + 1),
    }


def _column(values: Any) -> Any:
    found = values.to_numpy()
    return found if found.dtype.kind in "biufc" else found.astype(object)


def _mapping(value: Mapping[Any, Any], depth: int) -> Any:
    if type(value) is not dict:
        return _omitted(value)
    return {_KIND: "dict", "items": [(describe(k, depth + 1), describe(v, depth + 1)) for k, v in value.items()]}


def _sequence(value: Any, depth: int) -> Any:
    if type(value) not in (list, tuple):
        return _omitted(value)
    return type(value)(describe(item, depth + 1) for item in value)


def _set(value: Any, depth: int) -> Any:
    return {_KIND: "set", "items": sorted((describe(item, depth + 1) for item in value), key=repr)}


def _slice(value: slice, depth: int) -> Any:
    return {_KIND: "slice", "items": [describe(part, depth + 1) for part in (value.start, value.stop, value.step)]}


def _torch_name(value: Any, depth: int) -> Any:
    kind = "dtype" if isinstance(value, torch.dtype) else "device"
    return {_KIND: kind, "name": str(value).removeprefix("torch.")}


def _partial(value: "functools.partial[Any]", depth: int) -> Any:
    parts = [_named(value.func, depth), *(describe(one, depth + 1) for one in (*value.args, *value.keywords.values()))]
    if any(isinstance(part, dict) and part.get(_KIND) == "omitted" for part in parts):
        return _omitted(value)
    return {
        _KIND: "partial",
        "function": parts[0],
        "args": describe(list(value.args), depth + 1),
        "params": describe(dict(value.keywords), depth + 1),
    }


def _random(value: np.random.RandomState, depth: int) -> Any:
    return {_KIND: "random", "state": describe(value.get_state(legacy=True), depth + 1)}


def _object(value: Any, depth: int) -> Any:
    """Return an object by its class and the arguments that make it again."""
    name = name_of(type(value))
    has_more = isinstance(value, nn.Module | Dataset)  # weights, data
    params = None if name is None or has_more else _arguments(value)
    if params is None:
        return _omitted(value)
    if isinstance(value, NeuralNet):
        return describe_net(value, depth)
    return {_KIND: "object", "name": name, "params": describe(params, depth + 1)}


def describe_net(net: NeuralNet, depth: int = 0) -> dict[str, Any]:
    """
    Return a net as a nest, its module by the name of its class.

    Parameters
    ----------
    net : NeuralNet
        The net, fitted or not.
    depth : int, default=0
        How deep it stands.

    Returns
    -------
    dict
        The nest.
    """
    params = _arguments(net) or {}
    module = params.pop("module")
    kind = type(module) if isinstance(module, nn.Module) else module
    return {
        _KIND: "net",
        "name": name_of(type(net)) or "",
        "module": name_of(kind) or "",
        "is_class": isinstance(module, type),
        "params": describe(params, depth + 1),
    }


def _arguments(value: Any) -> dict[str, Any] | None:
    """Return the arguments of the call that makes an object again, None if it does not tell."""
    try:
        if dataclasses.is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        if callable(getattr(value, "get_params", None)):
            found = value.get_params(deep=False)
            return {key: own for key, own in found.items() if not key.startswith("_")}
        parameters = list(inspect.signature(type(value)).parameters.values())
    except (TypeError, ValueError, AttributeError):
        return None
    named = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    own = getattr(value, "__dict__", None)
    if own is None or len(named) < len(parameters) or not all(name in own for name in named):
        return None
    return {name: own[name] for name in named}


_ENCODERS: tuple[tuple[Any, Callable[[Any, int], Any]], ...] = (
    (np.ndarray, _array),
    (pd.DataFrame, _frame),
    (Mapping, _mapping),
    ((list, tuple), _sequence),
    ((set, frozenset), _set),
    (slice, _slice),
    ((torch.dtype, torch.device), _torch_name),
    (functools.partial, _partial),
    (np.random.RandomState, _random),
    ((type, types.FunctionType, types.BuiltinFunctionType), _named),
)


def _restored_object(value: Mapping[str, Any], find: Callable[[str], Any], depth: int) -> Any:
    target = find(str(value["name"]))
    if not isinstance(target, type):
        raise PlanError(f"The document makes an object of {value['name']}, which is no class.")
    params = restore(value["params"], find, depth + 1)
    given = {str(name): own for name, own in params.items() if not isinstance(own, Omitted)}
    return target(**given)


def _restored_net(value: Mapping[str, Any], find: Callable[[str], Any], depth: int) -> Any:
    target = find(str(value["name"]))
    params = restore(value["params"], find, depth + 1)
    given = {str(name): own for name, own in params.items() if not isinstance(own, Omitted)}
    return target(find.module(str(value["module"]), bool(value["is_class"])), **given)  # type: ignore[attr-defined]


def _restored_partial(value: Mapping[str, Any], find: Callable[[str], Any], depth: int) -> Any:
    function, args, params = (restore(value[part], find, depth + 1) for part in ("function", "args", "params"))
    if isinstance(function, Omitted):
        return function
    return functools.partial(function, *args, **params)


def _restored_array(value: Mapping[str, Any], find: Callable[[str], Any], depth: int) -> Any:
    items = [restore(item, find, depth + 1) for item in value["items"]]
    if value["dtype"] == "U":
        lengths = [len(str(item)) for item in items]
        if max(lengths, default=0) * len(lengths) > max(_MOST_CHARACTERS, 64 * sum(lengths)):
            raise PlanError("The document holds an array of strings of which one is much longer than the others.")
    found = np.empty(len(items), dtype=object)
    found[:] = items
    return (found.astype(str) if value["dtype"] == "U" else found).reshape([int(size) for size in value["shape"]])


def _restored_frame(value: Mapping[str, Any], find: Callable[[str], Any], depth: int) -> pd.DataFrame:
    index = value["index"]
    index = pd.RangeIndex(index) if isinstance(index, int) else pd.Index(restore(index, find, depth + 1))
    columns = {}
    for name, dtype, data in value["columns"]:
        if dtype not in _FRAME_TYPES:
            raise PlanError(f"The document holds a column of the unknown data type {str(dtype)[:60]!r}.")
        values = restore(data, find, depth + 1)
        if not isinstance(values, np.ndarray) or values.shape != (len(index),):
            raise PlanError("The document holds a column of another length than its frame.")
        columns[restore(name, find, depth + 1)] = pd.Series(values, index=index, dtype=dtype)
    found = pd.DataFrame(columns, index=index)
    found.index.name = restore(value["index_name"], find, depth + 1)
    found.attrs = restore(value["attrs"], find, depth + 1)
    return found


_FRAME_TYPES = {
    *("bool", "object", "str", "string", "category"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64"),
}

_DECODERS: dict[str, Callable[[Mapping[str, Any], Callable[[str], Any], int], Any]] = {
    "omitted": lambda value, find, depth: Omitted(str(value["text"])),
    "named": lambda value, find, depth: find(str(value["name"])),
    "array": _restored_array,
    "frame": _restored_frame,
    "dict": lambda value, find, depth: {
        restore(key, find, depth + 1): restore(own, find, depth + 1) for key, own in value["items"]
    },
    "set": lambda value, find, depth: {restore(item, find, depth + 1) for item in value["items"]},
    "slice": lambda value, find, depth: slice(*(restore(part, find, depth + 1) for part in value["items"])),
    "dtype": lambda value, find, depth: data_type(str(value["name"])),
    "device": lambda value, find, depth: torch.device(str(value["name"])),
    "partial": _restored_partial,
    "random": lambda value, find, depth: _random_state(restore(value["state"], find, depth + 1)),
    "object": _restored_object,
    "net": _restored_net,
}


def _random_state(state: Any) -> np.random.RandomState:
    found = np.random.RandomState()
    found.set_state(tuple(state))
    return found

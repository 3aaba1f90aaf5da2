"""Nests of containers, numbers, arrays and tensors in one safetensors file; nothing is pickled."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from prunekit._files import check_readable, checked_path, write_atomically
from prunekit.exceptions import ParameterTypeError, StateError

PROTOCOL = 2
"""Version of the file that `write_state` writes; older ones, which have no checksum, are read as well."""

_KEY = "prunekit_state"
_STRUCTURE = "structure"
_DEEPEST = 64
_NUMBERS = "biufc"
"""Kinds of NumPy's data types that are numbers."""


def write_state(path: str | Path, state: Any) -> Path:
    """
    Write a state to one file, in the place of the one before once it is whole.

    Parameters
    ----------
    path : str or Path
        The file.
    state : object
        None, booleans, numbers, strings, tensors, NumPy arrays and numbers, in lists, tuples and dicts (with keys that
        are strings or integers).

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ParameterTypeError
        If something else is in the state; the message says where. Nothing is written then.
    FileAccessError
        If the file cannot be written.
    """
    writer = StateWriter()
    structure = json.dumps(writer.encode(state, "state", 0)).encode()
    writer.tensors[_STRUCTURE] = torch.frombuffer(bytearray(structure), dtype=torch.uint8)
    target = checked_path(path)
    signed = f"{PROTOCOL} {checksum(None, writer.tensors)}"
    write_atomically(target, safetensors.torch.save(writer.tensors, {_KEY: signed}))
    return target


def checksum(document: Any, tensors: Mapping[str, Tensor]) -> str:
    """
    Return the SHA-256 of everything that is in a file, whatever the order.

    Parameters
    ----------
    document : object
        What goes into the file as JSON.
    tensors : Mapping of str to Tensor
        The rest.

    Returns
    -------
    str
        Against damage; whoever changes a file on purpose can change this as well.
    """
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        if tensor.numel():
            plain = torch.view_as_real(tensor) if tensor.is_complex() else tensor
            digest.update(plain.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_state(path: str | Path) -> Any:
    """
    Return a state from a file.

    Parameters
    ----------
    path : str or Path
        What `write_state` wrote.

    Returns
    -------
    object
        Equal to what was written; tensors are on the CPU.

    Raises
    ------
    FileAccessError
        If there is no such file, or it cannot be read.
    StateError
        If it is not whole, or no such file of this version.
    """
    check_readable(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            protocol, _, expected = (file.metadata() or {}).get(_KEY, "").partition(" ")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except (safetensors.SafetensorError, OSError, *BROKEN) as exc:
        raise StateError(f"'{path}' is no whole safetensors file: {exc}. {_ADVICE}") from exc
    if protocol not in ("1", str(PROTOCOL)):
        raise StateError(
            f"'{path}' must be a state that prunekit wrote with protocol {PROTOCOL} or below. Got protocol "
            f"{protocol or None!r} instead. {_ADVICE}"
        )
    if protocol != "1" and expected != checksum(None, tensors):
        raise StateError(f"'{path}' is damaged: its checksum is not that of its content. {_ADVICE}")
    try:
        structure = json.loads(tensors[_STRUCTURE].numpy().tobytes())
        return StateReader(tensors).decode(structure, 0)
    except BROKEN as exc:
        raise StateError(f"'{path}' is no state of prunekit: {type(exc).__name__}: {exc}. {_ADVICE}") from exc


BROKEN = (
    *(ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, RecursionError, OverflowError),
    MemoryError,
)
"""What reading of JSON that says something impossible can raise."""

_ADVICE = "Remove the file to begin anew, or put back the one that was there."


class StateWriter:
    """
    Turns a state into JSON, and what is large in it into tensors by number.

    Parameters
    ----------
    prefix : str, default=""
        What the names of the tensors begin with.

    Attributes
    ----------
    tensors : dict of str to Tensor
        What is not in the JSON.
    """

    def __init__(self, prefix: str = "") -> None:
        self.tensors: dict[str, Tensor] = {}
        self._prefix = prefix

    def encode(self, value: Any, where: str, depth: int) -> Any:
        """
        Return a value as JSON.

        Parameters
        ----------
        value : object
            What `write_state` takes.
        where : str
            What it is, for the message.
        depth : int
            How deep it stands.

        Returns
        -------
        object
            Numbers, strings, lists and dicts.

        Raises
        ------
        ParameterTypeError
            If something else is in it; the message says where.
        """
        if depth > _DEEPEST:
            raise ParameterTypeError(f"A state must be at most {_DEEPEST} levels deep. Got more at {where[:80]}.")
        for kind, encode in self._KINDS:
            if isinstance(value, kind):
                return encode(self, value, where, depth)
        raise ParameterTypeError(
            f"A state must hold numbers, strings, arrays and tensors in lists, tuples and dicts. Got an object of type "
            f"{type(value).__name__} at {where}."
        )

    def _plain(self, value: Any, where: str, depth: int) -> Any:
        return value

    def _float(self, value: float, where: str, depth: int) -> Any:
        return value if math.isfinite(value) else {"float": repr(value)}

    def _list(self, value: list[Any], where: str, depth: int) -> Any:
        return [self.encode(item, f"{where}[{place}]", depth + 1) for place, item in enumerate(value)]

    def _tuple(self, value: tuple[Any, ...], where: str, depth: int) -> Any:
        return {"tuple": self._list(list(value), where, depth)}

    def _dict(self, value: Mapping[Any, Any], where: str, depth: int) -> Any:
        for key in value:
            if type(key) not in (str, int):
                raise ParameterTypeError(
                    f"The keys of a state must be strings or integers. Got {key!r} of type {type(key).__name__} at "
                    f"{where}."
                )
        return {"dict": [[key, self.encode(item, f"{where}[{key!r}]", depth + 1)] for key, item in value.items()]}

    def _number(self, value: np.generic, where: str, depth: int) -> Any:
        return {"number": self._array(np.asarray(value), where, depth)}

    def _array(self, value: "np.ndarray[Any, Any]", where: str, depth: int) -> Any:
        if value.dtype.kind not in _NUMBERS:
            raise ParameterTypeError(f"The arrays of a state must hold numbers. Got {value.dtype} at {where}.")
        data = torch.frombuffer(bytearray(value.tobytes()), dtype=torch.uint8) if value.size else torch.zeros(0)
        return {"array": self._add(data), "dtype": value.dtype.str, "shape": list(value.shape)}

    def _tensor(self, value: Tensor, where: str, depth: int) -> Any:
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise ParameterTypeError(f"The tensors of a state must be dense and have values. Got another at {where}.")
        own = value.detach().cpu()
        strides: tuple[int, ...] = own.stride()
        order = None if own.is_contiguous() else sorted(range(own.dim()), key=lambda dim: -strides[dim])
        if order is not None:
            own = own.permute(order)
        dtype = own.dtype
        own = own.resolve_conj().resolve_neg().contiguous()
        if own.is_complex():
            own = torch.view_as_real(own)
        return {"tensor": self._add(own), "order": order, "complex": dtype.is_complex}

    def _add(self, tensor: Tensor) -> str:
        name = f"{self._prefix}{len(self.tensors)}"
        self.tensors[name] = tensor.clone()  # no memory is shared within a file
        return name

    _KINDS: tuple[tuple[Any, Callable[..., Any]], ...] = (
        (np.generic, _number),  # before float, which float64 derives from
        ((type(None), bool, int, str), _plain),
        (float, _float),
        (Tensor, _tensor),
        (np.ndarray, _array),
        (Mapping, _dict),
        (tuple, _tuple),
        (list, _list),
    )


class StateReader:
    """
    Turns JSON and tensors into a state.

    Parameters
    ----------
    tensors : dict of str to Tensor
        What `StateWriter` made of what is large.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    def _take(self, name: str) -> Tensor:
        """Return a tensor; each stands in one place, so that a small file does not become large."""
        return self._tensors.pop(name)

    def decode(self, value: Any, depth: int) -> Any:
        """
        Return what a piece of JSON stands for.

        Parameters
        ----------
        value : object
            What `StateWriter.encode` returned.
        depth : int
            How deep it stands.

        Returns
        -------
        object
            The value. Whatever a broken piece makes the code raise is raised; see `BROKEN`.
        """
        if depth > 2 * _DEEPEST:
            raise ValueError("it is nested too deeply")
        if isinstance(value, list):
            return [self.decode(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        (kind, *_) = value
        return self._KINDS[kind](self, value, depth)

    def _float(self, value: dict[str, Any], depth: int) -> float:
        return float(value["float"])

    def _tuple(self, value: dict[str, Any], depth: int) -> tuple[Any, ...]:
        return tuple(self.decode(value["tuple"], depth + 1))

    def _dict(self, value: dict[str, Any], depth: int) -> dict[Any, Any]:
        return {key: self.decode(item, depth + 1) for key, item in value["dict"]}

    def _number(self, value: dict[str, Any], depth: int) -> Any:
        return self._array(value["number"], depth)[()]

    def _array(self, value: dict[str, Any], depth: int) -> "np.ndarray[Any, Any]":
        dtype = np.dtype(str(value["dtype"]))
        if dtype.kind not in _NUMBERS:
            raise ValueError(f"an array of {dtype}")
        data = np.frombuffer(bytearray(self._take(value["array"]).numpy().tobytes()), dtype)
        return data.reshape(cast("list[int]", value["shape"]))

    def _tensor(self, value: dict[str, Any], depth: int) -> Tensor:
        tensor = self._take(value["tensor"])
        if value["complex"]:
            tensor = torch.view_as_complex(tensor)
        order = value["order"]
        if order is None:
            return tensor
        if sorted(order) != list(range(tensor.dim())):
            raise ValueError(f"no order of {tensor.dim()} dimensions: {order}")
        return tensor.permute(sorted(range(len(order)), key=order.__getitem__))

    _KINDS: dict[str, Callable[..., Any]] = {  # noqa: RUF012  a table of methods
        "float": _float,
        "tuple": _tuple,
        "dict": _dict,
        "number": _number,
        "array": _array,
        "tensor": _tensor,
    }

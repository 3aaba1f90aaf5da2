"""The mode of a network, training or eval, and whether the network asks for it."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunekit.tracing._copy import has_memory
from prunekit.tracing.multihead import CompactMultiheadAttention

if TYPE_CHECKING:
    from types import CodeType

_INDIFFERENT = frozenset({_BatchNorm.forward.__code__, CompactMultiheadAttention.forward.__code__})
"""Code that asks for its mode and runs the same operations in both; the attention of a sandbox has no dropout."""


class _Mode:
    """``Module.training``, which notes the code that reads it."""

    def __init__(self) -> None:
        self.readers: dict[int, list[set[CodeType]]] = {}

    def __get__(self, module: nn.Module | None, owner: type | None = None) -> Any:
        if module is None:
            return self
        for codes in self.readers.get(threading.get_ident(), ()):
            codes.add(sys._getframe(1).f_code)
        try:
            return module.__dict__["training"]
        except KeyError:
            raise AttributeError(f"'{type(module).__name__}' object has no attribute 'training'") from None

    def __set__(self, module: nn.Module, value: bool) -> None:
        module.__dict__["training"] = value

    def __delete__(self, module: nn.Module) -> None:
        del module.__dict__["training"]


_mode = _Mode()
_lock = threading.Lock()


class ModeReaders:
    """
    The code that asked modules for their mode.

    Attributes
    ----------
    codes : set of code objects
        Whatever read ``Module.training``.
    """

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()

    def can_tell(self, module: nn.Module) -> bool:
        """
        Return whether the modes may differ.

        Parameters
        ----------
        module : Module
            The network that ran.

        Returns
        -------
        bool
            False if nothing that could make a difference looked at the mode, neither in the run nor on changing it.
        """
        return not self.codes <= _INDIFFERENT or any(
            type(part).train is not nn.Module.train
            or "train" in vars(part)
            or getattr(type(part), "training", _mode) is not _mode
            for part in module.modules()
        )


@contextmanager
def mode_readers() -> Iterator[ModeReaders]:
    """
    Note what asks for ``Module.training`` in this thread.

    Yields
    ------
    ModeReaders
        Filled while the block runs.
    """
    found = ModeReaders()
    thread = threading.get_ident()
    with _lock:
        if not _mode.readers:
            nn.Module.training = _mode  # type: ignore[assignment]
        _mode.readers.setdefault(thread, []).append(found.codes)
    try:
        yield found
    finally:
        with _lock:
            _mode.readers[thread].pop()
            if not _mode.readers[thread]:
                del _mode.readers[thread]
            if not _mode.readers:
                del nn.Module.training


@contextmanager
def same_buffers(module: nn.Module) -> Iterator[None]:
    """
    Put back what a network counts in its buffers whenever it runs.

    Parameters
    ----------
    module : Module
        The network.

    Yields
    ------
    None
        Afterwards every buffer is the tensor that it was, with the values that it had.
    """
    before = [
        (part, name, tensor, tensor._version, tensor.detach().clone())
        for part in module.modules()
        for name, tensor in part._buffers.items()
        if tensor is not None and has_memory(tensor) and not tensor.is_inference()
    ]
    try:
        yield
    finally:
        for part, name, tensor, version, values in before:
            if part._buffers.get(name) is not tensor:
                part._buffers[name] = tensor
            if tensor._version != version:
                with torch.no_grad():
                    tensor.copy_(values)


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """
    Put a network in eval mode for a while.

    Parameters
    ----------
    module : Module
        The network.

    Yields
    ------
    None
        Afterwards every part is in the mode in which it was before.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training

"""A copy of a network that may be run, cut and run again while nothing outside changes."""

import itertools
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from prunekit._random import preserve_rng
from prunekit.tracing._copy import copy_module, copy_without_memory, to_meta
from prunekit.tracing._inputs import Inputs
from prunekit.tracing._outputs import OF_EVERY_MODULE, named_parts
from prunekit.tracing._path import ModulePath
from prunekit.tracing._stand_in import stand_in_for_norm_
from prunekit.tracing.multihead import CompactMultiheadAttention, use_compact_attention_

Tensors = Literal["meta", "fake", "real"]
"""What a copy is made of, from the fastest to what runs everything."""


_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""Layers that do nothing to the labels; without them the training mode runs the operations of the eval mode."""


class Sandbox:
    """
    A copy of a network without memory, or with it where nothing less can run the network.

    Parameters
    ----------
    module : Module
        The network; it is not touched.
    tensors : {"meta", "fake", "real"}
        Tensors on the meta device have shapes and types but no memory. Fake ones claim to be on the network's own
        device besides and may meet real ones, which takes several times longer.
    norms : Mapping of str to int
        Layers that shall run one operation in place of their own code, see `stand_in_for_norm_`.

    Attributes
    ----------
    path : ModulePath
        Which module of the copy runs.
    """

    def __init__(self, module: nn.Module, tensors: Tensors, norms: Mapping[str, int]) -> None:
        self.tensors = tensors
        self._device = device_of(module)
        self._mode = FakeTensorMode(allow_non_fake_inputs=True) if tensors == "fake" else None
        self._copy = copy_module(module) if tensors == "real" else copy_without_memory(module, self._convert)
        for _, part in named_parts(self._copy):  # so that the compacted copy runs the same operations
            use_compact_attention_(part)
            if type(part) in _DROPOUTS:
                part.__class__ = nn.Identity
            elif type(part) is CompactMultiheadAttention:
                part.dropout = 0.0
        if tensors != "real":
            for path, dim in norms.items():
                stand_in_for_norm_(self._copy.get_submodule(path), dim)
        self.path = ModulePath(self._copy, by_hooks=tensors == "real")

    @contextmanager
    def opened(self) -> Iterator[nn.Module]:
        """
        Lend the copy; whatever is done to it is undone afterwards, and all random states are as before.

        Yields
        ------
        Module
            The copy.
        """
        with preserve_rng(self._device):
            if self.tensors == "real":
                yield copy_module(self._copy)
                return
            with _kept(self._copy), self._mode or nullcontext(), _quiet_fake_tensors() if self._mode else nullcontext():
                yield self._copy

    def prepare(self, inputs: Inputs) -> Inputs:
        """Return inputs that the copy takes, sharing no memory with the given ones."""
        return inputs.map(self._convert)

    def _convert(self, tensor: Tensor) -> Tensor:
        if self.tensors == "real":
            return tensor.detach().clone()
        return to_meta(tensor) if self._mode is None else self._mode.from_tensor(tensor, static_shapes=True)


_REGISTERED = ("_parameters", "_buffers", "_modules")


@contextmanager
def _kept(module: nn.Module) -> Iterator[None]:
    """Give every module the attributes back that it had, fake tensors have no values that could change."""
    before = []
    for _, part in named_parts(module):
        own = vars(part)
        saved = own.copy()
        for name in (*_REGISTERED, *(own.keys() - OF_EVERY_MODULE)):
            if type(saved[name]) in (dict, list):
                saved[name] = saved[name].copy()
        before.append((part, saved))
    try:
        yield
    finally:
        for part, attributes in before:
            vars(part).clear()
            vars(part).update(attributes)


@contextmanager
def _quiet_fake_tensors() -> Iterator[None]:
    """Keep torch from logging a traceback for every operation that fails; a probe expects that."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def device_of(module: nn.Module) -> torch.device | None:
    """
    Return the device of the first parameter or buffer.

    Parameters
    ----------
    module : Module
        A network.

    Returns
    -------
    device or None
        None if it has neither.
    """
    return next((tensor.device for tensor in itertools.chain(module.parameters(), module.buffers())), None)

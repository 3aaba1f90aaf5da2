"""A copy of a network that may be run, cut and run again while nothing outside changes."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from prunekit._random import preserve_rng
from prunekit.tracing._copy import copy_module, fake_copy, fake_inputs
from prunekit.tracing._inputs import Inputs
from prunekit.tracing._tracer import named_tensors


class Sandbox:
    """
    A copy of a network on fake tensors, or on real ones where fake tensors cannot run it.

    Parameters
    ----------
    module : Module
        The network; it is not touched.
    fake : bool
        Whether to use fake tensors, which have shapes and types but no memory.
    """

    def __init__(self, module: nn.Module, fake: bool) -> None:
        self.fake = fake
        self._device = device_of(module)
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._copy = fake_copy(module, self._mode) if fake else copy_module(module)

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
            if self.fake:
                with _kept(self._copy), self._mode, _quiet_fake_tensors():
                    yield self._copy
            else:
                yield copy_module(self._copy)

    def prepare(self, inputs: Inputs) -> Inputs:
        """Return inputs that the copy takes, sharing no memory with the given ones."""
        if self.fake:
            return Inputs(*fake_inputs((inputs.args, dict(inputs.kwargs)), self._mode))
        return inputs.map(lambda tensor: tensor.detach().clone())


@contextmanager
def _kept(module: nn.Module) -> Iterator[None]:
    """Give every module the attributes back that it had, fake tensors have no values that could change."""
    before = [
        (part, {key: copy.copy(value) if type(value) in (dict, list) else value for key, value in vars(part).items()})
        for part in module.modules()
    ]
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
    return next((tensor.device for tensor in named_tensors(module).values()), None)

"""The true change of the loss when a unit is removed, which criteria estimate."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunekit.exceptions import ParameterError, TrainingError
from prunekit.importance._replay import CannotReplayError, Recording
from prunekit.tracing import Inputs

Loss = Callable[[Any, Any], Tensor]
"""Takes what the network returns and the targets; returns the mean over the examples of the mini-batch."""


class Masked(Protocol):
    """A network with removed units, such as `PrunableNetwork`."""

    @property
    def support(self) -> NDArray[np.bool_]:
        """Which units are still there, shape (n_units,)."""

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network in eval mode without gradients."""

    def without(self, units: Sequence[int]) -> AbstractContextManager[tuple[Tensor, ...] | None]:
        """Remove units for a while; tells which tensors are changed, None if more than tensors is."""


def oracle(
    network: Masked, batches: Iterable[tuple[Any, Any]], loss: Loss, units: Iterable[int] | None = None
) -> NDArray[np.float64]:
    """
    Return the true change of the loss when each unit alone is removed.

    Parameters
    ----------
    network : PrunableNetwork
        The network; it is as before afterwards.
    batches : iterable of (inputs, targets)
        Labelled data; inputs are a tensor, a tuple of several, or a mapping of keyword arguments. Each mini-batch is
        run once for the network as it is, of which everything that is computed is kept, as in a training step, and once
        for each unit, of which only what the unit reaches is computed.
    loss : callable
        Takes what the network returns and the targets, and returns the mean over the examples, as
        `torch.nn.functional.cross_entropy` does.
    units : iterable of int, default=None
        Units to remove, by default all that are still there.

    Returns
    -------
    ndarray of float, shape (n_units,)
        Loss without the unit minus the loss with it, the mean over all examples in eval mode; NaN for units that are
        gone or were not asked for. The scale is that of `taylor2`: a negative number says that the loss is lower
        without the unit.

    Raises
    ------
    ParameterError
        If there are no examples, or no unit of a given number is there.
    TrainingError
        If the loss of the network as it is is not finite.

    References
    ----------
    .. [1] P. Molchanov, S. Tyree, T. Karras, T. Aila, J. Kautz, "Pruning Convolutional Neural Networks for Resource
       Efficient Inference", ICLR 2017, arXiv:1611.06440, section 2.2, "oracle-loss" with its sign.

    Examples
    --------
    >>> import torch
    >>> from prunekit import PrunableNetwork
    >>> from prunekit.importance import oracle
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> x, y = torch.randn(8, 4), torch.randint(2, (8,))
    >>> oracle(PrunableNetwork(net, x), [(x, y)], torch.nn.functional.cross_entropy).shape
    (3,)
    """
    support = network.support
    asked = np.flatnonzero(support) if units is None else np.array(sorted(set(units)), dtype=np.int64)
    if asked.size and (asked[0] < 0 or asked[-1] >= support.size or not support[asked].all()):
        raise ParameterError(
            f"The 'units' parameter of oracle must hold numbers below {support.size} of units that are still there. "
            f"Got {asked.tolist()} instead."
        )
    changes = np.full(support.size, np.nan)
    total, count = 0.0, 0
    added = np.zeros(asked.size)
    for inputs, targets in batches:
        given = _arguments(inputs)
        size = given.n_examples() or 1
        recording = Recording()

        def value(run: Callable[[], Any], targets: Any = targets) -> Tensor:
            with torch.no_grad():
                return loss(run(), targets)

        run = partial(network.predict, *given.args, **given.kwargs)
        with network.without([]), recording:
            result = value(run)
        before = float(result)
        if not np.isfinite(before):
            raise TrainingError(
                f"The oracle needs a finite loss. Got {before} for the network as it is instead. Look for NaN and "
                "infinity in the data and in the weights."
            )
        for number, unit in enumerate(asked.tolist()):
            with network.without([unit]) as changed:
                added[number] += size * (float(_again(recording, partial(value, run), changed)) - before)
        total, count = total + size * before, count + size
    if not count:
        raise ParameterError("The 'batches' parameter of oracle must hold labelled examples. Got none instead.")
    changes[asked] = added / count
    return changes


def _arguments(inputs: Any) -> Inputs:
    if isinstance(inputs, Mapping):
        return Inputs((), dict(inputs))
    return Inputs(inputs if isinstance(inputs, tuple) else (inputs,))


def _again(recording: Recording, value: Callable[[], Tensor], changed: tuple[Tensor, ...] | None) -> Tensor:
    """Return the value with some tensors changed, computed anew where nothing of what was recorded can be taken."""
    if changed is not None:
        try:
            result: Tensor = recording.again(value, changed)
            return result
        except CannotReplayError:
            pass
    return value()

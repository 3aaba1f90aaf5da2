"""The true change of the loss when a unit is removed, which criteria estimate."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunekit.exceptions import ParameterError, TrainingError

Loss = Callable[[Any, Any], Tensor]
"""Takes what the network returns and the targets; returns the mean over the examples of the mini-batch."""


class Masked(Protocol):
    """A network with removed units, such as `PrunableNetwork`."""

    @property
    def support(self) -> NDArray[np.bool_]:
        """Which units are still there, shape (n_units,)."""

    def predict(self, *args: Any) -> Any:
        """Run the network in eval mode without gradients."""

    def without(self, units: Sequence[int]) -> AbstractContextManager[None]:
        """Remove units for a while."""


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
        Labelled data, of which each mini-batch fits the device; inputs are a tensor, or a tuple of several. The data is
        run once for the network as it is and once for each unit.
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
    again = list(batches) if isinstance(batches, Iterator) else batches
    support = network.support
    asked = np.flatnonzero(support) if units is None else np.array(sorted(set(units)), dtype=np.int64)
    if asked.size and (asked[0] < 0 or asked[-1] >= support.size or not support[asked].all()):
        raise ParameterError(
            f"The 'units' parameter of oracle must hold numbers below {support.size} of units that are still there. "
            f"Got {asked.tolist()} instead."
        )
    before = _mean_loss(network, again, loss)
    if not np.isfinite(before):
        raise TrainingError(
            f"The oracle needs a finite loss. Got {before} for the network as it is instead. Look for NaN and "
            "infinity in the data and in the weights."
        )
    changes = np.full(support.size, np.nan)
    for unit in asked.tolist():
        with network.without([unit]):
            changes[unit] = _mean_loss(network, again, loss) - before
    return changes


def _mean_loss(network: Masked, batches: Iterable[tuple[Any, Any]], loss: Loss) -> float:
    total, count = 0.0, 0
    for inputs, targets in batches:
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        size = next((one.size(0) for one in given if isinstance(one, Tensor) and one.dim()), 1)
        with torch.no_grad():
            total += size * float(loss(network.predict(*given), targets))
        count += size
    if not count:
        raise ParameterError("The 'batches' parameter of oracle must hold labelled examples. Got none instead.")
    return total / count

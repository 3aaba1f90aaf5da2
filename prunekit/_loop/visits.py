"""Networks on the way to a target, shown to whoever compares them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from skorch import NeuralNet
from torch import Tensor
from torch.utils._pytree import tree_map

from prunekit._loop.history import Iteration
from prunekit._skorch import Budget


@dataclass(frozen=True, slots=True)
class Visits:
    """
    Who is shown the networks on the way.

    Parameters
    ----------
    show : callable
        Is called with the net and the row of the history: for the network before pruning, and after each iteration
        that held the thresholds. It must leave the net as it is.
    training : Budget
        Training, as it would be at the end of a run, of each network but the first before it is shown. The run goes on
        without it.
    parts : int
        Into how many parts the training is divided; each network gets one.
    """

    show: Callable[[NeuralNet, Iteration], None]
    training: Budget
    parts: int


def copied(state: Any) -> Any:
    """
    Return a copy of a nest of tensors, arrays and numbers.

    Parameters
    ----------
    state : object
        The nest.

    Returns
    -------
    object
        The same with tensors and arrays of its own.
    """

    def copy(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().clone()
        return value.copy() if isinstance(value, np.ndarray) else value

    return tree_map(copy, state)

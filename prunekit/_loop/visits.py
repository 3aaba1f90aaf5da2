"""Networks on the way to a target, scored for whoever compares them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_map

from prunekit._loop.history import Iteration
from prunekit._skorch import Budget, Validation


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """
    Data that no network on the way has seen, and what is to be made of them.

    Parameters
    ----------
    X, y : object
        The data, as the user gives them.
    scoring : str, callable or None
        Scorer.
    training : Budget
        Training, as it would be at the end of a run, of each network but the first before it is scored. The run goes on
        without it.
    parts : int
        Into how many parts the training is divided; each network gets one.
    tell : callable
        Is called with the score, the row of the history and the seconds: for the network before pruning, and after each
        iteration that held the thresholds; where a run is gone on with, for those before first of all.
    seconds : callable
        Returns the seconds since the beginning.
    """

    X: Any
    y: Any
    scoring: Any
    training: Budget
    parts: int
    tell: Callable[[float, Iteration, float], None]
    seconds: Callable[[], float]

    @property
    def conditions(self) -> tuple[Any, ...]:
        """Everything that the scores depend on."""
        return self.X, self.y, self.scoring, self.training.epochs, self.training.batches, self.parts


@dataclass(frozen=True, slots=True, eq=False)
class Visits:
    """
    The networks on the way, each scored as if the run ended with it.

    Parameters
    ----------
    held_out : HeldOut
        What is to be done.
    validation : Validation
        Scores a net on these data.
    """

    held_out: HeldOut
    validation: Validation


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

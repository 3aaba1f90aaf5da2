"""Mini-batches of the training data, one pass after the other, from a place that can be come back to."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from prunekit._random import rng_state, set_rng_state


class BatchStream:
    """
    Give the mini-batches of pass after pass.

    Parameters
    ----------
    begin : callable
        Returns an iterable over one pass.
    device : torch.device
        Device whose random state belongs to the network.

    Notes
    -----
    A place is the random state before the pass and the number of mini-batches taken since, which holds for whatever
    shuffles by the global random states, as PyTorch's data loaders do.
    """

    def __init__(self, begin: Callable[[], Iterable[Any]], device: torch.device) -> None:
        self._begin = begin
        self._device = device
        self._batches: Iterator[Any] | None = None
        self._before: dict[str, Any] | None = None
        self._taken = 0

    def take(self, num_batches: int) -> Iterator[Any]:
        """
        Yield the next mini-batches.

        Parameters
        ----------
        num_batches : int
            How many; fewer only where a pass has none.

        Yields
        ------
        object
            Mini-batches.
        """
        for _ in range(num_batches):
            batch = self._next()
            if batch is _NO_MORE:
                return
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the place."""
        return {"before": self._before, "taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Go to a place; the random states are then those after the last mini-batch was loaded.

        Parameters
        ----------
        state : dict
            What `state_dict` returned.
        """
        self._batches, self._before, self._taken = None, None, 0
        if state["before"] is not None:
            set_rng_state(state["before"], self._device)
            batches = self._restart()
            for _ in itertools.islice(batches, state["taken"]):
                self._taken += 1

    def _next(self) -> Any:
        batch = _NO_MORE if self._batches is None else next(self._batches, _NO_MORE)
        if batch is _NO_MORE:  # the first pass, or one has just ended
            batch = next(self._restart(), _NO_MORE)
        self._taken += 1
        return batch

    def _restart(self) -> Iterator[Any]:
        self._before, self._taken = rng_state(self._device), 0
        self._batches = iter(self._begin())
        return self._batches


_NO_MORE = object()

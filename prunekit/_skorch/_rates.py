"""Learning rates of the fine-tuning."""

import math
from collections.abc import Callable
from typing import Any, Literal

from skorch import NeuralNet
from skorch.callbacks import Callback

from prunekit._skorch._nets import param_groups

RatePolicy = Literal["linear", "cosine", "anneal", "constant", "restart"]
RATE_POLICIES: tuple[RatePolicy, ...] = ("linear", "cosine", "anneal", "constant", "restart")
"""What the learning rate does: a line or a cosine over the run, a cosine in the last phase, nothing, what the net's
schedules do."""


def _half_cosine(done: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * done))


_FACTORS: dict[RatePolicy, Callable[[float], float]] = {
    "linear": lambda done: 1.0 - done,
    "cosine": _half_cosine,
    "anneal": _half_cosine,
}
"""Of the learning rate, by how much of the span is done."""


def follows_course(policy: RatePolicy) -> bool:
    """
    Return whether learning rates depend on how long the whole run is, so that no other run has the same.

    Parameters
    ----------
    policy : {"linear", "cosine", "anneal", "constant", "restart"}
        What they do.

    Returns
    -------
    bool
        Whether they do from the first step on.
    """
    return policy in ("linear", "cosine")


class Rates(Callback):
    """
    Set the learning rates of a net while it is fine-tuned.

    Parameters
    ----------
    policy : {"linear", "cosine", "anneal", "constant", "restart"}
        What they do.
    start : float or None
        Learning rate to begin with, in place of the net's ``lr``; those of other parameter groups change in proportion.
    """

    def __init__(self, policy: RatePolicy, start: float | None) -> None:
        self._policy = policy
        self._start = start
        self._span = 0.0, 0.0
        self._length = 0
        self._count = 0

    def adopt(self, net: NeuralNet) -> None:
        """
        Note the learning rates of a new optimizer as those to begin with.

        Parameters
        ----------
        net : NeuralNet
            The net.
        """
        factor = 1.0 if self._start is None else self._start / net.lr
        for group in param_groups(net):
            group["lr"] = group["initial_lr"] = factor * group["lr"]

    def span_of(self, span: tuple[float, float]) -> tuple[float, float]:
        """
        Return which part of the policy's curve a phase goes through; the learning rates depend on nothing else.

        Parameters
        ----------
        span : tuple of float
            Where in the run, from 0 to 1, the phase begins and ends.

        Returns
        -------
        tuple of float
            From 0 to 1; nothing of it where the learning rate does not follow a curve.
        """
        if self._policy == "anneal":
            return (0.0, 1.0) if span[1] == 1.0 else (0.0, 0.0)
        return span if self._policy in _FACTORS else (0.0, 0.0)

    def begin(self, net: NeuralNet, length: int, span: tuple[float, float]) -> None:
        """
        Begin a phase.

        Parameters
        ----------
        net : NeuralNet
            The net.
        length : int
            Number of mini-batches, 0 if it is not known.
        span : tuple of float
            Where in the run, from 0 to 1, the phase begins and ends.
        """
        self._length, self._span, self._count = length, self.span_of(span), 0
        for group in param_groups(net):
            group["lr"] = group["initial_lr"]  # where a schedule of the last phase has left it

    def on_batch_begin(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Set the learning rates for a mini-batch."""
        if not training or self._policy not in _FACTORS:
            return
        start, end = self._span
        done = start + (end - start) * min(self._count / max(self._length, 1), 1.0)
        self._count += 1
        for group in param_groups(net):
            group["lr"] = group["initial_lr"] * _FACTORS[self._policy](done)

"""The control run: what the same training would have given without pruning."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from skorch import NeuralNet

from prunekit._random import preserve_rng, rng_state, set_rng_state
from prunekit._skorch import Budget, FineTuner, Phase, Validation, load_trained_, trained_state


@dataclass(frozen=True, slots=True, eq=False)
class ControlResult:
    """
    What the control run gave.

    Parameters
    ----------
    net : NeuralNet
        The dense net after the training.
    score : float
        Its validation score, NaN without validation.
    """

    net: NeuralNet
    score: float

    def state_dict(self) -> dict[str, Any]:
        """Return the result as numbers and tensors."""
        return {"score": self.score, "net": trained_state(self.net, Phase())}


class Control:
    """
    Repeat the training of a pruning run without pruning.

    Parameters
    ----------
    make_tuner : callable
        Returns a tuner of a copy of the dense network.
    validation : Validation or None
        Measures it.
    device : torch.device
        Device that computes.
    """

    def __init__(
        self, make_tuner: Callable[[], FineTuner], validation: Validation | None, device: torch.device
    ) -> None:
        self._make_tuner = make_tuner
        self._validation = validation
        self._device = device
        self._start = rng_state(device)

    def run(self, phases: Sequence[tuple[Budget, tuple[float, float]]], on_batch: Callable[[], None]) -> ControlResult:
        """
        Train for as long as the pruned network was trained, with the same random numbers to begin with.

        Parameters
        ----------
        phases : sequence of (Budget, span)
            The training.
        on_batch : callable
            Is called after each mini-batch.

        Returns
        -------
        ControlResult
            The net and its score. Random states are as before afterwards.
        """
        with preserve_rng(self._device):
            set_rng_state(self._start, self._device)
            tuner = self._make_tuner()
            tuner.watch.on_batch = on_batch
            for budget, span in phases:
                tuner.train(budget, span, "the control run")
            score = math.nan if self._validation is None else self._validation.score(tuner.net)
        return ControlResult(tuner.net, score)

    def load(self, state: dict[str, Any]) -> ControlResult:
        """
        Return a result that was kept.

        Parameters
        ----------
        state : dict
            What `ControlResult.state_dict` returned.

        Returns
        -------
        ControlResult
            The same.
        """
        with preserve_rng(self._device):
            net = self._make_tuner().net
            load_trained_(net, state["net"])
        return ControlResult(net, state["score"])

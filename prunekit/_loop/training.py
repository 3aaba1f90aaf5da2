"""The training before pruning, as it is seen."""

import math
from types import TracebackType
from typing import Self

from skorch import NeuralNet

from prunekit._loop.progress import Progress

_MEASURES = ("valid_acc", "valid_loss")
"""What skorch measures on the validation data after each epoch."""


class TrainingProgress:
    """
    Show how many epochs of a training are done, and what it has reached.

    Parameters
    ----------
    net : NeuralNet
        The net. One that prints its epochs itself has no bar, which would be torn apart.
    shown : bool
        Whether anything is shown.
    """

    def __init__(self, net: NeuralNet, shown: bool) -> None:
        self._progress = Progress("Training", shown, "epochs", drawn=not net.verbose)
        self._told: int | None = None
        self._facts: list[str] = []

    def __enter__(self) -> Self:
        """Begin; nothing is seen before the training begins."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""
        if self._told is None:
            return
        if kind is None:
            self._progress.show("Trained", *self._facts)
        self._progress.__exit__(kind, error, traceback)

    def tell(self, net: NeuralNet, done: int) -> None:
        """
        Show what is reached.

        Parameters
        ----------
        net : NeuralNet
            The net in its training.
        done : int
            Number of epochs that are done.
        """
        if self._told is None:
            self._begin(net, done)
        self._facts = _facts_of(net)
        self._progress.note(*self._facts)
        for _ in range(self._told or 0, done):
            self._progress.tick()
        self._told = done

    def _begin(self, net: NeuralNet, done: int) -> None:
        self._progress.__enter__()
        self._progress.skip(done)
        self._progress.expect(max(net.max_epochs - done, 0))
        self._progress.show("Training", *_facts_of(net))
        self._told = done


def _facts_of(net: NeuralNet) -> list[str]:
    """Say what the last epoch gave: on the validation data, or on the training data if there are none."""
    last = net.history[-1] if net.history else {}
    measures = [name for name in _MEASURES if name in last] or ["train_loss"]
    return [f"{name} {last[name]:.4g}" for name in measures if name in last and math.isfinite(last[name])]

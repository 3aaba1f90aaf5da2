"""Nets as steps of their own: as skorch's, with a seed."""

from typing import Any, Self

import numpy as np
from skorch import NeuralNetClassifier, NeuralNetRegressor

from prunekit._random import seeded_rng
from prunekit._skorch import InterruptWatch
from prunekit.exceptions import TrainingError


class _Seeded:
    """
    Trains with a random state of its own, whatever process it is in.

    Parameters
    ----------
    *args, **kwargs : object
        As skorch's net takes them.
    random_state : int, default=None
        Seed of weights and mini-batches.
    """

    random_state: int | None
    history: Any

    def __init__(self, *args: Any, random_state: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:
        """
        Train from fresh weights.

        Parameters
        ----------
        X, y : object
            As skorch takes them.
        **fit_params : dict
            As skorch takes them.

        Returns
        -------
        self : NeuralNet
            The trained net.

        Raises
        ------
        TrainingError
            If the loss is not finite.
        KeyboardInterrupt
            If Ctrl-C was pressed, which skorch's own ``fit`` swallows.
        """
        with InterruptWatch() as interrupts, seeded_rng(self.random_state):
            super().fit(X, y, **fit_params)  # type: ignore[misc]
        interrupts.check()
        loss = self.history[-1]["train_loss"] if self.history else 0.0
        if not np.isfinite(loss):
            raise TrainingError(f"The loss of the net must be finite. Got {loss} instead; try a smaller 'lr'.")
        return self


class SeededClassifier(_Seeded, NeuralNetClassifier):
    """A classifier with a seed; see skorch's ``NeuralNetClassifier``."""


class SeededRegressor(_Seeded, NeuralNetRegressor):
    """A regressor with a seed; see skorch's ``NeuralNetRegressor``."""

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:
        """
        Train from fresh weights.

        Parameters
        ----------
        X, y : object
            As skorch takes them; targets can be (samples,), too.
        **fit_params : dict
            As skorch takes them.

        Returns
        -------
        self : NeuralNet
            The trained net.
        """
        if isinstance(y, np.ndarray) and y.ndim == 1:  # the loss would broadcast it against the outputs
            y = y[:, np.newaxis]
        return super().fit(X, y, **fit_params)

"""How far a run is, and how far it has to go; known only as it goes on."""

import math
from collections.abc import Callable

from prunekit._loop.settings import LoopSettings
from prunekit._skorch import Budget

_MOST_STEPS = 100_000


class Course:
    """
    Foretell how long the rest of a run is.

    Parameters
    ----------
    settings : LoopSettings
        What the loop is to do.
    count_batches : callable
        Returns the number of mini-batches of a budget, 0 if it is not known.

    Attributes
    ----------
    done : float
        How much of the training is done, from 0 to 1.
    """

    def __init__(self, settings: LoopSettings, count_batches: Callable[[Budget], int]) -> None:
        self._settings = settings
        self._step = count_batches(settings.finetune)
        self._final = count_batches(settings.final)
        self.done = 0.0

    def next_span(self, steps_left: int) -> tuple[float, float]:
        """
        Return where in the training the next step begins and ends.

        Parameters
        ----------
        steps_left : int
            Number of steps that are left, this one counted.

        Returns
        -------
        tuple of float
            From 0 to 1.
        """
        left = self.batches_left(steps_left)
        share = self._step / left if left else 1.0 / (steps_left + bool(self._settings.final))
        return self.done, self.done + (1.0 - self.done) * share

    def batches_left(self, steps_left: int) -> int:
        """
        Return the number of mini-batches to train.

        Parameters
        ----------
        steps_left : int
            Number of steps that are left.

        Returns
        -------
        int
            0 if it is not known.
        """
        return steps_left * self._step + self._final

    def steps_left(self, done: int, reduction: float, pruned: int, prunable: int) -> int:
        """
        Return how many steps will lead to the target.

        Parameters
        ----------
        done : int
            Number of steps that were made.
        reduction : float
            Reduction that is reached.
        pruned, prunable : int
            Number of units that are removed, and of those that are left.

        Returns
        -------
        int
            At least 1.
        """
        settings = self._settings
        if settings.max_to_prune is not None:
            wanted = settings.target * prunable
            if pruned and reduction:
                wanted = (settings.target / reduction - 1.0) * pruned
            return max(1, math.ceil(wanted / settings.max_to_prune))
        steps = 0
        while reduction < settings.target and steps < _MOST_STEPS:
            aim = float(settings.schedule.next_reduction(done + steps, reduction, settings.target))
            if not aim > reduction:  # the loop will tell of it
                break
            reduction, steps = aim, steps + 1
        return max(1, steps)

"""How fast to prune: small estimators that name the reduction of each iteration."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from sklearn.base import BaseEstimator, clone

from prunekit._validation import check_choice, check_integer, check_interval
from prunekit.exceptions import ParameterTypeError

__all__ = [
    "CubicSchedule",
    "FixedCountSchedule",
    "GeometricSchedule",
    "LinearSchedule",
    "MilestoneSchedule",
    "OneShotSchedule",
    "Schedule",
]

_ROUNDING = 1e-9
"""Two reductions that are closer are one: 3 * 0.1 is 0.30000000000000004."""


@runtime_checkable
class Schedule(Protocol):
    """
    What `TaylorPruner` asks of its ``step`` parameter when it is no number.

    A schedule may have an attribute ``max_to_prune`` as well, the largest number of units that one iteration removes.
    """

    def next_reduction(self, iteration: int, reduction: float, target: float) -> float:
        """
        Return the reduction to aim at next.

        Parameters
        ----------
        iteration : int
            Number of iterations done so far.
        reduction : float
            Reduction reached so far, below ``target``.
        target : float
            Reduction at which pruning ends.

        Returns
        -------
        float
            A number in ``(reduction, target]``.
        """


class LinearSchedule(BaseEstimator):
    """
    Prune in equal steps.

    What is left to the target is divided into the smallest number of equal steps that are not larger than ``step``.
    So no last step is tiny, and where one removed unit overshoots an aim, the later steps shrink.

    Parameters
    ----------
    step : float, default=0.05
        Largest reduction per iteration, in (0, 1]. With 1 everything is removed at once.

    Examples
    --------
    >>> from prunekit.schedules import LinearSchedule
    >>> LinearSchedule(0.2).next_reduction(iteration=0, reduction=0.0, target=0.5)
    0.166...
    """

    def __init__(self, step: float = 0.05) -> None:
        self.step = step

    def next_reduction(self, iteration: int, reduction: float, target: float) -> float:
        """
        Return the reduction to aim at next.

        Parameters
        ----------
        iteration : int
            Number of iterations done so far; not used.
        reduction : float
            Reduction reached so far, below ``target``.
        target : float
            Reduction at which pruning ends.

        Returns
        -------
        float
            A number in ``(reduction, target]``.

        Raises
        ------
        ParameterError
            If ``step`` is outside of (0, 1].
        """
        step = check_interval("step", self.step, type(self).__name__, 0.0, 1.0, closed="right")
        left = target - reduction
        num_steps = math.ceil(left / step - 1e-9)  # 0.6 / 0.05 is 12.000000000000002
        return target if num_steps <= 1 else reduction + left / num_steps


class CubicSchedule(BaseEstimator):
    """
    Prune much in the first iterations and ever less towards the end (Zhu and Gupta 2017, equation 1).

    Parameters
    ----------
    n_iterations : int, default=10
        Number of iterations; fewer where one removed unit overshoots the next aim.
    exponent : float, default=3.0
        Of the distance to the target, positive; 3 in the paper, 1 gives equal steps.

    References
    ----------
    .. [1] M. Zhu, S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression",
       arXiv:1710.01878.

    Examples
    --------
    >>> from prunekit.schedules import CubicSchedule
    >>> CubicSchedule(n_iterations=4).next_reduction(iteration=1, reduction=0.4625, target=0.8)
    0.7...
    """

    def __init__(self, n_iterations: int = 10, exponent: float = 3.0) -> None:
        self.n_iterations = n_iterations
        self.exponent = exponent

    def next_reduction(self, iteration: int, reduction: float, target: float) -> float:
        """
        Return the reduction to aim at next.

        Parameters
        ----------
        iteration : int
            Number of iterations done so far.
        reduction : float
            Reduction reached so far, below ``target``.
        target : float
            Reduction at which pruning ends.

        Returns
        -------
        float
            A number in ``(reduction, target]``.

        Raises
        ------
        ParameterError
            If a parameter is out of range.
        ParameterTypeError
            If a parameter has the wrong type.
        """
        owner = type(self).__name__
        number = check_integer("n_iterations", self.n_iterations, owner, 1)
        exponent = check_interval("exponent", self.exponent, owner, 0.0, math.inf, closed="neither")
        for done in range(iteration + 1, number):
            aim: float = target * (1.0 - (1.0 - done / number) ** exponent)
            if reduction < aim < target:
                return aim
        return target


class GeometricSchedule(BaseEstimator):
    """
    Remove the same fraction of what is left in every iteration.

    Parameters
    ----------
    n_iterations : int, default=10
        Number of iterations. Where one removed unit overshoots an aim, the later fractions shrink.

    Examples
    --------
    >>> from prunekit.schedules import GeometricSchedule
    >>> GeometricSchedule(n_iterations=3).next_reduction(iteration=0, reduction=0.0, target=0.875)
    0.5
    """

    def __init__(self, n_iterations: int = 10) -> None:
        self.n_iterations = n_iterations

    def next_reduction(self, iteration: int, reduction: float, target: float) -> float:
        """
        Return the reduction to aim at next.

        Parameters
        ----------
        iteration : int
            Number of iterations done so far.
        reduction : float
            Reduction reached so far, below ``target``.
        target : float
            Reduction at which pruning ends, below 1.

        Returns
        -------
        float
            A number in ``(reduction, target]``.

        Raises
        ------
        ParameterError
            If ``n_iterations`` is below 1.
        ParameterTypeError
            If it is no integer.
        """
        left = check_integer("n_iterations", self.n_iterations, type(self).__name__, 1) - iteration
        if left <= 1:
            return target
        aim = 1.0 - (1.0 - reduction) * ((1.0 - target) / (1.0 - reduction)) ** (1.0 / left)
        return aim if reduction < aim < target else target


class OneShotSchedule(BaseEstimator):
    """Remove everything in one iteration."""

    def next_reduction(self, iteration: int, reduction: float, target: float) -> float:
        """
        Return the target.

        Parameters
        ----------
        iteration : int
            Number of iterations done so far; not used.
        reduction : float
            Reduction reached so far; not used.
        target : float
            Reduction at which pruning ends.

        Returns
        -------
        float
            The target.
        """
        return target


class FixedCountSchedule(OneShotSchedule):
    """
    Remove the same number of units in every iteration, as MATLAB's ``MaxToPrune`` does.

    Every iteration aims at the target, and the number of units ends it before.

    Parameters
    ----------
    max_to_prune : int, default=8
        Units an iteration; fewer in the last one.
    """

    def __init__(self, max_to_prune: int = 8) -> None:
        self.max_to_prune = max_to_prune


class MilestoneSchedule(BaseEstimator):
    """
    Visit the same reductions on the way to every target.

    So a fit with a larger target goes the way of one with a smaller target first, and can share it: see the ``memory``
    of `TaylorPruner`.

    Parameters
    ----------
    milestones : float or sequence of float, default=0.1
        The reductions, in (0, 1); a number stands for its multiples. The target is the last one. One that an overshoot
        has passed already is left out.

    Examples
    --------
    >>> from prunekit.schedules import MilestoneSchedule
    >>> MilestoneSchedule([0.5, 0.75]).next_reduction(iteration=1, reduction=0.51, target=0.9)
    0.75
    """

    def __init__(self, milestones: float | Sequence[float] = 0.1) -> None:
        self.milestones = milestones

    def next_reduction(self, iteration: int, reduction: float, target: float) -> float:
        """
        Return the next milestone.

        Parameters
        ----------
        iteration : int
            Number of iterations done so far; not used.
        reduction : float
            Reduction reached so far, below ``target``.
        target : float
            Reduction at which pruning ends.

        Returns
        -------
        float
            A number in ``(reduction, target]``.

        Raises
        ------
        ParameterError
            If a milestone is outside of (0, 1).
        ParameterTypeError
            If it is no number.
        """
        owner = type(self).__name__
        milestones = self.milestones
        if isinstance(milestones, Sequence | np.ndarray) and not isinstance(milestones, str):
            points = [check_interval("milestones", point, owner, 0.0, 1.0, closed="neither") for point in milestones]
        else:
            every = check_interval("milestones", milestones, owner, 0.0, 1.0, closed="neither")
            points = [(math.floor(reduction / every) + number) * every for number in (1, 2)]
        return min((point for point in points if reduction + _ROUNDING < point < target - _ROUNDING), default=target)


class CallableSchedule(BaseEstimator):
    """
    Ask a function.

    Parameters
    ----------
    function : callable
        Takes the arguments of `next_reduction` by position and returns the reduction.
    """

    def __init__(self, function: Callable[[int, float, float], float]) -> None:
        self.function = function

    def next_reduction(self, iteration: int, reduction: float, target: float) -> float:
        """
        Return what the function returns.

        Parameters
        ----------
        iteration : int
            Number of iterations done so far.
        reduction : float
            Reduction reached so far, below ``target``.
        target : float
            Reduction at which pruning ends.

        Returns
        -------
        float
            To be in ``(reduction, target]``; whoever asks checks it.
        """
        return self.function(iteration, reduction, target)


SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "linear": LinearSchedule,
    "cubic": CubicSchedule,
    "geometric": GeometricSchedule,
    "one_shot": OneShotSchedule,
    "milestones": MilestoneSchedule,
}


def max_to_prune(schedule: Schedule) -> int | None:
    """
    Return the largest number of units that an iteration removes.

    Parameters
    ----------
    schedule : Schedule
        Any schedule.

    Returns
    -------
    int or None
        None if it sets no such limit.

    Raises
    ------
    ParameterError
        If the limit is below 1.
    ParameterTypeError
        If it is no integer.
    """
    limit = getattr(schedule, "max_to_prune", None)
    return None if limit is None else check_integer("max_to_prune", limit, type(schedule).__name__, 1)


def as_schedule(step: object, owner: str) -> Schedule:
    """
    Return the schedule that a ``step`` parameter stands for.

    Parameters
    ----------
    step : float, str, Schedule or callable
        A number stands for `LinearSchedule`, a name for one of `SCHEDULES`; a schedule is cloned.
    owner : str
        Class that the parameter belongs to, for the message.

    Returns
    -------
    Schedule
        The schedule.

    Raises
    ------
    ParameterTypeError
        If ``step`` is none of these.
    ParameterError
        If it is a number outside of (0, 1], or an unknown name.
    """
    if isinstance(step, Schedule) and not isinstance(step, type):
        copied: Schedule = clone(step, safe=False)
        return copied
    if isinstance(step, str):
        return SCHEDULES[check_choice("step", step, owner, SCHEDULES)]()
    if callable(step) and not isinstance(step, type):
        return CallableSchedule(step)
    try:
        return LinearSchedule(check_interval("step", step, owner, 0.0, 1.0, closed="right"))
    except ParameterTypeError as exc:
        raise ParameterTypeError(
            f"The 'step' parameter of {owner} must be a number in (0, 1], one of {', '.join(map(repr, SCHEDULES))}, "
            "a schedule such as CubicSchedule(n_iterations=10), with a method next_reduction(iteration, reduction, "
            f"target), or a function of these arguments. Got {step!r} instead."
        ) from exc

"""How fast to prune: small estimators that name the reduction of each iteration."""

import math
from typing import Protocol, runtime_checkable

from sklearn.base import BaseEstimator, clone

from prunekit._validation import check_interval
from prunekit.exceptions import ParameterTypeError

__all__ = ["LinearSchedule", "Schedule"]


@runtime_checkable
class Schedule(Protocol):
    """What `TaylorPruner` asks of its ``step`` parameter when it is no number."""

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


def as_schedule(step: object, owner: str) -> Schedule:
    """
    Return the schedule that a ``step`` parameter stands for.

    Parameters
    ----------
    step : float or Schedule
        A number stands for `LinearSchedule`; a schedule is cloned.
    owner : str
        Class that the parameter belongs to, for the message.

    Returns
    -------
    Schedule
        The schedule.

    Raises
    ------
    ParameterTypeError
        If ``step`` is neither.
    ParameterError
        If it is a number outside of (0, 1].
    """
    if isinstance(step, Schedule) and not isinstance(step, type):
        copied: Schedule = clone(step, safe=False)
        return copied
    try:
        return LinearSchedule(check_interval("step", step, owner, 0.0, 1.0, closed="right"))
    except ParameterTypeError as exc:
        raise ParameterTypeError(
            f"The 'step' parameter of {owner} must be a number in (0, 1] or a schedule, such as LinearSchedule(0.05), "
            f"with a method next_reduction(iteration, reduction, target). Got {step!r} instead."
        ) from exc

import math

import pytest
from sklearn.base import clone

from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.schedules import LinearSchedule, Schedule, as_schedule


def walk(schedule, target, overshoot=0.0):
    """Return the reductions that a schedule asks for if each is overshot."""
    aims, reached = [], 0.0
    while reached < target:
        aims.append(schedule.next_reduction(len(aims), reached, target))
        reached = aims[-1] + overshoot
    return aims


@pytest.mark.parametrize(("step", "target", "expected"), [(0.1, 0.3, [0.1, 0.2, 0.3]), (0.4, 0.5, [0.25, 0.5])])
def test_steps_are_equal_and_end_exactly_at_the_target(step, target, expected):
    assert walk(LinearSchedule(step), target) == pytest.approx(expected)


def test_rounding_makes_no_extra_step():
    assert (0.8 - 0.5) / 0.1 > 3
    assert LinearSchedule(0.1).next_reduction(0, reduction=0.5, target=0.8) == pytest.approx(0.6)


def test_a_step_of_one_prunes_at_once():
    assert walk(LinearSchedule(1.0), 0.9) == [0.9]


def test_overshooting_makes_later_steps_smaller_never_larger():
    aims = walk(LinearSchedule(0.1), 0.5, overshoot=0.03)
    steps = [after - before for before, after in zip([0.0, *(aim + 0.03 for aim in aims)], aims, strict=False)]
    assert max(steps) <= 0.1 + 1e-12
    assert aims[-1] == 0.5


def test_linear_schedule_is_an_estimator():
    schedule = LinearSchedule(0.2)
    assert schedule.get_params() == {"step": 0.2}
    assert clone(schedule).set_params(step=0.5).step == 0.5
    assert isinstance(schedule, Schedule)


@pytest.mark.parametrize("step", [0.0, 1.5, math.nan])
def test_a_wrong_step_is_named(step):
    with pytest.raises(ParameterError, match=r"The 'step' parameter of LinearSchedule must be a number in \(0, 1\]"):
        LinearSchedule(step).next_reduction(0, 0.0, 0.5)


def test_a_number_stands_for_a_linear_schedule():
    schedule = as_schedule(0.25, "TaylorPruner")
    assert isinstance(schedule, LinearSchedule)
    assert schedule.step == 0.25


def test_a_schedule_is_copied():
    schedule = LinearSchedule(0.25)
    copied = as_schedule(schedule, "TaylorPruner")
    assert copied is not schedule
    assert copied.step == 0.25


def test_anything_with_the_method_is_a_schedule():
    class AtOnce:
        def next_reduction(self, iteration, reduction, target):
            return target

    assert as_schedule(AtOnce(), "TaylorPruner").next_reduction(0, 0.0, 0.7) == 0.7


@pytest.mark.parametrize("step", ["fast", None, LinearSchedule, True])
def test_what_is_no_step_is_refused(step):
    with pytest.raises(ParameterTypeError, match=r"The 'step' parameter of TaylorPruner must be a number .* Got"):
        as_schedule(step, "TaylorPruner")


def test_a_step_out_of_range_is_refused():
    with pytest.raises(ParameterError, match="'step' parameter of TaylorPruner"):
        as_schedule(2.0, "TaylorPruner")

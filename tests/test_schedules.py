import itertools
import math

import pytest
from sklearn.base import clone

from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.schedules import (
    SCHEDULES,
    CubicSchedule,
    FixedCountSchedule,
    GeometricSchedule,
    LinearSchedule,
    MilestoneSchedule,
    OneShotSchedule,
    Schedule,
    as_schedule,
    max_to_prune,
)


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


def test_cubic_steps_are_those_of_the_paper():
    """s_t = s_f + (s_i - s_f) (1 - t / n)^3 of Zhu and Gupta with s_i = 0."""
    expected = [0.8 * (1 - (1 - t / 5) ** 3) for t in range(1, 6)]
    assert walk(CubicSchedule(n_iterations=5), 0.8) == pytest.approx(expected)
    assert walk(CubicSchedule(n_iterations=4, exponent=1), 0.8) == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_cubic_steps_skip_what_was_overshot():
    schedule = CubicSchedule(n_iterations=4)
    assert schedule.next_reduction(1, reduction=0.75, target=0.8) == pytest.approx(0.8 * (1 - 0.25**3))
    assert schedule.next_reduction(1, reduction=0.799, target=0.8) == 0.8


def test_geometric_steps_take_the_same_share_of_what_is_left():
    aims = walk(GeometricSchedule(n_iterations=4), 0.9)
    left = [1.0, *(1 - aim for aim in aims)]
    assert [after / before for before, after in itertools.pairwise(left)] == pytest.approx([0.1**0.25] * 4)
    assert aims[-1] == 0.9
    overshot = walk(GeometricSchedule(n_iterations=4), 0.9, overshoot=0.05)
    assert len(overshot) <= 4
    assert overshot[-1] == 0.9


def test_milestones_are_the_same_on_the_way_to_every_target():
    schedule = MilestoneSchedule(0.1)
    assert walk(schedule, 0.35) == pytest.approx([0.1, 0.2, 0.3, 0.35])
    assert walk(schedule, 0.6) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert walk(MilestoneSchedule([0.5, 0.25]), 0.9) == [0.25, 0.5, 0.9]
    assert walk(MilestoneSchedule([0.5]), 0.4) == [0.4]


def test_milestones_that_were_overshot_are_left_out():
    assert walk(MilestoneSchedule([0.1, 0.12, 0.3]), 0.5, overshoot=0.03) == [0.1, 0.3, 0.5]
    assert walk(MilestoneSchedule(0.1), 0.3, overshoot=0.03) == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("milestones", "error"),
    [(0.0, ParameterError), ([0.2, 1.0], ParameterError), ("0.1", ParameterTypeError), ([None], ParameterTypeError)],
)
def test_wrong_milestones_are_named(milestones, error):
    with pytest.raises(error, match=r"'milestones' parameter of MilestoneSchedule must be a number in \(0, 1\)"):
        MilestoneSchedule(milestones).next_reduction(0, 0.0, 0.5)


def test_one_step():
    assert walk(OneShotSchedule(), 0.7) == [0.7]


def test_a_fixed_count():
    schedule = FixedCountSchedule(5)
    assert schedule.next_reduction(3, 0.2, 0.7) == 0.7
    assert max_to_prune(schedule) == 5
    assert max_to_prune(LinearSchedule()) is None
    with pytest.raises(ParameterError, match="The 'max_to_prune' parameter of FixedCountSchedule"):
        max_to_prune(FixedCountSchedule(0))


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_have_names(name):
    schedule = as_schedule(name, "TaylorPruner")
    assert isinstance(schedule, Schedule)
    assert clone(schedule).get_params() == schedule.get_params()
    aims = walk(schedule, 0.5)
    assert aims == sorted(set(aims))
    assert aims[-1] == 0.5


def test_an_unknown_name_is_refused():
    with pytest.raises(ParameterError, match="The 'step' parameter of TaylorPruner must be one of 'linear', 'cubic'"):
        as_schedule("fast", "TaylorPruner")


def test_a_function_is_a_schedule():
    schedule = as_schedule(lambda iteration, reduction, target: min(reduction + 0.1 * (iteration + 1), target), "T")
    assert walk(schedule, 0.5) == pytest.approx([0.1, 0.3, 0.5])


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        (CubicSchedule(n_iterations=0), "n_iterations"),
        (CubicSchedule(exponent=0.0), "exponent"),
        (CubicSchedule(exponent=math.nan), "exponent"),
        (GeometricSchedule(n_iterations=0), "n_iterations"),
    ],
)
def test_wrong_parameters_are_named(schedule, name):
    with pytest.raises(ParameterError, match=f"The '{name}' parameter of {type(schedule).__name__} must be"):
        schedule.next_reduction(0, 0.0, 0.5)


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


@pytest.mark.parametrize("step", [None, LinearSchedule, True])
def test_what_is_no_step_is_refused(step):
    with pytest.raises(ParameterTypeError, match=r"The 'step' parameter of TaylorPruner must be a number .* Got"):
        as_schedule(step, "TaylorPruner")


def test_a_step_out_of_range_is_refused():
    with pytest.raises(ParameterError, match="'step' parameter of TaylorPruner"):
        as_schedule(2.0, "TaylorPruner")

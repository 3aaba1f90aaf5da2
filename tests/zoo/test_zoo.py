"""Every network against the invariants: right or frozen with a reason, never wrong."""

import pytest
from tests.nets import randomise
from tests.zoo import convolutional
from tests.zoo.case import Case
from tests.zoo.check import assert_equal_outputs, evaluated, pruned

CASES = [*convolutional.CASES]

zoo = pytest.mark.parametrize("case", CASES, ids=str)


@zoo
def test_units(case: Case) -> None:
    network = pruned(randomise(case.build()), case.inputs(), 0.0)
    assert network.num_prunables == case.units

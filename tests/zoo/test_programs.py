"""Networks that Hypothesis draws: whatever the operations, what is prunable can be compacted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunekit import PrunableNetwork
from prunekit.exceptions import NothingToPruneError
from tests.nets import randomise
from tests.zoo.check import Given, assert_same_outputs, remove
from tests.zoo.programs import OPERATIONS, Program, Step

pytestmark = pytest.mark.slow

steps = st.lists(
    st.tuples(st.sampled_from(list(OPERATIONS)), st.integers(0, 3), st.integers(0, 3), st.integers(0, 11)),
    min_size=1,
    max_size=7,
)


@given(steps=steps, seed=st.integers(0, 1000))
def test_masked_equals_compacted(steps: list[Step], seed: int) -> None:
    _check(steps, seed)


def _check(steps: list[Step], seed: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = randomise(Program(steps)).double()
    inputs = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    try:
        network = PrunableNetwork(module, inputs, criterion=Given())
    except NothingToPruneError:
        return  # refused, not wrong
    start = network.snapshot()
    for fraction in (0.2, 0.5, 0.95):
        network.restore(start)
        remove(network, fraction, seed)
        assert_same_outputs(network, network.compact(verify=False), inputs)


# Programs that went wrong once, as Hypothesis or a longer search shrank them.
FOUND: list[list[Step]] = [
    [("shuffle", 0, 0, 2), ("glu", 0, 2, 5)],
    [("channel_products", 0, 3, 1)],
    [("channel_products", 3, 1, 2)],
    [("shuffle", 0, 2, 8), ("unshuffle", 3, 2, 7), ("chunk", 1, 1, 4)],
    [("glu", 1, 3, 8), ("batch_norm", 0, 1, 10), ("pixel_shuffle", 0, 2, 1), ("linear_last", 3, 1, 7)],
    [("shuffle", 1, 3, 10), ("slice", 2, 2, 1), ("conv", 1, 2, 5), ("flip", 1, 0, 11), ("gate", 2, 0, 1)],
    [("chunk", 2, 0, 5), ("slice", 1, 3, 10), ("slice", 1, 0, 10), ("conv", 2, 0, 7)],
    [("pixel_shuffle", 0, 3, 11), ("linear_last", 0, 0, 6), ("unshuffle", 2, 0, 0), ("channel_products", 0, 3, 8)],
    [("channel_products", 2, 1, 10), ("linear_last", 3, 0, 10), ("interleave", 0, 2, 3), ("cat", 1, 0, 0),
     ("slice", 1, 2, 3)],
]  # fmt: skip


@pytest.mark.parametrize("found", FOUND, ids=lambda steps: "-".join(step[0] for step in steps))
def test_programs_that_went_wrong_once(found: list[Step]) -> None:
    for seed in range(4):
        _check(found, seed)

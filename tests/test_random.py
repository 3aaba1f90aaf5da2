import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from prunekit._random import preserve_rng, seeded_rng


def draw():
    """Draw a number from each of the global generators."""
    return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


def test_states_are_given_back():
    before = states()
    with preserve_rng():
        draw()
    assert states() == before


@pytest.mark.parametrize("context", [preserve_rng, lambda: seeded_rng(3)])
def test_states_are_given_back_after_an_exception(context):
    before = states()
    with pytest.raises(ZeroDivisionError), context():
        1 / int(draw()[0])
    assert states() == before


def test_a_seed_seeds_every_generator_inside_only():
    before = states()
    with seeded_rng(3):
        first = draw()
    draw()
    with seeded_rng(3):
        second = draw()
    with seeded_rng(4):
        third = draw()
    assert first == second
    assert all(one != other for one, other in zip(first, third, strict=True))
    assert states() != before  # by the draw between


def test_without_a_seed_the_global_states_go_on():
    before = states()
    with seeded_rng(None):
        draw()
    assert states() != before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_a_cuda_device_is_seeded_and_given_back():
    device = torch.device("cuda", 0)
    before = torch.cuda.get_rng_state(device)
    with seeded_rng(3, device):
        first = torch.rand((), device=device).item()
    with seeded_rng(3, device):
        second = torch.rand((), device=device).item()
    assert first == second
    assert torch.equal(torch.cuda.get_rng_state(device), before)


def test_threads_take_turns():
    """Each draws what it would draw alone, however long the others take."""

    def drawn(seed):
        with seeded_rng(seed):
            first = draw()
            time.sleep(0.01)
            return first, draw()

    alone = [drawn(seed) for seed in range(8)]
    before = states()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(drawn, range(8))) == alone
    assert states() == before

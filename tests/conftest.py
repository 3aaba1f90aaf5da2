"""Settings of all tests."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from skorch import NeuralNetClassifier

from tests.nets_skorch import make_classifier, make_table

settings.register_profile(
    "ci",
    max_examples=50,
    deadline=None,
    derandomize=True,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("nightly", settings.get_profile("ci"), max_examples=500, derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Compute with one thread: small layers gain nothing from more, and results do not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be Ctrl-C, also where a shell has started the tests in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def table() -> tuple[NDArray[Any], NDArray[Any]]:
    """A classification problem."""
    return make_table()


@pytest.fixture(scope="module")
def dense(table: tuple[NDArray[Any], NDArray[Any]]) -> NeuralNetClassifier:
    """A trained net that no test may change."""
    torch.manual_seed(0)
    return make_classifier().fit(*table)

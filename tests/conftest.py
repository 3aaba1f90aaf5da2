"""Settings of all tests."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> Iterator[None]:
    """Compute with two threads at most: the networks are small, and results shall not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)

"""Random states that are as before when the work is done."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch

_one_thread_at_a_time = threading.RLock()


@contextmanager
def preserve_rng(device: torch.device | None = None) -> Iterator[None]:
    """
    Give Python, NumPy and PyTorch their random states back at the end, also after an exception.

    The states are those of the process: other threads that ask for them wait, so that seeded fits in several threads
    give what they give one after the other. Do not wait for such a thread inside of the block.

    Parameters
    ----------
    device : torch.device, optional
        Device that computes; its generator is kept as well if it is a CUDA device.

    Yields
    ------
    None
        Control to the block.
    """
    with _one_thread_at_a_time:
        python_state = random.getstate()
        numpy_state = np.random.get_state()  # noqa: NPY002 - the global state is what is kept
        try:
            with torch.random.fork_rng(devices=_cuda_indices(device), device_type="cuda"):
                yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


@contextmanager
def seeded_rng(seed: int | None, device: torch.device | None = None) -> Iterator[None]:
    """
    Seed Python, NumPy and PyTorch inside of the block only; do nothing if there is no seed.

    Only the generators of the CPU and of ``device`` are seeded, so that no other device is woken up.

    Parameters
    ----------
    seed : int or None
        The seed. None: random numbers come from the global states, which go on.
    device : torch.device, optional
        Device that computes.

    Yields
    ------
    None
        Control to the block.
    """
    if seed is None:
        yield
        return
    with preserve_rng(device):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - networks and data sets of users draw from it
        torch.default_generator.manual_seed(seed)
        for index in _cuda_indices(device):
            with torch.cuda.device(index):
                torch.cuda.manual_seed(seed)
        yield


def rng_state(device: torch.device | None = None) -> dict[str, Any]:
    """
    Return the global random states.

    Parameters
    ----------
    device : torch.device, optional
        Device that computes; its generator is among them if it is a CUDA device.

    Returns
    -------
    dict
        For `set_rng_state`: numbers, tuples, arrays and tensors.
    """
    return {
        "python": random.getstate(),
        "numpy": tuple(np.random.get_state()),  # noqa: NPY002 - the global state is what is kept
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(index) for index in _cuda_indices(device)],
    }


def set_rng_state(state: dict[str, Any], device: torch.device | None = None) -> None:
    """
    Set the global random states.

    Parameters
    ----------
    state : dict
        What `rng_state` returned.
    device : torch.device, optional
        Device that computes.
    """
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002 - the global state is what was kept
    torch.set_rng_state(state["torch"])
    for index, own in zip(_cuda_indices(device), state["cuda"], strict=False):
        torch.cuda.set_rng_state(own, index)


def _cuda_indices(device: torch.device | None) -> list[int]:
    """List the index of ``device`` if it is a CUDA device."""
    if device is None or device.type != "cuda" or not torch.cuda.is_available():
        return []
    index = cast("int | None", device.index)  # torch's annotation leaves the None out
    return [torch.cuda.current_device() if index is None else index]

"""Measured time of a forward pass."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from prunekit.tracing import Inputs, eval_mode, named_tensors


def measure_latency_ms(
    modules: Mapping[str, nn.Module], inputs: Any, *, repeats: int = 30, warmup: int = 5
) -> pd.DataFrame:
    """
    Measure the time of a forward pass of several networks in turn.

    Parameters
    ----------
    modules : Mapping of str to Module
        Networks by name. They run in eval mode without gradients; their modes are as before afterwards.
    inputs : Tensor, tuple or Mapping
        Inputs that every network takes.
    repeats : int, default=30
        Number of timed passes of each network. The networks take turns, so a slow moment of the machine hits them all.
    warmup : int, default=5
        Number of passes of each network before the clock starts.

    Returns
    -------
    DataFrame
        One row a network with ``median_ms``, the quartiles ``low_ms`` and ``high_ms``, and their distance ``iqr_ms``.
    """
    example = Inputs.of(inputs)
    times: dict[str, list[float]] = {name: [] for name in modules}
    with ExitStack() as stack, torch.inference_mode():
        for module in modules.values():
            stack.enter_context(eval_mode(module))
        for number in range(warmup + repeats):
            for name, module in modules.items():
                elapsed = _time_ms(module, example)
                if number >= warmup:
                    times[name].append(elapsed)
    return pd.DataFrame.from_dict({name: _summary(values) for name, values in times.items()}, orient="index")


def latency_ratio(module: nn.Module, reference: nn.Module, inputs: Any, *, max_seconds: float = 2.0) -> float:
    """
    Measure how long a network takes in relation to another one.

    Parameters
    ----------
    module, reference : Module
        The networks, which run in turns in eval mode without gradients; their modes are as before afterwards.
    inputs : Tensor, tuple or Mapping
        Inputs that both take.
    max_seconds : float, default=2.0
        When to end, though the result is not known to half a percent yet. At least 9 pairs of passes are timed, and for
        a quarter of that time, since other work on a machine comes in bursts.

    Returns
    -------
    float
        Median of the ratio of two passes that follow each other; a slow moment of the machine mostly hits both.

    Notes
    -----
    The standard error of a median of n values is about 1.25 standard deviations over the root of n, and their standard
    deviation about 0.74 distances of the quartiles.
    """
    example = Inputs.of(inputs)
    ratios: list[float] = []
    seconds = 0.0
    with eval_mode(module), eval_mode(reference), torch.inference_mode():
        for _ in range(2):
            _time_ms(reference, example), _time_ms(module, example)
        start = time.perf_counter()
        while len(ratios) < 9 or seconds < max_seconds:
            expected = _time_ms(reference, example)
            ratios.append(_time_ms(module, example) / max(expected, 1e-6))
            seconds = time.perf_counter() - start
            if (
                len(ratios) % 9 == 0
                and seconds >= max_seconds / 4
                and _error_of_median(ratios) < 0.005 * np.median(ratios)
            ):
                break
    return float(np.median(ratios))


def _error_of_median(values: Sequence[float]) -> float:
    low, high = np.percentile(values, [25, 75])
    return float(0.93 * (high - low) / np.sqrt(len(values)))


def module_latency_us(module: nn.Module, inputs: Any, paths: Iterable[str], *, repeats: int = 5) -> dict[str, float]:
    """
    Measure the time that parts of a network take in a forward pass.

    Parameters
    ----------
    module : Module
        Network, which runs in eval mode without gradients; its mode is as before afterwards.
    inputs : Tensor, tuple or Mapping
        Its inputs.
    paths : iterable of str
        Dotted paths of the parts; ``""`` is the network itself.
    repeats : int, default=5
        Number of timed passes, after one to warm up.

    Returns
    -------
    dict of str to float
        Microseconds by path: the median over passes of all calls together, without what others of the parts took
        inside; 0 for parts that do not run or do not exist.
    """
    example = Inputs.of(inputs)
    times: dict[str, list[float]] = {path: [] for path in paths}
    running: list[str] = []
    now = _clock(module)
    since = 0.0

    def charge() -> None:
        nonlocal since
        before, since = since, now()
        if running:
            times[running[-1]][-1] += 1e6 * (since - before)

    def enter(path: str) -> None:
        charge()
        running.append(path)

    def leave(path: str) -> None:
        charge()
        while running and running.pop() != path:  # a part inside raised an error that somebody caught
            pass

    with ExitStack() as stack, eval_mode(module), torch.inference_mode():
        found = dict(module.named_modules(remove_duplicate=False))
        for path in [path for path in times if path in found]:
            part = found[path]
            stack.callback(part.register_forward_pre_hook(lambda *_, path=path: enter(path)).remove)
            stack.callback(part.register_forward_hook(lambda *_, path=path: leave(path)).remove)
        for _ in range(repeats + 1):
            running.clear()
            for own in times.values():
                own.append(0.0)
            module(*example.args, **example.kwargs)
    return {path: float(np.median(own[1:])) for path, own in times.items()}


def _time_ms(module: nn.Module, example: Inputs) -> float:
    now = _clock(module)
    start = now()
    module(*example.args, **example.kwargs)
    return (now() - start) * 1e3


def _clock(module: nn.Module) -> Callable[[], float]:
    """Return a clock, in seconds, that waits for the device of a network."""
    if not any(tensor.is_cuda for tensor in named_tensors(module).values()):
        return time.perf_counter

    def now() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return now


def _summary(values: Sequence[float]) -> dict[str, float]:
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"median_ms": float(median), "low_ms": float(low), "high_ms": float(high), "iqr_ms": float(high - low)}


def count_params(module: nn.Module) -> int:
    """
    Return the number of parameters of a network.

    Parameters
    ----------
    module : Module
        The network.

    Returns
    -------
    int
        Number of elements of all parameters; a shared one counts once.
    """
    return sum(parameter.numel() for parameter in module.parameters())

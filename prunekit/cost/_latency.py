"""Measured time of a forward pass."""

import math
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
        One row a network with ``median_ms`` and ``iqr_ms``, the distance of the quartiles.
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
        Dotted paths of the parts.
    repeats : int, default=5
        Number of timed passes, after one to warm up.

    Returns
    -------
    dict of str to float
        Microseconds by path: the median over passes of all calls together; 0 for parts that do not run.
    """
    example = Inputs.of(inputs)
    times: dict[str, list[float]] = {path: [] for path in paths}
    starts: dict[str, float] = {}
    now = _clock(module)

    def enter(path: str) -> None:
        starts[path] = now()

    def leave(path: str) -> None:
        times[path][-1] += 1e6 * (now() - starts.pop(path, math.inf))

    with ExitStack() as stack, eval_mode(module), torch.inference_mode():
        for path in times:
            part = module.get_submodule(path)
            stack.callback(part.register_forward_pre_hook(lambda *_, path=path: enter(path)).remove)
            stack.callback(part.register_forward_hook(lambda *_, path=path: leave(path)).remove)
        for _ in range(repeats + 1):
            for own in times.values():
                own.append(0.0)
            module(*example.args, **example.kwargs)
    return {path: max(0.0, float(np.median(own[1:]))) for path, own in times.items()}


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
    return {"median_ms": float(median), "iqr_ms": float(high - low)}


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

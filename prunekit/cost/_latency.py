"""Measured time of a forward pass."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from prunekit.tracing import Inputs, named_tensors


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
    modes = [(part, part.training) for module in modules.values() for part in module.modules()]
    try:
        for module in modules.values():
            module.eval()
        with torch.inference_mode():
            for number in range(warmup + repeats):
                for name, module in modules.items():
                    elapsed = _time_ms(module, example)
                    if number >= warmup:
                        times[name].append(elapsed)
    finally:
        for part, training in modes:
            part.training = training
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
    cuda = any(tensor.is_cuda for tensor in named_tensors(module).values())

    def now() -> float:
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def enter(path: str) -> None:
        starts[path] = now()

    def leave(path: str) -> None:
        times[path][-1] += 1e6 * (now() - starts.pop(path, math.inf))

    handles = []
    modes = [(part, part.training) for part in module.modules()]
    try:
        for path in times:
            part = module.get_submodule(path)
            handles.append(part.register_forward_pre_hook(lambda *_, path=path: enter(path)))
            handles.append(part.register_forward_hook(lambda *_, path=path: leave(path)))
        module.eval()
        with torch.inference_mode():
            for _ in range(repeats + 1):
                for own in times.values():
                    own.append(0.0)
                module(*example.args, **example.kwargs)
    finally:
        for handle in handles:
            handle.remove()
        for part, training in modes:
            part.training = training
    return {path: max(0.0, float(np.median(own[1:]))) for path, own in times.items()}


def _time_ms(module: nn.Module, example: Inputs) -> float:
    cuda = any(tensor.is_cuda for tensor in named_tensors(module).values())
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    module(*example.args, **example.kwargs)
    if cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3


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

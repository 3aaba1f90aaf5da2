"""What both libraries' measurements share: the row of a network, its calibration, and the comparison of outputs."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunekit.tracing import Inputs, duplicate_inputs, tensors_of

TOLERANCE = 1e-5
"""Largest difference, relative to the largest output, between two networks that compute the same."""


@dataclass
class Row:
    """
    A network and what a library made of it; empty fields do not apply.

    Parameters
    ----------
    list, network, library : str
        What was measured.
    verdict : str
        ``right``, ``refused``, ``wrong``, ``shape``, ``error`` (``crash`` where it is not ours) or ``timeout``.
    n_units, n_filters, n_frozen : int
        Prunable units, filters of all layers, and those of them that cannot be removed.
    seconds : float
        Time for tracing, finding all units and proving them, on one thread.
    difference, train_difference : float
        Largest difference between what the masked and the smaller network return, relative to the largest output.
    params_reduction, macs_reduction : float
        Fractions that the smaller network lost.
    frozen_by : str
        Reasons for frozen filters with their counts.
    message : str
        The error, or what is special.
    """

    list: str
    network: str
    library: str
    verdict: str = ""
    n_units: int | None = None
    n_filters: int | None = None
    n_frozen: int | None = None
    seconds: float | None = None
    difference: float | None = None
    train_difference: float | None = None
    params_reduction: float | None = None
    macs_reduction: float | None = None
    frozen_by: str = ""
    message: str = ""


def run(module: nn.Module, inputs: Any, seed: int = 0) -> list[Tensor]:
    """Return the tensors that a module returns."""
    given = duplicate_inputs(Inputs.of(inputs))
    torch.manual_seed(seed)
    with torch.no_grad():
        return tensors_of(module(*given.args, **given.kwargs))


def calibrated(module: nn.Module, inputs: Any) -> nn.Module:
    """Return a module with the weights that a trained one could have, and batch statistics that fit them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            small = parameter.dim() < 2
            parameter.copy_(1.0 + 0.3 * noise if small else noise * (1.5 / parameter[0].numel() ** 0.5))
    norms: list[Any] = [
        part for part in module.modules() if hasattr(part, "momentum") and hasattr(part, "running_mean")
    ]
    momenta = [part.momentum for part in norms]
    for part in norms:
        part.momentum = 1.0
    run(module.train(), inputs)
    for part, momentum in zip(norms, momenta, strict=True):
        part.momentum = momentum
    return module.eval()


def difference(expected: nn.Module, got: nn.Module, inputs: Any) -> float | None:
    """
    Return the largest difference between the outputs of two modules, relative to the largest output.

    Where it is above the tolerance both are run again in double precision, which tells rounding in a network that
    magnifies it from a network that computes something else. None means that an output has another shape.
    """
    found = _difference(run(expected, inputs), run(got, inputs))
    if found is None or found <= TOLERANCE:
        return found
    wide = Inputs.of(inputs).map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    try:
        return _difference(run(expected.double(), wide), run(got.double(), wide))
    except RuntimeError:  # code that fixes the data type
        return found
    finally:
        expected.float()
        got.float()


def train_difference(expected: nn.Module, got: nn.Module, inputs: Any) -> float | None:
    """Return the same in training mode without dropout; None where the network still draws random numbers."""
    with _no_dropout(expected), _no_dropout(got):
        expected.train()
        got.train()
        if _difference(run(expected, inputs, seed=0), run(expected, inputs, seed=1)) != 0.0:
            return None
        found = difference(expected, got, inputs)
    return float("inf") if found is None else found


@contextmanager
def _no_dropout(module: nn.Module) -> Iterator[None]:
    """Switch off what draws random numbers for each channel or sample."""
    changed = []
    for part in module.modules():
        for name in ("p", "drop_prob", "dropout", "attention_dropout", "activation_dropout", "layerdrop", "drop_rate"):
            value = vars(part).get(name)
            if isinstance(value, float) and value:
                changed.append((part, name, value))
                setattr(part, name, 0.0)
    yield
    for part, name, value in changed:
        setattr(part, name, value)


def _difference(expected: list[Tensor], got: list[Tensor]) -> float | None:
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in got]:
        return None
    worst = 0.0
    for left, right in zip(expected, got, strict=True):
        if not left.numel() or not left.is_floating_point():
            continue
        scale = left.double().abs().max().item()
        gap = (left.double() - right.double()).abs().max().item()
        if not math.isfinite(gap):
            return float("nan")
        worst = max(worst, gap / scale if scale else gap)
    return worst


def informative(module: nn.Module, inputs: Any) -> bool:
    """Return whether some output is finite and differs between positions or samples."""
    outputs = [out.double() for out in run(module, inputs) if out.is_floating_point() and out.numel() > 1]
    return any(bool(torch.isfinite(out).all()) and out.std().item() > 1e-6 * out.abs().max().item() for out in outputs)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings of the libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

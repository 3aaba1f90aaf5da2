"""The proof with every result: the masked network against the compacted one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunekit._random import preserve_rng
from prunekit.exceptions import InputError, VerificationError
from prunekit.tracing import Inputs, describe_misfit, device_of, named_outputs


def evaluate(module: nn.Module, inputs: Inputs) -> Any:
    """
    Run a network in eval mode without gradients; its mode is as before afterwards.

    Parameters
    ----------
    module : Module
        The network.
    inputs : Inputs
        Its inputs.

    Returns
    -------
    object
        What it returns.
    """
    with _eval_mode(module), torch.no_grad():
        return module(*inputs.args, **inputs.kwargs)


def compare(masked: nn.Module, compacted: nn.Module, inputs: Inputs, rtol: float) -> float:
    """
    Return how much two networks differ.

    Parameters
    ----------
    masked, compacted : Module
        The networks.
    inputs : Inputs
        What both get.
    rtol : float
        Largest difference allowed, relative to the largest output. For data types with less than float32's precision
        it is at least 8 times their resolution.

    Returns
    -------
    float
        Largest difference relative to the largest output, over all tensors that the networks return.

    Raises
    ------
    InputError
        If the masked network does not run on the inputs.
    VerificationError
        If the difference is larger than allowed, or the compacted network does not run.
    """
    device = device_of(masked)
    try:
        with preserve_rng(device):  # networks that draw random numbers draw the same ones
            expected = named_outputs(evaluate(masked, inputs))
    except Exception as exc:
        raise InputError(describe_misfit(masked, inputs, exc)) from exc
    try:
        with preserve_rng(device):
            got = named_outputs(evaluate(compacted, inputs))
    except Exception as exc:
        raise VerificationError(
            f"The compacted network does not run: {type(exc).__name__}: {exc}. Nothing was returned; please report "
            "this network."
        ) from exc
    if expected.keys() != got.keys():
        raise VerificationError(
            f"The masked network returns {list(expected)}, the compacted one {list(got)}. Nothing was returned."
        )
    worst = 0.0
    for name, tensor in expected.items():
        difference = _relative_difference(tensor, got[name])
        if not difference <= _tolerance(tensor, rtol):
            raise VerificationError(
                f"The masked and the compacted network must agree to {rtol:g} of the largest output. Got "
                f"{difference:.3g} in '{name}' instead. Nothing was returned; please report this network."
            )
        worst = max(worst, difference)
    return worst


@contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _relative_difference(expected: Tensor, got: Tensor) -> float:
    """Return the largest difference relative to the largest entry, infinity where shapes differ or NaN is new."""
    if expected.shape != got.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    if not (expected.is_floating_point() or expected.is_complex()):
        return 0.0 if torch.equal(expected, got) else float("inf")
    wide = torch.complex128 if expected.is_complex() else torch.float64
    expected, got = expected.detach().to(wide), got.detach().to(wide)
    finite = torch.isfinite(expected)
    if not torch.equal(finite, torch.isfinite(got)) or not torch.equal(expected[~finite].isnan(), got[~finite].isnan()):
        return float("inf")
    if not bool(finite.any()):
        return 0.0
    scale = float(expected[finite].abs().max())
    difference = float((expected[finite] - got[finite]).abs().max())
    return difference / scale if scale else (0.0 if difference == 0.0 else float("inf"))


def _tolerance(tensor: Tensor, rtol: float) -> float:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return rtol
    resolution = torch.finfo(tensor.dtype).eps
    return rtol if resolution <= torch.finfo(torch.float32).eps else max(rtol, 8 * resolution)

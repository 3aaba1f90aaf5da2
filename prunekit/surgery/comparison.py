"""The proof with every result: the masked network against the compacted one."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from prunekit._random import preserve_rng
from prunekit.exceptions import InputError, VerificationError
from prunekit.tracing import (
    Inputs,
    describe_misfit,
    device_of,
    eval_mode,
    named_outputs,
    named_tensors,
    same_buffers,
)


def evaluate(module: nn.Module, inputs: Inputs) -> Any:
    """
    Run a network in eval mode without gradients; its mode and its buffers are as before afterwards.

    Parameters
    ----------
    module : Module
        The network.
    inputs : Inputs
        Its inputs. It gets copies, for it may write into them.

    Returns
    -------
    object
        What it returns.
    """
    given = inputs.map(_own_copy)
    with eval_mode(module), same_buffers(module), torch.no_grad():
        return module(*given.args, **given.kwargs)


def _own_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


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

    Warns
    -----
    UserWarning
        If the difference is larger than allowed, but one of rounding alone: in double precision there is none, and that
        changes what a network returns as much. Such a network magnifies errors of rounding.
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
    differences = {name: relative_difference(tensor, got[name]) for name, tensor in expected.items()}
    for name, difference in differences.items():
        if difference <= tolerance_for(expected[name], rtol):
            continue
        exact, rounding = _in_double(masked, compacted, inputs, (expected, got))
        if exact <= _EXACT and difference <= 10 * rounding < float("inf"):
            warnings.warn(
                f"The masked and the compacted network agree to {exact:.3g} in double precision, but to no more than "
                f"{difference:.3g} in their own: the network magnifies errors of rounding.",
                stacklevel=3,
            )
            break
        raise VerificationError(
            f"The masked and the compacted network must agree to {rtol:g} of the largest output. Got "
            f"{difference:.3g} in '{name}' instead. Nothing was returned; please report this network."
        )
    return max(differences.values(), default=0.0)


_EXACT = 1e-9
"""Largest relative difference in double precision that is one of rounding."""


def _in_double(
    masked: nn.Module, compacted: nn.Module, inputs: Inputs, outputs: tuple[dict[str, Tensor], dict[str, Tensor]]
) -> tuple[float, float]:
    """
    Return the largest relative difference of two networks in double precision, and what that changes in their outputs.

    Both are infinite where a network does not run in double precision.
    """
    expected, got = (_double_outputs(module, inputs) for module in (masked, compacted))
    if expected is None or got is None or expected.keys() != got.keys():
        return float("inf"), float("inf")
    exact = max(relative_difference(tensor, got[name]) for name, tensor in expected.items())
    rounding = max(_largest_difference(found, own) for found, own in zip((expected, got), outputs, strict=True))
    return exact, rounding


def rounding_of(module: nn.Module, inputs: Inputs, outputs: Mapping[str, Tensor]) -> float:
    """
    Return how far rounding takes the outputs of a network.

    Parameters
    ----------
    module : Module
        The network.
    inputs : Inputs
        Its inputs.
    outputs : Mapping of str to Tensor
        What it returned for them, by the names of `named_outputs`.

    Returns
    -------
    float
        Largest difference from what it returns in double precision, relative to the largest output; infinite where it
        does not run in double precision.
    """
    found = _double_outputs(module, inputs)
    return float("inf") if found is None or found.keys() != outputs.keys() else _largest_difference(found, outputs)


def _largest_difference(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> float:
    return max((relative_difference(tensor, got[name]) for name, tensor in expected.items()), default=0.0)


def _double_outputs(module: nn.Module, inputs: Inputs) -> dict[str, Tensor] | None:
    """Return what a network returns in double precision, None where it does not run so."""
    tensors = {name: _double(tensor) for name, tensor in named_tensors(module).items()}
    given = inputs.map(_double)
    try:
        with preserve_rng(device_of(module)), eval_mode(module), torch.no_grad():
            found = named_outputs(functional_call(module, tensors, given.args, dict(given.kwargs)))
    except Exception:  # code that fixes a type
        return None
    return None if any(tensor.dtype in _WIDE for tensor in found.values()) else found  # made from numbers of the code


_WIDE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
}


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().to(_WIDE.get(tensor.dtype, tensor.dtype))


def relative_difference(expected: Tensor, got: Tensor) -> float:
    """
    Return the largest difference of two tensors relative to the largest entry of the first.

    Parameters
    ----------
    expected, got : Tensor
        The tensors.

    Returns
    -------
    float
        Infinity where shapes differ or what is not finite is not the same, and for integers that differ.
    """
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


def tolerance_for(tensor: Tensor, rtol: float) -> float:
    """
    Return the largest relative difference allowed for a data type.

    Parameters
    ----------
    tensor : Tensor
        An output.
    rtol : float
        What is allowed for float32 and finer types.

    Returns
    -------
    float
        At least 8 times the resolution of a coarser type.
    """
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return rtol
    resolution = torch.finfo(tensor.dtype).eps
    return rtol if resolution <= torch.finfo(torch.float32).eps else max(rtol, 8 * resolution)

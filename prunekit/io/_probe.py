"""What a network returned for inputs that can be made again: the proof that it came back whole."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunekit._random import seeded_rng
from prunekit.exceptions import InputError, ParameterTypeError, VerificationError
from prunekit.surgery import evaluate, relative_difference, rounding_of, tolerance_for
from prunekit.tracing import Inputs, describe_misfit, device_of, make_inputs, named_outputs

RTOL = 1e-5
"""Largest difference allowed, relative to the largest output."""

_MOST_VALUES = 4096
"""Entries of an output that are kept, evenly spread over it."""


class ProbeError(Exception):
    """There is nothing that could be compared; the message says why."""


def given_inputs(inputs: Inputs) -> dict[str, Any]:
    """
    Return inputs with their values.

    Parameters
    ----------
    inputs : Inputs
        Arguments of a forward pass; of a batch two examples count.

    Returns
    -------
    dict
        A nest that `prunekit.io.write_state` takes, and `made_inputs` makes inputs of.
    """
    few = inputs.with_batch(2) if inputs.batch_size() else inputs
    return {"args": few.map(Tensor.cpu).args, "kwargs": dict(few.map(Tensor.cpu).kwargs)}


def take_probe(module: nn.Module, description: Mapping[str, Any]) -> dict[str, Any]:
    """
    Run a network and note what it returns.

    Parameters
    ----------
    module : Module
        The network; it runs in eval mode and stays as it is.
    description : Mapping
        Inputs, as `describe_inputs` or `given_inputs` returned them.

    Returns
    -------
    dict
        A nest that `prunekit.io.write_state` takes, for `check_probe`.

    Raises
    ------
    ProbeError
        If the network does not run on the inputs, returns no tensor, or draws random numbers in eval mode.
    """
    device = device_of(module)
    inputs = make_inputs(description, device)
    found = []
    for seed in range(2):
        try:
            with seeded_rng(seed, device):
                found.append(named_outputs(evaluate(module, inputs)))
        except Exception as exc:
            raise ProbeError(f"it does not run on made-up inputs ({type(exc).__name__}: {exc})") from exc
    first, again = found
    if not first:
        raise ProbeError("it returns no tensor")
    if first.keys() != again.keys() or any(relative_difference(first[name], again[name]) for name in first):
        raise ProbeError("it returns something else each time")
    rounding = rounding_of(module, inputs, first)
    return {
        "inputs": dict(description),
        "outputs": {
            name: {"shape": list(tensor.shape), "values": _spread(tensor.detach().cpu())}
            for name, tensor in first.items()
        },
        # A network that magnifies errors of rounding does so on another machine as well.
        "rtol": max(RTOL, 16 * rounding) if rounding < RTOL * 100 else RTOL,
    }


def check_probe(module: nn.Module, probe: Mapping[str, Any], path: Any) -> float:
    """
    Run a network and compare with what was noted.

    Parameters
    ----------
    module : Module
        The network; it runs in eval mode and stays as it is.
    probe : Mapping
        What `take_probe` returned.
    path : object
        File that it is from, for the message.

    Returns
    -------
    float
        Largest difference relative to the largest output.

    Raises
    ------
    VerificationError
        If the network does not run, or returns something else.
    """
    device = device_of(module)
    inputs = make_inputs(probe["inputs"], device)
    try:
        with seeded_rng(0, device):
            got = named_outputs(evaluate(module, inputs))
    except Exception as exc:
        raise VerificationError(
            f"'{path}' fits {type(module).__name__}, but the network does not run: "
            f"{describe_misfit(module, inputs, exc)} Is it the class that was pruned, made with the same arguments?"
        ) from exc
    expected = probe["outputs"]
    if expected.keys() != got.keys():
        raise VerificationError(
            f"The network of '{path}' returned {list(expected)} when it was saved, {type(module).__name__} returns "
            f"{list(got)} now. Is it the class that was pruned, made with the same arguments?"
        )
    worst = 0.0
    for name, noted in expected.items():
        tensor = got[name].detach().cpu()
        same = list(tensor.shape) == list(noted["shape"])
        difference = relative_difference(noted["values"], _spread(tensor)) if same else float("inf")
        if not difference <= tolerance_for(tensor, float(probe["rtol"])):
            raise VerificationError(
                f"The network of '{path}' must return what it returned when it was saved, to {probe['rtol']:g} of the "
                f"largest output. Got a difference of {difference:.3g} in '{name}' instead. Is it the class that was "
                "pruned, made with the same arguments, and its code unchanged? verify=False loads it all the same."
            )
        worst = max(worst, difference)
    return worst


def inputs_of_user(X: Any, module: nn.Module, owner: str) -> Inputs:
    """
    Return inputs that a user gave.

    Parameters
    ----------
    X : Tensor, array, tuple, list or Mapping
        Example inputs.
    module : Module
        The network.
    owner : str
        Function that asks, for the message.

    Returns
    -------
    Inputs
        Tensors of the network's device, floating ones of its data type.

    Raises
    ------
    ParameterTypeError
        If there is no tensor or array in it.
    InputError
        If there is no sample in it.
    """
    parameter = next(module.parameters(), torch.empty(0))

    def fit(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.kind in "fciub":
            value = torch.tensor(value)
        if not isinstance(value, Tensor):
            return value
        floats = value.is_floating_point() and parameter.is_floating_point()
        return value.detach().to(parameter.device, parameter.dtype if floats else value.dtype)

    fitted = torch.utils._pytree.tree_map(fit, dict(X) if isinstance(X, Mapping) else X)
    try:
        return Inputs.of(fitted)
    except InputError as exc:
        if any(isinstance(leaf, Tensor) for leaf in torch.utils._pytree.tree_leaves(fitted)):
            raise
        raise ParameterTypeError(
            f"The 'X' parameter of {owner} must hold example inputs: a tensor or array, a tuple of positional "
            f"arguments or a dict of keyword arguments. Got {type(X).__name__} instead."
        ) from exc


def _spread(tensor: Tensor) -> Tensor:
    """Return entries that are evenly spread over a tensor, shape (n,)."""
    flat = tensor.reshape(-1)
    return flat[:: max(1, -(-flat.numel() // _MOST_VALUES))].clone()

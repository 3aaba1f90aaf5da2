"""What is exported: a copy of the network inside of whatever holds it, and batches to compare on."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunekit import _skorch
from prunekit._random import seeded_rng
from prunekit.analysis._examples import as_tensors, is_net, is_pruner, unfrozen
from prunekit.exceptions import ExportError, InputError, ParameterTypeError
from prunekit.io import inputs_of_user
from prunekit.network import PrunableNetwork
from prunekit.surgery import check_module, noted_inputs, relative_difference
from prunekit.tracing import (
    Inputs,
    copy_module,
    describe_misfit,
    device_of,
    duplicate_inputs,
    make_inputs,
    named_outputs,
)

_MOST_EXAMPLES = 32
"""Examples of a batch of any size that are compared; more would only take longer."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """
    A network to export.

    Parameters
    ----------
    module : Module
        Copy in eval mode.
    batches : tuple of Inputs
        What to compare on; the first is the user's.
    sizes : tuple of int
        Sizes of the batches.
    batch : int or None
        First dimension of the tensors of the first batch that grow with it; None where no batch may be of another size.
    outputs : tuple of list of Tensor
        What the copy returns for the batches.
    input_names, output_names : tuple of str
        Names of the tensors, in the order in which PyTorch flattens them.
    returns_more : bool
        Whether the network also returns what is no tensor.
    """

    module: nn.Module
    batches: tuple[Inputs, ...]
    sizes: tuple[int, ...]
    batch: int | None
    outputs: tuple[list[Tensor], ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    returns_more: bool


def take_subject(
    module: nn.Module, X: Any, owner: str, dynamic_batch: bool, device: str | None, max_batch: int | None = None
) -> Subject:
    """
    Return what is to be exported.

    Parameters
    ----------
    module : Module
        The network; it stays as it is.
    X : object
        Example inputs, None to take those that a compacted network carries.
    owner : str
        Function that asks, for the messages.
    dynamic_batch : bool
        Whether batches of other sizes are compared as well.
    device : str or None
        Where the copy is to be; None: where the network is.
    max_batch : int, default=None
        Largest batch that can be compared. None: there is no limit.

    Returns
    -------
    Subject
        The copy, with its inputs and outputs.

    Raises
    ------
    ParameterTypeError
        If inputs are missing.
    InputError
        If the network does not run on the inputs.
    ExportError
        If it does not run on a batch of another size, or draws random numbers.
    """
    copied = copy_module(module).eval()
    if device is not None:
        copied = copied.to(device)
    given = _ordered(_inputs_of(X, copied, owner, _MOST_EXAMPLES if dynamic_batch else None), copied)
    batch = given.n_examples()
    if dynamic_batch and not batch:
        raise InputError(
            f"The 'X' parameter of {owner} must hold a tensor with a batch in its first dimension. Got none instead: "
            "dynamic_batch=False takes such inputs."
        )
    sizes: tuple[int, ...] = () if batch is None else (batch,)
    batches = [given]
    if dynamic_batch and batch:
        most = _MOST_EXAMPLES if max_batch is None else min(max_batch, _MOST_EXAMPLES)
        sizes = tuple(dict.fromkeys((_first_size(given, batch, most), 1, min(3, most))))
        batches = [resized(given, batch, size) for size in sizes]
    value = _checked_value(copied, batches[0])
    outputs = [tensors_in(value)]
    for one, size in zip(batches[1:], sizes[1:], strict=True):
        try:
            outputs.append(tensors_in(_value(copied, one)))
        except InputError as exc:
            raise ExportError(
                f"{type(copied).__name__} takes {sizes[0]} examples, but not {size}: its code fixes the size of the "
                f"batch. {fixed_batch(owner)} exports it for batches like 'X' only."
            ) from exc
    input_names = _input_names(given, copied)
    return Subject(
        copied,
        tuple(batches),
        sizes,
        sizes[0] if dynamic_batch else None,
        tuple(outputs),
        input_names,
        _output_names(value, input_names),
        not all(isinstance(leaf, Tensor) for leaf in torch.utils._pytree.tree_leaves(value)),
    )


def _first_size(inputs: Inputs, batch: int, most: int) -> int:
    """Return how many examples to take: as many as there are and may be, but no number that a fixed dimension has."""
    fixed = {tensor.size(0) for tensor in inputs.tensors() if tensor.dim() and not grows(tensor, batch)}
    largest = min(batch, most)
    return next((size for size in range(largest, 1, -1) if size not in fixed), largest)


def module_of(network: Any, owner: str) -> nn.Module:
    """
    Return the network inside of whatever holds one.

    Parameters
    ----------
    network : object
        Module, fitted net, fitted pruner or `PrunableNetwork`.
    owner : str
        Function that asks, for the messages.

    Returns
    -------
    Module
        The user's own, or what `PrunableNetwork.compact` returns.

    Raises
    ------
    ParameterTypeError
        If it holds none, or is not fitted.
    """
    network = unfrozen(network)
    if isinstance(network, PrunableNetwork):
        return network.compact()
    found = getattr(network, "best_estimator_", network)
    if is_pruner(found) and not isinstance(found, nn.Module):
        if not hasattr(found, "estimator_"):
            raise _not_fitted(network, owner)
        found = found.estimator_
    if is_net(found):
        if not hasattr(found, "module_"):
            raise _not_fitted(network, owner)
        found = _skorch.bare_module(found)
    if isinstance(found, type) or not isinstance(found, nn.Module):
        raise ParameterTypeError(
            f"The 'network' parameter of {owner} must be a torch module, a fitted skorch net, a fitted TaylorPruner or "
            f"a PrunableNetwork. Got {found.__name__ if isinstance(found, type) else type(found).__name__} instead."
        )
    return check_module(found)


def fixed_batch(owner: str) -> str:
    """Return how a function is to be called for batches of one size."""
    return f"{owner}(…, {'max_batch=None' if owner == 'export_executorch' else 'dynamic_batch=False'})"


def resized(inputs: Inputs, batch: int, size: int) -> Inputs:
    """
    Return inputs with another number of examples, repeated as needed.

    Parameters
    ----------
    inputs : Inputs
        Arguments; tensors whose first dimension is `batch` hold examples.
    batch : int
        Number of examples in them.
    size : int
        Number to return.

    Returns
    -------
    Inputs
        The other tensors as they are.
    """
    if batch == size:
        return inputs

    def take(tensor: Tensor) -> Tensor:
        if not grows(tensor, batch):
            return tensor
        return torch.cat([tensor] * -(-size // batch))[:size].clone() if batch else tensor

    return inputs.map(take)


def grows(tensor: Tensor, batch: int) -> bool:
    """Return whether a tensor's first dimension is the batch."""
    return tensor.dim() > 0 and tensor.size(0) == batch


def _not_fitted(network: Any, owner: str) -> ParameterTypeError:
    return ParameterTypeError(
        f"The 'network' parameter of {owner} must be fitted. Got {type(network).__name__} that is not instead."
    )


def _inputs_of(X: Any, module: nn.Module, owner: str, limit: int | None) -> Inputs:
    if X is not None:
        return user_inputs(X, module, owner, limit)
    description = noted_inputs(module)
    if description is None:
        raise ParameterTypeError(
            f"The 'X' parameter of {owner} must hold example inputs, unless the network was compacted by prunekit and "
            "carries their shapes. Got None instead."
        )
    return make_inputs(description, device_of(module))


def user_inputs(X: Any, module: nn.Module, owner: str, limit: int | None = None) -> Inputs:
    """
    Return the inputs that a user gave, in the same nest.

    Parameters
    ----------
    X : Tensor, array, DataFrame, Dataset, tuple, list or Mapping
        Example inputs.
    module : Module
        The network.
    owner : str
        Function that asks, for the messages.
    limit : int, default=None
        How many samples to take of an array or a data set.

    Returns
    -------
    Inputs
        Tensors of the network's device, floating ones of its data type.

    Raises
    ------
    ParameterTypeError
        If there is no tensor or array in it.
    """
    if isinstance(X, Mapping | tuple | list):  # what is in there may have no samples
        nest = dict(X) if isinstance(X, Mapping) else X
        X = torch.utils._pytree.tree_map(lambda leaf: as_tensors(leaf, module), nest)
    else:
        X = as_tensors(X, module, limit)
    return inputs_of_user(X, module, owner)


def _ordered(inputs: Inputs, module: nn.Module) -> Inputs:
    """Return inputs with keyword arguments in the order of the network's parameters."""
    place = {name: number for number, name in enumerate(inspect.signature(module.forward).parameters)}
    return Inputs(inputs.args, dict(sorted(inputs.kwargs.items(), key=lambda item: place.get(item[0], len(place)))))


def _value(module: nn.Module, inputs: Inputs, seed: int = 0) -> Any:
    """Return what a network returns."""
    given = duplicate_inputs(inputs)
    try:
        with seeded_rng(seed, device_of(module)), torch.no_grad():
            return module(*given.args, **given.kwargs)
    except Exception as exc:
        raise InputError(describe_misfit(module, inputs, exc)) from exc


def _checked_value(module: nn.Module, inputs: Inputs) -> Any:
    """Return what a network returns, if it is something that a file can be compared with."""
    value = _value(module, inputs)
    first, again = tensors_in(value), tensors_in(_value(module, inputs, 1))
    if not first:
        raise ExportError(
            f"{type(module).__name__} must return tensors, alone, in containers or in objects. "
            f"Got {type(value).__name__} without any instead."
        )
    if len(first) != len(again) or any(relative_difference(*pair) > 0.0 for pair in zip(first, again, strict=True)):
        raise ExportError(
            f"{type(module).__name__} must return the same in eval mode each time, for a file to be compared with it. "
            "Got something else the second time: it draws random numbers, or keeps what it saw."
        )
    return value


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors of a nest in the order in which PyTorch flattens it, and those in objects that it leaves."""
    leaves = torch.utils._pytree.tree_leaves(value)
    return [tensor for leaf in leaves for tensor in named_outputs(leaf).values()]


def _input_names(inputs: Inputs, module: nn.Module) -> tuple[str, ...]:
    parameters = inspect.signature(module.forward).parameters
    found: list[str] = []
    for name, value in bound(module, inputs).items():
        if parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            found += [own for key, child in value.items() for own in _leaf_names(key, child)]
        else:
            found += _leaf_names(name, value)
    return tuple(found)


def bound(module: nn.Module, inputs: Inputs) -> dict[str, Any]:
    """
    Return arguments by the names of the parameters.

    Parameters
    ----------
    module : Module
        The network.
    inputs : Inputs
        Arguments that it takes.

    Returns
    -------
    dict
        As `inspect.BoundArguments.arguments`.
    """
    return inspect.signature(module.forward).bind(*inputs.args, **inputs.kwargs).arguments


def _leaf_names(name: str, value: Any) -> list[str]:
    """Return a name for each tensor of a nest: that of the argument, with keys and numbers behind it."""
    leaves, _ = torch.utils._pytree.tree_flatten_with_path(value)
    return [
        "_".join([name, *(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)])
        for path, leaf in leaves
        if isinstance(leaf, Tensor)
    ]


def _output_names(value: Any, input_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the outputs: the model's own where it returns a dict, ``output`` where it is one tensor."""
    tensors, named = tensors_in(value), named_outputs(value)
    if [id(tensor) for tensor in tensors] != [id(tensor) for tensor in named.values()]:
        return tuple(f"output_{number}" for number in range(len(tensors)))
    return tuple(f"{name}_output" if name in input_names else name for name in named)

"""Build the physically smaller network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunekit.surgery.attributes import update_attributes_, write_number_
from prunekit.surgery.plan import KeptIndices, PruningPlan
from prunekit.tracing import copy_module, has_memory, named_parts, named_tensors
from prunekit.tracing.multihead import use_compact_attention_


def compact(module: nn.Module, plan: PruningPlan) -> nn.Module:
    """
    Return a copy of a network without the parts that a plan removes.

    Parameters
    ----------
    module : Module
        Dense network; it is not changed.
    plan : PruningPlan
        What stays.

    Returns
    -------
    Module
        Network of the same class with smaller parameters. Parameters that were shared are shared.

    Raises
    ------
    PlanError
        If the plan does not fit the network.
    """
    plan.check(module)
    with torch.inference_mode(False):
        duplicate = copy_module(module)
        apply_plan_(duplicate, plan)
    return duplicate


def apply_plan_(module: nn.Module, plan: PruningPlan) -> dict[str, "Replacement"]:
    """
    Slice the parameters and buffers of a network in place and set its attributes.

    Parameters
    ----------
    module : Module
        Network of the shapes that the plan is for.
    plan : PruningPlan
        What stays; it must fit.

    Returns
    -------
    dict of str to Replacement
        What was replaced, by the name of the parameter or buffer.
    """
    dense = named_tensors(module)
    entries: dict[str, list[KeptIndices]] = {}
    for entry in plan.kept:
        entries.setdefault(entry.tensor, []).append(entry)
    smaller = {name: sliced(dense[name], own) for name, own in entries.items()}
    replaced = replace_tensors_(module, smaller)
    for part in (part for _, part in named_parts(module)):
        if part._parameters or part._buffers or "parametrizations" in part._modules:
            update_attributes_(part)
    for change in plan.attributes:
        write_number_(module.get_submodule(change.module), change.name, change.value)
    return {name: Replacement(*pair, tuple(entries[name])) for name, pair in replaced.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """
    A parameter or buffer that took the place of another.

    Parameters
    ----------
    old, new : Tensor
        The two.
    kept : tuple of KeptIndices
        What the new one has of the old one.
    """

    old: Tensor
    new: Tensor
    kept: tuple[KeptIndices, ...]


def replace_tensors_(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """
    Put other values, also of other shapes, in the place of parameters and buffers.

    Parameters
    ----------
    module : Module
        The network. Its attributes are left alone, but attention gets the class that takes its widths from its weights.
    tensors : Mapping of str to Tensor
        The values by the name of the parameter or buffer; whatever shares it gets the same one.

    Returns
    -------
    dict of str to tuple of Tensor
        What was there and what is there now; of the same kind, with the same marks and the same flag for gradients.
    """
    before = named_tensors(module)
    replaced = {name: (before[name], _like(tensor, before[name])) for name, tensor in tensors.items()}
    finished = {id(old): new for old, new in replaced.values()}
    parts = [part for _, part in named_parts(module)]
    for part in parts:
        if isinstance(part, nn.MultiheadAttention) and any(id(tensor) in finished for tensor in part.parameters()):
            use_compact_attention_(part)
    for part in parts:
        _replace_(part, finished)
    return replaced


def sliced(tensor: Tensor, entries: Iterable[KeptIndices]) -> Tensor:
    """
    Return some indices of a tensor.

    Parameters
    ----------
    tensor : Tensor
        Any tensor.
    entries : iterable of KeptIndices
        What to keep along which dimension.

    Returns
    -------
    Tensor
        A copy without gradient, in the memory format of the tensor.
    """
    if not has_memory(tensor):
        shape = list(tensor.shape)
        for entry in entries:
            shape[entry.dim] = len(entry.indices)
        return torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
    result = tensor.detach()
    for entry in entries:
        result = result.index_select(entry.dim, torch.tensor(entry.indices, device=tensor.device))
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    if last is not None and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=last):
        return result.contiguous(memory_format=last)
    return result.contiguous()


def _like(tensor: Tensor, old: Tensor) -> Tensor:
    """Return a tensor as the same kind of thing as the old one: parameter, marks, gradient flag."""
    if isinstance(old, nn.Parameter):
        parameter = nn.Parameter(tensor, requires_grad=old.requires_grad)
        parameter.__dict__.update(old.__dict__)
        return parameter
    return tensor.requires_grad_(old.requires_grad)


def _replace_(part: nn.Module, finished: dict[int, Tensor]) -> None:
    plain = type(part).__setattr__ is nn.Module.__setattr__  # which looks for the right place again
    registered: tuple[dict[str, Any], ...] = (part._parameters, part._buffers)
    for own in registered:
        for name, tensor in list(own.items()):
            if tensor is None or id(tensor) not in finished:
                continue
            if plain:
                own[name] = finished[id(tensor)]
            else:
                setattr(part, name, finished[id(tensor)])

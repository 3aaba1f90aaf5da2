"""Build the physically smaller network."""

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


def apply_plan_(module: nn.Module, plan: PruningPlan) -> None:
    """
    Slice the parameters and buffers of a network in place and set its attributes.

    Parameters
    ----------
    module : Module
        Dense network.
    plan : PruningPlan
        What stays; it must fit.
    """
    dense = named_tensors(module)
    entries: dict[str, list[KeptIndices]] = {}
    for entry in plan.kept:
        entries.setdefault(entry.tensor, []).append(entry)
    finished = {id(dense[name]): _like(_sliced(dense[name], own), dense[name]) for name, own in entries.items()}
    parts = [part for _, part in named_parts(module)]
    for part in parts:
        if isinstance(part, nn.MultiheadAttention) and any(id(tensor) in finished for tensor in part.parameters()):
            use_compact_attention_(part)
    for part in parts:
        _replace_(part, finished)
    for part in parts:
        if part._parameters or part._buffers or "parametrizations" in part._modules:
            update_attributes_(part)
    for change in plan.attributes:
        write_number_(module.get_submodule(change.module), change.name, change.value)


def _sliced(tensor: Tensor, entries: list[KeptIndices]) -> Tensor:
    if not has_memory(tensor):
        shape = list(tensor.shape)
        for entry in entries:
            shape[entry.dim] = len(entry.indices)
        return torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
    result = tensor.detach()
    for entry in entries:
        result = result.index_select(entry.dim, torch.tensor(entry.indices, device=tensor.device))
    return result


def _like(tensor: Tensor, old: Tensor) -> Tensor:
    """Return a sliced tensor as the same kind of thing as the old one: parameter, gradient flag, memory format."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(old.dim())
    if last is not None and not old.is_contiguous() and old.is_contiguous(memory_format=last):
        tensor = tensor.contiguous(memory_format=last)
    else:
        tensor = tensor.contiguous()
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

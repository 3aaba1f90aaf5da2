"""Pruned modules: from a file to a network of the user's class, and what is written of one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunekit._random import preserve_rng
from prunekit.exceptions import ParameterError, ParameterTypeError, PlanError, VerificationError
from prunekit.io._archive import Archive, package_versions, read_archive, understood
from prunekit.io._probe import ProbeError, check_probe, take_probe
from prunekit.surgery import PruningPlan, compact, note_
from prunekit.tracing import named_tensors, shared_names


def load(path: str | Path, module: nn.Module | Callable[[], nn.Module], *, verify: bool = True) -> nn.Module:
    """
    Return a pruned network from a file and a dense network of its class.

    Parameters
    ----------
    path : str or Path
        File that `save` wrote, of a module, a net or a pruner.
    module : Module, class or callable
        Dense network of the class that was pruned, with any weights; it is not changed. Or what makes one when it is
        called without arguments, such as the class, or ``functools.partial(Net, width=64)``.
    verify : bool, default=True
        Whether to run the network once, and compare with what it returned when it was saved.

    Returns
    -------
    Module
        New network with the shapes and the weights of the file, in the mode of the dense one.

    Raises
    ------
    FileAccessError
        If there is no such file, or it cannot be read.
    ParameterTypeError
        If `module` is no network, and does not make one.
    PlanError
        If the file is damaged, was not written by `save`, or does not fit the network; the message names the first
        difference.
    VerificationError
        If the network returns something else than it did when it was saved: its code is another.

    Notes
    -----
    The file holds numbers and JSON only; nothing in it is executed or imported.
    """
    with preserve_rng():  # the weights that a new network draws are overwritten
        return module_from(read_archive(path), path, module, verify=verify)


def module_from(archive: Archive, path: str | Path, module: Any, *, verify: bool, owner: str = "load") -> nn.Module:
    """
    Return the network of an archive.

    Parameters
    ----------
    archive : Archive
        What was read.
    path : str or Path
        From where, for the messages.
    module : Module or callable
        Dense network, or what makes one.
    verify : bool
        Whether to run it.
    owner : str, default="load"
        Function that asks, for the messages.

    Returns
    -------
    Module
        The network.
    """
    dense = _dense(module, archive, owner)
    bare = next((name for name, tensor in named_tensors(dense).items() if tensor.is_meta), None)
    if bare is not None:
        raise ParameterError(
            f"The 'module' parameter of {owner} must be a network whose tensors have memory. Got '{bare}' on the meta "
            "device instead. Call module.to_empty(device='cpu') first."
        )
    found, stored = shared_names(dense), archive.shared
    # Files of protocol 1 do not tell what was shared.
    for name in sorted(found.keys() ^ stored.keys()) if stored or archive.versions else ():
        where = ("was", "is not") if name in stored else ("was not", "is")
        tensor = stored.get(name) or found[name]
        raise PlanError(
            f"'{path}' does not fit {type(dense).__name__}: '{name}' {where[0]} shared with '{tensor}' when it was "
            f"saved, and {where[1]} in the network."
        )
    smaller = compact(dense, archive.plan)
    _fill(smaller, archive.tensors, path)
    probe = archive.parts.get("probe")
    with understood(path, keep=VerificationError):
        note_(smaller, archive.plan, None if probe is None else probe.get("inputs"))
        if verify and probe is not None:
            check_probe(smaller, probe, path)
    return smaller


def read_plan(path: str | Path) -> PruningPlan:
    """
    Return what was removed from the network in a file of `save`; its weights are not read.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    PruningPlan
        The plan.

    Raises
    ------
    FileAccessError
        If there is no such file, or it cannot be read.
    PlanError
        If it was not written by `save`.
    """
    return read_archive(path, document_only=True).plan


def module_archive(module: nn.Module, plan: PruningPlan, description: dict[str, Any] | None) -> Archive:
    """
    Return what is written of a network.

    Parameters
    ----------
    module : Module
        The compacted network; it stays as it is.
    plan : PruningPlan
        What was removed from it.
    description : dict or None
        Inputs that it is run with, see `take_probe`. None: the file holds no outputs to compare with.

    Returns
    -------
    Archive
        Weights, plan, and what the network returns; without the last where nothing can be compared.
    """
    parts: dict[str, Any] = {}
    if description is not None:
        try:
            parts["probe"] = take_probe(module, description)
        except ProbeError as exc:
            parts["no_probe"] = str(exc)
    kind = type(module)
    return Archive(
        module=f"{kind.__module__}.{kind.__qualname__}",
        plan=plan,
        tensors=stored_tensors(module),
        shared=shared_names(module),
        parts=parts,
        versions=package_versions(),
    )


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """
    Return the tensors of a network as `save` writes them.

    Parameters
    ----------
    module : Module
        The network.

    Returns
    -------
    dict of str to Tensor
        Parameters and buffers on the CPU, contiguous; a shared one once.

    Raises
    ------
    ParameterTypeError
        If one is sparse, or has no values.
    """
    for name, tensor in named_tensors(module).items():
        if tensor.layout != torch.strided or tensor.is_meta:
            kind = "on the meta device" if tensor.is_meta else f"of the layout {tensor.layout}"
            raise ParameterTypeError(
                f"The tensors of the network must be dense and have values. Got '{name}' {kind} instead."
            )
    return {
        name: tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        for name, tensor in named_tensors(module).items()
    }


def _dense(module: Any, archive: Archive, owner: str) -> nn.Module:
    """Return the dense network that a user gave or that is made as he says."""
    if isinstance(module, nn.Module):
        return module
    wanted = (
        f"The 'module' parameter of {owner} must be a dense network of the class that was pruned, '{archive.module}', "
        "or make one when it is called without arguments."
    )
    if not callable(module):
        raise ParameterTypeError(f"{wanted} Got {type(module).__name__} instead.")
    name = getattr(module, "__qualname__", repr(module))
    try:
        made = module()
    except Exception as exc:
        raise ParameterTypeError(
            f"{wanted} Got {name}, with which that raises {type(exc).__name__}: {exc} instead. Arguments can be given "
            "with functools.partial."
        ) from exc
    if not isinstance(made, nn.Module):
        raise ParameterTypeError(f"{wanted} Got {name}, which makes {type(made).__name__}, instead.")
    return made


def _fill(module: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    own = named_tensors(module)
    for name in sorted(own.keys() ^ tensors.keys()):
        where = "the network" if name in tensors else f"'{path}'"
        raise PlanError(f"'{path}' does not fit {type(module).__name__}: '{name}' is missing in {where}.")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape or tensor.dtype != tensors[name].dtype:
            raise PlanError(
                f"'{path}' does not fit {type(module).__name__}: '{name}' must be {tuple(tensor.shape)} "
                f"{tensor.dtype}. Got {tuple(tensors[name].shape)} {tensors[name].dtype} instead."
            )
    for name, tensor in own.items():
        tensor.data.copy_(tensors[name])

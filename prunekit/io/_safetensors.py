"""One safetensors file with the weights, the plan as JSON in its metadata."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from prunekit._files import write_atomically
from prunekit.exceptions import ParameterTypeError, PlanError
from prunekit.network import PrunableNetwork
from prunekit.surgery import PruningPlan, compact
from prunekit.tracing import named_tensors

PROTOCOL = 1
"""Version of the file that `save` writes."""

_KEY = "prunekit"
"""The one entry of the metadata; with several their order in the file would change from save to save."""


def save(network: Any, path: str | Path, plan: PruningPlan | None = None) -> Path:
    """
    Write the weights of a pruned network and its plan to one file.

    Parameters
    ----------
    network : Module, fitted skorch net, fitted TaylorPruner or PrunableNetwork
        The compacted network; a `PrunableNetwork` is compacted.
    path : str or Path
        File to write, by custom with the suffix ``.safetensors``; an old one is replaced once the new one is whole.
    plan : PruningPlan, default=None
        What was removed, from ``PrunableNetwork.plan`` or ``TaylorPruner.plan_``; a fitted `TaylorPruner` brings its
        own. Without a plan nothing was removed.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ParameterTypeError
        If there is no module in `network`, or one of a data type that the format does not know.
    """
    if isinstance(network, PrunableNetwork):
        network, plan = network.compact(), network.plan
    plan = getattr(network, "plan_", PruningPlan()) if plan is None else plan
    net = getattr(network, "estimator_", network)
    module = getattr(net, "module_", net)
    if not isinstance(module, nn.Module):
        raise ParameterTypeError(
            "The 'network' parameter of save must be a torch module, a fitted skorch net or a fitted TaylorPruner. "
            f"Got {type(network).__name__} instead."
        )
    document = {"protocol": PROTOCOL, "module": type(module).__qualname__, "plan": plan.to_json()}
    target = Path(path)
    try:
        content = safetensors.torch.save(stored_tensors(module), {_KEY: json.dumps(document)})
    except KeyError as exc:
        raise ParameterTypeError(
            f"The tensors of the network must have data types that safetensors can hold. Got {exc} instead."
        ) from exc
    write_atomically(target, content)
    return target


def load(path: str | Path, module: nn.Module) -> nn.Module:
    """
    Return a pruned network from a file and a dense network of its class.

    Parameters
    ----------
    path : str or Path
        File that `save` wrote.
    module : Module
        Dense network of the class that was pruned, with any weights; it is not changed.

    Returns
    -------
    Module
        New network with the shapes and the weights of the file.

    Raises
    ------
    ParameterTypeError
        If `module` is no network.
    PlanError
        If the file was not written by `save`, or does not fit the network; the message names the first difference.

    Notes
    -----
    The file holds numbers and JSON only; nothing in it is executed.
    """
    given: object = module
    if not isinstance(given, nn.Module):
        got = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
        raise ParameterTypeError(
            f"The 'module' parameter of load must be a dense network, an instance of its class. Got {got} instead."
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except safetensors.SafetensorError as exc:
        raise PlanError(f"'{path}' is no safetensors file: {exc}") from exc
    smaller = compact(module, _plan(metadata, path))
    _fill(smaller, tensors, path)
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
    FileNotFoundError
        If there is no such file.
    PlanError
        If it was not written by `save`.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"There is no file '{path}'.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as exc:
        raise PlanError(f"'{path}' must be a file that prunekit.save wrote. Got no safetensors file: {exc}") from exc
    return _plan(metadata, path)


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
    """
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named_tensors(module).items()}


def _plan(metadata: dict[str, str], path: str | Path) -> PruningPlan:
    return PruningPlan.from_json(str(_document(metadata.get(_KEY), path).get("plan")))


def _document(text: str | None, path: str | Path) -> dict[str, Any]:
    try:
        document = json.loads(text or "null")
    except (ValueError, RecursionError) as exc:
        raise PlanError(f"'{path}' has broken metadata: {exc}") from exc
    protocol = document.get("protocol") if isinstance(document, dict) else None
    if protocol != PROTOCOL:
        raise PlanError(
            f"'{path}' must be a file that prunekit.save wrote with protocol {PROTOCOL}. "
            f"Got protocol {protocol!r} instead."
        )
    return dict(document)


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

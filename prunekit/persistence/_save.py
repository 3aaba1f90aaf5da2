"""`save`: whatever holds a network, in one file without code."""

from pathlib import Path
from typing import Any

from skorch import NeuralNet
from torch import nn

from prunekit import _skorch
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.io import (
    given_inputs,
    inputs_of_user,
    module_archive,
    write_archive,
)
from prunekit.network import PrunableNetwork
from prunekit.persistence._describe import describe, describe_net, name_of
from prunekit.pruner import TaylorPruner
from prunekit.surgery import PruningPlan, check_module, noted_inputs, noted_plan

_UNKEPT = ("estimator_", "baseline_estimator_", "control_estimator_", "plan_", "history_")
_TORCH = ("callbacks_", "cuda_dependent_attributes_", "history_", "init_context_", "initialized_", "prefixes_")


def save(
    network: Any, path: str | Path, plan: PruningPlan | None = None, *, X: Any = None, optimizer: bool = False
) -> Path:
    """
    Write a pruned network to one file, with what it takes to bring it back: numbers and JSON, no pickle, no code.

    Parameters
    ----------
    network : Module, fitted skorch net, fitted TaylorPruner or TaylorPrunerCV, or PrunableNetwork
        A `PrunableNetwork` is compacted, a `TaylorPrunerCV` stands for its best pruner. Of a net its parameters, its
        history and the state of its criterion are written as well, of a pruner its parameters, the history of pruning,
        scores, ranking and layer table; see `load_net` and `load_pruner`. The dense network of a control run is not.
    path : str or Path
        File to write, by custom with the suffix ``.safetensors``; an old one is replaced once the new one is whole.
    plan : PruningPlan, default=None
        What was removed since the network was dense. None: what the network carries with it, as every network does
        that ``compact``, ``transform`` and `load` return, and their copies.
    X : Tensor, array, tuple or Mapping, default=None
        Example inputs: a batch, positional or keyword arguments. Two of them are written, with what the network
        returns for them, for `load` to compare. None: inputs of the right shapes are made up, so that no data of yours
        are in the file; networks that prunekit did not make are not compared then.
    optimizer : bool, default=False
        Whether the state of a net's optimizer, such as momentum, is written too, for ``partial_fit`` to go on.

    Returns
    -------
    Path
        The file. It can be read as any safetensors file; its weights have their own names.

    Raises
    ------
    ParameterTypeError
        If there is no module in `network`, or a tensor of a data type that the format does not know.
    ParameterError
        If the state of an optimizer is asked for where there is none, or the network does not run on `X`.
    PlanError
        If `plan` leads to other shapes than the network has.
    FileAccessError
        If the file cannot be written; an old one is as it was.

    See Also
    --------
    load : Bring the module back.
    load_net : Bring a skorch net back.
    load_pruner : Bring a fitted pruner back.
    """
    if plan is not None and not isinstance(plan, PruningPlan):
        raise ParameterTypeError(
            f"The 'plan' parameter of save must be a PruningPlan or None. Got {type(plan).__name__} instead."
        )
    pruner = _pruner_of(network)
    if isinstance(network, PrunableNetwork):
        module, net = network.compact(), None
        plan = noted_plan(module)
    else:
        net = pruner.estimator_ if pruner is not None else network
        net = net if isinstance(net, NeuralNet) and hasattr(net, "module_") else None
        module = _module_of(network if net is None else net)
    description = noted_inputs(module) if X is None else given_inputs(inputs_of_user(X, module, "save"))
    if plan is None:
        plan = noted_plan(module)
    else:
        plan.check_result(module)
    archive = module_archive(module, plan, description)
    if X is not None and "probe" not in archive.parts:
        raise ParameterError(
            f"The 'X' parameter of save must hold inputs with which the network can be compared. Got some with which "
            f"{archive.parts['no_probe']}."
        )
    if optimizer and net is None:
        raise ParameterError(
            f"The 'optimizer' parameter of save must be False for anything but nets and pruners. "
            f"Got {optimizer!r} with {type(network).__name__} instead."
        )
    if net is not None:
        archive.parts["net"] = _net_part(net, optimizer)
    if pruner is not None:
        archive.parts["pruner"] = _pruner_part(pruner)
    return write_archive(path, archive)


def _pruner_of(network: Any) -> TaylorPruner | None:
    """Return the fitted pruner that something is or has chosen, None if it is none."""
    chosen = getattr(network, "best_estimator_", network)
    if not isinstance(chosen, TaylorPruner):
        return None
    if not hasattr(chosen, "estimator_"):
        raise ParameterTypeError(
            f"The 'network' parameter of save must be fitted if it is a pruner. Got {type(network).__name__} that is "
            "not fitted instead."
        )
    return chosen


def _module_of(network: Any) -> nn.Module:
    fitted = isinstance(network, NeuralNet) and hasattr(network, "module_")
    module = _skorch.bare_module(network) if fitted else network
    if not isinstance(module, nn.Module):
        raise ParameterTypeError(
            "The 'network' parameter of save must be a torch module, a fitted skorch net, a fitted TaylorPruner or a "
            f"PrunableNetwork. Got {_said(network)} instead."
        )
    return check_module(module)


def _said(network: Any) -> str:
    if isinstance(network, type):
        return f"the class {network.__name__}"
    return type(network).__name__ + (" that is not fitted" if isinstance(network, NeuralNet) else "")


def _net_part(net: NeuralNet, optimizer: bool) -> dict[str, Any]:
    criterion = net.criterion_
    part = {
        "net": describe_net(net),
        "history": describe([dict(row) for row in net.history_]),
        "criterion": criterion.state_dict() if isinstance(criterion, nn.Module) else {},
        "attributes": {
            name: describe(value)
            for name, value in vars(net).items()
            if name.endswith("_") and name not in _TORCH and not _skorch.is_torch_component(value)
        },
    }
    if optimizer:
        part["optimizers"] = [one.state_dict() for one in _skorch.optimizers_of(net)]
    return part


def _pruner_part(pruner: TaylorPruner) -> dict[str, Any]:
    params = pruner.get_params(deep=False)
    fitted = {name: value for name, value in vars(pruner).items() if name not in params and name not in _UNKEPT}
    return {
        "name": name_of(type(pruner)),
        "params": describe(params),
        "fitted": describe(fitted),
        "history": describe(pruner.history_),
    }

"""What is looked at: everything that holds a network, brought to one form."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from prunekit.analysis._examples import example_inputs, is_pruner, module_of, unfrozen
from prunekit.analysis._saved import trace_with_plan
from prunekit.cost import CostModel, layer_table
from prunekit.exceptions import InputError, ParameterError, ParameterTypeError, TrainingError
from prunekit.io import read_plan
from prunekit.network import PrunableNetwork
from prunekit.surgery import Constraints, Selector, check_module, prove_units


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """
    A network whose units are known.

    Parameters
    ----------
    module : Module
        The network; of its modules names and classes count.
    costs : CostModel
        Costs of the dense network.
    selector : Selector
        What may go together.
    removed : ndarray of bool, shape (n_units,)
        Removed units.
    importances : ndarray of float, shape (n_units,), default=None
        Importance of every unit where it is known.
    """

    module: nn.Module
    costs: CostModel
    selector: Selector
    removed: NDArray[np.bool_]
    importances: NDArray[np.float64] | None = None

    def layers(self) -> pd.DataFrame:
        """Return the layer table."""
        return layer_table(self.module, self.costs, self.removed)

    def traced(self) -> "Traced":
        """Return the network with its units."""
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """
    A fitted pruner, which keeps its layer table but not the dense network.

    Parameters
    ----------
    module : Module
        The compacted network.
    table : DataFrame
        Its layer table.
    traced : callable
        Returns the dense network with its units, of which those are removed that the pruner removed.
    """

    module: nn.Module
    table: pd.DataFrame
    traced: Callable[[], Traced]

    def layers(self) -> pd.DataFrame:
        """Return the layer table."""
        return self.table


def look_at(network: Any, X: Any, module: Any, owner: str) -> Traced | Fitted:
    """
    Return a network in the form that tables are made of.

    Parameters
    ----------
    network : object
        What the user gave.
    X : object
        Example inputs, None where none are needed.
    module : Module or None
        Dense network for a saved file.
    owner : str
        Function that asks, for the messages.

    Returns
    -------
    Traced or Fitted
        The network.

    Raises
    ------
    ParameterTypeError
        If it holds no network, or example inputs are missing.
    ParameterError
        If `module` is given without a file, or a net cannot be initialized.
    InputError
        If the network does not run on the example inputs.
    PlanError
        If a file does not fit the module.
    """
    if isinstance(network, str | Path):
        return _from_file(network, X, module, owner)
    if module is not None:
        raise ParameterError(
            f"The 'module' parameter of {owner} must be None unless a saved file is looked at. "
            f"Got {type(module).__name__} instead."
        )
    network = unfrozen(network)
    if isinstance(network, PrunableNetwork):
        return _from_network(network)
    if isinstance(network, nn.Module) or not is_pruner(network):
        return _trace(module_of(network, X, owner), X, owner)
    pruner = _one_pruner(network)
    if not hasattr(pruner, "estimator_"):
        return _from_settings(pruner, X, owner)
    fitted = check_module(pruner.estimator_.module_)
    return Fitted(fitted, pruner.analyze(), lambda: _dense_of(pruner, X, owner))


def _one_pruner(pruner: Any) -> Any:
    """Return the pruner that a cross-validated one has chosen, or is made of; another one as it is."""
    if hasattr(pruner, "best_estimator_"):
        return pruner.best_estimator_
    inner = unfrozen(pruner.estimator)
    return inner if is_pruner(inner) else pruner


def _trace(module: nn.Module, X: Any, owner: str, pruner: Any = None) -> Traced:
    """Trace a dense network, with the settings of a pruner if there is one."""
    own = {name: getattr(pruner, name) for name in ("include", "exclude", "norms") if hasattr(pruner, name)}
    constraints = Constraints.checked(
        getattr(pruner, "min_channels", 1),
        getattr(pruner, "round_to", None),
        getattr(pruner, "max_layer_reduction", None),
        type(pruner).__name__,
    )
    graph, _ = prove_units(module, example_inputs(X, module, owner), **own)
    nothing = np.zeros(graph.n_units, dtype=bool)
    return Traced(module, CostModel(module, graph), Selector(graph, constraints), nothing)


def _from_settings(pruner: Any, X: Any, owner: str) -> Traced:
    return _trace(module_of(unfrozen(pruner.estimator), X, owner), X, owner, pruner)


def _dense_of(pruner: Any, X: Any, owner: str) -> Traced:
    """Return the dense network of a fitted pruner, which has the estimator from which it was made."""
    if X is None:
        raise ParameterTypeError(
            f"The 'X' parameter of {owner} must hold example inputs for the units of a fitted pruner, which does not "
            "keep the dense network. Got None instead."
        )
    found = _from_settings(pruner, X, owner)
    size = found.costs.graph.n_units
    if size != pruner.support_.size:
        raise InputError(
            f"The 'X' parameter of {owner} must be inputs like those that the pruner was fitted with, which found "
            f"{pruner.support_.size} units in the dense network. Got inputs that find {size} instead."
        )
    return Traced(found.module, found.costs, found.selector, ~pruner.support_, pruner.importances_)


def finite_importances(network: PrunableNetwork) -> NDArray[np.float64] | None:
    """Return the importances of the units of a network, None if nothing was scored or some are not finite."""
    try:
        return network.importances if network.num_scored else None
    except TrainingError:
        return None


def _from_network(network: PrunableNetwork) -> Traced:
    importances = finite_importances(network)
    return Traced(network.module, network._costs, network._selector, ~network.support, importances)


def _from_file(path: str | Path, X: Any, module: Any, owner: str) -> Traced:
    if isinstance(module, type) or not isinstance(module, nn.Module):
        raise ParameterTypeError(
            f"The 'module' parameter of {owner} must be a dense network of the class that was pruned, as for "
            f"prunekit.load. Got {'the class ' + module.__name__ if isinstance(module, type) else module!r} instead."
        )
    dense = check_module(module)
    plan = read_plan(path)
    graph, removed = trace_with_plan(dense, example_inputs(X, dense, owner), plan)
    return Traced(dense, CostModel(dense, graph), Selector(graph, Constraints()), removed)

"""From a pruner, a net or a network to the content of a report."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from prunekit.analysis._examples import as_tensors, moved_to, unfrozen
from prunekit.analysis._thresholds import lowest_allowed
from prunekit.cost import RESOURCE_WORDS, CostModel, layer_table
from prunekit.exceptions import NothingToPruneError, ParameterTypeError
from prunekit.network import PrunableNetwork
from prunekit.reporting._content import (
    STOP_REASONS,
    Importances,
    NetworkMap,
    ReportContent,
    describe_environment,
)
from prunekit.surgery import check_module, prove_units
from prunekit.tracing import Inputs, UnitGraph, coupled_layers, data_flow, named_parts, trace

_WANTED = "a network, an initialized skorch net, a PrunableNetwork or a TaylorPruner"


def collect_content(network: Any, X: Any, title: str | None) -> ReportContent:
    """
    Return what a report on a network says.

    Parameters
    ----------
    network : Module, skorch net, PrunableNetwork or TaylorPruner
        What to report on.
    X : array, Tensor, tuple, list or Mapping, or None
        Example inputs.
    title : str or None
        Heading; None for the name of the class.

    Returns
    -------
    ReportContent
        The content.

    Raises
    ------
    ParameterTypeError
        If it is none of these, or if example inputs are missing.
    """
    if isinstance(network, PrunableNetwork):
        return _of_network(network, title)
    if hasattr(network, "best_estimator_"):  # a search over pruners
        network = network.best_estimator_
    if hasattr(network, "plan_") and hasattr(network, "history_"):
        return _of_pruner(network, X, title)
    module = check_module(_module_of(network))
    if X is None:
        raise ParameterTypeError(
            "The 'X' parameter of report must hold example inputs for a network that was not pruned. Got None instead."
        )
    return _of_module(module, _example(X, module), title)


def map_network(graph: UnitGraph, module: nn.Module) -> NetworkMap:
    """
    Return how a traced network hangs together.

    Parameters
    ----------
    graph : UnitGraph
        Its units.
    module : Module
        The network.

    Returns
    -------
    NetworkMap
        Its layers and their connections.
    """
    types = {path: type(part).__name__ for path, part in named_parts(module)}
    return NetworkMap(data_flow(graph.trace), coupled_layers(graph), types)


def _of_module(module: nn.Module, example: Any, title: str | None) -> ReportContent:
    """Report on what could be pruned."""
    facts: dict[str, str] = {}
    try:
        network = PrunableNetwork(module, example, criterion="magnitude")
    except NothingToPruneError:
        graph, _ = prove_units(module, Inputs.of(example))
        table = layer_table(module, CostModel(module, graph), np.zeros(graph.n_units, dtype=bool))
        facts["Can be pruned"] = "nothing; the layer table says what blocks each layer"
    else:
        graph, table = network.graph, network.analyze()
        for name, resource in (("parameters", "params"), ("multiply-adds", "macs"), ("filters", "filters")):
            most = network.max_reduction(resource)  # type: ignore[arg-type]
            facts[f"Largest possible reduction of {name}"] = f"{100 * most:.1f} %"
    name = type(module).__name__
    return ReportContent(
        title=title or name,
        subject=f"{name} before pruning: what it costs, what could be pruned, and what blocks the rest.",
        table=table,
        totals=table.attrs["totals"],
        is_pruned=False,
        facts=facts,
        network=map_network(graph, module),
        environment=describe_environment(),
    )


def _of_network(network: PrunableNetwork, title: str | None) -> ReportContent:
    table = network.analyze()
    name = type(network.module).__name__
    removed = int((~network.support).sum())
    scored = bool(network.num_scored)
    return ReportContent(
        title=title or name,
        subject=f"{name} in a training loop, {'with units removed' if removed else 'with nothing removed so far'}.",
        table=table,
        totals=table.attrs["totals"],
        is_pruned=bool(removed),
        facts={"Units removed": f"{removed:,} of {len(network.support):,}"},
        network=map_network(network.graph, network.module),
        importances=Importances(
            np.asarray(network.importances, dtype=np.float64),
            network.unit_layers,
            network.support,
            network.criterion.name,
        )
        if scored
        else None,
        plan=network.plan,
        environment=describe_environment(),
    )


def _of_pruner(pruner: Any, X: Any, title: str | None) -> ReportContent:
    check_is_fitted(pruner)
    module = check_module(_module_of(pruner.estimator_))
    table = pruner.analyze()
    network = None
    if X is not None or hasattr(pruner, "n_features_in_"):
        example = np.zeros((2, pruner.n_features_in_), dtype=np.float32) if X is None else X
        network = map_network(UnitGraph(trace(module, Inputs.of(_example(example, module)))), module)
    name = type(module).__name__
    return ReportContent(
        title=title or name,
        subject=f"{name}, pruned by {type(pruner).__name__}.",
        table=table,
        totals=table.attrs["totals"],
        is_pruned=True,
        facts=path_facts(pruner.history_, pruner.stop_reason_, pruner.n_iterations_, pruner.reduction_of),
        network=network,
        no_network="Connections between layers are drawn where report gets example inputs: report(pruner, path, X).",
        history=pruner.history_,
        resource=pruner.reduction_of,
        baseline=_finite(pruner.baseline_score_),
        threshold=lowest_allowed(pruner.baseline_score_, pruner.min_score, pruner.max_score_drop),
        target=float(pruner.target_reduction),
        importances=Importances(
            np.asarray(pruner.importances_, dtype=np.float64),
            pruner.unit_layers_,
            pruner.support_,
            str(getattr(pruner.criterion, "name", pruner.criterion)),
        ),
        plan=pruner.plan_,
        settings={key: _short(value) for key, value in pruner.get_params(deep=False).items()},
        environment=describe_environment(),
    )


def path_facts(history: pd.DataFrame, stop_reason: str, n_iterations: int, resource: str) -> dict[str, str]:
    """
    Return what a run came to.

    Parameters
    ----------
    history : DataFrame
        As ``TaylorPruner.history_``.
    stop_reason : str
        Why it ended.
    n_iterations : int
        Number of its iterations.
    resource : str
        What its reductions are of.

    Returns
    -------
    dict of str to str
        Lines of the summary.
    """
    facts = {"Stop reason": STOP_REASONS.get(stop_reason, stop_reason), "Iterations": f"{n_iterations:,}"}
    held = history[history["held"].astype(bool)] if len(history) else history
    if len(held) and np.isfinite(held["score"].iloc[-1]):
        facts["Validation score"] = f"{held['score'].iloc[0]:.4f} before, {held['score'].iloc[-1]:.4f} after"
    if len(held):
        facts["Reduction reached"] = (
            f"{100 * held['reduction'].iloc[-1]:.1f} % of {RESOURCE_WORDS.get(resource, resource)}"
        )
    return facts


def _module_of(network: Any) -> Any:
    """Return the module of a net or of a pruner that is not fitted, anything else as it is."""
    if isinstance(network, nn.Module):
        return network
    while hasattr(network, "estimator") and not hasattr(network, "get_params_for"):
        network = network.estimator
    network = unfrozen(network)
    if isinstance(network, nn.Module) or hasattr(network, "module_"):
        return getattr(network, "module_", network)
    raise ParameterTypeError(
        f"The 'network' parameter of report must be {_WANTED}. Got {type(network).__name__} instead"
        f"{': call initialize() or fit() first' if hasattr(network, 'get_params_for') else ''}."
    )


def _example(X: Any, module: nn.Module) -> Any:
    """Return example inputs as tensors of the network's own data type and device."""
    if isinstance(X, Mapping):
        return {key: _example(value, module) for key, value in X.items()}
    if isinstance(X, tuple):
        return tuple(_example(value, module) for value in X)
    if isinstance(X, pd.DataFrame):
        X = X.iloc[:2].to_numpy()
    if isinstance(X, list):
        X = np.asarray(X[:2])
    if isinstance(X, np.ndarray):
        X = as_tensors(X, module, 2)
    if not isinstance(X, torch.Tensor):
        raise ParameterTypeError(
            "The 'X' parameter of report must hold example inputs: an array, a tensor, or a tuple or mapping of those. "
            f"Got {type(X).__name__} instead."
        )
    return moved_to(module, X)


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _short(value: object, most: int = 400) -> str:
    """Return the representation of a value on a line or a few."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]} …"

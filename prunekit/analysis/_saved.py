"""What a saved plan says about a dense network of its class."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prunekit.exceptions import PlanError
from prunekit.surgery import NORMS, PruningPlan, prove_units
from prunekit.tracing import Inputs, UnitGraph


def trace_with_plan(module: nn.Module, inputs: Inputs, plan: PruningPlan) -> tuple[UnitGraph, NDArray[np.bool_]]:
    """
    Return the units of a dense network and which of them a plan removes.

    Raises
    ------
    PlanError
        If the plan does not fit the network.
    """
    plan.check(module)
    for norms in NORMS:  # the plan does not say which of these it was made with
        graph, _ = prove_units(module, inputs, norms=norms)
        removed = _removed_by(plan, graph)
        if removed is not None:
            return graph, removed
    raise PlanError(
        f"The plan does not fit {type(module).__name__}: what it removes are no whole units of this network. "
        "Give the dense network that was pruned."
    )


def _removed_by(plan: PruningPlan, graph: UnitGraph) -> NDArray[np.bool_] | None:
    """Return the units that a plan removes, None if it removes parts of units or what is frozen."""
    kept = np.ones(len(graph.unit_of_label), dtype=bool)
    axes = {(axis.tensor, axis.dim): axis for axis in graph.axes}
    for entry in plan.kept:
        axis = axes[entry.tensor, entry.dim]
        kept[axis.labels] = False
        kept[axis.start + np.array(entry.indices)] = True
    units = np.unique(graph.unit_of_label[~kept])
    if (units < 0).any():
        return None
    removed = np.zeros(graph.n_units, dtype=bool)
    removed[units] = True
    return removed if np.array_equal(graph.kept_labels(removed), kept) else None

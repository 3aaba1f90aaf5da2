"""The layer table."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from torch import nn

from prunekit.cost._model import CostModel
from prunekit.tracing import tracked

COLUMNS = (
    "name",
    "type",
    "activation_size",
    "activation_format",
    "learnable_sizes",
    "num_learnables",
    "state_sizes",
    "learnables_reduction",
    "num_pruned_filters",
    "num_filters",
    "num_prunable",
    "macs",
    "macs_reduction",
    "memory_bytes",
    "blocked_by",
)

_SPATIAL = {3: "L", 4: "HW", 5: "DHW"}


def layer_table(module: nn.Module, costs: CostModel, removed: NDArray[np.bool_]) -> pd.DataFrame:
    """
    Return one row for every layer of a network without some units.

    Parameters
    ----------
    module : Module
        The network.
    costs : CostModel
        Costs of the dense network.
    removed : ndarray of bool, shape (n_units,)
        Removed units.

    Returns
    -------
    DataFrame
        Sizes and counts are after pruning, reductions are fractions of the dense network. ``attrs["totals"]`` holds
        before, after and reduction of ``params``, ``macs``, ``filters`` and ``memory_bytes``.

    Notes
    -----
    A layer is a module without children, or one that holds parameters or runs matrix products itself. Rows come in the
    order of execution. A layer whose parameters the one around it uses without calling it, as attention does, stands
    after that one; layers that did not run come last. A shared parameter belongs to the first layer that holds it.
    """
    builder = _Builder(module, costs, removed)
    table = pd.DataFrame([builder.row(path) for path in builder.layers()], columns=list(COLUMNS))
    table.attrs["totals"] = totals(costs, removed)
    return table


def totals(costs: CostModel, removed: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """
    Return what a network costs as a whole, with and without some units.

    Parameters
    ----------
    costs : CostModel
        Costs of the dense network.
    removed : ndarray of bool, shape (n_units,)
        Removed units.

    Returns
    -------
    dict of str to dict of str to number
        ``before``, ``after`` and ``reduction`` of ``params``, ``macs``, ``filters`` and ``memory_bytes``.
    """
    before, after = costs.measure(np.zeros_like(removed)), costs.measure(removed)
    names = {"params": "params", "macs": "macs", "filters": "filters", "memory_bytes": "memory"}
    return {
        name: {
            "before": getattr(before, field),
            "after": getattr(after, field),
            "reduction": _reduction(getattr(before, field), getattr(after, field)),
        }
        for name, field in names.items()
    }


def dense_counts(left: ArrayLike, reduction: ArrayLike) -> NDArray[np.float64]:
    """
    Return how many there were before a fraction of them was removed.

    Parameters
    ----------
    left : array-like of int, shape (n_layers,)
        How many are left: parameters or multiply-adds of layers, of which something is left wherever there was any.
    reduction : array-like of float, shape (n_layers,)
        Removed fraction, from 0 to 1; where it is 1, nothing is known and `left` is returned.

    Returns
    -------
    ndarray of float, shape (n_layers,)
        Whole numbers; fractions are exact up to rounding.
    """
    share = 1.0 - np.asarray(reduction, dtype=np.float64)
    counts: NDArray[np.float64] = np.rint(np.asarray(left, dtype=np.float64) / np.where(share > 0.0, share, 1.0))
    return counts


def _reduction(before: int, after: int) -> float:
    return 1.0 - after / before if before else 0.0


class _Builder:
    """Rows of the table, one at a time."""

    def __init__(self, module: nn.Module, costs: CostModel, removed: NDArray[np.bool_]) -> None:
        self._module = module
        self._costs = costs
        self._graph = costs.graph
        self._run = costs.graph.trace.runs[0]
        self._dense = np.ones(len(self._graph.component), dtype=bool)
        self._kept = self._graph.kept_labels(removed)
        self._macs_before = costs.operation_macs(self._dense)
        self._macs_after = costs.operation_macs(self._kept)
        self._parameters = _by_layer(name for name, _ in module.named_parameters())
        self._buffers = _by_layer(name for name, _ in module.named_buffers())

    def layers(self) -> Iterator[str]:
        """Yield the dotted path of every layer."""
        layers = [path for path, part in self._module.named_modules() if self._is_layer(path, part)]
        places = {path: place for place, path in enumerate(self._run.module_outputs)}
        last = len(places)
        # Sorting keeps the order of what has the same place: a layer before those that it uses.
        yield from sorted(layers, key=lambda path: places.get(path, places.get(path.rpartition(".")[0], last)))

    def _is_layer(self, path: str, part: nn.Module) -> bool:
        owns = path in self._parameters or path in self._buffers
        return owns or not any(part.children()) or bool(self._macs_before.get(path, 0))

    def row(self, path: str) -> dict[str, Any]:
        """Return the row of a layer."""
        parameters, buffers = self._parameters.get(path, []), self._buffers.get(path, [])
        learnables, states = self._sizes(parameters), self._sizes(buffers)
        before = sum(math.prod(self._costs.dense_shapes[name]) for name in parameters)
        after = sum(math.prod(shape) for shape in learnables.values())
        size, layout, activation_bytes = self._activation(path)
        macs_before, macs = self._macs_before.get(path, 0), self._macs_after.get(path, 0)
        producers = self._graph.filters_of(path)
        kept = self._kept[producers]
        weight_bytes = sum(
            math.prod(self._costs.tensor_shape(name, self._kept)) * self._costs.item_bytes[name]
            for name in (*parameters, *buffers)
        )
        return {
            "name": path or self._costs.layer_types[path],
            "type": self._costs.layer_types[path],
            "activation_size": size,
            "activation_format": layout,
            "learnable_sizes": learnables,
            "num_learnables": after,
            "state_sizes": states,
            "learnables_reduction": _reduction(before, after),
            "num_pruned_filters": int((~kept).sum()),
            "num_filters": int(kept.sum()),
            "num_prunable": int((kept & (self._graph.unit_of_label[producers] >= 0)).sum()),
            "macs": macs,
            "macs_reduction": _reduction(macs_before, macs),
            "memory_bytes": weight_bytes + activation_bytes,
            "blocked_by": self._reasons(producers),
        }

    def _sizes(self, names: list[str]) -> dict[str, tuple[int, ...]]:
        return {name.rpartition(".")[2]: self._costs.tensor_shape(name, self._kept) for name in names}

    def _activation(self, path: str) -> tuple[tuple[int, ...] | None, str, int]:
        """Return size for one sample, format and bytes of the output of a layer."""
        output = self._run.module_outputs.get(path)
        if output is None:
            return None, "", 0
        shape = list(self._graph.kept_shape(output, self._kept))
        batch = self._graph.trace.batch_size
        if batch and shape and shape[0] % batch == 0:
            shape[0] //= batch
        described = {dim for factor in self._graph.trace.store[output] for dim in tracked(factor)}
        last = len(shape) - 1
        if len(shape) < 2:
            layout = "N"[: len(shape)]
        elif len(shape) in _SPATIAL and described == {last}:
            layout = "N" + {3: "T", 4: "HW", 5: "DHW"}[len(shape)] + "C"
        else:
            layout = "NC" + _SPATIAL.get(len(shape), "?" * (len(shape) - 2))
        return tuple(shape), layout, math.prod(shape) * output.element_size()

    def _reasons(self, producers: NDArray[np.int64]) -> str:
        frozen = producers[self._graph.unit_of_label[producers] < 0]
        counts = Counter(str(self._graph.reason(int(label))) for label in frozen)
        return "; ".join(text for text, _ in counts.most_common())


def _by_layer(names: Iterable[str]) -> dict[str, list[str]]:
    """Return names of parameters or buffers by the dotted path of the layer that holds them."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.rpartition(".")[0], []).append(name)
    return found

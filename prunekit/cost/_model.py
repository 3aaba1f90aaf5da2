"""What a network costs when some of its units are removed, computed from the labels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from prunekit.cost._macs import contracted_shape
from prunekit.tracing import OperationRecord, UnitGraph, named_parts, named_tensors

Resource = Literal["params", "macs", "filters", "memory"]
RESOURCES: tuple[Resource, ...] = ("params", "macs", "filters", "memory")
RESOURCE_WORDS = {"params": "parameters", "macs": "multiply-adds"}
"""Words for those that have short names."""

Quantity = Literal["params", "macs", "filters", "memory", "latency"]
QUANTITIES: tuple[Quantity, ...] = (*RESOURCES, "latency")
"""What a reduction may be of: the resources, which are computed, and the time, which is measured."""

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Costs:
    """
    What a network costs.

    Parameters
    ----------
    params : int
        Number of parameters; a shared one counts once.
    macs : int
        Multiply-adds of convolutions and matrix products for one sample; one Linear(10, 20) is 200.
    filters : int
        Number of filters of all layers that make channels.
    memory : int
        Bytes of parameters and buffers and of the activations that are alive at the same time at the worst moment of
        an inference on one sample.
    """

    params: int
    macs: int
    filters: int
    memory: int


@dataclass(frozen=True, slots=True)
class _Interval:
    tensor: Tensor
    first: int
    last: int


class CostModel:
    """
    Costs of a traced network for any set of removed units.

    Parameters
    ----------
    module : Module
        The dense network.
    graph : UnitGraph
        Its units.

    Attributes
    ----------
    dense_shapes : dict of str to tuple of int
        Shapes of its parameters and buffers.
    layer_types : dict of str to str
        Classes of its layers by their dotted paths.
    item_bytes : dict of str to int
        Bytes of one element of each.
    """

    def __init__(self, module: nn.Module, graph: UnitGraph) -> None:
        self.graph = graph
        tensors = named_tensors(module)
        self.dense_shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.layer_types = {path: type(part).__name__ for path, part in named_parts(module)}
        self.item_bytes = {name: tensor.element_size() for name, tensor in tensors.items()}
        self._parameters = [name for name, _ in module.named_parameters()]
        self._axes: dict[str, dict[int, slice]] = {}
        for axis in graph.axes:
            self._axes.setdefault(axis.tensor, {})[axis.dim] = axis.labels
        self._producers = np.flatnonzero(graph.producers)
        self._dense: dict[Resource, int] = {}

    def measure(self, removed: NDArray[np.bool_]) -> Costs:
        """
        Return the costs without some units.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            Removed units.

        Returns
        -------
        Costs
            Of the compacted network.
        """
        params, macs, filters, memory = (self.of(resource, removed) for resource in RESOURCES)
        return Costs(params, macs, filters, memory)

    def of(self, resource: Resource, removed: NDArray[np.bool_]) -> int:
        """
        Return one of the costs without some units.

        Parameters
        ----------
        resource : {"params", "macs", "filters", "memory"}
            Which.
        removed : ndarray of bool, shape (n_units,)
            Removed units.

        Returns
        -------
        int
            Its value, as in `Costs`.
        """
        kept = self.graph.kept_labels(removed)
        if resource == "params":
            return sum(self._size_of(name, kept) for name in self._parameters)
        if resource == "macs":
            return sum(self.operation_macs(kept).values())
        if resource == "filters":
            return int(kept[self._producers].sum())
        return self.weight_bytes(kept) + self._peak_activation_bytes(kept)

    def reduction(self, resource: Resource, removed: NDArray[np.bool_]) -> float:
        """
        Return the fraction of one of the costs that goes with some units.

        Parameters
        ----------
        resource : {"params", "macs", "filters", "memory"}
            Of what.
        removed : ndarray of bool, shape (n_units,)
            Removed units.

        Returns
        -------
        float
            In [0, 1]; 0 where the dense network has no such costs.
        """
        if resource not in self._dense:
            self._dense[resource] = self.of(resource, np.zeros_like(removed))
        dense = self._dense[resource]
        return 1.0 - self.of(resource, removed) / dense if dense else 0.0

    def savings(self, resource: Resource, removed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """
        Return what the removal of each unit alone would save.

        Parameters
        ----------
        resource : {"params", "macs", "filters", "memory"}
            Of what.
        removed : ndarray of bool, shape (n_units,)
            Units that are gone already.

        Returns
        -------
        ndarray of float, shape (n_units,)
            As in `Costs`; 0 for units that are gone.
        """
        if resource == "params":
            return self._savings_of_parts(self._parameters, self._size_of, self._parameters_of_units, removed)
        if resource == "macs":
            saved = self._savings_of_parts(self._contractions, self._macs_of, self._contractions_of_units, removed)
            return saved / (self.graph.trace.batch_size or 1)
        return self.savings_of(lambda without: self.of(resource, without), removed)

    def savings_of(self, cost: Callable[[NDArray[np.bool_]], float], removed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """
        Return what the removal of each unit alone would save of a cost.

        Parameters
        ----------
        cost : callable
            Takes removed units. It is asked once for all units that hold equally many indices of the same dimensions.
        removed : ndarray of bool, shape (n_units,)
            Units that are gone already.

        Returns
        -------
        ndarray of float, shape (n_units,)
            As the cost is; 0 for units that are gone.
        """
        before = cost(removed)
        return self._over_kinds(removed, lambda unit, without: before - cost(without))

    def _savings_of_parts(
        self,
        parts: Sequence[_Part],
        cost: Callable[[_Part, NDArray[np.bool_]], float],
        holding: dict[int, list[int]],
        removed: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Return what the removal of each unit alone would save of a sum; only the parts that hold it are looked at."""
        kept = self.graph.kept_labels(removed)
        before = [cost(part, kept) for part in parts]

        def saved(unit: int, without: NDArray[np.bool_]) -> float:
            left = self.graph.kept_labels(without)
            return sum(before[number] - cost(parts[number], left) for number in holding.get(unit, ()))

        return self._over_kinds(removed, saved)

    def _over_kinds(
        self, removed: NDArray[np.bool_], saved: Callable[[int, NDArray[np.bool_]], float]
    ) -> NDArray[np.float64]:
        """Ask once for all units that hold equally many indices of the same dimensions; 0 for those that are gone."""
        result = np.zeros(self.graph.n_units)
        left = np.flatnonzero(~removed)
        if not left.size:
            return result
        _, first, kind = np.unique(self._signature[left], return_index=True, return_inverse=True)
        order = np.argsort(kind, kind="stable")
        bounds = np.cumsum(np.bincount(kind, minlength=len(first)))[:-1]
        for unit, same in zip(left[first].tolist(), np.split(left[order], bounds), strict=True):
            without = removed.copy()
            without[unit] = True
            result[same] = saved(unit, without)
        return result

    @cached_property
    def _parameters_of_units(self) -> dict[int, list[int]]:
        axes = [self._axes.get(name, {}).values() for name in self._parameters]
        return self._holding([[np.arange(own.start, own.stop) for own in some] for some in axes])

    @cached_property
    def _contractions_of_units(self) -> dict[int, list[int]]:
        store = self.graph.trace.store
        tensors = [(*record.inputs, *record.outputs) for record in self._contractions]
        return self._holding([[own.numpy().ravel() for tensor in some for own in store[tensor]] for some in tensors])

    def _holding(self, labels: list[list[NDArray[np.int64]]]) -> dict[int, list[int]]:
        """Return the positions of the parts that hold a unit, by unit; of each part the labels are given."""
        holding: dict[int, list[int]] = {}
        for number, some in enumerate(labels):
            units = np.unique(self.graph.unit_of_label[np.concatenate(some)]) if some else np.zeros(0, dtype=np.int64)
            for unit in units[units >= 0].tolist():
                holding.setdefault(unit, []).append(number)
        return holding

    def _size_of(self, name: str, kept: NDArray[np.bool_]) -> int:
        return math.prod(self.tensor_shape(name, kept))

    @cached_property
    def _signature(self) -> NDArray[np.float64]:
        """Equal for units that hold equally many indices of the same dimensions, shape (n_units,)."""
        drawn = np.random.default_rng(0).random(len(self.graph.axes))
        signature = np.zeros(self.graph.n_units)
        for axis, number in zip(self.graph.axes, drawn, strict=True):
            units = self.graph.unit_of_label[axis.labels]
            signature += number * np.bincount(units[units >= 0], minlength=self.graph.n_units)
        return signature.round(9)

    def tensor_shape(self, name: str, kept: NDArray[np.bool_]) -> tuple[int, ...]:
        """Return the shape of a parameter or buffer when only some labels stay."""
        shape = list(self.dense_shapes[name])
        for dim, labels in self._axes.get(name, {}).items():
            shape[dim] = int(kept[labels].sum())
        return tuple(shape)

    def weight_bytes(self, kept: NDArray[np.bool_]) -> int:
        """Return the bytes of all parameters and buffers."""
        return sum(math.prod(self.tensor_shape(name, kept)) * size for name, size in self.item_bytes.items())

    def operation_macs(self, kept: NDArray[np.bool_]) -> dict[str, int]:
        """Return multiply-adds for one sample by the dotted path of the module that runs them."""
        totals: dict[str, float] = {}
        for record in self._contractions:
            totals[record.module] = totals.get(record.module, 0) + self._macs_of(record, kept)
        batch = self.graph.trace.batch_size or 1
        return {module: round(total) // batch for module, total in totals.items()}

    def _macs_of(self, record: OperationRecord, kept: NDArray[np.bool_]) -> float:
        """Return the multiply-adds of an operation for the whole batch of the run."""
        shape = contracted_shape(record, lambda tensor: self.graph.kept_shape(tensor, kept))
        return float(math.prod(shape) * record.repeats)

    def operation_elements(self, kept: NDArray[np.bool_]) -> dict[str, int]:
        """Return the elements that operations make in the run, by the dotted path of the module that runs them."""
        totals: dict[str, int] = {}
        for record in self.graph.trace.runs[0].operations:
            made = sum(math.prod(self.graph.kept_shape(tensor, kept)) for tensor in record.outputs)
            totals[record.module] = totals.get(record.module, 0) + int(made * record.repeats)
        return totals

    @cached_property
    def _contractions(self) -> list[OperationRecord]:
        operations = self.graph.trace.runs[0].operations
        return [record for record in operations if contracted_shape(record, lambda tensor: tuple(tensor.shape))]

    @cached_property
    def _activations(self) -> list[_Interval]:
        """Memory of the eval run: one interval for each storage, from its making to its last use."""
        weights = self.graph.trace.store
        seen: dict[int, _Interval] = {}
        for number, record in enumerate(self.graph.trace.runs[0].operations):
            extra = {id(out) for out in record.outputs[1:] if not weights[out]}  # saved statistics, freed at once
            for tensor in (*record.inputs, *record.outputs):
                if weights.is_weight(tensor) or id(tensor) in extra:
                    continue
                key = tensor.untyped_storage()._cdata
                known = seen.get(key, _Interval(tensor, number, number))
                seen[key] = _Interval(known.tensor, known.first, number)
        return list(seen.values())

    def _peak_activation_bytes(self, kept: NDArray[np.bool_]) -> int:
        changes = np.zeros(len(self.graph.trace.runs[0].operations) + 1, dtype=np.int64)
        for interval in self._activations:
            size = math.prod(self.graph.kept_shape(interval.tensor, kept)) * interval.tensor.element_size()
            changes[interval.first] += size
            changes[interval.last + 1] -= size
        return int(np.cumsum(changes).max(initial=0)) // (self.graph.trace.batch_size or 1)

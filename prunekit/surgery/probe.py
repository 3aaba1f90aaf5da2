"""The proof that whatever is called prunable can be compacted: compact a copy and follow the labels again."""

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunekit.surgery.attributes import Repair, is_known, labels_along, repairs_without_parameters
from prunekit.surgery.compaction import apply_plan_
from prunekit.surgery.plan import make_plan
from prunekit.tracing import (
    MISPLACED,
    Axis,
    CheckingTable,
    LabelConflictError,
    LabelStore,
    OperationRecord,
    Reason,
    RunRecord,
    Tracer,
    UnitGraph,
    tracked,
)

BoolArray = NDArray[np.bool_]
Spread = Callable[[UnitGraph], BoolArray]


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Where the compacted copy leaves the labels.

    Parameters
    ----------
    run : int
        Number of the run of the trace.
    operation : int
        Number of the operation in that run.
    text : str
        What went wrong there.
    labels : ndarray of int or None, default=None
        Labels that are certainly to blame; the operation tells the others.
    """

    run: int
    operation: int
    text: str
    labels: NDArray[np.int64] | None = None

    @property
    def position(self) -> tuple[int, int]:
        """Run and operation, to compare how far two probes came."""
        return self.run, self.operation


class _DeviationError(Exception):
    """The compacted copy runs another operation, or one with another shape or number than expected."""


def prove(module: nn.Module, graph: UnitGraph) -> tuple[UnitGraph, tuple[Repair, ...]]:
    """
    Freeze the units that cannot be compacted, after trying to repair attributes that hold their size.

    Parameters
    ----------
    module : Module
        The dense network; it is copied and not touched.
    graph : UnitGraph
        Its units.

    Returns
    -------
    tuple of UnitGraph and tuple of Repair
        The units that stood the probe, and the attributes to set when they are removed.

    Notes
    -----
    The copy is compacted with several spreads of removed units and traced again with the labels that its parameters
    kept. Every operation must be the one of the dense run, with the shape and the numbers that the labels foretell, and
    wherever labels meet they must be the same ones. So not only a wrong shape is found, but also data that ends up in
    the wrong place. Each spread leaves at least two indices of a parameter's dimension; whether one is enough is tried
    last, since torch takes other paths for a size of 1: where it is not, two must stay.
    """
    repairs = repairs_without_parameters(module, graph)
    number = 0
    while graph.n_units and number < len(spreads := _spreads_for(graph)):
        failure = _probe_spread(graph, repairs, spreads[number])
        if failure is None:
            number += 1
            continue
        repaired = _repair(module, graph, repairs, failure, spreads[number])
        if repaired is None:
            graph = _freeze(module, graph, repairs, failure, spreads[number])
        else:
            repairs = repaired
        number = 0
    if graph.n_units and not _stands_fewest(graph, repairs):
        graph = graph.with_at_least(2)
    return graph, repairs


def _random(fraction: float, seed: int) -> Spread:
    def spread(graph: UnitGraph) -> BoolArray:
        return np.random.default_rng(seed).random(graph.n_units) < fraction

    return spread


def _half(graph: UnitGraph) -> BoolArray:
    return np.random.default_rng(0).random(graph.n_units) < 0.5


def _other_half(graph: UnitGraph) -> BoolArray:
    return ~_half(graph)


def _first_of_each(graph: UnitGraph) -> BoolArray:
    return _of_each_layer(graph, slice(0, 1))


def _last_of_each(graph: UnitGraph) -> BoolArray:
    return _of_each_layer(graph, slice(-1, None))


def _every_second(graph: UnitGraph) -> BoolArray:
    return _of_each_layer(graph, slice(0, None, 2))


def _every_other_second(graph: UnitGraph) -> BoolArray:
    return _of_each_layer(graph, slice(1, None, 2))


def _mixed(graph: UnitGraph) -> BoolArray:
    """Return removed units: by turns of the layers their first, their last, or a third of them."""
    removed = np.zeros(graph.n_units, dtype=bool)
    random = np.random.default_rng(5)
    for number, layer in enumerate(graph.layers):
        units = graph.unit_of_label[graph.filters_of(layer)]
        units = units[units >= 0]
        which = (units[:1], units[-1:], units[random.random(units.size) < 0.3])[number % 3]
        removed[which] = True
    return removed


def _of_each_layer(graph: UnitGraph, which: slice) -> BoolArray:
    """Return removed units: some of the filters of each layer, with all that goes with them."""
    removed = np.zeros(graph.n_units, dtype=bool)
    for layer in graph.layers:
        units = graph.unit_of_label[graph.filters_of(layer)]
        removed[units[units >= 0][which]] = True
    return removed


_SPREADS: tuple[Spread, ...] = (
    _half,
    _other_half,
    _first_of_each,
    _last_of_each,
    _every_second,
    _every_other_second,
)
"""Which units the probes remove, by turns; together they catch whatever counts channels from either end."""

_MORE_SPREADS = tuple(_random(fraction, seed) for seed, fraction in enumerate((0.15, 0.3, 0.7, 0.85), start=1))
"""In small networks, where few units let mistakes cancel out by chance, and where a probe costs little."""

_FEW_SPREADS: tuple[Spread, ...] = (_half, _mixed)
"""In large networks, where hardly anything can cancel out: no size that is removed is like another."""


def _spreads_for(graph: UnitGraph) -> tuple[Spread, ...]:
    if graph.n_units <= 64:
        return _SPREADS + _MORE_SPREADS
    return _SPREADS if graph.n_units <= 1024 else _FEW_SPREADS


def _probe_spread(graph: UnitGraph, repairs: tuple[Repair, ...], spread: Spread) -> Failure | None:
    return probe(graph, repairs, _keeping(graph, spread(graph), 2))


def _keeping(graph: UnitGraph, removed: BoolArray, at_least: int, *, backwards: bool = False) -> BoolArray:
    """Return removed units with so many given back that every dimension of a parameter keeps enough indices."""
    removed = removed.copy()
    for group in graph.groups:
        wanted = min(max(group.minimum, at_least if group.of_parameter else 1), group.units.size)
        own = group.units[group.units >= 0]
        for unit in np.unique(own[removed[own]])[:: -1 if backwards else 1]:
            if group.units.size - int(removed[own].sum()) >= wanted:
                break
            removed[unit] = False
    return removed


def _stands_fewest(graph: UnitGraph, repairs: tuple[Repair, ...]) -> bool:
    """Return whether the network stands the probes also where they leave one index of a parameter's dimension."""
    everything = np.ones(graph.n_units, dtype=bool)
    spreads = _spreads_for(graph)
    if spreads is _FEW_SPREADS:
        return probe(graph, repairs, _keeping(graph, everything, 1)) is None
    removals = [_keeping(graph, everything, 1, backwards=backwards) for backwards in (False, True)]
    for spread in spreads:
        removed = _keeping(graph, spread(graph), 1)
        if not np.array_equal(removed, _keeping(graph, spread(graph), 2)):
            removals.append(removed)
    return all(probe(graph, repairs, removed) is None for removed in removals)


def probe(
    graph: UnitGraph,
    repairs: tuple[Repair, ...],
    removed: BoolArray,
) -> Failure | None:
    """
    Compact a copy, run it and follow the labels.

    Parameters
    ----------
    graph : UnitGraph
        Units of the network.
    repairs : tuple of Repair
        Attributes to set.
    removed : ndarray of bool, shape (n_units,)
        Units to remove.

    Returns
    -------
    Failure or None
        The first operation where the copy fails or leaves the labels.
    """
    kept = graph.kept_labels(removed)
    plan = make_plan(graph, removed, repairs)
    axes = {(axis.tensor, axis.dim): axis for axis in graph.axes}
    prunable = graph.unit_of_component >= 0
    sandbox = graph.trace.sandbox
    with sandbox.opened() as duplicate:
        apply_plan_(duplicate, plan)
        table = CheckingTable(graph.component, prunable)

        def initial(name: str, dim: int, size: int) -> Tensor:
            axis: Axis = axes[name, dim]
            return torch.arange(axis.start, axis.start + axis.size)[kept[axis.labels]]

        tracer = Tracer(duplicate, table, initial)
        inputs = sandbox.prepare(graph.trace.inputs)
        for number, run in enumerate(graph.trace.runs):
            watcher = _Watcher(graph, run, kept, tracer.store)
            try:
                found = tracer.forward(inputs.args, inputs.kwargs, run.training, watch=watcher)
            except LabelConflictError as exc:
                return Failure(number, max(len(tracer.run.operations) - 1, 0), str(exc), exc.labels)
            except _DeviationError as exc:
                return Failure(number, max(len(tracer.run.operations) - 1, 0), str(exc))
            except Exception as exc:
                return Failure(number, min(len(tracer.run.operations), len(run.operations) - 1), _first_line(exc))
            new = found.warnings - run.warnings
            if new:
                warnings.warn(f"The compacted network warns where the dense one did not: {min(new)}", stacklevel=2)
            if len(found.operations) != len(run.operations):
                return Failure(number, len(run.operations) - 1, "the compacted network ends early")
            if (labels := table.contradictions()).size:
                return Failure(number, len(run.operations) - 1, MISPLACED, labels)
    return None


class _Watcher:
    """Compare every operation of the compacted run with the dense one."""

    def __init__(self, graph: UnitGraph, run: RunRecord, kept: BoolArray, found: LabelStore) -> None:
        self._graph = graph
        self._run = run
        self._kept = kept
        self._found = found
        self._parts: dict[int, NDArray[np.int64]] = {}
        self._agreed: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def __call__(self, record: OperationRecord, number: int) -> None:
        """Raise `_DeviationError` at the first difference."""
        if number >= len(self._run.operations):
            raise _DeviationError("the compacted network runs more operations")
        dense = self._run.operations[number]
        if dense.name != record.name:
            raise _DeviationError(f"the compacted network runs {record.name} in place of {dense.name}")
        if dense.scalars != record.scalars:
            raise _DeviationError(f"a number computed from a size changes from {dense.scalars} to {record.scalars}")
        for position, (out, smaller) in enumerate(zip(dense.outputs, record.outputs, strict=True)):
            if position and not self._graph.trace.store[out]:
                continue  # saved statistics and the like, which no rule describes
            expected = self._expected_shape(out)
            if tuple(smaller.shape) != expected:
                fixed = [size for size, wanted in zip(smaller.shape, expected, strict=False) if size != wanted]
                raise _DeviationError(f"the model's code fixes the size {fixed[0] if fixed else tuple(smaller.shape)}")
            self._compare_labels(out, smaller)

    def _expected_shape(self, dense: Tensor) -> tuple[int, ...]:
        factors = self._graph.trace.store[dense]
        if len(factors) != 1:
            return self._graph.kept_shape(dense, self._kept)
        part, shape = self._part(factors[0]), list(dense.shape)
        for dim in tracked(factors[0]):
            shape[dim - part.ndim] = part.shape[dim]
        return tuple(shape)

    def _part(self, factor: Tensor) -> NDArray[np.int64]:
        """Return what stays of a factor; most tensors share theirs with others."""
        if id(factor) not in self._parts:
            self._parts[id(factor)] = self._graph.kept_part(factor, self._kept)
        return self._parts[id(factor)]

    def _compare_labels(self, dense: Tensor, smaller: Tensor) -> None:
        """Raise `_DeviationError` unless every factor is one of the dense run without what is gone."""
        component = self._graph.component
        before, after = self._graph.trace.store, self._found
        pairs = list(zip(before[dense], after[smaller], strict=False))
        bare = not before.alone(dense) and not after.alone(smaller)
        single = bare and len(pairs) == 1 == len(before[dense]) == len(after[smaller])
        if single and (id(pairs[0][0]), id(pairs[0][1])) in self._agreed:
            return
        expected = [self._part(factor) for factor in (*before[dense], *before.alone(dense))]
        found = [factor.numpy() for factor in (*after[smaller], *after.alone(smaller))]
        if single and _equal(component, found[0], expected[0]):
            self._agreed[id(pairs[0][0]), id(pairs[0][1])] = pairs[0]
            return
        fresh = [labels for labels in found if (labels >= len(component)).any()]  # see CheckingTable.contradictions
        for labels in found:
            if any(labels is one for one in fresh) or any(_equal(component, labels, one) for one in expected):
                continue
            own = np.unique(component[labels])
            if own.size > 1 or not any(own[0] in component[one] for one in expected):
                raise _DeviationError(MISPLACED)  # within a single unit the order does not matter
        if not fresh:
            self._restore(smaller, [one for one in expected if not any(_equal(component, one, own) for own in found)])

    def _restore(self, smaller: Tensor, lost: list[NDArray[np.int64]]) -> None:
        """Give a tensor the labels that a dimension of size 1, which broadcasts, has lost on the way."""
        factors = tuple(torch.from_numpy(labels) for labels in lost if labels.size > 1)
        if factors:
            self._found[smaller] = (*self._found[smaller], *factors)


def _equal(component: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> bool:
    """Return whether two arrays of labels name the same components in the same order."""
    if left.size != right.size or max(left.max(initial=0), right.max(initial=0)) >= len(component):
        return False
    return bool((component[left.ravel()] == component[right.ravel()]).all())


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return f"the model's code fixes a size: {lines[0] if lines else type(exc).__name__}"


def _repair(
    module: nn.Module,
    graph: UnitGraph,
    repairs: tuple[Repair, ...],
    failure: Failure,
    spread: Callable[[UnitGraph], BoolArray],
) -> tuple[Repair, ...] | None:
    """Return the repairs with one more that brings the probe further, None if no attribute does."""
    record = graph.trace.runs[failure.run].operations[failure.operation]
    sizes = dict(_sizes(graph, record))
    path: str | None = record.module
    done = {(repair.module, repair.name) for repair in repairs}
    while path is not None:
        owner = module.get_submodule(path)
        if not is_known(owner):
            matching = tuple(
                Repair(path, name, sizes[value])
                for name, value in vars(owner).items()
                if type(value) is int and value in sizes and (path, name) not in done
            )
            best = max(_candidates(module, graph, repairs, matching, spread), default=None, key=lambda pair: pair[0])
            if best is not None and best[0] > failure.position:
                return repairs + best[1]
        path = path.rpartition(".")[0] if path else None
    return None


def _candidates(
    module: nn.Module,
    graph: UnitGraph,
    repairs: tuple[Repair, ...],
    matching: tuple[Repair, ...],
    spread: Spread,
) -> Iterator[tuple[tuple[int, int], tuple[Repair, ...]]]:
    """Yield repairs with the position that the probe reaches with them; each alone, then all, until one is enough."""
    alone = [(one,) for one in matching]
    for candidate in [*alone, matching] if len(matching) > 1 else alone:
        later = _probe_spread(graph, repairs + candidate, spread)
        if later is None:
            yield _END, candidate
            return
        yield later.position, candidate


_END = (sys.maxsize, 0)
"""Position of a probe that came through."""


def _sizes(graph: UnitGraph, record: OperationRecord) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the sizes that an operation meets with the labels that they count."""
    for tensor in (*record.inputs, *record.outputs):
        for factor in graph.trace.store[tensor]:
            for dim in range(factor.dim()):
                labels = labels_along(factor, dim)
                if labels is not None and (graph.unit_of_label[labels] >= 0).any():
                    yield factor.size(dim), labels
    for number, counted in record.counts:
        yield number, counted.reshape(-1, 1).numpy()


def _freeze(
    module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...], failure: Failure, spread: Spread
) -> UnitGraph:
    """Freeze what the failing operation works on, at least one unit."""
    record = graph.trace.runs[failure.run].operations[failure.operation]
    reason = Reason(failure.text, record.name.rpartition(".")[0], record.module, record.location)
    data = [tensor for tensor in record.inputs if not graph.trace.store.is_weight(tensor)]
    labels = _labels_of(graph, data)
    if failure.labels is not None:
        labels = np.union1d(labels, failure.labels[graph.unit_of_label[failure.labels] >= 0])
    if not labels.size:
        labels = _culprits(module, graph, repairs, spread)
    return graph.with_blocked([(labels, reason)])


def _labels_of(graph: UnitGraph, tensors: tuple[Tensor, ...] | list[Tensor]) -> NDArray[np.int64]:
    parts = [factor.reshape(-1).numpy() for tensor in tensors for factor in graph.trace.store[tensor]]
    labels = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
    return labels[graph.unit_of_label[labels] >= 0]


def _culprits(module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...], spread: Spread) -> NDArray[np.int64]:
    """Return the filters of the layers that fail when they alone lose filters, of all layers if none does."""
    removed = _keeping(graph, spread(graph), 2)
    found = []
    for layer in graph.layers:
        labels = graph.filters_of(layer)
        labels = labels[graph.unit_of_label[labels] >= 0]
        alone = np.zeros_like(removed)
        alone[graph.unit_of_label[labels]] = removed[graph.unit_of_label[labels]]
        if alone.any() and probe(graph, repairs, alone) is not None:
            found.append(labels)
    return np.concatenate(found) if found else np.flatnonzero(graph.unit_of_label >= 0)

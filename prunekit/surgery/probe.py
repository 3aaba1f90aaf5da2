"""The proof that whatever is called prunable can be compacted: compact a copy and follow the labels again."""

import warnings
from collections.abc import Iterator
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
    LabelTable,
    OperationRecord,
    Reason,
    RunRecord,
    Tracer,
    UnitGraph,
    sandbox,
)

BoolArray = NDArray[np.bool_]


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
        Labels to blame, None where the operation tells them.
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
    The copy is compacted with two spreads of removed units and traced again with the labels that its parameters kept:
    about half of them, and all but the few that must stay. Every operation must be the one of the dense run, with the
    shape and the numbers that the labels foretell, and wherever labels meet they must be the same ones. So not only a
    wrong shape is found, but also data that ends up in the wrong place.
    """
    repairs = repairs_without_parameters(module, graph)
    for _ in range(len(graph.trace.runs[0].operations) + 8):
        if graph.n_units == 0:
            return graph, repairs
        failure, spread = _first_failure(module, graph, repairs)
        if failure is None:
            return graph, repairs
        repaired = _repair(module, graph, repairs, failure, spread)
        if repaired is not None:
            repairs = repaired
            continue
        graph = _freeze(module, graph, repairs, failure)
    return graph, repairs


@dataclass(frozen=True, slots=True)
class _Spread:
    """
    Which units a probe removes.

    A dimension of size 1 broadcasts and cannot be told from one without channels, so where only one index of a
    dimension is to stay, labels cannot be followed and shapes, operations and numbers alone are compared.
    """

    fraction: float
    at_least: int
    follow_labels: bool


_SPREADS = (_Spread(0.5, 2, True), _Spread(1.0, 1, False))


def _first_failure(module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...]) -> tuple[Failure | None, _Spread]:
    for spread in _SPREADS:
        failure = _probe_spread(module, graph, repairs, spread)
        if failure is not None:
            return failure, spread
    return None, _SPREADS[-1]


def _probe_spread(module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...], spread: _Spread) -> Failure | None:
    removed = _removed_by(graph, spread)
    return probe(module, graph, repairs, removed, follow_labels=spread.follow_labels)


def _removed_by(graph: UnitGraph, spread: _Spread) -> BoolArray:
    random = np.random.default_rng(0)
    removed = random.random(graph.n_units) < spread.fraction
    for group in graph.groups:
        own = np.unique(group.units)
        short = min(max(group.minimum, spread.at_least), own.size) - int((~removed[own]).sum())
        if short > 0:
            removed[random.permutation(own[removed[own]])[:short]] = False
    return removed


def probe(
    module: nn.Module,
    graph: UnitGraph,
    repairs: tuple[Repair, ...],
    removed: BoolArray,
    *,
    follow_labels: bool = True,
) -> Failure | None:
    """
    Compact a copy, run it and follow the labels.

    Parameters
    ----------
    module : Module
        The dense network.
    graph : UnitGraph
        Its units.
    repairs : tuple of Repair
        Attributes to set.
    removed : ndarray of bool, shape (n_units,)
        Units to remove.
    follow_labels : bool, default=True
        Whether labels must meet the same labels as in the dense run; shapes, operations and numbers always must.

    Returns
    -------
    Failure or None
        The first operation where the copy fails or leaves the labels.
    """
    kept = graph.kept_labels(removed)
    plan = make_plan(graph, removed, repairs)
    axes = {(axis.tensor, axis.dim): axis for axis in graph.axes}
    prunable = graph.unit_of_component >= 0
    with sandbox(module, graph.trace.fake) as (duplicate, prepare):
        apply_plan_(duplicate, plan)
        table = CheckingTable(graph.component, prunable) if follow_labels else LabelTable()

        def initial(name: str, dim: int, size: int) -> Tensor:
            axis: Axis = axes[name, dim]
            return torch.arange(axis.start, axis.start + axis.size)[kept[axis.labels]]

        tracer = Tracer(duplicate, table, initial)
        inputs = prepare(graph.trace.inputs)
        for number, run in enumerate(graph.trace.runs):
            watcher = _Watcher(graph, run, kept)
            try:
                found = tracer.forward(inputs.args, inputs.kwargs, run.training, watch=watcher)
            except (_DeviationError, LabelConflictError) as exc:
                return Failure(number, max(len(tracer.run.operations) - 1, 0), str(exc))
            except Exception as exc:
                return Failure(number, min(len(tracer.run.operations), len(run.operations) - 1), _first_line(exc))
            new = found.warnings - run.warnings
            if new:
                warnings.warn(f"The compacted network warns where the dense one did not: {min(new)}", stacklevel=2)
            if len(found.operations) != len(run.operations):
                return Failure(number, len(run.operations) - 1, "the compacted network ends early")
            if isinstance(table, CheckingTable) and (labels := table.contradictions()).size:
                return Failure(number, len(run.operations) - 1, MISPLACED, labels)
    return None


class _Watcher:
    """Compare every operation of the compacted run with the dense one."""

    def __init__(self, graph: UnitGraph, run: RunRecord, kept: BoolArray) -> None:
        self._graph = graph
        self._run = run
        self._kept = kept
        self._free: set[int] = set()

    def __call__(self, record: OperationRecord, number: int) -> None:
        """Raise `_DeviationError` at the first difference."""
        if number >= len(self._run.operations):
            raise _DeviationError("the compacted network runs more operations")
        dense = self._run.operations[number]
        if dense.name != record.name:
            raise _DeviationError(f"the compacted network runs {record.name} in place of {dense.name}")
        if dense.scalars != record.scalars:
            raise _DeviationError(f"a number computed from a size changes from {dense.scalars} to {record.scalars}")
        if not any(self._graph.trace.store[tensor] for tensor in dense.inputs):
            free = not dense.inputs or any(id(tensor) in self._free for tensor in dense.inputs)
            if free and not any(self._graph.trace.store[out] for out in dense.outputs):
                self._free.update(id(out) for out in dense.outputs)
                return
        for position, (out, smaller) in enumerate(zip(dense.outputs, record.outputs, strict=True)):
            if position and not self._graph.trace.store[out]:
                continue  # saved statistics and the like, which no rule describes
            expected = self._graph.kept_shape(out, self._kept)
            if tuple(smaller.shape) != expected:
                fixed = [size for size, wanted in zip(smaller.shape, expected, strict=False) if size != wanted]
                raise _DeviationError(f"the model's code fixes the size {fixed[0] if fixed else tuple(smaller.shape)}")


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return f"the model's code fixes a size: {lines[0] if lines else type(exc).__name__}"


def _repair(
    module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...], failure: Failure, spread: _Spread
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
            for candidate in (matching, *((one,) for one in matching)):
                if not candidate:
                    continue
                later = _probe_spread(module, graph, repairs + candidate, spread)
                if later is None or later.position > failure.position:
                    return repairs + candidate
        path = path.rpartition(".")[0] if path else None
    return None


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


def _freeze(module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...], failure: Failure) -> UnitGraph:
    """Freeze what the failing operation works on, at least one unit."""
    if failure.labels is not None:
        return graph.with_blocked([(failure.labels, Reason(failure.text))])
    record = graph.trace.runs[failure.run].operations[failure.operation]
    reason = Reason(failure.text, record.name.rpartition(".")[0], record.module, record.location)
    data = [tensor for tensor in record.inputs if not graph.trace.store.is_weight(tensor)]
    for tensors in (data, record.inputs, record.outputs):
        labels = _labels_of(graph, tensors)
        if labels.size:
            return graph.with_blocked([(labels, reason)])
    return graph.with_blocked([(_culprits(module, graph, repairs), reason)])


def _labels_of(graph: UnitGraph, tensors: tuple[Tensor, ...] | list[Tensor]) -> NDArray[np.int64]:
    parts = [factor.reshape(-1).numpy() for tensor in tensors for factor in graph.trace.store[tensor]]
    labels = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
    return labels[graph.unit_of_label[labels] >= 0]


def _culprits(module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...]) -> NDArray[np.int64]:
    """Return the labels of the layers that fail when they alone lose filters, of all layers if none does."""
    found = []
    for axis in graph.axes:
        labels = np.arange(axis.start, axis.start + axis.size)
        units = graph.unit_of_label[labels]
        if not graph.producers[labels].any() or (units < 0).all():
            continue
        removed = np.zeros(graph.n_units, dtype=bool)
        removed[units[units >= 0][:-1:2]] = True
        if removed.any() and probe(module, graph, repairs, removed) is not None:
            found.append(labels[units >= 0])
    if not found:
        return np.flatnonzero(graph.unit_of_label >= 0)
    return np.concatenate(found)

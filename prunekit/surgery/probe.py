"""The proof that whatever is called prunable can be compacted: compact a copy and follow the labels again."""

import itertools
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from prunekit.surgery.attributes import Repair, labels_along, repairs_without_parameters
from prunekit.surgery.probing import Failure, probe
from prunekit.surgery.repairing import find_repairs
from prunekit.surgery.spreads import Spread, computes_sizes, half, is_large, keeping, spreads_for, varied
from prunekit.tracing import OperationRecord, Reason, UnitGraph, tracked

BoolArray = NDArray[np.bool_]


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
    the wrong place. Each spread leaves at least two indices of every labelled dimension; whether one is enough is
    tried last, since torch takes other paths for a size of 1: where it is not, two must stay. In large networks one
    removal does both, if it works.
    """
    repairs = repairs_without_parameters(module, graph)
    if is_large(graph):
        if computes_sizes(graph):
            graph, repairs = _settle(module, graph, repairs, lambda _: (half,))
        if not graph.n_units or not probe(graph, repairs, keeping(graph, varied(graph), 1)):
            return graph, repairs
    graph, repairs = _settle(module, graph, repairs, spreads_for)
    if graph.n_units and not _stands_fewest(graph, repairs):
        graph = graph.with_at_least(2)
    return graph, repairs


def _settle(
    module: nn.Module,
    graph: UnitGraph,
    repairs: tuple[Repair, ...],
    required: Callable[[UnitGraph], tuple[Spread, ...]],
) -> tuple[UnitGraph, tuple[Repair, ...]]:
    """Repair and freeze until the network stands all spreads, each of which leaves two indices of each dimension."""
    number, hopeless = 0, set[Hashable]()
    while graph.n_units and number < len(spreads := required(graph)):
        removed = keeping(graph, spreads[number](graph), 2)
        failures = probe(graph, repairs, removed, mends=True)
        if not failures:
            number += 1
            continue
        number = 0
        attempt = partial(_first_failure, graph, removed)
        found = find_repairs(module, graph, repairs, failures, attempt, hopeless)
        if found:
            repairs += found
        else:
            graph = _freeze(module, graph, repairs, failures, removed)
    return graph, repairs


def _stands_fewest(graph: UnitGraph, repairs: tuple[Repair, ...]) -> bool:
    """Return whether the network stands the probes also where they leave one index of a labelled dimension."""
    everything = np.ones(graph.n_units, dtype=bool)
    if is_large(graph):
        return not probe(graph, repairs, keeping(graph, everything, 1))
    removals = [keeping(graph, everything, 1, backwards=backwards) for backwards in (False, True)]
    for spread in spreads_for(graph):
        removed = keeping(graph, spread(graph), 1)
        if not np.array_equal(removed, keeping(graph, spread(graph), 2)):
            removals.append(removed)
    return not any(probe(graph, repairs, removed) for removed in removals)


def _first_failure(graph: UnitGraph, removed: BoolArray, repairs: tuple[Repair, ...]) -> Failure | None:
    return next(iter(probe(graph, repairs, removed)), None)


def _freeze(
    module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...], failures: Sequence[Failure], removed: BoolArray
) -> UnitGraph:
    """Freeze what the first failing operation works on, at least one unit, and the same in its twins."""
    blocked = []
    first = graph.trace.runs[failures[0].run].operations[failures[0].operation]
    for failure in failures:
        record = graph.trace.runs[failure.run].operations[failure.operation]
        if record is not first and not _are_twins(module, record, first):
            continue
        labels = np.setdiff1d(_labels_of(graph, record.outputs), _labels_of(graph, record.inputs))
        if not labels.size:  # the operation itself makes no channels, such as zeros or padding
            data = [tensor for tensor in record.inputs if not graph.trace.store.is_weight(tensor)]
            labels = _labels_of(graph, data)
        if failure.labels is not None:
            labels = np.union1d(labels, failure.labels[graph.unit_of_label[failure.labels] >= 0])
        if not labels.size and record is first:
            labels = _culprits(graph, repairs, failure, removed)
        blocked.append((labels, Reason(failure.text, record.name.rpartition(".")[0], record.module, record.location)))
    return graph.with_blocked(blocked)


def _are_twins(module: nn.Module, one: OperationRecord, other: OperationRecord) -> bool:
    """Return whether two operations are the same line of the same class in different modules."""
    return (
        one.module != other.module
        and (one.name, one.location) == (other.name, other.location)
        and type(module.get_submodule(one.module)) is type(module.get_submodule(other.module))
    )


def _labels_of(graph: UnitGraph, tensors: tuple[Tensor, ...] | list[Tensor]) -> NDArray[np.int64]:
    parts = [factor.reshape(-1).numpy() for tensor in tensors for factor in graph.trace.store[tensor]]
    labels = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
    return labels[graph.unit_of_label[labels] >= 0]


def _culprits(graph: UnitGraph, repairs: tuple[Repair, ...], failure: Failure, removed: BoolArray) -> NDArray[np.int64]:
    """
    Return labels to freeze where the failing operation itself works on none that may be removed.

    Most likely its size was taken from a tensor that an operation before it worked on. Else it is the filters of the
    layers that fail when they alone lose filters, of all layers if none does.
    """
    for labels in itertools.islice(_counted_by(graph, failure, graph.kept_labels(removed)), _MOST_GUESSES):
        spared = removed.copy()
        spared[graph.unit_of_label[labels]] = False
        later = probe(graph, repairs, keeping(graph, spared, 2))
        if not later or later[0].position > failure.position:
            return labels
    found = []
    for layer in graph.layers:
        labels = graph.filters_of(layer)
        labels = labels[graph.unit_of_label[labels] >= 0]
        alone = np.zeros_like(removed)
        alone[graph.unit_of_label[labels]] = removed[graph.unit_of_label[labels]]
        if alone.any() and probe(graph, repairs, alone):
            found.append(labels)
    return np.concatenate(found) if found else np.flatnonzero(graph.unit_of_label >= 0)


_MOST_GUESSES = 3
"""How many tensors before a failure are suspected; each costs a probe."""


def _counted_by(graph: UnitGraph, failure: Failure, kept: BoolArray) -> Iterator[NDArray[np.int64]]:
    """Yield labels whose number is in the text of a failure, from the operation before it backwards."""
    numbers = set(map(int, re.findall(r"\d+", failure.text)))
    seen: set[bytes] = set()
    for record in reversed(graph.trace.runs[failure.run].operations[: failure.operation]):
        for tensor in (*record.outputs, *record.inputs):
            for factor in graph.trace.store[tensor]:
                for dim in tracked(factor):
                    rows = labels_along(factor, dim)
                    if rows is None or int(kept[rows].any(axis=1).sum()) not in numbers - {len(rows)}:
                        continue
                    labels = np.unique(rows[graph.unit_of_label[rows] >= 0])
                    if labels.size and labels.tobytes() not in seen:
                        seen.add(labels.tobytes())
                        yield labels

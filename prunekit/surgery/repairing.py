"""Find the integer attributes of modules that hold a size, and must be set when units are removed."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prunekit.surgery.attributes import Repair, is_known, labels_along
from prunekit.surgery.probing import Failure
from prunekit.tracing import OperationRecord, UnitGraph

Attempt = Callable[[tuple[Repair, ...]], Failure | None]
"""A probe with some repairs."""

def find_repairs(
    module: nn.Module,
    graph: UnitGraph,
    repairs: tuple[Repair, ...],
    failures: Sequence[Failure],
    attempt: Attempt,
) -> tuple[Repair, ...]:
    """
    Return the attributes that bring a probe further.

    Parameters
    ----------
    module : Module
        The dense network.
    graph : UnitGraph
        Its units.
    repairs : tuple of Repair
        Attributes that are set already.
    failures : sequence of Failure
        Where the probe fails with them.
    attempt : callable
        Returns the first failure of the same probe with other repairs, None if there is none.

    Returns
    -------
    tuple of Repair
        More attributes to set; empty if none helps.

    Notes
    -----
    The first failing operation accuses the modules around it, from the inside to the outside: an integer attribute that
    equals the size of one of its labelled dimensions may be what the code computes with. Each attribute is tried alone,
    then all of a module together. What helps one module is done to all of its class that fail as well, so that a
    network of a hundred alike layers needs no more probes than one layer.
    """
    for path, matching in _suspects(module, graph, repairs, failures[0]):
        best: tuple[tuple[int, int], tuple[Repair, ...]] = failures[0].position, ()
        for option in _options(matching):
            later = attempt(repairs + option)
            if later is None:
                return option
            best = max(best, (later.position, option), key=lambda pair: pair[0])
        if best[1]:
            kind, names = type(module.get_submodule(path)), [repair.name for repair in best[1]]
            return best[1] + tuple(_same_repairs(module, graph, repairs + best[1], failures[1:], kind, names))
    return ()


def _same_repairs(
    module: nn.Module,
    graph: UnitGraph,
    repairs: tuple[Repair, ...],
    failures: Sequence[Failure],
    kind: type[nn.Module],
    names: Sequence[str],
) -> Iterator[Repair]:
    """Yield the repairs of the same attributes of other failing modules of the same class."""
    done: set[str] = set()
    for failure in failures:
        for path, matching in _suspects(module, graph, repairs, failure):
            if path not in done and type(module.get_submodule(path)) is kind:
                done.add(path)
                yield from (repair for repair in matching if repair.name in names)


def _suspects(
    module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...], failure: Failure
) -> Iterator[tuple[str, tuple[Repair, ...]]]:
    """Yield the modules around a failure, from the inside, that have attributes with one of its sizes."""
    record = graph.trace.runs[failure.run].operations[failure.operation]
    sizes = dict(_sizes(graph, record))
    done = {(repair.module, repair.name) for repair in repairs}
    path: str | None = record.module
    while path is not None:
        owner = module.get_submodule(path)
        if not is_known(owner):
            matching = tuple(
                Repair(path, name, sizes[value])
                for name, value in vars(owner).items()
                if type(value) is int and value in sizes and (path, name) not in done
            )
            if matching:
                yield path, matching
        path = path.rpartition(".")[0] if path else None


def _options(matching: tuple[Repair, ...]) -> list[tuple[Repair, ...]]:
    alone = [(one,) for one in matching]
    return [*alone, matching] if len(matching) > 1 else alone


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

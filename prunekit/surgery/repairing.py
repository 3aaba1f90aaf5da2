"""Find the integer attributes of modules that hold a size, and must be set when units are removed."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prunekit.surgery.attributes import Repair, is_known, labels_along, read_numbers
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
    hopeless: set[Hashable],
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
    hopeless : set
        What was tried in vain, by class and line; it is not tried again, and more is added.

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
    record = graph.trace.runs[failures[0].run].operations[failures[0].operation]
    for path, options in _suspects(module, graph, repairs, failures[0]):
        best: tuple[tuple[int, int], tuple[Repair, ...]] = failures[0].position, ()
        for option in options:
            key = (
                type(module.get_submodule(path)),
                tuple(repair.name for repair in option),
                record.name,
                record.location,
            )
            if key in hopeless:
                continue
            later = attempt(repairs + option)
            if later is None:
                return option
            if later.position <= failures[0].position:
                hopeless.add(key)
            best = max(best, (later.position, option), key=lambda pair: pair[0])
            if best[1] and not _is_inside(graph, later, path):
                break
        if best[1]:
            kind, names = type(module.get_submodule(path)), [repair.name for repair in best[1]]
            return best[1] + tuple(_same_repairs(module, graph, repairs + best[1], failures[1:], kind, names))
    return ()


def _is_inside(graph: UnitGraph, failure: Failure, path: str) -> bool:
    place = graph.trace.runs[failure.run].operations[failure.operation].module
    return not path or place == path or place.startswith(f"{path}.")


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
        for path, options in _suspects(module, graph, repairs, failure):
            same = [option for option in options if [repair.name for repair in option] == names]
            if same and path not in done and type(module.get_submodule(path)) is kind:
                done.add(path)
                yield from same[0]


def _suspects(
    module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...], failure: Failure
) -> Iterator[tuple[str, list[tuple[Repair, ...]]]]:
    """Yield the modules around a failure, from the inside, with the attributes to try, one alone or some together."""
    record = graph.trace.runs[failure.run].operations[failure.operation]
    sizes = dict(_sizes(graph, record))
    done = {(repair.module, repair.name) for repair in repairs}
    path: str | None = record.module
    while path is not None:
        owner = module.get_submodule(path)
        if not is_known(owner):
            numbers = {name: value for name, value in read_numbers(owner).items() if (path, name) not in done}
            cut = _cut_points(graph, record, path, numbers)
            alike = tuple(Repair(path, name, sizes[value]) for name, value in numbers.items() if value in sizes)
            if cut or alike:
                yield path, [*([cut] if cut else []), *((one,) for one in alike), *([alike] if len(alike) > 1 else [])]
        path = path.rpartition(".")[0] if path else None


def _cut_points(graph: UnitGraph, record: OperationRecord, path: str, numbers: Mapping[str, int]) -> tuple[Repair, ...]:
    """Return the numbers of a tuple that are the sizes of the pieces that an operation cuts a tensor into."""
    pieces = [out.shape for out in record.outputs]
    if len(pieces) < 2 or len({len(shape) for shape in pieces}) != 1:
        return ()
    by_attribute: dict[str, list[str]] = {}
    for name in numbers:
        by_attribute.setdefault(name.partition(".")[0], []).append(name)
    for names in by_attribute.values():
        for dim in range(len(pieces[0])) if len(names) == len(pieces) else ():
            found = [
                Repair(path, name, labels)
                for name, out in zip(names, record.outputs, strict=True)
                for factor in graph.trace.store[out][:1]
                if (labels := labels_along(factor, dim)) is not None and len(labels) == numbers[name]
            ]
            if len(found) == len(names):
                return tuple(found)
    return ()


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

"""How data flow from layer to layer, and which layers share units: what a picture of the network needs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from torch import Tensor

from prunekit.tracing._records import LabelStore, RunRecord
from prunekit.tracing._trace import Trace
from prunekit.tracing._units import UnitGraph


@dataclass(frozen=True, slots=True)
class FlowNode:
    """
    Something that data flow through.

    Parameters
    ----------
    kind : {"layer", "operation", "input", "output"}
        A call of a module without running children, an operation between modules that brings data of several nodes
        together, or an end of the network.
    module : str
        Dotted path of the module that ran it.
    label : str
        Name of the operation, such as ``"add"``; empty for a layer.
    call : int
        Which call of the layer it is, from 1.
    """

    kind: str
    module: str
    label: str = ""
    call: int = 1


@dataclass(frozen=True, slots=True)
class Flow:
    """
    A network as a graph.

    Parameters
    ----------
    nodes : tuple of FlowNode
        In the order of execution.
    edges : tuple of (int, int)
        Positions of the node that makes data and the one that reads them; an edge never goes backwards.
    """

    nodes: tuple[FlowNode, ...]
    edges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Coupling:
    """
    What happens to other layers when a layer loses filters.

    Parameters
    ----------
    together : dict of str to tuple of str
        Layers whose filters are in the same units, as at the two ends of a residual connection.
    along : dict of str to tuple of str
        Other layers that lose entries or inputs with the filters, such as the batch norm and the next convolution.
    """

    together: dict[str, tuple[str, ...]]
    along: dict[str, tuple[str, ...]]


def data_flow(trace: Trace) -> Flow:
    """
    Return how data flowed between layers in the run in eval mode.

    Parameters
    ----------
    trace : Trace
        Of the network.

    Returns
    -------
    Flow
        A layer that is called several times has a node for each call, unless the calls follow each other directly.
        Operations between modules that read one node only, such as a flatten, are part of the edge. A layer that
        returns its input, as dropout does, stands before everything that reads it.
    """
    return _FlowBuilder(trace.runs[0], trace.store).build()


class _FlowBuilder:
    """Follow tensors from node to node."""

    def __init__(self, run: RunRecord, store: LabelStore) -> None:
        self._run = run
        self._store = store
        self._nodes: list[FlowNode] = []
        self._edges: dict[tuple[int, int], None] = {}
        self._calls: dict[str, int] = {}
        self._source: dict[int, int | None] = {}  # by identity of a tensor; the records keep all of them alive
        called = run.module_outputs.keys() | {record.module for record in run.operations}
        inner = {path[:end] for path in called for end in _ends_of_prefixes(path)}
        self._leaves = called - inner

    def build(self) -> Flow:
        source_of_inputs = self._node(FlowNode("input", "", "input"))
        idle = self._idle_layers()
        for path in idle.get(-1, ()):
            self._pass_through(path)
        before: str | None = None
        for number, record in enumerate(self._run.operations):
            sources = dict.fromkeys(self._sources(record.inputs))
            target: int | None
            if record.module in self._leaves:
                again = record.module == before and self._nodes[-1].kind == "layer"
                target = len(self._nodes) - 1 if again else self._layer(record.module)
            elif len(sources) > 1:
                label = record.name.split(".")[1].strip("_")
                target = self._node(FlowNode("operation", record.module, label))
            else:
                target = next(iter(sources), None)
            if target is not None:
                self._connect(sources, target)
            for tensor in record.outputs:
                self._source[id(tensor)] = target
            before = record.module
            for path in idle.get(number, ()):
                self._pass_through(path)
        end = self._node(FlowNode("output", "", "output"))
        self._connect(dict.fromkeys(self._sources(tuple(self._run.outputs.values()))), end)
        if not any(source == source_of_inputs for source, _ in self._edges):  # all inputs are constants or unused
            self._connect({source_of_inputs: None}, end)
        return Flow(tuple(self._nodes), tuple(self._edges))

    def _node(self, node: FlowNode) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _layer(self, path: str) -> int:
        self._calls[path] = call = self._calls.get(path, 0) + 1
        return self._node(FlowNode("layer", path, call=call))

    def _connect(self, sources: dict[int, None], target: int) -> None:
        self._edges.update({(source, target): None for source in sources if source != target})

    def _sources(self, tensors: tuple[Tensor, ...]) -> Iterator[int]:
        for tensor in tensors:
            original = self._run.original(tensor)
            if not self._store.is_weight(original):
                source = self._source.get(id(original), 0)  # what nothing has made is an input
                if source is not None:
                    yield source

    def _pass_through(self, path: str) -> None:
        tensor = self._run.original(self._run.module_outputs[path])
        target = self._layer(path)
        self._connect(dict.fromkeys(self._sources((tensor,))), target)
        self._source[id(tensor)] = target

    def _idle_layers(self) -> dict[int, list[str]]:
        """Return the layers that run no operation, by the number of the operation that they come after."""
        ends: dict[str, int] = {}
        made: dict[int, list[int]] = {}
        for number, record in enumerate(self._run.operations):
            if record.module not in ends or ends[record.module] == number - 1:  # the first call only
                ends[record.module] = number
            for tensor in record.outputs:
                made.setdefault(id(tensor), []).append(number)
        idle: dict[int, list[str]] = {}
        last = -1
        for path, output in self._run.module_outputs.items():  # in the order in which they returned
            if path not in self._leaves:
                continue
            if path in ends:
                last = max(last, ends[path])
                continue
            numbers = made.get(id(self._run.original(output)), [])
            # What is noted is the output of the last call, which others may have returned before.
            after = next((number for number in numbers if number >= last), last)
            idle.setdefault(after, []).append(path)
        return idle


def coupled_layers(graph: UnitGraph) -> Coupling:
    """
    Return which layers share units.

    Parameters
    ----------
    graph : UnitGraph
        Units of the network, frozen ones included.

    Returns
    -------
    Coupling
        For every layer that makes channels, the others in the order of registration.
    """
    names = list(dict.fromkeys(axis.tensor.rpartition(".")[0] for axis in graph.axes))
    number_of = {name: number for number, name in enumerate(names)}
    shape = len(names), int(graph.component.max(initial=0)) + 1
    rows = {True: [np.zeros(0, dtype=np.int64)], False: [np.zeros(0, dtype=np.int64)]}
    columns = {True: [np.zeros(0, dtype=np.int64)], False: [np.zeros(0, dtype=np.int64)]}
    for axis in graph.axes:
        makes = graph.producers[axis.labels]
        for is_producer in (True, False):
            found = graph.component[axis.labels][makes == is_producer]
            columns[is_producer].append(found)
            rows[is_producer].append(np.full(found.size, number_of[axis.tensor.rpartition(".")[0]]))
    makers, readers = (
        sparse.csr_array(
            (
                np.ones(sum(map(len, rows[side])), dtype=np.int32),
                (np.concatenate(rows[side]), np.concatenate(columns[side])),
            ),
            shape=shape,
        )
        for side in (True, False)
    )
    layers = graph.layers
    chosen = makers[[number_of[layer] for layer in layers]] if layers else makers[:0]

    def others(matrix: sparse.csr_array) -> dict[str, tuple[str, ...]]:
        shared = sparse.csr_array(chosen @ matrix.T)
        shared.sort_indices()
        return {
            layer: tuple(
                names[column]
                for column in shared.indices[shared.indptr[row] : shared.indptr[row + 1]].tolist()
                if names[column] != layer
            )
            for row, layer in enumerate(layers)
        }

    together = others(makers)
    shared = {layer: frozenset(found) for layer, found in together.items()}
    along = {
        layer: tuple(other for other in found if other not in shared[layer]) for layer, found in others(readers).items()
    }
    return Coupling(together, along)


def _ends_of_prefixes(path: str) -> list[int]:
    """Return where the paths of the modules around a module end."""
    return [number for number, letter in enumerate(path) if letter == "."] + ([0] if path else [])

"""How a network hangs together, as plain data that outlive the network and its trace."""

from dataclasses import dataclass

from torch import nn

from prunekit.tracing._flow import Coupling, Flow, coupled_layers, data_flow
from prunekit.tracing._outputs import named_parts
from prunekit.tracing._units import UnitGraph


@dataclass(frozen=True, slots=True)
class NetworkMap:
    """
    How a network hangs together.

    Parameters
    ----------
    flow : Flow
        Layers and the ways that data take between them.
    coupling : Coupling
        Layers that share units.
    types : dict of str to str
        Class of every module by its dotted path.
    """

    flow: Flow
    coupling: Coupling
    types: dict[str, str]


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
        Its layers and their connections: strings and numbers only.
    """
    types = {path: type(part).__name__ for path, part in named_parts(module)}
    return NetworkMap(data_flow(graph.trace), coupled_layers(graph), types)

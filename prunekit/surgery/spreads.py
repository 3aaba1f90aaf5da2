"""Which units the probes remove."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prunekit.tracing import UnitGraph
from prunekit.tracing.rules import takes_sizes

BoolArray = NDArray[np.bool_]
Spread = Callable[[UnitGraph], BoolArray]


def _random(fraction: float, seed: int) -> Spread:
    def spread(graph: UnitGraph) -> BoolArray:
        return np.random.default_rng(seed).random(graph.n_units) < fraction

    return spread


half = _random(0.5, seed=0)
"""Removes every other unit by chance."""


def _other_half(graph: UnitGraph) -> BoolArray:
    return ~half(graph)


def _first_of_each(graph: UnitGraph) -> BoolArray:
    return _of_each_layer(graph, slice(0, 1))


def _last_of_each(graph: UnitGraph) -> BoolArray:
    return _of_each_layer(graph, slice(-1, None))


def _every_second(graph: UnitGraph) -> BoolArray:
    return _of_each_layer(graph, slice(0, None, 2))


def _every_other_second(graph: UnitGraph) -> BoolArray:
    return _of_each_layer(graph, slice(1, None, 2))


def varied(graph: UnitGraph) -> BoolArray:
    """
    Return a removal that leaves sizes of all kinds: by turns of the layers all filters go, a third or two thirds.

    Parameters
    ----------
    graph : UnitGraph
        Units of a network.

    Returns
    -------
    ndarray of bool, shape (n_units,)
        Removed units; a unit of several layers goes by the first of them.
    """
    fraction = np.full(graph.n_units, -1.0)
    for number, layer in enumerate(graph.layers):
        units = graph.units_of(layer)
        units = units[fraction[units] < 0]
        fraction[units] = (1.0, 1 / 3, 2 / 3)[number % 3]
    return np.random.default_rng(6).random(graph.n_units) < fraction


def computes_sizes(graph: UnitGraph) -> bool:
    """
    Return whether the code of a network may compute sizes of channels.

    Parameters
    ----------
    graph : UnitGraph
        Its units.

    Returns
    -------
    bool
        False if no operation on channels takes one: then whatever stands one removal stands others too.
    """
    store = graph.trace.store
    return any(
        takes_sizes(record) and any(store[tensor] for tensor in (*record.inputs, *record.outputs))
        for run in graph.trace.runs
        for record in run.operations
    )


def _mixed(graph: UnitGraph) -> BoolArray:
    """Return removed units: by turns of the layers their first, their last, or a third of them."""
    removed = np.zeros(graph.n_units, dtype=bool)
    random = np.random.default_rng(5)
    for number, layer in enumerate(graph.layers):
        units = graph.units_of(layer)
        which = (units[:1], units[-1:], units[random.random(units.size) < 0.3])[number % 3]
        removed[which] = True
    return removed


def _of_each_layer(graph: UnitGraph, which: slice) -> BoolArray:
    """Return removed units: some of the filters of each layer, with all that goes with them."""
    removed = np.zeros(graph.n_units, dtype=bool)
    for layer in graph.layers:
        removed[graph.units_of(layer)[which]] = True
    return removed


_SPREADS: tuple[Spread, ...] = (
    half,
    _other_half,
    _first_of_each,
    _last_of_each,
    _every_second,
    _every_other_second,
)
"""Which units the probes remove, by turns; together they catch whatever counts channels from either end."""

_MORE_SPREADS = tuple(_random(fraction, seed) for seed, fraction in enumerate((0.15, 0.3, 0.7, 0.85), start=1))
"""In small networks, where few units let mistakes cancel out by chance, and where a probe costs little."""

_FEW_SPREADS: tuple[Spread, ...] = (half, _mixed)
"""In large networks."""


def spreads_for(graph: UnitGraph) -> tuple[Spread, ...]:
    """
    Return the spreads that a network has to stand.

    Parameters
    ----------
    graph : UnitGraph
        Its units.

    Returns
    -------
    tuple of callable
        Each returns removed units, shape (n_units,).
    """
    if graph.n_units <= 64:
        return _SPREADS + _MORE_SPREADS
    return _FEW_SPREADS if is_large(graph) else _SPREADS


def is_large(graph: UnitGraph) -> bool:
    """
    Return whether few spreads tell enough, since hardly anything can cancel out: no size is like another.

    Parameters
    ----------
    graph : UnitGraph
        Units of a network.

    Returns
    -------
    bool
        Whether there are many.
    """
    return graph.n_units > 1024


def keeping(graph: UnitGraph, removed: BoolArray, at_least: int, *, backwards: bool = False) -> BoolArray:
    """
    Return removed units with so many given back that every labelled dimension keeps enough indices.

    Parameters
    ----------
    graph : UnitGraph
        Units of a network.
    removed : ndarray of bool, shape (n_units,)
        Removed units.
    at_least : int
        How many indices must stay.
    backwards : bool, default=False
        Whether the last units are given back first.

    Returns
    -------
    ndarray of bool, shape (n_units,)
        Removed units.
    """
    removed = np.append(removed, False)  # unit -1 is none
    for group in graph.groups:
        wanted = min(max(group.minimum, at_least), group.units.size)
        gone = removed[group.units]
        if group.units.size - np.count_nonzero(gone) >= wanted:
            continue
        for unit in np.unique(group.units[gone])[:: -1 if backwards else 1]:
            if group.units.size - np.count_nonzero(removed[group.units]) >= wanted:
                break
            removed[unit] = False
    return removed[:-1]

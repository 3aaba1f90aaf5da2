"""Which units go: the least important ones that the constraints allow."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunekit._validation import check_integer, check_interval
from prunekit.tracing import UnitGraph

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Constraints:
    """
    What every layer must keep.

    Parameters
    ----------
    min_channels : int, default=1
        Least number of filters of a layer.
    max_layer_reduction : float, default=1.0
        Largest fraction of a layer's filters that may go.
    round_to : int, default=1
        Number of which a layer's filters shall stay a multiple; a layer that loses nothing keeps its size.
    """

    min_channels: int = 1
    max_layer_reduction: float = 1.0
    round_to: int = 1

    @classmethod
    def checked(cls, min_channels: object, round_to: object, max_layer_reduction: object, owner: str) -> "Constraints":
        """
        Return constraints from what a user gave.

        Parameters
        ----------
        min_channels : int
            At least 1.
        round_to : int or None
            At least 1; None means any number of filters.
        max_layer_reduction : float or None
            In (0, 1]; None means 1.
        owner : str
            Class that the parameters belong to, for the message.

        Returns
        -------
        Constraints
            The constraints.

        Raises
        ------
        ParameterError
            If a value is out of range.
        ParameterTypeError
            If a value has the wrong type.
        """
        return cls(
            min_channels=check_integer("min_channels", min_channels, owner, 1),
            round_to=1 if round_to is None else check_integer("round_to", round_to, owner, 1),
            max_layer_reduction=1.0
            if max_layer_reduction is None
            else check_interval("max_layer_reduction", max_layer_reduction, owner, 0, 1, "right"),
        )


class Selector:
    """
    Choose units to remove under constraints.

    Parameters
    ----------
    graph : UnitGraph
        Units of the network.
    constraints : Constraints
        What every layer must keep.
    """

    def __init__(self, graph: UnitGraph, constraints: Constraints) -> None:
        self._graph = graph
        self._round_to = constraints.round_to
        layers = [graph.unit_of_label[axis.labels] for axis in graph.axes if graph.producers[axis.labels].any()]
        self._layers = [units for units in layers if (units >= 0).any()]
        groups = [(group.units, group.minimum) for group in graph.groups]
        for units in self._layers:
            share = int(np.ceil(len(units) * (1.0 - constraints.max_layer_reduction) - 1e-9))
            groups.append((units, max(1, share, min(constraints.min_channels, len(units)))))
        self._spare = np.array([len(units) - minimum for units, minimum in groups], dtype=np.int64)
        self._members: list[list[tuple[int, int]]] = [[] for _ in range(graph.n_units)]
        for number, (units, _) in enumerate(groups):
            present, counts = np.unique(units[units >= 0], return_counts=True)
            for unit, count in zip(present.tolist(), counts.tolist(), strict=True):
                self._members[unit].append((number, count))

    def order(self, importances: NDArray[np.float64], removed: BoolArray) -> NDArray[np.int64]:
        """
        Return the units that may go one after the other, the least important first.

        Parameters
        ----------
        importances : ndarray of float, shape (n_units,)
            Importance of every unit.
        removed : ndarray of bool, shape (n_units,)
            Units that are gone already.

        Returns
        -------
        ndarray of int
            Units; whatever prefix of it is removed, no constraint on the least number of filters is broken.
        """
        spare = self._spare.copy()
        for unit in np.flatnonzero(removed).tolist():
            for group, count in self._members[unit]:
                spare[group] -= count
        accepted = []
        for unit in np.argsort(importances, kind="stable").tolist():
            if removed[unit]:
                continue
            members = self._members[unit]
            if all(spare[group] >= count for group, count in members):
                accepted.append(unit)
                for group, count in members:
                    spare[group] -= count
        return np.array(accepted, dtype=np.int64)

    def choose(
        self,
        importances: NDArray[np.float64],
        removed: BoolArray,
        enough: Callable[[BoolArray], bool],
    ) -> BoolArray:
        """
        Return removed units such that the fewest more are gone that are enough.

        Parameters
        ----------
        importances : ndarray of float, shape (n_units,)
            Importance of every unit.
        removed : ndarray of bool, shape (n_units,)
            Units that are gone already.
        enough : callable
            Takes removed units and says whether the aim is reached; once true it must stay true for more units.

        Returns
        -------
        ndarray of bool, shape (n_units,)
            Removed units, the old ones among them; all that may go if even they are not enough.
        """
        order = self.order(importances, removed)
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            if enough(self._with(removed, order[:middle])):
                high = middle
            else:
                low = middle + 1
        return self._with(removed, order[:low])

    def choose_at_most(self, importances: NDArray[np.float64], removed: BoolArray, limit: int) -> BoolArray:
        """
        Return removed units such that as many more are gone as allowed.

        Parameters
        ----------
        importances : ndarray of float, shape (n_units,)
            Importance of every unit.
        removed : ndarray of bool, shape (n_units,)
            Units that are gone already.
        limit : int
            How many more may go.

        Returns
        -------
        ndarray of bool, shape (n_units,)
            Removed units, the old ones among them.
        """
        order = self.order(importances, removed)
        before = int(removed.sum())
        for length in range(len(order) if self._round_to > 1 else min(limit, len(order)), 0, -1):
            result = self._with(removed, order[:length])
            if int(result.sum()) - before <= limit:
                return result
        return removed.copy()

    def _with(self, removed: BoolArray, more: NDArray[np.int64]) -> BoolArray:
        result = removed.copy()
        result[more] = True
        return self._rounded(result, removed, more) if self._round_to > 1 else result

    def _rounded(self, chosen: BoolArray, removed: BoolArray, more: NDArray[np.int64]) -> BoolArray:
        """Give back the most important of the new units until every layer that shrinks has a round size."""
        rank = np.full(len(chosen), -1, dtype=np.int64)
        rank[more] = np.arange(len(more))
        changed = True
        while changed:
            changed = False
            for units in self._layers:
                gone = (units >= 0) & chosen[units]
                excess = -(len(units) - int(gone.sum())) % self._round_to
                if not gone.any() or excess == 0:
                    continue
                new = np.unique(units[gone & ~removed[units]])
                back = new[np.argsort(-rank[new])][:excess]
                if back.size:
                    chosen[back] = False
                    changed = True
        return chosen

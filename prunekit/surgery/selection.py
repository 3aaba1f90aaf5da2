"""Which units go: the least important ones that the constraints allow."""

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
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


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """
    What orders the units.

    Parameters
    ----------
    importances : ndarray of float, shape (n_units,)
        Estimated change of the loss when the unit alone is removed.
    interactions : ndarray of float, shape (n_rows, n_units), default=None
        Factor of what is added when units go together: ``interactions[:, i] @ interactions[:, j]`` for i and j.
    costs : ndarray of float, shape (n_units,), default=None
        What the importance of each unit is divided by, positive. Importances below zero, which promise a lower loss,
        are left as they are.
    """

    importances: NDArray[np.float64]
    interactions: NDArray[np.float32] | None = None
    costs: NDArray[np.float64] | None = None

    def walk(self, removed: BoolArray) -> Generator[int, bool | None]:
        """
        Yield all units, the least important first.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            Units that are gone already and are not yielded.

        Yields
        ------
        int
            The next unit; whether it goes is to be sent back, since it changes what the others are worth.
        """
        if self.interactions is None:
            values = self._per_cost(self.importances)
            for unit in np.argsort(values, kind="stable").tolist():
                if not removed[unit]:
                    yield unit
            return
        values = np.where(removed, np.inf, self.importances)
        candidates = self._per_cost(values)
        together = np.zeros(len(self.interactions), dtype=np.float32)
        at_once = max(1, len(values) // _ROUNDS)
        while np.isfinite(candidates).any():
            changed = False
            first = (
                [int(candidates.argmin())] if at_once == 1 else np.argsort(candidates, kind="stable")[:at_once].tolist()
            )
            for unit in first:
                if np.isfinite(candidates[unit]):
                    accepted = yield unit
                    values[unit] = candidates[unit] = np.inf
                    if accepted:
                        together += self.interactions[:, unit]
                        changed = True
            if changed:
                candidates = self._per_cost(values + together @ self.interactions)

    def _per_cost(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values if self.costs is None else np.where(values > 0, values / self.costs, values)


_ROUNDS = 2000
"""In which all units would be removed; units of one round do not see each other."""


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

    def order(self, ranking: "Ranking", removed: BoolArray) -> Iterator[int]:
        """
        Yield the units that may go one after the other, the least important first.

        Parameters
        ----------
        ranking : Ranking
            Importance of every unit.
        removed : ndarray of bool, shape (n_units,)
            Units that are gone already.

        Yields
        ------
        int
            Units; whatever prefix of them is removed, no constraint on the least number of filters is broken.
        """
        spare = self._spare.copy()
        for unit in np.flatnonzero(removed).tolist():
            for group, count in self._members[unit]:
                spare[group] -= count
        walk = ranking.walk(removed)
        accepted: bool | None = None  # a generator that was just made takes nothing else
        with suppress(StopIteration):
            while True:
                unit = walk.send(accepted)
                members = self._members[unit]
                accepted = all(spare[group] >= count for group, count in members)
                if accepted:
                    for group, count in members:
                        spare[group] -= count
                    yield unit

    def choose(
        self,
        ranking: "Ranking",
        removed: BoolArray,
        enough: Callable[[BoolArray], bool],
    ) -> BoolArray:
        """
        Return removed units such that the fewest more are gone that are enough.

        Parameters
        ----------
        ranking : Ranking
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
        walk, order = self.order(ranking, removed), list[int]()
        low, high = 0, 0
        while high == len(order) and not enough(self._with(removed, order)):  # ever more, as far as it takes
            low, high = high + 1, max(2 * high, 16)
            order += itertools.islice(walk, high - len(order))
        high = min(high, len(order))
        while low < high:
            middle = (low + high) // 2
            if enough(self._with(removed, order[:middle])):
                high = middle
            else:
                low = middle + 1
        return self._with(removed, order[:low])

    def spread(self, layers: NDArray[np.int64], share: float) -> BoolArray:
        """
        Return units to remove from the dense network, evenly over its layers.

        Parameters
        ----------
        layers : ndarray of int, shape (n_units,)
            Number of the layer of each unit.
        share : float
            Which part of all units that may go, in [0, 1].

        Returns
        -------
        ndarray of bool, shape (n_units,)
            Removed units.
        """
        places = np.empty(len(layers))
        for layer in np.unique(layers):
            own = np.flatnonzero(layers == layer)
            places[own] = (np.arange(len(own)) + 0.5) / len(own)
        none, ranking = np.zeros(len(layers), dtype=bool), Ranking(places)
        everything = self.choose(ranking, none, lambda removed: False)
        return self.choose(ranking, none, lambda removed: removed.sum() >= share * everything.sum())

    def choose_at_most(self, ranking: "Ranking", removed: BoolArray, limit: int) -> BoolArray:
        """
        Return removed units such that as many more are gone as allowed.

        Parameters
        ----------
        ranking : Ranking
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
        order = list(itertools.islice(self.order(ranking, removed), None if self._round_to > 1 else limit))
        before = int(removed.sum())
        for length in range(len(order), 0, -1):
            result = self._with(removed, order[:length])
            if int(result.sum()) - before <= limit:
                return result
        return removed.copy()

    def _with(self, removed: BoolArray, more: list[int]) -> BoolArray:
        result = removed.copy()
        result[more] = True
        return self._rounded(result, removed, more) if self._round_to > 1 else result

    def _rounded(self, chosen: BoolArray, removed: BoolArray, more: list[int]) -> BoolArray:
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

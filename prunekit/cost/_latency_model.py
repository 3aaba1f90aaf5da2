"""Time of a forward pass without some units: a table of layers proposes, a measurement of the network decides."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prunekit._random import preserve_rng
from prunekit.cost._latency import latency_ratio, module_latency_us
from prunekit.cost._model import CostModel
from prunekit.tracing import Inputs, device_of

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

_SHARES = (0.0, 0.3, 0.6, 1.0)
"""Of the units that may go: at which sizes layers are timed. Few layers then have a round number of filters."""
_TOLERANCE, _LEAST_TOLERANCE = 0.02, 0.005
"""By how much a measured reduction may exceed what was aimed at before a closer one is looked for: a part of the time
that is to be left, and what can be measured."""
_AGREEING = 3
"""How often a candidate that fits is measured."""
_ROUNDS, _BY_TABLE = 8, 3
"""How many candidates are looked at in the search for one aim, and how many of them the table proposes."""
_TABLE_US, _MIN_PASSES, _MAX_PASSES = 3e5, 5, 50
"""How long the passes for one size of the table take together, and how many there are at least and at most."""


class LatencyModel:
    """
    Measured time of a forward pass for any set of removed units, in relation to the dense network.

    Parameters
    ----------
    costs : CostModel
        Multiply-adds and activations of the network.
    build : callable
        Takes removed units and returns the compacted network, the dense one if none is removed.
    inputs : callable
        Returns the inputs of a timed pass.
    spread : callable
        Takes a share in [0, 1] and returns units to remove: that share of all that may go, evenly over the layers.

    Notes
    -----
    Time is not proportional to multiply-adds: calls have fixed costs, layers of few multiply-adds wait for memory, and
    odd numbers of filters are slow. So the compacted network runs at a few sizes, where every module is timed, and the
    times of the modules are scaled to what the network takes without being watched. Between the sizes, time of a module
    is interpolated linearly over its multiply-adds, or over the elements it makes if it runs none. This table only
    proposes which units are enough; `reduction` and `choose` answer with what the compacted network really takes, timed
    in turns with the dense one.
    """

    def __init__(
        self,
        costs: CostModel,
        build: Callable[[BoolArray], nn.Module],
        inputs: Callable[[], Inputs],
        spread: Callable[[float], BoolArray],
    ) -> None:
        self._costs = costs
        self._build = build
        self._inputs = inputs
        self._spread = spread
        self._measured: dict[bytes, list[float]] = {}

    def reduction(self, removed: BoolArray) -> float:
        """
        Return the measured reduction; what was measured before for the same units is not measured again.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            Removed units.

        Returns
        -------
        float
            Fraction of the time of the dense network; below 0 if the compacted one is slower.
        """
        if not removed.any():
            return 0.0
        if removed.tobytes() not in self._measured:
            self._measure(removed)
        return float(np.median(self._measured[removed.tobytes()]))

    def predicted_reduction(self, removed: BoolArray) -> float:
        """
        Return the reduction according to the table, which falls for no unit that goes.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            Removed units.

        Returns
        -------
        float
            Fraction of the time of the dense network.
        """
        return 1.0 - self._time(removed) / (self._dense_time or 1.0)

    def savings(self, removed: BoolArray) -> FloatArray:
        """
        Return what the removal of each unit alone would save according to the table.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            Units that are gone already.

        Returns
        -------
        ndarray of float, shape (n_units,)
            Fractions of the time of the dense network; 0 for units that are gone.
        """
        return self._costs.savings_of(self._time, removed)

    def choose(
        self, aim: float, removed: BoolArray, pick: Callable[[Callable[[BoolArray], bool]], BoolArray]
    ) -> BoolArray:
        """
        Return removed units such that about the fewest more are gone that reach a measured reduction.

        Parameters
        ----------
        aim : float
            The reduction.
        removed : ndarray of bool, shape (n_units,)
            Units that are gone already.
        pick : callable
            Takes a function of removed units that says whether they are enough, and returns the fewest that are, or all
            that may go.

        Returns
        -------
        ndarray of bool, shape (n_units,)
            Removed units, the old ones among them; their `reduction` is known.

        Notes
        -----
        The search corrects the table: what it predicts is mapped to what was measured by the line through the nearest
        candidates below and above the aim, or through the present network and the smallest one. If that does not lead
        there soon, the number of units takes the place of the table. A candidate that fits, or exceeds the aim though
        nothing is nearer, is measured up to three times, and the median counts.
        """
        tolerance = max(_TOLERANCE * (1.0 - aim), _LEAST_TOLERANCE)
        last, best, margin = removed, None, tolerance / 2
        if self.reduction(removed) >= aim:
            return removed
        for number in range(_ROUNDS):
            if best is None or number < _BY_TABLE:
                is_enough = self._by_table(aim + margin, last, self._spread(1.0) if best is None else best)
            else:
                is_enough = self._by_number(aim + margin, last, best)
            chosen = pick(is_enough)
            if np.array_equal(chosen, last) or (best is not None and np.array_equal(chosen, best)):
                if number >= _BY_TABLE or best is None:
                    break  # there is nothing between
                continue
            while aim <= self.reduction(chosen) <= aim + tolerance and self._times_measured(chosen) < _AGREEING:
                self._measure(chosen)  # perhaps by luck
            reached = self.reduction(chosen)
            if reached >= aim:
                best = chosen
                if reached <= aim + tolerance:
                    break
            elif best is None and not is_enough(chosen):  # no more may go
                return chosen
            else:
                last, margin = chosen, margin + tolerance / 2
        if best is None:
            return last
        while self.reduction(best) > aim + tolerance and self._times_measured(best) < _AGREEING:
            self._measure(best)  # perhaps by bad luck
        return best

    def _by_table(self, aim: float, low: BoolArray, high: BoolArray) -> Callable[[BoolArray], bool]:
        """Say what is enough by the table, corrected to agree with what was measured of two networks."""
        first, last = self.predicted_reduction(low), self.predicted_reduction(high)
        wanted = _interpolated(aim, (first, self.reduction(low)), (last, self.reduction(high)))
        wanted = max(wanted, float(np.nextafter(first, 2.0)))
        return lambda removed: self.predicted_reduction(removed) >= wanted

    def _by_number(self, aim: float, low: BoolArray, high: BoolArray) -> Callable[[BoolArray], bool]:
        """Say what is enough by the number of units, between two networks that were measured."""
        fewest, most = int(low.sum()), int(high.sum())
        wanted = _interpolated(aim, (fewest, self.reduction(low)), (most, self.reduction(high)))
        wanted = min(max(wanted, fewest + 1), most - 1)
        return lambda removed: int(removed.sum()) >= wanted

    def _times_measured(self, removed: BoolArray) -> int:
        return len(self._measured.get(removed.tobytes(), ()))

    def _measure(self, removed: BoolArray) -> None:
        dense, pruned = self._build(np.zeros_like(removed)), self._build(removed)
        with preserve_rng(device_of(dense)):
            ratio = latency_ratio(pruned, dense, self._inputs())
        self._measured.setdefault(removed.tobytes(), []).append(1.0 - ratio)

    def _time(self, removed: BoolArray) -> float:
        work = self._work(removed)
        return sum(float(np.interp(work[path], *self._table[path])) for path in self._table)

    @cached_property
    def _dense_time(self) -> float:
        return self._time(np.zeros(self._costs.graph.n_units, dtype=bool))

    @cached_property
    def _table(self) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Work of each module, ascending, and the time that it takes, as a fraction of that of the dense network."""
        sizes = [self._spread(share) for share in _SHARES]
        works = [self._work(removed) for removed in sizes]
        times = [self._module_times(removed, list(works[0])) for removed in sizes]
        return {
            path: _ascending(
                np.array([work[path] for work in works], dtype=np.float64), np.array([time[path] for time in times])
            )
            for path in works[0]
        }

    def _module_times(self, removed: BoolArray, paths: list[str]) -> dict[str, float]:
        """Return the time of each module, scaled such that all together take what the network takes."""
        module, inputs = self._build(removed), self._inputs()
        with preserve_rng(device_of(module)):
            once = sum(module_latency_us(module, inputs, paths, repeats=2).values())
            repeats = int(np.clip(_TABLE_US / max(once, 1.0), _MIN_PASSES, _MAX_PASSES))
            times = module_latency_us(module, inputs, paths, repeats=repeats)
        scale = (1.0 - self.reduction(removed)) / (sum(times.values()) or 1.0)
        return {path: scale * time for path, time in times.items()}

    def _work(self, removed: BoolArray) -> dict[str, int]:
        """Return the multiply-adds of each module that runs, or the elements that it makes if it runs none."""
        kept = self._costs.graph.kept_labels(removed)
        macs = self._costs.operation_macs(kept)
        return {"": 0} | self._costs.operation_elements(kept) | {path: count for path, count in macs.items() if count}


def _interpolated(aim: float, low: tuple[float, float], high: tuple[float, float]) -> float:
    """Return what belongs to a reduction on the line through two points, given as value and reduction."""
    (first, reached), (last, largest) = low, high
    slope = (last - first) / (largest - reached) if last > first and largest > reached else 1.0
    return first + slope * (aim - reached)


def _ascending(work: FloatArray, times: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Average times of equal work, order them, and smooth them such that none falls where the work grows."""
    values, which = np.unique(work, return_inverse=True)
    means = np.bincount(which, times) / np.bincount(which)
    below, above = np.maximum.accumulate(means), np.minimum.accumulate(means[::-1])[::-1]
    return values, (below + above) / 2

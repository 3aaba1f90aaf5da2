"""The table of labels: which are equal, which are frozen and why."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunekit.tracing._reason import Reason

FIXED = 0
"""The label of positions that always stay, e.g. those of the network's input in a concatenation."""


MISPLACED = "with fewer channels the model's code puts them in other places than with all"


IntArray = NDArray[np.int64]
Edges = tuple[IntArray, IntArray]


class LabelConflictError(Exception):
    """
    Two labels met that are not equal: the compacted network does not follow the labels here.

    Parameters
    ----------
    text : str
        What happens.
    labels : ndarray of int
        The labels.
    """

    def __init__(self, text: str, labels: IntArray) -> None:
        super().__init__(text)
        self.labels = labels


class LabelTable:
    """
    Collect equalities, marks and frozen labels during one run of a network.

    Labels are integers from 1; 0 is `FIXED`. Nothing is resolved while collecting: `solve` does it at once.
    """

    def __init__(self) -> None:
        self.size = 1
        self.reasons: list[Reason] = []
        self.kept_in_pairs: list[IntArray] = []
        self.explanations: list[tuple[IntArray, Reason]] = []
        self.normalised: list[tuple[IntArray, Reason]] = []
        self.across: list[tuple[Tensor, Tensor, Reason]] = []
        self._gave_fixed = False
        self._said: list[tuple[Tensor, Tensor | None, Reason]] = []
        self._edges: list[Edges] = []
        self._role_edges: list[Edges] = []
        self._solved: tuple[tuple[int, int], IntArray] | None = None
        self._frozen: list[tuple[IntArray, int]] = []
        self._producers: list[Tensor] = []
        self._consumers: list[Tensor] = []

    def fresh(self, count: int) -> Tensor:
        """Return ``count`` new labels, shape (count,)."""
        start = self.size
        self.size += count
        return torch.arange(start, self.size)

    def fixed(self, count: int) -> Tensor:
        """Return the labels of ``count`` positions that always stay, shape (count,)."""
        self._gave_fixed = True
        return torch.full((count,), FIXED)

    def explain(self, labels: Tensor, reason: Reason) -> None:
        """Note why labels are tied, for the case that a whole layer comes out as one unit."""
        self.explanations.append((labels.reshape(-1).numpy(), reason))

    def note_normalised(self, labels: Tensor, reason: Reason) -> None:
        """Note labels that are normalised together; whoever uses the table decides whether they may be removed."""
        found = distinct(labels.reshape(-1).numpy())
        self.normalised.append((found[found != FIXED], reason))

    def is_one_unit(self, labels: Tensor) -> bool:
        """Return whether labels are known to be equal."""
        return labels.numel() == 1

    def tie(self, left: Tensor, right: Tensor, reason: Reason) -> None:
        """Declare two broadcastable arrays of labels equal; what meets `FIXED` is frozen with the reason."""
        self._said.append((left, right, reason))

    def tie_across(self, wide: Tensor, narrow: Tensor, reason: Reason) -> None:
        """Declare labels equal to those of fewer dimensions, unless all of these stay: see `UnitGraph`."""
        self.across.append((wide, narrow, reason))

    def tie_roles(self, left: Tensor, right: Tensor) -> None:
        """Declare that whatever consumes one of two labels of parameters consumes the other as well."""
        self._role_edges.append(_pairs(left, right))

    def freeze(self, labels: Tensor, reason: Reason) -> None:
        """Declare that no unit with one of these labels may be removed."""
        self._said.append((labels, None, reason))

    def freeze_alone(self, label: Tensor, reason: Reason) -> None:
        """Freeze the one label that a whole tensor consists of."""
        self.freeze(label, reason)

    def mark_producer(self, labels: Tensor) -> None:
        """Mark labels of parameters that make channels."""
        self._producers.append(labels)

    def mark_consumer(self, labels: Tensor) -> None:
        """Mark labels of parameters that read channels: zeros there remove the channel."""
        self._consumers.append(labels)

    def keep_two(self, labels: Tensor) -> None:
        """Note labels along a dimension of which at least two must stay."""
        self.kept_in_pairs.append(labels.reshape(-1).numpy())

    def _sort_out(self) -> None:
        """Turn what was said since the last time into edges and frozen labels."""
        for left, right, reason in self._said:
            if right is None:
                self._freeze(left.reshape(-1).numpy(), reason)
                continue
            one, other = _pairs(left, right)
            if self._gave_fixed and not (one.all() and other.all()):
                fixed = (one == FIXED) | (other == FIXED)
                self._freeze(np.concatenate([one[fixed], other[fixed]]), reason)
                one, other = one[~fixed], other[~fixed]
            self._edges.append((one, other))
        self._said.clear()

    def _freeze(self, labels: IntArray, reason: Reason) -> None:
        labels = distinct(labels)
        labels = labels[labels != FIXED]
        if labels.size:
            self.reasons.append(reason)
            self._frozen.append((labels, len(self.reasons) - 1))

    def frozen_pairs(self) -> tuple[IntArray, IntArray]:
        """Return the frozen labels and the number of the reason of each, in the order of their freezing."""
        self._sort_out()
        if not self._frozen:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        labels = np.concatenate([part for part, _ in self._frozen])
        numbers = np.repeat([number for _, number in self._frozen], [part.size for part, _ in self._frozen])
        return labels, numbers.astype(np.int64)

    def components(self) -> IntArray:
        """Return the number of the connected component of every label, shape (size,)."""
        self._sort_out()
        state = len(self._edges), self.size
        if self._solved is None or self._solved[0] != state:
            self._solved = state, _components(self._edges, self.size)
        return self._solved[1]

    def marked(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which labels are producers and which are consumers, each of shape (size,)."""
        producers = np.zeros(self.size, dtype=bool)
        consumers = np.zeros(self.size, dtype=bool)
        for part in self._producers:
            producers[part.reshape(-1).numpy()] = True
        for part in self._consumers:
            consumers[part.reshape(-1).numpy()] = True
        if self._role_edges:
            roles = _components(self._role_edges, self.size)
            reached = np.zeros(self.size, dtype=bool)
            reached[roles[consumers]] = True
            consumers = reached[roles]
        producers[FIXED] = consumers[FIXED] = False
        return producers, consumers


class CheckingTable(LabelTable):
    """
    Check equalities instead of collecting them, for a network that was compacted by a solved table.

    Parameters
    ----------
    components : ndarray of shape (n_labels,)
        Component of every label of the first run; labels given out by `fresh` lie above and match anything.
    prunable : ndarray of bool, shape (n_components,)
        Which components may be removed.
    """

    def __init__(self, components: IntArray, prunable: NDArray[np.bool_]) -> None:
        super().__init__()
        self.size = self._base = int(components.size)
        self._components = components
        self._prunable = prunable[components]

    def fixed(self, count: int) -> Tensor:
        """Return labels that always stay; one single position may be what is left of many."""
        return super().fixed(count) if count > 1 else self.fresh(count)

    def is_one_unit(self, labels: Tensor) -> bool:
        """Return whether labels belong to one component."""
        known = labels.reshape(-1).numpy()
        if not known.size or known.max() >= self._base:
            return False
        components = self._components[known]
        return bool((components == components[0]).all())

    def tie(self, left: Tensor, right: Tensor, reason: Reason) -> None:
        """Raise `LabelConflictError` if two known labels belong to different components."""
        if left is right or self._are_same(left.numpy(), right.numpy()):
            return
        try:
            one, other = _pairs(left, right)
        except RuntimeError as exc:
            met = torch.cat([left.reshape(-1), right.reshape(-1)]).unique().numpy()
            raise LabelConflictError(MISPLACED, met[met < self._base]) from exc
        fresh = (one >= self._base) | (other >= self._base)
        self._edges.append((one[fresh], other[fresh]))
        one, other = one[~fresh], other[~fresh]
        differing = self._components[one] != self._components[other]
        if differing.any():
            one, other = one[differing], other[differing]
            met = np.union1d(one, other)
            if not ((one == FIXED) | (other == FIXED)).all() or self._prunable[met].any():
                raise LabelConflictError(MISPLACED, met)

    def tie_across(self, wide: Tensor, narrow: Tensor, reason: Reason) -> None:
        """Check the labels unless those with fewer dimensions always stay."""
        known = narrow.numpy()
        if (known >= self._base).any() or self._prunable[known[known < self._base]].any():
            self.tie(wide, narrow, reason)

    def _are_same(self, left: IntArray, right: IntArray) -> bool:
        """Return whether two arrays of known labels name the same components wherever they meet."""
        try:
            return bool((self._components[left] == self._components[right]).all())
        except (ValueError, IndexError):
            return False  # they cannot be broadcast, or some are fresh

    def freeze_alone(self, label: Tensor, reason: Reason) -> None:
        """Do nothing: it may be what is left of several labels."""

    def contradictions(self) -> IntArray:
        """
        Return labels that may be removed and met others by way of labels that `fresh` gave out.

        Returns
        -------
        ndarray of int
            Empty if every fresh label met one component only.
        """
        if not any(one.size for one, _ in self._edges):
            return np.zeros(0, np.int64)
        nodes = np.arange(self.size)
        nodes[: self._base] = self._components  # one node for a component, one for a fresh label
        groups = _components([(nodes[one], nodes[other]) for one, other in self._edges], self.size)
        merged, known = np.unique(groups[np.unique(self._components)], return_counts=True)
        labels = np.flatnonzero(self._prunable)
        return labels[np.isin(groups[self._components[labels]], merged[known > 1])]

    def freeze(self, labels: Tensor, reason: Reason) -> None:
        """
        Raise `LabelConflictError` if labels that may be removed would be frozen here.

        Labels of one unit alone may: it is the last one of those that the dense run told apart and collapsed.
        """
        known = labels.reshape(-1).numpy()
        free = known[known < self._base]
        free = free[self._prunable[free]]
        if distinct(self._components[free]).size > 1:
            raise LabelConflictError(reason.text, known[known < self._base])


def distinct(values: IntArray) -> IntArray:
    """Return the distinct values of an array, ascending, as `numpy.unique` does in many times the time."""
    ordered = np.sort(values, axis=None)
    first = np.ones(ordered.size, dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def connected(edges: Sequence[Edges], size: int) -> IntArray:
    """
    Return the connected components of a graph.

    Parameters
    ----------
    edges : sequence of pairs of ndarray of int
        Ends of the edges, in parts.
    size : int
        Number of nodes.

    Returns
    -------
    ndarray of int, shape (size,)
        Number of the component of each node, from 0 in the order of their first nodes.

    Notes
    -----
    Each node points to the least of its neighbours, then to what that points to and so on. Edges between nodes that
    then point to different ones are the graph of the next round. Most labels meet few others, so one or two suffice.
    """
    root = np.arange(size)
    first = np.ones(size, dtype=bool)
    while edges:
        for one, other in edges:
            np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        for one, other in edges:
            high = np.maximum(one, other)
            first[high] = root[high] == high
        ahead = np.flatnonzero(~first[root])
        while ahead.size:
            root[ahead] = root[root[ahead]]
            ahead = ahead[~first[root[ahead]]]
        edges = [pair for one, other in edges if (pair := _unequal(root[one], root[other]))[0].size]
    numbers = np.zeros_like(root)
    numbers[first] = np.arange(np.count_nonzero(first))
    found: IntArray = numbers[root]
    return found


def _unequal(one: IntArray, other: IntArray) -> Edges:
    apart = one != other
    return one[apart], other[apart]


def _pairs(left: Tensor, right: Tensor) -> Edges:
    """Return the labels that meet, twice shape (n,); if there are many, equal ones and repetitions are left out."""
    if left.shape != right.shape:
        left, right = torch.broadcast_tensors(left, right)
    one, other = left.numpy().reshape(-1), right.numpy().reshape(-1)
    if one.size > _MANY:
        differs = one != other
        base = int(other.max()) + 1
        packed = distinct(one[differs] * base + other[differs])
        one, other = packed // base, packed % base
    return one, other


_MANY = 8192
"""How many pairs are too many to keep what says nothing new."""


def _components(edges: Sequence[Edges], size: int) -> IntArray:
    """Return `connected` of many small parts, which it is given in larger ones that fit the processor's cache."""
    parts: list[Edges] = []
    count, start = 0, 0
    for number, (one, _) in enumerate(edges, start=1):
        count += one.size
        if count >= _MANY or number == len(edges):
            left, right = zip(*edges[start:number], strict=True)
            parts.append((np.concatenate(left), np.concatenate(right)))
            count, start = 0, number
    return connected(parts, size)

"""Units: connected components of equal labels, and which of them may be removed."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunekit.tracing._factors import left_padded, tracked
from prunekit.tracing._labels import IntArray, connected, distinct
from prunekit.tracing._reason import Reason
from prunekit.tracing._trace import Axis, HeldAxis, Trace

Role = Literal["producer", "inner", "consumer"]
BoolArray = NDArray[np.bool_]

_PlainLabels = tuple[tuple[int, IntArray], ...]
"""Dimensions of a tensor, each with the labels along it."""


@dataclass(frozen=True, slots=True)
class Slice:
    """
    Indices of one dimension of a parameter or buffer.

    Parameters
    ----------
    tensor : str
        Name of the parameter or buffer.
    dim : int
        Dimension.
    indices : tuple of int
        What belongs to the unit.
    role : {"producer", "inner", "consumer"}
        Whether it makes the channel, works on it, or reads it.
    """

    tensor: str
    dim: int
    indices: tuple[int, ...]
    role: Role


@dataclass(frozen=True, slots=True)
class Unit:
    """
    The smallest set of slices that can only be removed together.

    Parameters
    ----------
    index : int or None
        Position in arrays over units, None for a frozen one.
    slices : tuple of Slice
        All its slices.
    reason : Reason or None
        Why it is frozen, None if it can be removed.
    """

    index: int | None
    slices: tuple[Slice, ...]
    reason: Reason | None = None

    @property
    def filters(self) -> tuple[tuple[str, int], ...]:
        """Pairs of tensor name and index of the filters that the unit holds."""
        return tuple((part.tensor, i) for part in self.slices if part.role == "producer" for i in part.indices)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """
    Units along one dimension of a tensor.

    Parameters
    ----------
    units : ndarray of int, shape (size,)
        Unit of every index, -1 where it is frozen.
    minimum : int
        How many indices must stay.
    """

    units: IntArray
    minimum: int


class UnitGraph:
    """
    The units of a traced network.

    Parameters
    ----------
    trace : Trace
        What tracing found.
    blocked : iterable of (labels, Reason), default=()
        Labels to freeze besides those that the trace froze.
    at_least : int, default=1
        How many indices of every labelled dimension must stay.
    """

    def __init__(self, trace: Trace, blocked: Iterable[tuple[IntArray, Reason]] = (), at_least: int = 1) -> None:
        self.trace = trace
        self._at_least = at_least
        self.axes: tuple[Axis, ...] = trace.axes
        self._blocked = tuple(blocked)
        self.producers, self.consumers = trace.table.marked()
        self.component = trace.table.components()
        self._reason_of: dict[int, Reason] = {}
        self._freeze_marked()
        self._settle_across()
        self._resolve_rectangles()
        self._freeze_whole_axes()
        self.unit_of_component = self._number_units()
        self.unit_of_label: IntArray = self.unit_of_component[self.component]
        self._plain: dict[int, _PlainLabels | None] = {}

    @property
    def n_units(self) -> int:
        """Number of units that may be removed."""
        return int(self.unit_of_component.max(initial=-1)) + 1

    def with_blocked(self, blocked: Iterable[tuple[IntArray, Reason]]) -> "UnitGraph":
        """
        Return the graph with more labels frozen.

        Parameters
        ----------
        blocked : iterable of (labels, Reason)
            Labels to freeze besides.

        Returns
        -------
        UnitGraph
            New graph over the same trace.
        """
        return UnitGraph(self.trace, (*self._blocked, *blocked), self._at_least)

    def with_at_least(self, at_least: int) -> "UnitGraph":
        """
        Return the graph with more indices of every labelled dimension that must stay.

        Parameters
        ----------
        at_least : int
            How many.

        Returns
        -------
        UnitGraph
            New graph over the same trace; units that could then never go are frozen.
        """
        strict = UnitGraph(self.trace, self._blocked, at_least)
        stuck = {
            int(unit)
            for group in strict.groups
            for unit, count in zip(*np.unique(group.units, return_counts=True), strict=True)
            if unit >= 0 and group.units.size - count < group.minimum
        }
        labels = np.flatnonzero(np.isin(strict.unit_of_label, list(stuck)))
        reason = Reason(f"the network does not run with less than {at_least} of its channels")
        return UnitGraph(self.trace, (*self._blocked, (labels, reason)), at_least) if stuck else strict

    @property
    def frozen(self) -> BoolArray:
        """Whether each component is frozen, shape (n_components,)."""
        mask = np.zeros(int(self.component.max(initial=0)) + 1, dtype=bool)
        mask[list(self._reason_of)] = True
        return mask

    def reason(self, label: int) -> Reason | None:
        """Return why a label is frozen, None if it is not."""
        return self._reason_of.get(int(self.component[label]))

    def kept_labels(self, removed: BoolArray) -> BoolArray:
        """
        Return which labels stay when units are removed.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            Removed units.

        Returns
        -------
        ndarray of bool, shape (n_labels,)
            True where a label stays.
        """
        padded = np.append(removed, False)  # unit -1 is none
        return ~padded[self.unit_of_label]

    def held_axes(self, held: BoolArray) -> tuple[HeldAxis, ...]:
        """
        Return the axes of the tensors that hold only some labels.

        Parameters
        ----------
        held : ndarray of bool, shape (n_labels,)
            Labels that they hold.

        Returns
        -------
        tuple of HeldAxis
            As many as ``axes``, in the same order.
        """
        return tuple(
            HeldAxis(axis.tensor, axis.dim, axis.start + np.flatnonzero(held[axis.labels])) for axis in self.axes
        )

    def labels_of_axes(self, kept: BoolArray) -> dict[tuple[str, int], Tensor]:
        """
        Return the labels of every axis that stay.

        Parameters
        ----------
        kept : ndarray of bool, shape (n_labels,)
            Labels that stay.

        Returns
        -------
        dict of tuple of str and int to Tensor
            By tensor and dimension, each of shape (number that stays,).
        """
        found = np.flatnonzero(kept)
        bounds = self._bounds(found)
        sizes = [end - start for start, end in bounds]
        parts = torch.from_numpy(found[bounds[0][0] : bounds[-1][1]] if bounds else found[:0]).split(sizes)
        return {(axis.tensor, axis.dim): part for axis, part in zip(self.axes, parts, strict=True)}

    def kept_shape(self, tensor: Tensor, kept: BoolArray) -> tuple[int, ...]:
        """
        Return the shape that a tensor of the run has when only some labels stay.

        Parameters
        ----------
        tensor : Tensor
            Tensor of one of the runs.
        kept : ndarray of bool, shape (n_labels,)
            Labels that stay.

        Returns
        -------
        tuple of int
            Shape after compaction.
        """
        shape = list(tensor.shape)
        plain = self._plain_labels(tensor)
        if plain is not None:
            for dim, labels in plain:
                shape[dim] = int(np.count_nonzero(kept[labels]))
            return tuple(shape)
        masks: dict[int, BoolArray] = {}
        for factor in self.trace.store[tensor]:
            stays = kept[left_padded(factor, len(shape)).numpy()]
            for dim in tracked(factor):
                others = tuple(axis for axis in range(len(shape)) if axis != dim)
                own = stays.any(axis=others)
                masks[dim] = masks[dim] & own if dim in masks else own
        for dim, mask in masks.items():
            shape[dim] = int(mask.sum())
        return tuple(shape)

    def _plain_labels(self, tensor: Tensor) -> _PlainLabels | None:
        """Return the labels along each dimension, None where a factor lies along several or several along one."""
        if id(tensor) not in self._plain:  # the store keeps all tensors of the runs alive
            factors = self.trace.store[tensor]
            dims = [[dim + tensor.dim() - factor.dim() for dim in tracked(factor)] for factor in factors]
            flat = [dim for own in dims for dim in own]
            is_plain = all(len(own) <= 1 for own in dims) and len(set(flat)) == len(flat)
            self._plain[id(tensor)] = (
                tuple((own[0], factor.reshape(-1).numpy()) for own, factor in zip(dims, factors, strict=True) if own)
                if is_plain
                else None
            )
        return self._plain[id(tensor)]

    def kept_part(self, factor: Tensor, kept: BoolArray) -> IntArray:
        """
        Return the labels of a factor that stay.

        Parameters
        ----------
        factor : Tensor
            Label factor; what stays of it is a rectangle.
        kept : ndarray of bool, shape (n_labels,)
            Labels that stay.

        Returns
        -------
        ndarray of int
            Array with as many dimensions as the factor.
        """
        labels = factor.numpy()
        stays = kept[labels]
        if max(labels.shape, default=1) == labels.size:
            shape = tuple(-1 if size > 1 else 1 for size in labels.shape)
            part: IntArray = labels[stays].reshape(shape) if labels.size > 1 else labels
            return part
        for dim in tracked(factor):
            mask = stays.any(axis=tuple(axis for axis in range(labels.ndim) if axis != dim))
            labels, stays = labels.compress(mask, axis=dim), stays.compress(mask, axis=dim)
        return labels

    @cached_property
    def groups(self) -> tuple["Group", ...]:
        """Units along each labelled dimension of which some must stay, unless enough of them are frozen anyway."""
        found: dict[bytes, Group] = {}

        def add(units: IntArray, minimum: int) -> None:
            minimum = min(max(minimum, self._at_least), units.size)
            if minimum == 1 and units[0] < 0:
                return
            key = units.tobytes()
            known = found.get(key)
            if known.minimum < minimum if known else np.count_nonzero(units < 0) < minimum:
                found[key] = Group(units, minimum)

        for labels in self.trace.table.kept_in_pairs:
            add(self.unit_of_label[labels], 2)
        for axis in self.axes:
            add(self.unit_of_label[axis.labels], 1)
        for factor in _factors_seen(self.trace):
            if factor.numel() == max(factor.shape):
                add(self.unit_of_label[factor.reshape(-1).numpy()], 1)
        return tuple(found.values())

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """Every unit that makes a channel: those that may be removed by index, then the frozen ones."""
        slices: dict[int, list[Slice]] = {}
        for axis in self.axes:
            components = self.component[axis.labels]
            order = np.argsort(components, kind="stable")
            bounds = np.flatnonzero(np.diff(components[order])) + 1
            for part in np.split(order, bounds):
                labels = part + axis.start
                slices.setdefault(int(components[part[0]]), []).append(
                    Slice(axis.tensor, axis.dim, tuple(part.tolist()), self.role_of(labels))
                )
        made = distinct(self.component[self.producers]).tolist()
        numbered = sorted((int(self.unit_of_component[c]), c) for c in made if self.unit_of_component[c] >= 0)
        prunable = [Unit(index, tuple(slices[c])) for index, c in numbered]
        fixed = [Unit(None, tuple(slices[c]), self._reason_of[c]) for c in made if c in self._reason_of]
        return (*prunable, *fixed)

    @property
    def layers(self) -> tuple[str, ...]:
        """Dotted paths of the layers that make channels, in the order of registration."""
        return tuple(self._filters)

    @cached_property
    def first_layers(self) -> IntArray:
        """Number, in `layers`, of the first layer that holds a filter of each unit, shape (n_units,)."""
        numbers = np.zeros(self.n_units, dtype=np.int64)
        for number, layer in reversed(list(enumerate(self.layers))):
            numbers[self.units_of(layer)] = number
        return numbers

    def filters_of(self, layer: str) -> IntArray:
        """
        Return the labels of the filters of a layer.

        Parameters
        ----------
        layer : str
            Dotted path.

        Returns
        -------
        ndarray of int
            Labels of producers, empty for a layer that makes no channels.
        """
        return self._filters.get(layer, np.zeros(0, dtype=np.int64))

    def units_of(self, layer: str) -> IntArray:
        """
        Return the prunable units of the filters of a layer.

        Parameters
        ----------
        layer : str
            Dotted path.

        Returns
        -------
        ndarray of int
            In the order of the filters; a unit of several filters comes as often.
        """
        units = self.unit_of_label[self.filters_of(layer)]
        return units[units >= 0]

    def _bounds(self, labels: IntArray) -> list[tuple[int, int]]:
        """Return where those of ascending labels that belong to each axis begin and end; the axes follow each other."""
        starts = np.searchsorted(labels, [axis.start for axis in self.axes]).tolist()
        ends = np.searchsorted(labels, [axis.labels.stop for axis in self.axes]).tolist()
        return list(zip(starts, ends, strict=True))

    @cached_property
    def _filters(self) -> dict[str, IntArray]:
        """Labels of the filters of every layer that makes channels."""
        parts: dict[str, list[IntArray]] = {}
        made = np.flatnonzero(self.producers)
        for axis, (start, end) in zip(self.axes, self._bounds(made), strict=True):
            if start < end:
                parts.setdefault(axis.tensor.rpartition(".")[0], []).append(made[start:end])
        return {layer: np.concatenate(own) for layer, own in parts.items()}

    def role_of(self, labels: IntArray | slice) -> Role:
        """
        Return what a part of a tensor does with the channels that it is labelled with.

        Parameters
        ----------
        labels : ndarray of int or slice
            Labels along one dimension of the tensor.

        Returns
        -------
        {"producer", "inner", "consumer"}
            Whether it makes them, works on them, or reads them.
        """
        if self.producers[labels].any():
            return "producer"
        return "consumer" if self.consumers[labels].any() else "inner"

    def _freeze_marked(self) -> None:
        labels, numbers = self.trace.table.frozen_pairs()
        components = self.component[labels]
        first = np.sort(np.unique(components, return_index=True)[1])  # what froze it first tells why
        for component, number in zip(components[first].tolist(), numbers[first].tolist(), strict=True):
            self._reason_of[component] = self.trace.table.reasons[number]
        for extra, reason in self._blocked:
            for component in distinct(self.component[extra]).tolist():
                self._reason_of.setdefault(component, reason)

    def _settle_across(self) -> None:
        """
        Settle where labels of two dimensions met labels of one of them, as heads x width meet rotary positions.

        Where the labels no longer vary along the common dimension, nothing is removed along it, so the labels that
        describe it alone stay. Elsewhere they are equal.
        """
        for wide, narrow, reason in self.trace.table.across:
            components = self.component[wide.numpy()]
            if all(_constant_along(components, dim) for dim in tracked(narrow)):
                for component in distinct(self.component[narrow.numpy()]).tolist():
                    self._reason_of.setdefault(component, reason)
            else:
                left, right = np.broadcast_arrays(components, self.component[narrow.numpy()])
                self._merge(left.ravel(), right.ravel())

    def _resolve_rectangles(self) -> None:
        """Collapse two-dimensional labels so that whatever is removed leaves a full rectangle."""
        seen: set[bytes] = set()
        for factor in _factors_seen(self.trace):
            if len(tracked(factor)) < 2:
                continue
            labels = factor.numpy()
            key = labels.tobytes() + bytes(str(labels.shape), "ascii")
            if key in seen:
                continue
            seen.add(key)
            components = self.component[labels]
            dims = tracked(factor)
            if any(_constant_across(components, dim) for dim in dims):
                continue
            self._merge_across(components, self._finest(components, dims))

    def _finest(self, components: IntArray, dims: Sequence[int]) -> int:
        """Return the dimension whose indices leave most units, to the network if equally many to the tensor."""
        left = {dim: self._units_left(components, dim) for dim in dims}
        best = [dim for dim in dims if left[dim] == max(left.values())]
        if len(best) == 1 or not left[best[0]]:
            return best[0]
        trials = {dim: copy.copy(self) for dim in best}
        for dim, trial in trials.items():
            trial._merge_across(components, dim)
            trial._freeze_whole_axes()
        return max(best, key=lambda dim: trials[dim]._number_units().max())

    def _merge_across(self, components: IntArray, dim: int) -> None:
        """Make the components of each index of a dimension one."""
        rows = np.moveaxis(components, dim, 0).reshape(components.shape[dim], -1)
        self._merge(np.repeat(rows[:, 0], rows.shape[1]), rows.ravel())

    def _units_left(self, components: IntArray, dim: int) -> int:
        rows = np.moveaxis(components, dim, 0).reshape(components.shape[dim], -1)
        free = ~self.frozen[rows].any(axis=1)
        return len(distinct(rows[free].min(axis=1))) if free.any() else 0

    def _merge(self, left: IntArray, right: IntArray) -> None:
        size = int(self.component.max(initial=0)) + 1
        merged = connected([(left, right)], size)
        self.component = merged[self.component]
        reasons: dict[int, Reason] = {}
        for component, reason in self._reason_of.items():
            reasons.setdefault(int(merged[component]), reason)
        self._reason_of = reasons

    def _freeze_whole_axes(self) -> None:
        why = {
            component: reason
            for labels, reason in reversed(self.trace.table.explanations)
            for component in distinct(self.component[labels]).tolist()
        }
        for axis in self.axes:
            components = self.component[axis.labels]
            if components[0] != components[-1] or (components != components[0]).any():
                continue
            if self.producers[axis.labels].any():
                text = f"its {axis.size} filters can only be removed together"
                module = axis.tensor.rpartition(".")[0]
                reason = why.get(int(components[0]), Reason(text, module=module))
                self._reason_of.setdefault(int(components[0]), reason)

    def _number_units(self) -> IntArray:
        count = int(self.component.max(initial=0)) + 1
        numbers = np.full(count, -1, dtype=np.int64)
        labels = np.flatnonzero(self.producers)
        free = labels[~self.frozen[self.component[labels]]]
        first = np.full(count, -1, dtype=np.int64)
        first[self.component[free][::-1]] = free[::-1]  # the last that is written stays
        found = np.flatnonzero(first >= 0)
        numbers[found[np.argsort(first[found])]] = np.arange(found.size)
        return numbers


def _constant_across(components: IntArray, dim: int) -> bool:
    """Return whether every index of ``dim`` holds one component only."""
    rows = np.moveaxis(components, dim, 0).reshape(components.shape[dim], -1)
    return bool((rows == rows[:, :1]).all())


def _constant_along(components: IntArray, dim: int) -> bool:
    """Return whether components do not change along a dimension."""
    return bool((components == components.take([0], axis=dim)).all())


def _factors_seen(trace: Trace) -> Iterator[Tensor]:
    """Yield the factors of every tensor that the runs made once."""
    seen: set[int] = set()
    for run in trace.runs:
        for record in run.operations:
            for tensor in record.outputs:
                for factor in trace.store[tensor]:
                    if id(factor) not in seen:
                        seen.add(id(factor))
                        yield factor

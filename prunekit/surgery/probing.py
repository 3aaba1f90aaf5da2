"""One probe: compact a copy of a network, run it and compare every operation with the dense run."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunekit.surgery.attributes import Repair
from prunekit.surgery.compaction import apply_plan_
from prunekit.surgery.plan import make_plan
from prunekit.tracing import (
    MISPLACED,
    CheckingTable,
    LabelConflictError,
    OperationRecord,
    RunRecord,
    Tracer,
    UnitGraph,
    named_tensors,
    tensors_in,
    tracked,
)
from prunekit.tracing.rules import takes_sizes

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Where the compacted copy leaves the labels.

    Parameters
    ----------
    run : int
        Number of the run of the trace.
    operation : int
        Number of the operation in that run.
    text : str
        What went wrong there.
    labels : ndarray of int or None, default=None
        Labels that are certainly to blame; the operation tells the others.
    """

    run: int
    operation: int
    text: str
    labels: NDArray[np.int64] | None = None

    @property
    def position(self) -> tuple[int, int]:
        """Run and operation, to compare how far two probes came."""
        return self.run, self.operation


class _OwnError(BaseException):
    """A mistake of prunekit's own, which must not be taken for one of the model's code."""


class _DeviationError(Exception):
    """The compacted copy runs another operation, or one with another shape or number than expected."""


def probe(graph: UnitGraph, repairs: tuple[Repair, ...], removed: BoolArray, mends: bool = False) -> list[Failure]:
    """
    Compact a copy, run it and follow the labels.

    Parameters
    ----------
    graph : UnitGraph
        Units of the network.
    repairs : tuple of Repair
        Attributes to set.
    removed : ndarray of bool, shape (n_units,)
        Units to remove.
    mends : bool, default=False
        Whether to go on after a failure, with the tensors that the labels foretell.

    Returns
    -------
    list of Failure
        Operations where the copy fails or leaves the labels, in the order of the run: the first one, or with `mends`
        all up to one that cannot be mended.
    """
    kept = graph.kept_labels(removed)
    plan = make_plan(graph, removed, repairs)
    prunable = graph.unit_of_component >= 0
    labels = graph.labels_of_axes(kept)
    sandbox = graph.trace.sandbox
    failures: list[Failure] = []
    with sandbox.opened() as duplicate:
        dense = named_tensors(duplicate)
        apply_plan_(duplicate, plan)
        table = CheckingTable(graph.component, prunable)
        tracer = Tracer(duplicate, sandbox.path, table, labels)
        inputs = sandbox.prepare(graph.trace.inputs)
        for number, run in enumerate(graph.trace.runs):
            watch = _Watch(graph, number, kept, tracer, mends)
            watch.settle((dense[name], tensor) for name, tensor in tracer.tensors.items())
            try:
                found = tracer.forward(inputs.args, inputs.kwargs, run.training, watch)
            except _OwnError as exc:
                raise AssertionError("prunekit could not compare an operation; please report this") from exc.__cause__
            except Exception as exc:
                return [*failures, *watch.failures, watch.failure(len(tracer.run.operations) - 1, exc)]
            failures += watch.failures
            last = len(run.operations) - 1
            new = found.warnings - run.warnings
            if new and not failures:
                warnings.warn(f"The compacted network warns where the dense one did not: {min(new)}", stacklevel=2)
            if len(found.operations) != len(run.operations):
                failures.append(Failure(number, last, "the compacted network ends early"))
            elif (met := table.contradictions()).size:
                failures.append(Failure(number, last, MISPLACED, met))
            if failures and not mends:
                return failures[:1]
    return failures


class _Watch:
    """Compare every operation of the compacted run with the dense one, and mend those that fail."""

    def __init__(self, graph: UnitGraph, number: int, kept: BoolArray, tracer: Tracer, mends: bool) -> None:
        self.mends = mends
        self.failures: list[Failure] = []
        self._graph = graph
        self._number = number
        self._run: RunRecord = graph.trace.runs[number]
        self._kept = kept
        self._found = tracer.store
        self._tracer = tracer
        self._twins: dict[int, Tensor] = {}
        self._shapes: dict[tuple[object, ...], tuple[int, ...]] = {}
        self._parts: dict[int, NDArray[np.int64]] = {}
        self._tensors: dict[int, Tensor] = {}
        self._agreed: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def settle(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Note tensors with their twins of the dense run, whose labels without what is gone they carry."""
        for dense, smaller in pairs:
            shape = smaller.shape
            if 1 not in shape or list(shape).count(1) == list(dense.shape).count(1):
                self._twins[id(smaller)] = dense

    def foresees(self, record: OperationRecord, number: int) -> bool:
        """
        Give the outputs of an operation the labels of the dense run that stay, if they cannot have others.

        That is so where the operation takes no number of channels, its inputs are those of the dense run without what
        is gone, and so are the shapes of its outputs. A dimension of size 1, which broadcasts, is not looked at here.
        """
        if number >= len(self._run.operations):
            return False
        dense = self._run.operations[number]
        if dense.name != record.name or dense.scalars != record.scalars or takes_sizes(record):
            return False
        if len(dense.inputs) != len(record.inputs) or len(dense.outputs) != len(record.outputs):
            return False
        twins = self._twins
        for before, after in zip(dense.inputs, record.inputs, strict=True):
            if twins.get(id(after)) is not before and not self._are_twins(before, after):
                return False
        if not _have_same_numbers(dense, record):
            return False
        store, pairs = self._graph.trace.store, []
        for position, (out, smaller) in enumerate(zip(dense.outputs, record.outputs, strict=True)):
            if position and not store[out]:
                continue
            if store.alone(out) or smaller.shape != self._expected_shape(out):
                return False
            pairs.append((out, smaller))
        for out, smaller in pairs:
            if not any(smaller is tensor for tensor in record.inputs):
                self._found[smaller] = self._labels_left(out)
                if store.is_weight(out):
                    self._found.set_weight(smaller)
        self.settle(pairs)
        return True

    def _are_twins(self, dense: Tensor, smaller: Tensor) -> bool:
        """Return whether a tensor is known to carry the labels of a dense one that stay, or neither carries any."""
        dense, smaller = self._run.original(dense), self._tracer.run.original(smaller)
        if self._twins.get(id(smaller)) is dense:
            return True
        before, after = self._graph.trace.store, self._found
        if before[dense] or after[smaller] or before.alone(dense) or after.alone(smaller):
            return False
        return dense.shape == smaller.shape and before.is_weight(dense) == after.is_weight(smaller)

    def visited(self, record: OperationRecord, number: int) -> tuple[Tensor, ...] | None:
        """Raise `_DeviationError` where the operation is not the one that the labels foretell, or mend it."""
        if number >= len(self._run.operations):
            raise _DeviationError("the compacted network runs more operations")
        dense = self._run.operations[number]
        if dense.name != record.name:
            raise _DeviationError(f"the compacted network runs {record.name} in place of {dense.name}")
        try:
            self._compare(dense, record)
        except _DeviationError as exc:
            if not self.mends or any(out is tensor for out in record.outputs for tensor in record.inputs):
                raise
            self.failures.append(self.failure(number, exc))
            return self._foretold(dense)
        except Exception as exc:
            raise _OwnError from exc
        return None

    def raised(self, name: str, number: int, error: Exception) -> tuple[Tensor, ...] | None:
        """Return what the labels foretell where an operation raised an error."""
        if isinstance(error, _DeviationError) or number >= len(self._run.operations):
            return None
        dense = self._run.operations[number]
        if dense.name != name or any(out is tensor for out in dense.outputs for tensor in dense.inputs):
            return None
        self.failures.append(self.failure(number, error, ran=isinstance(error, LabelConflictError)))
        return self._foretold(dense)

    def failure(self, number: int, error: Exception, ran: bool = True) -> Failure:
        """
        Return the failure that an error tells of.

        Parameters
        ----------
        number : int
            Number of the last operation that ran, or of the one that failed.
        error : Exception
            What was raised.
        ran : bool, default=True
            Whether that operation ran; an error of the model's own code comes after it.
        """
        last = len(self._run.operations) - 1
        number = min(max(number, 0), last)
        if isinstance(error, LabelConflictError):
            return Failure(self._number, number, str(error), error.labels)
        if isinstance(error, _DeviationError):
            return Failure(self._number, number, str(error))
        lines = str(error).strip().splitlines()
        text = f"the model's code fixes a size: {lines[0] if lines else type(error).__name__}"
        return Failure(self._number, min(number + 1, last) if ran else number, text)

    def _compare(self, dense: OperationRecord, record: OperationRecord) -> None:
        if dense.scalars != record.scalars:
            raise _DeviationError(f"a number computed from a size changes from {dense.scalars} to {record.scalars}")
        if not takes_sizes(record) and not _have_same_numbers(dense, record):
            raise _DeviationError("the model's code gives it other arguments for another number of channels")
        if len(dense.outputs) != len(record.outputs):
            raise _DeviationError(f"the model's code fixes a size, so that there are {len(record.outputs)} parts")
        for position, (out, smaller) in enumerate(zip(dense.outputs, record.outputs, strict=True)):
            if position and not self._graph.trace.store[out]:
                continue  # saved statistics and the like, which no rule describes
            expected = self._adapted(self._expected_shape(out), out, smaller)
            if tuple(smaller.shape) != expected:
                fixed = [size for size, wanted in zip(smaller.shape, expected, strict=False) if size != wanted]
                raise _DeviationError(f"the model's code fixes the size {fixed[0] if fixed else tuple(smaller.shape)}")
            self._compare_labels(out, smaller)

    def _foretold(self, dense: OperationRecord) -> tuple[Tensor, ...]:
        """Return tensors of the shapes that the outputs of a dense operation keep, with the labels that stay."""
        store = self._graph.trace.store
        found = []
        for out in dense.outputs:
            mended = _zeros_like(out, self._expected_shape(out))
            self._found[mended] = self._labels_left(out)
            if store.is_weight(out):
                self._found.set_weight(mended)
            found.append(mended)
        return tuple(found)

    def _expected_shape(self, dense: Tensor) -> tuple[int, ...]:
        key = dense.shape, *map(id, self._graph.trace.store[dense])
        if key not in self._shapes:
            self._shapes[key] = self._shape_left(dense)
        return self._shapes[key]

    def _shape_left(self, dense: Tensor) -> tuple[int, ...]:
        shape = list(dense.shape)
        seen: set[int] = set()
        for factor in self._graph.trace.store[dense]:
            part = self._part(factor)
            for dim in tracked(factor):
                if dim - part.ndim in seen:  # described twice
                    return self._graph.kept_shape(dense, self._kept)
                seen.add(dim - part.ndim)
                shape[dim - part.ndim] = part.shape[dim]
        return tuple(shape)

    def _adapted(self, expected: tuple[int, ...], dense: Tensor, smaller: Tensor) -> tuple[int, ...]:
        """Return the shape with any size where the dense tensor is expanded: that adapts to what it meets next."""
        if 0 not in dense.stride() or len(expected) != smaller.dim():
            return expected
        described = {dim - factor.dim() for factor in self._graph.trace.store[dense] for dim in tracked(factor)}
        sizes = zip(expected, dense.stride(), smaller.shape, strict=True)
        return tuple(
            got if stride == 0 and dim - len(expected) not in described else size
            for dim, (size, stride, got) in enumerate(sizes)
        )

    def _part(self, factor: Tensor) -> NDArray[np.int64]:
        """Return what stays of a factor; most tensors share theirs with others."""
        if id(factor) not in self._parts:
            self._parts[id(factor)] = self._graph.kept_part(factor, self._kept)
        return self._parts[id(factor)]

    def _labels_left(self, dense: Tensor) -> tuple[Tensor, ...]:
        """Return what stays of the factors of a tensor."""
        found = []
        for factor in self._graph.trace.store[dense]:
            key = id(factor)
            if key not in self._tensors:
                self._tensors[key] = torch.from_numpy(self._part(factor))
            if self._tensors[key].numel() > 1:
                found.append(self._tensors[key])
        return tuple(found)

    def _compare_labels(self, dense: Tensor, smaller: Tensor) -> None:
        """Raise `_DeviationError` unless every factor is one of the dense run without what is gone."""
        component = self._graph.component
        before, after = self._graph.trace.store, self._found
        if not before.alone(dense) and not after.alone(smaller) and self._agree(before[dense], after[smaller]):
            if before.is_weight(dense) == after.is_weight(smaller):
                self.settle([(dense, smaller)])
            return
        expected = [self._part(factor) for factor in (*before[dense], *before.alone(dense))]
        found = [factor.numpy() for factor in (*after[smaller], *after.alone(smaller))]
        fresh = [labels for labels in found if (labels >= len(component)).any()]  # see CheckingTable.contradictions
        for labels in found:
            if any(labels is one for one in fresh) or any(_equal(component, labels, one) for one in expected):
                continue
            own = np.unique(component[labels])
            if own.size > 1 or not any(own[0] in component[one] for one in expected):
                raise _DeviationError(MISPLACED)  # within a single unit the order does not matter
        if not fresh:
            self._restore(smaller, [one for one in expected if not any(_equal(component, one, own) for own in found)])

    def _agree(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
        """Return whether each factor is the dense one without what is gone; most pairs come again and again."""
        if len(before) != len(after):
            return False
        for pair in zip(before, after, strict=True):
            key = id(pair[0]), id(pair[1])
            if key not in self._agreed:
                if not _equal(self._graph.component, pair[1].numpy(), self._part(pair[0])):
                    return False
                self._agreed[key] = pair
        return True

    def _restore(self, smaller: Tensor, lost: list[NDArray[np.int64]]) -> None:
        """Give a tensor the labels that a dimension of size 1, which broadcasts, has lost on the way."""
        factors = tuple(torch.from_numpy(labels) for labels in lost if labels.size > 1)
        if factors:
            self._found[smaller] = (*self._found[smaller], *factors)


_NUMBERS_OF_CHANNELS = frozenset({"groups", "normalized_shape", "size"})
"""Arguments of operations without sizes that fail with any other value than the right one."""


def _have_same_numbers(dense: OperationRecord, record: OperationRecord) -> bool:
    """Return whether two operations have the same arguments but for tensors and numbers of channels."""
    others = record.arguments
    for name, value in dense.arguments.items():
        other = others[name]
        if value is other or isinstance(value, Tensor) or name in _NUMBERS_OF_CHANNELS:
            continue
        if isinstance(value, list | tuple) and value and type(value[0]) is not int and tensors_in(value):
            continue
        if value != other:
            return False
    return True


def _zeros_like(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return zeros of a shape whose dimensions lie in memory in the order of those of a tensor."""
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda dim: -strides[dim])
    return tensor.new_zeros([shape[dim] for dim in order]).permute([order.index(dim) for dim in range(tensor.dim())])


def _equal(component: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> bool:
    """Return whether two arrays of labels name the same components in the same order."""
    if left.size != right.size:
        return False
    try:
        return bool((component[left.ravel()] == component[right.ravel()]).all())
    except IndexError:
        return False  # some are fresh

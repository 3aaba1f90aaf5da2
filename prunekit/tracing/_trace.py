"""Run a network once on tensors without memory and keep what the labels tell."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, unset_fake_temporarily

from prunekit.exceptions import InputError, PrunekitError
from prunekit.tracing._follower import Follower
from prunekit.tracing._inputs import Inputs
from prunekit.tracing._labels import LabelTable
from prunekit.tracing._modes import mode_readers
from prunekit.tracing._outputs import named_tensors
from prunekit.tracing._records import LabelStore, RunRecord
from prunekit.tracing._sandbox import Sandbox, Tensors
from prunekit.tracing._tracer import Tracer


class Axis(NamedTuple):
    """
    One dimension of a parameter or buffer and the labels that it got.

    Parameters
    ----------
    tensor : str
        Name of the parameter or buffer.
    dim : int
        Dimension.
    start : int
        Label of its first index; the others follow.
    size : int
        Number of indices.
    """

    tensor: str
    dim: int
    start: int
    size: int

    @property
    def labels(self) -> slice:
        """Labels of the axis, as a slice of arrays over all labels."""
        return slice(self.start, self.start + self.size)


class HeldAxis(NamedTuple):
    """
    An `Axis` of a tensor from which some indices are gone.

    Parameters
    ----------
    tensor : str
        Name of the parameter or buffer.
    dim : int
        Dimension.
    labels : ndarray of int, shape (size,)
        Labels of the indices that it still has.
    """

    tensor: str
    dim: int
    labels: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Number of indices."""
        return int(self.labels.size)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """
    What one tracing of a network found; nothing in it refers to the user's tensors.

    Parameters
    ----------
    table : LabelTable
        Equalities, marks and frozen labels.
    store : LabelStore
        Factors of every tensor of the runs.
    axes : tuple of Axis
        Labels of parameters and buffers.
    runs : tuple of RunRecord
        The run in eval mode and, where it does something else and the network allows it, the one in training mode.
    inputs : Inputs
        The inputs that the runs took.
    batch_size : int or None
        Size of the first dimension of all inputs, None where the network takes no other size of it.
    sandbox : Sandbox
        Copy of the network that can be run again.
    """

    table: LabelTable
    store: LabelStore
    axes: tuple[Axis, ...]
    runs: tuple[RunRecord, ...]
    inputs: Inputs
    batch_size: int | None
    sandbox: Sandbox


def trace(module: nn.Module, inputs: Inputs, norms: Mapping[str, int] | None = None) -> Trace:
    """
    Run a network once and follow the labels of its channels.

    Parameters
    ----------
    module : Module
        The network; it is copied and not touched.
    inputs : Inputs
        Example inputs.
    norms : Mapping of str to int, default=None
        Layers that normalise over all channels by several operations, with the dimension of the channels. They are
        traced as if they were one operation.

    Returns
    -------
    Trace
        Labels, equalities and records of the runs.

    Raises
    ------
    InputError
        If the network does not run with the inputs.
    """
    size = inputs.batch_size()
    candidates: list[tuple[Inputs, int | None]] = [(inputs, None)]
    if size is not None:  # the first dimension is a batch if the network takes another size of it
        other = 2 if size != 2 else 3
        with suppress(NotImplementedError):  # sparse tensors can be neither cut nor repeated
            candidates.insert(0, (inputs.with_batch(other), other))
    failure: Exception | None = None
    for tensors in get_args(Tensors):  # what has no memory cannot take branches on data
        for candidate, batch_size in candidates:
            try:
                return _trace_once(module, candidate, batch_size, tensors, norms or {})
            except PrunekitError:
                raise
            except Exception as exc:  # any error of the user's forward
                failure = exc
                if _asks_for_values(exc):  # with other inputs as well
                    break
    raise InputError(describe_misfit(module, inputs, failure)) from failure


def _asks_for_values(failure: Exception) -> bool:
    """Return whether an error is that of reading values of a tensor that has none."""
    return isinstance(failure, DataDependentOutputException) or "item() cannot be called on meta" in str(failure)


def _trace_once(
    module: nn.Module, inputs: Inputs, batch_size: int | None, tensors: Tensors, norms: Mapping[str, int]
) -> Trace:
    table = LabelTable()
    sandbox = Sandbox(module, tensors, norms)
    failure: Exception | None = None
    with sandbox.opened() as duplicate:
        axes = _axes(named_tensors(duplicate), table.size)
        sizes = [axis.size for axis in axes]
        with unset_fake_temporarily():
            parts = table.fresh(sum(sizes)).split(sizes)
        labels = {(axis.tensor, axis.dim): part for axis, part in zip(axes, parts, strict=True)}
        tracer = Tracer(duplicate, sandbox.path, table, labels)
        ready = sandbox.prepare(inputs)
        with mode_readers() as readers:
            runs = [tracer.forward(ready.args, ready.kwargs, training=False)]
        try:
            if sandbox.tensors == "real" or (
                readers.can_tell(duplicate)
                and not Follower(duplicate, sandbox.path, runs[0]).is_same(ready.args, ready.kwargs)
            ):
                runs.append(tracer.forward(ready.args, ready.kwargs, training=True))
        except Exception as exc:
            failure = exc
            unused = _unused(duplicate, runs[0])
    if failure is not None:
        if sandbox.tensors != "real" and _trains(module, inputs):
            raise failure  # only without memory it does not
        if unused is not None:
            raise InputError(_describe_unused(module, unused, failure)) from failure
    return Trace(table, tracer.store, axes, tuple(runs), inputs, batch_size, sandbox)


def _axes(tensors: Mapping[str, Tensor], start: int) -> tuple[Axis, ...]:
    """Return the dimensions of tensors that have more than one index, with labels from ``start`` on."""
    axes = []
    for name, tensor in tensors.items():
        for dim, size in enumerate(tensor.shape):
            if size > 1:
                axes.append(Axis(name, dim, start, size))
                start += size
    return tuple(axes)


def _trains(module: nn.Module, inputs: Inputs) -> bool:
    """Return whether a network runs in training mode on real tensors."""
    sandbox = Sandbox(module, "real", {})
    with sandbox.opened() as duplicate, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ready = sandbox.prepare(inputs)
        try:
            duplicate.train()(*ready.args, **ready.kwargs)
        except Exception:
            return False
    return True


def _unused(module: nn.Module, run: RunRecord) -> str | None:
    """Return the first parameter that a run does not use, None if it uses all."""
    used = {id(tensor) for record in run.operations for tensor in record.inputs}
    return next((name for name, parameter in module.named_parameters() if id(parameter) not in used), None)


def _describe_unused(module: nn.Module, name: str, failure: Exception) -> str:
    """Return a sentence on a network that does not run in training mode though that mode has parameters of its own."""
    return (
        f"{type(module).__name__} does not run in training mode on the example inputs, and '{name}' is not used in "
        "eval mode, so it cannot be told what reads or makes its channels. Give example inputs that training takes as "
        "well. "
        f"Got {type(failure).__name__}: {failure}"
    )


def describe_misfit(module: nn.Module, inputs: Inputs, failure: Exception | None) -> str:
    """
    Return a sentence on inputs that a network does not take.

    Parameters
    ----------
    module : Module
        The network.
    inputs : Inputs
        What it got.
    failure : Exception or None
        What it raised.

    Returns
    -------
    str
        For an `InputError`.
    """
    got = ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in inputs.tensors())
    dtypes = {tensor.dtype for tensor in module.parameters() if tensor.is_floating_point() or tensor.is_complex()}
    wanted = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
    cause = str(failure).strip().split("\n")[0]
    return (
        f"{type(module).__name__} does not run on the example inputs. It must accept a batch with the shape and the "
        f"data type that the network was made for (its parameters are {wanted or 'absent'}). Got {got} instead: {cause}"
    )

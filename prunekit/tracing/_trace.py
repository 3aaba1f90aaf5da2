"""Run a network once on fake tensors and keep what the labels tell."""

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from prunekit._random import preserve_rng
from prunekit.exceptions import InputError
from prunekit.tracing._copy import copy_module, fake_copy, fake_inputs
from prunekit.tracing._labels import LabelTable
from prunekit.tracing._records import LabelStore, RunRecord
from prunekit.tracing._tracer import Tracer, named_tensors


@dataclass(frozen=True, slots=True)
class Inputs:
    """
    Arguments of a forward pass.

    Parameters
    ----------
    args : tuple
        Positional arguments.
    kwargs : Mapping
        Keyword arguments.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Replace a missing mapping by an empty one."""
        if self.kwargs is None:
            object.__setattr__(self, "kwargs", {})

    @classmethod
    def of(cls, example: Any) -> "Inputs":
        """
        Return inputs from what a user gives.

        Parameters
        ----------
        example : Tensor, tuple, list or Mapping
            One tensor, positional arguments or keyword arguments.

        Returns
        -------
        Inputs
            The arguments.

        Raises
        ------
        InputError
            If there is no tensor in it.
        """
        if isinstance(example, Inputs):
            found = example
        elif isinstance(example, Mapping):
            found = cls((), dict(example))
        elif isinstance(example, tuple | list):
            found = cls(tuple(example))
        else:
            found = cls((example,))
        if not found.tensors():
            raise InputError(
                "The 'example_inputs' parameter must be a tensor, a tuple of positional arguments or a dict of keyword "
                f"arguments with at least one tensor. Got {type(example).__name__} instead."
            )
        return found

    def tensors(self) -> list[Tensor]:
        """Return the tensors among the arguments."""
        leaves = torch.utils._pytree.tree_leaves((self.args, dict(self.kwargs)))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def map(self, function: Any) -> "Inputs":
        """Return inputs with ``function`` applied to every tensor."""
        args, kwargs = torch.utils._pytree.tree_map_only(Tensor, function, (self.args, dict(self.kwargs)))
        return Inputs(args, kwargs)

    def batch_size(self) -> int | None:
        """Return the size of the first dimension that all tensors share, None if they share none."""
        sizes = {tensor.size(0) if tensor.dim() else None for tensor in self.tensors()}
        return sizes.pop() if len(sizes) == 1 else None

    def with_batch(self, size: int) -> "Inputs":
        """Return inputs cut or repeated to a batch of ``size``."""
        return self.map(lambda tensor: torch.cat([tensor[:size]] * size)[:size] if tensor.dim() else tensor)


@dataclass(frozen=True, slots=True)
class Axis:
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
        The run in eval mode and, where the network allows it, the one in training mode.
    inputs : Inputs
        The inputs that the runs took.
    batch_size : int or None
        Size of the first dimension of all inputs, None where the network takes no other size of it.
    fake : bool
        Whether fake tensors could run the network.
    """

    table: LabelTable
    store: LabelStore
    axes: tuple[Axis, ...]
    runs: tuple[RunRecord, ...]
    inputs: Inputs
    batch_size: int | None
    fake: bool


@contextmanager
def sandbox(module: nn.Module, fake: bool) -> Iterator[tuple[nn.Module, Any]]:
    """
    Yield a copy of a network that may be run and a function that prepares its inputs; nothing outside changes.

    Parameters
    ----------
    module : Module
        The network.
    fake : bool
        Whether to use fake tensors.

    Yields
    ------
    tuple of Module and callable
        The copy, and a function from `Inputs` to `Inputs`.
    """
    with preserve_rng(device_of(module)):
        if fake:
            mode = FakeTensorMode(allow_non_fake_inputs=True)
            duplicate = fake_copy(module, mode)
            with mode, _quiet_fake_tensors():
                yield duplicate, lambda inputs: Inputs(*fake_inputs((inputs.args, dict(inputs.kwargs)), mode))
        else:
            yield copy_module(module), lambda inputs: inputs.map(lambda tensor: tensor.detach().clone())


@contextmanager
def _quiet_fake_tensors() -> Iterator[None]:
    """Keep torch from logging a traceback for every operation that fails; a probe expects that."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def device_of(module: nn.Module) -> torch.device | None:
    """
    Return the device of the first parameter or buffer.

    Parameters
    ----------
    module : Module
        A network.

    Returns
    -------
    device or None
        None if it has neither.
    """
    return next((tensor.device for tensor in named_tensors(module).values()), None)


def trace(module: nn.Module, inputs: Inputs) -> Trace:
    """
    Run a network once and follow the labels of its channels.

    Parameters
    ----------
    module : Module
        The network; it is copied and not touched.
    inputs : Inputs
        Example inputs.

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
        candidates.insert(0, (inputs.with_batch(other), other))
    failure: Exception | None = None
    for fake in (True, False):  # what fake tensors cannot run, such as branches on data, real ones may
        for candidate, batch_size in candidates:
            try:
                return _trace_once(module, candidate, batch_size, fake)
            except InputError:
                raise
            except Exception as exc:  # any error of the user's forward
                failure = exc
    raise InputError(_describe(module, inputs, failure)) from failure


def _trace_once(module: nn.Module, inputs: Inputs, batch_size: int | None, fake: bool) -> Trace:
    table = LabelTable()
    axes: list[Axis] = []

    def draw(name: str, dim: int, size: int) -> Tensor:
        labels = table.fresh(size)
        axes.append(Axis(name, dim, int(labels[0]), size))
        return labels

    with sandbox(module, fake) as (duplicate, prepare):
        tracer = Tracer(duplicate, table, draw)
        ready = prepare(inputs)
        runs = [tracer.forward(ready.args, ready.kwargs, training=False)]
        try:
            runs.append(tracer.forward(ready.args, ready.kwargs, training=True))
        except Exception as exc:
            _check_all_used(duplicate, runs[0], exc)
    return Trace(table, tracer.store, tuple(axes), tuple(runs), inputs, batch_size, fake)


def _check_all_used(module: nn.Module, run: RunRecord, failure: Exception) -> None:
    """Refuse a network that does not run in training mode if that mode has parameters of its own."""
    used = {id(tensor) for record in run.operations for tensor in record.inputs}
    for name, parameter in module.named_parameters():
        if id(parameter) not in used:
            raise InputError(
                f"{type(module).__name__} does not run in training mode on the example inputs, and '{name}' is not "
                "used in eval mode, so it cannot be told what reads or makes its channels. Give example inputs that "
                f"training takes as well. Got {type(failure).__name__}: {failure}"
            ) from failure


def _describe(module: nn.Module, inputs: Inputs, failure: Exception | None) -> str:
    got = ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in inputs.tensors())
    dtypes = {tensor.dtype for tensor in module.parameters() if tensor.is_floating_point() or tensor.is_complex()}
    wanted = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
    cause = str(failure).strip().split("\n")[0]
    return (
        f"{type(module).__name__} does not run on the example inputs. It must accept a batch with the shape and the "
        f"data type that the network was made for (its parameters are {wanted or 'absent'}). Got {got} instead: {cause}"
    )


def duplicate_inputs(inputs: Inputs) -> Inputs:
    """
    Return an independent copy of inputs.

    Parameters
    ----------
    inputs : Inputs
        Any inputs.

    Returns
    -------
    Inputs
        Copy whose tensors share no memory with the original.
    """
    args, kwargs = copy.deepcopy((inputs.map(lambda t: t.detach().clone()).args, dict(inputs.kwargs)))
    return Inputs(args, kwargs)

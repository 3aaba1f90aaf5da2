"""The dispatch mode that carries labels through a forward pass."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from prunekit.tracing._call import Call, bind, tensors_in
from prunekit.tracing._composites import Composites
from prunekit.tracing._copy import has_memory
from prunekit.tracing._factors import along
from prunekit.tracing._labels import LabelConflictError, LabelTable
from prunekit.tracing._outputs import named_outputs, named_parts, named_tensors
from prunekit.tracing._path import ModulePath
from prunekit.tracing._reason import Reason
from prunekit.tracing._records import LabelStore, OperationRecord, RunRecord
from prunekit.tracing._shapes import run_without_memory
from prunekit.tracing._source import user_location
from prunekit.tracing.rules import find_rule, is_pointwise

COPIES = frozenset({"clone", "contiguous"})
"""Operations that a reshape does or does not need, depending on the memory layout; they are no part of the record."""

_NAMES = dict.fromkeys(("view", "_unsafe_view", "_reshape_alias", "reshape"), "aten.view.default")
"""Operations that differ by the memory layout alone."""


_RESHAPES_IN_PLACE = frozenset(
    getattr(torch.ops.aten, name).default for name in ("transpose_", "t_", "unsqueeze_", "squeeze_", "swapdims_")
)
"""Operations that give a tensor another shape; recurrent layers do so to their results."""


EMPTY = torch.ops.aten.empty.memory_format
"""What batch norm makes to hold nothing; no part of the record either, without elements."""


_NOTHING = nullcontext()


class Watch(Protocol):
    """What follows a run operation by operation and may put its own outputs in the place of those that it made."""

    mends: bool
    """Whether the run goes on where an operation fails."""

    def foresees(self, record: OperationRecord, number: int) -> bool:
        """Give the outputs of an operation that ran their labels if these are known beforehand, else return False."""

    def visited(self, record: OperationRecord, number: int) -> tuple[Tensor, ...] | None:
        """Look at an operation that ran; return outputs to go on with instead, None to go on as it is."""

    def raised(self, name: str, number: int, error: Exception) -> tuple[Tensor, ...] | None:
        """Return outputs to go on with where an operation raised an error, None to let the error pass."""


class Tracer(TorchDispatchMode):
    """
    Label the parameters of a network and follow the labels through its operations.

    Parameters
    ----------
    module : Module
        The network that will run, a copy of the user's.
    path : ModulePath
        What tells which of its modules runs.
    table : LabelTable
        Where equalities and frozen labels go.
    labels : Mapping of tuple of str and int to Tensor
        Labels of the tensors of the network by name and dimension, each of shape (size of the dimension,).

    Attributes
    ----------
    tensors : dict of str to Tensor
        The parameters and buffers.

    Notes
    -----
    Every parameter and buffer gets labels along each of its dimensions before the run, so an operation needs no rule
    for how its weight came about: transposed, reshaped, split and shared weights carry the labels of their storage.
    """

    def __init__(
        self,
        module: nn.Module,
        path: ModulePath,
        table: LabelTable,
        labels: Mapping[tuple[str, int], Tensor],
    ) -> None:
        super().__init__()
        self.table = table
        self.store = LabelStore()
        self.run = RunRecord(training=False)
        self._module = module
        self._path = path
        self._watch: Watch | None = None
        self._composites = Composites(self)
        self.tensors = tensors = named_tensors(module)
        self._memory = all(map(has_memory, tensors.values()))
        self._meta = any(tensor.is_meta for tensor in tensors.values())
        self._fake = not tensors or any(isinstance(tensor, FakeTensor) for tensor in tensors.values())
        with unset_fake_temporarily():
            for name, tensor in tensors.items():
                shape = tensor.shape
                self.store[tensor] = tuple(
                    [along(labels[name, dim], dim, len(shape)) for dim, size in enumerate(shape) if size > 1]
                )
                self.store.set_weight(tensor)

    def forward(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        training: bool,
        watch: Watch | None = None,
    ) -> RunRecord:
        """
        Run the network once and return what happened.

        Parameters
        ----------
        args, kwargs : tuple, Mapping
            Inputs of the forward pass.
        training : bool
            Mode of the network.
        watch : Watch, optional
            Called with every operation and its number right after it ran.

        Returns
        -------
        RunRecord
            Operations, outputs and warnings. It is also kept as ``run``, up to date when the forward pass raises.
        """
        self.run = RunRecord(training=training)
        self._watch = watch
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                with running(self._module, self._path, training), self._mending_reshapes(), self, self._composites:
                    result = forward_of_traced_module(self._module, args, kwargs)
        finally:
            self._watch = None
        self.run.warnings = {str(warning.message) for warning in caught}
        self.run.module_outputs = self._path.outputs
        self.run.outputs = named_outputs(result)
        with unset_fake_temporarily():
            self._use(self.run.outputs.values())
            for output in self.run.outputs.values():
                for factor in self.store[output]:
                    self.table.freeze(factor, Reason("network output"))
            for part in self._module.modules() if self.store.awaits_use else ():  # what the next forward pass may read
                self._use(tensors_in([*vars(part).values(), *part._buffers.values()]))
        return self.run

    def _use(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            for labels, reason in self.store.use(tensor):
                self.table.freeze(labels, reason)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation, then move its labels."""
        kwargs = kwargs or {}
        if func in _RESHAPES_IN_PLACE:
            self._keep_as_it_was(args[0])
        try:
            result = func(*args, **kwargs) if self._memory else run_without_memory(func, args, kwargs, self._meta)
        except Exception as exc:
            outputs = self.mend(recorded_name(func), exc) if isinstance(func, OpOverload) else None
            if outputs is None:
                raise
            return _as_returned(func, outputs)
        if isinstance(func, OpOverload) and func.namespace != "prim":
            with unset_fake_temporarily() if self._fake else _NOTHING:
                outputs = self._visit(func, args, kwargs, result)
            if outputs is not None:
                return _as_returned(func, outputs)
        return result

    def _keep_as_it_was(self, tensor: Tensor) -> None:
        """Let the records hold a tensor as it is, before it gets another shape in place."""
        with _disable_current_modes():
            before = tensor.detach()
        self.store[before] = self.store[tensor]
        for number, record in enumerate(self.run.operations):
            if any(one is tensor for one in (*record.inputs, *record.outputs)):
                inputs, outputs = (
                    tuple(before if one is tensor else one for one in tensors)
                    for tensors in (record.inputs, record.outputs)
                )
                self.run.operations[number] = replace(record, inputs=inputs, outputs=outputs)

    def mend(self, name: str, error: Exception) -> tuple[Tensor, ...] | None:
        """
        Return outputs to go on with where an operation raised an error.

        Parameters
        ----------
        name : str
            Name of the operation in records.
        error : Exception
            What it raised.

        Returns
        -------
        tuple of Tensor or None
            None where nobody watches the run or the watch does not know better.
        """
        if self._watch is None or not self._watch.mends:
            return None
        with _disable_current_modes():
            outputs = self._watch.raised(name, len(self.run.operations), error)
        if outputs is not None:
            self.run.operations.append(OperationRecord(name, self._path.current, user_location(), {}, (), outputs))
        return outputs

    def _mending_reshapes(self) -> AbstractContextManager[object]:
        return _MendedReshapes(self) if self._watch is not None and self._watch.mends else nullcontext()

    def _visit(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> tuple[Tensor, ...] | None:
        outputs = (result,) if isinstance(result, Tensor) else tensors_in([result])
        if func is EMPTY and not outputs[0].numel():
            return None
        arguments = bind(func, args, kwargs)
        inputs = tensors_in(arguments.values())
        where = (self._path.current, user_location() if self._watch is None else "")
        if self.store.awaits_use and (outputs or not asks_for_shape(func)):
            self._use(inputs)
        call = Call(func, arguments, inputs, outputs, self.store, self.table, where)
        if not outputs:
            if not asks_for_shape(func):
                call.freeze_all(inputs, "read as a Python number")
            return None
        if call.name in COPIES:
            self.run.copied[id(outputs[0])] = self.run.original(inputs[0])
            self._apply(call)
            return None
        name, scalars, repeats = recorded_name(func), numbers_of(func, arguments), self._composites.repeats
        record = OperationRecord(name, *where, arguments, inputs, outputs, scalars, call.counts, repeats)
        self.run.operations.append(record)
        number = len(self.run.operations) - 1
        if self._watch is not None and self._watch.foresees(record, number):
            return None
        try:
            self._apply(call)
        except LabelConflictError as exc:
            mended = self._watch.raised(record.name, number, exc) if self._watch and self._watch.mends else None
            if mended is None:
                raise
            return mended
        return None if self._watch is None else self._watch.visited(record, number)

    def _apply(self, call: Call) -> None:
        made_anew = call.name.startswith("new_")  # takes nothing but the type from its input
        if call.inputs and not made_anew and not any(self.store[tensor] for tensor in call.inputs):
            for out in call.outputs:
                self.store[out] = ()
            return
        written = call.inputs[0] if call.operation._schema.is_mutable and call.out is call.inputs[0] else None
        before = self.store[written] if written is not None else ()
        rule = find_rule(call.operation)
        if rule is None:
            self._give_up(call, f"unknown operation {call.operation.name()}")
        else:
            try:
                rule(call)
            except LabelConflictError:
                raise
            except Exception as exc:
                self._give_up(call, f"operation {call.operation.name()} could not be followed ({type(exc).__name__})")
        if written is not None:
            self._check_views(call, written, before)

    def _give_up(self, call: Call, text: str) -> None:
        """Freeze what goes into an operation; what comes out carries no labels unless it also went in."""
        call.freeze_all(call.inputs, text)
        for out in call.outputs:
            if not any(out is tensor for tensor in call.inputs):
                self.store[out] = ()

    def _check_views(self, call: Call, written: Tensor, before: tuple[Tensor, ...]) -> None:
        """Freeze what an in-place operation put into a tensor whose memory other tensors see."""
        after = self.store[written]
        if after is before or all(any(factor is old or factor.equal(old) for old in before) for factor in after):
            return
        storage = written.untyped_storage()._cdata
        others = {
            id(tensor): tensor
            for tensor in self.store.alive()
            if tensor is not written and tensor.untyped_storage()._cdata == storage
        }
        if others:
            call.freeze_all([written, *others.values()], "written in place into a part of another tensor")


class _MendedReshapes(TorchFunctionMode):
    """Give a tracer the chance to mend a reshape to an impossible shape, which fails before it is any operation."""

    _FUNCTIONS = frozenset({Tensor.reshape, torch.reshape, Tensor.unflatten, torch.unflatten})

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except RuntimeError as exc:
            outputs = self._tracer.mend(_NAMES["view"], exc) if func in self._FUNCTIONS else None
            if outputs is None:
                raise
            return outputs[0]


def _as_returned(operation: OpOverload, outputs: tuple[Tensor, ...]) -> Any:
    """Return outputs in the form that an operation returns them."""
    returns = operation._schema.returns
    if len(returns) > 1:
        return outputs
    return outputs[0] if isinstance(returns[0].type, torch.TensorType) else list(outputs)


@lru_cache(maxsize=4096)
def recorded_name(operation: OpOverload) -> str:
    """Return the name of an operation in records, the same for those that differ by the memory layout alone."""
    return _NAMES.get(operation.overloadpacket.__name__, str(operation))


@lru_cache(maxsize=4096)
def asks_for_shape(operation: OpOverload) -> bool:
    """Return whether an operation without tensors among its results looks at shapes and types only."""
    name = operation.overloadpacket.__name__
    return name.startswith(("sym_", "is_", "_has_")) or name in _ABOUT_SHAPES


_ABOUT_SHAPES = frozenset(
    {"size", "stride", "storage_offset", "dim", "numel", "promote_types", "result_type", "can_cast"}
)
"""Operations that return numbers or types."""


_VALUES = frozenset({"value", "fill_value", "s", "alpha", "beta", "scale", "exponent"})
"""Arguments that are numbers to compute with, whatever the operation."""


def numbers_of(operation: OpOverload, arguments: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the numbers that an operation computes with: what the model's code may have made from a size."""
    if operation.overloadpacket.__name__ == "lift_fresh":  # a constant of the code
        constant = next(iter(arguments.values()))
        if has_memory(constant) and constant.numel() <= _MAX_CONSTANT:
            return tuple(constant.reshape(-1).tolist())
        return ()
    pointwise = is_pointwise(operation)
    return tuple(
        [
            value
            for name, value in arguments.items()
            if type(value) in (float, complex) or (type(value) is int and (pointwise or name in _VALUES))
        ]
    )


_MAX_CONSTANT = 64
"""Largest number of elements of a constant tensor whose values are compared."""


def forward_of_traced_module(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return module(*args, **kwargs)


@contextmanager
def running(module: nn.Module, path: ModulePath, training: bool) -> Iterator[None]:
    """Set a network up to be run once: its mode, no gradients, no kernels that hide operations behind one call."""
    _set_mode(module, training)
    path.restart()
    with torch.no_grad(), _without_fused_paths():
        yield


def _set_mode(module: nn.Module, training: bool) -> None:
    """Call `Module.train`, unless that would do nothing."""
    for _, part in named_parts(module):
        own = vars(part)
        if own.get("training") is not training or "train" in own or type(part).train is not nn.Module.train:
            module.train(training)
            return


@contextmanager
def _without_fused_paths() -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.backends.mkldnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)

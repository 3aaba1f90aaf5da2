"""Whether the training mode of a network runs the same operations as its eval mode."""

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from prunekit.tracing._call import bind, tensors_in
from prunekit.tracing._composites import Composites
from prunekit.tracing._outputs import named_outputs, named_tensors
from prunekit.tracing._path import ModulePath
from prunekit.tracing._records import RunRecord
from prunekit.tracing._shapes import run_without_memory
from prunekit.tracing._source import user_location
from prunekit.tracing._tracer import (
    COPIES,
    EMPTY,
    asks_for_shape,
    forward_of_traced_module,
    numbers_of,
    recorded_name,
    running,
)


class _DeviationError(Exception):
    """The training mode does something else."""


class Follower(TorchDispatchMode):
    """
    Follow an earlier run operation by operation, without labels.

    Parameters
    ----------
    module : Module
        The network that ran.
    path : ModulePath
        What tells which of its modules runs.
    run : RunRecord
        What it did in eval mode.

    Notes
    -----
    Most networks differ between their modes by dropout and batch statistics only, which do nothing to labels. To know
    that costs a fraction of tracing the other mode.
    """

    def __init__(self, module: nn.Module, path: ModulePath, run: RunRecord) -> None:
        super().__init__()
        self._module = module
        self._run = run
        self._path = path
        self._number = 0
        self._twins: dict[int, Tensor] = {}
        self._alive: list[object] = []
        self._noise: set[int] = set()
        self._deviates = False
        self._meta = any(tensor.is_meta for tensor in named_tensors(module).values())

    def is_same(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """
        Run the network in training mode.

        Parameters
        ----------
        args, kwargs : tuple, Mapping
            The inputs of the earlier run, the same tensors.

        Returns
        -------
        bool
            Whether the same lines of the model's code ran the same operations on the same tensors.

        Raises
        ------
        Exception
            Whatever the network raises.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with running(self._module, self._path, training=True), self, Composites(self):
                    found = named_outputs(forward_of_traced_module(self._module, args, kwargs))
        except _DeviationError:
            return False
        if self._deviates or self._number != len(self._run.operations) or found.keys() != self._run.outputs.keys():
            return False
        return all(self._twin(tensor) is self._run.original(self._run.outputs[name]) for name, tensor in found.items())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation and compare it with the next one of the earlier run."""
        kwargs = kwargs or {}
        result = run_without_memory(func, args, kwargs, self._meta)
        if isinstance(func, OpOverload) and func.namespace != "prim":
            self._compare(func, args, kwargs, result)
        return result

    def _compare(self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        outputs = tensors_in([result])
        if func is EMPTY and not outputs[0].numel():
            return
        arguments = bind(func, args, kwargs)
        inputs = tensors_in(arguments.values())
        if not outputs:
            if not asks_for_shape(func):
                self._deviate()
            return
        if func.overloadpacket.__name__ in COPIES:
            self._pair(outputs, (self._twin(inputs[0]),))
        elif self._is_next(func, arguments, inputs, outputs):
            self._pair(outputs, self._run.operations[self._number].outputs)
            self._number += 1
        elif not self._is_count(inputs) and not self._is_dropout(func, inputs, outputs[0]):
            self._deviate()

    def _is_next(
        self, func: OpOverload, arguments: Mapping[str, Any], inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> bool:
        """Return whether an operation is the next one of the earlier run."""
        if self._number == len(self._run.operations):
            return False
        dense = self._run.operations[self._number]
        return (
            dense.name == recorded_name(func)
            and dense.module == self._path.current
            and dense.location == user_location()
            and dense.scalars == numbers_of(func, arguments)
            and outputs[0].shape == dense.outputs[0].shape
            and len(inputs) == len(dense.inputs)
            and all(
                self._twin(tensor) is self._run.original(twin)
                for tensor, twin in zip(inputs, dense.inputs, strict=True)
            )
        )

    def _is_count(self, inputs: tuple[Tensor, ...]) -> bool:
        """Return whether an operation only counts, as batch norm does with batches."""
        return bool(inputs) and not any(tensor.dim() for tensor in inputs)

    def _is_dropout(self, func: OpOverload, inputs: tuple[Tensor, ...], out: Tensor) -> bool:
        """Return whether an operation makes noise for examples or positions, or multiplies a tensor by it."""
        name = func.overloadpacket.__name__.removesuffix("_")
        if name == "native_dropout":
            self._pair((out,), (self._twin(inputs[0]),))
            return True
        data = [tensor for tensor in inputs if id(tensor) not in self._noise]
        made = name in ("empty_like", "rand_like") or (
            name in ("empty", "new_empty", "rand", "new_full") and out.shape[1:].numel() == 1
        )
        if made or (not data and name in ("bernoulli", "div", "add", "floor", "mul", "detach", "alias", "view")):
            self._noise.add(id(out))
            self._alive.append(out)
            return True
        if len(data) != 1 or data[0].shape != out.shape or name not in ("mul", "div"):
            return False
        self._pair((out,), (self._twin(data[0]),))
        return True

    def _deviate(self) -> None:
        self._deviates = True  # also where the model's code catches the error
        raise _DeviationError

    def _twin(self, tensor: Tensor) -> Tensor:
        """Return the tensor of the earlier run; parameters and inputs are their own."""
        return self._twins.get(id(tensor), tensor)

    def _pair(self, tensors: tuple[Tensor, ...], twins: tuple[Tensor, ...]) -> None:
        self._alive.append(tensors)
        for tensor, twin in zip(tensors, twins, strict=False):
            if tensor is not twin:
                self._twins[id(tensor)] = twin

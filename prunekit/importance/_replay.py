"""Run a network again, of which few weights have changed: only what they reach is computed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class CannotReplayError(Exception):
    """What the changed weights reach cannot be told apart from the rest."""


@dataclass(frozen=True, slots=True)
class _Call:
    """
    One operation.

    Parameters
    ----------
    func : OpOverload
        What ran.
    inputs : tuple of Tensor
        Tensors among its arguments.
    versions : tuple of int
        How often each had been written to.
    result : object
        What it returned.
    """

    func: Any
    inputs: tuple[Tensor, ...]
    versions: tuple[int, ...]
    result: Any


class Recording(TorchDispatchMode):
    """
    Keep the results of all operations that run.

    Notes
    -----
    They need the memory of a training step.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[_Call] = []
        self._last: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and keep its result."""
        kwargs = kwargs or {}
        inputs = tuple(_tensors((args, kwargs)))
        versions = tuple(one._version for one in inputs)
        result = func(*args, **kwargs)
        self._calls.append(_Call(func, inputs, versions, result))
        return result

    def __exit__(self, *error: Any) -> None:
        """Note how often each tensor was written to in the end."""
        super().__exit__(*error)
        self._last = {id(one): one._version for call in self._calls for one in call.inputs}

    def again(self, run: Callable[[], Any], changed: Iterable[Tensor]) -> Any:
        """
        Run the same thing again with other values in some tensors.

        Parameters
        ----------
        run : callable
            What was recorded.
        changed : iterable of Tensor
            The tensors.

        Returns
        -------
        object
            What ``run`` returns.

        Raises
        ------
        CannotReplayError
            If it writes to results that are kept, or takes another way.
        """
        with _Replay(self._calls, self._last, changed):
            return run()


class _Replay(TorchDispatchMode):
    """Compute only what changed tensors reach; everything else is known."""

    def __init__(self, calls: list[_Call], last: Mapping[int, int], changed: Iterable[Tensor]) -> None:
        super().__init__()
        self._calls = iter(calls)
        self._last = last
        self._changed = {id(one): one for one in changed}
        self._views: dict[int, tuple[Tensor, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Return the known result of one operation, or a new one."""
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        call = next(self._calls, None)
        if call is None or call.func is not func or len(given) != len(call.inputs):
            raise CannotReplayError
        new = [id(one) in self._changed for one in given]
        if any(
            self._recorded(one) != id(before) for one, before, n in zip(given, call.inputs, new, strict=True) if not n
        ):
            raise CannotReplayError
        if not any(new):
            return self._known(call, args, kwargs)
        if any(
            not is_new and version != self._last[id(before)]  # it was written to afterwards
            for is_new, before, version in zip(new, call.inputs, call.versions, strict=True)
        ) or any(id(one) not in self._changed for one in _tensors(_written(func, args, kwargs))):
            raise CannotReplayError
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._changed[id(leaf)] = leaf
            elif leaf is not None:
                raise CannotReplayError  # a number that the code may decide by
        return result

    def _recorded(self, tensor: Tensor) -> int:
        """Return the id that a tensor, or the like of it, had when it was recorded."""
        return self._views[id(tensor)][1] if id(tensor) in self._views else id(tensor)

    def _known(self, call: _Call, args: Any, kwargs: Any) -> Any:
        """Return the result of an operation on nothing new; views, which autograd wants to be new, of known tensors."""
        if not call.func.is_view:
            return call.result
        result = call.func(*args, **kwargs)
        for leaf, before in zip(tree_leaves(result), tree_leaves(call.result), strict=True):
            if isinstance(leaf, Tensor):
                self._views[id(leaf)] = leaf, id(before)
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _written(func: Any, args: Any, kwargs: Any) -> list[Any]:
    """Return the arguments that an operation writes to."""
    if not func._schema.is_mutable:
        return []
    writes = [one.alias_info is not None and one.alias_info.is_write for one in func._schema.arguments]
    names = {one.name for one, is_written in zip(func._schema.arguments, writes, strict=True) if is_written}
    by_position = [value for value, is_written in zip(args, writes, strict=False) if is_written]
    return by_position + [value for name, value in kwargs.items() if name in names]

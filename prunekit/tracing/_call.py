"""One operation as the rules see it."""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from prunekit.tracing._factors import Factors, tracked
from prunekit.tracing._labels import LabelTable
from prunekit.tracing._reason import Reason
from prunekit.tracing._records import LabelStore


@lru_cache(maxsize=4096)
def _signature(operation: OpOverload, given: int) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the names of the arguments, and the defaults of those after the ones that are given by position."""
    arguments = operation._schema.arguments
    defaults = {arg.name: arg.default_value for arg in arguments[given:] if arg.has_default_value()}
    return tuple(arg.name for arg in arguments), defaults


def bind(operation: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a call by the names of the schema and in its order, defaults filled in."""
    names, defaults = _signature(operation, len(args))
    if tuple(kwargs) == names:
        return dict(kwargs)
    given = dict(zip(names, args, strict=False)) | defaults
    if not kwargs:
        return given
    given.update(kwargs)
    return {name: given[name] for name in names if name in given}


def tensors_in(values: Iterable[Any]) -> tuple[Tensor, ...]:
    """Return the tensors among values, looking into lists and tuples."""
    found: list[Tensor] = []
    for value in values:
        kind = type(value)
        if kind in _PLAIN:
            continue
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple) and value and type(value[0]) is not int:
            found.extend(tensors_in(value))
    return tuple(found)


_PLAIN = frozenset({int, float, bool, str, type(None), torch.dtype, torch.device})
"""Types of arguments that hold no tensors, as lists that begin with a number do not either."""


class Call:
    """
    An operation with its arguments and outputs, and what a rule may do with their labels.

    Parameters
    ----------
    operation : OpOverload
        The ATen operation.
    arguments : dict
        Arguments by name.
    outputs : tuple of Tensor
        Tensors that it returned.
    store : LabelStore
        Labels of tensors.
    table : LabelTable
        Equalities and frozen labels.
    where : tuple of str
        Dotted path of the module and ``file:line``.
    """

    __slots__ = ("_reason", "_store", "_table", "_where", "arguments", "counts", "inputs", "operation", "outputs")

    def __init__(
        self,
        operation: OpOverload,
        arguments: dict[str, Any],
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        store: LabelStore,
        table: LabelTable,
        where: tuple[str, str],
    ) -> None:
        self.operation = operation
        self.arguments = arguments
        self.inputs = inputs
        self.outputs = outputs
        self._store = store
        self._table = table
        self._where = where
        self.counts: list[tuple[int, Tensor]] = []
        self._reason: Reason | None = None

    @property
    def name(self) -> str:
        """Name of the operation without its overload, e.g. ``"convolution"``."""
        return str(self.operation.overloadpacket.__name__)

    @property
    def out(self) -> Tensor:
        """First output."""
        return self.outputs[0]

    def __getitem__(self, name: str) -> Any:
        """Return an argument."""
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument, or the default where the operation has none of that name."""
        return self.arguments.get(name, default)

    def factors(self, tensor: Tensor) -> Factors:
        """Return the label factors of a tensor."""
        return self._store[tensor]

    def is_weight(self, tensor: Tensor) -> bool:
        """Return whether the tensor is a parameter or moved from one."""
        return self._store.is_weight(tensor)

    def set_weight(self, tensor: Tensor) -> None:
        """Say that an output is zero wherever the parameters that it comes from are."""
        self._store.set_weight(tensor)

    def set(self, tensor: Tensor, factors: Iterable[Tensor]) -> None:
        """Give an output its factors; one that consists of a single channel freezes it."""
        shrunk = [self._store.shrunk(factor) for factor in factors]
        alone = [factor for factor in shrunk if factor.numel() == 1]
        for factor in alone:
            self._table.freeze_alone(factor, self.reason("one channel alone makes up a whole tensor"))
        self._store[tensor] = tuple(factor for factor in shrunk if factor.numel() > 1)
        self._store.set_alone(tensor, alone)

    def fresh(self, count: int) -> Tensor:
        """Return new labels."""
        return self._table.fresh(count)

    def fixed(self, count: int) -> Tensor:
        """Return the labels of positions that always stay."""
        return self._table.fixed(count)

    def explain(self, labels: Tensor, text: str) -> None:
        """Note why labels are tied, for the case that a whole layer comes out as one unit."""
        self._table.explain(labels, self.reason(text))

    def reason(self, text: str) -> Reason:
        """Return a reason that names this operation."""
        if self._reason is None or self._reason.text != text:
            self._reason = Reason(text, f"aten.{self.name}", *self._where)
        return self._reason

    def tie(self, left: Tensor, right: Tensor, text: str) -> None:
        """Declare labels equal; `text` is the reason for those that meet positions that always stay."""
        self._table.tie(left, right, self.reason(text))

    def tie_across(self, wide: Tensor, narrow: Tensor, text: str) -> None:
        """Declare labels equal to those that describe fewer dimensions, or that these stay where others tell apart."""
        self._table.tie_across(wide, narrow, self.reason(text))

    def tie_roles(self, left: Tensor, right: Tensor) -> None:
        """Declare that labels of two parameters are consumed together."""
        self._table.tie_roles(left, right)

    def freeze(self, labels: Tensor, text: str) -> None:
        """Freeze labels."""
        self._table.freeze(labels, self.reason(text))

    def freeze_all(self, tensors: Iterable[Tensor], text: str) -> None:
        """Freeze every label that the tensors carry."""
        for tensor in tensors:
            for factor in self.factors(tensor):
                self.freeze(factor, text)

    def count(self, number: int, labels: Tensor) -> None:
        """Note that a number among the arguments, which must stay above 1, counts labels, shape (number,)."""
        self.counts.append((number, labels.reshape(-1)))
        self._table.keep_two(labels)

    def keep_two(self, labels: Tensor) -> None:
        """Note that the operation drops dimensions of size 1, so at least two of the labels must stay."""
        self._table.keep_two(labels.reshape(-1))

    def note_normalised(self, labels: Tensor, text: str) -> None:
        """Note that labels are normalised together, with the reason for freezing them."""
        self._table.note_normalised(labels, self.reason(text))

    def is_one_unit(self, labels: Tensor) -> bool:
        """Return whether labels are known to be those of one unit: the last of those that the dense run collapsed."""
        return self._table.is_one_unit(labels)

    def mark_producer(self, labels: Tensor) -> None:
        """Mark labels of a parameter as making channels."""
        self._table.mark_producer(labels)

    def mark_consumer(self, labels: Tensor) -> None:
        """Mark labels of a parameter as reading channels."""
        self._table.mark_consumer(labels)

    def mix(self, factor: Tensor, dims: Collection[int], text: str) -> Tensor | None:
        """
        Return what is left of a factor when the operation mixes positions along dimensions.

        A factor that describes none of them is untouched. One that describes others as well is collapsed, so that those
        tell the units apart; one that describes nothing else is frozen, and None is returned.
        """
        described = tracked(factor)
        inside = [dim for dim in described if dim in dims]
        if inside and len(inside) == len(described):
            if self.operation._schema.is_mutable:  # others may see what it writes
                self.freeze(factor, text)
            else:  # what nothing reads, such as the weights of an attention, freezes nothing
                for out in self.outputs:
                    self._store.freeze_when_used(out, factor, self.reason(text))
            return None
        return self.collapse(factor, inside, text)

    def collapse(self, factor: Tensor, dims: Iterable[int], text: str) -> Tensor:
        """Make all labels along dimensions one, so that the factor no longer describes them."""
        for dim in dims:
            if factor.size(dim) > 1:
                first = factor.narrow(dim, 0, 1)
                self.tie(first, factor, text)
                factor = first
        return factor

"""What a traced run leaves behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from torch import Tensor

from prunekit.tracing._factors import Factors, shrink
from prunekit.tracing._reason import Reason


@dataclass(slots=True, eq=False)
class OperationRecord:
    """
    One ATen operation of a run.

    Parameters
    ----------
    name : str
        Name with overload, e.g. ``"aten.convolution.default"``.
    module : str
        Dotted path of the innermost module that ran it.
    location : str
        ``file:line`` in the model's own code, or ``""``.
    arguments : Mapping
        Arguments by the names of the operation's schema.
    inputs, outputs : tuple of Tensor
        Tensors that went in and came out.
    scalars : tuple
        Numbers among the arguments that are not sizes, for operations whose arithmetic uses them.
    counts : list of (int, Tensor)
        Numbers among the arguments that count labels, such as the groups of a convolution, with one label each.
    repeats : Fraction or int, default=1
        How many of its kind it stands for, in a recurrent layer of which only some steps were run.
    """

    name: str
    module: str
    location: str
    arguments: Mapping[str, Any]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    scalars: tuple[object, ...] = ()
    counts: list[tuple[int, Tensor]] = field(default_factory=list)
    repeats: Fraction | int = 1


@dataclass(slots=True)
class RunRecord:
    """
    One forward pass.

    Parameters
    ----------
    training : bool
        Whether the network was in training mode.
    operations : list of OperationRecord
        In the order of execution.
    module_outputs : dict of str to Tensor
        First tensor that each module returned, by dotted path.
    outputs : dict of str to Tensor
        Tensors that the network returned, by name.
    warnings : set of str
        Texts of the warnings that the run gave.
    copied : dict of int to Tensor
        What a tensor is a plain copy of, by its identity; copies are no part of the operations.
    """

    training: bool
    operations: list[OperationRecord] = field(default_factory=list)
    module_outputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    warnings: set[str] = field(default_factory=set)
    copied: dict[int, Tensor] = field(default_factory=dict)

    def original(self, tensor: Tensor) -> Tensor:
        """Return the tensor that a tensor is a copy of, or itself."""
        return self.copied.get(id(tensor), tensor)


class LabelStore:
    """Label factors by tensor identity; the tensors are kept alive so that identities stay unique."""

    def __init__(self) -> None:
        self._factors: dict[int, Factors] = {}
        self._alone: dict[int, Factors] = {}
        self._weights: set[int] = set()
        self._shrunk: dict[int, Tensor] = {}
        self._pending: dict[int, list[tuple[Tensor, Reason]]] = {}
        self._alive: list[Tensor] = []

    def __getitem__(self, tensor: Tensor) -> Factors:
        """Return the factors of a tensor, none if it carries no labels."""
        return self._factors.get(id(tensor), ())

    def __setitem__(self, tensor: Tensor, factors: Factors) -> None:
        """Record the factors of a tensor."""
        self._factors[id(tensor)] = factors
        self._alive.append(tensor)

    def shrunk(self, factor: Tensor) -> Tensor:
        """Return what `shrink` does; most factors go from tensor to tensor and need to be looked at once only."""
        if id(factor) not in self._shrunk:
            factor = shrink(factor)
            self._shrunk[id(factor)] = factor
        return factor

    def set_alone(self, tensor: Tensor, labels: Sequence[Tensor]) -> None:
        """Record labels that a whole tensor consists of; they are no factors, since they describe no dimension."""
        if labels:
            self._alone[id(tensor)] = tuple(labels)
        else:
            self._alone.pop(id(tensor), None)

    def alone(self, tensor: Tensor) -> Factors:
        """Return labels that a whole tensor consists of, each with one element."""
        return self._alone.get(id(tensor), ())

    def freeze_when_used(self, tensor: Tensor, labels: Tensor, reason: Reason) -> None:
        """Note labels that nothing tells apart in a tensor; they are frozen if anything uses it."""
        self._pending.setdefault(id(tensor), []).append((labels, reason))
        self._alive.append(tensor)

    @property
    def awaits_use(self) -> bool:
        """Whether `use` would return labels for any tensor."""
        return bool(self._pending)

    def use(self, tensor: Tensor) -> list[tuple[Tensor, Reason]]:
        """Return the labels to freeze now that a tensor is used, each time once."""
        return self._pending.pop(id(tensor), [])

    def is_weight(self, tensor: Tensor) -> bool:
        """Return whether a tensor is a parameter, or comes from parameters and is zero wherever they are."""
        return id(tensor) in self._weights

    def set_weight(self, tensor: Tensor) -> None:
        """Say that a tensor is a weight in the sense of `is_weight`."""
        self._weights.add(id(tensor))
        self._alive.append(tensor)

    def alive(self) -> tuple[Tensor, ...]:
        """Return every tensor that was seen."""
        return tuple(self._alive)

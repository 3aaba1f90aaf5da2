"""What is removed from a network, as a document."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prunekit.exceptions import PlanError
from prunekit.surgery.attributes import Repair, read_numbers
from prunekit.tracing import Axis, HeldAxis, UnitGraph, named_tensors

PROTOCOL = 1
"""Version of the document that `PruningPlan.to_json` writes."""


@dataclass(frozen=True, slots=True)
class KeptIndices:
    """
    What stays along one dimension of a parameter or buffer.

    Parameters
    ----------
    tensor : str
        Name of the parameter or buffer.
    dim : int
        Dimension.
    size : int
        Number of indices of the dense network.
    indices : tuple of int
        Indices that stay, ascending.
    """

    tensor: str
    dim: int
    size: int
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """
    A number that a module holds about its own shape.

    Parameters
    ----------
    module : str
        Dotted path.
    name : str
        Attribute.
    value : int
        Its value in the compacted network.
    """

    module: str
    name: str
    value: int


@dataclass(frozen=True, slots=True)
class PruningPlan:
    """
    Everything that turns a dense network into the compacted one; it holds no weights and no code.

    Parameters
    ----------
    kept : tuple of KeptIndices
        One entry for every dimension that loses something.
    attributes : tuple of AttributeChange
        Numbers to set besides those that follow from the shapes.
    """

    kept: tuple[KeptIndices, ...] = ()
    attributes: tuple[AttributeChange, ...] = ()

    def to_json(self) -> str:
        """
        Return the plan as a JSON document.

        Returns
        -------
        str
            An object with ``protocol``, ``kept`` (tensor, then dimension, then ``size`` and ``indices``) and
            ``attributes`` (module, then name, then value).
        """
        kept: dict[str, dict[str, Any]] = {}
        for entry in self.kept:
            kept.setdefault(entry.tensor, {})[str(entry.dim)] = {"size": entry.size, "indices": list(entry.indices)}
        attributes: dict[str, dict[str, int]] = {}
        for change in self.attributes:
            attributes.setdefault(change.module, {})[change.name] = change.value
        return json.dumps({"protocol": PROTOCOL, "kept": kept, "attributes": attributes})

    @classmethod
    def from_json(cls, text: str) -> "PruningPlan":
        """
        Return the plan that a document describes.

        Parameters
        ----------
        text : str
            What `to_json` returned.

        Returns
        -------
        PruningPlan
            The plan.

        Raises
        ------
        PlanError
            If the text is no such document.
        """
        try:
            document = json.loads(text)
            protocol = document["protocol"]
            if protocol != PROTOCOL:
                raise PlanError(
                    f"The pruning plan has protocol {protocol!r}, this version of prunekit reads {PROTOCOL}. "
                    "Update prunekit."
                )
            kept = tuple(
                KeptIndices(str(tensor), int(dim), int(entry["size"]), tuple(int(index) for index in entry["indices"]))
                for tensor, dims in document["kept"].items()
                for dim, entry in dims.items()
            )
            attributes = tuple(
                AttributeChange(str(module), str(name), int(value))
                for module, names in document["attributes"].items()
                for name, value in names.items()
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            if isinstance(exc, PlanError):
                raise
            raise PlanError(f"The text is no pruning plan: {type(exc).__name__}: {exc}") from exc
        return cls(kept, attributes)

    def check(self, module: nn.Module) -> None:
        """
        Check that the plan fits a dense network.

        Parameters
        ----------
        module : Module
            The network.

        Raises
        ------
        PlanError
            Naming the first difference.
        """
        tensors, modules = named_tensors(module), dict(module.named_modules())
        for entry in self.kept:
            where = f"dimension {entry.dim} of '{entry.tensor}'"
            if entry.tensor not in tensors:
                raise PlanError(f"The plan does not fit the network: it has no parameter or buffer '{entry.tensor}'.")
            shape = tuple(tensors[entry.tensor].shape)
            if not 0 <= entry.dim < len(shape) or shape[entry.dim] != entry.size:
                raise PlanError(
                    f"The plan does not fit the network: {where} must have size {entry.size}, "
                    f"but '{entry.tensor}' has shape {shape}. Apply the plan to a dense network of the same class."
                )
            indices = entry.indices
            rising = all(left < right for left, right in itertools.pairwise(indices))
            if not indices or not rising or indices[0] < 0 or indices[-1] >= entry.size:
                raise PlanError(f"The plan keeps impossible indices along {where}, which has size {entry.size}.")
        for change in self.attributes:
            if change.module not in modules:
                raise PlanError(f"The plan does not fit the network: it has no module '{change.module}'.")
            if change.name not in read_numbers(modules[change.module]) or change.value < 1:
                raise PlanError(
                    f"The plan does not fit the network: '{change.module}' has no integer attribute '{change.name}' "
                    f"that could be {change.value}."
                )


def make_plan(
    graph: UnitGraph,
    removed: NDArray[np.bool_],
    repairs: tuple[Repair, ...] = (),
    axes: Sequence[Axis] | Sequence[HeldAxis] | None = None,
) -> PruningPlan:
    """
    Return the plan that removes units.

    Parameters
    ----------
    graph : UnitGraph
        Units of the network.
    removed : ndarray of bool, shape (n_units,)
        Units to remove.
    repairs : tuple of Repair, default=()
        Attributes that hold sizes.
    axes : sequence of HeldAxis, default=None
        What the tensors hold that the plan is to be applied to, where parts of them are gone. None: everything.

    Returns
    -------
    PruningPlan
        The plan.
    """
    stays = graph.kept_labels(removed)
    kept = []
    for axis in graph.axes if axes is None else axes:
        own = stays[axis.labels]
        if not own.all():
            kept.append(KeptIndices(axis.tensor, axis.dim, axis.size, tuple(np.flatnonzero(own).tolist())))
    changes = []
    for repair in repairs:
        value = repair.value(stays)
        if value != repair.dense_value:
            changes.append(AttributeChange(repair.module, repair.name, value))
    return PruningPlan(tuple(kept), tuple(changes))

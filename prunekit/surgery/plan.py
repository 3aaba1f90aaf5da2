"""What is removed from a network, as a document."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn

from prunekit.exceptions import PlanError
from prunekit.surgery.attributes import Repair, read_numbers
from prunekit.tracing import Axis, HeldAxis, Role, UnitGraph, named_tensors

PROTOCOL = 2
"""Version of the document that `PruningPlan.to_json` writes; older ones are read as well."""


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
    role : {"producer", "inner", "consumer"}, default="inner"
        What the tensor does with the channels: makes them, works on them, or reads them. It is for the reader; what is
        kept does not depend on it. Documents of protocol 1 do not tell, all roles are "inner" there.
    """

    tensor: str
    dim: int
    size: int
    indices: tuple[int, ...]
    role: Role = "inner"


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

    @property
    def filters(self) -> dict[str, tuple[int, ...]]:
        """
        Filters that are left of every layer that lost some, by the name of the layer.

        A module with several parameters that make channels, such as attention, has an entry for each parameter.
        """
        return {name: entry.indices for name, entry in self._made.items()}

    @property
    def _made(self) -> dict[str, KeptIndices]:
        """Entries of what makes channels, by layer."""
        makers = [entry for entry in self.kept if entry.role == "producer"]
        layers = [entry.tensor.rpartition(".")[0] for entry in makers]
        return {
            layer if layer and layers.count(layer) == 1 else entry.tensor: entry
            for layer, entry in zip(layers, makers, strict=True)
        }

    def then(self, later: "PruningPlan") -> "PruningPlan":
        """
        Return the plan of two prunings, one after the other.

        Parameters
        ----------
        later : PruningPlan
            What is removed from the network that this plan leads to.

        Returns
        -------
        PruningPlan
            What is removed in all from the dense network.

        Raises
        ------
        PlanError
            If the later plan is for a network of other sizes.
        """
        found = {(entry.tensor, entry.dim): entry for entry in self.kept}
        for entry in later.kept:
            place = entry.tensor, entry.dim
            before = found.get(place)
            if before is None:
                found[place] = entry
                continue
            if len(before.indices) != entry.size or not all(0 <= index < entry.size for index in entry.indices):
                raise PlanError(
                    f"The later plan must be for the network that the earlier one leads to, where dimension "
                    f"{entry.dim} of '{entry.tensor}' has size {len(before.indices)}. Got one for size {entry.size} "
                    "instead."
                )
            found[place] = replace(before, indices=tuple(before.indices[index] for index in entry.indices))
        changes = {(change.module, change.name): change for change in (*self.attributes, *later.attributes)}
        return PruningPlan(tuple(found.values()), tuple(changes.values()))

    def to_json(self) -> str:
        """
        Return the plan as a JSON document, to be read, kept under version control, and applied to other networks.

        Returns
        -------
        str
            An object with ``protocol``; ``filters`` (layer, then ``of``, how many there were, and ``kept``), a summary
            that is left out of account but for having to agree with the rest; ``kept`` (tensor, then dimension, then
            ``role``, ``size`` and ``indices``), what stays along every dimension that loses something; ``attributes``
            (module, then name, then value), numbers to set.
        """
        return _written(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """
        Return the plan as what `to_json` writes.

        Returns
        -------
        dict
            Strings, numbers, dicts and lists.
        """
        kept: dict[str, dict[str, Any]] = {}
        for entry in self.kept:
            kept.setdefault(entry.tensor, {})[str(entry.dim)] = {
                "role": entry.role,
                "size": entry.size,
                "indices": list(entry.indices),
            }
        attributes: dict[str, dict[str, int]] = {}
        for change in self.attributes:
            attributes.setdefault(change.module, {})[change.name] = change.value
        filters = {layer: {"of": entry.size, "kept": list(entry.indices)} for layer, entry in self._made.items()}
        return {"protocol": PROTOCOL, "filters": filters, "kept": kept, "attributes": attributes}

    @classmethod
    def from_json(cls, text: str) -> "PruningPlan":
        """
        Return the plan that a document describes.

        Parameters
        ----------
        text : str
            What `to_json` returned, in this version or an older one.

        Returns
        -------
        PruningPlan
            The plan.

        Raises
        ------
        PlanError
            If the text is no such document; the message says where.
        """
        try:
            document = json.loads(text)
        except (ValueError, TypeError, RecursionError) as exc:
            raise PlanError(f"The text is no pruning plan: {type(exc).__name__}: {exc}") from exc
        return cls.from_document(document)

    @classmethod
    def from_document(cls, document: Any) -> "PruningPlan":
        """
        Return the plan that a document describes.

        Parameters
        ----------
        document : object
            What `to_document` returned, in this version or an older one.

        Returns
        -------
        PruningPlan
            The plan.

        Raises
        ------
        PlanError
            If it is no such document; the message says where.
        """
        protocol = _of(document, Mapping, "an object", "it").get("protocol")
        if type(protocol) is not int or protocol < 1:
            raise PlanError(f"The text is no pruning plan: its 'protocol' must be a number. Got {protocol!r} instead.")
        if protocol > PROTOCOL:
            raise PlanError(
                f"The pruning plan has protocol {protocol!r}, this version of prunekit reads {PROTOCOL} and below. "
                "Update prunekit."
            )
        kept = tuple(
            _entry_of(tensor, dim, entry)
            for tensor, dims in _items(document, "kept")
            for dim, entry in _of(dims, Mapping, "an object", f"kept[{tensor!r}]").items()
        )
        attributes = tuple(
            AttributeChange(module, name, _integer(value, f"attributes[{module!r}][{name!r}]"))
            for module, names in _items(document, "attributes")
            for name, value in _of(names, Mapping, "an object", f"attributes[{module!r}]").items()
        )
        plan = cls(kept, attributes)
        if protocol > 1:
            plan._check_summary(document)
        return plan

    def _check_summary(self, document: Mapping[str, Any]) -> None:
        """Refuse a summary that says something else than the rest, as one that was edited by hand."""
        said = dict(_items(document, "filters"))
        for layer, found in self.to_document()["filters"].items():
            if said.pop(layer, None) != found:
                raise PlanError(
                    f"The pruning plan contradicts itself: 'filters' must say of {layer!r} what 'kept' says. Got "
                    "something else instead. Change both, or apply the plan as it was written."
                )
        for layer in said:
            raise PlanError(f"The pruning plan contradicts itself: 'kept' has no filters of {layer!r}, 'filters' has.")

    def apply(self, module: nn.Module) -> nn.Module:
        """
        Return the network that is left of a dense one.

        Parameters
        ----------
        module : Module
            Dense network of the class that the plan was made for, with any weights; it is not changed.

        Returns
        -------
        Module
            Network of the same class with smaller parameters.

        Raises
        ------
        PlanError
            If the plan does not fit, naming the first difference.
        """
        from prunekit.surgery.compaction import compact  # which needs this module
        from prunekit.surgery.notes import note_, noted_plan

        smaller = compact(module, self)
        note_(smaller, noted_plan(module).then(self))
        return smaller

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
            dense = read_numbers(modules[change.module]).get(change.name)
            if dense is None or not 1 <= change.value <= dense:  # sizes, which get smaller
                raise PlanError(
                    f"The plan does not fit the network: '{change.module}' has no integer attribute '{change.name}' "
                    f"that could be {change.value}."
                )

    def check_result(self, module: nn.Module) -> None:
        """
        Check that the plan leads to a compacted network.

        Parameters
        ----------
        module : Module
            The compacted network.

        Raises
        ------
        PlanError
            Naming the first difference.
        """
        tensors = named_tensors(module)
        for entry in self.kept:
            shape = tuple(tensors[entry.tensor].shape) if entry.tensor in tensors else ()
            if not 0 <= entry.dim < len(shape) or shape[entry.dim] != len(entry.indices):
                has = f"shape {shape}" if entry.tensor in tensors else "no tensor of that name"
                raise PlanError(
                    f"The plan does not lead to the network: it keeps {len(entry.indices)} indices along dimension "
                    f"{entry.dim} of '{entry.tensor}'. Got a network with {has} instead. Pass the plan of this network."
                )


def _written(value: Any, margin: str = "") -> str:
    """Return a document as JSON with a line for every number, name and list."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = margin + "  "
    lines = (f"{inner}{json.dumps(name)}: {_written(own, inner)}" for name, own in value.items())
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"


def _of(value: Any, kind: Any, wanted: str, where: str) -> Any:
    """Return a part of a document, of which it is known what it must be."""
    if not isinstance(value, kind):
        raise PlanError(f"The text is no pruning plan: {where} must be {wanted}. Got {_shortened(value)} instead.")
    return value


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _items(document: Mapping[str, Any], name: str) -> Any:
    return _of(document.get(name), Mapping, "an object", f"its {name!r}").items()


def _integer(value: Any, where: str) -> int:
    if type(value) is not int:  # True is one as well, and 3.0 equals one
        raise PlanError(f"The text is no pruning plan: {where} must be an integer. Got {_shortened(value)} instead.")
    return value


def _entry_of(tensor: str, dim: str, entry: Any) -> KeptIndices:
    where = f"kept[{tensor!r}][{dim!r}]"
    if not re.fullmatch(r"\d{1,3}", dim, flags=re.ASCII):
        raise PlanError(f"The text is no pruning plan: the keys of kept[{tensor!r}] must be dimensions. Got {dim!r}.")
    own = _of(entry, Mapping, "an object", where)
    indices = _of(own.get("indices"), list, "a list of indices", f"{where}['indices']")
    role = own.get("role", "inner")
    if role not in get_args(Role):
        raise PlanError(f"The text is no pruning plan: {where}['role'] must be one of {get_args(Role)}. Got {role!r}.")
    return KeptIndices(
        tensor,
        int(dim),
        _integer(own.get("size"), f"{where}['size']"),
        tuple(_integer(index, f"{where}['indices']") for index in indices),
        role,
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
            indices = tuple(np.flatnonzero(own).tolist())
            kept.append(KeptIndices(axis.tensor, axis.dim, axis.size, indices, graph.role_of(axis.labels)))
    changes = []
    for repair in repairs:
        value = repair.value(stays)
        if value != repair.dense_value:
            changes.append(AttributeChange(repair.module, repair.name, value))
    return PruningPlan(tuple(kept), tuple(changes))

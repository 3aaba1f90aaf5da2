"""The table operation → rule."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch._ops import OpOverload

from prunekit.tracing._call import Call
from prunekit.tracing._records import OperationRecord

Rule = Callable[[Call], None]

_RULES: dict[str, Rule] = {}
_SIZELESS = {"permute", "transpose", "t", "unsqueeze"}
_AFTER: list[tuple[Callable[[OpOverload], bool], Rule]] = []


def rule(*names: str, sizeless: bool = False) -> Callable[[Rule], Rule]:
    """
    Register a rule for ATen operations by name, whatever the overload; a name with ``_`` writes in place.

    Those that are sizeless take no argument that could be a number of channels, or only one that fails with any other
    number of them.
    """

    def register(function: Rule) -> Rule:
        for name in names:
            _RULES[name] = function
        if sizeless:
            _SIZELESS.update(names)
        return function

    return register


def rule_where(condition: Callable[[OpOverload], bool]) -> Callable[[Rule], Rule]:
    """Register a rule for every operation without one of its own that fulfils a condition."""

    def register(function: Rule) -> Rule:
        _AFTER.append((condition, function))
        return function

    return register


@lru_cache(maxsize=4096)
def find_rule(operation: OpOverload) -> Rule | None:
    """Return the rule of an operation, or None if it is unknown."""
    if operation.namespace not in ("aten", "prims"):
        return None
    found = _RULES.get(operation.overloadpacket.__name__)
    if found is not None:
        return found
    for condition, function in _AFTER:
        if condition(operation):
            return function
    return None


@lru_cache(maxsize=4096)
def is_pointwise(operation: OpOverload) -> bool:
    """Return whether PyTorch itself declares the operation, or the one that it is the in-place form of, pointwise."""
    if torch.Tag.pointwise in operation.tags:
        return True
    name = operation.overloadpacket.__name__
    functional = getattr(torch.ops.aten, name.removesuffix("_"), None) if name.endswith("_") else None
    if functional is None:
        return False
    return any(torch.Tag.pointwise in getattr(functional, overload).tags for overload in functional.overloads())


def takes_sizes(record: OperationRecord) -> bool:
    """Return whether an operation takes a number that the code may have computed from a number of channels."""
    if record.name.startswith("aten.view."):
        return not _merges(record.inputs[0].shape, record.outputs[0].shape)
    return _takes_sizes(record.name)


@lru_cache(maxsize=4096)
def _takes_sizes(full_name: str) -> bool:
    _, name, overload = full_name.split(".") if full_name.count(".") == 2 else ("", "", "")
    if name in _SIZELESS:
        return False
    operation = getattr(getattr(torch.ops.aten, name, None), overload, None)
    return operation is None or not is_pointwise(operation)


def _merges(old: Sequence[int], new: Sequence[int]) -> bool:
    """Return whether a shape comes from another one by merging dimensions alone."""
    rest = iter(old)
    for size in new:
        product = next(rest, 0)
        while product and product < size:
            product *= next(rest, 0)
        if product != size:
            return False
    return all(size == 1 for size in rest)

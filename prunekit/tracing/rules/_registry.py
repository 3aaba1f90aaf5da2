"""The table operation → rule."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch._ops import OpOverload

from prunekit.tracing._call import Call

Rule = Callable[[Call], None]

_RULES: dict[str, Rule] = {}
_AFTER: list[tuple[Callable[[OpOverload], bool], Rule]] = []


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for ATen operations by name, whatever the overload; a name with ``_`` writes in place."""

    def register(function: Rule) -> Rule:
        for name in names:
            _RULES[name] = function
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

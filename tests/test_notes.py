"""Whether a change is noticed, wherever it is."""

import functools
import io
import itertools
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from prunekit._skorch._notes import OpaqueError, note
from tests.nets_skorch import make_classifier


class Thing:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


def closure(values):
    return lambda: values


def deep(value):
    return {"a": [SimpleNamespace(b=(value, {"c"}))]}


def parameter_of(module):
    return module.weight.data.add_(1.0)


HOLDERS = {
    "list": ([1, 2], lambda one: one.append(3)),
    "long list": (list(range(5000)), lambda one: one.append(0)),
    "dict": ({"a": 1}, lambda one: one.update(a=2)),
    "set": ({1, 2}, lambda one: one.add(3)),
    "array": (np.zeros(9), lambda one: one.__setitem__(4, 1.0)),
    "array of objects": (np.array([None, "a"], dtype=object), lambda one: one.__setitem__(0, "b")),
    "large array": (np.zeros(10**5), lambda one: one.fill(1.0)),
    "tensor": (torch.zeros(9), lambda one: one.add_(1)),
    "one entry of a large tensor": (torch.zeros(10**5), lambda one: one[1:2].add_(1)),
    "slots": (Thing(1), lambda one: setattr(one, "value", 2)),
    "nested": (deep([]), lambda one: one["a"][0].b[0].append(1)),
    "closure": (closure([]), lambda one: one().append(1)),
    "method": ([].append, lambda one: one(1)),
    "partial": (functools.partial(print, []), lambda one: one.args[0].append(1)),
    "numpy generator": (np.random.default_rng(0), lambda one: one.random()),
    "numpy random state": (np.random.RandomState(0), lambda one: one.random()),
    "torch generator": (torch.Generator(), lambda one: torch.rand(1, generator=one)),
    "parameter": (nn.Linear(2, 2), parameter_of),
    "module": (nn.Sequential(nn.Linear(2, 2)), lambda one: setattr(one[0], "count", 1)),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("holder", "change"), HOLDERS.values(), ids=HOLDERS.keys())
def test_a_change_is_noticed(holder, change, strict):
    holder = holder if callable(holder) and not isinstance(holder, nn.Module) else _copy(holder)
    before = note(holder, strict=strict)
    assert note(holder, strict=strict) == before
    change(holder)
    assert note(holder, strict=strict) != before


def _copy(holder):
    import copy

    return holder if isinstance(holder, torch.Generator) else copy.deepcopy(holder)


def test_parts_that_are_kept_elsewhere():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = note(module, [module])
    module.train(False)
    module[0].weight.data.add_(1)
    module[1].running_mean.add_(1)
    assert note(module, [module]) == before
    module[0].register_buffer("late", torch.zeros(2))
    assert note(module, [module]) != before


def test_another_parameter_in_its_place():
    module = nn.Linear(2, 2)
    before = note(module, [module])
    kept, module.weight = module.weight, nn.Parameter(module.weight.detach().clone())
    assert note(module, [module]) != before
    assert kept is not module.weight


def test_circles_and_nets():
    thing = SimpleNamespace(net=make_classifier())
    thing.itself = thing
    before = note(thing, strict=True)
    thing.net.lr = 3.0
    assert note(thing, strict=True) == before


def test_one_entry_of_a_large_array_is_seen_where_it_has_to_be():
    array = np.zeros(10**5)
    before = note(array, strict=True)
    array[1] = 1.0
    assert note(array, strict=True) != before


@pytest.mark.parametrize(
    "opaque",
    [iter([1]), itertools.count(), (one for one in "ab"), io.BytesIO()],
    ids=["iterator", "count", "generator", "file"],
)
def test_what_cannot_be_looked_into(opaque):
    with pytest.raises(OpaqueError):
        note([opaque])


def test_what_is_outside_of_python():
    assert note(threading.Lock()) == note(threading.Lock())
    with pytest.raises(OpaqueError, match="nobody knows what a lock holds"):
        note(threading.Lock(), strict=True)


def test_too_much():
    with pytest.raises(OpaqueError, match="holds too much"):
        note(list(range(10**5)), strict=True)

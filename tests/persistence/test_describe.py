"""Objects as documents and back."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold
from skorch.dataset import ValidSplit
from torch import nn

from prunekit.exceptions import PlanError, PrunekitError
from prunekit.io import BROKEN, read_state, write_state
from prunekit.persistence._describe import Omitted, describe, names_in, restore


@dataclass(frozen=True)
class Pair:
    left: object
    right: object = None


class Plain:
    def __init__(self, size, *, name="x"):
        self.size, self.name = size, name


class Hiding:
    def __init__(self, size):
        self._size = size


KNOWN = {f"{one.__module__}.{one.__qualname__}": one for one in (Pair, Plain, ValidSplit, StratifiedKFold, len)}


def find(name):
    if name not in KNOWN:
        raise PlanError(f"no {name}")
    return KNOWN[name]


@pytest.fixture
def through_file(tmp_path):
    """Return what comes back from a file."""
    return lambda value: restore(read_state(write_state(tmp_path / "state.safetensors", describe(value))), find)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
NESTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers() | st.booleans(), inner, max_size=3)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=12,
)


@given(NESTS)
def test_nests_come_back(value):
    assert restore(describe(value), find) == value


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "named", "name": "os.system"},
        {(1, "a"): {2: [None]}},
        {1, 2, 3},
        slice(1, None, 2),
        torch.float16,
        torch.device("cpu"),
        float("inf"),
        np.float32(0.5),
        np.bool_(True),
    ],
    ids=repr,
)
def test_values_come_back(through_file, value):
    found = through_file(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.array(["no", "yes"]),
        np.array([["a"], ["bc"]]),
        np.array([None, "x", 3, (1, 2)], dtype=object),
        np.zeros((0, 4)),
        np.array([1 + 2j]),
    ],
    ids=repr,
)
def test_arrays_come_back(through_file, array):
    found = through_file(array)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_tables_come_back(through_file):
    table = pd.DataFrame(
        {
            "name": ["a", "b"],
            "shape": [(1, 2), None],
            "count": np.array([1, 2], dtype="int32"),
            "score": [0.5, math.nan],
        }
    )
    table.attrs = {"totals": {"params": {"before": 3}}}
    odd = table.set_index("name")
    for one in (table, odd, table.iloc[:0]):
        pd.testing.assert_frame_equal(through_file(one), one)
    assert through_file(table).attrs == table.attrs


def test_objects_come_back(through_file):
    split = through_file(ValidSplit(0.5, stratified=True, random_state=1))
    assert (split.cv, split.stratified, split.random_state) == (0.5, True, 1)
    assert through_file(StratifiedKFold(4)).n_splits == 4
    plain = through_file(Plain(3, name="y"))
    assert (plain.size, plain.name) == (3, "y")
    assert through_file(len) is len
    assert through_file(functools.partial(len, [1, 2]))() == 2
    state = np.random.RandomState(3)
    state.standard_normal(5)
    assert through_file(state).standard_normal() == state.standard_normal()


@pytest.mark.parametrize(
    "value",
    [
        lambda: None,
        Hiding(3),
        nn.Linear(2, 2),
        torch.utils.data.TensorDataset(torch.zeros(3)),
        functools.partial(lambda: None),
        functools.partial(len, nn.Linear(2, 2)),
        iter([1]),
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_written_down(through_file, value):
    found = through_file(value)
    assert isinstance(found, Omitted)
    assert found.text[:200] == repr(value)[:200]


def test_a_nest_without_end():
    endless = []
    endless.append(endless)
    assert describe(endless) is not None


def test_names():
    assert names_in(describe({"a": [Pair(len, Plain(int))]})) == {
        *("builtins.len", "builtins.int", f"{__name__}.Pair", f"{__name__}.Plain")
    }


JSON = st.recursive(
    SCALARS | st.sampled_from(["omitted", "named", "array", "frame", "dict", "set", "partial", "object", "net"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["kind", "name", "items", "params", "shape", "dtype", "columns", "index", "attrs", "state"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(JSON, st.sampled_from(["array", "frame", "dict", "set", "slice", "dtype", "device", "partial", "random", "net"]))
def test_broken_documents_raise_what_is_expected(value, kind):
    document = {**value, "kind": kind} if isinstance(value, dict) else value
    for read in (lambda: restore(document, find), lambda: names_in(document)):
        try:
            read()
        except (PrunekitError, *BROKEN):
            pass

"""States come back as they were written, files are whole or not there, and nothing foreign is read."""

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prunekit.exceptions import ParameterTypeError, StateError
from prunekit.io import read_state, write_state

NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
ARRAYS = st.sampled_from(
    ["bool", "uint8", "int16", "uint32", "int64", "uint64", "float16", "float32", "float64"]
).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)))
NESTS = st.recursive(
    st.one_of(NUMBERS, ARRAYS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=3),
    ),
    max_leaves=8,
)


def assert_equal(left, right):
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            assert_equal(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_equal(one, other)
    elif isinstance(left, np.ndarray | np.generic):
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        assert left.tobytes() == right.tobytes()
    elif isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype
        assert left.stride() == right.stride()
        assert torch.equal(left, right)
    elif isinstance(left, float):
        assert repr(left) == repr(right)
    else:
        assert left == right


@settings(max_examples=60, deadline=None)
@given(NESTS)
def test_nests_come_back(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    assert_equal(read_state(write_state(path, state)), state)


TENSORS = {
    "empty": torch.zeros(0, 3),
    "scalar": torch.tensor(3.5),
    "bool": torch.tensor([True, False]),
    "bfloat16": torch.arange(6, dtype=torch.bfloat16).view(2, 3),
    "complex64": torch.randn(3, dtype=torch.complex64),
    "complex128": torch.randn(2, 2, dtype=torch.complex128),
    "channels_last": torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
    "channels_last_3d": torch.randn(2, 3, 2, 2, 2).to(memory_format=torch.channels_last_3d),
    "transposed": torch.randn(3, 4).t(),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_come_back_in_their_memory_format(tmp_path, name):
    assert_equal(read_state(write_state(tmp_path / "a", {"x": TENSORS[name]})), {"x": TENSORS[name]})


def test_a_view_is_written_without_what_it_is_a_view_of(tmp_path):
    path = write_state(tmp_path / "a", torch.randn(1000, 1000)[:2, :2])
    assert path.stat().st_size < 2000


def make_old(*paths):
    two_hours_ago = time.time() - 7200
    for path in paths:
        os.utime(path, (two_hours_ago, two_hours_ago))


def test_what_a_killed_process_left_is_removed_but_not_what_another_writes_now(tmp_path):
    old, young = (tmp_path / f".a.{name}.part" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    make_old(old)
    write_state(tmp_path / "a", 1)
    assert not old.exists()
    assert young.exists()


def test_random_states_come_back(tmp_path):
    state = {"python": random.getstate(), "numpy": tuple(np.random.get_state())}  # noqa: NPY002
    found = read_state(write_state(tmp_path / "a", state))
    random.setstate(found["python"])
    np.random.set_state(found["numpy"])  # noqa: NPY002
    assert random.getstate() == state["python"]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, {"b": object()}]}, r"type object at state\['a'\]\[1\]\['b'\]"),
        ({"a": {1.5: 2}}, r"keys of a state must be strings or integers\. Got 1\.5 of type float at state\['a'\]"),
        (np.array(["x"]), r"must hold numbers\. Got <U1 at state"),
        ({"a": torch.zeros(2, device="meta")}, r"dense and have values\. Got another at state\['a'\]"),
    ],
)
def test_what_cannot_be_kept_is_told_with_its_place(tmp_path, state, message):
    with pytest.raises(ParameterTypeError, match=message):
        write_state(tmp_path / "a", state)
    assert not list(tmp_path.iterdir())


def test_a_nest_without_end(tmp_path):
    state: list = []
    state.append(state)
    with pytest.raises(ParameterTypeError, match="levels deep"):
        write_state(tmp_path / "a", state)


def _file(structure, tensors=None, protocol="1"):
    content = json.dumps(structure).encode() if not isinstance(structure, bytes) else structure
    own = {"structure": torch.frombuffer(bytearray(content), dtype=torch.uint8), **(tensors or {})}
    return safetensors.torch.save(own, {"prunekit_state": protocol})


BROKEN = {
    "no file of this kind": b"hello",
    "empty": b"",
    "no state": safetensors.torch.save({"a": torch.zeros(1)}),
    "newer": _file(1, protocol="3"),
    "no structure": safetensors.torch.save({"a": torch.zeros(1)}, {"prunekit_state": "1"}),
    "no json": _file(b"{'a'"),
    "tensor that is not there": _file({"tensor": "0", "order": None, "complex": False}),
    "unknown kind": _file({"pickle": "abc"}),
    "object array": _file({"array": "0", "dtype": "|O", "shape": [1]}, {"0": torch.zeros(8, dtype=torch.uint8)}),
    "wrong order": _file({"tensor": "0", "order": [0, 7], "complex": False}, {"0": torch.zeros(1, 1)}),
    "wrong shape": _file({"array": "0", "dtype": "<f4", "shape": [9]}, {"0": torch.zeros(4, dtype=torch.uint8)}),
    "empty kind": _file({}),
    "unhashable key": _file({"dict": [[[1], 2]]}),
    "deep": _file(b"[" * 5000 + b"]" * 5000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_are_no_states(tmp_path, name):
    path = tmp_path / "loop.safetensors"
    path.write_bytes(BROKEN[name])
    with pytest.raises(StateError, match=r"loop\.safetensors.*Remove the file to begin anew"):
        read_state(path)


def test_a_torn_file(tmp_path):
    path = write_state(tmp_path / "a", {"x": torch.randn(100)})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StateError, match="no whole safetensors file"):
        read_state(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "a")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = write_state(tmp_path / "a", 1)

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_state(path, 2)
    assert read_state(path) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


_WRITER = """
    import sys
    import torch
    from prunekit.io import write_state

    for number in range(10**6):
        write_state(sys.argv[1], {"number": number, "x": torch.full((300_000,), float(number))})
"""


@pytest.mark.slow
def test_a_writer_that_is_killed(tmp_path):
    path, program = tmp_path / "folder" / "a.safetensors", tmp_path / "writer.py"
    program.write_text(textwrap.dedent(_WRITER))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    generator = np.random.default_rng(0)
    for _ in range(3):
        process = subprocess.Popen([sys.executable, str(program), str(path)], env=environment)
        before = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.05))
        process.kill()
        process.wait()
        state = read_state(path)
        assert (state["x"] == state["number"]).all()
    make_old(*path.parent.glob(".*.part"))
    write_state(path, 0)
    assert [one.name for one in path.parent.iterdir()] == ["a.safetensors"]  # nothing is left of those

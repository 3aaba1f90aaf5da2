"""Equal values have equal fingerprints, in every process; whatever matters to a fit changes them."""

import functools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import EpochScoring
from torch.utils.data import Dataset

from prunekit.importance import Taylor2
from prunekit.io import fingerprint
from prunekit.schedules import CubicSchedule
from tests.nets_skorch import Perceptron, make_classifier, make_table


class Lazy(Dataset):
    """A data set that must not be loaded."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        raise AssertionError("loaded")


class Loop:
    """Refers to itself."""

    def __init__(self, number):
        self.number = number
        self.myself = self


def scaled(factor):
    return lambda x: factor * x


def trained(seed):
    torch.manual_seed(seed)
    return make_classifier().initialize()


DIFFERENT = {
    "numbers": (1, 2, 1.0, True, "1", None),
    "containers": ([1, 2], (1, 2), [2, 1], {1: 2}, {1, 2}, [[1], 2], [1, [2]]),
    "arrays": (
        np.zeros(3), np.zeros(3, np.float32), np.zeros((3, 1)), np.ones(3), torch.zeros(3), np.array([None, 1, 2]),
    ),
    "functions": (scaled, scaled(1), scaled(2), lambda x: x, lambda x: x + 1, np.sin, functools.partial(scaled, 2)),
    "classes": (Perceptron, Lazy, torch.optim.SGD, torch.optim.Adam),
    "estimators": (CubicSchedule(3), CubicSchedule(4), Taylor2(), Taylor2("example"), "cubic"),
    "nets": (make_classifier(), make_classifier(lr=0.1), make_classifier(module__num_hidden=8)),
    "weights": (FrozenEstimator(trained(0)), FrozenEstimator(trained(1)), trained(0)),
    "modules": (Perceptron(8), Perceptron(8), Perceptron(9)),
    "callbacks": (EpochScoring("accuracy"), EpochScoring("f1")),
    "data sets": (Lazy(3), Lazy(4)),
    "generators": (torch.Generator().manual_seed(0), torch.Generator().manual_seed(1), np.random.RandomState(0)),
    "loops": (Loop(1), Loop(2)),
}  # fmt: skip


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_differs(kind):
    values = DIFFERENT[kind]
    assert len({fingerprint(value) for value in values}) == len(values)


def test_what_is_equal():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(FrozenEstimator(trained(0))) == fingerprint(FrozenEstimator(trained(0)))
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert fingerprint(fortran) == fingerprint(np.ascontiguousarray(fortran))
    last = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    assert fingerprint(last) == fingerprint(last.contiguous())


def test_it_has_sixteen_digits():
    assert len(fingerprint(1, 2)) == 16
    assert int(fingerprint(1, 2), 16) >= 0
    assert fingerprint(1, 2) != fingerprint((1, 2), ()) != fingerprint(12)


_PROGRAM = """
    import numpy as np
    from tests.io.test_fingerprint import DIFFERENT
    from prunekit.io import fingerprint

    names = [name for name in DIFFERENT if name != "modules"]  # which have random weights
    print(fingerprint({name: DIFFERENT[name] for name in names}, {"a", "b", "c"}))
"""


@pytest.mark.slow
def test_processes_agree():
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        program = [sys.executable, "-c", textwrap.dedent(_PROGRAM)]
        found.add(subprocess.run(program, env=environment, check=True, capture_output=True, text=True).stdout)
    assert len(found) == 1


def test_a_fit_changes_no_fingerprint():
    net = make_classifier(callbacks=[("score", EpochScoring("accuracy"))])
    before = fingerprint(net)
    net.fit(*make_table())
    assert fingerprint(net) == before

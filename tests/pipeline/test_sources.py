"""Data sources and their division."""

import numpy as np
import pytest

from prunekit.exceptions import InputError
from prunekit.pipeline._data import load_split
from prunekit.pipeline._sources import load_digits, load_npz
from prunekit.pipeline.schema import DataSection


@pytest.fixture
def npz(tmp_path):
    """Return a function that writes arrays to a file and reads them by the source."""

    def read(X, y):
        np.savez(tmp_path / "data.npz", X=X, y=y)
        return load_npz(tmp_path / "data.npz", "X", "y")

    return read


def test_digits():
    X, y = load_digits()
    assert X.shape == (1797, 1, 8, 8)
    assert X.dtype == np.float32
    assert (X.min(), X.max()) == (0, 1)
    assert sorted(set(y)) == list(range(10))


def test_npz_is_cast(npz):
    X, y = npz(np.ones((6, 3), dtype=np.uint8), np.arange(6, dtype=np.int8) % 2)
    assert (X.dtype, y.dtype) == (np.float32, np.int64)
    assert X.shape == (6, 3)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros(4), np.arange(4) % 2, "The array 'X' of .* must hold real numbers in at least 2 dimensions, "
         r"\(samples, \*shape\). Got float64 of shape \(4,\) instead."),
        (np.full((4, 2), "a"), np.arange(4) % 2, r"real numbers .* Got <U1 of shape \(4, 2\) instead."),
        (np.zeros((4, 2), complex), np.arange(4) % 2, "real numbers .* Got complex128"),
        (np.full((4, 2), np.nan), np.arange(4) % 2, "The array 'X' of .* must be finite. Got NaN or infinity instead."),
        (np.zeros((4, 2)), np.arange(3), "The array 'y' of .* must hold one class number for each of the 4 samples. "
         r"Got int64 of shape \(3,\) instead."),
        (np.zeros((4, 2)), np.zeros(4), r"one class number .* Got float64 of shape \(4,\) instead."),
        (np.zeros((4, 2)), np.array([1, 2, 1, 2]), "must hold the classes 0, 1, … without gaps, at least two. "
         "Got 1, 2 instead."),
        (np.zeros((4, 2)), np.zeros(4, int), "at least two. Got 0 instead."),
        (np.array([[None, 1]] * 4), np.arange(4) % 2,
         "must hold readable arrays of numbers. ValueError: Object arrays"),
    ],
)  # fmt: skip
def test_npz_that_holds_something_else(npz, X, y, message):
    with pytest.raises(InputError, match=message):
        npz(X, y)


def test_split_is_seeded_and_stratified():
    section = DataSection.model_validate({"source": "digits", "test_size": 0.25})
    first, again, other = (load_split(section, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.X_test, again.X_test)
    assert not np.array_equal(first.y_test, other.y_test)
    assert len(first.y_test) == 450
    assert np.bincount(first.y_test).min() >= 43
    assert (first.input_shape, first.num_classes) == ((1, 8, 8), 10)


def test_too_few_samples(tmp_path):
    np.savez(tmp_path / "data.npz", X=np.zeros((3, 2)), y=np.array([0, 1, 0]))
    source = {"name": "npz", "path": "data.npz"}
    section = DataSection.model_validate({"source": source}, context={"folder": tmp_path})
    with pytest.raises(InputError, match="The 'test_size' key of data must leave samples of every class on both sides"):
        load_split(section, 0)

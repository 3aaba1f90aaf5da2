"""The transformers that scikit-learn does not have."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from prunekit.exceptions import InputError, ParameterError, ParameterTypeError
from prunekit.pipeline.steps import ChannelScaler, Reshape

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(loc=[[[3.0]], [[-50.0]]], scale=[[[1.0]], [[7.0]]], size=(40, 2, 6, 5)).astype(np.float32)
TABLE = RNG.normal(5, 3, size=(50, 4))


@parametrize_with_checks([Reshape(), Reshape((1, -1)), ChannelScaler(), ChannelScaler("minmax")])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [([-1], (60,)), ((60,), (60,)), ((2, 30), (2, 30)), ([5, -1, 2], (5, 6, 2)), (np.array([1, 60]), (1, 60))],
)
def test_reshape(shape, expected):
    reshape = Reshape(shape).fit(IMAGES)
    result = reshape.transform(IMAGES[:7])
    assert result.shape == (7, *expected)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, IMAGES[:7].reshape(7, *expected))
    np.testing.assert_array_equal(reshape.inverse_transform(result), IMAGES[:7])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_reshape_keeps_the_data_type(dtype):
    assert Reshape((2, 2)).fit_transform(np.ones((3, 4), dtype)).dtype == dtype


def test_reshape_lets_missing_values_through():
    X = np.array([[1.0, np.nan]])
    np.testing.assert_array_equal(Reshape((2, 1)).fit_transform(X)[0, :, 0], X[0])


def test_reshape_names_columns_of_tables():
    assert list(Reshape().fit(IMAGES[:, :, :1, :2]).get_feature_names_out()) == [f"reshape{i}" for i in range(4)]


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        ((7, 7), ParameterError, r"number of values of a sample, 60 in shape \(2, 6, 5\). Got \(7, 7\) instead"),
        ((7, -1), ParameterError, r"60 in shape"),
        ((-1, -1), ParameterError, "of which one may be -1"),
        ((0, -1), ParameterError, "at least 1"),
        ((), ParameterError, "sequence of integers"),
        ((2.0, 30), ParameterTypeError, "sequence of integers"),
        ((True, 60), ParameterTypeError, "sequence of integers"),
        (60, ParameterTypeError, "sequence of integers"),
        ("60", ParameterTypeError, "sequence of integers"),
    ],
)
def test_reshape_refuses(shape, error, message):
    with pytest.raises(error, match=message):
        Reshape(shape).fit(IMAGES)


def test_reshape_refuses_samples_of_another_shape():
    reshape = Reshape((-1,)).fit(IMAGES)
    with pytest.raises(InputError, match=r"must have the shape \(2, 6, 5\). Got \(2, 5, 6\) instead"):
        reshape.transform(IMAGES.transpose(0, 1, 3, 2))
    with pytest.raises(InputError, match=r"must have the shape \(60,\)"):
        reshape.inverse_transform(TABLE)


@pytest.mark.parametrize(("kind", "reference"), [("standard", StandardScaler()), ("minmax", MinMaxScaler())])
def test_tables_are_scaled_as_scikit_learn_does(kind, reference):
    ours, theirs = ChannelScaler(kind).fit(TABLE), reference.fit(TABLE)
    np.testing.assert_allclose(ours.transform(TABLE * 2), theirs.transform(TABLE * 2), atol=1e-12)


@pytest.mark.parametrize(("kind", "reference"), [("standard", StandardScaler()), ("minmax", MinMaxScaler())])
def test_each_channel_is_scaled_as_one_feature(kind, reference):
    result = ChannelScaler(kind).fit_transform(IMAGES)
    assert result.dtype == np.float32
    assert result.shape == IMAGES.shape
    for channel in range(2):
        values = IMAGES[:, channel].reshape(-1, 1).astype(np.float64)
        expected = clone(reference).fit_transform(values).reshape(40, 6, 5)
        np.testing.assert_allclose(result[:, channel], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_scaling_can_be_undone(kind):
    scaler = ChannelScaler(kind).fit(IMAGES)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(IMAGES)), IMAGES, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["standard", "minmax"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_channels_become_zero(kind, dtype):
    """In float32 the standard deviation of many times 0.1 is small but not 0."""
    X = np.full((9999, 1, 3), 0.1, dtype)
    np.testing.assert_allclose(ChannelScaler(kind).fit_transform(X), 0, atol=1e-6)


def test_digits_of_many_samples_are_not_lost():
    X = np.full((200_000, 1), 1000.0, np.float32)
    X[::2] += 1
    scaled = ChannelScaler().fit_transform(X)
    np.testing.assert_allclose([scaled.min(), scaled.max()], [-1, 1], atol=1e-3)


def test_kind_is_checked():
    with pytest.raises(ParameterError, match="The 'kind' parameter of ChannelScaler must be"):
        ChannelScaler("robust").fit(TABLE)


def test_in_a_pipeline():
    pipeline = make_pipeline(ChannelScaler(), Reshape())
    assert pipeline.fit_transform(IMAGES).shape == (40, 60)

"""Steps of a pipeline that scikit-learn does not have: transformers of images and series beside tables."""

from collections.abc import Sequence
from math import prod
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from prunekit._validation import check_choice
from prunekit.exceptions import InputError, ParameterError, ParameterTypeError

__all__ = ["ChannelScaler", "Reshape"]


class Reshape(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """
    Bring every sample to another shape of the same number of values.

    Parameters
    ----------
    shape : sequence of int, default=(-1,)
        Shape of a sample without the batch dimension, as in ``(1, 28, 28)``. One entry may be -1; it is what is left.
        The default makes a table of anything.

    Attributes
    ----------
    input_shape_ : tuple of int
        Shape of a sample that `fit` saw.
    output_shape_ : tuple of int
        Shape of a sample after `transform`.
    n_features_in_ : int
        First entry of ``input_shape_``.

    Notes
    -----
    Values stay in C order and keep their data type.

    Examples
    --------
    >>> import numpy as np
    >>> from prunekit.pipeline.steps import Reshape
    >>> Reshape((1, 8, -1)).fit_transform(np.zeros((5, 64))).shape
    (5, 1, 8, 8)
    """

    def __init__(self, shape: Sequence[int] = (-1,)) -> None:
        self.shape = shape

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """
        Note the shape of the samples.

        Parameters
        ----------
        X : array-like of shape (samples, ``*shape``)
            Samples of any number of dimensions.
        y : None
            Ignored.

        Returns
        -------
        self : Reshape
            The fitted transformer.

        Raises
        ------
        ParameterError
            If ``shape`` is no shape, or has another number of values than a sample.
        """
        shape = _checked_shape(self.shape)
        X = _any_numbers(self, X, reset=True)
        size = prod(X.shape[1:])
        rest = prod(entry for entry in shape if entry != -1)
        if size % rest or (-1 not in shape and size != rest):
            raise ParameterError(
                f"The 'shape' parameter of Reshape must keep the number of values of a sample, {size} in shape "
                f"{X.shape[1:]}. Got {self.shape!r} instead."
            )
        self.input_shape_ = X.shape[1:]
        self.output_shape_ = tuple(size // rest if entry == -1 else entry for entry in shape)
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """
        Return the samples in the new shape.

        Parameters
        ----------
        X : array-like of shape (samples, ``*input_shape_``)
            Samples of the shape that `fit` saw.

        Returns
        -------
        ndarray of shape (samples, ``*output_shape_``)
            The same values.

        Raises
        ------
        InputError
            If the samples have another shape.
        """
        check_is_fitted(self)
        X = _any_numbers(self, X, reset=False)
        return _in_shape(X, self.input_shape_, "Reshape").reshape(len(X), *self.output_shape_)

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """
        Return samples in the shape that they had before `transform`.

        Parameters
        ----------
        X : array-like of shape (samples, ``*output_shape_``)
            Samples as `transform` returns them.

        Returns
        -------
        ndarray of shape (samples, ``*input_shape_``)
            The same values.

        Raises
        ------
        InputError
            If the samples have another shape.
        """
        check_is_fitted(self)
        X = np.asarray(X)
        return _in_shape(X, self.output_shape_, "Reshape").reshape(len(X), *self.input_shape_)

    @property
    def _n_features_out(self) -> int:
        """Return the number of columns of a table, by which scikit-learn names them."""
        return int(self.output_shape_[0])


class ChannelScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """
    Scale each channel of images and series, each feature of tables.

    Parameters
    ----------
    kind : {"standard", "minmax"}, default="standard"
        Whether each is brought to mean 0 and standard deviation 1, or to 0 to 1, over all samples and positions that
        `fit` sees.

    Attributes
    ----------
    shift_ : ndarray of shape (channels,)
        What is subtracted: mean or minimum.
    scale_ : ndarray of shape (channels,)
        What is divided by: standard deviation or range; 1 where a channel is constant.
    n_features_in_ : int
        Number of channels, or of features.

    See Also
    --------
    sklearn.preprocessing.StandardScaler : The same for tables alone, each position of an image would be a feature.

    Notes
    -----
    Channels are the second dimension. Floating point numbers keep their data type, others become float64; means are
    summed up in float64.

    Examples
    --------
    >>> import numpy as np
    >>> from prunekit.pipeline.steps import ChannelScaler
    >>> images = np.random.default_rng(0).uniform(size=(10, 3, 8, 8))
    >>> scaled = ChannelScaler("minmax").fit_transform(images)
    >>> scaled.min(axis=(0, 2, 3)), scaled.max(axis=(0, 2, 3))
    (array([0., 0., 0.]), array([1., 1., 1.]))
    """

    def __init__(self, kind: Literal["standard", "minmax"] = "standard") -> None:
        self.kind = kind

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """
        Measure each channel.

        Parameters
        ----------
        X : array-like of shape (samples, channels, ``*positions``)
            Samples; (samples, features) for tables.
        y : None
            Ignored.

        Returns
        -------
        self : ChannelScaler
            The fitted transformer.

        Raises
        ------
        ParameterError
            If ``kind`` is none of those.
        """
        check_choice("kind", self.kind, "ChannelScaler", _MEASURES)
        X = _floats(self, X, reset=True)
        axes = (0, *range(2, X.ndim))
        low, high = X.min(axis=axes), X.max(axis=axes)
        self.shift_, scale = _MEASURES[self.kind](X, axes, low, high)
        # A constant is told by its limits: its standard deviation is not exactly 0 in floating point.
        self.scale_ = np.where(low == high, 1, scale).astype(X.dtype)
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """
        Scale samples.

        Parameters
        ----------
        X : array-like of shape (samples, channels, ``*positions``)
            Samples with as many channels as `fit` saw.

        Returns
        -------
        ndarray of the same shape
            Scaled.
        """
        check_is_fitted(self)
        X = _floats(self, X, reset=False)
        shift, scale = self._by_channel(X)
        scaled: NDArray[Any] = (X - shift) / scale
        return scaled

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """
        Undo `transform`.

        Parameters
        ----------
        X : array-like of shape (samples, channels, ``*positions``)
            Scaled samples.

        Returns
        -------
        ndarray of the same shape
            As they were before.
        """
        check_is_fitted(self)
        X = _floats(self, X, reset=False)
        shift, scale = self._by_channel(X)
        unscaled: NDArray[Any] = X * scale + shift
        return unscaled

    def _by_channel(self, X: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return what was measured in the data type and the number of dimensions of the samples."""
        shape = (-1, *(1,) * (X.ndim - 2))
        return self.shift_.reshape(shape).astype(X.dtype), self.scale_.reshape(shape).astype(X.dtype)


def _standard(
    X: NDArray[Any], axes: tuple[int, ...], low: NDArray[Any], high: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    mean = X.mean(axis=axes, keepdims=True, dtype=np.float64)
    # Squares in the data type of the samples, for there may be many; only their sum needs more digits.
    variance = np.square(X - mean.astype(X.dtype)).mean(axis=axes, dtype=np.float64)
    return mean.reshape(-1).astype(X.dtype), np.sqrt(variance)


def _minmax(
    X: NDArray[Any], axes: tuple[int, ...], low: NDArray[Any], high: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    return low, high - low


_MEASURES = {"standard": _standard, "minmax": _minmax}


def _samples(estimator: BaseEstimator, X: ArrayLike, reset: bool, **checks: Any) -> NDArray[Any]:
    samples: NDArray[Any] = validate_data(estimator, X, reset=reset, allow_nd=True, **checks)
    return samples


def _any_numbers(estimator: BaseEstimator, X: ArrayLike, reset: bool) -> NDArray[Any]:
    return _samples(estimator, X, reset, ensure_all_finite="allow-nan")


def _floats(estimator: BaseEstimator, X: ArrayLike, reset: bool) -> NDArray[Any]:
    return _samples(estimator, X, reset, dtype=[np.float64, np.float32])


def _in_shape(X: NDArray[Any], shape: tuple[int, ...], owner: str) -> NDArray[Any]:
    if X.shape[1:] != shape:
        raise InputError(f"The samples for {owner} must have the shape {shape}. Got {X.shape[1:]} instead.")
    return X


def _checked_shape(shape: Any) -> tuple[int, ...]:
    wanted = "The 'shape' parameter of Reshape must be a sequence of integers of at least 1, of which one may be -1."
    if isinstance(shape, str) or not isinstance(shape, Sequence | np.ndarray):
        raise ParameterTypeError(f"{wanted} Got {shape!r} instead.")
    entries = list(shape)
    if any(isinstance(entry, bool) or not isinstance(entry, Integral) for entry in entries):
        raise ParameterTypeError(f"{wanted} Got {shape!r} instead.")
    if not entries or entries.count(-1) > 1 or any(entry < 1 and entry != -1 for entry in entries):
        raise ParameterError(f"{wanted} Got {shape!r} instead.")
    return tuple(int(entry) for entry in entries)

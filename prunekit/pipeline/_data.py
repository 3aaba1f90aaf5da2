"""Data of an experiment, divided into what is trained on and what is tested on at the very end."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from prunekit.exceptions import InputError
from prunekit.pipeline._images import resized, with_channels
from prunekit.pipeline._samples import Samples, Task, in_dtype
from prunekit.pipeline.schema import DataSection

DEFAULT_TEST_SIZE = 0.25


@dataclass(frozen=True)
class Split:
    """
    Samples and their classes or targets in two parts.

    Parameters
    ----------
    X_train, X_test : ndarray of shape (samples, ``*input_shape``)
        Samples in the type that the network computes in.
    y_train, y_test : ndarray
        Classes from 0, (samples,); or targets in the same type, (samples, targets).
    target_std : float, default=1.0
        What the targets were divided by.
    """

    X_train: NDArray[np.floating[Any]]
    X_test: NDArray[np.floating[Any]]
    y_train: NDArray[Any]
    y_test: NDArray[Any]
    target_std: float = 1.0

    @property
    def input_shape(self) -> tuple[int, ...]:
        """
        Shape of one sample.

        Returns
        -------
        tuple of int
            Without the batch dimension.
        """
        return self.X_train.shape[1:]

    @property
    def task(self) -> Task:
        """
        What is to be learnt.

        Returns
        -------
        {"classification", "regression"}
            Told by the dimensions of the targets.
        """
        return "regression" if self.y_train.ndim == 2 else "classification"

    @property
    def num_classes(self) -> int:
        """
        Number of classes, or of targets.

        Returns
        -------
        int
            One more than the highest class of the training part; each class is in both parts.
        """
        return int(self.y_train.shape[1]) if self.task == "regression" else int(self.y_train.max()) + 1


def load_split(section: DataSection, seed: int, task: Task = "classification") -> Split:
    """
    Load the data and divide them; classes in proportion.

    Parameters
    ----------
    section : DataSection
        Source, size of the test part, and what is done with the samples.
    seed : int
        Of the division.
    task : {"classification", "regression"}, default="classification"
        What is to be learnt.

    Returns
    -------
    Split
        The data.

    Raises
    ------
    InputError
        If the source holds no fitting samples and classes, or too few for the division.
    """
    samples = section.source.entry.target(**section.source.arguments, task=task)
    if section.reshape is not None:
        samples = _reshaped(samples, section.reshape)
    X_train, X_test, y_train, y_test = _divided(samples, section, seed)
    X_train, X_test = (_prepared(X, section) for X in (X_train, X_test))
    if task == "regression":
        y_train, y_test = (in_dtype(y, section.dtype, "The targets") for y in (y_train, y_test))
    if section.scale is not None:
        X_train, X_test = _scaled(X_train, X_test, section.scale)
    if task == "classification" or section.target_scale is None:
        return Split(X_train, X_test, y_train, y_test)
    mean, std = float(y_train.mean()), float(y_train.std()) or 1.0
    y_train, y_test = ((y - y.dtype.type(mean)) / y.dtype.type(std) for y in (y_train, y_test))
    return Split(X_train, X_test, y_train, y_test, std)


def _reshaped(samples: Samples, shape: list[int]) -> Samples:
    if prod(shape) != prod(samples.X.shape[1:]):
        raise InputError(
            f"The 'reshape' key of data must keep the number of values of a sample, {prod(samples.X.shape[1:])} in "
            f"shape {samples.X.shape[1:]}. Got {shape} instead."
        )
    return Samples(samples.X.reshape(-1, *shape), samples.y, samples.num_test)


def _prepared(X: NDArray[Any], section: DataSection) -> NDArray[np.floating[Any]]:
    """Return what was chosen of the samples as the network takes it; a part at a time, for it can be much larger."""
    X = in_dtype(X, section.dtype, "The samples")
    if section.resize is not None:
        X = resized(X, section.resize)
    return X if section.channels is None else with_channels(X, section.channels)


def _divided(samples: Samples, section: DataSection, seed: int) -> tuple[NDArray[Any], ...]:
    """Return the training and the test part, each thinned out where a sample of the data was asked for."""
    X, y = samples.X, samples.y
    fraction = 1.0 if section.sample is None else min(1.0, section.sample / len(y))
    if samples.num_test and section.test_size is None:
        n = len(y) - samples.num_test
        X_train, y_train = _thinned(X[:n], y[:n], fraction, seed)
        X_test, y_test = _thinned(X[n:], y[n:], fraction, seed)
        return X_train, X_test, y_train, y_test
    X, y = _thinned(X, y, fraction, seed)
    test_size = DEFAULT_TEST_SIZE if section.test_size is None else section.test_size
    try:
        parts = train_test_split(X, y, test_size=test_size, stratify=_strata(y), random_state=seed)
    except ValueError as exc:
        raise InputError(
            f"The 'test_size' key of data must leave samples of every class on both sides. "
            f"Got {test_size:g} of {len(y)} samples instead: {exc}"
        ) from exc
    return tuple(parts)


def _thinned(X: NDArray[Any], y: NDArray[Any], fraction: float, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    if fraction == 1:
        return X, y
    size = max(1, round(fraction * len(y)))
    try:
        kept, _ = train_test_split(np.arange(len(y)), train_size=size, stratify=_strata(y), random_state=seed)
    except ValueError as exc:
        raise InputError(
            f"The 'sample' key of data must leave samples of every class. Got {size} of {len(y)} instead: {exc}"
        ) from exc
    return X[kept], y[kept]


def _strata(y: NDArray[Any]) -> NDArray[Any] | None:
    return y if y.ndim == 1 else None


def _scaled(X_train: NDArray[Any], X_test: NDArray[Any], scale: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scale each feature of a table, each channel of images and series, by the training part alone."""
    axes = (0, *range(2, X_train.ndim))
    if scale == "standard":
        # In float64, for sums over all pixels of 50 000 images are off by half in float32.
        shift = X_train.mean(axis=axes, keepdims=True, dtype=np.float64)
        size = X_train.std(axis=axes, keepdims=True, dtype=np.float64)
    else:
        shift = X_train.min(axis=axes, keepdims=True)
        size = X_train.max(axis=axes, keepdims=True) - shift
    shift, size = shift.astype(X_train.dtype), np.where(size == 0, 1, size).astype(X_train.dtype)
    return tuple((X - shift) / size for X in (X_train, X_test))

"""Data of an experiment, divided into what is trained on and what is tested on at the very end."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from prunekit.exceptions import InputError
from prunekit.pipeline.schema import DataSection


@dataclass(frozen=True)
class Split:
    """
    Samples and classes in two parts.

    Parameters
    ----------
    X_train, X_test : ndarray of shape (samples, ``*input_shape``)
        Samples as float32.
    y_train, y_test : ndarray of shape (samples,)
        Classes from 0.
    """

    X_train: NDArray[np.float32]
    X_test: NDArray[np.float32]
    y_train: NDArray[np.int64]
    y_test: NDArray[np.int64]

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
    def num_classes(self) -> int:
        """
        Number of classes.

        Returns
        -------
        int
            One more than the highest class of the training part; each class is in both parts.
        """
        return int(self.y_train.max()) + 1


def load_split(section: DataSection, seed: int) -> Split:
    """
    Load the data and divide them, every class in proportion.

    Parameters
    ----------
    section : DataSection
        Source and size of the test part.
    seed : int
        Of the division.

    Returns
    -------
    Split
        The data.

    Raises
    ------
    InputError
        If the source holds no fitting samples and classes, or too few for the division.
    """
    X, y = section.source.entry.target(**section.source.arguments)
    try:
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=section.test_size, stratify=y, random_state=seed
        )
    except ValueError as exc:
        raise InputError(
            f"The 'test_size' key of data must leave samples of every class on both sides. "
            f"Got {section.test_size:g} of {len(y)} samples instead: {exc}"
        ) from exc
    return Split(X_train, X_test, y_train, y_test)
